import keras
import numpy as np
import pytest
from skimage import data as skdata

from colorseg import color, encodings, losses

ENCODINGS = [encodings.YUV(), encodings.Chroma(), encodings.Learch(), encodings.QuantizedAB()]
NAMES = [type(encoding).__name__ for encoding in ENCODINGS]


@pytest.fixture
def rgb(rng):
    return rng.random((2, 6, 5, 3), dtype="float32")


@pytest.mark.parametrize("encoding", ENCODINGS, ids=NAMES)
def test_encode_gives_the_channels_that_a_head_has(encoding, rgb):
    assert tuple(encoding.encode(rgb).shape) == (*rgb.shape[:-1], encoding.channels)


@pytest.mark.parametrize("encoding", ENCODINGS[:-1], ids=NAMES[:-1])
def test_decoding_the_target_returns_the_photograph(encoding, rgb):
    decoded = encoding.decode(color.luma(rgb), encoding.encode(rgb))
    np.testing.assert_allclose(decoded, rgb, atol=1e-5)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=NAMES)
def test_decoding_keeps_the_gray_whatever_is_predicted(encoding, rgb, rng):
    output = rng.normal(size=(*rgb.shape[:-1], encoding.channels)).astype("float32") * 3
    gray = color.luma(rgb)
    np.testing.assert_allclose(color.luma(encoding.decode(gray, output)), gray, atol=1e-5)


@pytest.mark.parametrize("encoding", ENCODINGS[:-1], ids=NAMES[:-1])
def test_a_coarse_output_is_held_against_the_average_and_enlarged(encoding, rng):
    blocks = rng.random((2, 3, 2, 3), dtype="float32")
    rgb = np.kron(blocks, np.ones((1, 4, 4, 1), "float32"))
    noise = rng.uniform(-0.1, 0.1, rgb.shape).astype("float32")
    noise -= noise.reshape(2, 3, 4, 2, 4, 3).mean((2, 4)).repeat(4, 1).repeat(4, 2)
    output = np.asarray(encoding.encode(blocks))
    np.testing.assert_allclose(encoding.target(rgb + noise, output), output, atol=1e-5)
    assert float(losses.EncodedLoss(encoding)(rgb, output)) == pytest.approx(0, abs=1e-9)
    decoded = np.asarray(encoding.decode_chroma(color.luma(rgb), output))
    truth = np.asarray(color.rgb_to_yuv(rgb))[..., 1:]
    assert decoded.shape == truth.shape
    # Bilinear: a flat picture stays flat, and the corners are beyond the last centers.
    np.testing.assert_allclose(
        decoded[:, [0, -1]][:, :, [0, -1]], truth[:, [0, -1]][:, :, [0, -1]], atol=1e-6
    )
    np.testing.assert_allclose(decoded.mean((1, 2)), truth.mean((1, 2)), atol=0.05)


def test_a_coarse_output_must_divide_the_photograph():
    with pytest.raises(ValueError, match="does not divide a photograph of 6 x 4"):
        encodings.Chroma().decode_chroma(np.zeros((1, 6, 4, 1)), np.zeros((1, 4, 4, 2)))


def test_chroma_spans_minus_one_to_one():
    primaries = np.array([[0, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1]], "float32")
    target = np.asarray(encodings.Chroma().encode(primaries))
    np.testing.assert_allclose(target[:2, 0], [1, -1], atol=1e-3)
    np.testing.assert_allclose(target[2:, 1], [1, -1], atol=1e-3)


def test_bins_cover_the_gamut_and_nothing_else(rng):
    bins = encodings.gamut_bins()
    ab = np.asarray(color.rgb_to_lab(rng.random((20000, 3), dtype="float32")))[:, 1:]
    offsets = np.abs(ab[:, None] - bins[None]).max(axis=-1)
    assert offsets.min(axis=1).max() <= 5 + 1e-3  # every color lies in the cell of some bin
    assert not any((b == (100, 100)).all() for b in bins)  # a color that no screen shows


