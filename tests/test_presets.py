import dataclasses
import json
import math

import pytest

from colorseg import data, encodings, model, presets, training
from colorseg.presets import PRESETS, Config, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_name_in_a_preset_is_known_to_those_who_look_it_up(name):
    config = preset(name)
    assert config.encoder in model.ENCODERS
    assert config.decoder in model.DECODERS
    assert config.encoding in encodings.ENCODINGS
    assert config.augment in data.AUGMENTATIONS
    assert config.schedule in training.SCHEDULES
    assert config.data in data.SOURCES
    assert set(config.tasks) <= {"color", "mask", "breed"}
    assert config.image_size % model.STRIDE == 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_json(name):
    config = preset(name, seed=3)
    assert Config(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("name", "tasks"), [("paper_color", ["color"]), ("paper_multitask", ["color", "mask"])]
)
def test_the_papers_presets_are_as_published(name, tasks):
    config = preset(name)
    assert config.tasks == dict.fromkeys(tasks, 1.0)  # equal weights
    assert config.encoding == "yuv"
    assert (config.encoder, config.freeze) == ("mobilenet_v2", "encoder")
    assert config.decoder == "paper"
    assert not config.scale_input
    assert config.image_size == 128
    assert config.augment == "flip"
    assert config.epochs == 150
    # Adam at the default rate of Keras.
    assert (config.learning_rate, config.schedule, config.weight_decay) == (1e-3, "constant", 0)


def test_changes_replace_fields_and_merge_weights():
    config = preset("multitask", tasks={"mask": 0.3}, epochs=2, learning_rate=1)
    assert config.tasks == {"color": PRESETS["multitask"].tasks["color"], "mask": 0.3}
    assert (config.epochs, config.learning_rate, config.preset) == (2, 1, "multitask")
    unchanged = {"tasks", "epochs", "learning_rate", "preset"}
    for field in dataclasses.fields(Config):
        if field.name not in unchanged:
            assert getattr(config, field.name) == getattr(PRESETS["multitask"], field.name)


def test_presets_cannot_be_changed_by_accident():
    before = {name: dict(config.tasks) for name, config in PRESETS.items()}
    preset("multitask").tasks["mask"] = 7.0
    preset("multitask", tasks={"mask": 0.5})
    assert {name: config.tasks for name, config in PRESETS.items()} == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("color").epochs = 3


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown preset 'best'; known: color, .*three_task"):
        preset("best")
    with pytest.raises(ValueError, match=r"unknown option 'size'; known: .*image_size.*weight_de"):
        preset("color", size=64)
    with pytest.raises(ValueError, match=r"unknown task of color 'mask'; known: color$"):
        preset("color", tasks={"mask": 1.0})


@pytest.mark.parametrize("field", ["preset", "n_breeds", "prior"])
def test_what_is_derived_is_no_option(field):
    with pytest.raises(ValueError, match=f"unknown option '{field}'"):
        preset("color", **{field: None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "3"}, "epochs must be a whole number, got '3'"),
        ({"epochs": 1.5}, "epochs must be a whole number, got 1.5"),
        ({"seed": True}, "seed must be a whole number, got True"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, got 'fast'"),
        ({"scale_input": 1}, "scale_input must be true or false, got 1"),
        ({"encoder": None}, "encoder must be a word, got None"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": -8}, "batch_size must be at least 1, got -8"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"learning_rate": 0}, "learning_rate must be above 0, got 0"),
        ({"encoder_rate": 0}, "encoder_rate must be above 0, got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
        ({"learning_rate": math.inf}, "learning_rate must be above 0, got inf"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"ema_momentum": 1}, "ema_momentum must be at least 0 and below 1, got 1"),
        ({"tasks": {"mask": 0}}, "tasks must be weights above 0 by task, got .*'mask': 0"),
        ({"tasks": {"mask": math.nan}}, "tasks must be weights above 0 by task, got .*nan"),
        ({"tasks": {"mask": "0.3"}}, "tasks must be weights above 0 by task, got .*'0.3'"),
        ({"tasks": 5}, "tasks must be weights by task, such as tasks.mask=0.3, got 5"),
        ({"tasks": ["mask"]}, r"tasks must be weights by task, .*got \['mask'\]"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        preset("multitask", **changes)


@pytest.mark.parametrize("tasks", [{}, 3, "color", ["color"]])
def test_a_configuration_without_weighted_tasks_is_refused(tasks):
    """Such as a damaged `config.json` may hold."""
    with pytest.raises(ValueError, match="tasks must be weights above 0 by task"):
        presets.Config(tasks=tasks)
