"""How color becomes a training target, and how a prediction becomes color again.

An encoding has `channels`, the number of output channels of a color head, and two functions:
`encode(rgb)`, the target for a photograph, and `decode(gray, output)`, the photograph for a
prediction. Decoding always re-attaches the gray that the network was given, so that only color is
ever predicted.

Color is coarse: an output may have fewer rows and columns than the photograph, by a whole factor.
Its target is then the photograph made smaller, and its chroma is enlarged when it is decoded.
"""

import abc
import functools

import keras
import numpy as np
from keras import ops

from colorseg import color, losses


class Encoding(abc.ABC):
    """What every encoding does; `ENCODINGS` lists them by name."""

    channels: int

    @abc.abstractmethod
    def encode(self, rgb):
        """Returns the training target `[..., channels]` of `rgb`, float `[..., 3]` in [0, 1]."""

    def target(self, rgb, output):
        """Returns `encode(rgb)` for `rgb` made as small as `output`."""
        return self.encode(shrink(rgb, output))

    @abc.abstractmethod
    def _decode_chroma(self, gray, output):
        """Returns U and V `[..., 2]` for gray and output of one size."""

    def decode_chroma(self, gray, output):
        """Returns U and V `[..., 2]` of a prediction, not yet fitted to the gamut.

        Args:
            gray: float tensor `[..., 1]` in `[0, 1]`, the true luma.
            output: float tensor `[..., channels]`, as the network gives it; of gray's size, or
                smaller by a whole factor if both are `[B, H, W, ...]`.
        """
        chroma = self._decode_chroma(shrink(gray, output), output)
        if _factor(gray, output) == 1:
            return chroma
        return ops.image.resize(
            chroma, gray.shape[1:3], interpolation="bilinear", data_format="channels_last"
        )

    def decode(self, gray, output):
        """Returns RGB `[..., 3]` in [0, 1] with the luma `gray` and the colors of `output`.

        Args:
            gray: as in `decode_chroma`.
            output: as in `decode_chroma`.
        """
        return color.add_chroma(ops.cast(gray, output.dtype), self.decode_chroma(gray, output))

    def loss(self, target, output):
        """Returns the loss per pixel `[...]` between target and output."""
        return keras.losses.mean_squared_error(target, output)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config):
        """Rebuilds the encoding that `get_config` described."""
        return cls(**config)


@keras.saving.register_keras_serializable("colorseg")
class YUV(Encoding):
    """The paper's target: Y, U and V as they are, although Y is what the network was given."""

    channels = 3

    def encode(self, rgb):  # noqa: D102
        return color.rgb_to_yuv(rgb)

    def _decode_chroma(self, gray, output):
        return output[..., 1:]


@keras.saving.register_keras_serializable("colorseg")
class Chroma(Encoding):
    """U and V alone, each scaled to [-1, 1]; nothing is spent on the luma."""

    channels = 2

    def encode(self, rgb):  # noqa: D102
        return color.rgb_to_yuv(rgb)[..., 1:] / self._scale(rgb)

    def _decode_chroma(self, gray, output):
        return output * self._scale(output)

    @staticmethod
    def _scale(like):
        return ops.cast(np.array([color.U_MAX, color.V_MAX]), like.dtype)


@keras.saving.register_keras_serializable("colorseg")
class ChromaL1(Chroma):
    """`Chroma` under the absolute error, whose best answer is the median, not the mean."""

    def loss(self, target, output):  # noqa: D102
        return keras.losses.mean_absolute_error(target, output)


@keras.saving.register_keras_serializable("colorseg")
class Learch(Encoding):
    """Color as shares of brightness, in which an error counts more the darker its pixel is.

    Reference:
        Deshpande, Rock, Forsyth: Learning large-scale automatic image colorization, ICCV 2015.
    """

    channels = 2

    def encode(self, rgb):  # noqa: D102
        return color.rgb_to_learch(rgb)

    def _decode_chroma(self, gray, output):
        rgb = color.learch_to_rgb(ops.cast(gray, output.dtype), output)
        return color.rgb_to_yuv(rgb)[..., 1:]


