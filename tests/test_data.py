import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from colorseg import data, tasks, toy_pets
from colorseg.photo import write_image
from colorseg.tasks import VOID

# Named in shared/README.md: entirely background in the original data, too.
EMPTY_TRIMAPS = {
    "train": {
        *("Egyptian_Mau_162", "Egyptian_Mau_165", "Egyptian_Mau_196", "leonberger_18"),
        *("miniature_pinscher_14", "saint_bernard_108", "saint_bernard_15"),
    },
    "test": {
        *("Egyptian_Mau_20", "Persian_259", "japanese_chin_199", "keeshond_7"),
        *("saint_bernard_60", "saint_bernard_78", "wheaten_terrier_195"),
    },
}


def color_and_mask():
    return [tasks.color_task(), tasks.mask_task()]


def numbered(count, side=8, seed=0):
    """Random arrays whose labels number them: a breed target tells which example it is."""
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        "segmentation_masks": rng.choice([0, 1, 2, VOID], (count, side, side, 1)).astype("uint8"),
        "labels": np.arange(count, dtype=np.int32),
    }


def numbering_tasks(count):
    return [*color_and_mask(), tasks.breed_task(count)]


def to_numpy(dataset):
    """The batches of a dataset as nested lists and dicts of numpy arrays."""
    return list(dataset.as_numpy_iterator())


def fill(folder, count=4, *, shape=(20, 24), masks=True):
    """Writes photographs and masks of random labels 1, 2, 3; returns the names without suffix."""
    rng = np.random.default_rng(7)
    names = [f"photo_{i}" for i in range(count)]
    for name in names:
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        write_image(folder / "images" / f"{name}.png", image)
        if masks:
            codes = rng.integers(1, 4, shape, dtype=np.uint8)
            write_image(folder / "masks" / f"{name}.png", codes)
    return names


def file_names(source, split):
    return [example["file_names"].decode() for example in to_numpy(data.load(source, split))]


# Toy pets.


def test_toy_pets_are_examples_as_drawn():
    example = next(data.load("toy_pets", "test").as_numpy_iterator())
    drawn = toy_pets.draw(0, split="test")
    assert example["images"].dtype == example["segmentation_masks"].dtype == np.uint8
    np.testing.assert_array_equal(example["images"], drawn["images"])
    np.testing.assert_array_equal(example["segmentation_masks"], drawn["segmentation_masks"])
    assert example["labels"] == drawn["labels"]
    assert example["file_names"].decode() == drawn["file_name"]


