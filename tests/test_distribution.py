import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from colorseg import data, distribution, training
from colorseg.photo import write_image

RUN = """
import sys
import h5py, keras, numpy as np, tensorflow as tf
sys.path.insert(0, sys.argv[1])
import tiny
from colorseg import adversarial, model, presets, training

def decoder(pyramid):
    def pixels(channels, name, stride=1):
        x = keras.layers.UpSampling2D(16 // stride)(pyramid[3])
        x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.5, name=f"{name}_bn")(x)
        return keras.layers.Conv2D(channels, 3, padding="same", dtype="float32", name=name)(x)
    return pixels

def discriminator(channels):
    inputs = keras.Input((None, None, channels))
    return keras.Model(inputs, keras.layers.Conv2D(1, 4, strides=4, dtype="float32")(inputs))

adversarial.build_discriminator = discriminator
tiny.register()
model.DECODERS["tiny"] = decoder
options = {**tiny.OPTIONS, "decoder": "tiny", "freeze": "nothing", "learning_rate": 1e-4}
options |= {"ema_momentum": 0.75, "encoder_rate": 0.5}

def train(out, *, preset="multitask", devices=1, hosts=(), host_id=None, **changes):
    config = presets.preset(preset, **{**options, "data": sys.argv[2], **changes})
    fit = training._fit
    def fit_and_note(model, *args, **kwargs):
        fit(model, *args, **kwargs)
        np.savez(f"{out}-{host_id or 0}.npz", *[np.asarray(v) for v in model.get_weights()])
    training._fit = fit_and_note
    try:
        training.train(config, out, devices=devices, hosts=hosts, host_id=host_id, progress=False)
    finally:
        training._fit = fit
"""
VIRTUAL = """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """20 toy pictures with masks: 16 to train on, 2 for validation, 2 for the test."""
    root = tmp_path_factory.mktemp("pictures")
    arrays = data.resize(data.load("toy_pets", "train").take(20), 32)
    for index in range(20):
        codes = arrays["segmentation_masks"][index, ..., 0] + 1
        write_image(root / "images" / f"{index}.png", arrays["images"][index])
        write_image(root / "masks" / f"{index}.png", codes)
    return root


def start(code, folder, *, backend, devices=1):
    # The compiler need not try hard for so little.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    flags += f" --xla_force_host_platform_device_count={devices}"
    jax = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags} if backend == "jax" else {}
    return subprocess.Popen(
        [sys.executable, "-c", RUN + code, os.path.dirname(__file__), str(folder)],
        env={**os.environ, "KERAS_BACKEND": backend, **jax},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def weights(out, host=0):
    with np.load(f"{out}-{host}.npz") as arrays:
        return list(arrays.values())


def assert_same_run(out, expected, atol):
    for row, other in zip(training.read_history(out), training.read_history(expected), strict=True):
        assert list(row) == list(other)
        for name in set(row) - {"seconds"}:
            assert row[name] == pytest.approx(other[name], abs=atol), name


def test_mirrored_devices_train_like_one(folder, tmp_path):
    code = f"""
for devices in (1, 2):
    train(f"{tmp_path}/{{devices}}", preset="pix2pix", devices=devices, epochs=2)

# Broken off after an epoch on two devices, continued on one.
end = training._Record.on_epoch_end
def stop(self, epoch, logs):
    end(self, epoch, logs)
    raise KeyboardInterrupt
training._Record.on_epoch_end = stop
try:
    train("{tmp_path}/both", preset="pix2pix", devices=2, epochs=2)
except KeyboardInterrupt:
    training._Record.on_epoch_end = end
train("{tmp_path}/both", preset="pix2pix", devices=1, epochs=2)

# In the same process, another network.
for devices in (1, 2):
    train(f"{tmp_path}/tasks{{devices}}", devices=devices, epochs=2)
