"""Exported files, run by ONNX Runtime and LiteRT, hold what Keras computes and what they say."""

import dataclasses
import importlib.util
import json
import zipfile

import keras
import numpy as np
import pytest
import tiny

from colorseg import cli, color, data, export, model, predict, presets, tasks
from colorseg.evaluation import NetworkMethod, evaluate

onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "colorseg[export]"')
for package in ("onnx", "tf2onnx", "ai_edge_litert"):
    pytest.importorskip(package, reason='needs pip install "colorseg[export]"')

SUFFIXES = (".onnx", ".tflite")
both = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture(scope="module", autouse=True)
def tiny_encoder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "ENCODERS", dict(model.ENCODERS))
        tiny.register()
        yield


def build(*heads, decoder="convolution", image_size=None):
    """Returns an untrained network none of whose weights is zero."""
    keras.utils.set_random_seed(0)
    network = model.build_unet(
        heads or [tasks.color_task(), tasks.mask_task(), tasks.breed_task(5)],
        encoder="tiny",
        decoder=decoder,
        image_size=image_size,
    )
    network.image_size = image_size or 64
    rng = np.random.default_rng(0)
    for weight in network.weights:
        noise = rng.normal(0, 0.03, weight.shape)
        weight.assign(weight + (abs(noise) if "variance" in weight.path else noise))
    return network


@pytest.fixture(scope="module")
def photos(toys_64):
    return toys_64["images"]


@pytest.fixture(scope="module")
def toys_64():
    return data.resize(data.load("toy_pets", "validation").take(6), 64)


@pytest.fixture(scope="module")
def network():
    return build()


@pytest.fixture(scope="module", params=SUFFIXES)
def exported(request, network, tmp_path_factory):
    """What a file of either format gives back."""
    path = tmp_path_factory.mktemp("exported") / f"network{request.param}"
    export.export_model(network, path)
    return export.ExportedMethod(path)


