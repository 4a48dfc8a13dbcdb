"""One protocol for every method, learned or classic.

A method is any object with `predict(gray) -> dict`. It is given the luma, float32 `[B, H, W, 1]` in
`[0, 1]`, and nothing else of the photographs, and returns any of

| key     | value                                             |
|---------|---------------------------------------------------|
| "color" | float RGB `[B, H, W, 3]` in `[0, 1]`              |
| "mask"  | class ids `[B, H, W]`: 0 pet, 1 background, 2 border |
| "breed" | scores `[B, breeds]`                              |

Colors are compared after the true luma has been put back, since every method knows it. A method
that learns from the training split has `fit(arrays)`; it is the caller who calls it.

A method that a user helps has the attribute `hints`, a number of pixels. It is called as
`predict(gray, hints=hints)` with what `draw_hints` gives: the true chroma of so many random pixels
of each photograph. Such a method is not to be compared with those that see luma only.
"""

import time

import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from colorseg import color
from colorseg.metrics import METRICS, VOID
from colorseg.registry import look_up

DECODED_AT_ONCE = 8  # images; an encoding of hundreds of channels needs several copies of each


class NetworkMethod:
    """A network of `build_unet`, or the mean of several, as a method.

    What is averaged is the chroma, and the probabilities of the mask's classes and of the breeds.
    A network without one of these has no say in it.

    Args:
        models: the networks; `model.tasks` tells how the outputs of each are read.
        blur: standard deviation, in pixels, of a Gaussian that the chroma is blurred by; 0 leaves
            it as it is. What it changes in a score is the share of the network's grain.
        mirror: whether each network is asked twice, the second time with the mirror image.

    Raises:
        ValueError: if there is no network, `blur` is not a finite number of at least 0, or is
            above 0 where no network paints color.
    """

    def __init__(self, *models, blur=0, mirror=False):
        if not models:
            raise ValueError("there is no network to ask; give one or more")
        if not 0 <= blur < np.inf:
            raise ValueError(f"`blur` must be at least 0 pixels, got {blur}")
        tasks = list(dict.fromkeys(name for model in models for name in model.tasks))
        if blur and "color" not in tasks:
            raise ValueError(
                f"`blur` needs a network that paints color; this one has {', '.join(tasks)}"
            )
        self.models = models
        self.blur = blur
        self.mirror = mirror

    def predict(self, gray):
        """Returns the color, mask and breed probabilities for luma `[B, H, W, 1]`."""
        answers = {}
        for model in self.models:
            for step in (1, -1) if self.mirror else (1,):
                for name, answer in _ask(model, gray[:, :, ::step]).items():
                    is_picture = name != "breed"  # and has to be mirrored back
                    answers.setdefault(name, []).append(
                        answer[:, :, ::step] if is_picture else answer
                    )
        read = {"color": self._paint, "mask": lambda gray, mean: mean.argmax(axis=-1)}
        means = {name: np.mean(several, axis=0) for name, several in answers.items()}
        return {
            name: read[name](gray, mean) if name in read else mean for name, mean in means.items()
        }

    def _paint(self, gray, chroma):
        if self.blur:
            chroma = gaussian_filter(chroma, (0, self.blur, self.blur, 0))
        return ops.convert_to_numpy(color.add_chroma(ops.cast(gray, chroma.dtype), chroma))


def evaluate(method, arrays, *, batch_size=64, bootstrap=1000, seed=0, progress=False):
    """Scores a method, with 95 % intervals.

    Args:
        method: object with `predict(gray) -> dict`, such as `NetworkMethod`.
        arrays: dict of "images", uint8 `[N, H, W, 3]`, and optionally "segmentation_masks", class
            ids `[N, H, W, 1]` with `VOID` where unknown, and "labels", breed ids `[N]` with -1
            where unknown.
        batch_size: images per call of `predict`.
        bootstrap: number of resamples of the images.
        seed: of the resampling, and of the pixels of hints. Methods scored with the same seed share
            both.
        progress: whether to show a progress bar on standard error.

    Returns:
        Dict `{metric: {"value": v, "low": l, "high": h}}` of floats, in the order of `METRICS`:
        those that the method's outputs and the labels allow, and that have a value (there is no
        foreground IoU where nobody sees a foreground).

    Raises:
        ValueError: if there are no images, nothing to compare, or the method returns something
            of the wrong kind or shape.
    """
    _check_count(bootstrap, "bootstrap")  # before the long part, not after it
    statistics = measure(method, arrays, batch_size=batch_size, seed=seed, progress=progress)
    return summarize(statistics, bootstrap=bootstrap, seed=seed)