def test_soft_targets_are_gaussian_weights_of_the_five_nearest():
    rgb = np.array([[0.7, 0.4, 0.3]], "float32")
    ab = np.asarray(color.rgb_to_lab(rgb))[0, 1:]
    squared = ((encodings.gamut_bins() - ab) ** 2).sum(axis=1)
    nearest = np.argsort(squared)[:5]
    weights = np.exp(-squared[nearest] / (2 * 5.0**2))
    expected = np.zeros(len(squared))
    expected[nearest] = weights / weights.sum()
    np.testing.assert_allclose(encodings.QuantizedAB().encode(rgb)[0], expected, atol=1e-5)


def test_a_cold_annealed_mean_is_the_mode_and_a_warm_one_the_mean(rgb):
    logits = np.zeros((1, 261), "float32")
    bins = encodings.gamut_bins()
    assert len(bins) == logits.shape[1]
    one, other = 120, 150
    logits[0, one], logits[0, other] = 20.5, 20.0
    gray = np.full((1, 1), 0.5, "float32")

    def decoded_ab(temperature):
        encoding = encodings.QuantizedAB(temperature=temperature)
        yuv = np.concatenate([gray, encoding.decode_chroma(gray, logits)], axis=-1)
        return np.asarray(color.rgb_to_lab(color.yuv_to_rgb(yuv)))[0, 1:]

    share = 1 / (1 + np.exp(-0.5))
    mean = share * bins[one] + (1 - share) * bins[other]
    np.testing.assert_allclose(decoded_ab(0.01), bins[one], atol=1.0)
    np.testing.assert_allclose(decoded_ab(1.0), mean, atol=1.0)


@pytest.mark.parametrize("temperature", [1.0, 0.38])
def test_quantized_round_trip_errs_by_less_than_half_a_bin(temperature, rng):
    """The colors of the whole gamut, read from their own targets as `decode` reads them."""
    rgb = rng.random((3000, 3), dtype="float32")
    encoding = encodings.QuantizedAB(temperature=temperature)
    sharpened = np.asarray(encoding.encode(rgb), "float64") ** (1 / temperature)
    mean_ab = sharpened @ encoding.bins / sharpened.sum(axis=-1, keepdims=True)
    ab = np.asarray(color.rgb_to_lab(rgb))[:, 1:]
    assert np.linalg.norm(mean_ab - ab, axis=1).max() < encodings.BIN_SIDE / 2


def test_a_photograph_survives_quantization():
    """Through `decode`: lightness follows from the luma there, which is about right in photos."""
    rgb = skdata.chelsea()[60:108, 60:108] / np.float32(255)
    encoding = encodings.QuantizedAB(temperature=1.0)
    decoded = encoding.decode(color.luma(rgb), np.log(np.asarray(encoding.encode(rgb)) + 1e-9))
    uv, truth = (np.asarray(color.rgb_to_yuv(image))[..., 1:] for image in (decoded, rgb))
    assert np.sqrt(np.mean((uv - truth) ** 2)) < 0.1 * np.sqrt(np.mean(truth**2))


def test_rare_bins_weigh_more_and_the_mean_weight_is_one():
    prior = np.full(261, 1 / 522)
    prior[7] += 0.5
    encoding = encodings.QuantizedAB(prior)
    assert encoding.weights[7] < encoding.weights[8]
    assert (np.asarray(prior) * encoding.weights).sum() == pytest.approx(1)
    assert encoding.weights[8] / encoding.weights[7] == pytest.approx(
        (0.5 * prior[7] + 0.5 / 261) / (0.5 * prior[8] + 0.5 / 261)
    )


def test_prior_counts_pixels_by_nearest_bin():
    gray_and_red = np.zeros((1, 2, 2, 3), "float32")
    gray_and_red[0, 0] = 0.5
    gray_and_red[0, 1] = (1, 0, 0)
    encoding = encodings.QuantizedAB()
    prior = encoding.measure_prior(gray_and_red)
    origin = np.flatnonzero((encoding.bins == 0).all(axis=1))[0]
    assert prior[origin] == pytest.approx(0.5)
    assert sorted(prior)[-2:] == [0.5, 0.5]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=NAMES)
def test_encodings_survive_serialization(encoding, rgb):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(encoding))
    np.testing.assert_array_equal(copy.encode(rgb), encoding.encode(rgb))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"prior": [0.5, 0.5]}, "one share for each of the 261"), ({"temperature": 0.0}, "temp")],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        encodings.QuantizedAB(**arguments)
