import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage import color as skcolor
from skimage import data as skdata
from skimage import metrics as skmetrics

from colorseg import color, metrics, tasks
from colorseg.encodings import YUV, Chroma

METRICS = metrics.METRICS
COLOR = [name for name, metric in METRICS.items() if metric.needs == "color"]
MASK = [name for name, metric in METRICS.items() if metric.needs == "mask"]
VOID = metrics.VOID


def pixels(*rows):
    return np.array(rows, "float32")[None]


def pictures(n=4, size=16, seed=0):
    """Pairs of truth and prediction: crops of a photograph, and what other crops would give."""
    photo = skdata.chelsea().astype("float32") / 255
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 300 - size, (2 * n, 2))
    crops = np.stack([photo[y : y + size, x : x + size] for y, x in corners])
    truth, other = crops[:n], crops[n:]
    return truth, with_chroma(truth, color.rgb_to_yuv(other).numpy()[..., 1:])


def with_chroma(rgb, chroma):
    yuv = np.concatenate([color.luma(rgb).numpy(), chroma], axis=-1)
    return color.fit_to_gamut(color.yuv_to_rgb(yuv)).numpy()


def masks(n=5, size=8, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, VOID], (n, size, size), p=[0.4, 0.4, 0.1, 0.1])
    truth[-1] = VOID
    guess = rng.integers(0, 3, truth.shape)
    return truth, np.where(rng.random(truth.shape) < 0.6, np.minimum(truth, 2), guess)


# Keras metrics


def test_void_is_the_tasks_void():
    assert metrics.VOID == tasks.VOID


@pytest.mark.parametrize("encoding", [YUV(), Chroma()])
def test_chroma_rmse_of_red_taken_for_gray(encoding):
    red = pixels([[1.0, 0.0, 0.0]])
    output = np.zeros((1, 1, 1, encoding.channels), "float32")
    # Red has U = -0.14714, V = 0.61498.
    assert float(metrics.ChromaRMSE(encoding)(red, output)) == pytest.approx(0.44713, abs=1e-4)


@pytest.mark.parametrize("encoding", [YUV(), Chroma()])
def test_chroma_rmse_pools_the_pixels_of_all_batches(encoding):
    truth, prediction = pictures(5)
    metric = metrics.ChromaRMSE(encoding)
    for part in (slice(0, 1), slice(1, 5)):
        metric.update_state(truth[part], encoding.encode(prediction[part]))
    error = (tf.image.rgb_to_yuv(truth) - tf.image.rgb_to_yuv(prediction))[..., 1:]
    assert float(metric.result()) == pytest.approx(np.sqrt(np.mean(np.square(error))), rel=1e-3)


def test_chroma_rmse_is_the_same_number_for_every_encoding():
    truth, prediction = pictures()
    scores = [float(metrics.ChromaRMSE(e)(truth, e.encode(prediction))) for e in (YUV(), Chroma())]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_argmax_accuracy_of_red_and_white_taken_for_gray():
    truth = pixels([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])  # the largest of YUV: V, Y
    gray = color.rgb_to_yuv(np.repeat(color.luma(truth), 3, axis=-1))
    assert float(metrics.ArgmaxAccuracy(YUV())(truth, gray)) == 0.5


def test_argmax_accuracy_is_what_keras_makes_of_accuracy():
    truth, prediction = pictures()
    truth, prediction = np.sqrt(truth) ** 3, prediction**3  # dark enough for V to win somewhere
    target, output = color.rgb_to_yuv(truth), color.rgb_to_yuv(prediction)
    model = keras.Sequential([keras.layers.Identity()])
    model.compile(loss="mse", metrics=["accuracy"])
    expected = model.evaluate(output, target, verbose=0, return_dict=True)["accuracy"]
    assert expected < 1
    assert float(metrics.ArgmaxAccuracy(YUV())(truth, output)) == pytest.approx(expected)


def test_pixel_accuracy_leaves_void_out():
    truth = np.array([[[0], [1], [2], [VOID]]], "uint8")[None]
    scores = np.eye(3, dtype="float32")[[[[0, 1, 0, 0]]]]
    assert float(metrics.PixelAccuracy()(truth, scores)) == pytest.approx(2 / 3)
    assert float(metrics.PixelAccuracy()(truth[..., 0], scores)) == pytest.approx(2 / 3)