def measure(method, arrays, *, batch_size=64, seed=0, progress=False):
    """Returns the statistics `[N, j]` of every metric that can be computed, one row an image.

    Args and errors are those of `evaluate`. The statistics of two methods, in the same order of
    images, are what a paired comparison starts from.
    """
    _check_images(arrays.get("images"))
    _check_count(batch_size, "batch_size")
    labels = _known_labels(arrays)
    n = len(arrays["images"])
    batches = {}
    with tqdm(total=n, desc="evaluate", unit="image", disable=not progress) as bar:
        for start in range(0, n, batch_size):
            part = slice(start, start + batch_size)
            rgb = arrays["images"][part].astype("float32") / 255
            truth = {"color": rgb, **{name: values[part] for name, values in labels.items()}}
            prediction = _predict(method, rgb, seed=seed, first=start)
            for name, rows in _score(truth, prediction).items():
                batches.setdefault(name, []).append(rows)
            bar.update(len(rgb))
    return {name: METRICS[name].over_set(np.concatenate(rows)) for name, rows in batches.items()}


class Stopwatch:
    """A function that counts the seconds of its calls.

    Args:
        function: what is called.

    Attributes:
        seconds: wall time of all calls so far.
        cpu_seconds: time that the cores spent meanwhile in this process.
    """

    def __init__(self, function):
        self._function = function
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def __call__(self, *args, **kwargs):
        """Calls the function and returns what it returns."""
        started, cpu_started = time.perf_counter(), time.process_time()
        try:
            return self._function(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - started
            self.cpu_seconds += time.process_time() - cpu_started

    def per_image(self, n):
        """Returns what a record says of calls that took `n` images in all."""
        return {
            "seconds_per_image": self.seconds / n,
            "cpu_seconds_per_image": self.cpu_seconds / n,
        }


def draw_hints(rgb, count, *, seed=0, first=0):
    """Returns the chroma of random pixels of photographs, and NaN elsewhere.

    Args:
        rgb: float `[B, H, W, 3]` in `[0, 1]`.
        count: pixels of each photograph; all, if it has no more. Those of a lower count are among
            those of a higher one.
        seed: of the pixels.
        first: place of the first photograph in its set, so that each has its own pixels in
            whatever batch it comes.

    Returns:
        U and V `[B, H, W, 2]`.
    """
    chroma = ops.convert_to_numpy(color.rgb_to_yuv(rgb))[..., 1:]
    hints = np.full_like(chroma, np.nan)
    shape = chroma.shape[1:3]
    for index in range(len(rgb)):
        order = np.random.default_rng([seed, first + index]).permutation(np.prod(shape))
        given = (index, *np.unravel_index(order[:count], shape))
        hints[given] = chroma[given]
    return hints


def summarize(statistics, *, bootstrap=1000, seed=0):
    """Returns value and 95 % percentile interval of each metric, resampling images.

    Args:
        statistics: dict of metric name to `[N, j]`, as `measure` returns it.
        bootstrap: number of resamples.
        seed: of the resampling.

    Returns:
        As `evaluate`.

    Raises:
        ValueError: if `bootstrap` is less than 1.

    Reference:
        Efron, Tibshirani: An introduction to the bootstrap, 1993, chapter 13.
    """
    _check_count(bootstrap, "bootstrap")
    n = len(next(iter(statistics.values())))
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=bootstrap)
    result = {}
    for name, rows in statistics.items():
        finish = METRICS[name].finish
        with np.errstate(invalid="ignore"):
            value = finish(rows.mean(axis=0))
            resampled = finish(counts @ rows / n)
        if np.isnan(value):
            continue
        # A resample may lack all labeled images: it has no value, and is left out.
        low, high = np.nanpercentile(resampled, [2.5, 97.5])
        result[name] = {"value": float(value), "low": float(low), "high": float(high)}
    return result


