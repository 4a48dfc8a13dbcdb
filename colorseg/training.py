"""Training: from a configuration to a run folder that can be resumed and audited.

A run folder holds

- `config.json`: the configuration;
- `history.csv`: one row an epoch, losses and metrics of training and validation;
- `last.weights.h5`: weights and optimizer after the last epoch, from which a run resumes;
- `best.weights.h5`: weights of the epoch with the lowest validation loss;
- `environment.json`: versions, device, wall time, checksums;
- `metrics.json`: the row of the test split, written last: a folder that has it is finished.
"""

import contextlib
import csv
import dataclasses
import io
import json
import math
import os
import sys
import tempfile
import time
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf

from colorseg import data, distribution, files, machine
from colorseg.adversarial import AdversarialModel
from colorseg.encodings import QuantizedAB
from colorseg.evaluation import NetworkMethod, Stopwatch, evaluate, to_markdown
from colorseg.model import build_from_config, load_run, load_weights
from colorseg.photo import make_folder
from colorseg.presets import DERIVED, complete, tell_departures
from colorseg.registry import check_known, look_up
from colorseg.tasks import compile_args

RUN_FILES = (
    *("config.json", "history.csv", "last.weights.h5", "best.weights.h5"),
    *("environment.json", "metrics.json"),
)


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what would mend it."""


def train(config, out, *, devices=1, hosts=(), host_id=None, progress=True):
    """Trains a network, or continues where an interrupted run of the same configuration stopped.

    Several devices share each batch of `config.batch_size` photographs, see `distribution`; on
    several hosts, the same call is made on each, before anything else has used JAX.

    Args:
        config: `presets.Config`.
        out: run folder, made if it is not there. With several hosts, that of host 0; on the
            others it is neither read nor written.
        devices, hosts, host_id: as in `distribution.assemble`.
        progress: whether to draw progress bars.

    Returns:
        The metrics of the test split, as `evaluate` returns them; None on hosts other than 0.

    Raises:
        ValueError: on bad data or options, or a run folder of another configuration.
        TrainingError: if the loss is no longer a number, or another host went away; the last good
            weights stay.
        OSError: if the folder cannot be written, or the hosts do not find each other.
    """
    out = Path(out)
    look_up(SCHEDULES, config.schedule, kind="schedule")
    check_known(("best", "last"), config.select, kind="select")
    if not host_id:
        _check_folder(out, config)
        if (out / "metrics.json").exists():
            return json.loads((out / "metrics.json").read_text())

    commit = machine.git_commit()
    team = distribution.assemble(devices=devices, hosts=hosts, host_id=host_id)
    progress = progress and team.host == 0
    train_set, validation_set = (
        data.resize(data.load(config.data, split), config.image_size, progress=progress)
        for split in ("train", "validation")
    )
    checksums = _checksums(config, train_set, validation_set) if hosts else {}
    try:
        with team:
            team.check_same(checksums)
            config = _complete(config, train_set)
            with _precision(config.precision), team.scope():
                # Built before the folder is made: what does not fit together leaves none behind.
                model, batches = _build(config, train_set, team)
                if team.host == 0:
                    make_folder(out)
                    files.write_json(out / "config.json", dataclasses.asdict(config))
                _fit(model, batches, config, out, validation_set, team=team, progress=progress)
    except distribution.LostHostError as error:
        raise TrainingError(str(error)) from error
    if team.host > 0:
        return None
    test_set = data.resize(data.load(config.data, "test"), config.image_size, progress=progress)
    method = NetworkMethod(load_run(out))
    method.predict = Stopwatch(method.predict)
    metrics = evaluate(method, test_set, progress=progress)
    environment = {
        **_environment(config, out, {"train": train_set, "test": test_set}, commit),
        "hosts": team.hosts,
        "replicas": team.devices,
        **method.predict.per_image(len(test_set["images"])),
    }
    files.write_json(out / "environment.json", environment)
    files.write_json(out / "metrics.json", metrics)
    return metrics


def keep_record(run_dir, folder, **environment):
    """Copies the small files of a finished run: what `report` reads, no weights.

    Paths of the machine stay behind: of the encoder's weights and of the data, the name is kept.

    Args:
        run_dir: folder of a finished run.
        folder: where to; `book/results/<preset>-seed<N>` is where the book looks.
        **environment: what else `environment.json` is to tell.

    Raises:
        ValueError: if the run is not finished.
    """
    run_dir, folder = Path(run_dir), Path(folder)
    _check_finished(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((run_dir / "config.json").read_text())
    for option in ("encoder_weights", "data"):
        config[option] = Path(config[option]).name
    environment = {**json.loads((run_dir / "environment.json").read_text()), **environment}
    files.write_json(folder / "config.json", config)
    files.write_json(folder / "environment.json", environment)
    for name in ("history.csv", "metrics.json"):
        files.write_text(folder / name, (run_dir / name).read_text())


def publish(run_dir, folder):
    """Copies what a finished run is evaluated with, its weights as float16, and writes its card.

    Args:
        run_dir: folder of a finished run.
        folder: where to; `model.PRETRAINED / NAME` ships with the package.

    Raises:
        ValueError: if the run is not finished, or a weight is beyond the range of float16.
    """
    run_dir, folder = Path(run_dir), Path(folder)
    _check_finished(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    network = load_run(run_dir)
    weights = f"{network.config.select}.weights.h5"
    with files.replacing(folder / weights) as temporary, tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch, weights)
        network.save_weights(full)
        _halve(full, temporary)
    keep_record(run_dir, folder, published_sha256={weights: files.sha256(folder / weights)})
    config, environment, metrics = (
        json.loads((folder / f"{name}.json").read_text())
        for name in ("config", "environment", "metrics")
    )
    files.write_text(folder / "README.md", _card(folder.name, config, environment, metrics))


def _check_finished(run_dir):
    if not (run_dir / "metrics.json").exists():
        raise ValueError(f"{run_dir} is not the folder of a finished run; train it to its end")


def _halve(path, halved):
    """Writes a copy of a weights file with its floats as float16."""
    with h5py.File(path) as source, h5py.File(halved, "w") as target:

        def copy(name, item):
            if isinstance(item, h5py.Group):
                target.require_group(name).attrs.update(item.attrs)
            else:
                values = item[()]
                if np.issubdtype(values.dtype, np.floating):
                    if not np.abs(values).max(initial=0) <= np.finfo(np.float16).max:
                        raise ValueError(
                            f"the weights {name} are no numbers or beyond the range of float16; "
                            "train the run again"
                        )
                    values = values.astype("float16")
                target.create_dataset(name, data=values)

        target.attrs.update(source.attrs)
        source.visititems(copy)


MEAN = """ A mean over
  possible colors is less colorful than any of them. Colors are guesses, no evidence of what was
  there."""
LIMITS = {
    "quantized_ab": """ Of the
  possible colors it prefers the rare ones: livelier, and farther from the truth in squared error.
  Colors are guesses, no evidence of what was there."""
}
PETS = """, the official one less validation. The
  photographs of Oxford-IIIT Pet are their owners'; its annotations are CC BY-SA 4.0 (Parkhi,
  Vedaldi, Zisserman, Jawahar: Cats and Dogs, CVPR 2012)."""
CARD = """# {name}

