import errno
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin

from colorseg import photo
from colorseg.photo import (
    PhotoError,
    find_photos,
    read_labels,
    read_note,
    read_photo,
    write_image,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
UPRIGHT = np.array([[RED, GREEN, BLUE], [WHITE, (10, 20, 30), (0, 0, 0)]], np.uint8)

# EXIF 2.32, tag 274: the sides of the scene that the stored rows and columns start from.
EXIF_SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def save(path, image, **options):
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    picture.save(path, **options)
    return path


def encoded(kind, **options):
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype="uint8")).save(file, kind, **options)
    return file.getvalue()


# Reading


@pytest.mark.parametrize("orientation", EXIF_SIDES)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_exif_orientation_is_honored(tmp_path, orientation, suffix):
    rows, columns = EXIF_SIDES[orientation]
    stored = UPRIGHT.swapaxes(0, 1) if rows in ("left", "right") else UPRIGHT
    stored = stored[::-1] if rows in ("bottom", "right") else stored
    stored = stored[:, ::-1] if columns in ("bottom", "right") else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", np.ascontiguousarray(stored), exif=exif, **options)
    np.testing.assert_array_equal(read_photo(path).rgb, UPRIGHT)


def test_orientation_turns_the_opacity_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((1, 3, 4), np.uint8)
    stored[0, :, 3] = 10, 20, 30
    read = read_photo(save(tmp_path / "a.png", stored, exif=exif))
    assert read.rgb.shape == (3, 1, 3)
    np.testing.assert_array_equal(read.alpha, [[10], [20], [30]])


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03", b"?"]
)
def test_damaged_exif_does_not_spoil_a_photograph(tmp_path, exif):
    path = save(tmp_path / "a.png", UPRIGHT, exif=exif)
    np.testing.assert_array_equal(read_photo(path).rgb, UPRIGHT)


def test_rgb_is_read_as_it_is_stored(tmp_path):
    path = save(tmp_path / "a.png", UPRIGHT)
    read = read_photo(str(path))
    assert read.path == path
    assert read.alpha is None
    assert read.rgb.dtype == np.uint8
    np.testing.assert_array_equal(read.rgb, UPRIGHT)


# value -> value / 257 rounded
SIXTEEN_BITS = {0: 0, 128: 0, 129: 1, 257: 1, 32896: 128, 65406: 254, 65407: 255, 65535: 255}


@pytest.mark.parametrize("kind", ["png", "I;16 tif", "I;16 big-endian", "I tif", "pgm"])
def test_16_bit_gray_is_scaled_exactly(tmp_path, kind):
    values = np.array([list(SIXTEEN_BITS)], np.uint16)
    if kind == "png":
        path = tmp_path / "a.png"
        path.write_bytes(tf.io.encode_png(values[..., None]).numpy())
    elif kind == "pgm":
        path = tmp_path / "a.pgm"
        path.write_bytes(b"P5 8 1 65535\n" + values.astype(">u2").tobytes())
    elif kind == "I tif":
        path = save(tmp_path / "a.tif", values.astype("int32"))
    elif kind == "I;16 big-endian":
        path = save(tmp_path / "a.tif", Image.frombytes("I;16B", (8, 1), values.astype(">u2")))
    else:
        path = save(tmp_path / "a.tif", values)
    read = read_photo(path)
    assert read.alpha is None
    for channel in range(3):
        np.testing.assert_array_equal(read.rgb[0, :, channel], list(SIXTEEN_BITS.values()))


def test_16_bit_rgb_is_not_clipped(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(tf.io.encode_png(np.uint16([[[65535, 257 * 100, 0]]])).numpy())
    np.testing.assert_array_equal(read_photo(path).rgb, [[[255, 100, 0]]])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([-0.01, 0.2, 1.02], [0, 51, 255]),
        ([0, 100, 255], [0, 100, 255]),
        ([0, 25700, 65535], [0, 100, 255]),
    ],
)
def test_float_gray_is_scaled_by_the_range_that_fits(tmp_path, values, expected):
    path = save(tmp_path / "a.tif", np.array([values], "float32"))
    np.testing.assert_array_equal(read_photo(path).rgb[0, :, 1], expected)


