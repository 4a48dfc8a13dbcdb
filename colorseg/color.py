"""Color spaces as inverse pairs of pure functions: R'G'B' <-> YUV, CIE Lab, LEARCH's shares.

| function         | domain           | range                                          |
|------------------|------------------|------------------------------------------------|
| `luma`           | RGB in [0, 1]    | [0, 1], one channel                            |
| `photos_to_gray` | RGB of 8 bits    | [0, 1], one channel                            |
| `rgb_to_yuv`     | RGB in [0, 1]    | Y [0, 1], U [-0.436, 0.436], V [-0.615, 0.615] |
| `yuv_to_rgb`     | YUV              | RGB, outside [0, 1] where out of gamut         |
| `add_chroma`     | Y and UV         | RGB in [0, 1]                                  |
| `rgb_to_lab`     | RGB in [0, 1]    | L [0, 100], a [-86, 98], b [-108, 94]          |
| `lab_to_rgb`     | Lab              | RGB, outside [0, 1] where out of gamut         |
| `rgb_to_learch`  | RGB in [0, 1]    | shares of brightness, [-1.5, 3] and [-3, 3]    |
| `learch_to_rgb`  | Y and the shares | RGB, outside [0, 1] where out of gamut         |

Everything runs on `keras.ops`, hence on any Keras backend, and takes numpy arrays, too.
"""

import keras
import numpy as np
from keras import ops

# ITU-R BT.601 luma weights; U and V are scaled differences of blue and red from it. The digits
# are those of `tf.image.rgb_to_yuv`.
LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])
YUV_FROM_RGB = np.array(
    [
        LUMA_WEIGHTS,
        [-0.14714119, -0.28886916, 0.43601035],
        [0.61497538, -0.51496512, -0.10001026],
    ]
)
RGB_FROM_YUV = np.linalg.inv(YUV_FROM_RGB)
U_MAX, V_MAX = 0.436, 0.615

# sRGB primaries under D65 (IEC 61966-2-1), and the D65 white of the 2-degree observer.
XYZ_FROM_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
D65 = np.array([0.95047, 1.0, 1.08883])

LEARCH_FROM_RGB = np.array([[-0.5, -0.5, 1.0], [1.0, -1.0, 0.0]])
RGB_FROM_LEARCH = np.linalg.inv(np.vstack([np.full(3, 1 / 3), LEARCH_FROM_RGB]))
LEARCH_EPSILON = 1e-4  # keeps black pixels from dividing by 0; the value of its released code

AT_ONCE = 64  # photographs whose floats are in memory together


def luma(rgb):
    """Returns the luma Y of gamma-encoded R'G'B', the "gray" of this library.

    Args:
        rgb: float tensor `[..., 3]` in `[0, 1]`.

    Returns:
        Float tensor `[..., 1]` in `[0, 1]`: 0.299 R + 0.587 G + 0.114 B.

    Raises:
        ValueError: if `rgb` is not floating point with 3 channels.

    Reference:
        ITU-R BT.601. Not scikit-image's `rgb2gray` (BT.709 weights), nor CIE L*.
    """
    rgb = _check_image(rgb, "rgb")
    return _mix(rgb, LUMA_WEIGHTS[None])


def photos_to_gray(photos):
    """Returns the luma of 8-bit photographs, some at a time.

    Args:
        photos: uint8 array `[N, H, W, 3]`, N at least 1.

    Returns:
        numpy float32 `[N, H, W, 1]` in `[0, 1]`.

    Raises:
        ValueError: if `photos` is not uint8 with 3 channels.
    """
    if photos.dtype != np.uint8 or photos.shape[3:] != (3,):
        raise ValueError(
            f"`photos` must be uint8 [N, H, W, 3], got {photos.dtype} {list(photos.shape)}"
        )
    parts = [photos[i : i + AT_ONCE] for i in range(0, len(photos), AT_ONCE)]
    gray = [ops.convert_to_numpy(luma(part.astype("float32") / 255)) for part in parts]
    return np.concatenate(gray)