def test_splits_of_toy_pets(monkeypatch):
    monkeypatch.setattr(toy_pets, "SIZES", {"train": 4, "validation": 2, "test": 3})
    parts = [file_names("toy_pets", split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [4, 2, 3]
    assert len(set().union(*parts)) == 9
    assert file_names("toy_pets", "all") == [name for part in parts for name in part]
    assert data.breed_names("toy_pets") == toy_pets.BREEDS


# A folder.


def test_a_folder_of_photographs_and_masks(tmp_path):
    names = fill(tmp_path)
    examples = to_numpy(data.load(tmp_path, "all"))
    assert [Path(e["file_names"].decode()).stem for e in examples] == names
    for name, example in zip(names, examples, strict=True):
        image = np.asarray(Image.open(tmp_path / "images" / f"{name}.png"))
        codes = np.asarray(Image.open(tmp_path / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(example["images"], image)
        # Oxford's codes count from 1, class ids from 0.
        np.testing.assert_array_equal(example["segmentation_masks"][..., 0], codes - 1)
        assert example["labels"] == -1
    assert data.breed_names(tmp_path) == ()


def test_a_plain_folder_has_photographs_only(tmp_path):
    fill(tmp_path, 3)
    examples = to_numpy(data.load(str(tmp_path / "images"), "all"))
    assert len(examples) == 3
    assert all((e["segmentation_masks"] == VOID).all() for e in examples)


def test_masks_are_not_taken_for_photographs(tmp_path):
    fill(tmp_path, 3)
    for path in (tmp_path / "images").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "images").rmdir()
    assert file_names(tmp_path, "all") == ["photo_0.png", "photo_1.png", "photo_2.png"]
    assert not any(
        (e["segmentation_masks"] == VOID).any() for e in to_numpy(data.load(tmp_path, "all"))
    )


def test_photographs_that_would_share_a_mask_are_refused(tmp_path, rng):
    names = fill(tmp_path, 3)
    photo = tmp_path / "images" / f"{names[0]}.jpeg"
    write_image(photo, rng.integers(0, 256, (20, 24, 3)).astype("uint8"))
    with pytest.raises(ValueError, match=rf"{names[0]}\.\w+ and {names[0]}\.\w+ would both get"):
        data.load(tmp_path, "all")
    (tmp_path / "masks" / f"{names[0]}.png").unlink()
    assert len(to_numpy(data.load(tmp_path, "all"))) == 4


def test_masks_of_sub_folders_and_of_colorseg_segment(tmp_path, rng):
    image = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    write_image(tmp_path / "images" / "cats" / "tom.2.jpg", image)
    write_image(tmp_path / "images" / "dogs" / "rex.png", image)
    codes = rng.integers(1, 4, (6, 5), dtype=np.uint8)
    palette = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
    write_image(tmp_path / "masks" / "cats" / "tom.2_mask.png", codes, palette=palette)
    write_image(tmp_path / "masks" / "dogs" / "rex.png", codes)
    tom, rex = to_numpy(data.load(tmp_path, "all"))
    assert tom["file_names"].decode() == os.path.join("cats", "tom.2.jpg")
    for example in (tom, rex):
        np.testing.assert_array_equal(example["segmentation_masks"][..., 0], codes - 1)


def test_unlabeled_pixels_and_photographs_become_void(tmp_path):
    names = fill(tmp_path, 3, shape=(1, 5))
    codes = np.array([[0, 1, 2, 3, 255]], np.uint8)
    write_image(tmp_path / "masks" / f"{names[0]}.png", codes)
    (tmp_path / "masks" / f"{names[1]}.png").unlink()
    first, second, _ = (
        e["segmentation_masks"][0, :, 0] for e in to_numpy(data.load(tmp_path, "all"))
    )
    assert first.tolist() == [VOID, 0, 1, 2, VOID]
    assert second.tolist() == [VOID] * 5


@pytest.mark.parametrize("count", [3, 30])
def test_splits_of_a_folder(tmp_path, count):
    fill(tmp_path, count, shape=(2, 2), masks=False)
    parts = {split: file_names(tmp_path, split) for split in data.SPLITS}
    tenth = count // 10 or 1
    sizes = {"train": count - 2 * tenth, "validation": tenth, "test": tenth, "all": count}
    assert {split: len(part) for split, part in parts.items()} == sizes
    joined = parts["train"] + parts["validation"] + parts["test"]
    assert sorted(joined) == parts["all"] == file_names(tmp_path, "all")


def test_a_photograph_is_dealt_by_its_name_alone(tmp_path):
    """Not by its content, nor by the order or the place of the folder."""
    fill(tmp_path / "a", 10, masks=False)
    fill(tmp_path / "b", 10, shape=(3, 3), masks=False)
    assert file_names(tmp_path / "a", "test") == file_names(tmp_path / "b", "test")
    digests = {n: hashlib.sha256(n.encode()).hexdigest() for n in file_names(tmp_path / "a", "all")}
    assert file_names(tmp_path / "a", "test") == [min(digests, key=digests.get)]


# Oxford-IIIT Pet.


@pytest.fixture(scope="module")
def scan(pets):
    """Of every pet: name, label, which mask values there are, whether the shapes agree."""

    def describe(example):
        mask, image = example["segmentation_masks"], example["images"]
        counts = tf.math.bincount(tf.cast(tf.reshape(mask, [-1]), tf.int32), minlength=256)
        return {
            "name": example["file_names"],
            "label": example["labels"],
            "values": counts > 0,
            "same_size": tf.reduce_all(tf.shape(mask)[:2] == tf.shape(image)[:2]),
        }

    described = data.load(pets, "all").map(describe, num_parallel_calls=tf.data.AUTOTUNE)
    found = next(described.batch(10_000).as_numpy_iterator())
    return {**found, "name": found["name"].astype(str)}


def test_splits_of_pets(pets, scan, monkeypatch):
    # Names without their pictures, which take seconds to decode.
    monkeypatch.setattr(data, "_decode_pet", lambda example: {"file_names": example["file_name"]})
    parts = [file_names(pets, split) for split in ("train", "validation", "test")]
    train, validation, test = parts
    # The official splits have 3,680 and 3,669 photographs.
    assert len(set(train) | set(validation)) == len(train) + len(validation) == 3680
    assert len(set(test)) == len(test) == 3669
    assert not set(test) & (set(train) | set(validation))
    assert scan["name"].tolist() == train + validation + test
    # Fixed for good, or else results are no longer comparable.
    assert len(validation) == 358
    learned, checked = ({number_of(name) for name in part} for part in (train, validation))
    assert len({breed for breed, _ in checked}) == 37
    assert checked == {(breed, n) for breed, n in learned | checked if 100 <= n < 110}
    # Photographs with close numbers often show one animal: a score on them rewards memory.
    near = [{(breed, n - 1), (breed, n + 1)} & learned for breed, n in checked]
    assert sum(bool(found) for found in near) / len(near) < 0.11


def number_of(name):
    breed, number = name.removesuffix(".jpg").rsplit("_", 1)
    return breed, int(number)


def test_pets_have_classes_and_void_only(scan):
    assert np.flatnonzero(scan["values"].any(axis=0)).tolist() == [0, 1, 2, VOID]
    assert scan["same_size"].all()


def test_trimaps_without_a_pet_are_void(scan):
    is_void = scan["values"][:, VOID]
    assert (scan["values"][is_void].sum(axis=1) == 1).all()  # all of the mask, or nothing
    is_train = np.arange(len(is_void)) < 3680
    for split, chosen in (("train", is_train), ("test", ~is_train)):
        names = scan["name"][is_void & chosen]
        assert {name.removesuffix(".jpg") for name in names} == EMPTY_TRIMAPS[split]


def test_pets_are_named_after_their_breeds(pets, scan):
    breeds = np.array(data.breed_names(pets))
    assert len(breeds) == 37
    of_file = [name.rpartition("_")[0] for name in scan["name"]]
    np.testing.assert_array_equal(breeds[scan["label"]], of_file)


def tiny_pet(codes):
    return {
        "file_name": tf.constant("Tom_1.jpg"),
        "label": tf.constant(5, tf.int64),
        "image": tf.io.encode_jpeg(np.zeros((*np.shape(codes), 3), np.uint8)),
        "segmentation_mask": tf.io.encode_png(np.uint8(codes)[..., None]),
    }


def test_trimap_codes_become_class_ids():
    decoded = data._decode_pet(tiny_pet([[1, 2, 3]]))
    assert decoded["segmentation_masks"].numpy().tolist() == [[[0], [1], [2]]]
    assert (decoded["images"].shape, decoded["images"].dtype) == ((1, 3, 3), tf.uint8)
    assert int(decoded["labels"]) == 5


@pytest.mark.parametrize("bad", [0, 4, 255])
def test_a_trimap_of_other_values_is_refused(bad):
    dataset = tf.data.Dataset.from_tensors(tiny_pet([[1, 2, bad]])).map(data._decode_pet)
    with pytest.raises(ValueError) as caught:
        data.resize(dataset, 32)
    expected = (
        "the trimap of Tom_1.jpg has values other than 1, 2 and 3; prepare the data set again"
    )
    assert str(caught.value) == expected


def test_pets_that_are_neither_here_nor_to_be_downloaded(tmp_path, monkeypatch):
    def fail(self, **options):
        raise ConnectionError("no route to host")

    builder = tfds.builder("oxford_iiit_pet:4.*.*", data_dir=tmp_path)
    monkeypatch.setattr(data, "pets_builder", lambda: builder)
    monkeypatch.setattr(type(builder), "download_and_prepare", fail)
    assert not data.pets_are_prepared()
    with pytest.raises(ValueError, match="no route to host") as caught:
        data.load("oxford_iiit_pet", "test")
    assert str(tmp_path) in str(caught.value)
    assert "set TFDS_DATA_DIR to a folder that holds it, or use --data toy_pets" in str(
        caught.value
    )


def test_photos_are_there_on_any_machine(monkeypatch):
    monkeypatch.setattr(data, "pets_are_prepared", lambda: False)
    found = data.photos(2)
    assert list(found) == ["chelsea", "astronaut"]
    assert found["chelsea"].shape == (300, 451, 3)
    assert found["chelsea"].dtype == np.uint8


def test_photos_are_pets_of_the_test_split(pets):
    found = data.photos(2)
    first = next(data.load(pets, "test").as_numpy_iterator())
    assert len(found) == 2
    np.testing.assert_array_equal(found[Path(first["file_names"].decode()).stem], first["images"])


# Bad input.


def test_unknown_names_are_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown split 'dev'; known: train, validation, test"):
        data.load("toy_pets", "dev")
    known = r"known: oxford_iiit_pet, toy_pets, or the path of a folder"
    for source in ("imagenet", tmp_path / "missing"):
        with pytest.raises(ValueError, match=known) as caught:
            data.load(source, "train")
        assert f"unknown data '{source}'" in str(caught.value)
    with pytest.raises(ValueError, match=r"unknown augmentation 'wild'; known: flip, full, none"):
        data.make_dataset(numbered(4), color_and_mask(), training=True, augment="wild")


def test_a_folder_without_photographs(tmp_path):
    (tmp_path / "notes.txt").write_text("none here")
    with pytest.raises(ValueError, match=r"holds no photographs.*\.jpg.*name another folder"):
        data.load(tmp_path, "train")


@pytest.mark.parametrize(("count", "split"), [(1, "validation"), (1, "train"), (2, "train")])
def test_a_folder_with_too_few_photographs_for_a_split(tmp_path, count, split):
    fill(tmp_path, count)
    message = f"too few photographs for a split '{split}'; put at least three"
    with pytest.raises(ValueError, match=message):
        data.load(tmp_path, split)


def damage_photo(folder):
    path = folder / "images" / "photo_1.png"
    path.write_bytes(path.read_bytes()[:200])
    return f"{path} is damaged or truncated"


def empty_photo(folder):
    path = folder / "images" / "photo_1.png"
    path.write_bytes(b"")
    return f"{path} is empty (0 bytes); copy or download it again"


def remove_photo(folder):
    path = folder / "images" / "photo_1.png"
    path.unlink()
    return f"{path} does not exist"


def write_mask(codes):
    def write(folder):
        write_image(folder / "masks" / "photo_1.png", codes)
        return str(folder / "masks" / "photo_1.png")

    return write


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damage_photo, "copy or download it again"),
        (empty_photo, ""),
        (remove_photo, "check the spelling"),
        (
            write_mask(np.full((20, 25), 1, np.uint8)),
            " is 25x20 pixels, its photograph 24x20; make them equal",
        ),
        (
            write_mask(np.array([[1, 2, 3, 4, 254, 0]] * 20, np.uint8).repeat(4, axis=1)),
            " has labels [4, 254]; known: 1 pet, 2 background, 3 border, 0 or 255 unlabeled",
        ),
        (write_mask(np.zeros((20, 24, 3), np.uint8)), " has the mode RGB, labels must be one-c"),
    ],
)
def test_a_bad_file_of_a_folder_is_named_in_one_line(tmp_path, spoil, message):
    fill(tmp_path)
    examples = data.load(tmp_path, "all")
    file = spoil(tmp_path)
    with pytest.raises(ValueError) as caught:
        data.resize(examples, 32)
    said = str(caught.value)
    assert said.startswith((file, f"the mask {file}"))
    assert message in said
    assert "\n" not in said


