"""Tables computed from run folders: what the paper printed, repeated, under stated definitions.

A results folder holds one folder a run, named `<preset>-seed<N>`, or a method's name for what is
not trained. Each has at least `metrics.json`, and mostly `environment.json`; runs have
`config.json` and `history.csv`, too. Runs whose folders differ in the seed only are rows of one
network. Each folder in its `ablations` holds a round of short runs by which recipes were chosen, on
the validation split, and which are compared with one of them, `base`.
"""

import dataclasses
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from scipy import stats

from colorseg import files
from colorseg.evaluation import to_markdown
from colorseg.metrics import METRICS
from colorseg.presets import (
    DERIVED,
    PRESETS,
    complete,
    tell_changes,
    tell_departures,
    without_path,
)
from colorseg.training import read_history

COLOR_COLUMNS = (
    "chroma_rmse",
    "psnr",
    "ssim",
    "delta_e",
    "learch_rmse",
    "colorfulness",
    "colorfulness_difference",
    "argmax_accuracy",
)
MASK_COLUMNS = ("miou", "foreground_iou", "foreground_iou_ignore_border", "pixel_accuracy")
PAPER_ACCURACY = 0.95
PAPER_DATA = ("oxford_iiit_pet", 128)  # what its figures, and ours, are of: data, image size
TRIVIAL = ("gray", "constant", "breed_mean", "nearest", "all_foreground", "mean_mask")
NOT_KNOWN = "–"  # noqa: RUF001
KINDS = ("trivial", "classic", "network")  # in the order of the tables
BASE = "base"  # the run of `ablations` that the others are compared with
RACERS = ("paper_color", "paper_multitask", "color", "multitask", "three_task")

# What others printed, in their own words and units, on their own photographs: not ours to compare.
QUOTED = """
| where | figure | value | what it is |
|---|---|---|---|
| Table 1 | Welsh et al. | 0.35 | error of SUN scenes, as Deshpande et al. measured it |
| Table 1 | Deshpande, scene independent | 0.28 | the same |
| Table 1 | Deshpande, scene dependent, histogram | 0.25 | the same |
| Table 1 | the paper's | 0.19 | an error it does not define, on pets |
| section 3.2 | accuracy, color alone | 97.23 % | argmax over Y, U, V; validation |
| section 3.2 | accuracy, multitask | 98 % | the same |
| section 3.2 | epochs to 95 % | 15, 25 | multitask, color alone |
| Table 2 | all foreground | 45 % | foreground IoU of Parkhi et al. |
| Table 2 | Parkhi et al.; Cats and Dogs | 61 %, 65 % | the same |
| Table 2 | the paper's | 74 % | probably the mean over three classes |
"""


@dataclasses.dataclass(frozen=True)
class Result:
    """One folder of results.

    Attributes:
        name: what its row is called, the folder's name without the seed.
        metrics: of the test split, as `evaluate` returns them.
        config: of `config.json`, completed by `presets.complete`; empty for what is not trained.
        history: rows of `history.csv`; empty likewise.
        environment: of `environment.json`; empty if there is none.
    """

    name: str
    metrics: dict
    config: dict
    history: list
    environment: dict


def read_results(folder):
    """Returns the list of `Result` of a results folder, sorted by name.

    Raises:
        ValueError: if there is none.
    """
    found = [_read_result(path.parent) for path in sorted(Path(folder).glob("*/metrics.json"))]
    if not found:
        raise ValueError(
            f"{folder} holds no results, that is, folders with a metrics.json; "
            "train one with colorseg train"
        )
    return found


