"""Examples, and the way from them to batches.

An example is a dict of `images` (uint8 RGB `[H, W, 3]`), `segmentation_masks` (uint8 `[H, W, 1]`:
0 pet, 1 background, 2 border, `VOID` unlabeled), `labels` (int breed, -1 unknown) and
`file_names`. `load` gives examples as they are, of any size; `resize` decodes each once and keeps
the small copies in memory; `make_dataset` augments those and derives inputs and targets.
"""

import dataclasses
import hashlib
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from colorseg import photo, toy_pets
from colorseg.registry import look_up
from colorseg.tasks import UNKNOWN_BREED, VOID

SPLITS = ("train", "validation", "test", "all")
VALIDATION = r".*_10\d\.jpg"  # the names of the pets that are set aside from train
ONE_IN = 10  # one photograph in ten of a folder goes to validation, and one to test
EXAMPLE_SPEC = {
    "images": tf.TensorSpec((None, None, 3), tf.uint8),
    "segmentation_masks": tf.TensorSpec((None, None, 1), tf.uint8),
    "labels": tf.TensorSpec((), tf.int32),
    "file_names": tf.TensorSpec((), tf.string),
}


def load(source, split="train"):
    """Loads examples at their own sizes.

    Args:
        source: `"oxford_iiit_pet"` (through TensorFlow Datasets, downloaded when it is not
            prepared in `TFDS_DATA_DIR`), `"toy_pets"` (drawn by code), or a folder of
            photographs. A folder may hold `images/` and `masks/`; a mask is a PNG of the
            photograph's name and size in Oxford's codes: 1 pet, 2 background, 3 border, 0 or 255
            unlabeled.
        split: `"train"`, `"validation"`, `"test"` or `"all"`. Pets: validation is a tenth of the
            official train split, the numbers 100 to 109 of each breed, and test is the official
            one. Photographs with close numbers often show one animal, so the numbers
            are cut, as in the official split, and not shuffled. Folder: a tenth each, by a hash
            of the name, for validation and test.

    Returns:
        `tf.data.Dataset` of examples, in a fixed order.

    Raises:
        ValueError: on an unknown source or split, or a folder without photographs. A bad
            photograph or mask is found when it is read, see `resize`.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    return _source(source).load(split)


def breed_names(source):
    """Returns the breeds of a source by label, a tuple of str; empty for a folder."""
    return _source(source).breeds


def resize(examples, image_size=128, *, progress=False):
    """Decodes and shrinks every example once, and keeps the small copies.

    Photographs are resized bilinearly with antialiasing, masks by nearest neighbor, both to
    `image_size` whatever their aspect ratio, as in the paper.

    Args:
        examples: dataset that `load` returned.
        image_size: side in pixels, or (height, width).
        progress: whether to draw a progress bar on standard error.

    Returns:
        Dict of numpy arrays: the examples' keys with a leading axis.

    Raises:
        ValueError: if there are no examples, or one of them cannot be read.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if min(size) < 1:
        raise ValueError(f"`image_size` must be at least 1 pixel, got {image_size}")

    def shrink(example):
        image = tf.image.resize(example["images"], size, antialias=True)
        return {
            **example,
            "images": tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8),
            "segmentation_masks": tf.image.resize(
                example["segmentation_masks"], size, method="nearest"
            ),
        }

    small = examples.map(shrink, num_parallel_calls=tf.data.AUTOTUNE)
    found = []
    try:
        bar = tqdm(small.as_numpy_iterator(), "reading", unit=" photos", disable=not progress)
        found.extend(bar)
    except tf.errors.OpError as error:
        raise ValueError(_innermost_message(error)) from error
    if not found:
        raise ValueError("there are no examples to resize; is the split empty?")
    return {key: np.stack([example[key] for example in found]) for key in found[0]}


