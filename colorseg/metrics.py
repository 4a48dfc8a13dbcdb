"""How good a colorization or a segmentation is: metrics for training, and statistics for tables.

Keras metrics, for `compile`, only where Keras has none:

| class            | truth              | prediction                    |
|------------------|--------------------|-------------------------------|
| `ChromaRMSE`     | the photograph     | a color head's output         |
| `ArgmaxAccuracy` | the photograph     | a color head's output         |
| `PixelAccuracy`  | class ids          | scores of the classes         |

`METRICS` are those of the tables, in numpy and scikit-image. Each is computed in two steps, so that
images can be resampled without looking at a pixel twice: `per_image` gives sufficient statistics
`[N, k]`, and `finish` turns their mean over any set of images into the value for that set.

| metric                         | value for a set of images                          | better |
|--------------------------------|----------------------------------------------------|--------|
| `chroma_rmse`                  | RMSE of U and V over all pixels                    | low    |
| `learch_rmse`                  | RMSE over all pixels, averaged over the 2 channels | low    |
| `learch_rmse_sum`              | RMSE over all pixels, summed over the 2 channels   | low    |
| `psnr`                         | mean over images, dB, at most 60                   | high   |
| `ssim`                         | mean over images                                   | high   |
| `delta_e`                      | mean over pixels of the CIEDE2000 difference       | low    |
| `colorfulness`                 | mean over images, of the prediction                |        |
| `colorfulness_difference`      | mean over images of the absolute difference        | low    |
| `auc`                          | mean over pixels, in [0, 1]                        | high   |
| `auc_rebalanced`               | mean over pixels weighted by rarity, in [0, 1]     | high   |
| `argmax_accuracy`              | share of pixels                                    | high   |
| `miou`                         | mean over classes, from the whole set's confusion  | high   |
| `foreground_iou`               | mean over images, the border counted as pet        | high   |
| `foreground_iou_ignore_border` | mean over images, the border left out              | high   |
| `pixel_accuracy`               | share of labeled pixels                            | high   |
| `breed_accuracy`               | share of labeled images                            | high   |

Color is compared as RGB in [0, 1], the prediction carrying the true luma.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import ops
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from colorseg import color

PET, BACKGROUND, BORDER = CLASSES = (0, 1, 2)
FOREGROUND = (PET, BORDER)
VOID = 255


# Metrics for `compile`.


class _OfEncodedColor:
    """What metrics share that compare a photograph with a color head's output."""

    def __init__(self, encoding, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.encoding = encoding

    def get_config(self):
        return {
            **super().get_config(),
            "encoding": keras.saving.serialize_keras_object(self.encoding),
        }

    @classmethod
    def from_config(cls, config):
        encoding = keras.saving.deserialize_keras_object(config["encoding"])
        return cls(**{**config, "encoding": encoding})


@keras.saving.register_keras_serializable("colorseg")
class ChromaRMSE(_OfEncodedColor, keras.metrics.RootMeanSquaredError):
    """Root of the mean squared error of U and V, over all pixels and both channels.

    The output is decoded with the true luma first, so that networks of different encodings are
    compared in the same units.

    Args:
        encoding: the `Encoding` of the color head.
        name: of the metric.
        dtype: of its state.

    Use: `model.compile("adam", metrics={"color": ChromaRMSE(encoding)})`, the target being the
    photograph, float RGB `[B, H, W, 3]` in `[0, 1]`.
    """

    def __init__(self, encoding, name="chroma_rmse", dtype=None):
        super().__init__(encoding, name, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch: photographs `[B, H, W, 3]` and outputs `[B, H, W, channels]`."""
        rgb = self.encoding.decode(color.luma(y_true), ops.cast(y_pred, self.dtype))
        truth, prediction = color.rgb_to_yuv(y_true), color.rgb_to_yuv(rgb)
        return super().update_state(truth[..., 1:], prediction[..., 1:], sample_weight)


@keras.saving.register_keras_serializable("colorseg")
class ArgmaxAccuracy(_OfEncodedColor, keras.metrics.CategoricalAccuracy):
    """The "accuracy" of the paper: does the largest of Y, U and V agree?

    It is what Keras makes of `metrics=["accuracy"]` when the target is a YUV image. Y is nearly
    always the largest, so a gray image scores 99 %: the metric says almost nothing about color.

    Args:
        encoding: the `Encoding` of the color head; the metric is the paper's for `YUV` only.
        name: of the metric.
        dtype: of its state.
    """

    def __init__(self, encoding, name="argmax_accuracy", dtype=None):
        super().__init__(encoding, name, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch: photographs `[B, H, W, 3]` and outputs `[B, H, W, channels]`."""
        target = self.encoding.target(y_true, y_pred)
        return super().update_state(target, y_pred, sample_weight)


@keras.saving.register_keras_serializable("colorseg")
class PixelAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Share of pixels given their true class, among those that have one.

    Args:
        ignore_class: label of the pixels that are left out.
        name: of the metric.
        dtype: of its state.

    Use: `model.compile("adam", metrics={"mask": PixelAccuracy()})`, the target being class ids
    `[B, H, W, 1]` or `[B, H, W]`, the output scores `[B, H, W, classes]`.
    """

    def __init__(self, ignore_class=VOID, name="pixel_accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.ignore_class = ignore_class

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch; `sample_weight` is `[B]` or of the shape of the labels without their 1."""
        y_true = ops.reshape(y_true, ops.shape(y_pred)[:-1])
        known = ops.not_equal(y_true, self.ignore_class)
        weight = ops.cast(known, self.dtype)
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
            while len(sample_weight.shape) < len(weight.shape):
                sample_weight = ops.expand_dims(sample_weight, -1)
            weight = weight * sample_weight
        return super().update_state(ops.where(known, y_true, 0), y_pred, weight)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "ignore_class": self.ignore_class}


def mean_iou(name="miou"):
    """Returns Keras' mean IoU over pet, background and border, for logits `[B, H, W, 3]`.

    Pixels that are `VOID` are left out.
    """
    return keras.metrics.MeanIoU(
        num_classes=len(CLASSES), ignore_class=VOID, sparse_y_pred=False, name=name
    )


# Statistics per image, for the tables. Images are float RGB [N, H, W, 3] in [0, 1], masks class
# ids [N, H, W], breeds ids [N] in the truth and scores [N, breeds] in the prediction.

PSNR_CAP = 60.0  # dB, for identical images; rounding to 8 bits alone leaves 58.9
AUC_THRESHOLDS = 151  # 0, 1, ..., 150
LAB_NOISE = 1e-3  # float32 Lab of two equal grays differs by less
BIN_SIDE = 10
BINS_PER_AXIS = 23  # centers -110, -100, ..., 110


def squared_chroma_error(truth, prediction):
    """Returns the mean over pixels and channels of the squared error of U and V, `[N, 1]`."""
    return _mean_square(_chroma(truth) - _chroma(prediction))


def squared_learch_error(truth, prediction):
    """Returns the mean over pixels and channels of the squared error in LEARCH space, `[N, 1]`.

    See `color.rgb_to_learch`. Dark pixels rule this error, since they are divided by little.

    Reference:
        Deshpande, Rock, Forsyth: Learning large-scale automatic image colorization, ICCV 2015.
    """
    return _mean_square(_learch(truth) - _learch(prediction))


def psnr(truth, prediction):
    """Returns the peak signal-to-noise ratio over R, G and B in dB, `[N, 1]`, at most 60."""
    floor = 10 ** (-PSNR_CAP / 10)
    return -10 * np.log10(np.maximum(_mean_square(truth - prediction), floor))


def ssim(truth, prediction):
    """Returns the structural similarity, `[N, 1]`: 7x7 uniform windows, mean of R, G and B.

    Reference:
        Wang et al.: Image quality assessment: from error visibility to structural similarity,
        2004, as `skimage.metrics.structural_similarity` computes it by default.
    """
    pairs = zip(truth, prediction, strict=True)
    return _column(structural_similarity(a, b, channel_axis=-1, data_range=1.0) for a, b in pairs)


def delta_e(truth, prediction):
    """Returns the mean CIEDE2000 difference, `[N, 1]`; about 1 is just noticeable."""
    difference = deltaE_ciede2000(rgb2lab(truth), rgb2lab(prediction))
    return difference.mean(axis=(1, 2), dtype="float64")[:, None]


def colorfulness(rgb):
    """Returns how colorful images look, `[N, 1]`: 0 for grays, about 33 moderately, 109 extremely.

    It is the spread plus 0.3 times the mean length of the opponents R - G and (R + G) / 2 - B,
    both signed, on a scale of 255.

    Reference:
        Hasler, Süsstrunk: Measuring colorfulness in natural images, 2003.
    """
    red, green, blue = np.moveaxis(255 * np.asarray(rgb, "float64"), -1, 0)
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    spread = np.linalg.norm(opponents.std(axis=(2, 3)), axis=0)
    length = np.linalg.norm(opponents.mean(axis=(2, 3)), axis=0)
    return (spread + 0.3 * length)[:, None]


def colorfulness_difference(truth, prediction):
    """Returns the absolute difference of the colorfulness of each image, `[N, 1]`."""
    return np.abs(colorfulness(prediction) - colorfulness(truth))


def auc(truth, prediction):
    """Returns the area under the curve of accuracy over tolerance, `[N, 1]` in `[0, 1]`.

    A pixel is right at tolerance t if its error in the ab plane is at most t; the share of right
    pixels is averaged over t = 0, 1, ..., 150.

    Reference:
        Zhang, Isola, Efros: Colorful image colorization, ECCV 2016.
    """
    return _pixel_auc(rgb2lab(truth), rgb2lab(prediction)).mean(axis=(1, 2))[:, None]


def auc_by_bin(truth, prediction):
    """Returns, for each bin of 10x10 of the ab plane, its share of pixels and their summed AuC.

    Returns:
        Float array `[N, 2 * bins]`: the shares of the true colors, then the AuC of the pixels of
        each bin, summed and divided by the number of pixels of the image.

    Reference:
        Zhang, Isola, Efros: Colorful image colorization, ECCV 2016.
    """
    truth, prediction = rgb2lab(truth), rgb2lab(prediction)
    n, *size = truth.shape[:-1]
    half = BINS_PER_AXIS // 2
    a, b = np.moveaxis(np.round(truth[..., 1:] / BIN_SIDE).astype(int) + half, -1, 0)
    bins = BINS_PER_AXIS**2
    cell = (np.arange(n)[:, None, None] * bins + a * BINS_PER_AXIS + b).ravel()
    pixels = np.bincount(cell, minlength=n * bins)
    right = np.bincount(cell, weights=_pixel_auc(truth, prediction).ravel(), minlength=n * bins)
    return np.concatenate([pixels.reshape(n, bins), right.reshape(n, bins)], axis=1) / np.prod(size)


def agreeing_argmax(truth, prediction):
    """Returns the share of pixels whose largest of Y, U and V is the same, `[N, 1]`."""
    same = _yuv(truth).argmax(axis=-1) == _yuv(prediction).argmax(axis=-1)
    return same.mean(axis=(1, 2))[:, None]


def confusion(truth, prediction):
    """Counts pixels by true and predicted class, leaving out labels that are no class (`VOID`).

    Args:
        truth: integer array `[N, H, W]`.
        prediction: integer array `[N, H, W]` of 0 pet, 1 background, 2 border.

    Returns:
        Integer array `[N, 9]`: the 3 by 3 matrix of each image, rows the true classes.

    Raises:
        ValueError: if `prediction` has other ids.
    """
    if not np.isin(prediction, CLASSES).all():
        raise ValueError(
            f"`prediction` must hold the class ids {CLASSES}, got values from "
            f"{np.min(prediction)} to {np.max(prediction)}; take the argmax of scores first"
        )
    n, classes = len(truth), len(CLASSES)
    known = np.isin(truth, CLASSES)
    cell = (np.arange(n)[:, None, None] * classes + truth) * classes + prediction
    return np.bincount(cell[known], minlength=n * classes**2).reshape(n, classes**2)


def foreground_iou(truth, prediction):
    """Returns the IoU of pet and border together, and whether there is any, `[N, 2]`."""
    return _foreground_iou(confusion(truth, prediction))


def foreground_iou_ignore_border(truth, prediction):
    """Returns the IoU of the foreground outside the true border, and whether there is any.

    A border predicted elsewhere counts as pet, as in `foreground_iou`.

    Returns:
        Float array `[N, 2]`.
    """
    counts = confusion(truth, prediction)
    counts[:, BORDER * len(CLASSES) :] = 0
    return _foreground_iou(counts)


def right_pixels(truth, prediction):
    """Returns the number of rightly classed pixels and of labeled pixels, `[N, 2]`."""
    counts = confusion(truth, prediction)
    return np.stack([counts[:, :: len(CLASSES) + 1].sum(axis=1), counts.sum(axis=1)], axis=1)


def right_breed(truth, prediction):
    """Returns whether the best score is the true breed's, and whether it is known, `[N, 2]`."""
    return np.stack([prediction.argmax(axis=-1) == truth, truth >= 0], axis=1)


def _yuv(rgb):
    return np.asarray(rgb) @ color.YUV_FROM_RGB.T.astype("float32")


def _chroma(rgb):
    return _yuv(rgb)[..., 1:]


def _learch(rgb):
    return ops.convert_to_numpy(color.rgb_to_learch(rgb))


def _pixel_auc(truth, prediction):
    error = np.linalg.norm(truth[..., 1:] - prediction[..., 1:], axis=-1)
    passed = AUC_THRESHOLDS - np.ceil(error - LAB_NOISE)
    return np.clip(passed, 0, AUC_THRESHOLDS) / AUC_THRESHOLDS


def _foreground_iou(counts):
    counts = counts.reshape(-1, len(CLASSES), len(CLASSES))
    both = counts[:, FOREGROUND][:, :, FOREGROUND].sum(axis=(1, 2))
    either = counts.sum(axis=(1, 2)) - counts[:, BACKGROUND, BACKGROUND]
    return np.stack([both / np.maximum(either, 1), either > 0], axis=1)


def _mean_square(difference):
    return np.square(difference).mean(axis=(1, 2, 3), dtype="float64")[:, None]


def _column(values):
    return np.fromiter(values, "float64")[:, None]


def _divide(a, b):
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


# From the statistics of a whole set, [N, k], to those that are averaged, [N, j].


def _as_they_are(statistics):
    return statistics


def _rebalance(statistics):
    # Each pixel is weighted by the inverse prior of its bin, so that the value is the plain mean
    # over the bins that occur in the set. The prior belongs to the set, not to the resample: a
    # bin that only one image has would else drop out of a third of the resamples, and the
    # intervals would lie beside the value.
    pixels, right = np.split(statistics, 2, axis=1)
    weight = np.nan_to_num(_divide(1.0, pixels.mean(axis=0)))
    return np.stack([right @ weight, pixels @ weight], axis=1)


# From the mean of the statistics, [..., j], to the value, [...].


def _mean(statistics):
    return statistics[..., 0]


def _root(statistics):
    return np.sqrt(statistics[..., 0])


def _root_of_sum(statistics):
    return np.sqrt(2 * statistics[..., 0])  # the mean over two channels is half of their sum


def _ratio(statistics):
    return _divide(statistics[..., 0], statistics[..., 1])


def _mean_iou(statistics):
    counts = statistics.reshape(*statistics.shape[:-1], len(CLASSES), len(CLASSES))
    both = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(axis=-1) + counts.sum(axis=-2) - both
    # Classes that are in neither truth nor prediction are no part of the mean.
    return _divide(np.nan_to_num(_divide(both, either)).sum(axis=-1), (either > 0).sum(axis=-1))


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of the tables.

    Attributes:
        name: in tables and files.
        needs: what is compared: "color", "mask" or "breed".
        better: "high" or "low"; "" if neither is.
        per_image: function of truth and prediction `[N, ...]` to statistics `[N, k]`.
        finish: function of the mean of the statistics `[..., j]` to the value `[...]`; NaN where
            nothing could be compared.
        over_set: function of the statistics of the whole set `[N, k]` to those `[N, j]` of which
            the mean is taken.
    """

    name: str
    needs: str
    better: str
    per_image: Callable
    finish: Callable = _mean
    over_set: Callable = _as_they_are

    def __call__(self, truth, prediction):
        """Returns the value for a set of images.

        Args:
            truth: color: float RGB `[N, H, W, 3]` in `[0, 1]`; mask: class ids `[N, H, W]`;
                breed: ids `[N]`, -1 where unknown.
            prediction: of the same shape; breed: scores `[N, breeds]`.

        Raises:
            ValueError: if the shapes disagree.
        """
        shape = np.shape(prediction)[:-1] if self.needs == "breed" else np.shape(prediction)
        if np.shape(truth) != shape:
            raise ValueError(
                f"`truth` and `prediction` of {self.name} must have the same shape, "
                f"got {np.shape(truth)} and {shape}"
            )
        statistics = self.over_set(self.per_image(truth, prediction))
        return float(self.finish(statistics.mean(axis=0)))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("chroma_rmse", "color", "low", squared_chroma_error, _root),
        Metric("learch_rmse", "color", "low", squared_learch_error, _root),
        Metric("learch_rmse_sum", "color", "low", squared_learch_error, _root_of_sum),
        Metric("psnr", "color", "high", psnr),
        Metric("ssim", "color", "high", ssim),
        Metric("delta_e", "color", "low", delta_e),
        Metric("colorfulness", "color", "", lambda truth, prediction: colorfulness(prediction)),
        Metric("colorfulness_difference", "color", "low", colorfulness_difference),
        Metric("auc", "color", "high", auc),
        Metric("auc_rebalanced", "color", "high", auc_by_bin, _ratio, _rebalance),
        Metric("argmax_accuracy", "color", "high", agreeing_argmax),
        Metric("miou", "mask", "high", confusion, _mean_iou),
        Metric("foreground_iou", "mask", "high", foreground_iou, _ratio),
        Metric(
            "foreground_iou_ignore_border", "mask", "high", foreground_iou_ignore_border, _ratio
        ),
        Metric("pixel_accuracy", "mask", "high", right_pixels, _ratio),
        Metric("breed_accuracy", "breed", "high", right_breed, _ratio),
    )
}