def report(folder):
    """Computes the report of a results folder.

    Args:
        folder: of run folders.

    Returns:
        Dict, ready for JSON: `rows` (metrics by name, seeds joined), `methods` (by name, too: the
        `kind`, one of `KINDS`, the `epochs` trained, the number of `hints`, and `ms`, the time that
        a photograph takes), `apart` (by name, why those stand apart that were given hints, not all
        photographs or others than most rows here, or were averaged or blurred), `ratios` (of the
        others' color errors to gray's), `runs` (what was trained, for how long, and what it
        `changed` in its preset), `curves` (per name and seed, the columns of the history),
        `epochs_to_reach`, `times`, `claims`, and `recipes` (for each folder in `ablations`, see
        `compare_recipes`).

    Raises:
        ValueError: as `read_results`, or if runs that differ in more than the seed share a name.
    """
    results = read_results(folder)
    rounds = sorted(path for path in (Path(folder) / "ablations").glob("*") if path.is_dir())
    names = dict.fromkeys(result.name for result in results)
    by_name = {name: [r for r in results if r.name == name] for name in names}
    for group in by_name.values():
        _check_recipe(group)
    rows = {name: join_seeds([r.metrics for r in group]) for name, group in by_name.items()}
    usual = Counter(_data_of(group[0]) for group in by_name.values()).most_common(1)[0][0]
    reasons = {name: _why_apart(group[0], usual) for name, group in by_name.items()}
    apart = {name: reason for name, reason in reasons.items() if reason}
    return {
        "rows": rows,
        "methods": {name: _characterize(group) for name, group in by_name.items()},
        "apart": apart,
        "ratios": ratios_to_gray({n: row for n, row in rows.items() if n not in apart}),
        "runs": {name: _describe(group) for name, group in by_name.items() if group[0].history},
        "curves": {
            name: [_columns(r.history) for r in group]
            for name, group in by_name.items()
            if group[0].history
        },
        "epochs_to_reach": epochs_to_reach(by_name),
        "times": compare_times(by_name),
        "claims": check_claims(by_name),
        "recipes": {path.name: compare_recipes(path) for path in rounds},
    }


def to_text(found):
    """Returns the Markdown of what `report` computed."""
    parts = ["# Results", _TEXT_OF_PROTOCOL]
    if found["runs"]:
        parts += ["## Runs", to_table(found["runs"].values())]
    if sort_methods(found, "chroma_rmse"):
        parts += ["## Color (the paper's Table 1)", tabulate(found, COLOR_COLUMNS)]
        if found["ratios"]:
            parts += [_TEXT_OF_RATIOS, to_table(found["ratios"])]
    if sort_methods(found, "miou"):
        parts += ["## Masks (the paper's Table 2)", tabulate(found, MASK_COLUMNS)]
    if found["apart"]:
        parts += ["## Apart", _TEXT_OF_APART]
        parts += ["\n".join(f"- {name}: {reason}" for name, reason in found["apart"].items())]
        parts += [
            tabulate(found, columns, apart=True)
            for columns in (COLOR_COLUMNS, MASK_COLUMNS)
            if sort_methods(found, columns[0], apart=True)
        ]
    if found["epochs_to_reach"]:
        parts += ["## Epochs to reach", to_table(found["epochs_to_reach"])]
    if found["times"]:
        parts += ["## One network or two", to_table([found["times"]])]
    if found["recipes"]:
        parts += ["## Recipes tried", _TEXT_OF_RECIPES]
        for name, rows in found["recipes"].items():
            parts += [f"### {name}", to_table(rows)]
    parts += ["## Quoted from the paper (Dabholkar)", QUOTED.strip()]
    parts += ["## The paper's claims", to_table(found["claims"])]
    return "\n\n".join(parts) + "\n"


def tabulate(found, metrics, *, apart=False):
    """Returns the Markdown table of all methods that have the first of some metrics.

    Args:
        found: what `report` returned.
        metrics: names of the columns.
        apart: whether of those methods that stand apart (see `report`), in place of those that do
            not.
    """
    names = sort_methods(found, metrics[0], apart=apart)
    return to_markdown(
        {name: found["rows"][name] for name in names},
        metrics=metrics,
        details={name: _describe_method(found["methods"][name]) for name in names},
    )


def sort_methods(found, metric, *, apart=False):
    """Returns the names of the methods that have a metric: trivial ones first, networks last.

    Those of one kind are sorted from the best to the worst; those apart by how much they were told.

    Args:
        found: what `report` returned.
        metric: a name in `METRICS`.
        apart: as in `tabulate`.
    """
    sign = -1 if METRICS[metric].better == "high" else 1

    def place(name):
        method = found["methods"][name]
        value = sign * found["rows"][name][metric]["value"]
        return KINDS.index(method["kind"]), method["hints"], value

    names = [name for name, row in found["rows"].items() if metric in row]
    return sorted((name for name in names if (name in found["apart"]) is apart), key=place)