"""
    finish(start(VIRTUAL + code, folder, backend="tensorflow"))
    for other, replicas in (("2", 2), ("both", 1)):
        assert_same_run(tmp_path / other, tmp_path / "1", 1e-5)
        environment = json.loads((tmp_path / other / "environment.json").read_text())
        assert (environment["hosts"], environment["replicas"]) == (1, replicas)
    assert_same_run(tmp_path / "tasks2", tmp_path / "tasks1", 1e-5)


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    """A run of one process, and the same one on two devices of it, on JAX."""
    root = tmp_path_factory.mktemp("alone")
    code = f"train('{root}/one', epochs=3)\ntrain('{root}/two', devices=2, epochs=3)"
    finish(start(code, folder, backend="jax", devices=2))
    return root


def test_sharded_devices_train_like_one(alone):
    assert_same_run(alone / "two", alone / "one", 1e-5)


def start_hosts(outs, folder, *, epochs=(3, 3)):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hosts = [f"127.0.0.1:{port}", "127.0.0.1"]
    code = "train({!r}, hosts={!r}, host_id={!r}, epochs={!r})"
    return [
        start(code.format(str(outs[host]), hosts, host, epochs[host]), folder, backend="jax")
        for host in (0, 1)
    ]


def test_two_hosts_train_like_one_process_even_if_one_is_killed(alone, folder, tmp_path):
    outs = out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    first, second = start_hosts(outs, folder)
    while not training.read_history(out) and first.poll() is None:
        time.sleep(0.005)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    _, errors = first.communicate()
    assert first.returncode != 0
    assert re.search(r"TrainingError: another host went away .*; start all hosts again", errors)
    assert not (out / "metrics.json").exists()

    for process in start_hosts(outs, folder):
        finish(process)
    assert_same_run(out, alone / "one", 1e-5)
    for mine, other in zip(weights(out, 0), weights(elsewhere, 1), strict=True):
        np.testing.assert_array_equal(mine, other)
    environment = json.loads((out / "environment.json").read_text())
    assert (environment["hosts"], environment["replicas"]) == (2, 2)
    assert not elsewhere.exists()  # the folder is host 0's alone


def test_hosts_that_disagree_stop_before_any_work(folder, tmp_path):
    for process in start_hosts([tmp_path / "run"] * 2, folder, epochs=(3, 4)):
        _, errors = process.communicate()
        assert process.returncode != 0
        assert "ValueError: host 1 has another configuration than host 0" in errors
    assert not (tmp_path / "run").exists()


# What is refused, before anybody waits.


@pytest.fixture
def on_jax(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


def test_several_hosts_need_jax():
    with pytest.raises(ValueError, match=r"this is tensorflow; .* set the .* KERAS_BACKEND=jax"):
        distribution.assemble(hosts=["a:9000", "b"], host_id=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": ["a:9000"], "host_id": 0}, "hosts must be two or more addresses"),
        ({"hosts": ["a:9000", ""], "host_id": 0}, "hosts must be two or more addresses"),
        ({"hosts": ["a", "b"], "host_id": 0}, "the first host needs a port .* as in a:9000"),
        ({"hosts": ["a:9000", "b"], "host_id": 2}, "one from 0 to 1, got 2; give each its own"),
        ({"hosts": ["a:9000", "b"]}, "one from 0 to 1, got None; give each its own --host-id"),
        ({"hosts": ["a:9000", "b"], "host_id": 0, "devices": 2}, "leave --devices out"),
        ({"host_id": 1}, "host 1 of which hosts"),
        ({"devices": 0}, "`devices` must be at least 1, got 0"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options, message, on_jax):
    with pytest.raises(ValueError, match=message):
        distribution.assemble(**options)


def test_more_devices_than_there_are():
    found = len(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))
    with pytest.raises(ValueError, match=f"99 devices are asked for, there are {found}"):
        distribution.assemble(devices=99)


def test_a_host_that_does_not_answer_is_named(on_jax):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    team = distribution.assemble(hosts=[address, "b"], host_id=1, patience=0)
    with pytest.raises(OSError, match=f"host 0 does not answer at {address} .*--host-id 0 there"):
        team.__enter__()


def test_hosts_that_do_not_come_are_named(on_jax):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    team = distribution.assemble(hosts=[address, "b", "c"], host_id=0, patience=0.1)
    with pytest.raises(OSError, match=rf"missing at {address}: host 1 \(b\), 2 \(c\); start the"):
        team.__enter__()


def test_a_port_that_is_taken_is_named(on_jax):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        team = distribution.assemble(hosts=[f"127.0.0.1:{port}", "b"], host_id=0, patience=0.1)
        with pytest.raises(OSError, match=f"cannot listen on port {port} .*; choose another one"):
            team.__enter__()


def test_batches_that_cannot_be_shared():
    team = distribution.Team()
    team.devices = 3
    team.check_batch(9)
    with pytest.raises(ValueError, match=r"batch of 10 .* evenly; --set batch_size=9 or 12 would"):
        team.check_batch(10)
    with pytest.raises(ValueError, match="batch_size=3 would work"):
        team.check_batch(2)
    arrays = {"images": np.arange(11), "labels": np.arange(11)}
    assert {name: list(rows) for name, rows in team.shared_evenly(arrays).items()} == {
        "images": list(range(9)),
        "labels": list(range(9)),
    }
    with pytest.raises(ValueError, match="2 photographs are too few for 3 devices"):
        team.shared_evenly({"images": np.arange(2)})