def test_pixel_accuracy_is_keras_own_where_all_is_labeled():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 3, (4, 5, 6, 1)), rng.random((4, 5, 6, 3))
    for weight in (None, rng.random((4, 5, 6))):
        expected = keras.metrics.SparseCategoricalAccuracy()(truth, scores, weight)
        assert float(metrics.PixelAccuracy()(truth, scores, weight)) == pytest.approx(
            float(expected)
        )


def test_pixel_accuracy_weighs_whole_images_and_their_labeled_pixels():
    truth = np.array([[[0, VOID]], [[0, 0]]])
    scores = np.eye(3)[[[[0, 0]], [[1, 1]]]]
    # Right: 1 pixel of weight 3; labeled: that one and 2 of weight 1.
    assert float(metrics.PixelAccuracy()(truth, scores, np.array([3.0, 1.0]))) == pytest.approx(
        3 / 5
    )


def test_pixel_accuracy_of_unknown_breeds():
    metric = metrics.PixelAccuracy(ignore_class=-1)
    assert float(metric(np.array([2, -1, 0]), np.eye(3)[[2, 1, 1]])) == pytest.approx(1 / 2)


def test_mean_iou_takes_logits_and_leaves_void_out():
    truth = np.array([[[0], [0], [1], [VOID]]], "uint8")[None]
    logits = np.eye(3, dtype="float32")[[[[0, 1, 1, 2]]]]
    # IoU of pet 1/2, of background 1/2; the border is nowhere.
    assert float(metrics.mean_iou()(truth, logits)) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.ChromaRMSE(Chroma(), name="mine"),
        metrics.ArgmaxAccuracy(YUV()),
        metrics.PixelAccuracy(ignore_class=7),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_metrics_are_rebuilt_from_their_configuration(metric):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()


def test_metrics_inside_compile():
    truth, prediction = pictures(6)
    mask_truth, mask = masks(6, size=16)
    channels = {"color": 2, "mask": 3}
    inputs = {name: keras.Input((16, 16, n), name=f"given_{name}") for name, n in channels.items()}
    model = keras.Model(
        list(inputs.values()),
        {name: keras.layers.Identity(name=name)(x) for name, x in inputs.items()},
    )
    model.compile(
        loss={"mask": keras.losses.SparseCategoricalCrossentropy(ignore_class=VOID)},
        metrics={
            "color": [metrics.ChromaRMSE(Chroma())],
            "mask": [metrics.PixelAccuracy(), metrics.mean_iou()],
        },
    )
    scores = model.evaluate(
        [Chroma().encode(prediction).numpy(), np.eye(3, dtype="float32")[mask]],
        {"color": truth, "mask": mask_truth[..., None].astype("uint8")},
        batch_size=4,
        verbose=0,
        return_dict=True,
    )
    expected = {
        "color_chroma_rmse": METRICS["chroma_rmse"](truth, prediction),
        "mask_pixel_accuracy": METRICS["pixel_accuracy"](mask_truth, mask),
        "mask_miou": METRICS["miou"](mask_truth, mask),
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected, rel=1e-3)


# The metrics of the tables


def test_names_are_those_of_the_issue():
    assert list(METRICS) == [
        *("chroma_rmse", "learch_rmse", "learch_rmse_sum", "psnr", "ssim", "delta_e"),
        *("colorfulness", "colorfulness_difference", "auc", "auc_rebalanced", "argmax_accuracy"),
        *("miou", "foreground_iou", "foreground_iou_ignore_border", "pixel_accuracy"),
        "breed_accuracy",
    ]


PERFECT = {
    **dict.fromkeys(("chroma_rmse", "learch_rmse", "learch_rmse_sum", "delta_e"), 0),
    **{"colorfulness_difference": 0, "psnr": metrics.PSNR_CAP},
    **dict.fromkeys(("ssim", "auc", "auc_rebalanced", "argmax_accuracy"), 1),
    **dict.fromkeys(MASK, 1),
}