def write_report(folder):
    """Writes `report.json` into a results folder and returns the Markdown."""
    found = report(folder)
    files.write_json(Path(folder) / "report.json", found)
    return to_text(found)


def join_seeds(metrics):
    """Joins the metrics of runs that differ in their seed.

    The value is the mean, for each metric that all runs have. The interval's half-width joins, as
    independent errors, the runs' mean half-width over images and that of Student's interval over
    seeds; one run keeps its own.

    Args:
        metrics: list of what `evaluate` returned.
    """
    if len(metrics) == 1:
        return metrics[0]
    joined = {}
    common = [name for name in metrics[0] if all(name in row for row in metrics)]
    for name in common:
        values = [row[name]["value"] for row in metrics]
        mean = sum(values) / len(values)
        error = statistics.stdev(values) / math.sqrt(len(values))
        over_seeds = stats.t.ppf(0.975, len(values) - 1) * error
        over_images = sum(row[name]["high"] - row[name]["low"] for row in metrics) / len(values) / 2
        half = math.hypot(over_seeds, over_images)
        joined[name] = {"value": mean, "low": mean - half, "high": mean + half}
    return joined


def epochs_to_reach(by_name):
    """Returns when validation first reached a level: a row for each network in `RACERS`.

    Those are trained on the squared error of their colors; one that is not would move the level.

    The paper's level is an argmax accuracy of 0.95. Since a gray image is above it, there is a
    second: the lowest chroma RMSE that every compared run reached. Runs that learned from as many
    `photos` were validated on the same ones.
    """
    colored = {
        name: [run for run in by_name[name] if _has(run.history, "val_color_chroma_rmse")]
        for name in RACERS
        if name in by_name
    }
    colored = {name: runs for name, runs in colored.items() if runs}
    if not colored:
        return []
    bests = [
        min(row["val_color_chroma_rmse"] for row in run.history)
        for runs in colored.values()
        for run in runs
    ]
    level = max(bests)

    rows = []
    for name, runs in colored.items():
        row = {
            "network": name,
            "photos": [_photographs(run.environment) for run in runs],
            f"chroma RMSE at most {level:.4f}": [
                _first(run.history, lambda row: row["val_color_chroma_rmse"] <= level)
                for run in runs
            ],
        }
        if all(_has(run.history, "val_color_argmax_accuracy") for run in runs):
            row[f"argmax accuracy at least {PAPER_ACCURACY}"] = [
                _first(run.history, _is_past_paper_accuracy) for run in runs
            ]
        rows.append(row)
    return rows


def compare_times(by_name):
    """Returns the time an epoch of `multitask` takes against `color` and `mask` together.

    An epoch's time is that of the fastest: the first compiles, and what else ran on the machine
    only ever slowed it.

    None where one of the three is missing, or they ran on different devices.
    """
    groups = [
        [run for run in by_name.get(name, []) if run.history]
        for name in ("multitask", "color", "mask")
    ]
    devices = {tuple(run.environment.get("devices", ())) for group in groups for run in group}
    if not all(groups) or len(devices) != 1:
        return None
    multitask, color, mask = (
        min(row["seconds"] for run in group for row in run.history) for group in groups
    )
    return {
        "multitask, s an epoch": multitask,
        "color, s an epoch": color,
        "mask, s an epoch": mask,
        "ratio": multitask / (color + mask),
        "device": ", ".join(devices.pop()),
    }