def _innermost_message(error):
    """Returns what a tf.data error has to say, without the wrapping and the traceback."""
    line = error.message.partition("\n")[0]
    where = r"(\{\{.*?\}\} )?(Error in user-defined function .*? iterator: \S+: )?"
    line = re.sub(rf"^{where}(\w+Error: )?", "", line)
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", line)


def make_dataset(
    examples,
    tasks,
    *,
    image_size=128,
    batch_size=32,
    training=False,
    augment="full",
    seed=0,
):
    """Makes batches of inputs and targets.

    Args:
        examples: what `load` or `resize` returned.
        tasks: list of `Task`.
        image_size: side in pixels, or (height, width); of no effect on resized examples.
        batch_size: in photographs.
        training: whether to shuffle and augment, anew in each iteration, and drop the last
            incomplete batch.
        augment: a name in `AUGMENTATIONS`.
        seed: of shuffling and augmentation.

    Returns:
        `tf.data.Dataset` of `(gray, {task name: target})`; gray is the luma `[B, H, W, 3]` in
        `[0, 1]`, repeated over 3 channels.

    Raises:
        ValueError: if a task lacks its labels in these examples, or a name is unknown.
    """
    arrays = examples if isinstance(examples, dict) else resize(examples, image_size)
    check_labels(arrays, [task.name for task in tasks])
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}")
    if training:
        batches = TrainingBatches(arrays, tasks, batch_size=batch_size, augment=augment, seed=seed)
        epochs = itertools.count()
        # Called at the start of each iteration. Not `Dataset.random`: it heeds the global seed.
        epoch = tf.data.Dataset.from_generator(
            lambda: [next(epochs)], output_signature=tf.TensorSpec((), tf.int64)
        )
        dataset = epoch.flat_map(lambda epoch: batches.of_epochs(epoch, epoch + 1))
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches.steps))
    else:
        dataset = tf.data.Dataset.from_tensor_slices(_numbers(arrays)).batch(batch_size)
        dataset = dataset.map(lambda batch: _derive(_to_float(batch), tasks))
    return dataset.prefetch(tf.data.AUTOTUNE)