def test_a_task_without_labels_names_the_mend(tmp_path):
    fill(tmp_path, masks=False)
    arrays = data.resize(data.load(tmp_path, "all"), 32)
    with pytest.raises(ValueError, match=r"has a mask, .*put masks beside .*such as 'color'"):
        data.make_dataset(arrays, color_and_mask())
    with pytest.raises(ValueError, match=r"has a breed, .*such as 'multitask'"):
        data.make_dataset(arrays, [tasks.color_task(), tasks.breed_task()])
    assert len(data.make_dataset(arrays, [tasks.color_task()])) == 1


def test_one_mask_is_enough_to_learn_from(tmp_path):
    names = fill(tmp_path)
    for name in names[1:]:
        (tmp_path / "masks" / f"{name}.png").unlink()
    arrays = data.resize(data.load(tmp_path, "all"), 32)
    ((_, targets),) = to_numpy(data.make_dataset(arrays, color_and_mask()))
    assert [(mask == VOID).all() for mask in targets["mask"]] == [False, True, True, True]


def test_nothing_to_resize():
    with pytest.raises(ValueError, match="no examples to resize"):
        data.resize(data.load("toy_pets", "test").take(0))


@pytest.mark.parametrize("size", [0, -4, (32, 0)])
def test_impossible_sizes(size):
    with pytest.raises(ValueError, match="`image_size` must be at least 1 pixel"):
        data.resize(data.load("toy_pets", "test"), size)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        data.make_dataset(numbered(4), color_and_mask(), batch_size=0)


