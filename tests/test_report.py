import dataclasses
import json

import numpy as np
import pytest

from colorseg import files, report
from colorseg.presets import PRESETS

METRICS = {
    "psnr": 20.0,
    "learch_rmse": 0.3,
    "argmax_accuracy": 0.98,
    "miou": 0.7,
    "foreground_iou": 0.8,
    "foreground_iou_ignore_border": 0.85,
}


def metric(value, half=0.5):
    return {"value": value, "low": value - half, "high": value + half}


def write_run(
    root,
    name,
    seed,
    *,
    chroma,
    accuracy=None,
    seconds=100.0,
    device="cpu",
    half=0.5,
    photographs=3322,
    **metrics,
):
    folder = root / f"{name}-seed{seed}"
    folder.mkdir(parents=True)
    files.write_json(folder / "config.json", {"seed": seed, "epochs": len(chroma)})
    values = {**METRICS, "chroma_rmse": chroma[-1], **metrics}
    files.write_json(
        folder / "metrics.json", {name: metric(value, half) for name, value in values.items()}
    )
    files.write_json(
        folder / "environment.json",
        {
            "epochs": len(chroma),
            "training_seconds": 1.0,
            "devices": [device],
            "examples": {"train": photographs},
        },
    )
    columns = {"epoch": range(1, len(chroma) + 1), "val_color_chroma_rmse": chroma}
    if name.startswith("paper"):
        columns["val_color_argmax_accuracy"] = accuracy or [0.9] * len(chroma)
    columns["seconds"] = [seconds + 50] + [seconds] * (len(chroma) - 1)
    lines = [",".join(columns)] + [
        ",".join(map(str, row)) for row in zip(*columns.values(), strict=True)
    ]
    files.write_text(folder / "history.csv", "\n".join(lines) + "\n")


def verdict(folder, start):
    """Returns our figures and the verdict of the one claim that starts so."""
    (claim,) = (c for c in report.report(folder)["claims"] if c["claim"].startswith(start))
    return claim["ours"], claim["verdict"]


@pytest.fixture
def results(tmp_path):
    write_run(
        tmp_path, "paper_color", 0, chroma=[0.09, 0.07, 0.06, 0.055], accuracy=[0.8, 0.9, 0.96, 0.9]
    )
    write_run(
        tmp_path, "paper_multitask", 0, chroma=[0.07, 0.06, 0.05], accuracy=[0.9, 0.955, 0.96]
    )
    (tmp_path / "gray").mkdir()
    gray = {"learch_rmse": 0.4, "chroma_rmse": 0.06, "psnr": 19.0, "argmax_accuracy": 0.99}
    gray = {name: metric(value) for name, value in gray.items()}
    files.write_json(tmp_path / "gray" / "metrics.json", gray)
    return tmp_path


def test_epochs_to_reach_names_the_first_epoch_at_a_level_that_all_reached(results):
    rows = {row["network"]: row for row in report.report(results)["epochs_to_reach"]}
    assert rows["paper_color"] == {
        "network": "paper_color",
        "photos": [3322],
        "chroma RMSE at most 0.0550": [4],
        "argmax accuracy at least 0.95": [3],
    }
    assert rows["paper_multitask"]["chroma RMSE at most 0.0550"] == [3]
    assert rows["paper_multitask"]["argmax accuracy at least 0.95"] == [2]


def test_a_network_of_another_loss_does_not_move_the_level(results):
    write_run(results, "zhang", 0, chroma=[0.09, 0.08])
    rows = report.report(results)["epochs_to_reach"]
    assert [row["network"] for row in rows] == ["paper_color", "paper_multitask"]
    assert "chroma RMSE at most 0.0550" in rows[0]


def test_a_network_of_one_task_has_the_columns_of_several(tmp_path):
    write_run(tmp_path, "color", 0, chroma=[0.05])
    folder = tmp_path / "color-seed0"
    files.write_json(folder / "config.json", {"seed": 0, "tasks": {"color": 1.0}})
    # As Keras names them when there is but one output.
    files.write_text(
        folder / "history.csv",
        "epoch,chroma_rmse,loss,val_chroma_rmse,val_loss,seconds\n1,0.07,0.3,0.06,0.2,9\n",
    )
    (curves,) = report.report(tmp_path)["curves"]["color"]
    assert curves == {
        "epoch": [1],
        "color_chroma_rmse": [0.07],
        "loss": [0.3],
        "val_color_chroma_rmse": [0.06],
        "val_loss": [0.2],
        "seconds": [9],
    }
    assert report.report(tmp_path)["epochs_to_reach"][0]["chroma RMSE at most 0.0600"] == [1]


