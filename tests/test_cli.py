import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tiny
from PIL import Image

from colorseg import baselines, cli, data, model, toy_pets, training
from colorseg.photo import write_image
from colorseg.presets import PRESETS, preset

COMMANDS = ("train", "evaluate", "colorize", "segment", "report", "export")
TINY = [f"--set={name}={value}" for name, value in tiny.OPTIONS.items()]


def run(*arguments):
    """Returns the exit code of the command line."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse's own
        return error.code


def train(folder, out, *arguments):
    return run("train", "--preset=multitask", "--data", folder, *TINY, "--out", out, *arguments)


@pytest.fixture(scope="module", autouse=True)
def environment():
    """A tiny encoder among the known ones; signals as they were, afterwards."""
    former = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "ENCODERS", dict(model.ENCODERS))
        tiny.register()
        yield
    signal.signal(signal.SIGTERM, former)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve small toy pictures with masks."""
    root = tmp_path_factory.mktemp("pictures")
    arrays = data.resize(data.load("toy_pets", "train").take(12), (36, 44))
    for index in range(12):
        codes = arrays["segmentation_masks"][index, ..., 0] + 1
        write_image(root / "images" / f"{index}.png", arrays["images"][index])
        write_image(root / "masks" / f"{index}.png", codes)
    return root


@pytest.fixture(scope="module")
def run_dir(folder, tmp_path_factory):
    """What `colorseg train` wrote in one epoch."""
    out = tmp_path_factory.mktemp("runs") / "small"
    assert train(folder, out, "--epochs=1") == 0
    return out


# Help.