# Resizing.


@pytest.mark.parametrize("size", [16, (24, 10)])
def test_resize_agrees_with_pillow(rng, size):
    # With odd sides, no center of a small pixel lies between two of the large ones.
    shapes = [(61, 37), (9, 41), (1, 1), (99, 3)]
    originals = [
        {
            "images": rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
            "segmentation_masks": rng.choice([0, 1, 2, VOID], (*shape, 1)).astype(np.uint8),
            "labels": index,
            "file_names": str(index),
        }
        for index, shape in enumerate(shapes)
    ]
    examples = tf.data.Dataset.from_generator(
        lambda: iter(originals), output_signature=data.EXAMPLE_SPEC
    )
    small = data.resize(examples, size)
    height, width = (size, size) if isinstance(size, int) else size
    assert small["images"].shape == (4, height, width, 3)
    assert small["segmentation_masks"].shape == (4, height, width, 1)
    assert small["images"].dtype == small["segmentation_masks"].dtype == np.uint8
    assert small["labels"].tolist() == [0, 1, 2, 3]
    for index, original in enumerate(originals):
        image = Image.fromarray(original["images"])
        expected = image.resize((width, height), Image.Resampling.BILINEAR)
        difference = small["images"][index] - np.asarray(expected, float)
        assert np.abs(difference).max() <= 1  # Pillow rounds after each axis
        mask = Image.fromarray(original["segmentation_masks"][..., 0])
        expected = mask.resize((width, height), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(small["segmentation_masks"][index, ..., 0], expected)


# Batches.


@pytest.mark.parametrize("training", [False, True])
def test_gray_is_the_luma_of_the_color_target(toys, training):
    dataset = data.make_dataset(toys, color_and_mask(), batch_size=8, training=training)
    for gray, targets in to_numpy(dataset):
        assert gray.shape == targets["color"].shape == (8, 64, 64, 3)
        assert gray.dtype == targets["color"].dtype == np.float32
        assert targets["mask"].dtype == np.uint8
        assert 0 <= targets["color"].min() <= targets["color"].max() <= 1
        luma = targets["color"] @ np.array([0.299, 0.587, 0.114], np.float32)
        for channel in range(3):
            np.testing.assert_allclose(gray[..., channel], luma, atol=1e-6)


def test_without_training_batches_are_the_examples_in_order(toys):
    chosen = numbering_tasks(len(toy_pets.BREEDS))
    batches = to_numpy(data.make_dataset(toys, chosen, batch_size=10))
    assert [len(gray) for gray, _ in batches] == [10, 10, 4]
    joined = {key: np.concatenate([t[key] for _, t in batches]) for key in batches[0][1]}
    np.testing.assert_array_equal(joined["color"], toys["images"] / np.float32(255))
    np.testing.assert_array_equal(joined["mask"], toys["segmentation_masks"])
    np.testing.assert_array_equal(joined["breed"], toys["labels"])


def test_make_dataset_resizes_what_load_returned():
    examples = data.load("toy_pets", "validation").take(3)
    ((gray, _),) = to_numpy(data.make_dataset(examples, color_and_mask(), image_size=(32, 64)))
    small = data.resize(examples, (32, 64))
    ((expected, _),) = to_numpy(data.make_dataset(small, color_and_mask()))
    np.testing.assert_array_equal(gray, expected)


def test_targets_are_those_of_the_tasks():
    (_, targets), *_ = to_numpy(data.make_dataset(numbered(4), [tasks.mask_task()]))
    assert set(targets) == {"mask"}


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(6, [6, 6, 6, 6]), (7, [7, 7, 7]), (24, [24]), (100, [24])]
)
def test_an_epoch_visits_every_example_at_most_once(batch_size, sizes):
    dataset = data.make_dataset(
        numbered(24), numbering_tasks(24), batch_size=batch_size, training=True
    )
    assert len(dataset) == len(sizes)
    batches = [targets["breed"] for _, targets in to_numpy(dataset)]
    assert [len(batch) for batch in batches] == sizes
    visited = np.concatenate(batches)
    assert len(set(visited)) == len(visited) == sum(sizes)
    assert set(visited) <= set(range(24))


