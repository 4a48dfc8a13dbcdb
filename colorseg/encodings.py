"""How color becomes a training target, and how a prediction becomes color again.

An encoding has `channels`, the number of output channels of a color head, and two functions:
`encode(rgb)`, the target for a photograph, and `decode(gray, output)`, the photograph for a
prediction. Decoding always re-attaches the gray that the network was given, so that only color is
ever predicted.
"""

import functools

import keras
import numpy as np
from keras import ops

from colorseg import color


class Encoding:
    """Base of the encodings; registered ones are found by name with `get`."""

    channels: int

    def encode(self, rgb):
        """Returns the training target `[..., channels]` of `rgb`, float `[..., 3]` in [0, 1]."""
        raise NotImplementedError

    def decode(self, gray, output):
        """Returns RGB `[..., 3]` in [0, 1] with the luma `gray` and the colors of `output`.

        Args:
            gray: float tensor `[..., 1]` in `[0, 1]`, the true luma.
            output: float tensor `[..., channels]`, as the network gives it.
        """
        y = ops.cast(gray, output.dtype)
        uv = self.decode_chroma(gray, output)
        return color.fit_to_gamut(color.yuv_to_rgb(ops.concatenate([y, uv], axis=-1)))

    def decode_chroma(self, gray, output):
        """Returns U and V `[..., 2]` of `output`, neither scaled nor clipped to the gamut."""
        raise NotImplementedError

    def loss(self):
        """Returns the Keras loss between `encode(rgb)` and the output."""
        return keras.losses.MeanSquaredError()

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

    def decode_chroma(self, gray, output):  # noqa: D102
        return output[..., 1:]


@keras.saving.register_keras_serializable("colorseg")
class Chroma(Encoding):
    """U and V alone, each scaled to [-1, 1]; nothing is spent on the luma."""

    channels = 2

    def encode(self, rgb):  # noqa: D102
        return color.rgb_to_yuv(rgb)[..., 1:] / self._scale(rgb)

    def decode_chroma(self, gray, output):  # noqa: D102
        return output * self._scale(output)

    @staticmethod
    def _scale(like):
        return ops.cast(np.array([color.U_MAX, color.V_MAX]), like.dtype)