def python(*arguments):
    """Returns what a new interpreter prints."""
    process = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_help_comes_at_once():
    code = (
        "import sys, colorseg, colorseg.cli\n"
        "try: colorseg.cli.main(['--help'])\n"
        "finally: print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    assert python("-c", code).endswith("[]\n")


def test_the_module_is_the_command():
    said = python("-m", "colorseg", "--help")
    for command in COMMANDS:
        assert f"\n    {command} " in said
    assert "exit codes: 0 all done" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert run(command, "--help") == 0
    said = capsys.readouterr().out
    assert f"usage: colorseg {command}" in said
    assert "exit codes: 0 all done; 1 some photographs were skipped" in said
    assert "%" not in said.replace("95 %", "")  # no format is left open


@pytest.mark.parametrize("arguments", [[], ["paint"], ["colorize"], ["train", "--epochs=many"]])
def test_wrong_usage_is_answered_with_the_usage(arguments, capsys):
    assert run(*arguments) == 2
    assert "usage: colorseg" in capsys.readouterr().err


# Options.


@pytest.fixture
def trained(monkeypatch):
    """The configurations that would have been trained."""
    configs = []

    def note(config, out):
        configs.append(config)
        return {"psnr": {"value": 20.0, "low": 19.0, "high": 21.0}}

    monkeypatch.setattr(training, "train", note)
    return configs


def test_machines_of_train(monkeypatch, capsys):
    given = []
    monkeypatch.setattr(training, "train", lambda config, out, **machines: given.append(machines))
    assert run("train", "--preset=color", "--out=run", "--devices=2") == 0
    hosts = "--hosts=10.0.0.1:9000,10.0.0.2"
    assert run("train", "--preset=color", "--out=run", hosts, "--host-id=1") == 0
    assert given == [{"devices": 2}, {"hosts": ["10.0.0.1:9000", "10.0.0.2"], "host_id": 1}]
    assert "the run folder and the scores are on host 0" in capsys.readouterr().err


def test_several_hosts_need_jax(folder, tmp_path, capsys):
    hosts = ["--hosts=127.0.0.1:9000,127.0.0.1", "--host-id=0"]
    assert train(folder, tmp_path / "run", *hosts) == 2
    assert "set the environment variable KERAS_BACKEND=jax" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_train_without_options_is_the_preset(trained, capsys):
    assert run("train", "--preset=three_task", "--out=run") == 0
    assert trained == [dataclasses.replace(PRESETS["three_task"], preset="three_task")]
    assert "| three_task | 20.00 [19.00, 21.00] |" in capsys.readouterr().out


def test_options_of_train(trained):
    options = ["--data=toy_pets", "--encoder-weights=w.h5", "--epochs=3", "--seed=7", "--out=run"]
    settings = [
        "--set=tasks.mask=0.3",
        "--set=decoder=separable",
        "--set=scale_input=false",
        "--set=learning_rate=2e-4",
    ]
    assert run("train", "--preset=multitask", *options, *settings) == 0
    assert trained == [
        preset(
            "multitask",
            data="toy_pets",
            encoder_weights="w.h5",
            epochs=3,
            seed=7,
            tasks={"mask": 0.3},
            decoder="separable",
            scale_input=False,
            learning_rate=2e-4,
        )
    ]


def test_set_reaches_the_options_that_have_a_name_of_their_own(trained):
    settings = ["--set=data=toy_pets", "--set=encoder_weights=none", "--set=seed=4"]
    assert run("train", "--preset=color", *settings, "--out=run") == 0
    (config,) = trained
    assert (config.data, config.encoder_weights, config.seed) == ("toy_pets", "none", 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset=best"],
            "unknown preset 'best'; known: color, deshpande, iizuka, mask, multitask, paper_color",
        ),
        (["--set=decoder"], "--set takes OPTION=VALUE, got 'decoder'"),
        (["--set=size=64"], "unknown option 'size'; known: adversarial, augment, batch_size"),
        (["--set=decoder.kind=1"], "unknown option 'decoder.kind'; known: adversarial, augment"),
        (["--set=preset=color"], "unknown option 'preset'; known: adversarial, augment"),
        (["--set=tasks.breed=1"], "unknown task of multitask 'breed'; known: color, mask"),
        (["--set=tasks.mask=much"], "tasks must be weights above 0 by task, got"),
        (
            ["--set=tasks=0.3", "--set=tasks.mask=0.3"],
            "tasks must be weights by task, such as tasks.mask=0.3, got 0.3",
        ),
        (["--set=batch_size=all"], "batch_size must be a whole number, got 'all'"),
        (["--set=learning_rate=NaN"], "learning_rate must be above 0, got nan"),
        (["--epochs=0"], "epochs must be at least 1, got 0"),
        (["--set=schedule=steps"], "unknown schedule 'steps'; known: constant, cosine"),
        (["--set=select=worst"], "unknown select 'worst'; known: best, last"),
        (["--data=imagenet"], "unknown data 'imagenet'; known: oxford_iiit_pet, toy_pets, or the"),
    ],
)
def test_bad_options_of_train(arguments, message, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("train", "--preset=multitask", *arguments, "--out", out) == 2
    assert f"colorseg: {message}" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["white"], "'white' is neither a network nor a baseline; known networks: multitask, zh"),
        (["gray", "--data=imagenet"], "unknown data 'imagenet'; known: oxford_iiit_pet, toy_pets"),
        (["gray", "--split=dev"], "unknown split 'dev'; known: train, validation, test, all"),
        (["gray", "--data=toy_pets", "--hints=3"], "gray takes no --hints"),
        (["levin", "--data=toy_pets", "--encoder-weights=none"], "levin takes no --encoder-w"),
        (["levin", "--data=toy_pets", "--hints=-1"], "`hints` must be at least 0, got -1"),
        (["gray", "--data=toy_pets", "--blur=1"], "gray takes no --blur"),
        (["threshold", "--data=toy_pets", "--blur=1"], "threshold takes no --blur"),
        (["gray", "--data=toy_pets", "--mirror"], "gray takes no --mirror"),
        (["multitask", "gray"], "only networks can be scored as one, by name or run folder; eval"),
        (["multitask", "white"], "'white' is neither a network nor a baseline; known networks"),
        (["multitask", "--data=toy_pets", "--blur=-1"], "`blur` must be at least 0 pixels, got -1"),
    ],
)
def test_bad_options_of_evaluate(arguments, message, capsys):
    assert run("evaluate", *arguments) == 2
    said = capsys.readouterr()
    assert f"colorseg: {message}" in said.err
    assert said.out == ""