def test_image_mask_and_label_stay_together():
    arrays = numbered(24)
    dataset = data.make_dataset(
        arrays, numbering_tasks(24), batch_size=8, training=True, augment="none"
    )
    for _, targets in to_numpy(dataset):
        chosen = targets["breed"]
        np.testing.assert_array_equal(targets["color"], arrays["images"][chosen] / np.float32(255))
        np.testing.assert_array_equal(targets["mask"], arrays["segmentation_masks"][chosen])


def assert_equal(left, right):
    tf.nest.map_structure(np.testing.assert_array_equal, left, right)


def test_training_follows_the_seed_and_differs_in_each_iteration():
    def two_epochs(seed):
        dataset = data.make_dataset(
            numbered(24), numbering_tasks(24), batch_size=8, training=True, seed=seed
        )
        return to_numpy(dataset), to_numpy(dataset)

    first, second = two_epochs(0)
    again = two_epochs(0)
    assert_equal((first, second), again)
    other, _ = two_epochs(1)
    for different in (second, other):
        for (gray, targets), (other_gray, other_targets) in zip(first, different, strict=True):
            assert not np.array_equal(targets["breed"], other_targets["breed"])
            assert not np.array_equal(gray, other_gray)


def test_iteration_k_of_a_training_set_is_epoch_k(toys):
    dataset = data.make_dataset(toys, color_and_mask(), batch_size=8, training=True, seed=5)
    batches = data.TrainingBatches(toys, color_and_mask(), batch_size=8, seed=5)
    for k in range(3):
        assert_equal(to_numpy(dataset), to_numpy(batches.of_epochs(k, k + 1)))


