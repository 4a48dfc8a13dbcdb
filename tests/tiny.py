"""An encoder that builds and traces in a moment, for tests that are not about MobileNetV2."""

import keras

from colorseg import model

OPTIONS = {
    "encoder": "tiny",
    "encoder_weights": "none",
    "decoder": "separable",
    "image_size": 32,
    "batch_size": 8,
}


def _build(*, include_top, weights, input_shape):
    x = inputs = keras.Input(input_shape)
    for level in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"p{level}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"p{level}")(x)
    return keras.Model(inputs, x)


def register():
    """Adds the encoder `tiny` to those that the library knows."""
    taps = ("p1", "p2", "p3", "p4", "p5")
    model.ENCODERS["tiny"] = model.Encoder(_build, taps, scale=1.0, offset=0.0)
