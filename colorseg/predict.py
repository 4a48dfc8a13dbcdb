"""Coloring and segmenting photographs of any size.

The network sees a small copy of the photograph. What it predicts there, chroma or class
probabilities, is smooth enough to be enlarged; the luma is the photograph's own, at full
resolution. Large photographs are worked through in bands of rows, to bound the memory.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import math
import numbers
import os
import sys
from pathlib import Path

import keras
import numpy as np
import scipy.sparse
from keras import ops
from PIL import Image
from tqdm import tqdm

from colorseg import __version__, files, workers
from colorseg.color import LUMA_WEIGHTS, RGB_FROM_YUV
from colorseg.model import STRIDE, build_from_config
from colorseg.photo import (
    PhotoError,
    find_photos,
    make_folder,
    read_note,
    read_photo,
    write_image,
)
from colorseg.presets import Config
from colorseg.registry import look_up

DEFAULT_SIZE = 128
MAX_STRETCH = 8  # longest side of the network's copy, in units of `size`
BAND_PIXELS = 1 << 16  # small enough for a band's planes to stay in the processor's cache

SUFFIXES = {"png": ".png", "jpeg": ".jpg"}

# Written masks have the codes of Oxford-IIIT Pet's trimaps, class id + 1: 0 is not used, 1 pet
# (orange), 2 background (dark blue), 3 border (white). Colors that the color-blind can tell apart.
TRIMAP_PALETTE = ((0, 0, 0), (230, 159, 0), (0, 60, 110), (255, 255, 255))


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of many files.

    Attributes:
        written: list of (photograph, result), both `Path`.
        failed: list of (photograph, message) of those that could not be read or written.
        kept: list of (photograph, result) of those that an earlier run had finished.
    """

    written: list
    failed: list
    kept: list = dataclasses.field(default_factory=list)


def colorize(photo, model, *, size=None):
    """Colors a photograph; its own colors, if it has any, are not looked at.

    Args:
        photo: uint8, gray `[H, W]` or `[H, W, 1]`, or RGB `[H, W, 3]`, of any size.
        model: network with a `color` head, see `colorseg.build_unet`.
        size: the network sees about `size * size` pixels, in the photograph's aspect ratio as
            nearly as multiples of 32 allow; None is the size that it was trained at. A network
            that was built for one size always sees that one.

    Returns:
        uint8 RGB `[H, W, 3]`. Its BT.601 luma is the photograph's to within rounding: colors out
        of gamut give up saturation.

    Raises:
        ValueError: if `photo` has another type or shape, `size` does not fit, or the model has no
            color head or predicts NaN.
    """
    photo = _check_photo(photo)
    encoding = _find_task(model, "color").encoding
    gray, output = _run(photo, model, "color", size)
    chroma = _to_numpy(encoding.decode_chroma(gray, output))
    # What the chroma adds to Y in R, G and B; as this is linear, it can be enlarged as well.
    difference = chroma @ RGB_FROM_YUV[:, 1:].T.astype(np.float32)
    colored = np.empty((*photo.shape[:2], 3), np.uint8)
    for rows, band in _enlarged_bands(difference, photo.shape):
        _recolor(_luma(photo[rows]), band, out=colored[rows])
    return colored


def segment(photo, model, *, size=None):
    """Segments a photograph.

    Args:
        photo: as in `colorize`.
        model: network with a `mask` head.
        size: as in `colorize`.

    Returns:
        uint8 `[H, W]`: 0 pet, 1 background, 2 border.

    Raises:
        ValueError: as `colorize`, for the mask head.
    """
    photo = _check_photo(photo)
    _find_task(model, "mask")
    _, logits = _run(photo, model, "mask", size)
    # Probabilities, since logits of one overly sure pixel would spread when enlarged.
    probabilities = _to_numpy(ops.softmax(logits, axis=-1))
    classes = np.empty(photo.shape[:2], np.uint8)
    for rows, band in _enlarged_bands(probabilities, photo.shape):
        classes[rows] = np.argmax(band, axis=1)
    return classes


