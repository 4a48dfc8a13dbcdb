import dataclasses
import itertools

import keras
import numpy as np
import pytest
import skimage.data

from colorseg import model, tasks

MAKE_TASKS = {"color": tasks.color_task, "mask": tasks.mask_task, "breed": tasks.breed_task}
SHAPES = {"color": (1, 64, 96, 2), "mask": (1, 64, 96, 3), "breed": (1, 37)}
COMBINATIONS = [c for n in (1, 2, 3) for c in itertools.combinations(MAKE_TASKS, n)]


def small_unet(names=("color", "mask"), **options):
    return model.build_unet([MAKE_TASKS[name]() for name in names], **options)


@pytest.fixture(scope="module")
def gray():
    gray = np.random.default_rng(1).random((1, 64, 96, 1), dtype="float32")
    return np.repeat(gray, 3, axis=-1)


@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
def test_any_combination_of_tasks(names, gray):
    outputs = small_unet(names, decoder="separable", image_size=(64, 96))(gray)
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        name: SHAPES[name] for name in names
    }


@pytest.mark.parametrize("decoder", model.DECODERS)
def test_every_decoder_works_at_any_size_divisible_by_32(decoder, gray):
    network = small_unet(decoder=decoder, image_size=None)
    # From the second size on, Keras compiles for sizes that are not known.
    for image in (gray, gray[:, :32, :32], gray[:, :, :32]):
        compiled = network.predict_on_batch(image)
        for name, output in network(image, training=False).items():
            assert tuple(output.shape) == (*image.shape[:3], SHAPES[name][-1])
            np.testing.assert_allclose(compiled[name], output, atol=1e-5)