@keras.saving.register_keras_serializable("colorseg")
class QuantizedAB(Encoding):
    """A distribution over the bins of the ab plane that sRGB can reach, per pixel.

    Args:
        prior: float sequence `[channels]`, the share of each bin in the training photographs
            (see `measure_prior`), which rebalances the loss; None weighs all bins alike.
        temperature: of the annealed mean that decodes, in (0, 1]: 1 is the mean of the
            distribution, near 0 its mode.
        uniform_share: the lambda that mixes the prior with the uniform distribution.

    Reference:
        Zhang, Isola, Efros: Colorful image colorization, ECCV 2016: bins of 10 by 10, targets
        spread over the 5 nearest bins by a Gaussian of sigma 5, lambda 0.5, temperature 0.38.
        They list 313 bins; the ones here are computed from the gamut of sRGB.
    """

    def __init__(self, prior=None, *, temperature=0.38, uniform_share=0.5):
        self.bins = gamut_bins()
        self.channels = len(self.bins)
        if prior is not None and np.shape(prior) != (self.channels,):
            raise ValueError(
                f"`prior` must have one share for each of the {self.channels} bins, "
                f"got shape {np.shape(prior)}"
            )
        if not 0 < temperature <= 1:
            raise ValueError(f"`temperature` must be in (0, 1], got {temperature}")
        self.prior = None if prior is None else [float(share) for share in prior]
        self.temperature = temperature
        self.uniform_share = uniform_share

    @property
    def weights(self):
        """Weight of each bin in the loss `[channels]`; 1 on average over the prior."""
        if self.prior is None:
            return np.ones(self.channels)
        prior = np.asarray(self.prior) / np.sum(self.prior)
        weights = 1 / ((1 - self.uniform_share) * prior + self.uniform_share / self.channels)
        return weights / np.sum(prior * weights)

    def encode(self, rgb):  # noqa: D102
        distance = self._squared_distance(color.rgb_to_lab(rgb)[..., 1:])
        nearest = -ops.top_k(-distance, NEIGHBORS)[0]
        near = ops.cast(distance <= nearest[..., -1:], distance.dtype)
        # Dividing by the nearest bin's own weight first keeps far-out colors from underflowing.
        soft = near * ops.exp((nearest[..., :1] - distance) / (2 * SIGMA**2))
        return soft / ops.sum(soft, axis=-1, keepdims=True)

    def _decode_chroma(self, gray, output):
        share = ops.softmax(output / self.temperature, axis=-1)
        ab = ops.matmul(share, ops.cast(self.bins, output.dtype))
        gray = ops.cast(gray, output.dtype)
        lightness = color.rgb_to_lab(ops.repeat(gray, 3, axis=-1))[..., :1]
        rgb = color.lab_to_rgb(ops.concatenate([lightness, ab], axis=-1))
        return color.rgb_to_yuv(rgb)[..., 1:]

    def loss(self, target, output):  # noqa: D102
        return losses.rebalanced_crossentropy(target, output, self.weights)

    def measure_prior(self, rgb):
        """Returns the share of each bin among the pixels of `rgb`, float `[..., 3]` in [0, 1].

        Each pixel counts for its nearest bin; the histogram is not smoothed, since
        `uniform_share` already bounds the weight of a rare bin.
        """
        counts = np.zeros(self.channels)
        for image in np.asarray(rgb).reshape(-1, *np.shape(rgb)[-3:]):
            distance = self._squared_distance(color.rgb_to_lab(image)[..., 1:])
            nearest = ops.convert_to_numpy(ops.argmin(distance, axis=-1))
            counts += np.bincount(nearest.ravel(), minlength=self.channels)
        return counts / counts.sum()

    def get_config(self):  # noqa: D102
        return {
            "prior": self.prior,
            "temperature": self.temperature,
            "uniform_share": self.uniform_share,
        }

    def _squared_distance(self, ab):
        bins = ops.cast(self.bins, ab.dtype)
        return ops.sum(ops.square(ab[..., None, :] - bins), axis=-1)


def shrink(image, output):
    """Returns `image` `[B, H, W, C]`, averaged down to the height and width of `output`.

    The average of gamma-encoded RGB has the average chroma, which is linear in it.

    Raises:
        ValueError: if the sizes are no whole multiples.
    """
    factor = _factor(image, output)
    if factor == 1:
        return image
    return ops.average_pool(image, factor, strides=factor, data_format="channels_last")


def _factor(image, output):
    """Returns how many times more rows and columns `image` has; 1 where a size is not known."""
    sizes = [tuple(x.shape[1:3]) for x in (image, output)]
    if sizes[0] == sizes[1] or len(image.shape) != 4 or None in sizes[0] + sizes[1]:
        return 1
    (height, width), (rows, columns) = sizes
    factor = height // rows
    if (rows * factor, columns * factor) != (height, width):
        raise ValueError(
            f"an output of {rows} x {columns} does not divide a photograph of {height} x {width}"
        )
    return factor


NEIGHBORS = 5
SIGMA = 5.0
BIN_SIDE = 10


@functools.cache
def gamut_bins():
    """Returns the centers `[n, 2]` of the 10 by 10 cells of the ab plane that sRGB reaches.

    A cell counts if any color of a dense grid over the RGB cube falls into it.
    """
    levels = np.linspace(0, 1, 65, dtype="float32")
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    ab = ops.convert_to_numpy(color.rgb_to_lab(cube))[:, 1:]
    return np.unique(np.round(ab / BIN_SIDE), axis=0) * BIN_SIDE


ENCODINGS = {
    "yuv": YUV,
    "chroma": Chroma,
    "chroma_l1": ChromaL1,
    "learch": Learch,
    "quantized_ab": QuantizedAB,
}