def compare_recipes(folder):
    """Returns what changes of a recipe gave, on the validation split after the last epoch.

    Args:
        folder: path of run folders, one of them `base-seed<N>`, the recipe that the others change.

    Returns:
        List of dicts, the base first, then from the lowest chroma RMSE to the highest: what was
        `changed`, `epochs`, the metrics of color and mask that were recorded, and the seconds of
        the fastest epoch.

    Raises:
        ValueError: if there is no base.
    """
    results = [result for result in read_results(folder) if result.history]
    base = next((result for result in results if result.name == BASE), None)
    if base is None:
        raise ValueError(f"{folder} has no run {BASE}-seed<N>, to compare its others with; add one")

    def place(result):
        return result is not base, result.history[-1].get("val_color_chroma_rmse", math.inf)

    titles = {"val_color_chroma_rmse": "chroma RMSE", "val_mask_miou": "mIoU"}
    return [
        {"changed": tell_changes(result.config, base.config), "epochs": len(result.history)}
        | {
            title: result.history[-1][key]
            for key, title in titles.items()
            if key in result.history[-1]
        }
        | {"s an epoch": min(row["seconds"] for row in result.history)}
        for result in sorted(results, key=place)
    ]


def ratios_to_gray(rows):
    """Returns each method's color errors as shares of gray's, best first; none without gray.

    Unlike the errors, the shares may be held against those of other photographs. Their intervals
    take the two errors for independent. They are not: what makes a photograph hard is hard for
    both. So these intervals are rather too wide.

    Args:
        rows: metrics by name.

    Returns:
        List of dicts: `method`, and for each error {"value": v, "low": l, "high": h}.
    """
    shown = {"chroma RMSE": "chroma_rmse", "LEARCH RMSE": "learch_rmse"}
    if not rows.get("gray", {}).keys() >= set(shown.values()):
        return []
    ratios = [
        {"method": name}
        | {
            f"{title}, share of gray's": _share(row[metric], rows["gray"][metric])
            for title, metric in shown.items()
        }
        for name, row in rows.items()
        if all(metric in row for metric in shown.values())
    ]
    return sorted(ratios, key=lambda ratio: ratio["chroma RMSE, share of gray's"]["value"])


def _share(part, whole):
    value = part["value"] / whole["value"]
    if part == whole:
        return {"value": value, "low": value, "high": value}
    # To first order, relative errors of a quotient add up as squares.
    half = value * math.hypot(
        *((score["high"] - score["low"]) / 2 / score["value"] for score in (part, whole))
    )
    return {"value": value, "low": value - half, "high": value + half}


