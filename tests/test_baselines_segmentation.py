import sys

import numpy as np
import pytest

from colorseg import data
from colorseg.baselines import BASELINES, segmentation
from colorseg.evaluation import evaluate
from colorseg.metrics import BACKGROUND, BORDER, PET, VOID

SIZE = 48
NAMES = ("all_foreground", "mean_mask", "threshold", "texton_forest", "grabcut")
LEARNED = NAMES[1:]


def discs(n, *, bright=0.8, dark=0.2, noise=0.03, seed=0):
    """Discs of one luma on another, at random places, with a border of 2 pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    centers, radii = rng.uniform(0.38 * SIZE, 0.62 * SIZE, (n, 2, 1, 1)), rng.uniform(8, 14, n)
    inside = np.hypot(y - centers[:, 0], x - centers[:, 1]) < radii[:, None, None]
    return arrays(np.where(inside, bright, dark) + rng.normal(0, noise, inside.shape), inside)


def stripes(n, *, noise, seed=0):
    """Vertical stripes on horizontal ones, of the same mean, split at a random column."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    inside = (x < rng.integers(SIZE // 4, 3 * SIZE // 4, (n, 1, 1))) & (y >= 0)
    phase = rng.integers(4, size=(n, 1, 1))
    luma = np.where(inside, x + phase, y + phase) % 4 < 2
    return arrays(0.3 + 0.4 * luma + rng.normal(0, noise, inside.shape), inside)


def arrays(luma, foreground):
    images = np.round(255 * np.clip(luma, 0, 1)).astype("uint8")
    masks = segmentation.add_border(foreground, 2)
    return {"images": np.repeat(images[..., None], 3, -1), "segmentation_masks": masks[..., None]}


def gray_of(examples):
    return examples["images"][..., :1].astype("float32") / 255


def foreground_iou(examples, mask):
    truth, found = examples["segmentation_masks"][..., 0] != BACKGROUND, mask != BACKGROUND
    return np.sum(truth & found) / np.sum(truth | found)


def small(name):
    """A method that needs no more than a second."""
    options = {"texton_forest": {"trees": 5, "samples": 4000, "leaf": 5}}
    return BASELINES[name](**options.get(name, {}))


# The border.


def test_the_border_is_the_outermost_ring_of_a_square():
    square = np.zeros((7, 7), bool)
    square[1:6, 1:6] = True
    expected = np.full((7, 7), BACKGROUND)
    expected[1:6, 1:6] = BORDER
    expected[2:5, 2:5] = PET
    np.testing.assert_array_equal(segmentation.add_border(square, 1), expected)
    assert not np.any(segmentation.add_border(square, 0) == BORDER)


