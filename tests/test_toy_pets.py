import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from colorseg import toy_pets
from colorseg.toy_pets import BACKGROUND, BACKGROUNDS, BORDER, BREEDS, PET, draw, plan

pytestmark = pytest.mark.filterwarnings("error")

KEYS = ("images", "segmentation_masks", "labels", "file_name")
# BT.601, written out: luma, U, V.
YUV = np.array([[0.299, 0.587, 0.114], [-0.1471, -0.2889, 0.436], [0.615, -0.515, -0.1]])
TWINS = [("breed", "russian_blue", "poodle"), ("ground", "meadow", "living_room")]


@pytest.fixture(scope="module")
def examples():
    return [draw(index) for index in range(192)]


@pytest.fixture(scope="module")
def means(examples):
    """Mean Y, U, V of each pet, and of the ground of each background: name -> [n, 3]."""
    means = {}
    for index, example in enumerate(examples):
        yuv = example["images"] / 255 @ YUV.T
        mask = example["segmentation_masks"][..., 0]
        ground = mask == BACKGROUND
        ground[: int(0.68 * len(mask))] = False
        for name, region in zip(plan(index), (mask == PET, ground), strict=True):
            if region.sum() > 200:
                means.setdefault(name, []).append(yuv[region].mean(0))
    return {name: np.array(values) for name, values in means.items()}


def assert_same(one, other):
    for key in KEYS:
        np.testing.assert_array_equal(one[key], other[key])


def test_a_picture_depends_on_its_arguments_alone(examples):
    np.random.seed(3)  # noqa: NPY002 - the global state must not matter
    for index in (40, 7, 0):
        assert_same(draw(index), examples[index])
    assert_same(draw(np.int64(7), split="train", seed=0), examples[7])


def test_indices_splits_and_seeds_give_different_pictures(examples):
    others = [draw(i, split=split) for split in ("validation", "test") for i in range(20)]
    others += [draw(i, seed=1) for i in range(20)]
    pictures = {example["images"].tobytes() for example in examples + others}
    assert len(pictures) == len(examples) + len(others)


def test_examples_are_what_the_docstring_says(examples):
    shortest, longest = toy_pets.SIDES
    shapes = set()
    for index, example in enumerate(examples):
        assert tuple(example) == KEYS
        image, mask = example["images"], example["segmentation_masks"]
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == (*mask.shape[:2], 3)
        assert mask.shape[2] == 1
        assert shortest <= min(mask.shape[:2]) <= max(mask.shape[:2]) <= longest
        assert isinstance(example["labels"], int)
        assert BREEDS[example["labels"]] == plan(index)[0]
        assert example["file_name"] == f"toy_train_{index:05d}"
        shapes.add(mask.shape)
    assert len(shapes) > 96
    assert any(height > 1.15 * width for height, width, _ in shapes)
    assert any(width > 1.15 * height for height, width, _ in shapes)


def test_class_ids_are_those_of_the_library():
    assert (PET, BACKGROUND, BORDER) == (0, 1, 2)


def test_every_picture_has_every_class(examples):
    shares = np.array([np.bincount(e["segmentation_masks"].ravel(), minlength=3) for e in examples])
    shares = shares / shares.sum(1, keepdims=True)
    assert shares.shape[1] == 3  # no other label
    assert (shares[:, PET] > 0.05).all()
    assert (shares[:, BACKGROUND] > 0.3).all()
    assert (shares[:, BORDER] > 0.02).all()
    assert (shares[:, BORDER] < 0.12).all()


def test_cats_and_dogs():
    species = [toy_pets._BREEDS[breed].species for breed in BREEDS]
    assert species.count("cat") == species.count("dog") == 4


def test_each_run_of_32_has_every_breed_before_every_background_once():
    pairs = {(breed, background) for breed in BREEDS for background in BACKGROUNDS}
    runs = [
        [plan(start + i, split=split) for i in range(32)]
        for start in (0, 32)
        for split in toy_pets.SIZES
    ]
    assert all(set(run) == pairs for run in runs)
    assert len({tuple(run) for run in runs}) == len(runs)