# The paper's claims. A check returns our figures in words, and whether they bear the claim out:
# True, False, or None where they do not decide.


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of the paper that a run could bear out.

    Attributes:
        text: the claim, in short.
        needs: names of the results that decide it.
        check: function of `metrics` and those results, a list of `Result` for each name, to (our
            figures in words, verdict).
        metrics: that all of them must have.
        column: of `history.csv`, that all their runs must have; "" if the metrics will do.
    """

    text: str
    needs: tuple[str, ...]
    check: Callable
    metrics: tuple[str, ...] = ()
    column: str = ""


def _reaches(level):
    """Checks that one network is at or above a level in all of the metrics."""

    def check(metrics, group):
        row = join_seeds([result.metrics for result in group])
        figures = ", ".join(_figure(group, metric) for metric in metrics)
        reached = all(row[metric]["value"] >= level for metric in metrics)
        return figures, reached or (None if _training_done(group) < 1 else False)

    return check


def _is_first_better(metrics, first, second):
    """Checks that the first is better than the second; who had less training may yet win."""
    words = " against ".join(_figure(group, metrics[0]) for group in (first, second))
    better = is_better(first, second, metrics[0])
    winner, loser = (first, second) if better else (second, first)
    return words, better if _training_done(loser) >= _training_done(winner) else None


def _is_sooner(_, first, second):
    reached = [[_first(r.history, _is_past_paper_accuracy) for r in g] for g in (first, second)]
    words = " against ".join(", ".join(map(_cell, epochs)) for epochs in reached)
    means = [statistics.mean(e or math.inf for e in epochs) for epochs in reached]
    return words, None if min(means) == math.inf else means[0] < means[1]


def _is_between_one_and_two(_, multitask, color, mask):
    times = compare_times({"multitask": multitask, "color": color, "mask": mask})
    if times is None:
        return "they ran on different devices", None
    against_color = times["multitask, s an epoch"] / times["color, s an epoch"]
    words = f"{against_color:.2f} of color alone, {times['ratio']:.2f} of color and mask"
    return words, against_color > 1 and times["ratio"] < 1


def _cannot_be_checked(reason):
    return lambda _: (reason, None)


CLAIMS = (
    Claim(
        "The color network reaches an accuracy of 97.23 %.",
        ("paper_color",),
        _reaches(0.9723),
        ("argmax_accuracy",),
    ),
    Claim(
        "Baselines find it hard to pass 95 % accuracy.",
        ("gray",),
        lambda metrics, gray: (
            f"gray, which colors nothing: {_figure(gray, *metrics)}",
            gray[0].metrics[metrics[0]]["value"] <= PAPER_ACCURACY,
        ),
        ("argmax_accuracy",),
    ),
    Claim(
        "Its error is 0.19, that of Welsh et al. 0.35, of Deshpande et al. 0.25.",
        (),
        _cannot_be_checked("the first is not defined, the others are of other photographs"),
    ),
    Claim(
        "On the pets, in the space of Deshpande et al., it is better than Welsh et al.",
        ("paper_color", "welsh"),
        _is_first_better,
        ("learch_rmse",),
    ),
    Claim(
        "And better than Deshpande et al.",
        ("paper_color", "learch"),
        _is_first_better,
        ("learch_rmse",),
    ),
    Claim(
        "Trained on masks as well, it is more accurate (98 % against 97.23 %).",
        ("paper_multitask", "paper_color"),
        _is_first_better,
        ("argmax_accuracy",),
    ),
    Claim(
        "The same, in chroma RMSE, which looks at color.",
        ("paper_multitask", "paper_color"),
        _is_first_better,
        ("chroma_rmse",),
    ),
    Claim(
        "The same, with our recipe.",
        ("multitask", "color"),
        _is_first_better,
        ("chroma_rmse",),
    ),
    Claim(
        "Trained on masks as well, it passes 95 % accuracy sooner (in epoch 15 against 25).",
        ("paper_multitask", "paper_color"),
        _is_sooner,
        column="val_color_argmax_accuracy",
    ),
    Claim(
        "Its masks reach a mIoU of 74 %.",
        ("paper_multitask",),
        _reaches(0.74),
        ("miou",),
    ),
    Claim(
        "Its masks are better than the 65 % of Parkhi et al.",
        ("paper_multitask",),
        _reaches(0.65),
        ("foreground_iou", "foreground_iou_ignore_border"),
    ),
    Claim(
        "One network for both takes longer than one for color, but less than two.",
        ("multitask", "color", "mask"),
        _is_between_one_and_two,
        column="seconds",
    ),
    Claim(
        "It distinguishes grass and snow perfectly.",
        (),
        _cannot_be_checked("no label says where there is grass"),
    ),
)
VERDICTS = {True: "holds", False: "does not hold"}


def check_claims(by_name):
    """Holds the paper's claims against what was run on the paper's data.

    A run that has not had all the epochs of its preset cannot refute that a level is reached, nor
    that it beats what had more of its own: that stays undecided.

    Returns:
        A row for each of `CLAIMS`: `claim`, `ours` (our figures, or what is missing) and
        `verdict`: `"holds"`, `"does not hold"`, `"undecided"`, `"cannot be checked"` or
        `"not run yet"`.
    """
    rows = []
    for claim in CLAIMS:
        groups = [by_name.get(name, []) for name in claim.needs]
        missing = [
            name
            for name, group in zip(claim.needs, groups, strict=True)
            if not group
            or (claim.column and not _has_all(group, claim.column))
            or not all(result.metrics.keys() >= set(claim.metrics) for result in group)
            or _why_apart(group[0], PAPER_DATA)
        ]
        if missing:
            ours, verdict = f"missing: {', '.join(missing)}", "not run yet"
        else:
            ours, decided = claim.check(claim.metrics, *groups)
            open_verdict = "undecided" if claim.needs else "cannot be checked"
            verdict = VERDICTS.get(decided, open_verdict)
        rows.append({"claim": claim.text, "ours": ours, "verdict": verdict})
    return rows


def is_better(first, second, metric):
    """Tells whether one network is better than another by more than chance.

    With several seeds of both, Welch's t-test over the seeds must tell them apart at 5 % (they are
    scored on the same photographs, so that their choice is no part of the chance). With one seed of
    either, the intervals over photographs must not overlap, which is strict about the photographs
    and silent about seeds.

    Args:
        first, second: lists of `Result`, one a seed.
        metric: a name in `METRICS`.

    Returns:
        True, False, or None if it cannot be told.
    """
    groups = [[result.metrics[metric] for result in group] for group in (first, second)]
    values = [[score["value"] for score in group] for group in groups]
    gain = statistics.mean(values[0]) - statistics.mean(values[1])
    if METRICS[metric].better == "low":
        gain = -gain
    if min(map(len, values)) > 1:
        is_chance = not stats.ttest_ind(*values, equal_var=False).pvalue < 0.05
    else:
        halves = [[(score["high"] - score["low"]) / 2 for score in group] for group in groups]
        is_chance = abs(gain) <= sum(map(statistics.mean, halves))
    return None if is_chance else gain > 0


def to_table(rows):
    """Returns a Markdown table of dicts; lists are joined by commas, scores have intervals."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row[key]) if key in row else "" for key in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value):
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if value is None:
        return "never"
    if isinstance(value, dict):
        figures = {key: _cell(float(figure)) for key, figure in value.items()}
        return "{value} [{low}, {high}]".format(**figures)
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
    return str(value)