def test_seeds_are_joined_by_hand_computed_errors(tmp_path):
    for seed, psnr in enumerate((20.0, 22.0, 24.0)):
        write_run(tmp_path, "color", seed, chroma=[0.05], psnr=psnr)
    joined = report.report(tmp_path)["rows"]["color"]["psnr"]
    # Standard error over seeds: 2 / sqrt(3), times Student's 4.303; half-width over images: 0.5.
    half = ((4.302653 * 2 / 3**0.5) ** 2 + 0.5**2) ** 0.5
    assert joined == pytest.approx({"value": 22.0, "low": 22 - half, "high": 22 + half})


def test_runs_of_another_recipe_are_not_joined(tmp_path):
    write_run(tmp_path, "color", 0, chroma=[0.05])
    write_run(tmp_path, "color", 1, chroma=[0.05, 0.04])
    with pytest.raises(ValueError, match=r"color-seed\.\.\. differ in epochs.*rename the folder"):
        report.report(tmp_path)


def test_a_run_is_named_by_its_folder(tmp_path):
    write_run(tmp_path, "multitask-mask0.3", 0, chroma=[0.05])
    write_run(tmp_path, "multitask", 0, chroma=[0.05, 0.04])
    assert list(report.report(tmp_path)["rows"]) == ["multitask-mask0.3", "multitask"]


def test_time_of_one_network_against_two_is_that_of_the_fastest_epochs(tmp_path):
    for preset, seconds in (("multitask", 120.0), ("color", 110.0), ("mask", 90.0)):
        write_run(tmp_path, preset, 0, chroma=[0.05, 0.04], seconds=seconds)
    assert report.report(tmp_path)["times"]["ratio"] == pytest.approx(0.6)
    ours, found = verdict(tmp_path, "One network for both")
    assert ours == "1.09 of color alone, 0.60 of color and mask"
    assert found == "holds"


def test_times_of_different_devices_are_not_compared(tmp_path):
    for preset, device in (("multitask", "gpu"), ("color", "cpu"), ("mask", "cpu")):
        write_run(tmp_path, preset, 0, chroma=[0.05], device=device)
    assert report.report(tmp_path)["times"] is None
    assert verdict(tmp_path, "One network for both")[1] == "undecided"


def test_the_text_has_ours_and_the_quoted_apart_and_ratios_to_gray(results):
    text = report.write_report(results)
    ours, quoted = text.split("## Quoted")
    assert "97.23 %" in quoted
    assert "97.23 %" not in ours
    assert "| paper_color | 0.917 [" in ours  # 0.055 against gray's 0.06
    stored = json.loads((results / "report.json").read_text())
    assert stored["curves"]["paper_color"][0]["val_color_chroma_rmse"] == [0.09, 0.07, 0.06, 0.055]


