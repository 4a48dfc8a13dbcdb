import json

import pytest

from colorseg import files, report


def metric(value, half=0.5):
    return {"value": value, "low": value - half, "high": value + half}


def write_run(root, preset, seed, *, chroma, accuracy=None, seconds=100.0, device="cpu", psnr=20.0):
    folder = root / f"{preset}-seed{seed}"
    folder.mkdir(parents=True)
    files.write_json(folder / "config.json", {"preset": preset, "seed": seed})
    metrics = {"psnr": metric(psnr), "learch_rmse": metric(0.3), "chroma_rmse": metric(chroma[-1])}
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(
        folder / "environment.json",
        {"epochs": len(chroma), "training_seconds": seconds, "devices": [device]},
    )
    lines = ["epoch,val_color_chroma_rmse" + (",val_color_argmax_accuracy" if accuracy else "")]
    for epoch, value in enumerate(chroma):
        extra = f",{accuracy[epoch]}" if accuracy else ""
        lines.append(f"{epoch + 1},{value}{extra}")
    files.write_text(folder / "history.csv", "\n".join(lines) + "\n")


@pytest.fixture
def results(tmp_path):
    write_run(
        tmp_path, "paper_color", 0, chroma=[0.09, 0.07, 0.06, 0.055], accuracy=[0.8, 0.9, 0.96, 0.9]
    )
    write_run(
        tmp_path, "paper_multitask", 0, chroma=[0.07, 0.06, 0.05], accuracy=[0.9, 0.955, 0.96]
    )
    (tmp_path / "gray").mkdir()
    gray = {"learch_rmse": metric(0.4), "chroma_rmse": metric(0.06), "psnr": metric(19.0)}
    files.write_json(tmp_path / "gray" / "metrics.json", gray)
    return tmp_path


def test_epochs_to_reach_names_the_first_epoch_at_a_level_that_all_reached(results):
    rows = {row["network"]: row for row in report.report(results)["epochs_to_reach"]}
    assert rows["paper_color"] == {
        "network": "paper_color",
        "chroma RMSE at most 0.0550": [4],
        "argmax accuracy at least 0.95": [3],
    }
    assert rows["paper_multitask"]["chroma RMSE at most 0.0550"] == [3]
    assert rows["paper_multitask"]["argmax accuracy at least 0.95"] == [2]


def test_seeds_are_joined_by_hand_computed_errors(tmp_path):
    for seed, psnr in enumerate((20.0, 22.0, 24.0)):
        write_run(tmp_path, "color", seed, chroma=[0.05], psnr=psnr)
    joined = report.report(tmp_path)["rows"]["color"]["psnr"]
    # Standard error over seeds: 2 / sqrt(3); half-width over images: 0.5.
    half = ((2 * 2 / 3**0.5) ** 2 + 0.5**2) ** 0.5
    assert joined == pytest.approx({"value": 22.0, "low": 22 - half, "high": 22 + half})


def test_time_of_one_network_against_two(tmp_path):
    for preset, seconds in (("multitask", 120.0), ("color", 110.0), ("mask", 90.0)):
        write_run(tmp_path, preset, 0, chroma=[0.05, 0.04], seconds=seconds)
    assert report.report(tmp_path)["times"]["ratio"] == pytest.approx(0.6)


def test_times_of_different_devices_are_not_compared(tmp_path):
    for preset, device in (("multitask", "gpu"), ("color", "cpu"), ("mask", "cpu")):
        write_run(tmp_path, preset, 0, chroma=[0.05], device=device)
    assert report.report(tmp_path)["times"] is None


def test_the_text_has_ours_and_the_quoted_apart_and_ratios_to_gray(results):
    text = report.write_report(results)
    ours, quoted = text.split("## Quoted")
    assert "97.23 %" in quoted
    assert "97.23 %" not in ours
    assert "| paper_color | 0.75 |" in ours  # 0.3 against gray's 0.4
    stored = json.loads((results / "report.json").read_text())
    assert stored["curves"]["paper_color"][0]["val_color_chroma_rmse"] == [0.09, 0.07, 0.06, 0.055]


def test_a_level_never_reached_is_said(tmp_path):
    write_run(tmp_path, "paper_color", 0, chroma=[0.07], accuracy=[0.5])
    assert "never" in report.write_report(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no results, that is, folders with a metrics\.j"):
        report.report(tmp_path)