def colorize_files(
    paths,
    model,
    out,
    *,
    size=None,
    format="png",
    jobs=1,
    resume=False,
    progress=True,
    on_error=None,
):
    """Colors photographs and writes `<stem>.png` (or `.jpg`) for each into the folder `out`.

    Sub-folders of a folder in `paths` are kept. Results of one name (of `a.jpg` and `a.tif`) are
    numbered: `a.png`, `a-2.png`. A photograph that cannot be read is reported and skipped; no
    photograph is ever written over. A result of an earlier run is replaced, or with `resume` kept
    if it is what would come out again. Each result carries a comment that tells: the checksum of
    the photograph, the network's weights, `size` and the version of colorseg.

    Args:
        paths: one or several files or folders.
        model: network with a `color` head.
        out: folder, made if missing; not searched for photographs if it lies in one of `paths`.
        size: as in `colorize`.
        format: `"png"` keeps the luma, and the transparency where there is some; `"jpeg"` is
            smaller, and keeps neither exactly.
        jobs: how many processes share the photographs. More than one need a model of `load_run`
            or `load_pretrained`, which each of them builds again, and memory for as many
            photographs at a time.
        resume: whether to go on with a run that was broken off.
        progress: whether to show a progress bar on standard error.
        on_error: function `(path, error)` called for each photograph that is skipped; None prints
            the error on standard error.

    Returns:
        `Report`.

    Raises:
        PhotoError: before any work, if a path does not exist or a folder has no photographs.
        ValueError: before any work, if a result would replace one of the photographs, the format
            is unknown, the model has no color head, or does not fit several jobs.
        OSError: if `out` cannot be written, or one of several processes dies; results written
            before stay.
    """
    _find_task(model, "color")
    suffix = look_up(SUFFIXES, format, kind="format")
    work = _Work(model, "color", size, resume)
    return _for_each_file(work, paths, out, suffix, jobs=jobs, progress=progress, on_error=on_error)


def segment_files(
    paths, model, out, *, size=None, jobs=1, resume=False, progress=True, on_error=None
):
    """Segments photographs and writes `<stem>_mask.png` for each into the folder `out`.

    The masks are palette images whose values are the codes of Oxford-IIIT Pet's trimaps: 1 pet,
    2 background, 3 border. A folder of them can serve as `masks/` of training data.

    Args:
        paths: as in `colorize_files`, as are names, sub-folders and skipped photographs.
        model: network with a `mask` head.
        out: as in `colorize_files`.
        size: as in `colorize`.
        jobs, resume, progress, on_error: as in `colorize_files`.

    Returns:
        `Report`.

    Raises:
        ValueError, OSError: as `colorize_files`.
    """
    _find_task(model, "mask")
    work = _Work(model, "mask", size, resume)
    return _for_each_file(
        work, paths, out, "_mask.png", jobs=jobs, progress=progress, on_error=on_error
    )


