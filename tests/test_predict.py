import errno
import os
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from colorseg import color, photo, predict
from colorseg.encodings import Chroma, QuantizedAB
from colorseg.model import load_pretrained
from colorseg.photo import PhotoError, read_photo, write_image
from colorseg.predict import colorize, colorize_files, network_size, segment, segment_files


def with_tasks(model, encoding=None):
    heads = model.output_names if isinstance(model.output, list) else model.output.keys()
    model.tasks = {head: SimpleNamespace(encoding=encoding or Chroma()) for head in heads}
    return model


def random_network(*, side=None, spread=1.0, encoding=None):
    """Both heads; `spread` multiplies the color head's random weights."""
    encoding = encoding or Chroma()
    keras.utils.set_random_seed(0)
    gray = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(gray)
    weights = keras.initializers.RandomNormal(stddev=spread, seed=1)
    heads = {
        "color": keras.layers.Conv2D(
            encoding.channels, 3, padding="same", kernel_initializer=weights, name="color"
        )(x),
        "mask": keras.layers.Conv2D(3, 3, padding="same", name="mask")(x),
    }
    return with_tasks(keras.Model(gray, heads), encoding)


def constant_network(head, values):
    """Predicts `values` at every pixel, whatever it sees."""
    gray = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(
        len(values),
        1,
        kernel_initializer="zeros",
        bias_initializer=lambda shape, dtype: keras.ops.convert_to_tensor(values, dtype),
        name=head,
    )
    return with_tasks(keras.Model(gray, {head: layer(gray)}))


class Observed:
    """A network that records what it is called with, as `seen`."""

    def __init__(self, model):
        self.model = model
        self.tasks = model.tasks
        self.input_shape = model.input_shape
        self.seen = []

    def predict_on_batch(self, gray):
        self.seen.append(gray)
        return self.model(gray, training=False)


def luma(image):
    """BT.601 in 8-bit levels, float64, from its definition."""
    image = np.asarray(image, "float64")
    if image.ndim == 2 or image.shape[2] == 1:
        return image.reshape(image.shape[:2])
    return 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]


NETWORK = random_network()
WILD = random_network(spread=30.0)


# Colorizing


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (200, 300), (40, 64, 1), (40, 64, 3)])
def test_constant_chroma_by_hand(shape):
    # U = 0.436 * 0.1 and V = 0.615 * 0.2, so at Y = 128/255, from the definition of U and V
    # (U = 0.492 (B - Y), V = 0.877 (R - Y), G from the luma weights), in 8-bit levels:
    # R = 128 + 0.123 / 0.877 * 255 = 163.8, B = 128 + 0.0436 / 0.492 * 255 = 150.6,
    # G = (128 - 0.299 * 163.8 - 0.114 * 150.6) / 0.587 = 105.4.
    model = constant_network("color", [0.1, 0.2])
    colored = colorize(np.full(shape, 128, np.uint8), model)
    assert colored.shape == (*shape[:2], 3)
    assert colored.dtype == np.uint8
    np.testing.assert_array_equal(colored, np.full_like(colored, (164, 105, 151)))


def test_a_color_out_of_gamut_gives_up_saturation_by_hand():
    # At Y = 204, V = 0.615 asks for R = 204 + 0.615 / 0.877 * 255 = 383: the saturation shrinks
    # until R = 255. U = 0 means B = Y = 204, and G = (204 - 0.299 * 255 - 0.114 * 204) / 0.587
    # = 178.0 keeps the luma.
    model = constant_network("color", [0.0, 1.0])
    colored = colorize(np.full((2, 2), 204, np.uint8), model)
    np.testing.assert_array_equal(colored, np.full((2, 2, 3), (255, 178, 204)))


def test_black_and_white_stay():
    colored = colorize(np.uint8([[0, 255]]), constant_network("color", [0.7, -0.9]))
    np.testing.assert_array_equal(colored, [[(0, 0, 0), (255, 255, 255)]])


def test_no_chroma_gives_the_gray_photograph():
    gray = np.arange(256, dtype="uint8").reshape(8, 32)
    colored = colorize(gray, constant_network("color", [0.0, 0.0]))
    np.testing.assert_array_equal(colored, np.repeat(gray[..., None], 3, axis=-1))


