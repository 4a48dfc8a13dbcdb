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


@pytest.mark.parametrize(
    "function", ["luma", "rgb_to_yuv", "yuv_to_rgb", "rgb_to_lab", "lab_to_rgb", "fit_to_gamut"]
)
@pytest.mark.parametrize(
    "image", [np.zeros((2, 2, 3), "uint8"), np.zeros((2, 2, 4)), np.float64(0.5)]
)
def test_wrong_images_are_refused_with_the_mend(function, image):
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        getattr(color, function)(image)
