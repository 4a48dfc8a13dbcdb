"""Tables computed from run folders: what the paper printed, repeated, under stated definitions.

A results folder holds one folder a run, named `<preset>-seed<N>`, or a method's name for what is
not trained. Each has at least `metrics.json`; runs have `config.json`, `history.csv` and
`environment.json`, too.
"""

import dataclasses
import json
import math
from pathlib import Path

from colorseg import files
from colorseg.evaluate import to_markdown
from colorseg.training import read_history

COLOR_COLUMNS = (
    "chroma_rmse",
    "psnr",
    "ssim",
    "delta_e",
    "learch_rmse",
    "colorfulness_difference",
    "argmax_accuracy",
)
MASK_COLUMNS = ("miou", "foreground_iou", "foreground_iou_ignore_border", "pixel_accuracy")
PAPER_ACCURACY = 0.95

# What others printed, in their own words and units, on their own photographs: not ours to compare.
QUOTED = """
| source | figure | value | what it is |
|---|---|---|---|
| Dabholkar, Table 1 | Welsh et al. | 0.35 | error of SUN scenes, as Deshpande et al. measured it |
| Dabholkar, Table 1 | Deshpande, scene independent | 0.28 | the same |
| Dabholkar, Table 1 | Deshpande, scene dependent, histogram | 0.25 | the same |
| Dabholkar, Table 1 | the paper's | 0.19 | an error it does not define, on pets |
| Dabholkar, 3.2 | accuracy, color alone | 97.23 % | argmax over Y, U, V; validation |
| Dabholkar, 3.2 | accuracy, multitask | 98 % | the same |
| Dabholkar, 3.2 | epochs to 95 % | 15, 25 | multitask, color alone |
| Dabholkar, Table 2 | all foreground | 45 % | foreground IoU of Parkhi et al. |
| Dabholkar, Table 2 | Parkhi et al.; Cats and Dogs | 61 %, 65 % | the same |
| Dabholkar, Table 2 | the paper's | 74 % | probably the mean over three classes |
"""