# Baselines.


def test_evaluate_prints_one_json_object(capfd, monkeypatch):
    monkeypatch.setitem(toy_pets.SIZES, "validation", 12)
    assert run("evaluate", "gray", "--data=toy_pets", "--split=validation", "--json") == 0
    metrics = json.loads(capfd.readouterr().out)
    assert all(set(score) == {"value", "low", "high"} for score in metrics.values())
    assert all(s["low"] <= s["value"] <= s["high"] for s in metrics.values())
    images = data.resize(data.load("toy_pets", "validation"))["images"] / np.float32(255)
    chroma = tf.image.rgb_to_yuv(images)[..., 1:]
    expected = np.sqrt(np.mean(np.square(chroma, dtype="float64")))
    assert metrics["chroma_rmse"]["value"] == pytest.approx(expected, rel=1e-5)
    assert metrics["colorfulness"]["value"] == 0


def test_evaluate_prints_a_table(folder, capfd):
    def table(method):
        assert run("evaluate", method, "--data", folder, "--split=train") == 0
        header, _, row = capfd.readouterr().out.splitlines()
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (header, row)]
        return dict(zip(*cells, strict=True))

    gray, constant = table("gray"), table("constant")
    assert (gray["method"], constant["method"]) == ("gray", "constant")
    assert list(gray) == list(constant)
    # The mean chroma of these very photographs is a better guess for them than none.
    of_gray, of_constant = (float(row["chroma_rmse ↓"].split()[0]) for row in (gray, constant))
    assert of_constant < of_gray


def evaluate_into(out, folder, *arguments):
    assert run("evaluate", *arguments, "--data", folder, "--split=train", "--out", out) == 0
    names = ("metrics.json", "environment.json")
    return [json.loads((out / name).read_text()) for name in names]


def test_evaluate_leaves_a_record(folder, tmp_path, capfd):
    metrics, environment = evaluate_into(
        tmp_path / "levin_hints3", folder, "levin", "--hints=3", "--limit=4", "--json"
    )
    assert json.loads(capfd.readouterr().out) == metrics
    assert (environment["method"], environment["hints"]) == ("levin", 3)
    assert environment["examples"] == {"train": 0, "scored": 4}
    assert environment["subset"]["of"] > 4
    assert (environment["data"], environment["split"]) == (str(folder), "train")


def test_what_a_baseline_was_built_with_is_on_record(folder, tmp_path, monkeypatch, capfd):
    # The real encoder is too slow here, and what the method is not what is tested.
    monkeypatch.setattr(baselines.Nearest, "fit", lambda self, arrays: self)
    monkeypatch.setattr(baselines.Nearest, "predict", baselines.Gray.predict)
    weights = tmp_path / "encoder.weights.h5"
    weights.write_bytes(b"abc")
    _, environment = evaluate_into(
        tmp_path / "row", folder, "nearest", "--encoder-weights", weights
    )
    assert environment["encoder_weights"]["name"] == "encoder.weights.h5"
    assert len(environment["encoder_weights"]["sha256"]) == 64
    assert environment["settings"] == {}
    assert environment["examples"]["train"] > 0
    assert "| row |" in capfd.readouterr().out


def test_the_record_of_a_run_has_the_time_an_image(run_dir, folder, tmp_path):
    metrics, environment = evaluate_into(tmp_path / "again", folder, run_dir)
    assert environment["method"] == run_dir.name
    assert environment["seconds_per_image"] > 0
    assert {"chroma_rmse", "miou"} <= set(metrics)


def test_the_record_of_a_blurred_network_says_so(folder, tmp_path):
    sharp, plain = evaluate_into(tmp_path / "sharp", folder, "multitask")
    blurred, environment = evaluate_into(tmp_path / "blurred", folder, "multitask", "--blur=8")
    assert (plain["settings"], environment["settings"]) == ({}, {"blur": 8})
    assert blurred["chroma_rmse"] != sharp["chroma_rmse"]
    assert blurred["miou"] == sharp["miou"]


