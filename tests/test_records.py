import json
import time

import numpy as np
import pytest

from colorseg import machine, records, report
from colorseg.baselines import ConstantChroma, Gray, Levin
from colorseg.evaluation import evaluate


@pytest.fixture
def arrays(rng):
    return {"images": rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)}


class Slow(Gray):
    """Takes a hundredth of a second a photograph."""

    def predict(self, gray):
        time.sleep(0.01 * len(gray))
        return super().predict(gray)


def test_score_is_that_of_evaluate_and_notes_how(arrays):
    metrics, how = records.score(Gray(), arrays)
    assert metrics == evaluate(Gray(), arrays)
    assert how.pop("seconds_per_image") > 0
    assert how.pop("cpu_seconds_per_image") > 0
    assert "git_commit" in how  # None where there is no git
    del how["git_commit"]
    assert how == {
        "examples": {"train": 0, "scored": 10},
        "subset": None,
        "hints": 0,
        "fit_seconds": None,
    }


def test_time_is_that_of_predictions(arrays):
    _, how = records.score(Slow(), arrays)
    assert 0.01 <= how["seconds_per_image"] < 0.1
    assert 0 < how["cpu_seconds_per_image"] < 0.01  # it sleeps


def test_a_method_learns_from_train(arrays, rng):
    train = {"images": rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)}
    metrics, how = records.score(ConstantChroma(), arrays, train=train)
    assert metrics == evaluate(ConstantChroma().fit(train), arrays)
    assert how["examples"] == {"train": 4, "scored": 10}
    assert how["fit_seconds"] > 0


def test_a_subset_is_said_and_the_same_for_every_method(arrays):
    seen = []

    class Sees(Gray):
        def predict(self, gray):
            seen.append(gray)
            return super().predict(gray)

    _, how = records.score(Sees(), arrays, limit=4)
    assert how["examples"]["scored"] == 4
    assert how["subset"] == {"of": 10, "seed": 0}
    records.score(Sees(), arrays, limit=4)
    records.score(Sees(), arrays, limit=6)
    records.score(Sees(), arrays)
    first, again, more, everything = ({image.tobytes() for image in batch} for batch in seen)
    assert len(first) == 4
    assert first == again
    assert first < more < everything
    assert records.score(Sees(), arrays, limit=10)[1]["subset"] is None


def test_no_photograph_to_score(arrays):
    with pytest.raises(ValueError, match="`limit` must be at least 1 photograph, got 0"):
        records.score(Gray(), arrays, limit=0)


def test_a_record_is_a_row_of_the_report(arrays, tmp_path):
    metrics, how = records.score(Levin(hints=3), arrays)
    records.write(tmp_path / "levin_hints3", metrics, {"method": "levin", **how})
    environment = json.loads((tmp_path / "levin_hints3" / "environment.json").read_text())
    assert environment["hints"] == 3
    assert environment["versions"]["numpy"] == np.__version__
    assert {"finished", "devices", "git_commit", "seconds_per_image"} <= set(environment)
    found = report.report(tmp_path)
    assert found["rows"] == {"levin_hints3": metrics}
    assert "| levin_hints3 |" in report.to_text(found)


def test_the_folder_of_a_run_is_left_alone(arrays, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="is the folder of a run; choose another --out"):
        records.write(tmp_path, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_weights_are_named_and_files_checked(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"abc")
    assert machine.describe_weights(str(tmp_path / "w.h5")) == {
        "name": "w.h5",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
    assert machine.describe_weights("imagenet") == {"name": "imagenet"}