def network_size(shape, size):
    """Returns (height, width) of what the network sees of a photograph.

    Args:
        shape: (height, width) of the photograph.
        size: root of the wanted area.

    Returns:
        Multiples of 32, at least 32 and at most `8 * size`: as near as they come to the area
        `size * size` in the photograph's aspect ratio.
    """
    stretch = math.sqrt(shape[0] / shape[1])
    longest = max(STRIDE, MAX_STRETCH * size // STRIDE * STRIDE)
    sides = (round(side / STRIDE) * STRIDE for side in (size * stretch, size / stretch))
    return tuple(min(max(side, STRIDE), longest) for side in sides)


def _run(photo, model, head, size):
    """Returns the network's gray `[1, h, w, 1]` and one of its outputs `[1, h, w, C]`, float32."""
    height, width = _choose_size(photo.shape, model, size)
    # Bilinear with antialiasing, as the training photographs were made small.
    small = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
    gray = _luma(np.asarray(small))[None, ..., None]
    # Compiled, which a first photograph pays half a second for and a second one gains from.
    output = model.predict_on_batch(np.repeat(gray, 3, axis=-1))[head]
    return gray, ops.cast(output, "float32")


def _choose_size(shape, model, size):
    is_whole = isinstance(size, numbers.Integral) and not isinstance(size, bool)
    if size is not None and not (is_whole and size > 0):
        raise ValueError(f"`size` must be a positive whole number of pixels or None, got {size!r}")
    built_for = tuple(model.input_shape[1:3])
    if None not in built_for:
        if size is not None and size**2 != math.prod(built_for):
            raise ValueError(
                f"`size` is {size}, but the model was built for {built_for[0]}x{built_for[1]} "
                "pixels only; leave `size` out, or build it with image_size=None"
            )
        return built_for
    if size is None:
        trained_at = getattr(model, "image_size", None) or DEFAULT_SIZE
        size = round(math.sqrt(np.prod(np.broadcast_to(trained_at, 2))))
    return network_size(shape[:2], int(size))


def _to_numpy(small):
    """Returns `[h, w, C]`, float32, of a tensor `[1, h, w, C]`."""
    small = np.asarray(ops.convert_to_numpy(small)[0], np.float32)
    if not np.isfinite(small).all():
        raise ValueError("the model predicts NaN or infinity: its weights are damaged; load others")
    return small


def _enlarged_bands(small, shape):
    """Yields (rows, band): `small` `[h, w, C]` in the photograph's size, as `[rows, C, W]`.

    Resizing is separable: all columns are enlarged at once, the rows band by band, by the weights
    that the filter has for them. So the bands join without a seam.
    """
    height, width = shape[:2]
    resize = functools.partial(Image.Image.resize, resample=Image.Resampling.BICUBIC)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(small, -1, 0)]
    wide = np.concatenate([resize(plane, (width, plane.height)) for plane in planes], axis=1)
    one_hot = Image.fromarray(np.eye(len(small), dtype=np.float32))
    # A few weights a row. (A dense product would wake threads that the network then waits for.)
    weights = scipy.sparse.csr_array(np.asarray(resize(one_hot, (len(small), height))))
    n_rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, n_rows):
        rows = slice(top, min(top + n_rows, height))
        yield rows, (weights[rows] @ wide).reshape(-1, small.shape[-1], width)


def _luma(values):
    """Returns the luma `[...]`, float32 in [0, 1], of uint8 gray `[H, W]` or RGB `[H, W, 3]`."""
    if values.ndim == 2:
        return values / np.float32(255)
    return values @ (LUMA_WEIGHTS / 255).astype(np.float32)


def _recolor(y, difference, *, out):
    """Writes uint8 RGB `[H, W, 3]` into `out`: luma `[H, W]` in [0, 1] and what color adds to it.

    The rule is that of `color.fit_to_gamut`. The differences `[H, 3, W]` of the channels from Y
    have a weighted mean of 0, so the largest is positive and bounded by white, the smallest
    negative and bounded by black; scaling all three by the same share keeps Y.
    """
    red, green, blue = np.moveaxis(difference, 1, 0)
    white, black = 1 - y, -y
    highest = np.maximum(np.maximum(red, green), np.maximum(blue, white))
    lowest = np.minimum(np.minimum(red, green), np.minimum(blue, black))
    tiny = np.float32(1e-7)
    share = 255 * np.minimum(white / (highest + tiny), black / (lowest - tiny))
    y = 255 * y + np.float32(0.5)
    for channel, plane in enumerate((red, green, blue)):
        out[..., channel] = share * plane + y


def _check_photo(photo):
    photo = np.asarray(photo)
    if photo.ndim == 3 and photo.shape[2] == 1:
        photo = photo[..., 0]
    has_shape = photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] == 3)
    if photo.dtype != np.uint8 or not has_shape or photo.size == 0:
        raise ValueError(
            "`photo` must be uint8 [H, W], [H, W, 1] or [H, W, 3], got "
            f"{photo.dtype} {list(photo.shape)}; values in [0, 1] become 8-bit by "
            "(photo * 255).round().astype('uint8')"
        )
    return photo


def _find_task(model, name):
    tasks = getattr(model, "tasks", {})
    if name not in tasks:
        raise ValueError(
            f"the model has no {name} head, it has: {', '.join(tasks) or 'none'}; "
            f"take one that was trained with the task {name!r}"
        )
    return tasks[name]