def test_there_is_no_border_where_the_image_ends():
    left = np.zeros((1, 4, 6), bool)
    left[..., :3] = True
    expected = np.broadcast_to([PET, PET, BORDER, *3 * [BACKGROUND]], (1, 4, 6))
    np.testing.assert_array_equal(segmentation.add_border(left, 1), expected)
    assert np.all(segmentation.add_border(np.ones((4, 6)), 2) == PET)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_the_width_of_borders_is_measured(width):
    foreground = discs(600)["segmentation_masks"][..., 0] != BACKGROUND
    masks = segmentation.add_border(foreground, width)
    masks[:, : SIZE // 2] = VOID
    assert segmentation.measure_border(masks) == width


# Each method finds what it is made for.


def test_all_foreground_scores_the_shares_of_the_classes():
    mask = np.array([[0, 0, 0, 0], [2, 2, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]])
    examples = {
        "images": np.zeros((1, 4, 4, 3), "uint8"),
        "segmentation_masks": mask[None, ..., None],
    }
    scores = evaluate(BASELINES["all_foreground"](), examples)
    # 4 pet, 2 border, 10 background; all 16 said to be pet.
    expected = {
        "miou": 4 / 16 / 3,
        "foreground_iou": 6 / 16,
        "foreground_iou_ignore_border": 4 / 14,
        "pixel_accuracy": 4 / 16,
    }
    assert {name: score["value"] for name, score in scores.items()} == pytest.approx(expected)


def test_mean_mask_is_the_majority_of_the_known():
    masks = np.full((4, 1, 4, 1), BACKGROUND)
    masks[:, 0, 0] = PET
    masks[:2, 0, 1] = BORDER  # two of four: no majority
    masks[:2, 0, 2] = BORDER
    masks[2, 0, 2] = VOID  # two of three
    method = BASELINES["mean_mask"]()
    method.fit({"images": np.zeros((4, 1, 4, 3), "uint8"), "segmentation_masks": masks})
    found = method.predict(np.zeros((2, 1, 4, 1)))["mask"]
    assert (found != BACKGROUND).tolist() == 2 * [[[True, False, True, False]]]


@pytest.mark.parametrize("position", [True, False])
@pytest.mark.parametrize("lumas", [{}, {"bright": 0.1, "dark": 0.7}], ids=["bright", "dark"])
def test_threshold_finds_a_disc_of_either_polarity(lumas, position):
    train, test = discs(20), discs(5, seed=1, **lumas)
    method = segmentation.Threshold(position=position, blur=1.0).fit(train)
    assert foreground_iou(test, method.predict(gray_of(test))["mask"]) > 0.95


def test_threshold_trusts_the_position_where_the_luma_says_little():
    test = discs(20, seed=1, bright=0.5, dark=0.5, noise=0.2)
    found = [
        segmentation.Threshold(position=position, blur=0.0)
        .fit(discs(20, bright=0.5, dark=0.5, noise=0.2))
        .predict(gray_of(test))["mask"]
        for position in (False, True)
    ]
    without, along = (foreground_iou(test, mask) for mask in found)
    assert without < 0.3
    assert along > 0.5


def test_texton_forest_tells_textures_apart_and_its_second_forest_does_it_better():
    method = small("texton_forest").fit(stripes(40, noise=0.2))
    test = stripes(10, noise=0.2, seed=1)
    both = foreground_iou(test, method.predict(gray_of(test))["mask"])
    method.forests.pop()
    first = foreground_iou(test, method.predict(gray_of(test))["mask"])
    assert both > 0.88
    assert both > first + 0.03


def test_texton_forest_is_a_function_of_its_seed():
    train, gray = stripes(20, noise=0.3), gray_of(stripes(4, noise=0.3, seed=1))
    masks = [
        segmentation.TextonForest(trees=3, samples=1000, seed=seed)
        .fit(train)
        .predict(gray)["mask"]
        .tolist()
        for seed in (0, 0, 1)
    ]
    assert masks[0] == masks[1] != masks[2]


def test_grabcut_finds_a_disc_that_lies_aside():
    test = discs(8, seed=1)
    method = BASELINES["grabcut"]().fit(discs(40))
    mask = method.predict(gray_of(test))["mask"]
    assert foreground_iou(test, mask) > 0.9
    np.testing.assert_array_equal(method.predict(gray_of(test))["mask"], mask)


def test_grabcut_starts_from_the_boxes_of_heads_where_they_are_known(monkeypatch):
    examples = discs(12)
    names = np.array([f"pet_{i}.jpg".encode() for i in range(12)])
    heads = {name: np.array([0.1, 0.2, 0.3, 0.5]) for name in names[:10]}
    monkeypatch.setattr(segmentation, "_head_boxes", lambda: heads)
    monkeypatch.setattr(data, "pets_are_prepared", lambda: True)
    method = BASELINES["grabcut"]().fit({**examples, "file_names": names})
    # All ten are alike, so that no gradient says otherwise.
    described = segmentation._gradients(gray_of(discs(3, seed=1))[..., 0])
    np.testing.assert_allclose(method.regression.predict(described), 3 * [heads[names[0]]])


def test_other_photographs_have_boxes_of_their_pets(monkeypatch):
    monkeypatch.setattr(segmentation, "_head_boxes", lambda: {b"Sphynx_1.jpg": np.ones(4)})
    masks = np.full((2, 10, 20), BACKGROUND)
    masks[0, 2:5, 4:10] = BORDER
    boxes, known = segmentation._boxes(masks, [b"toy_1", b"toy_2"])
    assert boxes[0].tolist() == [0.2, 0.2, 0.5, 0.5]
    assert known.tolist() == [True, False]


def test_the_boxes_of_heads_are_those_of_the_train_split(pets):
    boxes = segmentation._head_boxes()
    found = np.stack([box for box in boxes.values() if box.any()])
    assert (len(boxes), len(found)) == (3680, 3671)
    assert np.all((found >= 0) & (found <= 1) & (found[:, [2, 3, 2, 3]] >= found))


# All of them.


@pytest.mark.parametrize("name", LEARNED)
def test_learned_methods_beat_all_foreground(name, toys):
    examples = {key: values for key, values in toys.items() if key != "file_names"}
    scores = evaluate(small(name).fit(examples), examples, bootstrap=1)
    trivial = evaluate(BASELINES["all_foreground"](), examples, bootstrap=1)
    for metric in ("miou", "pixel_accuracy"):
        assert scores[metric]["value"] > trivial[metric]["value"] + 0.1


@pytest.mark.parametrize("name", LEARNED)
def test_photographs_without_a_mask_teach_nothing(name):
    train, gray = discs(12), gray_of(discs(3, seed=1))
    blank = np.zeros_like(train["images"])
    more = {
        "images": np.concatenate([train["images"], blank]),
        "segmentation_masks": np.concatenate(
            [train["segmentation_masks"], np.full((12, SIZE, SIZE, 1), VOID, "uint8")]
        ),
    }
    masks = [small(name).fit(examples).predict(gray)["mask"] for examples in (train, more)]
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("name", LEARNED)
def test_the_corners_of_flat_images_are_background(name):
    flat = np.broadcast_to(np.reshape([0, 0.1, 0.2], (3, 1, 1, 1)), (3, SIZE, SIZE, 1))
    mask = small(name).fit(discs(20)).predict(flat.astype("float32"))["mask"]
    assert np.all(mask[:, [0, 0, -1, -1], [0, -1, 0, -1]] == BACKGROUND)


@pytest.mark.parametrize("name", LEARNED)
def test_learned_methods_say_what_they_lack(name):
    train = discs(3)
    with pytest.raises(RuntimeError, match=r"has not learned yet; call `fit\(arrays\)`"):
        BASELINES[name]().predict(gray_of(train))
    train["segmentation_masks"][:] = BACKGROUND
    with pytest.raises(ValueError, match="learns from masks, and these hold no foreground or no"):
        BASELINES[name]().fit(train)


def test_another_size_is_refused():
    method = BASELINES["mean_mask"]().fit(discs(2))
    with pytest.raises(ValueError, match=r"as large as .* \(48, 48\), got \(8, 9\); resize them"):
        method.predict(np.zeros((1, 8, 9, 1), "float32"))


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [("texton_forest", 1, "needs 2 photographs"), ("grabcut", 4, "needs 5 photographs .* got 4")],
)
def test_too_few_photographs_are_refused(name, count, message):
    with pytest.raises(ValueError, match=message):
        BASELINES[name]().fit(discs(count))


@pytest.mark.parametrize("name", ["texton_forest", "grabcut"])
def test_a_missing_package_is_named(name, monkeypatch):
    for module in ("sklearn.ensemble", "sklearn.linear_model"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "colorseg\[baselines\]"'):
        BASELINES[name]().fit(discs(6))