def to_markdown(rows, *, metrics=None, details=None):
    """Returns a Markdown table, one row a method, with intervals.

    Args:
        rows: dict of method name to a result of `evaluate`.
        metrics: names of the columns; None for all that any method has.
        details: dict of method name to what else there is to say of it, a dict of texts by heading,
            the same headings for all; these columns come first.

    Raises:
        ValueError: if a name in `metrics` is unknown.
    """
    if metrics is None:
        metrics = [name for name in METRICS if any(name in row for row in rows.values())]
    details = details or {name: {} for name in rows}
    headings = list(next(iter(details.values()), {}))
    arrow = {"high": " ↑", "low": " ↓", "": ""}
    lines = [
        [
            "method",
            *headings,
            *(name + arrow[look_up(METRICS, name, kind="metric").better] for name in metrics),
        ],
        ["---", *("---" for _ in headings), *("---:" for _ in metrics)],
        *(
            [method, *details[method].values(), *(_cell(row.get(name)) for name in metrics)]
            for method, row in rows.items()
        ),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(score):
    if score is None:
        return "–"  # noqa: RUF001
    return "{value:#.4g} [{low:#.4g}, {high:#.4g}]".format(**score)


def _ask(model, gray):
    """Returns a network's chroma, and its probabilities of classes and breeds."""
    outputs = model.predict_on_batch(np.repeat(gray, 3, axis=-1))
    read = {
        "color": lambda output: _decode(model.tasks["color"].encoding, gray, output),
        "mask": _to_probabilities,
        "breed": _to_probabilities,
    }
    return {name: read[name](output) for name, output in outputs.items() if name in read}


def _to_probabilities(scores):
    return ops.convert_to_numpy(ops.softmax(scores, axis=-1))


def _decode(encoding, gray, output):
    pieces = [slice(i, i + DECODED_AT_ONCE) for i in range(0, len(gray), DECODED_AT_ONCE)]
    chroma = [encoding.decode_chroma(gray[i], ops.convert_to_tensor(output[i])) for i in pieces]
    return np.concatenate([ops.convert_to_numpy(piece) for piece in chroma])


def _known_labels(arrays):
    """Returns the "mask" `[N, H, W]` and "breed" `[N]` that at least one image has."""
    known = {}
    if "segmentation_masks" in arrays and np.any(arrays["segmentation_masks"] != VOID):
        known["mask"] = arrays["segmentation_masks"][..., 0]
    if "labels" in arrays and np.any(arrays["labels"] >= 0):
        known["breed"] = arrays["labels"]
    return known


def _score(truth, prediction):
    """Returns the statistics of a batch, `{metric: [B, k]}`."""
    scored = [m for m in METRICS.values() if m.needs in truth and m.needs in prediction]
    if not scored:
        raise ValueError(
            f"nothing to compare: the method predicts {_names(prediction)}, the data know "
            f"{_names(truth)}; label the data or choose another method"
        )
    return {m.name: m.per_image(truth[m.needs], prediction[m.needs]) for m in scored}


def _predict(method, rgb, *, seed, first):
    gray = ops.convert_to_numpy(color.luma(rgb))
    if hasattr(method, "hints"):
        hints = draw_hints(rgb, method.hints, seed=seed, first=first)
        prediction = method.predict(gray, hints=hints)
    else:
        prediction = method.predict(gray)
    size = rgb.shape[:-1]
    shapes = {"color": (*size, 3), "mask": size, "breed": (len(rgb), "breeds")}
    prediction = {name: np.asarray(prediction[name]) for name in shapes if name in prediction}
    for name, values in prediction.items():
        if not _matches(values.shape, shapes[name]):
            raise ValueError(
                f'"{name}" of {type(method).__name__}.predict must have shape {shapes[name]}, '
                f"got {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(
                f'"{name}" of {type(method).__name__}.predict has values that are not finite; '
                "if it is a network, its training diverged"
            )
    if "color" in prediction:
        prediction["color"] = _with_luma(gray, prediction["color"])
    return prediction


def _matches(shape, expected):
    return len(shape) == len(expected) and all(
        isinstance(right, str) or got == right for got, right in zip(shape, expected, strict=True)
    )


def _with_luma(gray, rgb):
    # Adding the same to R, G and B changes Y by as much and leaves U and V alone.
    rgb = rgb.astype(gray.dtype)
    rgb = color.fit_to_gamut(rgb + (gray - ops.convert_to_numpy(color.luma(rgb))))
    return ops.convert_to_numpy(rgb)


def _check_images(images):
    dtype, shape = getattr(images, "dtype", type(images).__name__), np.shape(images)
    if dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or shape[0] == 0:
        raise ValueError(
            f'`arrays["images"]` must be at least one photograph, uint8 [N, H, W, 3], got {dtype} '
            f"of shape {shape}"
        )


def _check_count(count, name):
    if count < 1:
        raise ValueError(f"`{name}` must be at least 1, got {count}")


def _names(parts):
    return ", ".join(parts) or "nothing"
