"""Adversarial training: a second network learns to tell true colors from predicted ones."""

import keras
from keras import layers, ops

from colorseg.encodings import shrink


def build_discriminator(channels):
    """Builds the network that judges patches of a colored photograph, "PatchGAN".

    Each of its verdicts sees 34 by 34 pixels: whether colors are plausible together is a local
    question, and what is left over is the pixel-wise loss's to answer. At the color head's stride
    of 2, they are 68 by 68 of the photograph; theirs saw 70 by 70 with one layer more.

    Args:
        channels: of its input `[B, H, W, channels]`, gray and encoded color.

    Returns:
        `keras.Model` to logits `[B, h, w, 1]`, high for true colors.

    Reference:
        Isola, Zhu, Zhou, Efros: Image-to-image translation with conditional adversarial networks,
        CVPR 2017, section 6.1.2. Instance normalization in place of batch normalization, which is
        the same for their batches of one.
    """
    x = inputs = keras.Input((None, None, channels))
    for filters, stride in ((64, 2), (128, 2), (256, 1)):
        x = layers.Conv2D(filters, 4, strides=stride, padding="same")(x)
        if filters > 64:
            x = layers.GroupNormalization(groups=-1)(x)
        x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2D(1, 4, padding="same", dtype="float32")(x)
    return keras.Model(inputs, x, name="discriminator")


class AdversarialModel(keras.Model):
    """A network of `build_unet` with a `color` head, and the discriminator that it has to fool.

    One step of `fit` changes both: the discriminator to tell the photograph's colors from the
    network's, the network to be taken for the photograph, too. In validation, the loss is the
    tasks' alone, and can be compared with other networks'.

    Args:
        model: the network; its layers are shared, not copied.
        weight: of the discriminator's verdict beside the tasks' losses.

    Attributes:
        replicas: on how many mirrors of `tf.distribute` it trains; their gradients are summed, so
            that each has a share of the loss. Keras sees to that for the tasks' losses.

    Reference:
        Isola et al., CVPR 2017, equation 4: theirs weighs the absolute error 100 times the
        verdict, which is a weight of 0.01 here.
    """

    def __init__(self, model, *, weight):
        super().__init__(model.input, model.output, name=model.name)
        self.tasks = model.tasks
        self.image_size = model.image_size
        self.weight = weight
        self.replicas = 1
        self.discriminator = build_discriminator(1 + model.tasks["color"].encoding.channels)
        self.verdict = keras.metrics.Mean(name="discriminator_loss")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the tasks' losses; in training, with both networks' adversarial ones."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        predicted = y_pred["color"]
        true = self.tasks["color"].encoding.target(y["color"], predicted)
        gray = shrink(x[..., :1], predicted)

        def pair(color):
            return ops.concatenate([ops.cast(part, "float32") for part in (gray, color)], axis=-1)

        told_apart = (
            _crossentropy(self.discriminator(pair(true)), is_true=True)
            + _crossentropy(self.discriminator(pair(ops.stop_gradient(predicted))), is_true=False)
        ) / 2
        self.verdict.update_state(told_apart)
        if not training:
            return loss
        # Through a frozen copy: fooling the discriminator must not teach it to be fooled.
        frozen = [ops.stop_gradient(v.value) for v in self.discriminator.trainable_variables]
        fixed = [v.value for v in self.discriminator.non_trainable_variables]
        verdict, _ = self.discriminator.stateless_call(frozen, fixed, pair(predicted))
        fooled = self.weight * _crossentropy(verdict, is_true=True)
        if self.replicas == 1:
            return loss + told_apart + fooled
        return loss + (told_apart + fooled) / self.replicas


def _crossentropy(logits, *, is_true):
    return ops.mean(ops.softplus(-logits if is_true else logits))