def test_a_level_never_reached_is_said(tmp_path):
    write_run(tmp_path, "paper_color", 0, chroma=[0.07], accuracy=[0.5])
    assert "never" in report.write_report(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no results, that is, folders with a metrics\.j"):
        report.report(tmp_path)


def test_ratios_are_sorted_and_need_gray(results, tmp_path):
    found = report.report(results)
    assert [row["method"] for row in found["ratios"]] == ["paper_multitask", "paper_color", "gray"]
    assert report.ratios_to_gray({"paper_color": found["rows"]["paper_color"]}) == []


def test_a_share_of_gray_has_the_interval_of_a_quotient():
    """Against drawn quotients: the share of two errors of a few percent each."""
    rows = {
        "gray": {name: metric(0.4, 0.02) for name in ("chroma_rmse", "learch_rmse")},
        "welsh": {name: metric(0.5, 0.04) for name in ("chroma_rmse", "learch_rmse")},
    }
    gray, welsh = (ratio["LEARCH RMSE, share of gray's"] for ratio in report.ratios_to_gray(rows))
    rng = np.random.default_rng(0)
    drawn = rng.normal(0.5, 0.04 / 1.96, 200_000) / rng.normal(0.4, 0.02 / 1.96, 200_000)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert welsh == pytest.approx({"value": 1.25, "low": low, "high": high}, abs=0.005)
    assert gray == {"value": 1, "low": 1, "high": 1}


def test_claims_without_runs_are_not_judged(tmp_path):
    write_run(tmp_path, "color", 0, chroma=[0.05])
    assert verdict(tmp_path, "Its masks reach") == ("missing: paper_multitask", "not run yet")
    assert verdict(tmp_path, "The same, with our") == ("missing: multitask", "not run yet")
    assert verdict(tmp_path, "Its error is 0.19")[1] == "cannot be checked"


def test_a_claim_is_held_against_what_gray_scores(results):
    ours, found = verdict(results, "Baselines")
    assert ours == "gray, which colors nothing: 0.9900"
    assert found == "does not hold"


@pytest.mark.parametrize(
    ("accuracy", "miou", "expected"),
    [(0.98, 0.75, ("holds", "holds")), (0.96, 0.73, ("does not hold", "does not hold"))],
)
def test_a_level_is_reached_or_not(tmp_path, accuracy, miou, expected):
    write_run(tmp_path, "paper_color", 0, chroma=[0.05, 0.04], argmax_accuracy=accuracy)
    write_run(tmp_path, "paper_multitask", 0, chroma=[0.05], miou=miou)
    ours, found = verdict(tmp_path, "The color network reaches")
    assert (found, verdict(tmp_path, "Its masks reach")[1]) == expected
    assert ours == f"{accuracy:.4f} at epoch 2"


def write_preset(root, name, epochs, **metrics):
    """Writes a run of so many of its preset's epochs."""
    write_run(root, name, 0, chroma=[0.05] * epochs, half=0.001, **metrics)
    config = dataclasses.asdict(PRESETS[name]) | {"preset": name, "epochs": epochs}
    files.write_json(root / f"{name}-seed0" / "config.json", config)


@pytest.mark.parametrize(
    ("epochs", "miou", "expected"),
    [(150, 0.73, "does not hold"), (149, 0.73, "undecided"), (149, 0.75, "holds")],
)
def test_a_short_run_cannot_refute_that_a_level_is_reached(tmp_path, epochs, miou, expected):
    write_preset(tmp_path, "paper_multitask", epochs, miou=miou)
    assert verdict(tmp_path, "Its masks reach")[1] == expected
    run = report.report(tmp_path)["runs"]["paper_multitask"]
    assert run["epochs"] == [f"{epochs} of 150"]


@pytest.mark.parametrize(
    ("multitask", "color", "expected"),
    [
        ((150, 0.97), (150, 0.98), "does not hold"),
        ((25, 0.97), (25, 0.98), "does not hold"),  # a fair match
        ((25, 0.97), (150, 0.98), "undecided"),
        ((25, 0.98), (150, 0.97), "holds"),
        ((150, 0.98), (25, 0.97), "undecided"),
        ((150, 0.97), (25, 0.98), "does not hold"),
    ],
)
def test_who_had_less_training_may_yet_win(tmp_path, multitask, color, expected):
    for name, (epochs, accuracy) in (("paper_multitask", multitask), ("paper_color", color)):
        write_preset(tmp_path, name, epochs, argmax_accuracy=accuracy)
    assert verdict(tmp_path, "Trained on masks as well, it is more")[1] == expected


def test_a_short_run_loses_to_no_classic_method(tmp_path):
    write_preset(tmp_path, "paper_color", 25, learch_rmse=0.4)
    for name, error in (("welsh", 0.5), ("learch", 0.3)):
        write_method(tmp_path / name, {"learch_rmse": metric(error, 0.001)})
    assert verdict(tmp_path, "On the pets, in the space")[1] == "holds"
    assert verdict(tmp_path, "And better than Deshpande")[1] == "undecided"


def test_claims_are_of_the_pets_as_the_paper_had_them(tmp_path):
    write_preset(tmp_path, "paper_multitask", 150, miou=0.75)
    path = tmp_path / "paper_multitask-seed0" / "config.json"
    config = json.loads(path.read_text())
    for changed in ({"data": "toy_pets"}, {"image_size": 256}):
        files.write_json(path, config | changed)
        assert report.report(tmp_path)["apart"] == {}  # like all others here
        assert verdict(tmp_path, "Its masks reach") == ("missing: paper_multitask", "not run yet")


def test_records_that_lack_what_a_claim_needs_are_missing(results):
    path = results / "paper_multitask-seed0" / "metrics.json"
    without = {k: v for k, v in json.loads(path.read_text()).items() if "iou" not in k}
    files.write_json(path, without)
    files.write_json(results / "gray" / "metrics.json", {"miou": metric(0.2)})
    (results / "paper_color-seed0" / "environment.json").unlink()
    found = report.report(results)
    assert verdict(results, "Its masks reach") == ("missing: paper_multitask", "not run yet")
    assert verdict(results, "Baselines") == ("missing: gray", "not run yet")
    assert found["runs"]["paper_color"]["epochs"] == ["4"]
    assert found["runs"]["paper_multitask"]["photos"] == [3322]
    unknown = report.NOT_KNOWN
    row = f"| paper_color | 1 | {unknown} | 4 | {unknown} |"
    assert row in report.to_text(found)


def test_methods_told_differently_are_not_joined(tmp_path):
    for seed, hints in ((0, 1), (1, 100)):
        write_method(tmp_path / f"levin-seed{seed}", {"psnr": metric(20.0)}, hints=hints)
    with pytest.raises(ValueError, match="differ in hints"):
        report.report(tmp_path)


def test_runs_that_learned_from_other_photographs_are_not_joined(tmp_path):
    for seed, photographs in ((0, 3317), (1, 3322)):
        write_run(tmp_path, "color", seed, chroma=[0.05], photographs=photographs)
    with pytest.raises(ValueError, match="differ in photographs"):
        report.report(tmp_path)


def test_networks_that_never_get_there_do_not_decide_who_is_sooner(tmp_path):
    for name in ("paper_multitask", "paper_color"):
        write_run(tmp_path, name, 0, chroma=[0.05, 0.05], accuracy=[0.9, 0.94])
    expected = ("never against never", "undecided")
    assert verdict(tmp_path, "Trained on masks as well, it passes") == expected


def test_masks_must_pass_with_the_border_and_without(tmp_path):
    both = {"foreground_iou": 0.7, "foreground_iou_ignore_border": 0.6}
    write_run(tmp_path, "paper_multitask", 0, chroma=[0.05], **both)
    assert verdict(tmp_path, "Its masks are better")[1] == "does not hold"


@pytest.mark.parametrize(
    ("multitask", "color", "expected"),
    [
        ([0.050], [0.053], "holds"),  # half-widths 0.001 each: apart
        ([0.053], [0.050], "does not hold"),
        ([0.050], [0.0515], "undecided"),  # they overlap
        # Standard error over seeds of the difference: 0.00014; times Student's 4.303, 0.0006.
        ([0.0499, 0.0501], [0.0507, 0.0509], "holds"),
        ([0.0499, 0.0501], [0.0504, 0.0506], "undecided"),
    ],
)
def test_one_network_is_better_by_more_than_chance(tmp_path, multitask, color, expected):
    for name, values in (("multitask", multitask), ("color", color)):
        for seed, value in enumerate(values):
            write_run(tmp_path, name, seed, chroma=[value], half=0.001)
    assert verdict(tmp_path, "The same, with our")[1] == expected


def test_more_accuracy_is_better_and_less_error(tmp_path):
    write_run(tmp_path, "paper_multitask", 0, chroma=[0.9], half=0.001, argmax_accuracy=0.98)
    write_run(tmp_path, "paper_color", 0, chroma=[0.1], half=0.001, argmax_accuracy=0.97)
    assert verdict(tmp_path, "Trained on masks as well, it is more")[1] == "holds"
    assert verdict(tmp_path, "The same, in chroma RMSE")[1] == "does not hold"


def test_a_network_that_never_gets_there_is_not_sooner(tmp_path):
    write_run(tmp_path, "paper_multitask", 0, chroma=[0.05, 0.05], accuracy=[0.9, 0.94])
    write_run(tmp_path, "paper_color", 0, chroma=[0.05, 0.05], accuracy=[0.9, 0.96])
    ours, found = verdict(tmp_path, "Trained on masks as well, it passes")
    assert ours == "never against 2"
    assert found == "does not hold"


def write_method(folder, metrics, **environment):
    folder.mkdir()
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "environment.json", environment)


