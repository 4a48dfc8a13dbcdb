"""Color spread from a few given points: Levin, Lischinski, Weiss 2004."""

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from colorseg.baselines import features

SHARPNESS = 0.6
FLAT = 1e-6  # variance of luma below which a window has no edges, only rounding


def affinity(gray):
    """Returns how much of its color a pixel takes from each of its neighbors.

    The weight of neighbor s for pixel r is proportional to exp(-(Y(r) - Y(s))² / (0.6 v)), with v
    the variance of the luma Y in the 3x3 window around r: neighbors of one brightness share their
    color, and what is an edge depends on the contrast around it. The paper prints 2 v; the code
    that its authors published has 0.6 v, and the sharper edges are better on the validation split
    (chroma RMSE with 100 hints 0.0224 against 0.0245, on 41 photographs).

    Args:
        gray: float `[H, W, 1]`, luma in `[0, 1]`.

    Returns:
        Sparse matrix `[H W, H W]`; each row sums to 1 and its diagonal is 0.

    Raises:
        ValueError: if `gray` is of another shape or not finite, or has fewer than two pixels.

    Reference:
        Levin, Lischinski, Weiss: Colorization using optimization, SIGGRAPH 2004, equation 2.
    """
    y = _check_gray(gray)
    height, width = y.shape
    # NaN marks what lies outside the image.
    padded = np.pad(y, 1, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(height, width, 9)
    variance = np.maximum(np.nanvar(windows, axis=-1, keepdims=True), FLAT)
    weights = np.nan_to_num(np.exp(-((windows - y[..., None]) ** 2) / (SHARPNESS * variance)))
    weights[..., 4] = 0  # the pixel itself
    weights /= weights.sum(axis=-1, keepdims=True)

    pixels = np.arange(height * width)
    steps = np.add.outer(width * np.arange(-1, 2), np.arange(-1, 2)).ravel()
    rows, columns, values = np.repeat(pixels, 9), np.add.outer(pixels, steps), weights.ravel()
    kept = values > 0
    entries = (values[kept], (rows[kept], columns.ravel()[kept]))
    return sparse.csr_array(entries, shape=(pixels.size, pixels.size))


def propagate(gray, hints):
    """Spreads the color of a few pixels over an image, up to the edges of its luma.

    Every pixel without a hint becomes the mean of its neighbors, weighted by `affinity`. That
    zeroes the term of each such pixel in the paper's sum of squares, and as in the system that its
    authors' own code solves, the terms of the hints themselves do not count. Colors stay between
    those of the hints.

    The system is factorized by SuperLU, in 0.08 s at 128 x 128 pixels. With 10 hints on the same
    photographs, BiCGSTAB on an incomplete factorization took 0.2 s, LAPACK's band solver 0.19 s.

    Args:
        gray: float `[H, W, 1]`, luma in `[0, 1]`.
        hints: float `[H, W, 2]`, U and V, NaN where none is given.

    Returns:
        U and V, float64 `[H, W, 2]`: those given, where given; 0 if none is.

    Raises:
        ValueError: if the shapes do not fit each other.
    """
    weights = affinity(gray)
    if np.shape(hints) != (*gray.shape[:2], 2):
        raise ValueError(
            f"`hints` must be U and V of every pixel, NaN where not given, "
            f"{(*gray.shape[:2], 2)}, got shape {np.shape(hints)}"
        )
    chroma = np.array(hints, "float64").reshape(-1, 2)
    given = np.isfinite(chroma).all(axis=-1)
    if not given.any():
        return np.zeros_like(chroma).reshape(hints.shape)
    if given.all():
        return chroma.reshape(hints.shape)
    system = (sparse.eye_array(given.size, format="csr") - weights)[~given]
    chroma[~given] = factorize(system[:, ~given]).solve(-(system[:, given] @ chroma[given]))
    return chroma.reshape(hints.shape)


def factorize(system):
    """Returns the LU factors of a sparse matrix of symmetric pattern, its diagonal dominant.

    Hence an ordering for symmetric patterns, which fills in least, and no pivoting.
    """
    return linalg.splu(
        system.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0,
        options={"SymmetricMode": True},
    )


class Levin:
    """Scribbles, as points of true color at random pixels: a method that is helped.

    Args:
        hints: how many points of each photograph are given; 0 leaves it gray.
    """

    def __init__(self, *, hints=10):
        if hints < 0:
            raise ValueError(f"`hints` must be at least 0, got {hints}")
        self.hints = hints

    def predict(self, gray, *, hints):
        """Returns {"color": RGB `[B, H, W, 3]`}.

        Args:
            gray: luma `[B, H, W, 1]` in `[0, 1]`.
            hints: U and V `[B, H, W, 2]`, NaN where none is given.
        """
        chroma = [propagate(*image) for image in zip(gray, hints, strict=True)]
        return {"color": features.add_chroma(gray, np.stack(chroma))}


def _check_gray(gray):
    shape = np.shape(gray)
    if len(shape) != 3 or shape[-1] != 1 or shape[0] * shape[1] < 2 or not np.isfinite(gray).all():
        raise ValueError(
            f"`gray` must be finite luma [H, W, 1] of two pixels or more, got shape {shape}"
        )
    return np.asarray(gray, "float64")[..., 0]
