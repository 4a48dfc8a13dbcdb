import numpy as np
import pytest
import skimage.color
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from colorseg import color

UNIT = arrays("float32", (4, 5, 3), elements=st.floats(0, 1, width=32))


def test_rgb_to_yuv_matches_tensorflow(rng):
    rgb = rng.random((2, 4, 5, 3), dtype="float32")
    np.testing.assert_allclose(color.rgb_to_yuv(rgb), tf.image.rgb_to_yuv(rgb), atol=1e-6)


def test_yuv_to_rgb_matches_tensorflow(rng):
    yuv = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    np.testing.assert_allclose(color.yuv_to_rgb(yuv), tf.image.yuv_to_rgb(yuv), atol=1e-5)


def test_lab_matches_scikit_image(rng):
    rgb = rng.random((50, 60, 3))
    rgb[0, :20] *= 0.02  # the linear ends of both transfer curves
    lab = skimage.color.rgb2lab(rgb)
    np.testing.assert_allclose(color.rgb_to_lab(rgb), lab, atol=1e-4)
    np.testing.assert_allclose(color.lab_to_rgb(lab), rgb, atol=1e-5)


def test_luma_of_primaries_are_the_bt601_weights():
    np.testing.assert_allclose(color.luma(np.eye(3))[:, 0], [0.299, 0.587, 0.114], atol=1e-6)


def test_the_gray_of_photographs_is_their_luma(rng, monkeypatch):
    monkeypatch.setattr(color, "AT_ONCE", 2)
    photos = rng.integers(0, 256, (5, 4, 6, 3), dtype="uint8")
    gray = color.photos_to_gray(photos)
    assert isinstance(gray, np.ndarray)
    assert gray.dtype == np.float32
    expected = (photos @ [299, 587, 114] / 255000)[..., None]
    np.testing.assert_allclose(gray, expected, atol=1e-6)


@pytest.mark.parametrize("photos", [np.zeros((1, 2, 2, 3), "float32"), np.zeros((2, 2, 3), "u1")])
def test_what_is_no_batch_of_photographs_is_refused(photos):
    with pytest.raises(ValueError, match=r"`photos` must be uint8 \[N, H, W, 3\], got"):
        color.photos_to_gray(photos)


def test_pure_blue_and_red_reach_the_ends_of_u_and_v():
    yuv = np.asarray(color.rgb_to_yuv(np.eye(3)))
    np.testing.assert_allclose([yuv[2, 1], yuv[0, 2]], [color.U_MAX, color.V_MAX], atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(UNIT)
def test_yuv_and_lab_are_inverse_pairs(rgb):
    np.testing.assert_allclose(color.yuv_to_rgb(color.rgb_to_yuv(rgb)), rgb, atol=1e-5)
    np.testing.assert_allclose(color.lab_to_rgb(color.rgb_to_lab(rgb)), rgb, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(arrays("float32", (4, 5, 3), elements=st.floats(-1, 2, width=32)))
def test_fit_to_gamut_keeps_luma_and_ends_in_gamut(rgb):
    fitted = np.asarray(color.fit_to_gamut(rgb))
    assert fitted.min() >= 0
    assert fitted.max() <= 1
    expected = np.clip(color.luma(rgb), 0, 1)
    np.testing.assert_allclose(color.luma(fitted), expected, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(UNIT)
def test_fit_to_gamut_leaves_colors_in_gamut_alone(rgb):
    np.testing.assert_allclose(color.fit_to_gamut(rgb), rgb, atol=1e-5)


def test_fit_to_gamut_keeps_the_hue():
    rgb = np.array([[1.3, 0.4, 0.1]])
    before, after = color.rgb_to_yuv(rgb), color.rgb_to_yuv(color.fit_to_gamut(rgb))
    hue = [np.arctan2(yuv[0, 2], yuv[0, 1]) for yuv in (before, after)]
    assert hue[0] == pytest.approx(hue[1], abs=1e-5)


def test_luma_and_chroma_make_the_color_again(rng):
    rgb = rng.random((2, 4, 5, 3), dtype="float32")
    chroma = tf.image.rgb_to_yuv(rgb)[..., 1:]
    found = color.add_chroma(color.luma(rgb), chroma)
    np.testing.assert_allclose(found, rgb, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    arrays("float32", (4, 5, 1), elements=st.floats(0, 1, width=32)),
    arrays("float64", (1, 2), elements=st.floats(-0.75, 0.75)),
)
def test_add_chroma_keeps_the_luma_and_its_type(gray, chroma):
    """One U and V for a whole image, in gamut or out of it."""
    found = np.asarray(color.add_chroma(gray, chroma))
    assert found.dtype == np.float32
    assert found.shape == (4, 5, 3)
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_allclose(color.luma(found), gray, atol=1e-5)


@pytest.mark.parametrize(
    ("gray", "chroma", "message"),
    [
        (np.zeros((2, 2, 3)), np.zeros((2, 2, 2)), r"`gray` must be a float tensor \[..., 1\]"),
        (np.zeros((2, 2, 1), "u1"), np.zeros((2, 2, 2)), "got uint8 of shape .*; divide 8-bit"),
        (np.zeros((2, 2, 1)), np.zeros((2, 2, 3)), r"`chroma` must be a float tensor \[..., 2\]"),
    ],
)
def test_wrong_luma_and_chroma_are_refused(gray, chroma, message):
    with pytest.raises(ValueError, match=message):
        color.add_chroma(gray, chroma)


def test_learch_shares_and_luma_are_the_color(rng):
    rgb = np.concatenate([rng.random((6, 5, 3)), np.zeros((1, 5, 3)), np.ones((1, 5, 3))])
    shares = color.rgb_to_learch(rgb)
    np.testing.assert_allclose(color.learch_to_rgb(color.luma(rgb), shares), rgb, atol=1e-6)


def test_learch_shares_have_the_stated_range():
    found = np.asarray(color.rgb_to_learch(np.eye(3)))
    np.testing.assert_allclose(found, [[-1.5, 3], [-1.5, -3], [3, 0]], atol=2e-3)


def test_learch_shares_that_no_color_has_keep_the_luma(rng):
    gray = rng.random((4, 4, 1))
    rgb = np.asarray(color.learch_to_rgb(gray, rng.normal(size=(4, 4, 2)) * 5))
    np.testing.assert_allclose(color.luma(rgb), gray, atol=1e-6)
    assert rgb.min() >= -color.LEARCH_EPSILON


@pytest.mark.parametrize(
    "function",
    [
        "luma",
        "rgb_to_yuv",
        "yuv_to_rgb",
        "rgb_to_lab",
        "lab_to_rgb",
        "fit_to_gamut",
        "rgb_to_learch",
    ],
)
@pytest.mark.parametrize(
    "image", [np.zeros((2, 2, 3), "uint8"), np.zeros((2, 2, 4)), np.float64(0.5)]
)
def test_wrong_images_are_refused_with_the_mend(function, image):
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        getattr(color, function)(image)