def test_border_lies_between_pet_and_background(examples):
    for example in examples:
        mask = example["segmentation_masks"][..., 0]
        around_pet = ndimage.binary_dilation(mask == PET, np.ones((3, 3)))
        assert not (around_pet & (mask == BACKGROUND)).any()
        # From most of the border, the background is no farther than the band is wide; a gap
        # between two legs may be border through and through.
        band = toy_pets.BORDER_WIDTH * sum(mask.shape) / 256
        distance = ndimage.distance_transform_edt(mask != BACKGROUND)[mask == BORDER]
        assert np.quantile(distance, 0.75) <= band + 0.5


def test_frame_cuts_some_pets_and_not_most(examples):
    cut = []
    for example in examples:
        pet = example["segmentation_masks"][..., 0] == PET
        cut.append(pet[0].any() or pet[-1].any() or pet[:, 0].any() or pet[:, -1].any())
    assert 0.1 < np.mean(cut) < 0.6


@pytest.mark.parametrize("names", [BREEDS, BACKGROUNDS], ids=["breeds", "backgrounds"])
def test_chroma_is_characteristic_and_varies_naturally(means, names):
    chroma = [means[name][:, 1:] for name in names]
    within = np.mean([group.std(0) for group in chroma])
    between = np.std([group.mean(0) for group in chroma], axis=0).mean()
    assert within < 0.25 * between
    assert within > 0.003


@pytest.mark.parametrize(("kind", "one", "other"), TWINS)
def test_brightness_does_not_tell_twins_apart_and_chroma_does(means, kind, one, other):
    one, other = means[one], means[other]
    levels = np.concatenate([one[:, 0], other[:, 0]])
    accuracies = [
        (np.mean(one[:, 0] > level) + np.mean(other[:, 0] <= level)) / 2 for level in levels
    ]
    assert max(*accuracies, 1 - min(accuracies)) < 0.8  # the best threshold on luma; chance is 0.5
    closest = np.sqrt(((one[:, None, 1:] - other[None, :, 1:]) ** 2).sum(-1)).min()
    assert closest > 0.1  # no two of them have nearly the same chroma


def test_gray_texture_tells_the_ground(examples):
    """Nearest neighbors on four numbers that know nothing of color nor of mean brightness."""
    features = []
    for example in examples:
        gray = example["images"] @ YUV[0]
        rows = slice(int(0.68 * len(gray)), None)
        ground = example["segmentation_masks"][rows, :, 0] == BACKGROUND
        gray = gray[rows] / gray[rows][ground].mean()
        bands = [gray, ndimage.gaussian_filter(gray, 2)]
        slopes = [
            abs(np.gradient(band, axis=axis))[ground].mean() for band in bands for axis in (0, 1)
        ]
        features.append(np.log(slopes))
    features = np.array(features)
    kinds = np.array([plan(index)[1] for index in range(len(examples))])
    distances = ((features[96:, None] - features[None, :96]) ** 2).sum(-1)
    assert np.mean(kinds[:96][distances.argmin(1)] == kinds[96:]) > 0.7  # chance is 0.25


def test_unknown_split_names_the_known_ones():
    with pytest.raises(
        ValueError, match=r"`split` must be one of train, validation, test; got 'val'"
    ):
        draw(0, split="val")


@pytest.mark.parametrize("arguments", [{"index": -1}, {"index": 0, "seed": -1}])
@pytest.mark.parametrize("function", [draw, plan])
def test_negative_numbers_are_refused(function, arguments):
    with pytest.raises(ValueError, match=r"`index` and `seed` must not be negative; got .*-1"):
        function(**arguments)


def test_module_needs_no_tensorflow():
    code = (
        "import runpy, sys; example = runpy.run_path(sys.argv[1])['draw'](0); "
        "print(sorted({'keras', 'tensorflow', 'jax', 'skimage'} & set(sys.modules)))"
    )
    path = Path(toy_pets.__file__)
    run = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