class TrainingBatches:
    """Shuffled, augmented batches, each a pure function of (seed, step).

    So a run that was killed continues with the very batches that it would have seen.

    Args:
        arrays: what `resize` returned.
        tasks: list of `Task`.
        batch_size: in photographs; at most all of them.
        augment: a name in `AUGMENTATIONS`.
        seed: of shuffling and augmentation.
        part: `(index, count)`: the batches are the index-th of `count` equal parts of those that
            they would be otherwise; `count` divides the size.

    Attributes:
        batch_size: photographs a step, in all parts together.
        steps: batches an epoch.
    """

    def __init__(self, arrays, tasks, *, batch_size=32, augment="full", seed=0, part=(0, 1)):
        self._tasks = tasks
        self._augment = look_up(AUGMENTATIONS, augment, kind="augmentation")
        self._seed = seed
        self._count = len(arrays["images"])
        self.batch_size = min(batch_size, self._count)
        self.steps = self._count // self.batch_size
        index, parts = part
        self._own = slice(index * self.batch_size // parts, (index + 1) * self.batch_size // parts)
        with tf.device("CPU"):
            self._arrays = {key: tf.constant(value) for key, value in _numbers(arrays).items()}

    def of_epochs(self, first, last):
        """Returns a dataset of the batches of epochs `first` to `last - 1`."""
        steps = tf.data.Dataset.range(first * self.steps, last * self.steps)
        return steps.map(self._batch, num_parallel_calls=tf.data.AUTOTUNE)

    def _batch(self, step):
        epoch, place = step // self.steps, step % self.steps
        order = tf.random.experimental.stateless_shuffle(
            tf.range(self._count), seed=tf.stack([self._seed, epoch])
        )
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        chosen = tf.ensure_shape(chosen, (self.batch_size,))[self._own]
        batch = {key: tf.gather(value, chosen) for key, value in self._arrays.items()}
        # Another stream than the shuffle's: the sign bit tells them apart.
        seed = tf.stack([self._seed, -1 - step])

        def draw(stream, low, high):
            """Returns one uniform number a photograph; `stream` tells its uses apart."""
            own = tf.random.experimental.stateless_fold_in(seed, stream)
            return tf.random.stateless_uniform([self.batch_size], own, low, high)[self._own]

        return _derive(self._augment(batch, draw), self._tasks)


def check_labels(arrays, names):
    """Raises a ValueError if the labels of a task, by name, are missing from all examples."""
    if "mask" in names and (arrays["segmentation_masks"] == VOID).all():
        raise ValueError(
            "none of the photographs has a mask, which the task 'mask' needs; put masks beside "
            "the photographs (images/ and masks/) or train a preset without it, such as 'color'"
        )
    if "breed" in names and (arrays["labels"] == UNKNOWN_BREED).all():
        raise ValueError(
            "none of the photographs has a breed, which the task 'breed' needs; "
            "train a preset without it, such as 'multitask'"
        )


def photos(count=4):
    """Returns real photographs, on any machine.

    Args:
        count: how many at most.

    Returns:
        Dict of name to uint8 RGB `[H, W, 3]`: pets of the test split where they are prepared,
        else the photographs that scikit-image brings along.
    """
    if pets_are_prepared():
        examples = load("oxford_iiit_pet", "test").take(count).as_numpy_iterator()
        return {Path(e["file_names"].decode()).stem: e["images"] for e in examples}
    import skimage.data  # noqa: PLC0415 - slow to import, and seldom needed

    names = ("chelsea", "astronaut", "coffee", "rocket")
    return {name: getattr(skimage.data, name)() for name in names[:count]}


def pets_are_prepared():
    """Whether Oxford-IIIT Pet is on this machine, ready to be read without a download."""
    return pets_builder().is_prepared()


# Augmentation. Image and mask move together; the targets are derived afterwards.


def _no_augmentation(batch, draw):
    return _to_float(batch)


def _flip(batch, draw):
    """The paper's: half of the photographs are mirrored."""
    return _warp(_to_float(batch), mirror=draw(0, 0, 1) < 0.5)


def _full(batch, draw):
    """Mirrored, zoomed, stretched, turned, shifted; brightness and contrast changed."""
    batch = _warp(
        _to_float(batch),
        mirror=draw(0, 0, 1) < 0.5,
        zoom=tf.exp(draw(1, -0.45, 0.1)),
        stretch=tf.exp(draw(2, -0.15, 0.15)),
        angle=draw(3, -0.2, 0.2),
        shift_x=draw(4, -0.12, 0.12),
        shift_y=draw(5, -0.12, 0.12),
    )
    gain = tf.exp(draw(6, -0.25, 0.25))[:, None, None, None]
    gamma = tf.exp(draw(7, -0.25, 0.25))[:, None, None, None]
    # One gain and one exponent for all three channels: gray stays gray.
    return {**batch, "images": tf.clip_by_value(gain * batch["images"] ** gamma, 0, 1)}


AUGMENTATIONS: dict[str, Callable] = {"none": _no_augmentation, "flip": _flip, "full": _full}


def _warp(batch, *, mirror, zoom=1.0, stretch=1.0, angle=0.0, shift_x=0.0, shift_y=0.0):
    """Maps images and masks alike, about their center; outside, they are continued mirrored.

    Images should be float: TensorFlow cuts uint8 down to the next integer, half a level too dark.
    Each factor is one number or one a photograph: `zoom` below 1 enlarges, `stretch` above 1
    narrows x against y, `angle` is in radians, shifts are shares of the width and the height.
    """
    height, width = batch["images"].shape[1:3]
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    sign = tf.where(mirror, -1.0, 1.0)
    zeros = tf.zeros_like(sign)
    # From output to input pixels: x_in = a x + b y + e, y_in = c x + d y + f.
    a = sign * zoom * stretch * tf.cos(angle)
    b = zeros - zoom / stretch * tf.sin(angle)
    c = sign * zoom * stretch * tf.sin(angle)
    d = zeros + zoom / stretch * tf.cos(angle)
    e = center_x - a * center_x - b * center_y + shift_x * width
    f = center_y - c * center_x - d * center_y + shift_y * height
    transforms = tf.stack([a, b, e, c, d, f, zeros, zeros], axis=-1)

    def warped(key, interpolation):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=batch[key],
            transforms=transforms,
            output_shape=(height, width),
            fill_value=0.0,
            interpolation=interpolation,
            fill_mode="REFLECT",
        )

    return {
        **batch,
        "images": warped("images", "BILINEAR"),
        "segmentation_masks": warped("segmentation_masks", "NEAREST"),
    }


