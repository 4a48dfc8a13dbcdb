import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from skimage import data as skdata

from colorseg import color, model
from colorseg.baselines import (
    BASELINES,
    BreedMean,
    ConstantChroma,
    Gray,
    Learch,
    Levin,
    Nearest,
    Welsh,
    features,
    levin,
    welsh,
)
from colorseg.evaluation import evaluate

LEARNED = [ConstantChroma, BreedMean, Nearest, Welsh, Learch]


@pytest.fixture(scope="module", autouse=True)
def encoders():
    """A tiny encoder among the known ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "ENCODERS", dict(model.ENCODERS))
        tiny.register()
        yield


def tiny_encoder():
    keras.utils.set_random_seed(0)
    return features.GrayEncoder("none", name="tiny")


def photo(size=48, corner=(60, 120)):
    """A part of a photograph, uint8 `[size, size, 3]`."""
    y, x = corner
    return skdata.chelsea()[y : y + size, x : x + size]


def photos(n=6, size=40):
    rng = np.random.default_rng(1)
    return np.stack([photo(size, corner) for corner in rng.integers(0, 300 - size, (n, 2))])


def to_float(images):
    return images.astype("float32") / 255


def to_chroma(rgb):
    return tf.image.rgb_to_yuv(rgb).numpy()[..., 1:]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype="float64"))))


# The package.


@pytest.mark.parametrize("build", [BreedMean, Learch])
def test_what_needs_scikit_learn_says_so(build, monkeypatch):
    for module in ("sklearn.decomposition", "sklearn.linear_model"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match="sklearn is not installed"):
        build().fit({"images": photos(), "labels": np.arange(6)})


@pytest.mark.parametrize("build", LEARNED)
def test_what_has_not_learned_says_so(build):
    with pytest.raises(RuntimeError, match=rf"{build.__name__} has not learned yet; call `fit"):
        build().predict(np.zeros((1, 32, 32, 1), "float32"))


@pytest.mark.parametrize("build", LEARNED)
def test_baselines_of_color_keep_the_luma(build):
    method = build()
    (method.references if build is Welsh else method).encoder = tiny_encoder()
    images = photos()
    assert method.fit({"images": images, "labels": np.array([0, 1, 0, 1, 0, 1])}) is method
    gray = np.linspace(0, 1, 33 * 40, dtype="float32").reshape(1, 33, 40, 1)
    rgb = method.predict(gray)["color"]
    assert rgb.shape == (1, 33, 40, 3)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    np.testing.assert_allclose(color.luma(rgb), gray, atol=1e-5)


def test_every_baseline_can_be_built_without_options():
    assert [build().__class__ for build in BASELINES.values()] == list(BASELINES.values())


# Features of the encoder.


def test_embedding_is_the_average_of_p5_of_the_scaled_gray(monkeypatch):
    def build(*, include_top, weights, input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.AveragePooling2D(4, name="pool")(inputs))

    entry = model.Encoder(build, ("pool",) * 5, scale=2.0, offset=-1.0)
    monkeypatch.setitem(model.ENCODERS, "mean", entry)
    monkeypatch.setattr(features, "AT_ONCE", 2)
    encoder = features.GrayEncoder("none", name="mean")
    levels = np.array([0, 0.25, 1], "float32")
    gray = np.broadcast_to(levels[:, None, None, None], (3, 8, 8, 1))
    expected = np.repeat([[-1], [-0.5], [1]], 3, axis=1)
    np.testing.assert_allclose(encoder.embed(gray), expected, atol=1e-6)
    assert [level.shape for level in encoder.pyramid(gray)] == [(3, 2, 2, 3)] * 5


def test_weights_that_are_not_there():
    with pytest.raises(ValueError, match="no weights file at nowhere"):
        features.GrayEncoder("nowhere.weights.h5").embed(np.zeros((1, 32, 32, 1), "float32"))


def test_luma_and_chroma_are_those_of_tensorflow():
    images = photos()
    yuv = tf.image.rgb_to_yuv(to_float(images)).numpy()
    np.testing.assert_allclose(color.photos_to_gray(images), yuv[..., :1], atol=1e-6)
    np.testing.assert_allclose(features.chroma(images), yuv[..., 1:], atol=1e-6)
    expected = yuv[..., 1:].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(features.mean_chroma(images), expected, atol=1e-5)


# Breed means, nearest photographs.


class Perfect:
    """Features that tell at a glance which of five luma levels an image has."""

    @staticmethod
    def embed(gray):
        return np.eye(5)[np.rint(4 * gray.mean(axis=(1, 2, 3))).astype(int)]


def test_breed_mean_with_perfect_features_is_the_mean_of_the_breed():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 3], 10)
    # Breed 1 is dark, breed 3 bright; the colors are random.
    rgb = 0.25 * labels[:, None, None, None] + rng.uniform(-0.1, 0.1, (20, 1, 1, 3))
    images = np.rint(255 * np.broadcast_to(rgb, (20, 8, 8, 3))).astype("uint8")
    stranger = np.full((1, 8, 8, 3), (250, 0, 0), "uint8")
    arrays = {
        "images": np.concatenate([images, stranger]),
        "labels": np.append(labels, -1),
    }
    method = BreedMean()
    method.encoder = Perfect
    found = method.fit(arrays).predict(color.photos_to_gray(images))
    assert found["breed"].shape == (20, 4)
    np.testing.assert_array_equal(found["breed"].argmax(axis=-1), labels)
    np.testing.assert_allclose(found["breed"].sum(axis=-1), 1)
    for label in (1, 3):
        mean = to_chroma(to_float(images[labels == label])).mean(axis=(0, 1, 2))
        got = to_chroma(found["color"][labels == label])
        np.testing.assert_allclose(got, np.broadcast_to(mean, got.shape), atol=1e-5)


def test_breed_mean_of_one_breed():
    arrays = {"images": photos(3), "labels": np.array([2, 2, -1])}
    with pytest.raises(ValueError, match=r"two breeds or more, got \[2\]; use ConstantChroma"):
        BreedMean().fit(arrays)


def test_nearest_of_a_training_photograph_is_itself():
    images = photos()
    method = Nearest()
    method.encoder = tiny_encoder()
    method.fit({"images": images})
    gray = color.photos_to_gray(images)
    assert method.find(gray[::-1]).tolist() == [5, 4, 3, 2, 1, 0]
    np.testing.assert_allclose(method.predict(gray)["color"], to_float(images), atol=1e-5)


def test_nearest_is_resized_to_the_photograph():
    images = np.zeros((2, 8, 8, 3), "uint8")
    images[0] = 60
    images[1, :, :4], images[1, :, 4:] = (230, 180, 160), (160, 180, 230)
    method = Nearest()
    method.encoder = Perfect
    method.fit({"images": images})
    gray = np.full((1, 16, 12, 1), 0.75, "float32")
    got = to_chroma(method.predict(gray)["color"])[0]
    expected = features.chroma(images[1])
    for column, source in ((0, 0), (11, 7)):
        np.testing.assert_allclose(got[:, column], np.tile(expected[0, source], (16, 1)), atol=1e-5)


# Welsh.


def luma_of(rgb):
    return color.luma(rgb).numpy()


def test_an_image_that_is_its_own_reference_keeps_its_colors():
    rgb = to_float(photo())
    error = to_chroma(welsh.transfer(luma_of(rgb), rgb, samples=48 * 48)) - to_chroma(rgb)
    # All but a few pixels find themselves: those whose luma and deviation another one shares.
    assert np.mean(np.abs(error).max(axis=-1) < 1e-4) > 0.95
    assert rms(error) < 0.1 * rms(to_chroma(rgb))


def test_two_hundred_samples_come_near_to_it():
    rgb = to_float(photo())
    error = to_chroma(welsh.transfer(luma_of(rgb), rgb)) - to_chroma(rgb)
    assert rms(error) < 0.4 * rms(to_chroma(rgb))


def test_contrast_and_brightness_of_the_reference_do_not_matter():
    rgb = to_float(photo())
    target = luma_of(to_float(photo(40, (100, 200))))
    y = luma_of(rgb)
    darker = rgb - y + 0.6 * y + 0.2
    assert darker.min() >= 0
    assert darker.max() <= 1
    first, second = (welsh.transfer(target, reference) for reference in (rgb, darker))
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_samples_depend_on_the_seed_alone():
    rgb = to_float(photo())
    gray = luma_of(rgb)
    first, again, other = (welsh.transfer(gray, rgb, samples=20, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def stripes_and_flat(left, right, size=32):
    """Luma 0.5 throughout, flat on the left and striped on the right, in these colors."""
    gray = np.full((size, size, 1), 0.5, "float32")
    gray[::2, size // 2 :] += 0.1
    gray[1::2, size // 2 :] -= 0.1
    chroma = np.empty((size, size, 2), "float32")
    chroma[:, : size // 2], chroma[:, size // 2 :] = left, right
    return features.add_chroma(gray, chroma)


def test_texture_tells_apart_what_has_the_same_luma():
    ours = stripes_and_flat((0.1, 0.0), (0.0, 0.1))
    # The same places, the other way round.
    reference = ours[:, ::-1]
    got = to_chroma(welsh.transfer(luma_of(ours), np.ascontiguousarray(reference)))
    np.testing.assert_allclose(got[:, :12], np.broadcast_to([0.1, 0.0], (32, 12, 2)), atol=1e-4)
    np.testing.assert_allclose(got[:, 20:], np.broadcast_to([0.0, 0.1], (32, 12, 2)), atol=1e-4)


def test_swatches_say_which_color_goes_where():
    gray = luma_of(stripes_and_flat((0, 0), (0, 0)))
    reference = stripes_and_flat((0.1, 0.0), (0.0, 0.1), size=40)
    # Crosswise: flat gets the color of stripes, and stripes that of what is flat.
    swatches = [((4, 2, 12, 10), (5, 25, 35, 38)), ((20, 20, 28, 30), (5, 2, 35, 15))]
    got = to_chroma(welsh.transfer(gray, reference, swatches=swatches))
    np.testing.assert_allclose(got[:, :12], np.broadcast_to([0.0, 0.1], (32, 12, 2)), atol=1e-4)
    np.testing.assert_allclose(got[:, 20:], np.broadcast_to([0.1, 0.0], (32, 12, 2)), atol=1e-4)


def test_a_flat_reference_gives_its_one_color():
    reference = np.full((8, 8, 3), (0.6, 0.4, 0.3), "float32")
    gray = luma_of(to_float(photo())) * 0.5 + 0.2
    got = to_chroma(welsh.transfer(gray, reference))
    np.testing.assert_allclose(
        got, np.broadcast_to(to_chroma(reference[0, 0]), got.shape), atol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gray": np.zeros((8, 8), "float32")}, r"`gray` must be luma \[H, W, 1\] .* \(8, 8\) and"),
        ({"samples": 0}, "`samples` must be at least 1, got 0"),
        ({"swatches": []}, "`swatches` must be one pair of rectangles or more"),
        (
            {"swatches": [((0, 0, 9, 4), (0, 0, 4, 4))]},
            r"inside of the gray image of 8 x 8, got \(0, 0, 9, 4\)",
        ),
        (
            {"swatches": [((0, 0, 4, 4), (0, 3, 4, 3))]},
            r"not empty and inside of the reference of 8 x 8, got \(0, 3, 4, 3\)",
        ),
    ],
)
def test_wrong_input_of_welsh(changes, message):
    given = {"gray": np.zeros((8, 8, 1), "float32"), **changes}
    with pytest.raises(ValueError, match=message):
        welsh.transfer(given.pop("gray"), np.zeros((8, 8, 3), "float32"), **given)


def test_welsh_finds_its_reference_itself():
    images = photos()
    method = Welsh(samples=40 * 40)
    method.references.encoder = tiny_encoder()
    found = method.fit({"images": images}).predict(color.photos_to_gray(images))["color"]
    assert rms(found - to_float(images)) < 0.1 * rms(to_chroma(to_float(images)))


# Levin.


def solve_by_hand(gray, hints):
    """The system of Levin et al., written out pixel by pixel."""
    height, width = gray.shape
    matrix, values = np.eye(height * width), np.zeros((height * width, 2))
    for y in range(height):
        for x in range(width):
            pixel = y * width + x
            if np.isfinite(hints[y, x]).all():
                values[pixel] = hints[y, x]
                continue
            window = [
                (i, j)
                for i in range(max(y - 1, 0), min(y + 2, height))
                for j in range(max(x - 1, 0), min(x + 2, width))
            ]
            variance = np.var([gray[place] for place in window])
            weights = {
                (i, j): np.exp(-((gray[y, x] - gray[i, j]) ** 2) / (0.6 * variance))
                for i, j in window
                if (i, j) != (y, x)
            }
            for (i, j), weight in weights.items():
                matrix[pixel, i * width + j] = -weight / sum(weights.values())
    return np.linalg.solve(matrix, values).reshape(height, width, 2)


def test_propagation_solves_the_system_of_the_paper(rng):
    gray = rng.random((6, 5))
    hints = np.full((6, 5, 2), np.nan)
    for place in ((0, 0), (2, 3), (5, 4)):
        hints[place] = rng.uniform(-0.3, 0.3, 2)
    found = levin.propagate(gray[..., None], hints)
    np.testing.assert_allclose(found, solve_by_hand(gray, hints), atol=1e-10)
    # Means of neighbors stay between the colors that were given.
    assert (found >= np.nanmin(hints, axis=(0, 1)) - 1e-12).all()
    assert (found <= np.nanmax(hints, axis=(0, 1)) + 1e-12).all()


def test_dense_hints_return_the_photograph():
    rgb = to_float(photo())[None]
    gray, chroma = luma_of(rgb), to_chroma(rgb)
    np.testing.assert_allclose(Levin().predict(gray, hints=chroma)["color"], rgb, atol=1e-5)
    # And with every fourth pixel unknown, nearly.
    chroma[:, ::2, ::2] = np.nan
    assert rms(Levin().predict(gray, hints=chroma)["color"] - rgb) < 0.01


def test_one_hint_is_a_constant():
    gray = luma_of(to_float(photo()))
    hints = np.full((48, 48, 2), np.nan)
    hints[30, 7] = (0.05, -0.1)
    expected = np.broadcast_to(hints[30, 7], (48, 48, 2))
    np.testing.assert_allclose(levin.propagate(gray, hints), expected, atol=1e-9)


def test_no_hint_is_gray():
    images = photos(2)
    found = evaluate(Levin(hints=0), {"images": images}, bootstrap=1)
    assert found == evaluate(Gray(), {"images": images}, bootstrap=1)


def test_color_stops_at_an_edge():
    rng = np.random.default_rng(0)
    gray = 0.3 + 0.01 * rng.random((16, 16, 1))
    gray[:, 8:] += 0.5
    hints = np.full((16, 16, 2), np.nan)
    hints[2, 2], hints[12, 13] = (0.1, 0.0), (0.0, 0.1)
    found = levin.propagate(gray, hints)
    np.testing.assert_allclose(found[:, :7], np.broadcast_to([0.1, 0.0], (16, 7, 2)), atol=0.02)
    np.testing.assert_allclose(found[:, 9:], np.broadcast_to([0.0, 0.1], (16, 7, 2)), atol=0.02)


def test_more_hints_are_better():
    arrays = {"images": photos(4)}
    scores = [
        evaluate(Levin(hints=n), arrays, bootstrap=1)["chroma_rmse"]["value"] for n in (3, 30, 300)
    ]
    assert scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize(
    ("gray", "hints", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4, 2)), r"`gray` must be .* \[H, W, 1\] .*, got shape"),
        (np.full((4, 4, 1), np.nan), np.zeros((4, 4, 2)), "`gray` must be finite"),
        (np.zeros((1, 1, 1)), np.zeros((1, 1, 2)), "of two pixels or more"),
        (np.zeros((4, 4, 1)), np.zeros((4, 4, 3)), r"\(4, 4, 2\), got shape \(4, 4, 3\)"),
    ],
)
def test_wrong_input_of_levin(gray, hints, message):
    with pytest.raises(ValueError, match=message):
        levin.propagate(gray, hints)


def test_fewer_hints_than_none():
    with pytest.raises(ValueError, match="`hints` must be at least 0, got -1"):
        Levin(hints=-1)


# After Deshpande et al.


def learch(**options):
    method = Learch(**options)
    method.encoder = tiny_encoder()
    return method


def tinted(images):
    """Photographs whose color follows from their luma alone: dark is blue, bright is orange."""
    y = color.photos_to_gray(images)
    chroma = (y - 0.5) * np.array([-0.25, 0.25], "float32")
    return np.rint(255 * features.add_chroma(y, chroma)).astype("uint8")


def test_the_forest_learns_what_luma_tells():
    images = tinted(photos(24))
    train, test = {"images": images[:20]}, {"images": images[20:]}
    scores = [
        evaluate(method.fit(train), test, bootstrap=1)["chroma_rmse"]["value"]
        for method in (learch(), ConstantChroma())
    ]
    assert scores[0] < 0.6 * scores[1]


def test_the_forest_is_deterministic_by_its_seed():
    arrays = {"images": photos()}
    gray = color.photos_to_gray(photos(2, 33))
    first, again, other = (
        learch(seed=seed).fit(arrays).predict(gray)["color"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_without_smoothness_the_guess_stays_and_with_all_it_becomes_its_mean():
    method = learch(smoothness=0.0).fit({"images": photos()})
    gray = 0.25 + 0.5 * color.photos_to_gray(photos(2))  # where all these colors are in gamut
    guess = method.guess(gray)
    np.testing.assert_allclose(to_chroma(method.predict(gray)["color"]), guess, atol=1e-5)
    method.smoothness = 1e7
    mean = np.broadcast_to(guess.mean(axis=(1, 2), keepdims=True), guess.shape)
    np.testing.assert_allclose(to_chroma(method.predict(gray)["color"]), mean, atol=1e-3)


def test_the_objective_is_at_its_minimum(rng):
    """No small change of the result lowers the sum, here written out pixel by pixel."""
    method = learch(smoothness=2.0).fit({"images": photos()})
    gray = 0.25 + 0.5 * color.photos_to_gray(photos(1, 16))
    guess = method.guess(gray)[0].astype("float64")
    result = to_chroma(method.predict(gray)["color"])[0].astype("float64")
    weights = levin.affinity(gray[0]).toarray()
    weights = (weights + weights.T) / 2

    def cost(chroma):
        flat = chroma.reshape(-1, 2)
        pairs = np.sum((flat[:, None] - flat[None]) ** 2, axis=-1)
        # Each pair stands twice in this sum, and once in the objective.
        return np.sum((chroma - guess) ** 2) + 2.0 * np.sum(weights * pairs) / 2

    least = cost(result)
    assert least < cost(guess)
    for _ in range(20):
        assert least < cost(result + 1e-3 * rng.standard_normal(result.shape))