The network of `colorseg train --preset {preset}`; `colorseg.load_pretrained("{name}")` loads it.

- **Task.** From a gray photograph, at {size} x {size} pixels, it predicts: {tasks}.
- **Data.** {data}: {train} photographs of the train split{source}
- **Recipe.** `config.json`; changed in the preset: {changed}. {epochs} epochs, seed {seed},
  {minutes:.0f} minutes on {devices}.
- **Encoder.** {encoder}, starting from `{encoder_weights}` (sha256 `{encoder_sha256}`).
- **Weights.** float16, published under colorseg's license, MIT.
- **Limits.** It has seen {seen}: expect less of other photographs.{limits}

## The test split

{test} photographs at {size} x {size} pixels, true luma kept; brackets are 95 % bootstrap intervals.

{table}
"""


def _card(name, config, environment, metrics):
    of_pets = config["data"] == "oxford_iiit_pet"
    return CARD.format(
        source=PETS if of_pets else ".",
        seen="cats and dogs, little else" if of_pets else f"the photographs of {config['data']}",
        limits=LIMITS.get(config["encoding"], MEAN) if "color" in config["tasks"] else "",
        preset=config["preset"],
        changed=tell_departures(complete(config)),
        name=name,
        size=config["image_size"],
        tasks=", ".join(config["tasks"]),
        data=config["data"],
        train=environment["examples"]["train"],
        test=environment["examples"]["test"],
        epochs=environment["epochs"],
        seed=config["seed"],
        minutes=environment["training_seconds"] / 60,
        devices=", ".join(environment["devices"]),
        encoder=config["encoder"],
        encoder_weights=environment["encoder_weights"]["name"],
        encoder_sha256=environment["encoder_weights"].get("sha256", "not a file"),
        table=to_markdown({name: metrics}),
    )


def read_history(out):
    """Returns the rows of a run folder's `history.csv`: dicts of float, oldest epoch first."""
    path = Path(out) / "history.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _check_folder(out, config):
    path = out / "config.json"
    if not path.exists():
        if (out / "metrics.json").exists():
            raise ValueError(f"{out} holds the record of another method; choose another --out")
        return
    try:
        found = complete(json.loads(path.read_text()))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); choose another --out") from error
    asked = json.loads(json.dumps(dataclasses.asdict(config)))
    differing = [key for key in asked if key not in DERIVED and asked[key] != found.get(key)]
    if differing:
        changes = ", ".join(
            f"{key}: {found.get(key)!r} there, {asked[key]!r} asked" for key in differing
        )
        raise ValueError(
            f"{out} is the folder of another configuration ({changes}); choose another --out, "
            "or repeat the command that made it"
        )


