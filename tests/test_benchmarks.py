import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import groups, race
from colorseg.model import load_pretrained

ROOT = Path(__file__).parents[1]


def test_contestants_run_in_turns_after_an_unmeasured_time():
    order = []
    seconds = race.race(
        {name: lambda name=name: order.append(name) for name in "abc"}, repetitions=2
    )
    assert "".join(order) == "abc" + "abc" + "bca"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2, "c": 2}
    order.clear()
    race.race({"a": lambda: order.append("a")}, repetitions=3, warm=True)
    assert order == ["a"] * 3


def test_ratios_are_taken_repetition_by_repetition():
    seconds = {"ours": [1.0, 2.0, 4.0], "theirs": [10.0, 10.0, 10.0]}
    assert race.times_as_fast(seconds, "ours", "theirs") == [10.0, 5.0, 2.5]
    assert race.each([0.5, 0.1, 0.2], count=4) == "50.0 ms"
    assert race.each([3.0]) == "3.00 s"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"values": [30.0, 10.0, 20.0], "aim": 20},
            "| what | ours | peer | 20 [10, 30] x | at least 20 x | met |",
        ),
        (
            {"values": [19.0], "aim": 20, "note": "why"},
            "| what | ours | peer | 19 x | at least 20 x | **missed**; why |",
        ),
        (
            {"values": [2.6], "unit": "GB", "aim": 2.5, "at_least": False},
            "| what | ours | peer | 2.6 GB | at most 2.5 GB | **missed** |",
        ),
        ({"values": [3.0]}, "| what | ours | peer | 3 x |  |  |"),
    ],
    ids=["met", "missed", "at most", "no aim"],
)
def test_a_line_of_the_table(options, line):
    assert command._line(race.Row("what", "ours", "peer", **options)) == line


def test_memory_is_that_of_this_process():
    if race.peak_gigabytes() is None:
        pytest.skip("only Linux tells")
    before = race.peak_gigabytes()
    assert 0.01 < before < 100
    held = np.ones(int(before * 1e9) // 8 + 25_000_000)  # touched, so that it is there
    assert race.peak_gigabytes() > before + 0.15
    del held


def record(folder, name, *, decoder, miou, chroma, **config):
    (folder / name).mkdir()
    config = {"decoder": decoder, "color_stride": 2, "preset": "p", "epochs": 3, **config}
    (folder / name / "config.json").write_text(json.dumps(config))
    scores = {"miou": {"value": miou}, "chroma_rmse": {"value": chroma}}
    (folder / name / "metrics.json").write_text(json.dumps(scores))


def test_what_the_light_decoder_loses_is_read_from_runs_that_differ_in_nothing_else(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(groups, "RESULTS", tmp_path)
    record(tmp_path, "a", decoder="paper", miou=0.75, chroma=0.05, color_stride=1)
    record(tmp_path, "b", decoder="separable", miou=0.74, chroma=0.052)
    record(tmp_path, "c", decoder="convolution", miou=0.9, chroma=0.01, epochs=4)
    miou, chroma = groups._decoder_records()
    assert (miou.ours, miou.peer) == ("b", "a (decoder paper)")
    assert miou.value == pytest.approx(0.01)
    assert chroma.value == pytest.approx(4.0)
    assert chroma.is_met is False


def test_a_picture_can_be_drawn_in_any_size():
    drawn = groups.picture(30, 50)
    assert (drawn.shape, drawn.dtype) == ((30, 50, 3), np.uint8)
    assert drawn.std() > 20


def test_the_peers_in_pytorch_are_built_as_the_papers_say():
    torch = pytest.importorskip("torch", reason="the peers of the benchmarks need PyTorch")
    from benchmarks import torch_peers  # noqa: PLC0415

    network = load_pretrained()
    ours = torch_peers.OurNetwork(network.config.color_stride).eval()
    groups._check_same_size(network, ours)
    with torch.inference_mode():
        color, mask = ours(torch.zeros(1, 3, 64, 96))
        assert mask.shape == (1, 3, 64, 96)
        assert color.shape[2] == 64 // network.config.color_stride
        for build in (torch_peers.Zhang2016, torch_peers.Zhang2017):
            assert build().eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 2, 64, 64)
    with pytest.raises(RuntimeError, match="write it anew, or measure nothing"):
        groups._check_same_size(network, torch_peers.OurNetwork(3 - network.config.color_stride))


def test_the_command_measures_and_writes_the_page(tmp_path):
    arguments = ["--tiny", "--repetitions", "2", "--only", "large", "--out", str(tmp_path)]
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    page = (tmp_path / "README.md").read_text()
    assert page.strip() == process.stdout.strip()
    assert "these figures mean nothing" in page
    assert page.count("decode and encode (") == 2
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["groups"]["large"]["rows"][0]["values"]) == 2
    assert results["machine"]["cpu_count"] == os.cpu_count()


def test_a_group_measured_anew_replaces_its_own_rows_only():
    def measured(value, *names):
        rows = {name: [dataclasses.asdict(race.Row(name, "a", "b", [value]))] for name in names}
        return {
            "finished": f"day {value}",
            "git_commit": f"c{value}",
            "tiny": False,
            "repetitions": 1,
            "machine": race.describe_machine(),
            "figures": {name: value for name in names},
            "groups": {name: {"rows": rows[name]} for name in names},
        }

    joined = command.join(measured(1, "start", "floor"), measured(2, "floor"))
    values = {name: group["rows"][0]["values"] for name, group in joined["groups"].items()}
    assert values == {"start": [1], "floor": [2]}
    assert joined["figures"] == {"start": 1, "floor": 2}
    page = command.to_markdown(joined)
    assert "Measured day 1 at commit c1" in page
    assert "The group `floor` was measured day 2 at commit c2" in page


def test_tiny_figures_do_not_join_real_ones(tmp_path, capsys):
    (tmp_path / "results.json").write_text('{"tiny": false}')
    with pytest.raises(SystemExit):
        command.main(["--tiny", "--only", "large", "--out", str(tmp_path)])
    assert "tiny figures are not joined with real ones" in capsys.readouterr().err
    assert (tmp_path / "results.json").read_text() == '{"tiny": false}'


@pytest.mark.parametrize("name", ["decoders", "floor"])
def test_groups_without_peers_measure_something(name):
    outcome = groups.run(name, groups.Settings(repetitions=1, tiny=True))
    assert outcome["rows"]
    for row in outcome["rows"]:
        assert row["values"], row["name"]
        assert np.isfinite(row["values"]).all(), row["name"]


def test_what_cannot_run_here_is_said(monkeypatch):
    monkeypatch.setattr(groups.importlib.util, "find_spec", lambda name: None)
    outcome = groups.run("photograph", groups.Settings(tiny=True))
    assert outcome["rows"] == []
    assert "needs PyTorch: pip install 'colorseg[benchmarks]'" in outcome["skipped"]
    page = command.to_markdown(
        {
            "finished": "now",
            "git_commit": "abc",
            "tiny": False,
            "repetitions": 1,
            "machine": {**race.describe_machine(), "load_before": None},  # as on Windows
            "figures": {},
            "groups": {"photograph": outcome, "large": {"rows": [], "failed": "no memory"}},
        }
    )
    assert "| photograph | | | skipped | | needs PyTorch" in page
    assert "| large | | | failed | | no memory |" in page