@pytest.mark.parametrize("name", PERFECT)
def test_identical_prediction_is_perfect(name):
    truth = pictures()[0] if name in COLOR else np.array([[[0, 1], [2, 1]], [[VOID, 0], [1, 1]]])
    prediction = truth if name in COLOR else np.minimum(truth, 2)
    assert METRICS[name](truth, prediction) == pytest.approx(PERFECT[name], abs=1e-6)


@pytest.mark.parametrize("name", COLOR + MASK)
def test_order_of_the_images_does_not_matter(name):
    truth, prediction = pictures() if name in COLOR else masks()
    order = np.array([2, 0, 3, 1])
    expected = METRICS[name](truth[:4], prediction[:4])
    assert METRICS[name](truth[order], prediction[order]) == pytest.approx(expected)


@pytest.mark.parametrize("name", COLOR)
def test_better_is_the_direction_of_the_truth(name):
    truth, prediction = pictures()
    halfway = (truth + prediction) / 2
    gain = METRICS[name](truth, halfway) - METRICS[name](truth, prediction)
    if METRICS[name].better == "high":
        assert gain >= 0
    if METRICS[name].better == "low":
        assert gain < 0


def test_chroma_rmse_against_keras_metric():
    truth, prediction = pictures()
    expected = metrics.ChromaRMSE(YUV())(truth, YUV().encode(prediction))
    assert METRICS["chroma_rmse"](truth, prediction) == pytest.approx(float(expected), rel=1e-4)


def test_learch_rmse_by_hand():
    truth = pixels([[0.6, 0.3, 0.3]])
    gray = pixels([[0.4, 0.4, 0.4]])
    # Gray value 0.4: (B - (R + G) / 2) = -0.15 and R - G = 0.3, both divided by 0.4001.
    c1, c2 = 0.15 / 0.4001, 0.3 / 0.4001
    assert METRICS["learch_rmse"](truth, gray) == pytest.approx(np.sqrt((c1**2 + c2**2) / 2))
    assert METRICS["learch_rmse_sum"](truth, gray) == pytest.approx(np.sqrt(c1**2 + c2**2))


def test_learch_rmse_survives_black():
    black = np.zeros((1, 1, 1, 3), "float32")
    assert METRICS["learch_rmse"](black, black) == 0