def rgb_to_yuv(rgb):
    """Converts gamma-encoded R'G'B' to YUV.

    Args:
        rgb: float tensor `[..., 3]` in `[0, 1]`.

    Returns:
        Same shape and dtype: Y in `[0, 1]`, U in `[-0.436, 0.436]`, V in `[-0.615, 0.615]`.
        Grays have U = V = 0.

    Raises:
        ValueError: if `rgb` is not floating point with 3 channels.

    Reference:
        ITU-R BT.601 luma weights; the matrix of `tf.image.rgb_to_yuv`.
    """
    rgb = _check_image(rgb, "rgb")
    return _mix(rgb, YUV_FROM_RGB)


def yuv_to_rgb(yuv):
    """Converts YUV back to R'G'B'; the inverse of `rgb_to_yuv`.

    Args:
        yuv: float tensor `[..., 3]`, ranges as `rgb_to_yuv` returns them.

    Returns:
        Same shape and dtype. Values leave `[0, 1]` where the color is out of gamut: see
        `fit_to_gamut`.

    Raises:
        ValueError: if `yuv` is not floating point with 3 channels.
    """
    yuv = _check_image(yuv, "yuv")
    return _mix(yuv, RGB_FROM_YUV)


def add_chroma(gray, chroma):
    """Returns the color of a luma and a chroma; out of gamut, saturation is lost, never luma.

    Args:
        gray: float tensor `[..., 1]` in `[0, 1]`.
        chroma: tensor `[..., 2]`, U and V of each pixel, or of any shape that broadcasts to that.

    Returns:
        R'G'B' `[..., 3]` in `[0, 1]`, of gray's dtype.

    Raises:
        ValueError: if `gray` is not floating point with 1 channel, or `chroma` has not 2.
    """
    gray = _check_image(gray, "gray", channels=1)
    chroma = _check_image(ops.cast(chroma, gray.dtype), "chroma", channels=2)
    # Y alone is the same in R, G and B: the matrix has ones in its first column.
    return fit_to_gamut(gray + _mix(chroma, RGB_FROM_YUV[:, 1:]))


def fit_to_gamut(rgb):
    """Brings out-of-gamut colors into `[0, 1]` by mixing them with the gray of the same luma.

    A color is Y + (rgb - Y). Shrinking the difference toward 0 keeps luma and hue and gives up
    saturation only; clipping each channel by itself would shift all three. Luma moves only
    where Y itself is outside `[0, 1]`.

    Args:
        rgb: float tensor `[..., 3]`, any range.

    Returns:
        Same shape and dtype, in `[0, 1]`; colors already in gamut unchanged.

    Raises:
        ValueError: if `rgb` is not floating point with 3 channels.
    """
    rgb = _check_image(rgb, "rgb")
    y = luma(rgb)
    gray = ops.clip(y, 0.0, 1.0)
    difference = rgb - y
    # The largest s <= 1 with 0 <= gray + s * difference <= 1 in every channel.
    room = ops.where(difference > 0, 1.0 - gray, gray)
    s = ops.min(room / ops.maximum(ops.abs(difference), room + 1e-7), axis=-1, keepdims=True)
    inside = ops.all(ops.abs(difference) <= room, axis=-1, keepdims=True)
    s = ops.where(inside, ops.ones_like(s), s)
    return ops.clip(gray + s * difference, 0.0, 1.0)