def test_it_agrees_with_keras(exported, network, photos):
    found = export.differences(network, exported, photos)
    assert list(found) == ["chroma", "mask", "breed"]
    assert max(found.values()) < 1e-4
    outputs = exported.run(color.photos_to_gray(photos))
    assert {name: values.shape for name, values in outputs.items()} == {
        "chroma": (6, 64, 64, 2), "mask": (6, 64, 64, 3), "breed": (6, 5),
    }  # fmt: skip
    assert outputs["chroma"].std() > 0.001
    for name in ("mask", "breed"):
        np.testing.assert_allclose(outputs[name].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("encoding", ["yuv", "chroma_l1", "learch", "quantized_ab"])
def test_every_encoding_and_size_and_number_in_onnx(encoding, toys, tmp_path):
    network = build(tasks.color_task(encoding, stride=2))
    export.export_model(network, tmp_path / "network.onnx")
    method = export.ExportedMethod(tmp_path / "network.onnx")
    for photos in (toys["images"][:1], toys["images"][:3, :32], toys["images"][:2, :, :32]):
        gray = color.photos_to_gray(photos)
        output = network(np.repeat(gray, 3, axis=-1), training=False)["color"]
        expected = network.tasks["color"].encoding.decode(gray, output)
        found = method.predict(gray)["color"]
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert np.abs(found - gray).max() > 0.01
    assert method.metadata["color_stride"] == 2


@pytest.mark.parametrize(("suffix", "count"), [(".onnx", 100), (".tflite", 10)])
@pytest.mark.parametrize("name", model.find_pretrained())
def test_the_shipped_networks_agree_on_drawings(name, suffix, count, tmp_path):
    network, path = model.load_pretrained(name), tmp_path / f"network{suffix}"
    export.export_model(network, path)
    photos = data.resize(data.load("toy_pets", "test").take(count), network.image_size)["images"]
    assert len(photos) == count
    found = export.differences(network, export.ExportedMethod(path), photos)
    assert list(found) == ["chroma" if task == "color" else task for task in network.tasks]
    assert max(found.values()) < 1e-4


@pytest.mark.parametrize(
    ("suffix", "image_size"), [(".onnx", None), (".tflite", None), (".onnx", (32, 64))]
)
def test_a_network_built_for_one_size_keeps_it(suffix, image_size, toys, tmp_path):
    network = build(tasks.color_task(stride=2), tasks.mask_task(), image_size=(32, 64))
    path = tmp_path / f"network{suffix}"
    export.export_model(network, path, image_size=image_size)
    method = export.ExportedMethod(path)
    assert method.metadata["input"]["gray"]["shape"] == ["photographs", 32, 64, 1]
    assert method.metadata["color_stride"] == 2
    assert method.image_size == (32, 64)
    photos = toys["images"][:3, :32]
    assert max(export.differences(network, method, photos).values()) < 1e-4


def test_a_network_built_for_one_size_takes_no_other(tmp_path):
    network = build(tasks.color_task(), image_size=(32, 64))
    with pytest.raises(ValueError, match="is 32, but the network was built for 32 x 64 pixels onl"):
        export.export_model(network, tmp_path / "made" / "network.onnx", image_size=32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("decoder", "suffix"), [("paper", ".onnx"), ("fusion", ".onnx"), ("separable", ".tflite")]
)
def test_every_decoder(decoder, suffix, photos, tmp_path):
    network = build(decoder=decoder)
    export.export_model(network, tmp_path / f"network{suffix}")
    method = export.ExportedMethod(tmp_path / f"network{suffix}")
    assert max(export.differences(network, method, photos).values()) < 1e-4


def test_the_file_alone_tells_how_to_color(network, toys_64, tmp_path):
    """With nothing but numpy, ONNX Runtime and the metadata; against `colorize`."""
    export.export_model(network, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["output"])["mask"]["classes"] == ["pet", "background", "border"]
    photo = toys_64["images"][0]
    gray = (photo @ [0.299, 0.587, 0.114] / 255)[None, ..., None].astype("float32")
    assert [(i.name, i.shape[1:]) for i in session.get_inputs()] == [
        ("gray", ["height", "width", 1])
    ]
    (chroma,) = session.run(["chroma"], {"gray": gray})
    to_rgb = np.array(json.loads(about["output"])["chroma"]["rgb_from_yuv"])
    rgb = np.concatenate([gray, chroma], axis=-1)[0] @ to_rgb.T * 255
    inside = ((rgb > 0) & (rgb < 255)).all(axis=-1)
    assert inside.mean() > 0.5
    expected = predict.colorize(photo, network)
    assert np.abs(rgb - expected)[inside].max() < 0.51


def test_litert_keeps_what_it_says_of_itself_in_an_archive(network, tmp_path):
    export.export_model(network, tmp_path / "network.tflite", image_size=(32, 64))
    with zipfile.ZipFile(tmp_path / "network.tflite") as archive:
        about = json.loads(archive.read("metadata.json"))
    assert about["input"]["gray"]["shape"] == ["photographs", 32, 64, 1]
    assert about["license"] == "MIT"
    assert about == export.describe(network, "float32", (32, 64))


def test_it_is_a_method_of_evaluate(exported, network, toys_64):
    expected = evaluate(NetworkMethod(network), toys_64, bootstrap=1)
    found = evaluate(exported, toys_64, bootstrap=1)
    assert {"chroma_rmse", "miou"} < set(found) == set(expected)
    for name, score in expected.items():
        assert found[name]["value"] == pytest.approx(score["value"], rel=1e-3), name


@both
def test_smaller_files_come_near(suffix, network, photos, tmp_path):
    whole = tmp_path / f"whole{suffix}"
    export.export_model(network, whole)
    for precision, share, near in (("float16", 0.65, 0.01), ("int8", 0.5, 0.2)):
        small = tmp_path / f"{precision}{suffix}"
        calibration = photos if precision == "int8" else None
        export.export_model(network, small, precision=precision, photos=calibration)
        assert small.stat().st_size < share * whole.stat().st_size
        method = export.ExportedMethod(small)
        assert method.metadata["precision"] == precision
        assert 1e-6 < max(export.differences(network, method, photos).values()) < near


@both
def test_ranges_are_measured_at_the_size_of_the_file(suffix, network, photos, tmp_path):
    path = tmp_path / f"network{suffix}"
    export.export_model(network, path, precision="int8", photos=photos, image_size=(32, 96))
    method = export.ExportedMethod(path)
    assert method.image_size == (32, 96)
    small = np.tile(photos, (1, 1, 2, 1))[:, :32, :96]
    assert max(export.differences(network, method, small).values()) < 0.2


def test_a_failed_export_leaves_the_file_that_was_there(tmp_path):
    network = build(tasks.mask_task())
    largest = max(network.weights, key=lambda weight: np.prod(weight.shape))
    largest.assign(largest + 1e6)
    path = tmp_path / "network.onnx"
    path.write_text("as it was")
    with pytest.raises(ValueError, match="beyond the range of float16; export float32"):
        export.export_model(network, path, precision="float16")
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.pb", {}, r"unknown suffix of an exported network '\.pb'; known: \.onnx, \.tflite"),
        ("a.onnx", {"precision": "int4"}, "unknown precision 'int4'; known: float16"),
        ("a.onnx", {"precision": "int8"}, "`photos` are needed for int8.* and no photographs"),
        ("a.onnx", {"photos": np.zeros((2, 32, 32, 3), "u1")}, "and for nothing else.* 2 photog"),
        (
            "a.onnx",
            {"precision": "int8", "photos": np.zeros((2, 32, 32), "u1")},
            r"must be uint8 \[N, H, W, 3\], got uint8 \[2, 32, 32\]",
        ),
        ("a.tflite", {"image_size": 100}, r"multiples of 32 pixels, got 100; \(96, 96\)"),
        (".", {}, "unknown suffix"),
        ("folder.onnx", {}, r"folder\.onnx is a folder; name a file"),
    ],
)
def test_what_cannot_be_exported_is_refused_at_once(name, options, message, network, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ValueError, match=message):
        export.export_model(network, tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.onnx"]


def test_other_backends_are_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="this is jax; unset KERAS_BACKEND"):
        export.export_model(network, tmp_path / "a.onnx")


