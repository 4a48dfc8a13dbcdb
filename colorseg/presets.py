"""Configurations of training runs, and the named ones."""

import dataclasses
import math

from colorseg.registry import check_known, look_up


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that decides how a run ends; plain values, stored as JSON in its folder.

    Attributes:
        tasks: loss weight by task: `color`, `mask`, `breed`.
        encoding: of color, a name in `encodings.ENCODINGS`.
        color_stride: pixels of the photograph per row and column of the color head's output.
        encoder, decoder, freeze, scale_input, image_size: as in `build_unet`.
        encoder_weights: path, `"imagenet"` or `"none"`.
        data: as `source` in `data.load`.
        augment: a name in `data.AUGMENTATIONS`.
        batch_size: photographs a step.
        epochs: passes over the training split.
        learning_rate: of Adam, at its highest.
        encoder_rate: learning rate of the encoder's weights, as a share of the others'.
        schedule: `"constant"`, or `"cosine"`: a warm-up of one epoch, then down to zero.
        weight_decay: decoupled, as in AdamW; 0 is plain Adam.
        ema_momentum: share of the old value that an exponential moving average of the weights keeps
            at each step; it is then the average that is validated, saved and evaluated. 0 does
            without one.
        select: which epoch's weights are evaluated: the `"best"` by validation loss, or the
            `"last"`.
        adversarial: weight of a discriminator's verdict on the colors, see
            `adversarial.AdversarialModel`; 0 does without one.
        precision: Keras dtype policy, such as `"mixed_float16"`.
        seed: of weights, order and augmentation.
        preset: the name that it came from.
        n_breeds: classes of the task `breed`; None until training knows its data.
        prior: share of each bin of the encoding `quantized_ab`; None until training knows its
            data.
    """

    tasks: dict[str, float]
    encoding: str = "chroma"
    color_stride: int = 1
    encoder: str = "mobilenet_v2"
    decoder: str = "convolution"
    freeze: str = "batchnorm"
    scale_input: bool = True
    image_size: int = 128
    encoder_weights: str = "imagenet"
    data: str = "oxford_iiit_pet"
    augment: str = "full"
    batch_size: int = 32
    epochs: int = 60
    learning_rate: float = 1e-3
    encoder_rate: float = 1.0
    schedule: str = "cosine"
    weight_decay: float = 0.0
    ema_momentum: float = 0.0
    select: str = "last"
    adversarial: float = 0.0
    precision: str = "float32"
    seed: int = 0
    preset: str = ""
    n_breeds: int | None = None
    prior: tuple[float, ...] | None = None

    def __post_init__(self):
        """Checks types and ranges; names are checked by those who look them up."""
        kinds = {str: "a word", bool: "true or false", int: "a whole number", float: "a number"}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_number = field.type is float and type(value) is int
            if field.type in kinds and type(value) is not field.type and not is_number:
                raise ValueError(f"{field.name} must be {kinds[field.type]}, got {value!r}")
        for name in ("color_stride", "epochs", "batch_size", "image_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "encoder_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("weight_decay", "adversarial"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.ema_momentum < 1:
            raise ValueError(
                f"ema_momentum must be at least 0 and below 1, got {self.ema_momentum}"
            )
        has_weights = isinstance(self.tasks, dict) and all(
            type(weight) in (int, float) and 0 < weight < math.inf for weight in self.tasks.values()
        )
        if self.adversarial and "color" not in self.tasks:
            raise ValueError("adversarial judges colors; give it a network with the task color")
        if not self.tasks or not has_weights:
            raise ValueError(f"tasks must be weights above 0 by task, got {self.tasks!r}")


DERIVED = ("n_breeds", "prior")  # what training fills in, from its data
# As published; the book tells what the text leaves open.
_PAPER = {
    "encoding": "yuv",
    "decoder": "paper",
    "freeze": "encoder",
    "scale_input": False,
    "augment": "flip",
    "epochs": 150,
    "schedule": "constant",
}
# Ours: at the full rate, units of the encoder die; the book's chapter on training shows it.
_TUNED = {"encoder_rate": 0.1}
_COLORED = {**_TUNED, "color_stride": 2}
PRESETS = {
    "paper_color": Config(tasks={"color": 1.0}, **_PAPER),
    "paper_multitask": Config(tasks={"color": 1.0, "mask": 1.0}, **_PAPER),
    "color": Config(tasks={"color": 1.0}, **_COLORED),
    "mask": Config(tasks={"mask": 1.0}, **_TUNED),
    "multitask": Config(tasks={"color": 1.0, "mask": 0.03}, **_COLORED),
    "three_task": Config(tasks={"color": 1.0, "mask": 0.03, "breed": 0.02}, **_COLORED),
    # What others did, on our network; the book's chapter on them tells the differences.
    "deshpande": Config(tasks={"color": 1.0}, encoding="learch", **_TUNED),
    "zhang": Config(tasks={"color": 1.0}, encoding="quantized_ab", color_stride=4, **_TUNED),
    "pix2pix": Config(tasks={"color": 1.0}, encoding="chroma_l1", adversarial=0.01, **_COLORED),
    "iizuka": Config(tasks={"color": 1.0, "breed": 0.02}, decoder="fusion", **_COLORED),
    "unet_scratch": Config(tasks={"mask": 1.0}, encoder_weights="none", freeze="nothing"),
}


def complete(config):
    """Returns the dict of a `config.json` with the options that an older library did not have."""
    options = dataclasses.fields(Config)
    defaults = {o.name: o.default for o in options if o.default is not dataclasses.MISSING}
    return defaults | config


def without_path(config):
    """Returns the dict of a configuration in which all paths to weights are alike."""
    weights = config.get("encoder_weights", "none")
    return config | {"encoder_weights": weights if weights == "none" else "pretrained"}


def tell_changes(config, base, *, free=()):
    """Returns the options by which a configuration departs from another, in words.

    Args:
        config, base: dicts with all options, as `complete` returns them.
        free: names of options that may differ.
    """
    here, there = without_path(config), without_path(base)
    free = ("tasks", "preset", *DERIVED, *free)
    changed = {k: v for k, v in here.items() if k not in free and v != there[k]}
    tasks = {
        f"tasks.{task}": here["tasks"].get(task, "none")
        for task in {**there["tasks"], **here["tasks"]}
        if here["tasks"].get(task) != there["tasks"].get(task)
    }
    return ", ".join(f"{key}={value}" for key, value in {**tasks, **changed}.items()) or "nothing"


def tell_departures(config):
    """Returns how a run departs from its preset, in words, but for seed and length."""
    if config.get("preset") not in PRESETS:
        return "not a preset"
    usual = dataclasses.asdict(PRESETS[config["preset"]])
    return tell_changes(config, usual, free=("seed", "epochs"))


def preset(name, **changes):
    """Returns the configuration of a preset, with some of its fields changed.

    Args:
        name: in `PRESETS`.
        **changes: fields of `Config`; `tasks` may name only those whose weight changes.

    Raises:
        ValueError: on an unknown preset, field or task (the message lists the known ones), a
            field that is derived (`preset`, `n_breeds`, `prior`), or a value of the wrong kind.
    """
    config = look_up(PRESETS, name, kind="preset")
    options = {field.name for field in dataclasses.fields(Config)} - {"preset", *DERIVED}
    for option in changes:
        check_known(options, option, kind="option")
    weights = changes.pop("tasks", {})
    if not isinstance(weights, dict):
        raise ValueError(f"tasks must be weights by task, such as tasks.mask=0.3, got {weights!r}")
    for task in weights:
        check_known(config.tasks, task, kind=f"task of {name}")
    tasks = {**config.tasks, **weights}
    return dataclasses.replace(config, preset=name, tasks=tasks, **changes)