def rgb_to_lab(rgb):
    """Converts gamma-encoded sRGB to CIE Lab (D65, 2-degree observer).

    Args:
        rgb: float tensor `[..., 3]` in `[0, 1]`.

    Returns:
        Same shape and dtype: L in `[0, 100]`, a in about `[-86, 98]`, b in about `[-108, 94]`.

    Raises:
        ValueError: if `rgb` is not floating point with 3 channels.

    Reference:
        CIE 15; IEC 61966-2-1. Equal to `skimage.color.rgb2lab`.
    """
    rgb = _check_image(rgb, "rgb")
    linear = ops.where(
        rgb > 0.04045, ops.power((ops.maximum(rgb, 0.04045) + 0.055) / 1.055, 2.4), rgb / 12.92
    )
    xyz = _mix(linear, XYZ_FROM_RGB / D65[:, None])
    f = ops.where(
        xyz > 0.008856, ops.power(ops.maximum(xyz, 0.008856), 1 / 3), 7.787 * xyz + 16 / 116
    )
    x, y, z = f[..., 0:1], f[..., 1:2], f[..., 2:3]
    return ops.concatenate([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab):
    """Converts CIE Lab (D65, 2-degree observer) to sRGB; the inverse of `rgb_to_lab`.

    Args:
        lab: float tensor `[..., 3]`, L in `[0, 100]`.

    Returns:
        Same shape and dtype. Values leave `[0, 1]` where the color is out of gamut.

    Raises:
        ValueError: if `lab` is not floating point with 3 channels.

    Reference:
        Equal to `skimage.color.lab2rgb` for colors in gamut.
    """
    lab = _check_image(lab, "lab")
    y = (lab[..., 0:1] + 16) / 116
    f = ops.concatenate([y + lab[..., 1:2] / 500, y, y - lab[..., 2:3] / 200], axis=-1)
    xyz = ops.where(f > 0.2068966, ops.power(f, 3), (f - 16 / 116) / 7.787)
    linear = _mix(xyz, RGB_FROM_XYZ * D65[None])
    return ops.where(
        linear > 0.0031308,
        1.055 * ops.power(ops.maximum(linear, 0.0031308), 1 / 2.4) - 0.055,
        12.92 * linear,
    )


def rgb_to_learch(rgb):
    """Returns color as shares of brightness: B - (R + G) / 2 and R - G, over (R + G + B) / 3.

    Args:
        rgb: float tensor `[..., 3]` in `[0, 1]`.

    Returns:
        `[..., 2]` of the same dtype, in `[-1.5, 3]` and `[-3, 3]`; grays have 0 and 0.

    Raises:
        ValueError: if `rgb` is not floating point with 3 channels.

    Reference:
        Deshpande, Rock, Forsyth: Learning large-scale automatic image colorization, ICCV 2015.
    """
    rgb = _check_image(rgb, "rgb")
    brightness = ops.mean(rgb, axis=-1, keepdims=True)
    return _mix(rgb, LEARCH_FROM_RGB) / (brightness + LEARCH_EPSILON)


def learch_to_rgb(gray, learch):
    """Returns the color of a luma and LEARCH's shares; the inverse of `rgb_to_learch`.

    Args:
        gray: float tensor `[..., 1]` in `[0, 1]`.
        learch: float tensor `[..., 2]`. Shares that would take a channel below 0 leave it there.

    Returns:
        R'G'B' `[..., 3]` of the luma `gray`; values leave `[0, 1]` where the color is out of gamut.

    Raises:
        ValueError: if `gray` is not floating point with 1 channel, or `learch` has not 2.
    """
    gray = _check_image(gray, "gray", channels=1)
    learch = _check_image(learch, "learch", channels=2)
    # Each channel as a multiple of the brightness; the matrix has ones in its first column.
    multiples = ops.maximum(1 + _mix(learch, RGB_FROM_LEARCH[:, 1:]), 0.0)
    return (gray + LEARCH_EPSILON) * multiples / luma(multiples) - LEARCH_EPSILON


def _mix(image, matrix):
    return ops.matmul(image, ops.cast(matrix.T, image.dtype))


def _check_image(image, name, channels=3):
    image = ops.convert_to_tensor(image)
    dtype = keras.backend.standardize_dtype(image.dtype)
    if "float" not in dtype or len(image.shape) == 0 or image.shape[-1] != channels:
        raise ValueError(
            f"`{name}` must be a float tensor [..., {channels}], got {dtype} of shape "
            f"{tuple(image.shape)}; divide 8-bit images by 255"
        )
    return image