@pytest.mark.parametrize("model", [NETWORK, WILD], ids=["network", "wild network"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (50, 10000), (10000, 50, 3), (333, 517, 3)])
def test_luma_is_kept_at_any_size(model, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    colored = colorize(image, model)
    assert colored.shape == (*shape[:2], 3)
    assert np.abs(luma(colored) - luma(image)).max() <= 0.501  # rounding of 8-bit RGB


def test_a_quantized_encoding_keeps_luma():
    encoding = QuantizedAB()
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype="uint8")
    colored = colorize(image, random_network(encoding=encoding), size=32)
    assert np.abs(luma(colored) - luma(image)).max() <= 0.501


@settings(deadline=None, max_examples=40)
@given(data=st.data(), channels=st.sampled_from([(), (1,), (3,)]))
def test_arbitrary_photographs(data, channels):
    shape = data.draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    values = data.draw(st.binary(min_size=1, max_size=50))
    image = np.resize(np.frombuffer(values, np.uint8), (*shape, *channels))
    colored = colorize(image, WILD, size=32)
    assert colored.dtype == np.uint8
    assert colored.shape == (*shape, 3)
    assert np.abs(luma(colored) - luma(image)).max() <= 0.501
    classes = segment(image, WILD, size=32)
    assert classes.shape == shape
    assert set(np.unique(classes)) <= {0, 1, 2}


def test_one_gray_channel_and_three_equal_ones_agree():
    gray = np.random.default_rng(0).integers(0, 256, (64, 64, 1), dtype="uint8")
    three = colorize(np.repeat(gray, 3, axis=-1), NETWORK)
    # A float's last digit may fall on the other side of a rounding.
    np.testing.assert_allclose(three, colorize(gray, NETWORK), atol=1)


def test_the_network_sees_luma_in_the_range_0_to_1():
    # A photograph of the network's size is not resized: exact luma, three times.
    model = Observed(NETWORK)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype="uint8")
    colorize(image, model, size=78)  # 78 * 78 is about 64 * 96
    assert model.seen[0].shape == (1, 64, 96, 3)
    for channel in range(3):
        np.testing.assert_allclose(model.seen[0][0, ..., channel], luma(image) / 255, atol=1e-6)


def test_a_large_photograph_is_antialiased_for_the_network():
    # Stripes of one pixel, black and white: without antialiasing they would stay stripes.
    model = Observed(NETWORK)
    stripes = np.tile(np.uint8([0, 255]), (512, 256))
    colorize(stripes, model, size=64)
    np.testing.assert_allclose(model.seen[0], 0.5, atol=0.03)


@pytest.mark.parametrize("shape", [(300, 400), (37, 61), (5, 7)])
def test_bands_join_without_a_seam(monkeypatch, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype="uint8")
    monkeypatch.setattr(predict, "BAND_PIXELS", 1 << 30)
    whole = colorize(image, NETWORK, size=64)
    classes = segment(image, NETWORK, size=64)
    for pixels in (1, 5 * shape[1]):
        monkeypatch.setattr(predict, "BAND_PIXELS", pixels)
        difference = colorize(image, NETWORK, size=64).astype(int) - whole
        # A float's last digit may fall on the other side of a rounding.
        assert np.abs(difference).max() <= 1
        assert np.mean(difference != 0) < 1e-3
        assert np.mean(segment(image, NETWORK, size=64) != classes) < 1e-3


def test_chroma_is_enlarged_smoothly():
    # 0 in the left half and 1 in the right. Enlarged 8 times, it changes by small steps, and far
    # from the edge it is as predicted.
    small = np.zeros((32, 64, 1), np.float32)
    small[:, 32:] = 1
    band = np.concatenate([band[:, 0] for _, band in predict._enlarged_bands(small, (256, 512))])
    assert band.shape == (256, 512)
    assert np.abs(np.diff(band, axis=1)).max() < 0.2
    np.testing.assert_allclose(band[:, :200], 0, atol=1e-6)
    np.testing.assert_allclose(band[:, 300:], 1, atol=1e-6)
    # The edge stays between the columns 255 and 256, where it is in the photograph.
    np.testing.assert_allclose(band[:, 255] + band[:, 256], 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(300, 400), (37, 61), (5, 7)])
def test_enlarging_in_bands_is_pillows_resize(monkeypatch, shape):
    monkeypatch.setattr(predict, "BAND_PIXELS", 3 * shape[1])
    small = np.random.default_rng(0).random((32, 64, 2), dtype="float32")
    bands = np.concatenate([band for _, band in predict._enlarged_bands(small, shape)])
    for channel in (0, 1):
        plane = Image.fromarray(small[..., channel].copy())
        whole = plane.resize(shape[::-1], Image.Resampling.BICUBIC)
        np.testing.assert_allclose(bands[:, channel], whole, atol=1e-5)