@pytest.mark.parametrize("batch_size", [8, 7])
def test_a_resumed_run_sees_the_batches_of_an_unbroken_one(toys, batch_size):
    def batches():
        return data.TrainingBatches(toys, color_and_mask(), batch_size=batch_size, seed=5)

    unbroken = to_numpy(batches().of_epochs(0, 3))
    steps = batches().steps
    assert len(unbroken) == 3 * steps == 3 * (24 // batch_size)
    resumed = to_numpy(batches().of_epochs(2, 3))
    assert_equal(resumed, unbroken[2 * steps :])


def test_the_global_seed_has_no_say(toys):
    def epoch():
        return to_numpy(data.make_dataset(toys, color_and_mask(), training=True, seed=5))

    tf.random.set_seed(1)
    expected = epoch()
    tf.random.set_seed(2)
    assert_equal(epoch(), expected)


# Augmentation.


def test_flip_mirrors_half_of_the_photographs():
    arrays = numbered(24)
    batches = data.TrainingBatches(
        arrays, numbering_tasks(24), batch_size=24, augment="flip", seed=0
    )
    mirrored = []
    for _, targets in to_numpy(batches.of_epochs(0, 20)):
        found = zip(targets["breed"], targets["color"], targets["mask"], strict=True)
        for index, image, mask in found:
            original = arrays["images"][index] / np.float32(255)
            is_mirrored = not np.array_equal(image, original)
            step = -1 if is_mirrored else 1
            np.testing.assert_array_equal(image, original[:, ::step])
            np.testing.assert_array_equal(mask, arrays["segmentation_masks"][index][:, ::step])
            mirrored.append(is_mirrored)
    # 480 fair coins: beyond 4 standard deviations in 1 of 16,000 seeds.
    assert abs(np.mean(mirrored) - 0.5) < 4 * 0.5 / np.sqrt(480)


@pytest.mark.parametrize("augment", data.AUGMENTATIONS)
def test_parts_of_training_batches_make_up_the_whole(augment):
    options = {"batch_size": 6, "augment": augment, "seed": 3}
    arrays, chosen = numbered(13), numbering_tasks(13)
    whole = to_numpy(data.TrainingBatches(arrays, chosen, **options).of_epochs(1, 2))
    parts = [
        to_numpy(data.TrainingBatches(arrays, chosen, part=(i, 3), **options).of_epochs(1, 2))
        for i in range(3)
    ]
    assert len(whole) == 2
    for step, (gray, targets) in enumerate(whole):
        of_step = [part[step] for part in parts]
        assert [len(own) for own, _ in of_step] == [2, 2, 2]
        np.testing.assert_array_equal(np.concatenate([own for own, _ in of_step]), gray)
        for name, target in targets.items():
            together = np.concatenate([own[name] for _, own in of_step])
            np.testing.assert_array_equal(together, target)


@pytest.mark.parametrize("augment", data.AUGMENTATIONS)
def test_augmentation_moves_the_mask_with_the_photograph(toys, augment):
    """Photographs are painted by class in red, green and blue, which no gain or gamma mixes."""
    painted = np.eye(3, dtype=np.uint8)[toys["segmentation_masks"][..., 0]] * np.uint8(200)
    arrays = {**toys, "images": painted}
    dataset = data.make_dataset(
        arrays, color_and_mask(), batch_size=24, training=True, augment=augment
    )
    for _, targets in to_numpy(dataset):
        # A pixel of one color alone has neighbors of one class alone.
        is_pure = (targets["color"] > 0).sum(axis=-1) == 1
        assert is_pure.mean() > 0.7
        classes = targets["color"].argmax(axis=-1)
        np.testing.assert_array_equal(classes[is_pure], targets["mask"][..., 0][is_pure])


def test_full_augmentation_changes_every_photograph_and_mask():
    arrays = numbered(24)
    dataset = data.make_dataset(arrays, numbering_tasks(24), batch_size=24, training=True)
    ((_, targets),) = to_numpy(dataset)
    originals = arrays["images"][targets["breed"]] / np.float32(255)
    masks = arrays["segmentation_masks"][targets["breed"]]
    assert (np.abs(targets["color"] - originals).mean(axis=(1, 2, 3)) > 0.01).all()
    assert (targets["mask"] != masks).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("augment", data.AUGMENTATIONS)
def test_augmentation_invents_no_class(augment):
    arrays = numbered(24)
    arrays["segmentation_masks"][::2] = VOID
    arrays["segmentation_masks"][1::2] = 2
    arrays["segmentation_masks"][:, 3:5] = 0
    dataset = data.make_dataset(
        arrays, color_and_mask(), batch_size=24, training=True, augment=augment
    )
    ((_, targets),) = to_numpy(dataset)
    assert set(np.unique(targets["mask"])) == {0, 2, VOID}


def test_full_augmentation_keeps_gray_gray(rng):
    arrays = numbered(24)
    arrays["images"] = np.repeat(arrays["images"][..., :1], 3, axis=-1)
    ((gray, targets),) = to_numpy(data.make_dataset(arrays, color_and_mask(), training=True))
    np.testing.assert_allclose(targets["color"], gray, atol=1e-6)


def test_full_augmentation_does_not_round_to_8_bits():
    """TensorFlow cuts a warped uint8 image down to integers: half a level too dark."""
    arrays = numbered(1, side=64)
    ((_, targets),) = to_numpy(data.make_dataset(arrays, color_and_mask(), training=True))
    assert len(np.unique(targets["color"][..., 0])) > 256


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, lambda image: image),
        ({"mirror": [True]}, lambda image: image[:, ::-1]),
        ({"angle": np.pi / 2}, np.rot90),
        # Two pixels of the eight, and one; what is outside continues mirrored.
        (
            {"shift_x": 0.25, "shift_y": -0.125},
            lambda image: np.pad(image, ((1, 0), (0, 2), (0, 0)), "symmetric")[:-1, 2:],
        ),
    ],
)
def test_warp_of_whole_pixels_is_what_numpy_makes(rng, options, expected):
    image = rng.integers(0, 256, (8, 8, 3)) / np.float32(255)
    mask = rng.choice([0, 1, 2, VOID], (8, 8, 1)).astype(np.uint8)
    batch = {"images": image[None], "segmentation_masks": mask[None]}
    warped = data._warp(batch, **{"mirror": [False], **options})
    np.testing.assert_allclose(warped["images"][0], expected(image), atol=1e-5)
    np.testing.assert_array_equal(warped["segmentation_masks"][0], expected(mask))