def _figure(group, metric):
    """Returns a metric of a network, and at which epoch, in words."""
    value = join_seeds([result.metrics for result in group])[metric]["value"]
    epochs = sorted({len(result.history) for result in group if result.history})
    return f"{value:.4f}" + (f" at epoch {', '.join(map(str, epochs))}" if epochs else "")


def _training_done(group):
    """Returns which share of its preset's epochs a network has had; 1 for what has no preset."""
    whole = _preset_epochs(group[0])
    return 1 if whole is None else min(1, min(len(result.history) for result in group) / whole)


def _preset_epochs(result):
    recipe = PRESETS.get(result.config.get("preset"))
    return recipe and recipe.epochs


def _first(history, reached):
    """Returns the first epoch that `reached` holds for, or None."""
    return next((int(row["epoch"]) for row in history if reached(row)), None)


def _is_past_paper_accuracy(row):
    return row["val_color_argmax_accuracy"] >= PAPER_ACCURACY


_TEXT_OF_PROTOCOL = (
    "The official test split at the size that each run was trained at, true luma kept. Brackets: "
    "95 % bootstrap intervals over the images, joined with the spread over seeds where there are "
    "several. ms: for one photograph, of all CPU cores together, or by the clock with a GPU."
)
_TEXT_OF_RATIOS = (
    "As shares of gray's, which other photographs' may be held against. Their intervals take the "
    "errors for independent, and are rather too wide."
)
_TEXT_OF_RECIPES = (
    "Short runs that change the base's recipe, scored on the validation split after their last "
    "epoch; one seed each, so that small differences say nothing."
)
_TEXT_OF_APART = (
    "Told more, mended afterwards, or scored on fewer photographs: not to be compared with the "
    "above."
)


def _read_result(folder):
    def read(name):
        path = folder / name
        return json.loads(path.read_text()) if path.exists() else {}

    config = read("config.json")
    config = complete(config) if config else {}
    return Result(
        name=re.sub(r"-seed\d+$", "", folder.name),
        metrics=read("metrics.json"),
        config=config,
        history=[
            _with_task_name(row, list(config.get("tasks", {}))) for row in read_history(folder)
        ],
        environment=read("environment.json"),
    )


def _with_task_name(row, tasks):
    """Names the columns of a network of one task like those of several: Keras leaves it out."""
    if len(tasks) != 1:
        return row
    whole = ("epoch", "seconds", "loss", "val_loss")
    return {
        key if key in whole else re.sub("^(val_)?", rf"\g<1>{tasks[0]}_", key): value
        for key, value in row.items()
    }


def _data_of(result):
    """Returns the data that a result is of, and their size."""
    known = {**result.environment, **result.config}
    return tuple(
        known.get(key, default)
        for key, default in zip(("data", "image_size"), PAPER_DATA, strict=True)
    )