def _to_float(batch):
    return {**batch, "images": tf.cast(batch["images"], tf.float32) / 255}


def _derive(batch, tasks):
    """Returns (gray, targets) of photographs in [0, 1]."""
    gray = tf.repeat(tf.image.rgb_to_yuv(batch["images"])[..., :1], 3, axis=-1)
    return gray, {task.name: task.target(batch) for task in tasks}


def _numbers(arrays):
    """Leaves out what is no number: an accelerator takes no file names."""
    return {key: value for key, value in arrays.items() if key != "file_names"}


# Sources.


@dataclasses.dataclass(frozen=True)
class Source:
    """Where examples come from: `load(split)` gives a dataset, `breeds` names its labels."""

    load: Callable
    breeds: tuple[str, ...] = ()


def _source(name):
    if name in SOURCES:
        return SOURCES[name]()
    if os.path.isdir(name):
        return Source(load=lambda split: _load_folder(Path(name), split))
    known = ", ".join(sorted(SOURCES))
    raise ValueError(f"unknown data {str(name)!r}; known: {known}, or the path of a folder")


def _pets():
    return Source(_load_pets, tuple(pets_builder().info.features["label"].names))


def _toys():
    return Source(_load_toys, toy_pets.BREEDS)


SOURCES = {"oxford_iiit_pet": _pets, "toy_pets": _toys}


def pets_builder():
    """Returns the builder of TensorFlow Datasets for Oxford-IIIT Pet."""
    import tensorflow_datasets as tfds  # noqa: PLC0415 - takes a second, and toys do without

    return tfds.builder("oxford_iiit_pet:4.*.*")


def _load_pets(split):
    import tensorflow_datasets as tfds  # noqa: PLC0415

    builder = pets_builder()
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever the network, the disk or TFDS have to say
        raise ValueError(
            f"Oxford-IIIT Pet is not in {builder.data_dir} and could not be downloaded ({error}); "
            "set TFDS_DATA_DIR to a folder that holds it, or use --data toy_pets"
        ) from error
    if split == "all":
        return (
            _load_pets("train")
            .concatenate(_load_pets("validation"))
            .concatenate(_load_pets("test"))
        )
    skip = {key: tfds.decode.SkipDecoding() for key in ("image", "segmentation_mask")}
    encoded = builder.as_dataset(
        split="test" if split == "test" else "train",
        decoders=skip,
        shuffle_files=False,
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )
    if split != "test":
        encoded = encoded.filter(
            lambda e: (
                tf.strings.regex_full_match(e["file_name"], VALIDATION) == (split == "validation")
            )
        )
    return encoded.map(_decode_pet, num_parallel_calls=tf.data.AUTOTUNE)