INNER, SPREAD = slice(3, 6), slice(1, 8, 3)  # of 9 pixels: those at 3 times the distance


@pytest.mark.parametrize(
    ("options", "of_output", "of_input"),
    [
        ({"zoom": 3.0}, (INNER, INNER), (SPREAD, SPREAD)),
        ({"zoom": 1 / 3}, (SPREAD, SPREAD), (INNER, INNER)),
        ({"stretch": 3.0}, (SPREAD, INNER), (INNER, SPREAD)),
        ({"zoom": 1.0, "stretch": 3.0, "mirror": [True]}, (SPREAD, INNER), (INNER, SPREAD)),
        ({"stretch": 3.0, "angle": np.pi / 2}, (SPREAD, INNER), (SPREAD, INNER)),
    ],
)
def test_warp_is_about_the_center(rng, options, of_output, of_input):
    image = rng.random((9, 9, 1), dtype=np.float32)
    batch = {"images": image[None], "segmentation_masks": np.zeros((1, 9, 9, 1), np.uint8)}
    warped = data._warp(batch, **{"mirror": [False], **options})["images"][0].numpy()
    expected = image[of_input]
    if "mirror" in options:
        expected = expected[:, ::-1]
    if "angle" in options:
        expected = np.rot90(expected)
    np.testing.assert_allclose(warped[of_output], expected, atol=1e-5)


# Backends.


def digest_of_an_epoch():
    digest = hashlib.sha256()
    dataset = data.make_dataset(
        numbered(8, side=32), numbering_tasks(8), batch_size=4, training=True, seed=1
    )
    for gray, targets in to_numpy(dataset):
        for array in (gray, *targets.values()):
            digest.update(array.tobytes())
    return digest.hexdigest()


def test_the_batches_are_the_same_whatever_the_backend_of_keras():
    code = "import keras, test_data; print(keras.backend.backend(), test_data.digest_of_an_epoch())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["jax", digest_of_an_epoch()]