def test_the_gamut_is_fitted_as_in_color():
    rng = np.random.default_rng(0)
    y = rng.random((50, 60), dtype="float32")
    y[0, :2] = 0, 1
    u, v = rng.normal(0, 0.5, (2, 50, 60)).astype("float32")
    u[1, :5] = v[1, :5] = 0
    expected = color.fit_to_gamut(color.yuv_to_rgb(np.stack([y, u, v], axis=-1)))
    difference = np.moveaxis(np.stack([u, v], axis=-1) @ color.RGB_FROM_YUV[:, 1:].T, -1, 1)
    colored = np.empty((50, 60, 3), np.uint8)
    predict._recolor(y, difference.astype("float32"), out=colored)
    np.testing.assert_allclose(colored, keras.ops.convert_to_numpy(expected) * 255, atol=0.51)


# The network's size


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((500, 500), 128, (128, 128)),
        ((1, 1), 128, (128, 128)),
        ((300, 400), 256, (224, 288)),  # 256 / 1.155 = 221.7, 256 * 1.155 = 295.6
        ((400, 300), 256, (288, 224)),
        ((50, 10000), 128, (32, 1024)),  # 1810 wide, if 8 * 128 did not bound it
        ((10000, 50), 128, (1024, 32)),
        ((500, 500), 1, (32, 32)),
        ((500, 500), 150, (160, 160)),
    ],
)
def test_network_size_by_hand(shape, size, expected):
    assert network_size(shape, size) == expected


@given(shape=st.tuples(st.integers(1, 20000), st.integers(1, 20000)), size=st.integers(1, 2000))
def test_network_size_is_bounded(shape, size):
    for side in network_size(shape, size):
        assert side % 32 == 0
        assert 32 <= side <= max(32, 8 * size)


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [(None, (128, 128)), (96, (96, 96)), ((64, 256), (128, 128))],
)
def test_the_default_is_the_size_that_the_network_was_trained_at(image_size, expected):
    model = Observed(NETWORK)
    model.image_size = image_size
    colorize(np.zeros((9, 9), np.uint8), model)
    assert model.seen[0].shape == (1, *expected, 3)


def test_a_network_of_one_size_sees_that_size():
    model = random_network(side=64)
    assert colorize(np.zeros((30, 90), np.uint8), model).shape == (30, 90, 3)
    assert colorize(np.zeros((30, 90), np.uint8), model, size=64).shape == (30, 90, 3)
    with pytest.raises(ValueError, match="built for 64x64 pixels only; leave `size` out"):
        colorize(np.zeros((30, 90), np.uint8), model, size=128)


# Segmenting


@pytest.mark.parametrize("winner", [0, 1, 2])
def test_constant_logits_give_one_class(winner):
    model = constant_network("mask", np.eye(3)[winner] * 5)
    classes = segment(np.zeros((40, 70, 3), np.uint8), model)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, np.full((40, 70), winner))


def test_classes_stay_where_they_are_seen():
    # Logits that follow the gray itself: bright is pet, dark is background.
    gray = keras.Input((None, None, 3))
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 0] = 20, -20, 0
    layer = keras.layers.Conv2D(3, 1, name="mask", use_bias=False)
    model = with_tasks(keras.Model(gray, {"mask": layer(keras.layers.Rescaling(1, -0.5)(gray))}))
    layer.set_weights([kernel])
    image = np.zeros((90, 210), np.uint8)
    image[20:60, 100:150] = 255
    classes = segment(image, model)
    expected = np.where(image == 255, 0, 1)
    assert np.mean(classes == expected) > 0.97
    assert set(np.unique(classes)) <= {0, 1}
    np.testing.assert_array_equal(classes[25:55, 106:144], 0)


# What is refused


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\].*photo \* 255\)\.round\(\)\.astype"),
        (np.zeros((4, 4), "uint16"), r"uint16 \[4, 4\]"),
        (np.zeros((4, 4, 4), "uint8"), r"uint8 \[4, 4, 4\]"),
        (np.zeros((1, 4, 4, 3), "uint8"), r"uint8 \[1, 4, 4, 3\]"),
        (np.zeros((0, 4, 3), "uint8"), r"uint8 \[0, 4, 3\]"),
        (np.zeros(4, "uint8"), r"uint8 \[4\]"),
    ],
)
@pytest.mark.parametrize("function", [colorize, segment])
def test_other_arrays_are_refused(function, image, message):
    with pytest.raises(ValueError, match=r"`photo` must be uint8 \[H, W\].*got " + message):
        function(image, NETWORK)