@pytest.mark.parametrize(
    "values", [np.float32([[-5, 1]]), np.float32([[0, np.nan]]), np.int32([[0, 70000]])]
)
def test_gray_that_is_no_photograph_is_refused(tmp_path, values):
    path = save(tmp_path / "depth.tif", values)
    with pytest.raises(PhotoError, match=r"depth.tif has gray values from .* 8 or 16 bits"):
        read_photo(path)


def palette_image(transparency=None):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([0, 1])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def keyed_image():
    image = Image.fromarray(np.uint8([[7, 200]]))
    image.info["transparency"] = 200
    return image


def cmyk_image():
    # Full magenta and yellow is red, half black is half gray.
    return Image.frombytes("CMYK", (2, 1), bytes([0, 255, 255, 0, 0, 0, 0, 128]))


@pytest.mark.parametrize(
    ("name", "image", "rgb", "alpha"),
    [
        ("gray.png", np.uint8([[7, 200]]), [(7, 7, 7), (200, 200, 200)], None),
        ("bits.png", np.array([[False, True]]), [(0, 0, 0), WHITE], None),
        ("cmyk.tif", cmyk_image(), [RED, (127, 127, 127)], None),
        ("palette.png", palette_image(), [RED, BLUE], None),
        ("palette.gif", palette_image(), [RED, BLUE], None),
        ("one_clear.png", palette_image(1), [RED, BLUE], [255, 0]),
        ("graded.png", palette_image(bytes([40, 255])), [RED, BLUE], [40, 255]),
        ("keyed.png", keyed_image(), [(7, 7, 7), (200, 200, 200)], [255, 0]),
        ("la.png", np.uint8([[[9, 80], [5, 0]]]), [(9, 9, 9), (5, 5, 5)], [80, 0]),
        ("rgba.png", np.uint8([[[1, 2, 3, 4], [5, 6, 7, 255]]]), [(1, 2, 3), (5, 6, 7)], [4, 255]),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, name, image, rgb, alpha):
    read = read_photo(save(tmp_path / name, image))
    np.testing.assert_array_equal(read.rgb, [rgb])
    if alpha is None:
        assert read.alpha is None
    else:
        np.testing.assert_array_equal(read.alpha, [alpha])


@pytest.mark.parametrize(
    "name", ["a.gif", "a.webp", "a.png", pytest.param("a.tif", id="pages of a TIFF")]
)
def test_the_first_frame_of_an_animation_is_read(tmp_path, name):
    frames = [Image.new("RGB", (4, 3), color) for color in (RED, GREEN, BLUE)]
    options = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    read = read_photo(tmp_path / name)
    np.testing.assert_array_equal(read.rgb, np.full((3, 4, 3), RED, np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "PPM", "WEBP", "JPEG2000"])
def test_truncated_files_are_refused_and_closed(tmp_path, kind):
    content = encoded(kind)
    path = tmp_path / f"half.{kind.lower()}"
    path.write_bytes(content)
    assert read_photo(path).rgb.shape == (40, 30, 3)
    path.write_bytes(content[: len(content) // 2])
    message = r"half\.\w+ is damaged or truncated \(.+\); copy or download it again"
    with pytest.raises(PhotoError, match=message) as caught:
        read_photo(path)
    # Still held by the exception's frames, if it were open.
    descriptors = Path("/proc/self/fd")
    if descriptors.is_dir():
        names = {os.path.realpath(fd) for fd in descriptors.iterdir()}
        assert str(path) not in names
    assert caught.value.__suppress_context__  # no decoder's traceback


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\); copy or download it again"),
        (b"Dear diary, no photographs today.", "is not an image, or one of an unknown format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image, .* JPEG, "),
        (b"\x89PNG\r\n\x1a\n", "photo.png is "),
    ],
)
def test_files_that_are_not_images_are_refused(tmp_path, content, message):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=message) as caught:
        read_photo(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(PhotoError, match=r"nowhere\.png does not exist; check the spelling"):
        read_photo(tmp_path / "nowhere.png")
    with pytest.raises(PhotoError, match="is a folder, not a photograph; name the files in it"):
        read_photo(tmp_path)
    with pytest.raises(PhotoError, match="does not exist"):
        read_photo(tmp_path / ("n" * 5000))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(PhotoError, match="is a pipe or a device"):
        read_photo(tmp_path / "pipe.png")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    path = save(tmp_path / "locked.png", UPRIGHT)
    monkeypatch.setattr(photo, "open", refuse, raising=False)
    with pytest.raises(PhotoError, match=r"locked\.png cannot be read \(Permission denied\)"):
        read_photo(path)


def test_bombs_are_refused_by_pillows_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    large = save(tmp_path / "large.png", np.zeros((10, 10), np.uint8))
    bomb = save(tmp_path / "bomb.png", np.zeros((10, 11), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's own warning starts at 50 pixels
        assert read_photo(large).rgb.shape == (10, 10, 3)
    with pytest.raises(PhotoError, match=r"bomb\.png is refused \(.*110 pixels.*MAX_IMAGE_PIXELS"):
        read_photo(bomb)


def test_a_100_megapixel_photograph_is_below_the_limit():
    assert 2 * Image.MAX_IMAGE_PIXELS > 100e6


def test_a_photograph_larger_than_memory_is_refused(tmp_path, monkeypatch):
    def exhaust(path, image):
        raise MemoryError

    path = save(tmp_path / "huge.png", UPRIGHT)
    monkeypatch.setattr(photo, "_to_rgb_and_alpha", exhaust)
    with pytest.raises(PhotoError, match=r"huge\.png does not fit into memory"):
        read_photo(path)


def check_read(path):
    """Whatever the bytes: a valid `Photo` or a `PhotoError` that names the file."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)  # damaged headers claim any size
            read = read_photo(path)
    except PhotoError as error:
        assert str(path) in str(error)
        return
    height, width, channels = read.rgb.shape
    assert read.rgb.dtype == np.uint8
    assert channels == 3
    assert height * width > 0
    assert read.alpha is None or (read.alpha.dtype, read.alpha.shape) == (np.uint8, (height, width))


SIGNATURES = (
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"P5",
)


@settings(deadline=None, max_examples=150)
@given(signature=st.sampled_from(SIGNATURES), rest=st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(tmp_path_factory, signature, rest):
    path = tmp_path_factory.getbasetemp() / "arbitrary.img"
    path.write_bytes(signature + rest)
    check_read(path)


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP", "PPM", "WEBP", "JPEG2000"]),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_images_are_read_or_refused(tmp_path_factory, kind, edits):
    content = bytearray(encoded(kind))
    for position, value in edits:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.img"
    path.write_bytes(content)
    check_read(path)


# Labels


def test_labels_are_the_stored_values(tmp_path):
    codes = np.uint8([[1, 2], [3, 255]])
    as_palette = Image.fromarray(codes)
    as_palette.putpalette(bytes(range(255, -1, -1)) * 3)
    for name, image in {
        "gray.png": codes,
        "palette.png": as_palette,
        "deep.png": codes.astype("uint16"),
    }.items():
        labels = read_labels(save(tmp_path / name, image))
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, codes)
    np.testing.assert_array_equal(
        read_labels(save(tmp_path / "bits.png", codes == 2)), [[0, 1], [0, 0]]
    )


def test_labels_of_another_kind_are_refused(tmp_path):
    with pytest.raises(PhotoError, match=r"rgb\.png has the mode RGB, labels must be one-channel"):
        read_labels(save(tmp_path / "rgb.png", UPRIGHT))
    with pytest.raises(PhotoError, match=r"deep\.png has labels from 1 to 300"):
        read_labels(save(tmp_path / "deep.png", np.uint16([[1, 300]])))


# Writing


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 4), (1, 1)])
def test_png_keeps_every_value(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    path = tmp_path / "new" / "folder" / "a.png"
    write_image(path, image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)
    assert os.listdir(path.parent) == ["a.png"]


def test_jpeg_has_full_chroma_resolution(tmp_path):
    for name in ("a.jpg", "a.JPEG"):
        write_image(tmp_path / name, np.full((16, 16, 3), (200, 90, 30), np.uint8))
        with Image.open(tmp_path / name) as image:
            assert image.format == "JPEG"
            assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
            np.testing.assert_allclose(np.asarray(image)[0, 0], (200, 90, 30), atol=3)


def test_palette_shows_colors_and_stores_values(tmp_path):
    codes = np.uint8([[1, 2, 1]])
    write_image(tmp_path / "a.png", codes, palette=[(0, 0, 0), RED, BLUE])
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), codes)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), [[RED, BLUE, RED]])


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_note_is_stored_and_read(name, tmp_path):
    write_image(tmp_path / name, UPRIGHT, note="made of this and that")
    assert read_note(tmp_path / name) == "made of this and that"
    assert read_photo(tmp_path / name).rgb.shape == (*UPRIGHT.shape[:2], 3)
    write_image(tmp_path / name, UPRIGHT)
    assert read_note(tmp_path / name) is None


def test_no_note_is_read_from_what_is_no_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nhalf")
    assert read_note(tmp_path / "a.png") is None
    assert read_note(tmp_path / "b.png") is None
    assert read_note(tmp_path) is None


def test_a_result_too_large_to_open_has_no_note(tmp_path, monkeypatch, recwarn):
    write_image(tmp_path / "a.png", np.zeros((20, 20), np.uint8), note="made")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    assert read_note(tmp_path / "a.png") == "made"  # Pillow would warn
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_note(tmp_path / "a.png") is None
    assert not recwarn.list


def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_image(tmp_path / "a.png", UPRIGHT)
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown suffix .*'\.bmp'; known: \.jpeg, \.jpg, \.png"):
        write_image(tmp_path / "a.bmp", UPRIGHT)
    with pytest.raises(ValueError, match=r"`image` must be uint8 .* got float64 \[2, 3, 3\]"):
        write_image(tmp_path / "a.png", UPRIGHT / 255)
    with pytest.raises(ValueError, match=r"\[H, W, 3\] for a\.jpg, got uint8 \[2, 3, 4\]"):
        write_image(tmp_path / "a.jpg", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(ValueError, match="`palette` needs a one-channel PNG"):
        write_image(tmp_path / "a.png", UPRIGHT, palette=[RED])
    with pytest.raises(
        PhotoError, match="at most 65500 pixels, this image is 70000x1; write a PNG"
    ):
        write_image(tmp_path / "a.jpg", np.zeros((1, 70000), np.uint8))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot make the output folder .*file.*choose another one"):
        write_image(tmp_path / "file" / "a.png", UPRIGHT)


@pytest.mark.parametrize("broken", ["save", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, broken):
    def fail(self, path, *args, **options):
        with open(path, "ab") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = save(tmp_path / "a.png", UPRIGHT)
    before = path.read_bytes()
    if broken == "save":
        monkeypatch.setattr(Image.Image, "save", fail)
    else:
        monkeypatch.setattr(os, "replace", lambda source, target: fail(None, source))
    with pytest.raises(OSError, match=r"cannot write .*a\.png.*No space left on device"):
        write_image(path, UPRIGHT[::-1])
    assert os.listdir(tmp_path) == ["a.png"]
    assert path.read_bytes() == before


# Finding


def test_folders_are_searched_sorted_and_hidden_files_skipped(tmp_path):
    for name in (
        "b.JPG",
        "a.png",
        "sub/c.tiff",
        ".hidden.png",
        ".cache/d.png",
        "notes.txt",
        "e.eps",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [Path("a.png"), Path("b.JPG"), Path("sub/c.tiff")]
    assert find_photos(tmp_path) == [(tmp_path / name, name) for name in names]


def test_files_are_taken_whatever_their_name_and_once(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("scan", ".hidden.png", "sub/a.png"):
        (tmp_path / name).touch()
    files = [tmp_path / "scan", tmp_path / ".hidden.png"]
    found = find_photos([*files, str(files[0]), tmp_path / "sub", tmp_path / "sub" / "a.png"])
    assert [name for _, name in found] == [Path("scan"), Path(".hidden.png"), Path("a.png")]


def test_the_results_inside_a_folder_are_left_out(tmp_path):
    for name in ("a.png", "out/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_photos(tmp_path, exclude=tmp_path / "out")
    assert [name for _, name in found] == [Path("a.png")]
    # A folder that is itself named, or inside the excluded one, is searched.
    assert len(find_photos(tmp_path / "out", exclude=tmp_path / "out")) == 1
    assert len(find_photos(tmp_path / "out", exclude=tmp_path)) == 1


def test_missing_paths_and_empty_folders_are_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PhotoError, match=r"no such file or folder: .*x\.png, .*y; check"):
        find_photos([tmp_path / "notes.txt", tmp_path / "x.png", tmp_path / "y"])
    with pytest.raises(PhotoError, match=r"holds no photographs, .*\.jpg, .*\.png.*name another"):
        find_photos(tmp_path)
    with pytest.raises(PhotoError, match="no photographs are named"):
        find_photos([])