def _decode_pet(example):
    name = example["file_name"]
    trimap = tf.io.decode_png(example["segmentation_mask"], channels=1)
    valid = tf.reduce_all((trimap >= 1) & (trimap <= 3))
    message = tf.strings.join(
        ["the trimap of ", name, " has values other than 1, 2 and 3; prepare the data set again"]
    )
    with tf.control_dependencies([tf.debugging.Assert(valid, [message])]):
        # Where all is background, nobody drew the pet: 14 trimaps of the original data.
        is_empty = tf.reduce_all(trimap == 2)
        mask = tf.where(is_empty, tf.constant(VOID, tf.uint8), trimap - 1)
    return {
        # TensorFlow's faster default is off by enough to move the LEARCH metric by 3 %.
        "images": tf.io.decode_jpeg(example["image"], channels=3, dct_method="INTEGER_ACCURATE"),
        "segmentation_masks": mask,
        "labels": tf.cast(example["label"], tf.int32),
        "file_names": name,
    }


def _load_toys(split):
    parts = ("train", "validation", "test") if split == "all" else (split,)

    def draw():
        for part in parts:
            for index in range(toy_pets.SIZES[part]):
                example = toy_pets.draw(index, split=part)
                yield {
                    "images": example["images"],
                    "segmentation_masks": example["segmentation_masks"],
                    "labels": example["labels"],
                    "file_names": example["file_name"],
                }

    return tf.data.Dataset.from_generator(draw, output_signature=EXAMPLE_SPEC)


def _load_folder(folder, split):
    images = folder / "images" if (folder / "images").is_dir() else folder
    masks = folder / "masks" if (folder / "masks").is_dir() else None
    found = photo.find_photos([images], exclude=masks)
    names = _split_names([name for _, name in found], split)
    if not names:
        raise ValueError(
            f"{folder} has too few photographs for a split {split!r}; "
            "put at least three in it, or use --split all"
        )
    _check_masks(masks, [name for _, name in found])

    def read():
        for name in names:
            rgb = photo.read_photo(images / name).rgb
            yield {
                "images": rgb,
                "segmentation_masks": _read_mask(masks, name, rgb.shape[:2]),
                "labels": UNKNOWN_BREED,
                "file_names": str(name),
            }

    return tf.data.Dataset.from_generator(read, output_signature=EXAMPLE_SPEC)


def _split_names(names, split):
    """Deals names to splits by their hash: a tenth, at least one, to validation and to test."""
    if split == "all":
        return sorted(names)
    dealt = sorted(names, key=lambda name: hashlib.sha256(str(name).encode()).digest())
    tenth = max(1, len(dealt) // ONE_IN)
    parts = {
        "test": dealt[:tenth],
        "validation": dealt[tenth : 2 * tenth],
        "train": dealt[2 * tenth :],
    }
    return sorted(parts[split])


def _find_mask(masks, name):
    """Returns the path of a photograph's mask, None if it has none."""
    candidates = (name.with_suffix(".png"), name.with_name(f"{name.stem}_mask.png"))
    return next((masks / c for c in candidates if masks and (masks / c).is_file()), None)


def _check_masks(masks, names):
    """Raises a ValueError if two photographs would be given one mask."""
    owners = {}
    for name in names:
        mask = _find_mask(masks, name)
        if mask and (other := owners.setdefault(mask, name)) != name:
            raise ValueError(
                f"{other} and {name} would both get the mask {mask}; rename one of them, and its "
                "mask"
            )


def _read_mask(masks, name, shape):
    """Returns class ids `[H, W, 1]` of Oxford's codes; all `VOID` where there is no mask file."""
    path = _find_mask(masks, name)
    if path is None:
        return np.full((*shape, 1), VOID, np.uint8)
    codes = photo.read_labels(path)
    if codes.shape != shape:
        raise ValueError(
            f"the mask {path} is {codes.shape[1]}x{codes.shape[0]} pixels, its photograph "
            f"{shape[1]}x{shape[0]}; make them equal"
        )
    unknown = np.setdiff1d(codes, (0, 1, 2, 3, VOID))
    if unknown.size:
        raise ValueError(
            f"the mask {path} has labels {unknown.tolist()}; known: 1 pet, 2 background, "
            f"3 border, 0 or {VOID} unlabeled"
        )
    return np.where((codes == 0) | (codes == VOID), VOID, codes - 1).astype(np.uint8)[..., None]