@pytest.mark.parametrize("decoder", ["convolution", "separable"])
@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_a_color_head_may_be_coarse(decoder, stride, gray):
    network = model.build_unet(
        [tasks.color_task(stride=stride), tasks.mask_task()], decoder=decoder, image_size=None
    )
    shapes = {name: tuple(output.shape) for name, output in network(gray).items()}
    assert shapes == {"color": (1, 64 // stride, 96 // stride, 2), "mask": SHAPES["mask"]}


@pytest.mark.parametrize(("decoder", "stride"), [("convolution", 3), ("paper", 2)])
def test_a_stride_that_a_decoder_lacks_is_refused(decoder, stride):
    with pytest.raises(ValueError, match=f"unknown stride of the .*decoder {stride}; known: "):
        model.build_unet([tasks.color_task(stride=stride)], decoder=decoder)


@pytest.mark.parametrize("name", model.ENCODERS)
def test_every_encoder_keeps_the_contract(name, gray):
    pyramid = model.build_encoder(name)(gray)
    sides = [tuple(level.shape[1:3]) for level in pyramid]
    assert sides == [(64 // 2**n, 96 // 2**n) for n in range(1, 6)]


@pytest.mark.parametrize("name", model.ENCODERS)
def test_input_scaling_is_the_one_the_encoder_was_pretrained_with(name):
    # keras.applications' own preprocessing, for gray values of 0 to 255, is the oracle.
    preprocess = {
        "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
        "efficientnet_v2_b0": keras.applications.efficientnet_v2.preprocess_input,
    }[name]
    entry = model.ENCODERS[name]
    gray = np.linspace(0, 1, 5, dtype="float32")
    np.testing.assert_allclose(entry.scale * gray + entry.offset, preprocess(gray * 255), atol=1e-4)


def convolution(inputs, outputs, side=3, *, bias=True):
    return side * side * inputs * outputs + bias * outputs


def mobilenet_v2_up_to_block_16_project():
    """Parameters of MobileNetV2 (alpha 1), from Table 2 of Sandler et al. 2018."""
    normalization = 4
    total = convolution(3, 32, bias=False) + normalization * 32
    # (expansion, outputs, repeats); the last stage's last block ends before its normalization.
    stages = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    inputs = 32
    for expansion, outputs, repeats in stages:
        for _ in range(repeats):
            wide = inputs * expansion
            if expansion > 1:
                total += inputs * wide + normalization * wide
            total += 9 * wide + normalization * wide
            total += wide * outputs + normalization * outputs
            inputs = outputs
    return total - normalization * 320


@pytest.mark.parametrize(("names", "channels"), [(("color",), (3,)), (("color", "mask"), (3, 3))])
def test_the_papers_network_has_the_papers_parameters(names, channels):
    chosen = [tasks.color_task("yuv"), tasks.mask_task()][: len(names)]
    network = model.build_unet(chosen, decoder="paper", freeze="encoder", scale_input=False)
    # Input channels of each transposed convolution: the block before, joined by its skip.
    blocks = [(320, 512), (512 + 576, 256), (256 + 192, 128), (128 + 144, 64)]
    decoder = sum(convolution(i, o, bias=False) + 4 * o for i, o in blocks)
    heads = sum(
        convolution(64 + 96, 100) + convolution(100, 50) + convolution(50, c) for c in channels
    )
    assert network.count_params() == mobilenet_v2_up_to_block_16_project() + decoder + heads
    trainable = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    assert trainable == decoder + heads - 2 * sum(o for _, o in blocks)


def test_fusion_lets_every_place_know_the_whole_photograph(gray):
    network = small_unet(("color",), decoder="fusion", image_size=None)
    features = keras.Model(network.input, network.get_layer("fuse").output)
    wide = np.tile(gray, (1, 1, 4, 1))
    dark = wide.copy()
    dark[:, :, -32:] = 0  # far from the first column's own receptive field
    alone = keras.Model(network.input, network.get_layer("fuse_local").output)
    far = [np.asarray(part(wide) - part(dark))[0, :, 0] for part in (features, alone)]
    # The sum's change at that place is the same for all of its rows: it comes from the whole.
    np.testing.assert_allclose(far[0] - far[1], (far[0] - far[1])[:1].repeat(2, 0), atol=1e-5)
    assert np.abs(far[0] - far[1]).max() > 0


def test_the_papers_input_is_luma_and_two_zeros(gray):
    network = small_unet(scale_input=False, image_size=None)
    layer = network.get_layer("gray_to_yuv")
    yuv = np.asarray(layer(gray))
    np.testing.assert_array_equal(yuv[..., 0], gray[..., 0])
    assert not yuv[..., 1:].any()


@pytest.mark.parametrize("freeze", ["encoder", "batchnorm", "nothing"])
def test_freeze_says_what_is_trained(freeze):
    encoder = model.build_encoder("mobilenet_v2", freeze=freeze)
    trained = {type(layer).__name__ for layer in encoder.layers if layer.trainable_weights}
    expected = {"Conv2D", "DepthwiseConv2D", "BatchNormalization"}
    assert (
        trained
        == {
            "encoder": set(),
            "batchnorm": expected - {"BatchNormalization"},
            "nothing": expected,
        }[freeze]
    )


def test_a_tuned_encoder_acts_alike_in_training_and_inference(gray):
    """The trap: batch statistics in training, stale averages afterwards."""
    encoder = model.build_encoder("mobilenet_v2", freeze="batchnorm")
    for train, infer in zip(encoder(gray, training=True), encoder(gray), strict=True):
        np.testing.assert_array_equal(train, infer)


def test_an_encoder_trained_from_scratch_follows_short_runs():
    """A momentum of 0.999 would leave a third of the initial statistics after 1,000 steps."""
    encoder = model.build_encoder("mobilenet_v2", freeze="nothing")
    momenta = {
        layer.momentum
        for layer in encoder.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert momenta == {0.9}


def test_encoder_weights_load_from_a_file(tmp_path):
    source = keras.applications.MobileNetV2(include_top=False, weights=None)
    path = tmp_path / "encoder.weights.h5"
    source.save_weights(path)
    encoder = model.build_encoder("mobilenet_v2", weights=path)
    np.testing.assert_array_equal(
        encoder.get_layer("block_5_expand").get_weights()[0],
        source.get_layer("block_5_expand").get_weights()[0],
    )


def test_weights_that_cannot_be_downloaded_are_explained(monkeypatch):
    def build(*, weights, **options):
        if weights == "imagenet":
            raise Exception("URL fetch failure: no route to host")  # as Keras does
        return keras.applications.MobileNetV2(weights=weights, **options)

    entry = dataclasses.replace(model.ENCODERS["mobilenet_v2"], build=build)
    monkeypatch.setitem(model.ENCODERS, "mobilenet_v2", entry)
    with pytest.raises(ValueError, match=r"no route to host.*--encoder-weights PATH"):
        model.build_encoder("mobilenet_v2", weights="imagenet")


@pytest.mark.parametrize("decoder", ["convolution", "fusion"])
def test_a_network_can_be_saved_by_keras_and_loaded_without_its_code(decoder, tmp_path):
    both = [tasks.color_task(), tasks.mask_task()]
    unet = model.build_unet(both, decoder=decoder, image_size=64)
    unet.save(tmp_path / "unet.keras")
    loaded = keras.models.load_model(tmp_path / "unet.keras", compile=False)
    gray = np.linspace(0, 1, 64 * 64 * 3, dtype="float32").reshape(1, 64, 64, 3)
    for name, expected in unet(gray).items():
        np.testing.assert_allclose(loaded(gray)[name], expected, atol=1e-6)


def test_damaged_missing_and_foreign_weights_are_refused(tmp_path):
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    foreign = tmp_path / "foreign.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(foreign)
    for path in (damaged, foreign):
        with pytest.raises(ValueError, match="is damaged or holds the weights of another network"):
            model.build_encoder("mobilenet_v2", weights=path)
    with pytest.raises(ValueError, match="no weights file at"):
        model.build_encoder("mobilenet_v2", weights=tmp_path / "none.weights.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "vgg"}, "unknown encoder 'vgg'; known: efficientnet_v2_b0, mobilenet_v2"),
        ({"decoder": "fpn"}, "unknown decoder 'fpn'; known: convolution, fusion, paper, separable"),
        ({"freeze": "all"}, "unknown freeze 'all'; known: batchnorm, encoder, nothing"),
        ({"image_size": 100}, r"multiples of 32 pixels, got 100; \(96, 96\) would work"),
        ({"image_size": (64, 10)}, r"\(64, 32\) would work"),
        ({"names": ()}, "one or more tasks of different names"),
        ({"names": ("mask", "mask")}, "one or more tasks of different names"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small_unet(**options)


def test_the_weights_that_ship_color_and_segment_and_are_small():
    network = model.load_pretrained()
    gray = np.repeat(skimage.data.chelsea()[:288, :448, :1] / np.float32(255), 3, axis=-1)
    outputs = network(gray[None])
    shapes = {name: tuple(output.shape) for name, output in outputs.items()}
    assert shapes == {"color": (1, 144, 224, 2), "mask": (1, 288, 448, 3)}
    # A cat's face fills most of the picture.
    assert (np.argmax(outputs["mask"], axis=-1) == 0).mean() > 0.5
    assert sum(path.stat().st_size for path in model.PRETRAINED.rglob("*")) < 16e6
