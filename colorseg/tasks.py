"""Tasks: what a network learns. The one axis along which data, model and training vary.

A `Task` says everything about one output: what its target is, which head predicts it, how it is
trained and scored. Batches, network and compile loop over a list of tasks and know none by name,
so a new task is a new function in this file. (That `train` knows it by name, too, takes a line in
`model.build_from_config`; that it refuses data without its labels, one in `data.check_labels`.)
"""

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

import keras

from colorseg import encodings, losses, metrics
from colorseg.metrics import VOID
from colorseg.registry import look_up

UNKNOWN_BREED = -1
MASK_CLASSES = ("pet", "background", "border")


@dataclasses.dataclass(frozen=True)
class Task:
    """One output of a network.

    Attributes:
        name: key of the output, and name of the head's last layer.
        target: function of an example (a dict, the photograph in [0, 1]) to the target.
        head: function of `Features` to the output tensor.
        loss: function without arguments to a new Keras loss.
        metrics: function without arguments to new Keras metrics (an instance must never be shared
            by two models, hence a factory).
        weight: of the loss in the sum over tasks.
        encoding: how color becomes numbers; None for tasks other than color.
    """

    name: str
    target: Callable[[dict], Any]
    head: Callable[["Features"], Any]
    loss: Callable[[], keras.losses.Loss]
    metrics: Callable[[], list]
    weight: float = 1.0
    encoding: encodings.Encoding | None = None


@dataclasses.dataclass(frozen=True)
class Features:
    """What a head may build on.

    Attributes:
        pyramid: the encoder's features P1 to P5, strides 2 to 32.
        pixels: function `(channels, name, stride=1)` that builds an output
            `[B, H / stride, W / stride, channels]` from the decoder that all tasks share.
    """

    pyramid: list
    pixels: Callable[..., Any]


def color_task(encoding="chroma", *, stride=1, weight=1.0):
    """Returns the task of predicting color.

    The target is the photograph itself, float RGB `[H, W, 3]` in `[0, 1]`; `encoding` turns it
    into numbers inside the loss and the metrics.

    Args:
        encoding: a name in `encodings.ENCODINGS`, or an `Encoding`.
        stride: pixels of the photograph per row and column of the output, 1, 2, 4, 8 or 16. Color
            is coarse: a stride of 2 costs less and leaves out speckle.
        weight: of its loss.
    """
    if isinstance(encoding, str):
        encoding = look_up(encodings.ENCODINGS, encoding, kind="encoding")()

    def color_metrics():
        found = [metrics.ChromaRMSE(encoding)]
        if isinstance(encoding, encodings.YUV):
            found.append(metrics.ArgmaxAccuracy(encoding))
        return found

    return Task(
        name="color",
        target=operator.itemgetter("images"),
        head=lambda features: features.pixels(encoding.channels, "color", stride),
        loss=lambda: losses.EncodedLoss(encoding),
        metrics=color_metrics,
        weight=weight,
        encoding=encoding,
    )


def mask_task(*, weight=1.0):
    """Returns the task of segmenting the pet: logits of pet, background and border per pixel.

    The target is the mask of class ids `[H, W, 1]`; pixels that are `VOID` count in neither the
    loss nor the metrics.

    Args:
        weight: of its loss.
    """
    return Task(
        name="mask",
        target=operator.itemgetter("segmentation_masks"),
        head=lambda features: features.pixels(len(MASK_CLASSES), "mask"),
        loss=lambda: keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=VOID
        ),
        metrics=lambda: [metrics.PixelAccuracy(), metrics.mean_iou()],
        weight=weight,
    )


def breed_task(n_breeds=37, *, weight=1.0):
    """Returns the task of naming the breed: logits `[B, n_breeds]` from the deepest features.

    Args:
        n_breeds: number of classes.
        weight: of its loss.
    """

    def head(features):
        x = keras.layers.GlobalAveragePooling2D(name="breed_pool")(features.pyramid[-1])
        x = keras.layers.Dropout(0.2, name="breed_dropout")(x)
        return keras.layers.Dense(n_breeds, dtype="float32", name="breed")(x)

    return Task(
        name="breed",
        target=operator.itemgetter("labels"),
        head=head,
        loss=lambda: keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=UNKNOWN_BREED
        ),
        metrics=lambda: [metrics.PixelAccuracy(UNKNOWN_BREED, name="breed_accuracy")],
        weight=weight,
    )


def compile_args(tasks):
    """Returns the `loss`, `loss_weights` and `metrics` of `model.compile` for a list of tasks."""
    return {
        "loss": {task.name: task.loss() for task in tasks},
        "loss_weights": {task.name: task.weight for task in tasks},
        "metrics": {task.name: task.metrics() for task in tasks},
    }