def test_methods_that_were_told_more_or_scored_on_less_stand_apart(results):
    gray = json.loads((results / "gray" / "metrics.json").read_text())
    write_method(results / "validated", gray, split="validation")
    write_method(results / "soft", gray, split="test", kind="network", settings={"blur": 1.0})
    mean = {"networks": ["color", "multitask"], "mirror": True}
    write_method(results / "both", gray, kind="network", settings=mean)
    write_method(results / "threshold", gray, settings={"blur": 2.0})  # of the luma, its own
    write_method(results / "toys", gray, data="toy_pets", image_size=128)
    write_method(results / "large", gray, data="oxford_iiit_pet", image_size=256)
    write_method(results / "levin_hints10", gray, hints=10, subset=None)
    write_method(results / "levin_hints1", gray, hints=1, subset=None)
    fewer = {"subset": {"of": 3669, "seed": 0}, "examples": {"scored": 200}}
    write_method(results / "welsh", gray, hints=0, **fewer)
    found = report.report(results)
    assert found["apart"] == {
        "both": "the mean of color, multitask, asked twice, once with the mirror image",
        "large": "scored on oxford_iiit_pet at 256 pixels",
        "levin_hints1": "given the color of 1 pixel of each photograph",
        "levin_hints10": "given the color of 10 pixels of each photograph",
        "soft": "its chroma blurred by 1 pixel",
        "toys": "scored on toy_pets at 128 pixels",
        "validated": "scored on the split validation",
        "welsh": "scored on 200 of 3669 photographs",
    }
    assert not found["apart"].keys() & {row["method"] for row in found["ratios"]}
    assert report.sort_methods(found, "psnr", apart=True) == [
        "large",
        "toys",
        "validated",
        "welsh",
        "levin_hints1",
        "levin_hints10",
        "both",
        "soft",
    ]
    alike, apart = report.to_text(found).split("## Apart")
    assert "| welsh |" not in alike
    assert "| welsh |" in apart
    assert "- welsh: scored on 200 of 3669 photographs" in apart
    assert verdict(results, "On the pets")[1] == "not run yet"


