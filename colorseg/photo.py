"""Reading and writing image files: odd ones are converted, broken ones refused, none half-written.

What every photograph becomes: 8-bit RGB, upright, taken as sRGB. An embedded color profile is
neither applied nor kept, since no gray profile would fit the colored result.
"""

import dataclasses
import functools
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from colorseg.files import replacing
from colorseg.registry import look_up

# Of the formats that Pillow opens, those that photographs come in. Others are stubs, have no
# signature (any bytes pass for TGA) or start a program to decode (EPS).
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

# How to turn the stored picture upright, by EXIF's Orientation tag.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

JPEG = {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"}
WRITERS = {".png": {"format": "PNG", "compress_level": 1}, ".jpg": JPEG, ".jpeg": JPEG}
JPEG_MAX_SIDE = 65500

EIGHT_OF_SIXTEEN_BITS = np.round(np.arange(65536) / 257).astype(np.uint8)


class PhotoError(ValueError):
    """An image file that cannot be used; the message names it, the reason and the mend."""


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, upright.

    Attributes:
        rgb: uint8 `[H, W, 3]`; the three are equal for a gray photograph.
        alpha: opacity, uint8 `[H, W]`; None if the file has no transparency.
        path: where it came from.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    path: Path


def read_photo(path):
    """Reads a photograph of any kind that `FORMATS` lists.

    EXIF orientation is honored; of an animation, the first frame is read. One-channel, 1-bit,
    palette and CMYK images become RGB. Gray of more than 8 bits is scaled, not clipped: integers
    from 0 to 65535 whatever their maximum; floats from 0 to the least of 1, 255 and 65535 that
    fits (values up to a factor 2 beyond count as highlights of that range).

    Args:
        path: of the file.

    Returns:
        `Photo`.

    Raises:
        PhotoError: if the file is missing, empty, damaged, truncated, not an image, or has more
            than twice `PIL.Image.MAX_IMAGE_PIXELS` (179 megapixels unless changed).
    """
    path = Path(path)
    rgb, alpha = _read(path, _to_rgb_and_alpha)
    return Photo(rgb, alpha, path)


def read_labels(path):
    """Reads an image whose pixels are labels: one-channel or palette values as they are stored.

    Args:
        path: of the file, of a lossless format.

    Returns:
        uint8 `[H, W]`.

    Raises:
        PhotoError: as `read_photo`, and if the image has several channels or labels above 255.
    """
    return _read(Path(path), _to_labels)


def write_image(path, image, *, palette=None, note=None):
    """Writes an image file, whole or not at all; missing folders are made.

    PNG is lossless, and written at its fastest level; JPEG has quality 95 and full chroma
    resolution (4:4:4), but its luma moves by a few levels.

    Args:
        path: ends in `.png`, `.jpg` or `.jpeg`; a file that is there is replaced.
        image: uint8 `[H, W]`, `[H, W, 3]`, or, for PNG, `[H, W, 4]` with opacity last.
        palette: sequence of 8-bit `(red, green, blue)` to show the values of a PNG `[H, W]` in;
            the values themselves are stored.
        note: a comment to store in the file, ASCII; `read_note` reads it.

    Raises:
        ValueError: if the suffix is unknown, or the image of another type or shape.
        PhotoError: if the image is larger than a JPEG can be.
        OSError: if the file cannot be written, naming `path`.
    """
    path, image = Path(path), np.asarray(image)
    options = look_up(WRITERS, path.suffix.lower(), kind="suffix of an image to write")
    is_jpeg = options is JPEG
    channels = (3,) if is_jpeg else (3, 4)
    has_shape = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in channels)
    if image.dtype != np.uint8 or not has_shape or image.size == 0:
        raise ValueError(
            f"`image` must be uint8 [H, W] or [H, W, {' or '.join(map(str, channels))}] for "
            f"{path.name}, got {image.dtype} {list(image.shape)}"
        )
    if is_jpeg and max(image.shape) > JPEG_MAX_SIDE:
        raise PhotoError(
            f"{path} cannot be written: a side of a JPEG has at most {JPEG_MAX_SIDE} pixels, this "
            f"image is {image.shape[1]}x{image.shape[0]}; write a PNG"
        )
    picture = Image.fromarray(image)
    if palette is not None:
        if is_jpeg or image.ndim != 2:
            raise ValueError("`palette` needs a one-channel PNG; write RGB without a palette")
        picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    make_folder(path.parent)
    with replacing(path) as temporary:
        picture.save(temporary, **options, **(_noted(note, is_jpeg=is_jpeg) if note else {}))


def _noted(note, *, is_jpeg):
    """Returns the options with which Pillow stores a comment."""
    if is_jpeg:
        return {"comment": note.encode("ascii")}
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", note)
    return {"pnginfo": chunks}


def read_note(path):
    """Returns the comment of an image that `write_image` wrote; None without one, or a file."""
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path, formats=["PNG", "JPEG"]) as image,
        ):
            note = image.info.get("Comment", image.info.get("comment"))
    # No file, no image, a damaged one, or one that is larger than Pillow opens.
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return note.decode("ascii", "replace") if isinstance(note, bytes) else note


