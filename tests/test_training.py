import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
import tiny

from colorseg import data, model, presets, report, training
from colorseg.photo import write_image


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of 20 toy pictures with masks, small enough to train on in seconds."""
    root = tmp_path_factory.mktemp("pictures")
    arrays = data.resize(data.load("toy_pets", "train").take(20), 48)
    for index in range(20):
        write_image(root / "images" / f"{index}.png", arrays["images"][index])
        write_image(
            root / "masks" / f"{index}.png", arrays["segmentation_masks"][index, ..., 0] + 1
        )
    return str(root)


@pytest.fixture(autouse=True)
def tiny_encoder(monkeypatch):
    monkeypatch.setattr(model, "ENCODERS", dict(model.ENCODERS))
    tiny.register()


@pytest.fixture(scope="session")
def config(folder):
    return presets.preset("multitask", data=folder, epochs=3, **tiny.OPTIONS)


@pytest.fixture(scope="session")
def trained(config, tmp_path_factory):
    """The folder of a finished run, to be copied."""
    out = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "ENCODERS", dict(model.ENCODERS))
        tiny.register()
        training.train(config, out, progress=False)
    return out


@pytest.fixture
def run(trained, tmp_path):
    """The folder of a finished run, for one test to spoil."""
    return shutil.copytree(trained, tmp_path / "run")


def weights_of(out):
    return model.load_run(out, which="last").get_weights()


def test_a_run_folder_tells_the_whole_run(config, tmp_path):
    metrics = training.train(config, tmp_path / "run", progress=False)
    out = tmp_path / "run"
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert {"chroma_rmse", "miou", "psnr"} <= set(metrics)
    stored = presets.Config(**json.loads((out / "config.json").read_text()))
    assert stored == config
    history = training.read_history(out)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert {"loss", "val_loss", "color_chroma_rmse", "val_mask_miou"} <= set(history[0])
    environment = json.loads((out / "environment.json").read_text())
    assert environment["examples"] == {"train": 16, "test": 2}
    assert environment["training_seconds"] == pytest.approx(sum(r["seconds"] for r in history))
    losses = [row["val_loss"] for row in history]
    assert environment["best_epoch"] == 1 + losses.index(min(losses))
    assert environment["cpu_seconds_per_image"] > 0
    assert 0 < environment["seconds_per_image"] < 60
    assert not list(out.glob(".*"))  # no temporary file stays


def test_a_finished_run_is_not_run_again(config, run):
    written = (run / "last.weights.h5").stat().st_mtime_ns
    metrics = training.train(config, run, progress=False)
    assert metrics == json.loads((run / "metrics.json").read_text())
    assert (run / "last.weights.h5").stat().st_mtime_ns == written


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_trains(name, tmp_path, toys, monkeypatch):
    monkeypatch.setattr(data, "resize", lambda *_, **__: toys)
    config = presets.preset(name, **{**tiny.OPTIONS, "decoder": presets.PRESETS[name].decoder})
    config = dataclasses.replace(config, data="toy_pets", image_size=64, epochs=1)
    metrics = training.train(config, tmp_path / "run", progress=False)
    expected = {"color": "chroma_rmse", "mask": "miou", "breed": "breed_accuracy"}
    assert {task for task, metric in expected.items() if metric in metrics} == set(config.tasks)
    breeds = model.load_run(tmp_path / "run").config.n_breeds
    assert breeds == (8 if "breed" in config.tasks else None)


def test_quantized_color_learns_its_prior_from_the_training_split(config, tmp_path):
    config = dataclasses.replace(
        config, tasks={"color": 1.0}, encoding="quantized_ab", epochs=1, batch_size=4
    )
    metrics = training.train(config, tmp_path / "run", progress=False)
    prior = model.load_run(tmp_path / "run").tasks["color"].encoding.prior
    assert sum(prior) == pytest.approx(1)
    assert np.isfinite(metrics["chroma_rmse"]["value"])


RUN = """
import sys, tensorflow as tf
tf.config.experimental.enable_op_determinism()
sys.path.insert(0, sys.argv[3])
import tiny
from colorseg import presets, training
tiny.register()
config = presets.preset("multitask", data=sys.argv[2], epochs=4, freeze="nothing", **tiny.OPTIONS)
training.train(config, sys.argv[1])
"""


def start(out, folder, *, backend="tensorflow"):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(out), folder, os.path.dirname(__file__)],
        env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_run_killed_at_any_moment_ends_with_the_weights_of_an_unbroken_one(folder, tmp_path):
    out, unbroken = tmp_path / "run", tmp_path / "unbroken"
    for epoch, kill in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL)):
        process = start(out, folder)
        while len(training.read_history(out)) <= epoch and process.poll() is None:
            time.sleep(0.005)
        assert process.poll() is None
        process.send_signal(kill)
        assert process.wait() != 0
        assert not (out / "metrics.json").exists()
    assert start(out, folder).wait() == 0
    assert start(unbroken, folder).wait() == 0
    assert [{**row, "seconds": 0} for row in training.read_history(out)] == [
        {**row, "seconds": 0} for row in training.read_history(unbroken)
    ]
    for broken, whole in zip(weights_of(out), weights_of(unbroken), strict=True):
        np.testing.assert_array_equal(broken, whole)
    assert not list(out.glob(".*"))  # no temporary file of a killed run stays


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_kill_between_two_files_is_undone(precision, config, tmp_path, monkeypatch):
    """Killed after an epoch's history and before its weights: the weights alone decide."""
    config = dataclasses.replace(config, precision=precision)
    save = training._Record._save

    def killed_before_the_second(self, model, name):
        if name == "last" and len(self._history) == 2:
            raise KeyboardInterrupt
        save(self, model, name)

    monkeypatch.setattr(training._Record, "_save", killed_before_the_second)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        training.train(config, out, progress=False)
    assert len(training.read_history(out)) == 2
    monkeypatch.undo()
    tiny.register()
    training.train(config, out, progress=False)
    assert [row["epoch"] for row in training.read_history(out)] == [1, 2, 3]