@dataclasses.dataclass(frozen=True)
class Result:
    """One folder of results.

    Attributes:
        name: what its rows are called, the preset or the method.
        metrics: of the test split, as `evaluate` returns them.
        history: rows of `history.csv`; empty for what is not trained.
        environment: of `environment.json`; empty likewise.
    """

    name: str
    metrics: dict
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
        Dict, ready for JSON: `rows` (metrics by name, seeds joined), `curves` (per name and seed,
        the columns of the history), `epochs_to_reach`, `times`.

    Raises:
        ValueError: as `read_results`.
    """
    results = read_results(folder)
    names = dict.fromkeys(result.name for result in results)
    by_name = {name: [r for r in results if r.name == name] for name in names}
    return {
        "rows": {name: join_seeds([r.metrics for r in group]) for name, group in by_name.items()},
        "runs": {name: _describe(group) for name, group in by_name.items() if group[0].history},
        "curves": {
            name: [_columns(r.history) for r in group]
            for name, group in by_name.items()
            if group[0].history
        },
        "epochs_to_reach": epochs_to_reach(by_name),
        "times": compare_times(by_name),
    }


def to_text(found):
    """Returns the Markdown of what `report` computed."""
    rows = found["rows"]
    color = {name: row for name, row in rows.items() if "chroma_rmse" in row}
    masks = {name: row for name, row in rows.items() if "miou" in row}
    parts = ["# Results", _TEXT_OF_PROTOCOL]
    if found["runs"]:
        parts += ["## Runs", _table(found["runs"].values())]
    if color:
        parts += ["## Color (the paper's Table 1)", to_markdown(color, metrics=COLOR_COLUMNS)]
        if "gray" in color:
            parts += ["Ratio to gray in the LEARCH space:", _table(_learch_ratios(color))]
    if masks:
        parts += ["## Masks (the paper's Table 2)", to_markdown(masks, metrics=MASK_COLUMNS)]
    if found["epochs_to_reach"]:
        parts += ["## Epochs to reach", _table(found["epochs_to_reach"])]
    if found["times"]:
        parts += ["## One network or two", _table([found["times"]])]
    parts += ["## Quoted", QUOTED.strip()]
    return "\n\n".join(parts) + "\n"


def write_report(folder):
    """Writes `report.json` into a results folder and returns the Markdown."""
    found = report(folder)
    files.write_json(Path(folder) / "report.json", found)
    return to_text(found)


def join_seeds(metrics):
    """Joins the metrics of runs that differ in their seed.

    The value is the mean. The interval's half-width joins, as independent errors, the runs' mean
    half-width over images and twice the standard error over seeds; one run keeps its own.

    Args:
        metrics: list of what `evaluate` returned.
    """
    if len(metrics) == 1:
        return metrics[0]
    joined = {}
    for name in metrics[0]:
        values = [row[name]["value"] for row in metrics]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        over_seeds = 2 * math.sqrt(variance / len(values))
        over_images = sum(row[name]["high"] - row[name]["low"] for row in metrics) / len(values) / 2
        half = math.hypot(over_seeds, over_images)
        joined[name] = {"value": mean, "low": mean - half, "high": mean + half}
    return joined


def epochs_to_reach(by_name):
    """Returns when validation first reached a level: a row for each network that colors.

    The paper's level is an argmax accuracy of 0.95. Since a gray image is above it, there is a
    second: the lowest chroma RMSE that every compared run reached.
    """
    colored = {
        name: [r.history for r in group if _has(r.history, "val_color_chroma_rmse")]
        for name, group in by_name.items()
    }
    colored = {name: histories for name, histories in colored.items() if histories}
    if not colored:
        return []
    bests = [
        min(row["val_color_chroma_rmse"] for row in history)
        for histories in colored.values()
        for history in histories
    ]
    level = max(bests)

    def first(history, reached):
        return next((int(row["epoch"]) for row in history if reached(row)), None)

    rows = []
    for name, histories in colored.items():
        row = {
            "network": name,
            f"chroma RMSE at most {level:.4f}": [
                first(history, lambda row: row["val_color_chroma_rmse"] <= level)
                for history in histories
            ],
        }
        if all(_has(history, "val_color_argmax_accuracy") for history in histories):
            row[f"argmax accuracy at least {PAPER_ACCURACY}"] = [
                first(history, lambda row: row["val_color_argmax_accuracy"] >= PAPER_ACCURACY)
                for history in histories
            ]
        rows.append(row)
    return rows


def compare_times(by_name):
    """Returns the time an epoch of `multitask` takes against `color` and `mask` together.

    None where one of the three is missing, or they ran on different devices.
    """
    groups = [by_name.get(name, []) for name in ("multitask", "color", "mask")]
    runs = [run for group in groups for run in group if run.environment]
    devices = {tuple(run.environment["devices"]) for run in runs}
    if not all(groups) or len(devices) != 1:
        return None
    multitask, color, mask = (
        sum(run.environment["training_seconds"] / run.environment["epochs"] for run in group)
        / len(group)
        for group in groups
    )
    return {
        "multitask, s an epoch": multitask,
        "color, s an epoch": color,
        "mask, s an epoch": mask,
        "ratio": multitask / (color + mask),
        "device": ", ".join(devices.pop()),
    }


_TEXT_OF_PROTOCOL = (
    "The official test split at the size that each run was trained at, true luma kept. Brackets: "
    "95 % bootstrap intervals over the images, joined with the spread over seeds where there are "
    "several."
)


def _read_result(folder):
    def read(name):
        path = folder / name
        return json.loads(path.read_text()) if path.exists() else {}

    name = read("config.json").get("preset") or folder.name
    return Result(name, read("metrics.json"), read_history(folder), read("environment.json"))


def _describe(group):
    environments = [result.environment for result in group]
    return {
        "run": group[0].name,
        "seeds": len(group),
        "epochs": [environment["epochs"] for environment in environments],
        "minutes": [round(e["training_seconds"] / 60) for e in environments],
        "device": sorted({", ".join(e["devices"]) for e in environments}),
    }


def _columns(history):
    return {key: [row[key] for row in history] for key in history[0]}


def _has(history, column):
    return bool(history) and column in history[0]


def _learch_ratios(rows):
    gray = rows["gray"]["learch_rmse"]["value"]
    return [
        {"method": name, "ratio": row["learch_rmse"]["value"] / gray} for name, row in rows.items()
    ]


def _table(rows):
    """Returns a Markdown table of dicts; lists are joined by commas."""

    def cell(value):
        if isinstance(value, list):
            return ", ".join(map(cell, value))
        if value is None:
            return "never"
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[cell(row[key]) if key in row else "" for key in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