def test_the_record_of_several_networks_names_them(folder, tmp_path):
    asked = ("multitask", "zhang", "--mirror")
    both, environment = evaluate_into(tmp_path / "both", folder, *asked)
    assert environment["settings"] == {"networks": ["multitask", "zhang"], "mirror": True}
    assert environment["method"] == "multitask, zhang"
    alone = [evaluate_into(tmp_path / name, folder, name, "--mirror")[0] for name in asked[:2]]
    assert both["miou"] == alone[0]["miou"]  # zhang has no masks
    # Squared error is convex: a mean errs no more than its parts do on average.
    errors = [score["chroma_rmse"]["value"] ** 2 for score in (both, *alone)]
    assert errors[0] < np.mean(errors[1:])


def test_networks_of_different_sizes_are_not_averaged(run_dir, capsys):
    assert run("evaluate", run_dir, "multitask") == 2
    assert "cannot be scored as one; take those of one kind" in capsys.readouterr().err


@pytest.mark.parametrize(("trained_on", "is_scored"), [("toy_pets", True), ("other", False)])
def test_breeds_of_other_data_are_not_scored(trained_on, is_scored, monkeypatch, capsys):
    class Answer:
        def predict(self, gray):
            color = np.repeat(gray, 3, axis=-1)
            return {"color": color, "breed": np.tile(np.eye(8)[:1], (len(gray), 1))}

    about = {"data": "toy_pets", "trained_on": trained_on, "image_size": 32}
    monkeypatch.setattr(cli, "_load_method", lambda options: (Answer(), dict(about)))
    assert run("evaluate", "any", "--limit=16", "--json") == 0
    metrics = json.loads(capsys.readouterr().out)
    assert "chroma_rmse" in metrics
    assert ("breed_accuracy" in metrics) is is_scored


def test_a_run_that_has_not_finished_says_so(run_dir, folder, tmp_path, capsys):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    arguments = ("evaluate", copy, "--data", folder, "--split=train")
    assert run(*arguments) == 0
    assert "to its end" not in capsys.readouterr().err
    (copy / "metrics.json").unlink()
    assert run(*arguments) == 0
    assert f"{copy} has not been trained to its end" in capsys.readouterr().err


def test_a_run_is_not_overwritten_by_its_evaluation(run_dir, capsys):
    before = (run_dir / "environment.json").read_text()
    assert run("evaluate", "gray", "--data=toy_pets", "--out", run_dir) == 2
    assert "is the folder of a run; choose another --out" in capsys.readouterr().err
    assert (run_dir / "environment.json").read_text() == before


def test_a_package_that_is_missing_is_named(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    assert run("evaluate", "learch", "--data", folder) == 2
    assert 'pip install "colorseg[baselines]"' in capsys.readouterr().err


def test_help_names_every_baseline(capsys):
    run("evaluate", "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert ", ".join(baselines.BASELINES) in said


# A network, from training to pictures.


def test_a_run_folder_has_all_that_it_promises(run_dir, folder):
    expected = {"config.json", "history.csv", "environment.json", "metrics.json"}
    weights = {"best.weights.h5", "last.weights.h5"}
    assert {path.name for path in run_dir.iterdir()} == expected | weights
    config = json.loads((run_dir / "config.json").read_text())
    assert (config["preset"], config["data"], config["epochs"]) == ("multitask", str(folder), 1)


def test_evaluate_repeats_the_metrics_of_the_run(run_dir, capfd):
    assert run("evaluate", run_dir, "--json") == 0
    again = json.loads(capfd.readouterr().out)
    stored = json.loads((run_dir / "metrics.json").read_text())
    assert {"chroma_rmse", "delta_e", "miou", "foreground_iou"} <= set(again)
    assert list(again) == list(stored)
    for name, score in stored.items():
        assert again[name] == pytest.approx(score, rel=1e-4)


def test_the_same_command_again_prints_the_same_row(run_dir, folder, capfd):
    written = {path: path.stat().st_mtime_ns for path in run_dir.iterdir()}
    assert train(folder, run_dir, "--epochs=1") == 0
    assert "| multitask |" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run_dir.iterdir()} == written


def test_the_folder_of_another_configuration_is_not_touched(run_dir, folder, capsys):
    written = {path: path.stat().st_mtime_ns for path in run_dir.iterdir()}
    assert train(folder, run_dir, "--epochs=2", "--set=tasks.mask=0.7") == 2
    said = capsys.readouterr().err
    assert "is the folder of another configuration" in said
    assert "epochs: 1 there, 2 asked" in said
    assert "choose another --out" in said
    assert {path: path.stat().st_mtime_ns for path in run_dir.iterdir()} == written


def test_colorize_and_segment(run_dir, folder, tmp_path, capsys):
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (40, 23), dtype=np.uint8)
    write_image(tmp_path / "scan.png", gray)
    photos = [tmp_path / "scan.png", folder / "images"]
    assert run("colorize", *photos, "--weights", run_dir, "--out", tmp_path / "colored") == 0
    assert "13 written" in capsys.readouterr().err
    colored = np.asarray(Image.open(tmp_path / "colored" / "scan.png"))
    assert colored.shape == (40, 23, 3)
    np.testing.assert_allclose(colored @ [0.299, 0.587, 0.114], gray, atol=1)

    assert run("segment", *photos, "--weights", run_dir, "--out", tmp_path / "masks") == 0
    mask = np.asarray(Image.open(tmp_path / "masks" / "scan_mask.png"))
    assert mask.shape == (40, 23)
    assert set(np.unique(mask)) <= {1, 2, 3}
    assert len(list((tmp_path / "masks").iterdir())) == 13