def test_missing_packages_are_named(network, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    absent = {"tf2onnx", "ai_edge_litert"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else find(name)
    )
    with pytest.raises(ImportError, match=r"pip install tf2onnx, or pip install \"colorseg\[exp"):
        export.export_model(network, tmp_path / "a.onnx")
    with pytest.raises(ImportError, match="pip install ai-edge-litert"):
        export.ExportedMethod(tmp_path / "a.tflite")


@both
def test_what_is_no_exported_network_is_refused(suffix, tmp_path):
    path = tmp_path / f"network{suffix}"
    with pytest.raises(ValueError, match="no exported network at"):
        export.ExportedMethod(path)
    path.write_bytes(b"not a network" * 99)
    with pytest.raises(ValueError, match=r"is damaged or not written by colorseg .*export"):
        export.ExportedMethod(path)


def test_another_programs_network_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    other(np.zeros((1, 8), "float32"))  # Keras exports to ONNX what was called once
    other.export(tmp_path / "other.onnx", format="onnx", verbose=False)
    with pytest.raises(ValueError, match="is damaged or not written by colorseg"):
        export.ExportedMethod(tmp_path / "other.onnx")


# The command.


@pytest.fixture
def run_dir(tmp_path):
    """A folder as `colorseg train` leaves it."""
    options = {**tiny.OPTIONS, "image_size": 64}
    config = presets.preset("multitask", data="toy_pets", **options)
    network = model.build_from_config(config)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    network.save_weights(folder / "last.weights.h5")
    return folder


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(cli, "N_PHOTOS", 6)


def run(*arguments):
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse's own
        return error.code


def test_the_command_prints_how_near_it_came(run_dir, few, tmp_path, capsys):
    out = tmp_path / "made" / "network.onnx"
    assert run("export", run_dir, "--format=onnx", "--out", out) == 0
    said = capsys.readouterr().out
    assert f"{out}: float32, 0." in said
    assert "largest difference from Keras on 6 photographs of toy_pets: chroma " in said
    assert run("evaluate", out, "--limit=4", "--json") == 0
    assert json.loads(capsys.readouterr().out)["miou"]["value"] > 0


def test_a_file_for_one_size_is_scored_at_that_size(run_dir, few, tmp_path, capsys):
    out = tmp_path / "network.onnx"
    assert run("export", run_dir, "--format=onnx", "--size=96", "--out", out) == 0
    assert export.ExportedMethod(out).image_size == (96, 96)
    assert run("evaluate", out, "--limit=4", "--json") == 0
    assert run("export", run_dir, "--format=onnx", "--limit=4", "--out", out) == 2
    assert "--limit says how many photographs --int8 is scored on" in capsys.readouterr().err


def test_the_command_prints_what_8_bits_cost(run_dir, few, tmp_path, capsys):
    out = tmp_path / "network.onnx"
    assert run("export", run_dir, "--format=onnx", "--int8", "--limit=4", "--out", out) == 0
    said = capsys.readouterr().out
    assert "on 4 photographs of toy_pets, test split:" in said
    rows = {line.split(" | ")[0]: line for line in said.splitlines() if line.startswith("|")}
    assert {"| Keras", "| int8"} < set(rows)
    old, new = (float(rows[row].split(" | ")[1].split()[0]) for row in ("| Keras", "| int8"))
    printed = float(said.split("chroma_rmse ")[-1].split("%")[0]) / 100
    assert printed == pytest.approx(new / old - 1, abs=2e-3)


def test_a_difference_that_is_no_number_is_kept(network, photos, monkeypatch):
    class Broken:
        calls = 0

        def run(self, gray):
            self.calls += 1
            found = {"chroma": (len(gray), 64, 64, 2), "mask": (len(gray), 64, 64, 3)}
            wrong = np.nan if self.calls == 1 else 0.0  # and the last batch does not hide it
            return {name: np.full(shape, wrong) for name, shape in found.items()} | {
                "breed": np.zeros((len(gray), 5))
            }

    monkeypatch.setattr(export, "AT_ONCE", 3)
    found = export.differences(network, Broken(), photos)
    assert np.isnan(found["chroma"])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("difference", [0.5, np.nan])
def test_a_file_that_disagrees_is_told(difference, run_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "differences", lambda *_: {"mask": 0.0, "chroma": difference})
    assert run("export", run_dir, "--format=onnx", "--out", tmp_path / "network.onnx") == 1
    assert "more than 0.0001: do not use the file" in capsys.readouterr().err


def test_format_and_name_must_agree(run_dir, tmp_path, capsys):
    assert run("export", run_dir, "--format=onnx", "--out", tmp_path / "network.tflite") == 2
    assert "--format onnx writes .onnx files, got --out" in capsys.readouterr().err
    assert run("export", run_dir, "--format=pb", "--out", tmp_path / "network.pb") == 2
    assert run("export", run_dir, "--format=onnx", "--int8", "--float16", "--out=a.onnx") == 2
    assert run("export", tmp_path, "--format=onnx", "--out", tmp_path / "network.onnx") == 2
    assert "is not a run folder" in capsys.readouterr().err