def make_folder(folder):
    """Makes a folder and those above it; one that is there is left as it is.

    Raises:
        OSError: if it cannot be made, naming it and the mend.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot make the output folder {folder} ({error.strerror}); choose another one",
        ) from error


def find_photos(paths, *, exclude=None):
    """Lists photographs: files as they are named, folders searched through.

    A folder's files are taken by their suffix (see `photo_suffixes`), sorted, hidden ones
    skipped; a file that is named twice, or also found in a folder, is listed once.

    Args:
        paths: one or several files or folders.
        exclude: folder that is skipped where it lies inside a searched one: that of the results,
            lest a second run take them for photographs.

    Returns:
        List of (file, name): `Path`s of the file and of its name relative to the folder that was
        searched, or its bare name if the file itself was given.

    Raises:
        PhotoError: if nothing is named, a path does not exist, or a folder has no photographs.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not paths:
        raise PhotoError("no photographs are named; give files, or folders that hold some")
    missing = [str(path) for path in paths if not os.path.exists(path)]
    if missing:
        raise PhotoError(f"no such file or folder: {', '.join(missing)}; check the spelling")
    found = {}
    for path in map(Path, paths):
        for file in _search(path, exclude) if path.is_dir() else [path]:
            name = file.relative_to(path) if path.is_dir() else Path(file.name)
            found.setdefault(file.resolve(), (file, name))
    return list(found.values())


@functools.cache
def photo_suffixes():
    """Returns the suffixes, lower case with the dot, of files that may be photographs."""
    suffixes = Image.registered_extensions()  # loads Pillow's plugins
    return tuple(sorted(suffix for suffix, kind in suffixes.items() if kind in _formats()))


def _search(folder, exclude):
    """Returns the photographs below `folder`, sorted."""

    def is_wanted(file):
        name = file.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in name.parts)
        is_photo = name.suffix.lower() in photo_suffixes() and file.is_file()
        return is_photo and not is_hidden and not (inner and inner in file.resolve().parents)

    inner = exclude and Path(exclude).resolve()
    if inner and folder.resolve() not in inner.parents:
        inner = None
    files = sorted(filter(is_wanted, folder.rglob("*")))
    if not files:
        raise PhotoError(
            f"{folder} holds no photographs, that is, files that end in "
            f"{', '.join(photo_suffixes())}; name another folder or the files themselves"
        )
    return files


@functools.cache
def _formats():
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _read(path, convert):
    """Returns `convert(path, image)` of the decoded, upright image of a file."""
    try:
        # Pillow warns above half its limit for decompression bombs, and of oddities that it mends.
        with _open(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_formats()) as image:
                image.load()
                return convert(path, _upright(image))
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise PhotoError(
            f"{path} is not an image, or one of an unknown format; known: {', '.join(_formats())}; "
            "save it as PNG or JPEG"
        ) from None
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"{path} is refused ({error}); make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS "
            "if you know where it comes from"
        ) from None
    except MemoryError:
        raise PhotoError(f"{path} does not fit into memory; make it smaller") from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds for damaged bytes
        raise PhotoError(
            f"{path} is damaged or truncated ({error or type(error).__name__}); "
            "copy or download it again"
        ) from None


def _open(path):
    if os.path.isdir(path):
        raise PhotoError(f"{path} is a folder, not a photograph; name the files in it")
    if not os.path.exists(path):
        raise PhotoError(f"{path} does not exist; check the spelling")
    if not os.path.isfile(path):
        raise PhotoError(f"{path} is a pipe or a device; save the photograph to a file first")
    if os.path.getsize(path) == 0:
        raise PhotoError(f"{path} is empty (0 bytes); copy or download it again")
    try:
        return open(path, "rb")
    except OSError as error:
        raise PhotoError(
            f"{path} cannot be read ({error.strerror}); check its permissions"
        ) from None


def _upright(image):
    try:
        method = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # damaged EXIF raises many kinds, and the picture is still good
        return image
    return image if method is None else image.transpose(method)


def _to_rgb_and_alpha(path, image):
    if image.mode == "F" or image.mode.startswith("I"):
        gray = _to_8_bit(path, np.asarray(image))
        return np.repeat(gray[..., None], 3, axis=-1), None
    if image.has_transparency_data:
        rgba = _in_mode(image, "RGBA")
        return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    return _in_mode(image, "RGB"), None


def _in_mode(image, mode):
    # `convert` to the same mode would copy: 400 MB for 100 megapixels.
    return np.asarray(image if image.mode == mode else image.convert(mode))


def _to_8_bit(path, values):
    """Scales gray `[H, W]` of 16-bit, 32-bit or float values to uint8."""
    low, high = values.min(), values.max()
    if np.issubdtype(values.dtype, np.integer):
        if low >= 0 and high <= 65535:
            return EIGHT_OF_SIXTEEN_BITS[values]
    else:
        # A little below black and above white is what sharpening filters leave.
        full = next((full for full in (1, 255, 65535) if high <= 2 * full), None)
        if full and low >= -0.1 * full:
            scaled = values * np.float32(255 / full)
            return np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)
    raise PhotoError(
        f"{path} has gray values from {low} to {high}, which is no photograph's range; "
        "save it with 8 or 16 bits"
    )


def _to_labels(path, image):
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode not in ("L", "P") and not image.mode.startswith("I"):
        raise PhotoError(
            f"{path} has the mode {image.mode}, labels must be one-channel or palette values; "
            "save it as 8-bit gray, each pixel its label"
        )
    labels = np.asarray(image)
    if labels.min() < 0 or labels.max() > 255:
        raise PhotoError(
            f"{path} has labels from {labels.min()} to {labels.max()}, they must lie in 0 to 255; "
            "save it as 8-bit gray, each pixel its label"
        )
    return labels.astype(np.uint8)