def test_the_encoder_may_learn_more_slowly(config, tmp_path):
    def encoder_after(**changes):
        out = tmp_path / "-".join(map(str, changes.values()))
        training.train(dataclasses.replace(config, epochs=2, **changes), out, progress=False)
        return model.load_run(out).get_layer("encoder").get_weights()

    start = encoder_after(freeze="encoder")

    def moved(**changes):
        pairs = zip(encoder_after(**changes), start, strict=True)
        return max(np.abs(after - before).max() for after, before in pairs)

    assert 0 < moved(encoder_rate=0.01) < 0.02 * moved(encoder_rate=1.0)


def test_averaged_weights_are_saved_and_survive_a_kill(config, tmp_path, monkeypatch):
    config = dataclasses.replace(config, batch_size=16, schedule="constant", precision="float32")

    def train(name, momentum):
        changed = dataclasses.replace(config, ema_momentum=momentum)
        training.train(changed, tmp_path / name, progress=False)
        network = model.load_run(tmp_path / name)
        return values(network), network.get_weights()

    def values(network):
        return [v.numpy() for v in network.trainable_variables]

    begin = training._Record.on_epoch_begin
    before = []  # each epoch, which is one step

    def noted(self, epoch, logs=None):
        before.append(values(self.model))
        begin(self, epoch, logs)

    monkeypatch.setattr(training._Record, "on_epoch_begin", noted)
    last, _ = train("plain", 0.0)
    monkeypatch.setattr(training._Record, "on_epoch_begin", begin)
    averages, unbroken = train("averaged", 0.75)
    for first, second, third, average in zip(*before[1:], last, averages, strict=True):
        expected = 0.75 * (0.75 * first + 0.25 * second) + 0.25 * third
        np.testing.assert_allclose(average, expected, atol=1e-6)

    def killed_in_the_third(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    monkeypatch.setattr(training._Record, "on_epoch_begin", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        train("killed", 0.75)
    monkeypatch.setattr(training._Record, "on_epoch_begin", begin)
    for whole, resumed in zip(unbroken, train("killed", 0.75)[1], strict=True):
        np.testing.assert_allclose(resumed, whole, atol=1e-6)
    averaged, plain = (
        training.read_history(tmp_path / name)[-1]["val_loss"] for name in ("averaged", "plain")
    )
    assert averaged != plain  # it is the average that is validated


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_weights(
    config, tmp_path, monkeypatch
):
    begin = training._Record.on_epoch_begin

    def spoil_the_second(self, epoch, logs=None):
        begin(self, epoch, logs)
        if epoch == 1:
            weight = self.model.trainable_weights[0]
            weight.assign(np.full(weight.shape, np.nan))

    monkeypatch.setattr(training._Record, "on_epoch_begin", spoil_the_second)
    out = tmp_path / "run"
    with pytest.raises(training.TrainingError, match="in epoch 2; the weights of epoch 1 are kept"):
        training.train(config, out, progress=False)
    assert all(np.isfinite(weight).all() for weight in weights_of(out))
    assert len(training.read_history(out)) == 1


def test_the_folder_of_another_configuration_is_refused(config, run):
    other = dataclasses.replace(config, learning_rate=0.01)
    with pytest.raises(ValueError, match=r"learning_rate: 0.001 there, 0.01 asked\); choose"):
        training.train(other, run, progress=False)


def test_a_run_that_an_older_library_began_is_continued(config, run):
    stored = json.loads((run / "config.json").read_text())
    del stored["ema_momentum"]
    (run / "config.json").write_text(json.dumps(stored))
    metrics = training.train(config, run, progress=False)
    assert metrics == json.loads((run / "metrics.json").read_text())
    averaged = dataclasses.replace(config, ema_momentum=0.9)
    with pytest.raises(ValueError, match=r"ema_momentum: 0.0 there, 0.9 asked"):
        training.train(averaged, run, progress=False)


def test_damaged_files_of_a_run_are_named(run, tmp_path):
    weights = (run / "last.weights.h5").read_bytes()
    (run / "last.weights.h5").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match=r"last\.weights\.h5 is damaged or holds the weights of"):
        model.load_run(run)
    (run / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        model.load_run(run)
    with pytest.raises(ValueError, match="is not a run folder: it has no config"):
        model.load_run(tmp_path)


def test_an_output_that_cannot_be_written_is_named(config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        training.train(config, tmp_path / "file" / "run", progress=False)


def test_mixed_precision_trains_and_predicts_float32(config, tmp_path):
    config = dataclasses.replace(config, precision="mixed_bfloat16", epochs=1)
    metrics = training.train(config, tmp_path / "run", progress=False)
    assert np.isfinite(metrics["psnr"]["value"])
    assert keras.config.dtype_policy().name == "float32"
    assert {weight.dtype for weight in weights_of(tmp_path / "run")} == {np.dtype("float32")}


def test_the_jax_backend_trains(folder, tmp_path):
    assert start(tmp_path / "run", folder, backend="jax").wait() == 0
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["backend"] == "jax"
    # What one backend wrote, the other reads.
    assert all(np.isfinite(weight).all() for weight in weights_of(tmp_path / "run"))


def test_published_weights_are_half_as_large_and_predict_the_same(run, tmp_path, monkeypatch, toys):
    monkeypatch.setattr(model, "PRETRAINED", tmp_path / "weights")
    training.publish(run, model.PRETRAINED / "mine")
    gray = toys["images"][:2] / np.float32(255)
    expected, found = model.load_run(run)(gray), model.load_pretrained("mine")(gray)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=2e-2)
    card = (model.PRETRAINED / "mine" / "README.md").read_text()
    assert "| mine |" in card
    assert 'colorseg.load_pretrained("mine")' in card
    assert "encoder=tiny, " in card  # a departure from the preset
    assert "Oxford" not in card  # these photographs are of a folder
    assert "It has seen the photographs of pictures" in card
    assert "is less colorful than any of them" in card
    shipped = json.loads((model.PRETRAINED / "mine" / "config.json").read_text())
    assert shipped["encoder_weights"] == "none"
    weights = model.PRETRAINED / "mine" / "last.weights.h5"
    with h5py.File(weights) as file:
        kinds = set()
        file.visititems(lambda _, item: kinds.add(getattr(item, "dtype", None)))
    assert kinds - {None} <= {np.dtype("float16"), np.dtype("int32"), np.dtype("uint32")}
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="is damaged; install colorseg again"):
        model.load_pretrained("mine")
    with pytest.raises(ValueError, match="unknown pretrained network 'other'; known: mine"):
        model.load_pretrained("other")
    with pytest.raises(ValueError, match="is not the folder of a finished run"):
        training.publish(tmp_path, tmp_path / "out")


def test_weights_beyond_float16_are_not_published(run, tmp_path):
    out = tmp_path / "out"
    with h5py.File(run / "last.weights.h5", "a") as file:
        found = []
        file["layers"].visititems(lambda _, item: found.append(item))
        next(item for item in found if isinstance(item, h5py.Dataset))[...] = 1e6
    with pytest.raises(ValueError, match="beyond the range of float16"):
        training.publish(run, out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("key", ["images", "segmentation_masks", "labels"])
def test_hosts_with_other_examples_are_told_apart(key, config, toys):
    others = {**toys, key: toys[key] ^ 1}
    checksums = [training._checksums(config, arrays) for arrays in (toys, toys, others)]
    assert checksums[0] == checksums[1] != checksums[2]


def test_a_kept_record_has_no_weights_and_no_paths_of_the_machine(run, tmp_path):
    kept = tmp_path / "results" / "multitask-seed0"
    path = run / "config.json"
    path.write_text(path.read_text().replace('"none"', '"/home/somebody/encoder.weights.h5"'))
    training.keep_record(run, kept)
    files = {file.name for file in kept.iterdir()}
    assert files == {"config.json", "history.csv", "environment.json", "metrics.json"}
    kept_config = json.loads((kept / "config.json").read_text())
    assert kept_config["encoder_weights"] == "encoder.weights.h5"
    assert report.read_results(kept.parent)[0].name == "multitask"


@pytest.mark.parametrize(
    "changes",
    [{"decoder": "fpn"}, {"image_size": 40}, {"augment": "mix"}, {"tasks": {"breed": 1.0}}],
    ids=str,
)
def test_a_slip_leaves_no_run_folder_behind(changes, config, tmp_path):
    with pytest.raises(ValueError, match=r"known|would work|none of the photographs has a breed"):
        training.train(dataclasses.replace(config, **changes), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
