"""Losses that Keras lacks."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("colorseg")
class EncodedLoss(keras.losses.Loss):
    """The loss of an encoding, taken on the encoded photograph.

    The target of the color task is the photograph itself. Encoding it here, rather than in the
    input pipeline, keeps wide targets (hundreds of soft bins per pixel) off the way to the
    accelerator and leaves one code path for every Keras backend.

    Args:
        encoding: `colorseg.encodings.Encoding`.
        reduction, name, dtype: as in every Keras loss.

    Call arguments: `y_true`, the photograph, float RGB `[B, H, W, 3]` in `[0, 1]`; `y_pred`, the
    color head's output `[B, H, W, encoding.channels]`; a smaller output is held against the
    photograph made as small.
    """

    def __init__(self, encoding, *, reduction="sum_over_batch_size", name="color_loss", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.encoding = encoding

    def call(self, y_true, y_pred):
        """Returns the loss per pixel of the output `[B, H, W]`."""
        return self.encoding.loss(self.encoding.target(y_true, y_pred), y_pred)

    def get_config(self):
        """Returns the constructor's arguments."""
        encoding = keras.saving.serialize_keras_object(self.encoding)
        return {**super().get_config(), "encoding": encoding}

    @classmethod
    def from_config(cls, config):
        """Rebuilds the loss that `get_config` described."""
        encoding = keras.saving.deserialize_keras_object(config.pop("encoding"))
        return cls(encoding, **config)


def rebalanced_crossentropy(target, logits, weights):
    """Returns the class-rebalanced cross-entropy of soft targets.

    loss = -v sum_q target_q log softmax(logits)_q, where v is the weight of the target's most
    likely class.

    Args:
        target: float tensor `[..., Q]`, a distribution over Q classes.
        logits: float tensor `[..., Q]`.
        weights: float array `[Q]`, one weight a class.

    Returns:
        Float tensor `[...]`.

    Raises:
        ValueError: if the shapes differ.

    Reference:
        Zhang, Isola, Efros: Colorful image colorization, ECCV 2016, equations 2 and 3.
    """
    if tuple(target.shape) != tuple(logits.shape):
        raise ValueError(
            f"`target` and `logits` must have one shape, got {tuple(target.shape)} "
            f"and {tuple(logits.shape)}"
        )
    weight = ops.take(ops.cast(weights, logits.dtype), ops.argmax(target, axis=-1))
    crossentropy = keras.losses.categorical_crossentropy(target, logits, from_logits=True)
    return weight * crossentropy
