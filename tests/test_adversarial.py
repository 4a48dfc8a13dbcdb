import dataclasses

import keras
import numpy as np
import pytest
import tiny

from colorseg import adversarial, data, model, presets, tasks, training

FROM_SCRATCH = {key: tiny.OPTIONS[key] for key in ("encoder", "decoder", "image_size")}


@pytest.fixture(autouse=True)
def tiny_encoder(monkeypatch):
    monkeypatch.setattr(model, "ENCODERS", dict(model.ENCODERS))
    tiny.register()


@pytest.fixture
def batch(rng):
    rgb = rng.random((4, 32, 32, 3), dtype="float32")
    return np.repeat(rgb.mean(axis=-1, keepdims=True), 3, axis=-1), {"color": rgb}


def build(weight, *, stride=1):
    keras.utils.set_random_seed(0)
    chosen = [tasks.color_task("chroma_l1", stride=stride)]
    network = adversarial.AdversarialModel(model.build_unet(chosen, **FROM_SCRATCH), weight=weight)
    # Plain gradient descent: an update is a gradient.
    network.compile(keras.optimizers.SGD(0.1), **tasks.compile_args(chosen))
    return network


def updates(network, batch):
    """Returns by how much a step changes the generator's and the discriminator's weights."""
    inside = {id(v) for v in network.discriminator.trainable_variables}
    split = [
        [v for v in network.trainable_variables if (id(v) in inside) is judge]
        for judge in (False, True)
    ]
    before = [[np.array(v) for v in part] for part in split]
    network.train_on_batch(*batch)
    return [
        [np.array(v) - old for v, old in zip(part, olds, strict=True)]
        for part, olds in zip(split, before, strict=True)
    ]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_step_changes_both_networks(stride, batch):
    generator, discriminator = updates(build(0.01, stride=stride), batch)
    assert generator and all(np.abs(change).max() > 0 for change in generator[-2:])
    assert discriminator and all(np.abs(change).max() > 0 for change in discriminator[-2:])


def test_the_weight_moves_the_generator_and_leaves_the_discriminator_alone(batch):
    little, much = updates(build(0.01), batch), updates(build(10.0), batch)
    for left, right in zip(little[1], much[1], strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(little[0], much[0], strict=True))


def test_the_discriminator_learns_to_tell_true_colors(batch):
    network = build(1e-9)
    found = [network.train_on_batch(*batch, return_dict=True) for _ in range(30)]
    assert found[0]["discriminator_loss"] == pytest.approx(np.log(2), abs=0.2)
    assert found[-1]["discriminator_loss"] < 0.3


def test_validation_measures_the_tasks_alone(batch):
    network = build(10.0)
    found = network.evaluate(*batch, verbose=0, return_dict=True)
    chroma = np.asarray(network.tasks["color"].encoding.encode(batch[1]["color"]))
    assert found["loss"] == pytest.approx(np.abs(network(batch[0])["color"] - chroma).mean(), 1e-4)
    assert found["discriminator_loss"] > 0


def test_a_verdict_sees_34_pixels():
    network = adversarial.build_discriminator(3)
    for layer in network.layers:
        if isinstance(layer, keras.layers.GroupNormalization):
            layer.call = lambda x: x  # looks at the whole picture's statistics
    # One picture for each row that is changed.
    changed = np.eye(128, dtype="float32")[:, :, None, None] * np.ones((1, 1, 16, 3), "float32")
    difference = np.asarray(network(changed) - network(np.zeros((1, 128, 16, 3))))[:, 8]
    rows = np.flatnonzero(np.abs(difference).max(axis=(1, 2)))
    assert list(rows) == list(range(rows[0], rows[0] + 34))


def test_a_runs_network_loads_without_the_discriminator(tmp_path, toys, monkeypatch):
    monkeypatch.setattr(data, "resize", lambda *_, **__: toys)
    config = presets.preset("pix2pix", **{**tiny.OPTIONS, "image_size": 64}, epochs=2)
    config = dataclasses.replace(config, data="toy_pets")
    metrics = training.train(config, tmp_path / "run", progress=False)
    assert "chroma_rmse" in metrics
    history = training.read_history(tmp_path / "run")
    assert {"discriminator_loss", "val_discriminator_loss"} <= set(history[0])
    for which in ("best", "last"):
        network = model.load_run(tmp_path / "run", which=which)
        assert not any("discriminator" in v.path for v in network.variables)