def test_a_broken_off_run_is_resumed(run_dir, folder, tmp_path, capsys):
    arguments = ["--weights", run_dir, "--out", tmp_path / "out", "--resume", "--jobs=1"]
    for command in ("colorize", "segment"):
        assert run(command, folder / "images" / "0.png", *arguments) == 0
        assert "1 written" in capsys.readouterr().err
        assert run(command, folder / "images", *arguments) == 0
        assert "11 written" in (said := capsys.readouterr().err)
        assert ", 1 kept, 0 skipped" in said


def test_jobs_are_asked_for(run_dir, folder, tmp_path, capsys):
    arguments = ["--weights", run_dir, "--out", tmp_path / "out", "--jobs=0"]
    for command in ("colorize", "segment"):
        assert run(command, folder / "images", *arguments) == 2
        assert "`jobs` must be a whole number of processes from 1 on" in capsys.readouterr().err


def test_masks_of_segment_can_be_trained_on(run_dir, folder, tmp_path):
    shutil.copytree(folder / "images", tmp_path / "images")
    assert (
        run("segment", tmp_path / "images", "--weights", run_dir, "--out", tmp_path / "masks") == 0
    )
    arrays = data.resize(data.load(tmp_path, "all"), 32)
    assert set(np.unique(arrays["segmentation_masks"])) <= {0, 1, 2}


def test_colorize_writes_jpeg_on_request(run_dir, folder, tmp_path):
    arguments = ["--weights", run_dir, "--out", tmp_path, "--format=jpeg"]
    assert run("colorize", folder / "images" / "0.png", *arguments) == 0
    with Image.open(tmp_path / "0.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (44, 36))


@pytest.mark.parametrize("command", ["colorize", "segment"])
def test_size_reaches_the_network(command, run_dir, folder, tmp_path, capsys):
    arguments = [folder / "images" / "0.png", "--weights", run_dir, "--out", tmp_path]
    assert run(command, *arguments, "--size=0") == 2
    assert "`size` must be a positive whole number of pixels" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["colorize", "segment"])