@pytest.mark.parametrize("size", [0, -5, 12.5, "128", True])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match="`size` must be a positive whole number of pixels"):
        colorize(np.zeros((4, 4), np.uint8), NETWORK, size=size)


def test_a_model_without_the_head_is_refused(tmp_path):
    image = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match=r"no color head, it has: mask; take one .* 'color'"):
        colorize(image, constant_network("mask", [0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="no mask head, it has: color;"):
        segment(image, constant_network("color", [0.0, 0.0]))
    with pytest.raises(ValueError, match="no color head, it has: none;"):
        colorize(image, SimpleNamespace())
    with pytest.raises(ValueError, match="no mask head"):
        segment_files(tmp_path, constant_network("color", [0.0, 0.0]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_predicts_nan_is_refused():
    for function, model in (
        (colorize, constant_network("color", [np.nan, 0.0])),
        (segment, constant_network("mask", [np.nan, 0.0, 0.0])),
    ):
        with pytest.raises(ValueError, match="predicts NaN or infinity: its weights are damaged"):
            function(np.zeros((4, 4), np.uint8), model)


# Files


def write_photos(folder, *names):
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(index).integers(0, 256, (20, 30, 3), dtype="uint8")
        Image.fromarray(image).save(folder / name)
    return [folder / name for name in names]


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_colored_and_keeps_its_structure(tmp_path, capsys):
    write_photos(tmp_path / "photos", "a.png", "sub/b.v2.bmp")
    report = colorize_files(tmp_path / "photos", NETWORK, tmp_path / "out", size=32)
    assert files_below(tmp_path / "out") == ["a.png", "sub/b.v2.png"]
    assert report.failed == []
    assert report.written == [
        (tmp_path / "photos" / "a.png", tmp_path / "out" / "a.png"),
        (tmp_path / "photos" / "sub" / "b.v2.bmp", tmp_path / "out" / "sub" / "b.v2.png"),
    ]
    for source, result in report.written:
        image = read_photo(source).rgb
        np.testing.assert_array_equal(read_photo(result).rgb, colorize(image, NETWORK, size=32))
    output, errors = capsys.readouterr()
    assert output == ""
    assert "2/2" in errors  # the progress bar


def test_opacity_is_kept_in_png_and_dropped_in_jpeg(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (8, 9, 4), dtype="uint8")
    Image.fromarray(rgba).save(tmp_path / "a.png")
    for kind in ("png", "jpeg"):
        colorize_files(tmp_path / "a.png", NETWORK, tmp_path / kind, format=kind, progress=False)
    np.testing.assert_array_equal(read_photo(tmp_path / "png" / "a.png").alpha, rgba[..., 3])
    read = read_photo(tmp_path / "jpeg" / "a.jpg")
    assert read.alpha is None
    assert read.rgb.shape == (8, 9, 3)


def test_orientation_is_honored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (8, 3)).save(tmp_path / "a.png", exif=exif)
    colorize_files(tmp_path / "a.png", NETWORK, tmp_path / "out", progress=False)
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == (3, 8)
        assert not image.getexif()


def test_masks_have_the_codes_of_oxfords_trimaps(tmp_path):
    (path,) = write_photos(tmp_path, "a.png")
    for class_id, code in ((0, 1), (1, 2), (2, 3)):
        model = constant_network("mask", np.eye(3)[class_id])
        report = segment_files(path, model, tmp_path / "out", progress=False)
        assert report.written == [(path, tmp_path / "out" / "a_mask.png")]
        with Image.open(tmp_path / "out" / "a_mask.png") as mask:
            assert mask.mode == "P"
            np.testing.assert_array_equal(np.asarray(mask), np.full((20, 30), code))
            shown = mask.convert("RGB").getpixel((0, 0))
            assert shown == predict.TRIMAP_PALETTE[code]
        np.testing.assert_array_equal(
            photo.read_labels(tmp_path / "out" / "a_mask.png"), np.full((20, 30), code)
        )


def test_a_bad_photograph_among_many_is_reported_and_skipped(tmp_path, capsys):
    good = write_photos(tmp_path, "a.png", "c.png")
    bad = tmp_path / "b.jpg"
    bad.write_bytes(b"")
    report = colorize_files(tmp_path, NETWORK, tmp_path / "out")
    assert [path for path, _ in report.written] == good
    assert [path for path, _ in report.failed] == [bad]
    assert "is empty" in report.failed[0][1]
    assert files_below(tmp_path / "out") == ["a.png", "c.png"]
    assert "skipped: " + report.failed[0][1] in capsys.readouterr().err

    told = []
    colorize_files(
        tmp_path,
        NETWORK,
        tmp_path / "out",
        progress=False,
        on_error=lambda path, error: told.append((path, error)),
    )
    assert told[0][0] == bad
    assert isinstance(told[0][1], PhotoError)
    assert capsys.readouterr().err == ""


def test_equal_names_are_told_apart(tmp_path):
    photos = write_photos(tmp_path, "x/a.png", "x/a.bmp", "y/A.png", "y/a-2.png", "y/b.png")
    report = colorize_files(photos, NETWORK, tmp_path / "out", progress=False)
    assert [path for path, _ in report.written] == photos
    names = [path.name for _, path in report.written]
    assert names == ["a.png", "a-3.png", "A-4.png", "a-2.png", "b.png"]
    assert files_below(tmp_path / "out") == sorted(names)
    for source, result in report.written:
        difference = luma(read_photo(source).rgb) - luma(read_photo(result).rgb)
        assert np.abs(difference).max() <= 0.501


@given(names=st.lists(st.sampled_from(["a", "A", "a-2", "A-2", "a-3", "b"]), max_size=9))
def test_names_told_apart_differ_and_the_first_is_kept(names):
    apart = list(predict._tell_apart(names))
    assert len({name.casefold() for name in apart}) == len(names)
    for index, name in enumerate(names):
        assert apart[index].startswith(name)
        if name.casefold() not in [earlier.casefold() for earlier in names[:index]]:
            assert apart[index] == name


def test_a_photograph_is_never_written_over(tmp_path):
    photos = write_photos(tmp_path, "a.bmp", "b.png")
    before = [path.read_bytes() for path in photos]
    with pytest.raises(ValueError, match=r"b\.png would replace the photograph .*b\.png; choose"):
        colorize_files(photos, NETWORK, tmp_path, progress=False)
    # Nor through another name of the same folder.
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="would replace the photograph"):
        colorize_files(photos, NETWORK, tmp_path / "link", progress=False)
    assert [path.read_bytes() for path in photos] == before
    assert files_below(tmp_path) == ["a.bmp", "b.png"]


def test_a_second_run_does_not_color_the_results_of_the_first(tmp_path):
    write_photos(tmp_path, "a.png", "sub/b.png")
    for _ in range(2):
        report = colorize_files(tmp_path, NETWORK, tmp_path / "out", progress=False)
        assert len(report.written) == 2
    assert files_below(tmp_path / "out") == ["a.png", "sub/b.png"]


def test_missing_paths_and_unknown_formats_stop_before_any_work(tmp_path):
    photos = write_photos(tmp_path, "a.png")
    with pytest.raises(PhotoError, match=r"no such file or folder: .*nowhere"):
        colorize_files([*photos, tmp_path / "nowhere"], NETWORK, tmp_path / "out")
    with pytest.raises(ValueError, match="unknown format 'tiff'; known: jpeg, png"):
        colorize_files(photos, NETWORK, tmp_path / "out", format="tiff")
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_stops_the_run(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OSError, match=r"cannot make the output folder .*file"):
            colorize_files(photos, NETWORK, out, progress=False)

    replace = os.replace

    def fill_up(source, target):
        if Path(target).name == "b.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fill_up)
    with pytest.raises(OSError, match=r"cannot write .*b\.png.*No space left on device"):
        colorize_files(photos, NETWORK, tmp_path / "out", progress=False)
    assert files_below(tmp_path / "out") == ["a.png"]


# Several processes, and runs that were broken off


@pytest.fixture(scope="module")
def shipped():
    return load_pretrained()


def test_several_processes_do_what_one_does(tmp_path, shipped):
    photos = write_photos(tmp_path, "a.png", "b.png", "c.png", "d.png")
    (tmp_path / "b.png").write_bytes(b"")
    told = []
    options = {"size": 32, "progress": False}
    shared = colorize_files(
        photos,
        shipped,
        tmp_path / "two",
        jobs=2,
        on_error=lambda path, error: told.append((path, error)),
        **options,
    )
    assert [path.name for path, _ in shared.written] == ["a.png", "c.png", "d.png"]
    assert [path.name for path, _ in shared.failed] == ["b.png"]
    assert isinstance(told[0][1], PhotoError)
    assert files_below(tmp_path / "two") == ["a.png", "c.png", "d.png"]
    for source, result in shared.written:
        expected = colorize(read_photo(source).rgb, shipped, size=32).astype(int)
        assert np.abs(read_photo(result).rgb - expected).max() <= 1


def test_several_processes_need_a_network_that_they_can_build(tmp_path):
    photos = write_photos(tmp_path, "a.png")
    with pytest.raises(ValueError, match="several jobs need a network that load_run or"):
        colorize_files(photos, NETWORK, tmp_path / "out", jobs=2)
    for jobs in (0, 1.5):
        with pytest.raises(ValueError, match="`jobs` must be a whole number of processes from 1"):
            segment_files(photos, NETWORK, tmp_path / "out", jobs=jobs)
    assert not (tmp_path / "out").exists()


def age(*paths):
    for path in paths:
        os.utime(path, (1e9, 1e9))


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_a_run_that_was_broken_off_is_resumed(format, tmp_path):
    out = tmp_path / "out"
    photos = write_photos(tmp_path, "a.png", "b.png", "c.png")
    options = {"size": 32, "format": format, "progress": False}
    first = colorize_files(photos[:2], NETWORK, out, **options)
    results = [result for _, result in first.written]
    age(*results)

    second = colorize_files(photos, NETWORK, out, resume=True, **options)
    assert [path.name for path, _ in second.kept] == ["a.png", "b.png"]
    assert [path.name for path, _ in second.written] == ["c.png"]
    assert [result.stat().st_mtime for result in results] == [1e9, 1e9]

    # Without being asked for, nothing is kept.
    assert len(colorize_files(photos, NETWORK, out, **options).written) == 3


def test_only_what_would_come_out_again_is_kept(tmp_path):
    out = tmp_path / "out"
    photos = write_photos(tmp_path, "a.png", "b.png", "c.png")
    options = {"size": 32, "resume": True, "progress": False}
    colorize_files(photos, NETWORK, out, **options)
    # Another photograph under the same name, as old as the first.
    Image.new("L", (9, 9), 77).save(photos[0])
    age(photos[0])
    (out / "b.png").write_bytes((out / "b.png").read_bytes()[:60])  # damaged
    report = colorize_files(photos, NETWORK, out, **options)
    assert [path.name for path, _ in report.kept] == ["c.png"]
    assert [path.name for path, _ in report.written] == ["a.png", "b.png"]
    for other in (
        {"model": WILD, **options},
        {"model": NETWORK, **options, "size": 64},
    ):
        assert colorize_files(photos, out=out, **other).kept == []


def test_masks_and_colors_are_told_apart(tmp_path):
    (path,) = write_photos(tmp_path, "a.png")
    colorize_files(path, NETWORK, tmp_path, format="jpeg", progress=False)
    segment_files(path, NETWORK, tmp_path, progress=False)
    (tmp_path / "a_mask.png").rename(tmp_path / "out.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out.png").rename(tmp_path / "out" / "a.png")
    report = colorize_files(path, NETWORK, tmp_path / "out", resume=True, progress=False)
    assert report.kept == []


def test_a_process_that_dies_leaves_finished_results_and_no_half_ones(
    tmp_path, shipped, monkeypatch
):
    photos = write_photos(tmp_path, "a.png", "b.png")

    def dies(start, arguments, items, *, jobs, tidy):
        yield "written", None
        (tmp_path / "out" / ".123-b.png").touch()
        tidy(123)
        raise ChildProcessError("a process died")

    monkeypatch.setattr(predict.workers, "share_out", dies)
    with pytest.raises(OSError, match="a process died"):
        colorize_files(photos, shipped, tmp_path / "out", jobs=2, progress=False)
    assert files_below(tmp_path / "out") == []


def test_a_photograph_too_long_for_jpeg_is_skipped(tmp_path):
    write_image(tmp_path / "long.png", np.zeros((1, 70000), np.uint8))
    report = colorize_files(tmp_path, NETWORK, tmp_path / "out", format="jpeg", progress=False)
    assert report.written == []
    assert "this image is 70000x1; write a PNG" in report.failed[0][1]
    assert files_below(tmp_path / "out") == []