def _complete(config, train_set):
    """Fills in what only the training split can tell, once it has all the labels."""
    data.check_labels(train_set, config.tasks)
    if "breed" in config.tasks:
        config = dataclasses.replace(config, n_breeds=len(data.breed_names(config.data)))
    if "color" in config.tasks and config.encoding == "quantized_ab":
        prior = QuantizedAB().measure_prior(train_set["images"] / np.float32(255))
        config = dataclasses.replace(config, prior=tuple(prior.tolist()))
    return config


def _checksums(config, *sets):
    """Returns those of what hosts must have in common; paths may differ."""
    weights = config.encoder_weights
    encoder = files.sha256(weights) if os.path.isfile(weights) else weights
    same = dataclasses.replace(config, data="", encoder_weights="")
    examples = 0
    for arrays in sets:
        for key in ("images", "segmentation_masks", "labels"):
            examples = zlib.crc32(np.ascontiguousarray(arrays[key]), examples)
    return {
        "configuration": zlib.crc32(repr(same).encode()),
        "encoder": zlib.crc32(encoder.encode()),
        "training data": examples,
    }


def _build(config, train_set, team):
    """Returns the compiled network and its training batches."""
    keras.utils.set_random_seed(config.seed)
    weights = None if config.encoder_weights == "none" else config.encoder_weights
    model = build_from_config(config, image_size=config.image_size, encoder_weights=weights)
    if config.adversarial:
        model = AdversarialModel(model, weight=config.adversarial)
    team.prepare(model)
    tasks = list(model.tasks.values())
    batches = data.TrainingBatches(
        train_set,
        tasks,
        batch_size=config.batch_size,
        augment=config.augment,
        seed=config.seed,
        part=(team.host, team.hosts),
    )
    team.check_batch(batches.batch_size)
    model.compile(_build_optimizer(config, model, batches.steps), **compile_args(tasks))
    return model, batches


def _fit(model, batches, config, out, validation_set, *, team, progress):
    """Trains, from where `last.weights.h5` stands if it is there."""
    if team.host == 0:
        files.remove_leftovers(out / name for name in RUN_FILES)
    done = 0
    with team.fetch(out / "last.weights.h5") as last:
        if last:
            model.optimizer.build(model.trainable_variables)
            load_weights(model, last)
            with h5py.File(last) as file:
                done = int(file.attrs["epochs"])
    if done == config.epochs:
        return
    validation = data.make_dataset(
        team.shared_evenly(validation_set),
        list(model.tasks.values()),
        batch_size=batches.batch_size,
    )
    callbacks = [keras.callbacks.TerminateOnNaN()]
    if config.ema_momentum:
        callbacks.append(_Averaging(resumed=done > 0))
    callbacks.append(_Record(out, read_history(out)[:done], team))
    verbose = (1 if sys.stdout.isatty() else 2) if progress else 0
    model.fit(
        batches.of_epochs(done, config.epochs).prefetch(tf.data.AUTOTUNE),
        validation_data=team.own_part(validation).cache(),
        initial_epoch=done,
        epochs=config.epochs,
        steps_per_epoch=batches.steps,
        callbacks=callbacks,
        shuffle=False,  # the batches come shuffled
        verbose=verbose,
    )