def test_a_bad_file_among_many_is_skipped(command, run_dir, folder, tmp_path, capsys):
    photos = tmp_path / "photos"
    shutil.copytree(folder / "images", photos)
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:100])
    (photos / "4.jpg").write_bytes(b"")
    assert run(command, photos, "--weights", run_dir, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "11 written" in said
    assert "2 skipped" in said
    assert f"{photos / '3.png'} is damaged" in said
    assert f"{photos / '4.jpg'} is empty" in said
    assert len(list((tmp_path / "out").iterdir())) == 11


def test_a_network_that_ships_goes_by_its_name(run_dir, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "PRETRAINED", tmp_path / "weights")
    training.publish(run_dir, tmp_path / "weights" / "mine")
    photo = folder / "images" / "3.png"
    for weights in ("mine", run_dir):
        assert run("colorize", photo, "--weights", weights, "--out", tmp_path / "out") == 0
        assert run("evaluate", weights, "--data", folder, "--split", "all", "--limit", "2") == 0


def test_a_record_of_another_method_is_no_run(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time there is a folder of the baseline's name
        evaluate_into(tmp_path / "gray", folder, "gray")
    capsys.readouterr()
    assert train(folder, tmp_path / "gray", "--epochs=1") == 2
    assert "holds the record of another method; choose another --out" in capsys.readouterr().err


def missing_run(run_dir, tmp_path):
    return tmp_path / "missing", "is not a run folder: it has no config.json"


def empty_run(run_dir, tmp_path):
    return tmp_path, "is not a run folder: it has no config.json"


def damaged_config(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    (copy / "config.json").write_text('{"tasks": ')
    return copy, "config.json is damaged"


def strange_config(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    (copy / "config.json").write_text('{"tasks": 3}')
    return copy, "config.json is damaged (tasks must be weights above 0 by task, got 3); train"


def damaged_weights(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    for path in copy.glob("*.h5"):
        path.write_bytes(path.read_bytes()[:5000])
    return copy, "weights.h5 is damaged or holds the weights of another network"


def missing_weights(run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    for path in copy.glob("*.h5"):
        path.unlink()
    return copy, "no weights file at"


@pytest.mark.parametrize(
    "spoil",
    [missing_run, empty_run, damaged_config, strange_config, damaged_weights, missing_weights],
)
def test_weights_that_cannot_be_used(spoil, run_dir, folder, tmp_path, capsys):
    weights, message = spoil(run_dir, tmp_path)
    out = tmp_path / "out"
    assert run("colorize", folder / "images", "--weights", weights, "--out", out) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
    # Evaluating it fails alike, unless there is no such folder: then it might be a baseline.
    assert run("evaluate", weights, "--data", folder) == 2
    assert (message if weights.exists() else "known baselines") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jpg", "--out={0}/out"], "no such file or folder: none.jpg; check the spelling"),
        (["{0}", "--out={0}/out", "--format=gif"], "unknown format 'gif'; known: jpeg, png"),
        (["{0}", "--out={0}/photo.png"], "cannot make the output folder"),
        (["{0}/notes", "--out={0}/out"], "holds no photographs"),
    ],
)
def test_bad_options_of_colorize(arguments, message, run_dir, tmp_path, capsys):
    write_image(tmp_path / "photo.png", np.zeros((5, 5, 3), np.uint8))
    (tmp_path / "notes").mkdir()
    arguments = [argument.format(tmp_path) for argument in arguments]
    assert run("colorize", *arguments, "--weights", run_dir) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# When training ends before its time.


def test_a_loss_that_is_no_number_stops_training(folder, tmp_path, capsys):
    out = tmp_path / "run"
    # One step an epoch. The cosine's first has rate 0, so the first epoch still goes well.
    options = ["--preset=color", "--set=batch_size=10", "--set=learning_rate=1e30", "--epochs=3"]
    assert train(folder, out, *options) == 1
    said = capsys.readouterr().err
    assert "the loss is no longer a number in epoch 2" in said
    assert "try a lower learning rate" in said
    with open(out / "history.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]
    for which in ("best", "last"):
        weights = model.load_run(out, which=which).get_weights()
        assert all(np.isfinite(array).all() for array in weights)
    assert not (out / "metrics.json").exists()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_has_its_own_exit_code(stop, monkeypatch, capsys):
    def interrupted(config, out):
        os.kill(os.getpid(), stop)

    monkeypatch.setattr(training, "train", interrupted)
    assert run("train", "--preset=color", "--out=run") == 130
    assert capsys.readouterr().err == "colorseg: interrupted\n"


def test_an_unwritable_run_folder(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train(folder, tmp_path / "file" / "run", "--epochs=1") == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