def _why_apart(result, usual):
    """Returns what was other than usual when a method was scored, in words; "" if nothing."""
    environment, reasons = result.environment, []
    if (found := _data_of(result)) != usual:
        reasons.append("scored on {} at {} pixels".format(*found))
    if (split := environment.get("split", "test")) != "test":
        reasons.append(f"scored on the split {split}")
    if hints := environment.get("hints"):
        pixels = "pixel" if hints == 1 else "pixels"
        reasons.append(f"given the color of {hints} {pixels} of each photograph")
    settings = environment.get("settings", {}) if environment.get("kind") == "network" else {}
    if names := settings.get("networks"):
        reasons.append(f"the mean of {', '.join(names)}")
    if settings.get("mirror"):
        reasons.append("asked twice, once with the mirror image")
    if blur := settings.get("blur"):
        reasons.append(f"its chroma blurred by {blur:g} {'pixel' if blur == 1 else 'pixels'}")
    if environment.get("subset"):
        scored, total = environment["examples"]["scored"], environment["subset"]["of"]
        reasons.append(f"scored on {scored} of {total} photographs")
    return ", ".join(reasons)


def _check_recipe(group):
    """Raises a ValueError if runs of one name differ in more than the seed."""
    told = ("settings", "hints", "split", "subset")
    recipes = [
        without_path(result.config)
        | dict(zip(("data", "image_size"), _data_of(result), strict=True))
        | {key: result.environment.get(key) for key in told}
        | {"photographs": _photographs(result.environment)}
        for result in group
    ]
    for recipe in recipes[1:]:
        free = ("seed", *DERIVED)
        differing = [k for k in recipe if k not in free and recipe[k] != recipes[0].get(k)]
        if differing:
            raise ValueError(
                f"the runs {group[0].name}-seed... differ in {', '.join(differing)}, not in the "
                "seed alone, and cannot be joined; rename the folder of one"
            )


def _describe(group):
    environments = [result.environment for result in group]
    return {
        "run": group[0].name,
        "seeds": len(group),
        "photos": [_photographs(environment) for environment in environments],
        "epochs": [_tell_epochs(result) for result in group],
        "minutes": [_minutes(environment) for environment in environments],
        "device": sorted({", ".join(e.get("devices", [NOT_KNOWN])) for e in environments}),
        "changed": tell_departures(group[0].config),
    }


def _tell_epochs(result):
    whole = _preset_epochs(result)
    return f"{len(result.history)} of {whole}" if whole else f"{len(result.history)}"


def _photographs(environment):
    return environment.get("examples", {}).get("train", NOT_KNOWN)


def _minutes(environment):
    seconds = environment.get("training_seconds")
    return NOT_KNOWN if seconds is None else round(seconds / 60)


def _characterize(group):
    """Returns what a table says of a method besides its metrics."""
    environments = [result.environment for result in group]
    milliseconds = [1000 * t for t in map(_seconds_per_image, environments) if t is not None]
    is_trained = bool(group[0].config)
    is_network = is_trained or environments[0].get("kind") == "network"
    is_trivial = environments[0].get("method", group[0].name) in TRIVIAL
    return {
        "kind": "network" if is_network else "trivial" if is_trivial else "classic",
        "epochs": [len(result.history) for result in group] if is_trained else [],
        "hints": environments[0].get("hints", 0),
        "ms": statistics.mean(milliseconds) if milliseconds else None,
    }


def _seconds_per_image(environment):
    """Returns the time that a photograph took, None where that was not noted.

    On a CPU it is the cores' own, which what else the machine did does not inflate.
    """
    on_cpu = environment.get("devices") == ["cpu"]
    return environment.get("cpu_seconds_per_image" if on_cpu else "seconds_per_image")


def _describe_method(method):
    return {
        "kind": method["kind"],
        "epochs": _cell(method["epochs"]) or NOT_KNOWN,
        "ms": NOT_KNOWN if method["ms"] is None else _cell(method["ms"]),
    }


def _columns(history):
    return {key: [row[key] for row in history] for key in history[0]}


def _has(history, column):
    return bool(history) and column in history[0]


def _has_all(group, column):
    return all(_has(result.history, column) for result in group)
