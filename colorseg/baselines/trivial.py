"""What every other method has to beat."""

import numpy as np
from keras import ops

from colorseg import color


class Gray:
    """No color at all: U = V = 0. What every other method has to beat."""

    def predict(self, gray):
        """Returns {"color": RGB `[B, H, W, 3]`} for luma `[B, H, W, 1]` in `[0, 1]`."""
        return {"color": np.repeat(gray, 3, axis=-1)}


class ConstantChroma:
    """One U and V for every pixel: the mean of the training split.

    Of all constants, it has the least chroma RMSE on that split.
    """

    def __init__(self):
        self.chroma = None

    def fit(self, arrays):
        """Takes the mean chroma of `arrays["images"]`, uint8 `[N, H, W, 3]`; returns itself."""
        # Chroma is linear in RGB: its mean is the chroma of the mean.
        mean = np.mean(arrays["images"], axis=(0, 1, 2), dtype="float64") / 255
        self.chroma = ops.convert_to_numpy(color.rgb_to_yuv(mean))[1:]
        return self

    def predict(self, gray):
        """Returns {"color": RGB `[B, H, W, 3]`} for luma `[B, H, W, 1]` in `[0, 1]`.

        Raises:
            RuntimeError: if there was no `fit`.
        """
        if self.chroma is None:
            raise RuntimeError(
                "ConstantChroma has no chroma yet; call `fit(arrays)` with the training split first"
            )
        chroma = np.broadcast_to(self.chroma.astype(gray.dtype), (*gray.shape[:-1], 2))
        rgb = color.fit_to_gamut(color.yuv_to_rgb(np.concatenate([gray, chroma], axis=-1)))
        return {"color": ops.convert_to_numpy(rgb)}
