import keras
import numpy as np
import pytest

from colorseg import encodings, tasks


def test_compile_args_name_every_task():
    chosen = [tasks.color_task(), tasks.mask_task(weight=0.3), tasks.breed_task(5, weight=0.1)]
    arguments = tasks.compile_args(chosen)
    assert arguments["loss_weights"] == {"color": 1.0, "mask": 0.3, "breed": 0.1}
    assert all(isinstance(loss, keras.losses.Loss) for loss in arguments["loss"].values())


def test_two_networks_never_share_a_metric():
    task = tasks.mask_task()
    first, second = (tasks.compile_args([task])["metrics"]["mask"] for _ in range(2))
    assert not set(map(id, first)) & set(map(id, second))


def test_only_the_paper_encoding_is_scored_by_argmax():
    def names(encoding):
        return [metric.name for metric in tasks.color_task(encoding).metrics()]

    assert names("yuv") == ["chroma_rmse", "argmax_accuracy"]
    assert names("chroma") == ["chroma_rmse"]


def test_mask_loss_leaves_void_pixels_out(rng):
    logits = rng.normal(size=(1, 2, 2, 3)).astype("float32")
    mask = np.array([0, 1, tasks.VOID, tasks.VOID], "uint8").reshape(1, 2, 2, 1)
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.mean(np.log([softmax[0, 0, 0, 0], softmax[0, 0, 1, 1]]))
    assert float(tasks.mask_task().loss()(mask, logits)) == pytest.approx(expected, rel=1e-5)


def test_mask_loss_of_a_batch_without_any_label_is_zero():
    mask = np.full((2, 4, 4, 1), tasks.VOID, "uint8")
    assert float(tasks.mask_task().loss()(mask, np.ones((2, 4, 4, 3), "float32"))) == 0


def test_breed_loss_leaves_unknown_breeds_out():
    logits = np.array([[2.0, 0.0], [5.0, 1.0]], "float32")
    labels = np.array([1, tasks.UNKNOWN_BREED], "int32")
    expected = np.log(1 + np.exp(2.0))
    assert float(tasks.breed_task(2).loss()(labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_color_task_takes_an_encoding_or_its_name():
    assert isinstance(tasks.color_task("yuv").encoding, encodings.YUV)
    encoding = encodings.QuantizedAB()
    assert tasks.color_task(encoding).encoding is encoding
    with pytest.raises(
        ValueError, match="unknown encoding 'rgb'; known: chroma, chroma_l1, learch, q"
    ):
        tasks.color_task("rgb")