class _Averaging(keras.callbacks.SwapEMAWeights):
    """Has the network hold the average of its weights wherever it is not being trained.

    Meanwhile the optimizer keeps the weights themselves in the average's place, in files, too.
    """

    def __init__(self, *, resumed):
        super().__init__(swap_on_epoch=True)
        self._ema_weights_in_model = resumed  # Keras expects to start with the weights themselves


class _Record(keras.callbacks.Callback):
    """Writes history and weights after each epoch.

    `last.weights.h5` is written last and carries the number of epochs that count: a kill between
    two files leaves a longer history and perhaps a newer best, both of which the repeated epoch
    writes again. The optimizer's step would not do: loss scaling leaves steps out.
    """

    def __init__(self, out, history, team):
        super().__init__()
        self._out = out
        self._history = history
        self._team = team
        self._started = None

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["val_loss"]):
            kept = f"the weights of epoch {epoch} are kept" if epoch else "no weights are kept"
            raise TrainingError(
                f"the loss is no longer a number in epoch {epoch + 1}; {kept} in {self._out}; "
                "try a lower learning rate"
            )
        if self._team.host > 0:
            return
        seconds = time.perf_counter() - self._started
        row = {"epoch": epoch + 1, **logs, "seconds": seconds}
        is_best = all(logs["val_loss"] < old["val_loss"] for old in self._history)
        self._history.append(row)
        table = io.StringIO()
        writer = csv.DictWriter(table, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._history)
        files.write_text(self._out / "history.csv", table.getvalue())
        with self._team.apart():
            if is_best:
                # A view without the optimizer: a third of the size.
                self._save(keras.Model(self.model.input, self.model.output), "best")
            self._save(self.model, "last")

    def _save(self, model, name):
        path = self._out / f"{name}.weights.h5"
        with files.replacing(path) as temporary:
            model.save_weights(temporary)
            with h5py.File(temporary, "a") as file:
                file.attrs["epochs"] = len(self._history)


def _constant(peak, epochs, steps):
    return peak


def _cosine(peak, epochs, steps):
    """One epoch of warm-up, then half a cosine down to zero."""
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, (epochs - 1) * steps),
        warmup_target=peak,
        warmup_steps=steps,
    )


SCHEDULES = {"constant": _constant, "cosine": _cosine}


def _build_optimizer(config, model, steps):
    rate = SCHEDULES[config.schedule](config.learning_rate, config.epochs, steps)
    kind, options = keras.optimizers.Adam, {}
    if config.weight_decay:
        kind, options = keras.optimizers.AdamW, {"weight_decay": config.weight_decay}
    if config.ema_momentum:
        options |= {"use_ema": True, "ema_momentum": config.ema_momentum}
    if config.encoder_rate != 1:
        kind = _slow_down(kind, model.get_layer("encoder").variables, config.encoder_rate)
    return kind(rate, **options)


def _slow_down(kind, variables, share):
    """Returns a kind of optimizer that takes shorter steps with some variables.

    Keras has `MultiOptimizer` for this, but not yet in the version on Colab.
    """
    slow = {id(variable) for variable in variables}

    class Slowed(kind):
        def build(self, variables):
            super().build(variables)
            self._slow = {n for n, variable in enumerate(variables) if id(variable) in slow}

        def update_step(self, gradient, variable, learning_rate):
            if self._get_variable_index(variable) in self._slow:
                learning_rate = share * learning_rate
            super().update_step(gradient, variable, learning_rate)

    return Slowed


@contextlib.contextmanager
def _precision(policy):
    """Sets Keras' dtype policy for the block; the former one is back afterwards."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def _environment(config, out, sets, commit):
    history = read_history(out)
    return {
        **machine.describe(("keras", "numpy", "tensorflow", "tensorflow-datasets", "jax")),
        "git_commit": commit,
        "encoder_weights": machine.describe_weights(config.encoder_weights),
        "weights_sha256": files.sha256(out / f"{config.select}.weights.h5"),
        "examples": {split: len(arrays["images"]) for split, arrays in sets.items()},
        "epochs": len(history),
        "best_epoch": int(min(history, key=lambda row: row["val_loss"])["epoch"]),
        "training_seconds": sum(row["seconds"] for row in history),
    }
