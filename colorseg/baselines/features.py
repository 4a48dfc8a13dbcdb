"""What several baselines start from: features of an encoder, and chroma."""

import functools

import keras
import numpy as np
from keras import ops

from colorseg import color, model
from colorseg.registry import look_up

AT_ONCE = 64  # images


class GrayEncoder:
    """What an encoder that was pretrained on photographs says of gray ones.

    The encoder is built when it is first used.

    Args:
        weights: `"imagenet"` (downloaded by Keras), the path of a Keras weights file of the encoder
            without top, or `"none"` (random).
        name: in `model.ENCODERS`.
    """

    def __init__(self, weights="imagenet", *, name="mobilenet_v2"):
        self.weights = weights
        self.name = name

    def embed(self, gray):
        """Returns the global average of P5, float32 `[N, C]`, of luma `[N, H, W, 1]` in [0, 1]."""
        parts = [gray[i : i + AT_ONCE] for i in range(0, len(gray), AT_ONCE)]
        return np.concatenate([self._predict(self._average, part) for part in parts])

    def pyramid(self, gray):
        """Returns P1 to P5, float32 `[N, h, w, C]` each, of luma `[N, H, W, 1]` in [0, 1]."""
        return self._predict(self._network, gray)

    def _predict(self, network, gray):
        entry = look_up(model.ENCODERS, self.name, kind="encoder")
        return network.predict_on_batch(entry.scale * np.repeat(gray, 3, axis=-1) + entry.offset)

    @functools.cached_property
    def _network(self):
        weights = None if self.weights == "none" else self.weights
        return model.build_encoder(self.name, weights=weights)

    @functools.cached_property
    def _average(self):
        average = keras.layers.GlobalAveragePooling2D()(self._network.outputs[-1])
        return keras.Model(self._network.inputs, average)


def chroma(images):
    """Returns U and V, float32 `[..., 2]`, of uint8 RGB `[..., 3]`."""
    return ops.convert_to_numpy(color.rgb_to_yuv(images.astype("float32") / 255))[..., 1:]


def mean_chroma(images):
    """Returns the mean U and V, `[2]`, of all pixels of uint8 RGB `[N, H, W, 3]`."""
    # Chroma is linear in RGB: its mean is the chroma of the mean.
    mean = np.mean(images, axis=(0, 1, 2), dtype="float64") / 255
    return ops.convert_to_numpy(color.rgb_to_yuv(mean))[1:]


def add_chroma(gray, chroma):
    """Returns `color.add_chroma` as a numpy array, which a method's prediction is."""
    return ops.convert_to_numpy(color.add_chroma(gray, chroma))


def check_fitted(method, is_fitted):
    """Raises a RuntimeError if a method that learns has not yet."""
    if not is_fitted:
        raise RuntimeError(
            f"{type(method).__name__} has not learned yet; call `fit(arrays)` with the training "
            "split first"
        )