def test_methods_are_sorted_by_kind_and_then_from_the_best(results):
    gray = json.loads((results / "gray" / "metrics.json").read_text())
    for name, error, psnr in (("nearest", 0.07, 21.0), ("learch", 0.01, 30.0), ("welsh", 0.9, 10)):
        changed = {"chroma_rmse": metric(error), "psnr": metric(psnr)}
        write_method(results / name, {**gray, **changed}, method=name)
    write_method(results / "mean_mask", {"miou": metric(0.3)}, method="mean_mask")
    found = report.report(results)
    kinds = {name: method["kind"] for name, method in found["methods"].items()}
    assert {name for name, kind in kinds.items() if kind == "trivial"} == {
        "gray",
        "nearest",
        "mean_mask",
    }
    expected = ["gray", "nearest", "learch", "welsh", "paper_multitask", "paper_color"]
    assert report.sort_methods(found, "chroma_rmse") == expected
    # The networks have the same PSNR here, and keep the order of their names.
    expected = ["nearest", "gray", "learch", "welsh", "paper_color", "paper_multitask"]
    assert report.sort_methods(found, "psnr") == expected
    assert report.sort_methods(found, "miou") == ["mean_mask", "paper_color", "paper_multitask"]


def test_a_table_tells_epochs_and_time_where_they_are_known(results):
    gray = json.loads((results / "gray" / "metrics.json").read_text())
    times = {"seconds_per_image": 0.5, "cpu_seconds_per_image": 0.25}
    write_method(results / "welsh", gray, devices=["cpu"], **times)
    write_method(results / "learch", gray, devices=["H200"], **times)
    table = report.tabulate(report.report(results), ["psnr"]).splitlines()
    assert table[0] == "| method | kind | epochs | ms | psnr ↑ |"
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:4] for line in table[2:]}
    none = report.NOT_KNOWN
    assert cells == {
        "gray": ["trivial", none, none],
        "welsh": ["classic", none, "250"],  # what the cores spent
        "learch": ["classic", none, "500"],  # by the clock, where a GPU took part
        "paper_color": ["network", "4", none],
        "paper_multitask": ["network", "3", none],
    }


def test_an_older_run_has_the_defaults_of_what_it_does_not_say(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, "color", seed, chroma=[0.05])
    folder = tmp_path / "color-seed1"
    files.write_json(folder / "config.json", {"seed": 1, "epochs": 1, "color_stride": 1})
    assert "color" in report.report(tmp_path)["rows"]
    files.write_json(folder / "config.json", {"seed": 1, "epochs": 1, "color_stride": 2})
    with pytest.raises(ValueError, match="differ in color_stride"):
        report.report(tmp_path)


