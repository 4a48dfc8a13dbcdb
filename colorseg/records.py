"""Records of methods that are not trained, as folders that `colorseg report` reads.

Such a folder holds `metrics.json`, what `evaluate` returned, and `environment.json`:

| key                                        | value                                               |
|--------------------------------------------|-----------------------------------------------------|
| finished, versions, platform, backend,     | as in the folder of a run                           |
| devices, cpu_count, git_commit             |                                                     |
| method, settings                           | the method's name and what it was constructed with  |
| encoder_weights                            | as in a run's, where the method uses an encoder     |
| data, split, image_size                    | what it was scored on                               |
| examples                                   | photographs learned from ("train") and "scored"     |
| subset                                     | null, or {"of": photographs of the whole split,     |
|                                            | "seed": of the random choice} where not all were    |
| hints                                      | pixels of each photograph whose color was given     |
| fit_seconds, seconds_per_image             | wall time of `fit`, and of `predict` a photograph   |
| cpu_seconds_per_image                      | time that all cores together spent in the latter,   |
|                                            | which what else the machine did does not inflate    |
"""

from pathlib import Path

import numpy as np

from colorseg import files, machine
from colorseg.evaluation import Stopwatch, evaluate
from colorseg.photo import make_folder

PACKAGES = (
    "keras",
    "numpy",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "tensorflow",
    "opencv-python-headless",
)
SUBSET_SEED = 0


def score(method, arrays, *, train=None, limit=None, progress=False):
    """Lets a method learn, if it does, scores it, and notes how.

    Args:
        method: as in `evaluate`.
        arrays: as in `evaluate`.
        train: arrays of the training split, for a method with `fit`.
        limit: how many photographs to score, chosen at random, but the same whenever there are as
            many to choose from, and a part of any larger choice; None for all.
        progress: whether to show a progress bar on standard error.

    Returns:
        What `evaluate` returns, and a dict of `git_commit` and of those keys of `environment.json`
        from `examples` on.

    Raises:
        ValueError: if `limit` is less than 1, or as `evaluate`.
    """
    commit = machine.git_commit()  # before others may have moved on
    chosen = _choose(arrays, limit)
    n, total = len(chosen["images"]), len(arrays["images"])
    fit_seconds = None
    if hasattr(method, "fit"):
        fit = Stopwatch(method.fit)
        fit(train)
        fit_seconds = fit.seconds
    method.predict = Stopwatch(method.predict)
    metrics = evaluate(method, chosen, progress=progress)
    return metrics, {
        "git_commit": commit,
        "examples": {"train": len(train["images"]) if train else 0, "scored": n},
        "subset": {"of": total, "seed": SUBSET_SEED} if n < total else None,
        "hints": getattr(method, "hints", 0),
        "fit_seconds": fit_seconds,
        **method.predict.per_image(n),
    }


def write(folder, metrics, environment):
    """Writes the record of a method into a folder, made if it is not there.

    Args:
        folder: where to.
        metrics: what `evaluate` returned.
        environment: dict, ready for JSON; what is known of the machine is added.

    Raises:
        ValueError: as `check_folder`.
        OSError: if the folder cannot be written.
    """
    check_folder(folder)
    make_folder(folder)
    files.write_json(
        Path(folder) / "environment.json", {**machine.describe(PACKAGES), **environment}
    )
    files.write_json(Path(folder) / "metrics.json", metrics)


def check_folder(folder):
    """Raises a ValueError if a folder is a run's, whose record is its own."""
    if (Path(folder) / "config.json").exists():
        raise ValueError(f"{folder} is the folder of a run; choose another --out")


def _choose(arrays, count):
    n = len(arrays["images"])
    if count is None:
        return arrays
    if count < 1:
        raise ValueError(f"`limit` must be at least 1 photograph, got {count}")
    chosen = np.sort(np.random.default_rng(SUBSET_SEED).permutation(n)[:count])
    return {name: rows[chosen] for name, rows in arrays.items()}