class _Work:
    """Colors or segments a file."""

    def __init__(self, model, task, size, resume):
        self.settings = task, size, resume
        self._model = model
        network = hashlib.sha256(f"{__version__} {task} {size}".encode())
        for weights in model.get_weights():
            network.update(weights.tobytes())
        self._network = network.digest()

    def __call__(self, plan):
        """Returns what became of (photograph, output path): a field of `Report`, and an error."""
        task, size, resume = self.settings
        file, output = plan
        try:
            note = self._note(file)
            if resume and note and read_note(output) == note:
                return "kept", None
            photo = read_photo(file)
            if task == "mask":
                mask = segment(photo.rgb, self._model, size=size) + 1
                write_image(output, mask, palette=TRIMAP_PALETTE, note=note)
            else:
                image = colorize(photo.rgb, self._model, size=size)
                if photo.alpha is not None and output.suffix == ".png":
                    image = np.dstack([image, photo.alpha])
                write_image(output, image, note=note)
        except PhotoError as error:
            # Without the frames, which would keep the images alive.
            return "failed", error.with_traceback(None)
        return "written", None

    def _note(self, file):
        """Returns the comment of a file's result, None if the file cannot be read."""
        if not file.is_file():
            return None
        try:
            photo = files.sha256(file)
        except OSError:
            return None
        return "colorseg " + hashlib.sha256(self._network + photo.encode()).hexdigest()[:32]

    def recipe(self, jobs):
        """Returns the arguments of `_start_worker`."""
        config = getattr(self._model, "config", None)
        if not isinstance(config, Config):
            raise ValueError(
                "several jobs need a network that load_run or load_pretrained returned: each of "
                "them builds it again; use jobs=1 for this one"
            )
        return config, self._model.get_weights(), self.settings, jobs, Image.MAX_IMAGE_PIXELS


def _start_worker(config, weights, settings, jobs, max_pixels):
    """Returns the work of one of several processes."""
    Image.MAX_IMAGE_PIXELS = max_pixels
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - only where it is the backend

        # The processes share the cores, and a GPU's memory.
        tf.config.threading.set_intra_op_parallelism_threads(max(1, os.cpu_count() // jobs))
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    model = build_from_config(config)
    model.set_weights(weights)
    model.image_size = config.image_size
    return _Work(model, *settings)


def _for_each_file(work, paths, out, ending, *, jobs, progress, on_error):
    """Works on every photograph and reports how it went."""
    if not isinstance(jobs, numbers.Integral) or jobs < 1:
        raise ValueError(f"`jobs` must be a whole number of processes from 1 on, got {jobs!r}")
    recipe = work.recipe(jobs) if jobs > 1 else None
    plan = _plan(paths, Path(out), ending)
    make_folder(out)
    files.remove_leftovers(output for _, output in plan)
    if jobs > 1:
        tidy = functools.partial(files.remove_temporaries, out)
        results = workers.share_out(_start_worker, recipe, plan, jobs=jobs, tidy=tidy)
    else:
        results = map(work, plan)
    report = Report(written=[], failed=[])
    with contextlib.closing(results) if jobs > 1 else contextlib.nullcontext():
        bar = tqdm(results, total=len(plan), unit=" photos", disable=not progress)
        for (file, output), (what, error) in zip(plan, bar, strict=True):
            if error is None:
                getattr(report, what).append((file, output))
            else:
                report.failed.append((file, str(error)))
                (on_error or _print_error)(file, error)
    return report


def _print_error(path, error):
    tqdm.write(f"skipped: {error}", file=sys.stderr)


def _plan(paths, out, ending):
    """Returns a list of (photograph, output path); outputs differ, and none is a photograph."""
    found = find_photos(paths, exclude=out)
    names = _tell_apart([str(name.with_suffix("")) for _, name in found])
    plan = [(file, out / f"{name}{ending}") for (file, _), name in zip(found, names, strict=True)]
    photos = {_identity(file): file for file, _ in plan}
    for _, output in plan:
        if output.exists() and _identity(output) in photos:
            raise ValueError(
                f"the result {output} would replace the photograph "
                f"{photos[_identity(output)]}; choose another output folder than {out}"
            )
    return plan


def _identity(path):
    status = path.stat()
    return status.st_dev, status.st_ino


def _tell_apart(names):
    """Numbers repeated names (a, a -> a, a-2), also those that differ only in case.

    Upper and lower case are one on some disks.
    """
    plain = {name.casefold() for name in names}
    used = set()
    for name in names:
        numbered = (f"{name}-{n}" for n in itertools.count(2))
        free = (other for other in numbered if other.casefold() not in plain)
        candidates = itertools.chain([name], free)
        used_now = next(other for other in candidates if other.casefold() not in used)
        used.add(used_now.casefold())
        yield used_now