def test_runs_tell_how_they_depart_from_their_preset(tmp_path):
    write_run(tmp_path, "mine", 0, chroma=[0.05])
    presets = {"color": {}, "mask": {"precision": "mixed_bfloat16", "seed": 3, "epochs": 9}}
    for name, changes in presets.items():
        write_run(tmp_path, name, 0, chroma=[0.05])
        config = dataclasses.asdict(PRESETS[name]) | {"preset": name} | changes
        files.write_json(tmp_path / f"{name}-seed0" / "config.json", config)
    runs = report.report(tmp_path)["runs"]
    assert {name: run["changed"] for name, run in runs.items()} == {
        "mine": "not a preset",
        "color": "nothing",
        "mask": "precision=mixed_bfloat16",
    }


def test_records_without_history_or_a_column_decide_what_they_can(results):
    write_run(results, "multitask", 0, chroma=[0.05])
    for name in ("color", "mask"):
        write_run(results, name, 0, chroma=[0.05])
        (results / f"{name}-seed0" / "history.csv").unlink()
    history = results / "paper_color-seed0" / "history.csv"
    files.write_text(history, history.read_text().replace("argmax_accuracy", "other"))
    found = report.report(results)
    assert found["times"] is None
    assert verdict(results, "One network for both") == ("missing: color, mask", "not run yet")
    sooner = "Trained on masks as well, it passes"
    assert verdict(results, sooner) == ("missing: paper_color", "not run yet")
    assert verdict(results, "The same, with our recipe")[1] != "not run yet"


def test_seeds_are_joined_in_what_all_of_them_have():
    both, one = {"psnr": metric(21.0), "miou": metric(0.5)}, {"psnr": metric(23.0)}
    assert list(report.join_seeds([both, one])) == ["psnr"]


def test_recipes_are_told_apart_by_what_they_change(tmp_path):
    write_run(tmp_path, "color", 0, chroma=[0.05])
    ablations = tmp_path / "ablations" / "first"
    ablations.mkdir(parents=True)
    with_base = {"preset": "multitask", "tasks": {"color": 1.0, "mask": 0.1}}
    runs = {
        "base": ({}, [0.06, 0.056], [9.0, 8.0]),
        "tuned": ({"learning_rate": 3e-4}, [0.07, 0.055], [9.0, 7.0]),
        "even": ({"tasks": {"color": 1.0, "mask": 1.0}, "freeze": "encoder"}, [0.057], [6.0]),
        "other": ({"tasks": {"color": 1.0, "breed": 0.1}}, [0.058], [1234.6]),
    }
    for name, (changes, chroma, seconds) in runs.items():
        write_run(ablations, name, 0, chroma=chroma)
        folder = ablations / f"{name}-seed0"
        files.write_json(folder / "config.json", with_base | changes)
        rows = ["epoch,val_color_chroma_rmse,val_mask_miou,seconds"]
        rows += [
            f"{i + 1},{c},0.7,{s}" for i, (c, s) in enumerate(zip(chroma, seconds, strict=True))
        ]
        files.write_text(folder / "history.csv", "\n".join(rows) + "\n")
    write_run(ablations.parent / "second", "base", 0, chroma=[0.04])
    files.write_json(ablations.parent / "second" / "base-seed0" / "config.json", with_base)
    found = report.report(tmp_path)
    assert list(found["rows"]) == ["color"]  # not those of the ablations
    assert {name: len(rows) for name, rows in found["recipes"].items()} == {"first": 4, "second": 1}
    recipes = found["recipes"]["first"]
    assert [(row["changed"], row["epochs"]) for row in recipes] == [
        ("nothing", 2),
        ("learning_rate=0.0003", 2),
        ("tasks.mask=1.0, freeze=encoder", 1),
        ("tasks.mask=none, tasks.breed=0.1", 1),
    ]
    assert recipes[1] == {
        "changed": "learning_rate=0.0003",
        "epochs": 2,
        "chroma RMSE": 0.055,
        "mIoU": 0.7,
        "s an epoch": 7.0,
    }
    text = report.to_text(found)
    assert "| learning_rate=0.0003 | 2 | 0.0550 | 0.700 | 7.00 |" in text
    assert "| tasks.mask=none, tasks.breed=0.1 | 1 | 0.0580 | 0.700 | 1235 |" in text


def test_ablations_without_a_base_are_refused(tmp_path):
    write_run(tmp_path, "color", 0, chroma=[0.05])
    (tmp_path / "ablations" / "first").mkdir(parents=True)
    write_run(tmp_path / "ablations" / "first", "frozen", 0, chroma=[0.05])
    with pytest.raises(ValueError, match="first has no run base-seed<N>"):
        report.report(tmp_path)