def test_psnr_is_the_mean_of_scikit_image_over_images():
    truth, prediction = pictures()
    pairs = zip(truth, prediction, strict=True)
    each = [skmetrics.peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    assert METRICS["psnr"](truth, prediction) == pytest.approx(np.mean(each), rel=1e-5)


def test_psnr_cap_is_beyond_rounding_to_8_bits():
    image = np.random.default_rng(0).random((1, 64, 64, 3))
    rounded = np.round(image * 255) / 255
    # The error is uniform in +-0.5 / 255, of variance 1 / 12.
    assert METRICS["psnr"](image, rounded) == pytest.approx(10 * np.log10(12 * 255**2), abs=0.1)
    assert METRICS["psnr"](image, rounded) < metrics.PSNR_CAP


def test_ssim_and_delta_e_against_scikit_image():
    truth, prediction = pictures()
    pairs = list(zip(truth, prediction, strict=True))
    ssim = [
        np.mean(
            [skmetrics.structural_similarity(a[..., c], b[..., c], data_range=1) for c in range(3)]
        )
        for a, b in pairs
    ]
    delta_e = [
        skcolor.deltaE_ciede2000(
            skcolor.rgb2lab(a.astype("float64")), skcolor.rgb2lab(b.astype("float64"))
        )
        for a, b in pairs
    ]
    assert METRICS["ssim"](truth, prediction) == pytest.approx(np.mean(ssim), rel=1e-5)
    assert METRICS["delta_e"](truth, prediction) == pytest.approx(np.mean(delta_e), rel=1e-4)


def test_colorfulness_by_hand_with_signed_opponents():
    red_and_blue = pixels([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    # R - G: 255 and 0; (R + G) / 2 - B: 127.5 and -255. Means 127.5 and -63.75, deviations
    # 127.5 and 191.25. Absolute values first would give another mean and deviation.
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75)
    assert metrics.colorfulness(red_and_blue)[0, 0] == pytest.approx(expected)
    assert METRICS["colorfulness"](red_and_blue * 0, red_and_blue) == pytest.approx(expected)


def test_gray_has_no_color():
    gray = np.repeat(pictures()[0][..., :1], 3, axis=-1)
    assert METRICS["colorfulness"](gray, gray) == pytest.approx(0, abs=1e-4)


def test_colorfulness_differences_do_not_cancel_between_images():
    truth, _ = pictures(2)
    assert METRICS["colorfulness_difference"](truth, truth[::-1]) == pytest.approx(
        abs(np.diff(metrics.colorfulness(truth)[:, 0])[0])
    )


def pixel_auc(truth, prediction):
    ab = [skcolor.rgb2lab(image.astype("float64"))[..., 1:] for image in (truth, prediction)]
    error = np.sqrt(np.sum((ab[0] - ab[1]) ** 2, axis=-1))
    return ab[0], np.mean([error <= t for t in range(151)], axis=0)


def test_auc_is_the_mean_share_of_right_pixels_over_tolerances():
    truth, prediction = pictures()
    _, right = pixel_auc(truth, prediction)
    assert METRICS["auc"](truth, prediction) == pytest.approx(right.mean(), abs=1e-4)


def test_auc_rebalanced_weighs_pixels_by_the_inverse_of_their_bin():
    truth, prediction = pictures()
    ab, right = pixel_auc(truth, prediction)
    cells = np.round(ab / 10).reshape(-1, 2)
    _, which, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    assert len(count) > 3
    expected = np.average(right.ravel(), weights=1 / count[which.ravel()])
    assert METRICS["auc_rebalanced"](truth, prediction) == pytest.approx(expected, abs=1e-3)


def test_auc_rebalanced_gives_a_rare_color_as_much_as_a_common_one():
    gray, red = np.full((1, 8, 8, 3), 0.5, "float32"), np.zeros((1, 8, 8, 3), "float32")
    red[..., 0] = 1
    missed = METRICS["auc"](red, gray)
    truth = np.concatenate([gray] * 9 + [red])
    prediction = np.concatenate([gray] * 10)
    assert METRICS["auc"](truth, prediction) == pytest.approx(0.9 + 0.1 * missed)
    assert METRICS["auc_rebalanced"](truth, prediction) == pytest.approx((1 + missed) / 2)


def test_argmax_accuracy_of_a_coarse_output_is_of_the_mean_colors():
    photo = np.zeros((1, 4, 4, 3), "float32")
    photo[0, :2, :2] = 1  # white, whose Y is the largest; black has none, and the first counts
    photo[0, 2:, 2:] = (1, 0, 0)  # V
    truth = np.asarray(YUV().encode(photo[:, ::2, ::2]))
    assert float(metrics.ArgmaxAccuracy(YUV())(photo, truth)) == 1
    assert float(metrics.ArgmaxAccuracy(YUV())(photo, np.roll(truth, 1, axis=-1))) < 1


def test_argmax_accuracy_hardly_sees_color():
    """The paper's metric praises a gray photograph, and one with every color turned around."""
    cat = skdata.chelsea()[None, ::4, ::4].astype("float32") / 255
    chroma = color.rgb_to_yuv(cat).numpy()[..., 1:]
    gray, inverted = with_chroma(cat, 0 * chroma), with_chroma(cat, -chroma)
    assert METRICS["argmax_accuracy"](cat, gray) > 0.99
    assert METRICS["argmax_accuracy"](cat, inverted) > 0.99
    doubled = 2 * METRICS["chroma_rmse"](cat, gray)
    assert METRICS["chroma_rmse"](cat, inverted) == pytest.approx(doubled, rel=0.02)


def test_argmax_accuracy_agrees_with_keras_metric():
    truth, prediction = (image**3 for image in pictures())
    expected = float(metrics.ArgmaxAccuracy(YUV())(truth, color.rgb_to_yuv(prediction)))
    assert expected < 1
    assert METRICS["argmax_accuracy"](truth, prediction) == pytest.approx(expected)


def test_confusion_counts_each_image_and_leaves_void_out():
    truth = np.array([[[0, 0, 1]], [[2, VOID, 2]], [[VOID] * 3]], "uint8")
    prediction = np.array([[[0, 1, 1]], [[0, 0, 2]], [[0, 1, 2]]])
    counts = metrics.confusion(truth, prediction).reshape(3, 3, 3)
    np.testing.assert_array_equal(counts[0], [[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(counts[1], [[0, 0, 0], [0, 0, 0], [1, 0, 1]])
    np.testing.assert_array_equal(counts[2], 0)


def test_segmentation_metrics_by_hand():
    truth = np.array([[[0, 0, 0, 1, 1, 2, 2, VOID]]])
    guess = np.array([[[0, 0, 1, 1, 0, 2, 1, 0]]])
    # Rows are true pet, background, border: [[2, 1, 0], [1, 1, 0], [0, 1, 1]].
    assert METRICS["miou"](truth, guess) == pytest.approx((2 / 4 + 1 / 4 + 1 / 2) / 3)
    assert METRICS["pixel_accuracy"](truth, guess) == pytest.approx(4 / 7)
    assert METRICS["foreground_iou"](truth, guess) == pytest.approx(3 / 6)
    assert METRICS["foreground_iou_ignore_border"](truth, guess) == pytest.approx(2 / 4)


def test_miou_pools_the_set_and_foreground_iou_averages_images():
    truth = np.array([[[0, 0, 0, 1]], [[0, 1, 1, 1]]])
    all_pet = np.zeros_like(truth)
    assert METRICS["miou"](truth, all_pet) == pytest.approx((4 / 8 + 0) / 2)
    large, small = np.array([[[0, 0, 0, 0]]]), np.array([[[0, 1, 1, 1]]])
    truth = np.concatenate([large, small])
    guess = np.array([[[0, 0, 0, 0]], [[1, 0, 1, 1]]])
    assert METRICS["foreground_iou"](truth, guess) == pytest.approx((1 + 0) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_segmentation_metrics_against_keras(seed):
    truth, guess = masks(seed=seed)
    scores = np.eye(3, dtype="float32")[guess]
    iou = float(metrics.mean_iou()(truth, scores))
    accuracy = float(metrics.PixelAccuracy()(truth[..., None], scores))
    assert METRICS["miou"](truth, guess) == pytest.approx(iou, abs=1e-5)
    assert METRICS["pixel_accuracy"](truth, guess) == pytest.approx(accuracy, abs=1e-5)


def test_miou_over_the_classes_that_occur():
    truth = np.array([[[0, 0, 1, 1]]])
    assert METRICS["miou"](truth, truth) == 1
    assert METRICS["miou"](truth, np.array([[[0, 0, 1, 2]]])) == pytest.approx((1 + 1 / 2 + 0) / 3)


@pytest.mark.parametrize("name", MASK)
def test_images_that_are_all_void_contribute_nothing(name):
    truth, guess = masks()
    assert (truth[-1] == VOID).all()
    assert METRICS[name](truth, guess) == pytest.approx(METRICS[name](truth[:-1], guess[:-1]))


@pytest.mark.parametrize("name", MASK)
def test_masks_without_any_label_have_no_score(name):
    truth = np.full((2, 3, 3), VOID)
    assert np.isnan(METRICS[name](truth, np.zeros_like(truth)))


def test_breed_accuracy_of_known_breeds():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert METRICS["breed_accuracy"](np.array([1, 1, -1, 0]), scores) == pytest.approx(2 / 3)


def test_scores_in_place_of_class_ids_are_refused():
    truth = np.zeros((1, 2, 2), int)
    with pytest.raises(ValueError, match=r"class ids \(0, 1, 2\).*0\.25.*argmax"):
        METRICS["miou"](truth, np.full((1, 2, 2), 0.25))


@pytest.mark.parametrize("name", METRICS)
def test_shapes_must_agree(name):
    shapes = {
        "color": [(2, 8, 8, 3), (2, 8, 8, 1)],
        "mask": [(2, 8, 8), (2, 8, 8, 1)],
        "breed": [(2,), (1, 5)],
    }
    truth, prediction = shapes[METRICS[name].needs]
    with pytest.raises(ValueError, match=f"{name} must have the same shape"):
        METRICS[name](np.zeros(truth), np.zeros(prediction))
