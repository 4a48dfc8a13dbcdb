"""Color taken from a reference photograph: Welsh, Ashikhmin, Mueller 2002."""

import numpy as np
from keras import ops
from scipy import ndimage
from scipy.spatial import cKDTree

from colorseg import color
from colorseg.baselines import features
from colorseg.baselines.trivial import Nearest

WINDOW = 5  # pixels a side of the neighborhoods that are compared
SWATCH_SAMPLES = 50  # of each swatch, as in the paper
SPREAD_SAMPLES = 500  # colored pixels of each swatch that the rest of the image chooses from


def transfer(gray, reference_rgb, *, swatches=None, samples=200, seed=0):
    """Colors a gray image with the colors of a reference photograph.

    The reference's luma is shifted and scaled to the mean and deviation of the gray image's. Then
    each pixel takes U and V of that one, among some samples of the reference, which is nearest in
    luma and in the deviation of the luma in the 5x5 pixels around it, both counting alike. With
    swatches, this happens within each pair of them; every other pixel takes the color of that
    pixel of the image's own colored swatches whose 5x5 neighborhood is nearest, luma by luma.

    The paper works in the l-alpha-beta space. This is in YUV: a method of this library leaves the
    luma Y as it was, and alpha and beta, combined with another lightness than that l, would be
    other colors once Y is put back.

    Args:
        gray: float `[H, W, 1]`, luma in `[0, 1]`.
        reference_rgb: float RGB `[h, w, 3]` in `[0, 1]`, of any size.
        swatches: pairs of rectangles, the first in the gray image, the second, whose colors it
            gets, in the reference; each is (top, left, bottom, right) in pixels, bottom and right
            exclusive. None compares the whole images.
        samples: how many pixels of the reference are compared, one at random in each cell of a
            grid of about so many cells; of a swatch, 50.
        seed: of the samples.

    Returns:
        RGB, `[H, W, 3]` in `[0, 1]`, of gray's luma and dtype.

    Raises:
        ValueError: if an image has another shape, or a rectangle is empty or not in its image.

    Reference:
        Welsh, Ashikhmin, Mueller: Transferring color to greyscale images, SIGGRAPH 2002.
    """
    if np.ndim(gray) != 3 or np.shape(gray)[-1] != 1 or np.ndim(reference_rgb) != 3:
        raise ValueError(
            "`gray` must be luma [H, W, 1] and `reference_rgb` RGB [h, w, 3], got shapes "
            f"{np.shape(gray)} and {np.shape(reference_rgb)}"
        )
    if samples < 1:
        raise ValueError(f"`samples` must be at least 1, got {samples}")
    rng = np.random.default_rng(seed)
    target = _Texture(gray[..., 0])
    yuv = ops.convert_to_numpy(color.rgb_to_yuv(reference_rgb))
    reference = _Texture(yuv[..., 0], yuv[..., 1:])
    if swatches is None:
        chroma = _match(target, reference, samples, rng)
    else:
        chroma = _spread(target, _match_swatches(target, reference, swatches, rng), rng)
    return features.add_chroma(gray, chroma)


class Welsh:
    """Colors taken from that training photograph which looks most alike.

    The paper leaves the choice of the reference to the user. Here it is `Nearest`'s.

    Args:
        encoder_weights: as in `GrayEncoder`.
        samples: as in `transfer`.
        seed: of the samples, the same for every photograph.
    """

    def __init__(self, *, encoder_weights="imagenet", samples=200, seed=0):
        self.references = Nearest(encoder_weights=encoder_weights)
        self.samples = samples
        self.seed = seed

    def fit(self, arrays):
        """Takes `arrays["images"]`, uint8 `[N, H, W, 3]`, as references; returns itself."""
        self.references.fit(arrays)
        return self

    def predict(self, gray):
        """Returns {"color": RGB `[B, H, W, 3]`} for luma `[B, H, W, 1]` in `[0, 1]`.

        Raises:
            RuntimeError: if there was no `fit`.
        """
        features.check_fitted(self, self.references.images is not None)
        chosen = self.references.images[self.references.find(gray)].astype("float32") / 255
        colored = [
            transfer(*pair, samples=self.samples, seed=self.seed)
            for pair in zip(gray, chosen, strict=True)
        ]
        return {"color": np.stack(colored)}


class _Texture:
    """Luma `[H, W]`, its local deviation, and perhaps chroma `[H, W, 2]`, of an image or a part."""

    def __init__(self, y, chroma=None, deviation=None):
        self.y = y
        self.chroma = chroma
        self.deviation = _local_deviation(y) if deviation is None else deviation

    def crop(self, rectangle):
        """Returns the part within a rectangle."""
        part = _slices(rectangle)
        chroma = None if self.chroma is None else self.chroma[part]
        return _Texture(self.y[part], chroma, self.deviation[part])


def _local_deviation(y):
    y = np.asarray(y, "float64")
    mean, square = (ndimage.uniform_filter(values, WINDOW) for values in (y, y**2))
    return np.sqrt(np.maximum(square - mean**2, 0))


def _match(target, reference, samples, rng):
    """Returns chroma `[H, W, 2]` of a target from samples of a reference."""
    # A flat reference has no deviation to be matched.
    scale = target.y.std() / max(reference.y.std(), 1e-6)
    chosen = _jitter(reference.y.shape, samples, rng)
    remapped = scale * (reference.y[chosen] - reference.y.mean()) + target.y.mean()
    tree = cKDTree(np.stack([remapped, scale * reference.deviation[chosen]], axis=-1))
    _, nearest = tree.query(np.stack([target.y, target.deviation], axis=-1))
    return reference.chroma[chosen][nearest]


def _jitter(shape, count, rng):
    """Returns rows and columns of about `count` pixels, one at random in each cell of a grid."""
    height, width = shape
    rows = int(np.clip(round((count * height / width) ** 0.5), 1, height))
    columns = int(np.clip(round(count / rows), 1, width))
    cells = np.mgrid[:rows, :columns].reshape(2, -1)
    places = (cells + rng.random(cells.shape)) * [[height / rows], [width / columns]]
    return tuple(places.astype(int))


def _match_swatches(target, reference, swatches, rng):
    """Returns a list of (rectangle in the target, its chroma)."""
    colored = []
    for ours, theirs in swatches:
        _check_rectangle(ours, target.y.shape, "the gray image")
        _check_rectangle(theirs, reference.y.shape, "the reference")
        chroma = _match(target.crop(ours), reference.crop(theirs), SWATCH_SAMPLES, rng)
        colored.append((ours, chroma))
    if not colored:
        raise ValueError("`swatches` must be one pair of rectangles or more, got none")
    return colored


def _spread(target, colored, rng):
    """Returns chroma `[H, W, 2]`: the swatches' own, and elsewhere that of the likest texture."""
    padded = np.pad(target.y, WINDOW // 2, mode="reflect")
    patches = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW))
    patches = patches.reshape(*target.y.shape, WINDOW * WINDOW)
    examples, colors = [], []
    for rectangle, chroma in colored:
        chosen = _jitter(chroma.shape[:2], SPREAD_SAMPLES, rng)
        examples.append(patches[_slices(rectangle)][chosen])
        colors.append(chroma[chosen])
    _, nearest = cKDTree(np.concatenate(examples)).query(patches)
    result = np.concatenate(colors)[nearest]
    for rectangle, chroma in colored:
        result[_slices(rectangle)] = chroma
    return result


def _slices(rectangle):
    top, left, bottom, right = rectangle
    return slice(top, bottom), slice(left, right)


def _check_rectangle(rectangle, shape, where):
    top, left, bottom, right = rectangle
    if not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
        raise ValueError(
            "a swatch must be (top, left, bottom, right) in pixels, not empty and inside of "
            f"{where} of {shape[0]} x {shape[1]}, got {tuple(rectangle)}"
        )
