"""Trained networks as files that other programs run: ONNX and LiteRT.

Keras exports the graph. Before it does, the graph's ends are made such that a reader of the file
needs no other part of colorseg: it takes the luma, and gives chroma and probabilities. What they
mean is written into the file, see `describe`: in ONNX as the model's metadata properties, each
JSON but for plain words; in LiteRT as `metadata.json` in the ZIP archive at the file's end, where
that format keeps what belongs to a model (`unzip -p model.tflite metadata.json`).

| output   | shape          | value                                                             |
|----------|----------------|-------------------------------------------------------------------|
| "chroma" | `[B, h, w, 2]` | U in [-0.436, 0.436] and V in [-0.615, 0.615], before the gamut fit |
| "mask"   | `[B, h, w, 3]` | probabilities of pet, background and border                       |
| "breed"  | `[B, breeds]`  | probabilities                                                     |
"""

import contextlib
import importlib.util
import json
import logging
import math
import tempfile
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import colorseg
from colorseg import color, data
from colorseg.files import replacing
from colorseg.model import STRIDE, check_size, enlarge
from colorseg.photo import make_folder
from colorseg.predict import DEFAULT_SIZE
from colorseg.registry import check_known, look_up
from colorseg.tasks import MASK_CLASSES

PACKAGES = {
    ".onnx": ("tf2onnx", "onnx", "onnxruntime"),
    ".tflite": ("ai_edge_litert",),
}
PRECISIONS = ("float32", "float16", "int8")
CLASSIFIED = ("mask", "breed")
METADATA = "metadata.json"
OPSET = 17
SMALLEST_HALVED = 64  # values of a weight tensor; smaller ones are sizes, scales and bounds
AT_ONCE = 32  # photographs that a file and Keras are compared on


def export_model(network, path, *, precision="float32", photos=None, image_size=None):
    """Writes a network into a file, whole or not at all.

    Args:
        network: of `load_run`, `load_pretrained` or `build_unet`.
        path: ends in `.onnx` or `.tflite`; a file that is there is replaced.
        precision: `"float32"`; `"float16"` stores the weights in 16 bits and computes in 32;
            `"int8"` computes in 8 bits, with ranges measured on `photos`.
        photos: uint8 `[N, H, W, 3]`, for `"int8"` only: some dozens of typical photographs, at the
            size that the network was trained at; resized where the file takes one other size only.
        image_size: side in pixels or (height, width), multiples of 32, if the file shall take no
            other. None leaves ONNX any such size and any number of photographs; LiteRT, which
            always takes one photograph of one size, gets the size of training. A network that was
            built for one size keeps it in both.

    Raises:
        ValueError: on an unknown suffix or precision, a size that is impossible or not the one
            that the network was built for, no or needless `photos`, a network whose weights do
            not fit into 16 bits, or Keras on another backend than TensorFlow.
        ImportError: without the packages of the extra `export`, naming them.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    packages = look_up(PACKAGES, path.suffix.lower(), kind="suffix of an exported network")
    check_known(PRECISIONS, precision, kind="precision")
    _check_photos(photos, precision)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "networks are exported on Keras' TensorFlow backend, this is "
            f"{keras.backend.backend()}; unset KERAS_BACKEND"
        )
    _check_installed(packages)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")
    is_onnx = path.suffix.lower() == ".onnx"
    size = _choose_size(network, image_size)
    if None in size and not is_onnx:
        size = check_size(network.image_size or DEFAULT_SIZE)
    gray = None if photos is None else _resize(color.photos_to_gray(photos), size)
    graph = _readable(network, size, batch=None if is_onnx else 1)
    write = _write_onnx if is_onnx else _write_litert
    make_folder(path.parent)
    with replacing(path) as temporary:
        write(graph, temporary, precision, gray, describe(network, precision, size))


def describe(network, precision="float32", size=(None, None)):
    """Returns what an exported file says of itself, a dict ready for JSON.

    Args:
        network: as in `export_model`.
        precision: as in `export_model`.
        size: (height, width) that the file takes, None for any multiple of 32.
    """
    config = getattr(network, "config", None)
    source = config.data if config else None
    height, width = (side or f"a multiple of {STRIDE}" for side in size)
    about = {
        "network": (config and config.preset) or network.name,
        "tasks": list(network.tasks),
        "precision": precision,
        "data": source,
        "image_size": network.image_size,
        "input": {
            "gray": {
                "shape": ["photographs", height, width, 1],
                "range": [0, 1],
                "meaning": "BT.601 luma, (0.299 R + 0.587 G + 0.114 B) / 255, of the photograph "
                "reduced to this size bilinearly with antialiasing; about image_size x image_size "
                "pixels suit best",
            }
        },
        "output": {},
    }
    meanings = about["output"]
    if "color" in network.tasks:
        encoding = network.tasks["color"].encoding
        about["encoding"] = type(encoding).__name__
        about["color_stride"] = _color_stride(network)
        meanings["chroma"] = {
            "channels": ["U", "V"],
            "range": [[-color.U_MAX, color.U_MAX], [-color.V_MAX, color.V_MAX]],
            "rgb_from_yuv": color.RGB_FROM_YUV.round(8).tolist(),
            "meaning": "enlarge it to the photograph (bicubic), join it with the photograph's own "
            "luma Y, multiply by rgb_from_yuv; where a channel leaves [0, 1], mix with gray until "
            "it does not",
        }
    if "mask" in network.tasks:
        meanings["mask"] = {"classes": list(MASK_CLASSES), "meaning": "probabilities"}
    if "breed" in network.tasks:
        breeds = list(data.breed_names(source)) if source in data.SOURCES else []
        meanings["breed"] = {"classes": breeds, "meaning": "probabilities"}
    about["made_with"] = f"colorseg {colorseg.__version__}, Keras {keras.__version__}"
    about["license"] = "MIT"
    return about


class ExportedMethod:
    """An exported file, run by ONNX Runtime or LiteRT; a method of `evaluate`.

    Args:
        path: of a file that `export_model` wrote.

    Attributes:
        metadata: what `describe` gave when it was written.
        image_size: side in pixels, or (height, width), of the photographs that it is made for.

    Raises:
        ValueError: if it is no such file.
        ImportError: without the packages of the extra `export`, naming them.
    """

    def __init__(self, path):
        path = Path(path)
        suffix = path.suffix.lower()
        _check_installed(look_up(PACKAGES, suffix, kind="suffix of an exported network")[-1:])
        if not path.is_file():
            raise ValueError(f"no exported network at {path}")
        try:
            self.metadata, self._run = {".onnx": _open_onnx, ".tflite": _open_litert}[suffix](path)
            _, *sides, _ = self.metadata["input"]["gray"]["shape"]
            is_fixed = all(isinstance(side, int) for side in sides)
            trained_at = self.metadata["image_size"] or DEFAULT_SIZE
            self.image_size = tuple(sides) if is_fixed else trained_at
        except Exception as error:  # the runtimes raise kinds of their own
            raise ValueError(
                f"{path} is damaged or not written by colorseg ({error}); export it again"
            ) from error

    def run(self, gray):
        """Returns the outputs by name, as the table above says, for luma `[B, h, w, 1]`."""
        return self._run(np.ascontiguousarray(gray, np.float32))

    def predict(self, gray):
        """Returns color, mask and breed scores for luma `[B, h, w, 1]` as `evaluate` asks."""
        outputs = self.run(gray)
        read = {
            "chroma": lambda uv: ("color", ops.convert_to_numpy(color.add_chroma(gray, uv))),
            "mask": lambda shares: ("mask", shares.argmax(axis=-1)),
            "breed": lambda shares: ("breed", shares),
        }
        return dict(read[name](output) for name, output in outputs.items())


def differences(network, method, photos):
    """Returns how far an exported file is from Keras: the largest difference of each output.

    Args:
        network: what was exported.
        method: `ExportedMethod`.
        photos: uint8 `[N, h, w, 3]`, of a size that the file takes.

    Returns:
        Dict of float by name of the output.
    """
    graph = _readable(network, photos.shape[1:3], batch=None)
    largest = {}
    for start in range(0, len(photos), AT_ONCE):
        gray = color.photos_to_gray(photos[start : start + AT_ONCE])
        expected, found = graph.predict_on_batch(gray), method.run(gray)
        for name, values in expected.items():
            difference = np.abs(values - found[name]).max()
            largest[name] = float(np.maximum(difference, largest.get(name, 0.0)))  # keeps a NaN
    return largest


class _Outputs(keras.layers.Layer):
    """From what the heads predict to what it means."""

    def __init__(self, network, **options):
        super().__init__(**options)
        color_task = network.tasks.get("color")
        self.encoding = color_task and color_task.encoding
        self.stride = _color_stride(network)

    def call(self, gray, outputs):
        results = {}
        for task, output in outputs.items():
            if task == "color":
                results["chroma"] = self._chroma(gray, output)
            else:
                results[task] = ops.softmax(output) if task in CLASSIFIED else output
        return results

    def _chroma(self, gray, output):
        # Encodings shrink and enlarge, too, but only where they know the sizes beforehand.
        if self.stride > 1:
            gray = ops.average_pool(gray, self.stride, data_format="channels_last")
        chroma = self.encoding.decode_chroma(gray, output)
        return enlarge(chroma, self.stride) if self.stride > 1 else chroma


def _readable(network, size, *, batch):
    """Returns the network from luma `[B, h, w, 1]` to the outputs of the table above."""
    gray = keras.Input((*size, 1), batch_size=batch, name="gray")
    outputs = network(ops.repeat(gray, 3, axis=-1), training=False)
    return keras.Model(gray, _Outputs(network)(gray, outputs), name="colorseg")


def _color_stride(network):
    if "color" not in network.tasks:
        return 1
    height, width = (side or 2 * STRIDE for side in network.input_shape[1:3])
    return height // network.compute_output_shape((1, height, width, 3))["color"][1]


def _choose_size(network, image_size):
    """Returns the (height, width) that a file can take, None twice for any."""
    size, built_for = check_size(image_size), network.input_shape[1:3]
    if None in built_for:
        return size
    if size not in (built_for, (None, None)):
        raise ValueError(
            f"`image_size` is {image_size}, but the network was built for {built_for[0]} x "
            f"{built_for[1]} pixels only; leave it out, or build the network with image_size=None"
        )
    return built_for


def _resize(gray, size):
    """Returns luma `[N, h, w, 1]` at a size, or as it is if any will do."""
    return gray if None in size else tf.image.resize(gray, size, antialias=True).numpy()


def _write_onnx(graph, path, precision, calibration, about):
    import onnx

    with tempfile.TemporaryDirectory() as folder, _no_notes():
        raw, plain = Path(folder) / "raw.onnx", Path(folder) / "plain.onnx"
        graph(np.zeros((1, *(side or STRIDE for side in graph.input_shape[1:3]), 1), "float32"))
        graph.export(raw, format="onnx", verbose=False, opset_version=OPSET)
        _simplify(raw, plain)
        if precision == "int8":
            _quantize(plain, plain, calibration)
        model = onnx.load(plain)
    if precision == "float16":
        _halve(model)
    # Chains of names that tf2onnx made up.
    for value in [*model.graph.input, *model.graph.output]:
        axes = ("photographs", "height", "width")
        for axis, dimension in zip(axes, value.type.tensor_type.shape.dim, strict=False):
            if not dimension.dim_value:
                dimension.dim_param = axis
    model.producer_name, model.producer_version = "colorseg", colorseg.__version__
    onnx.helper.set_model_props(
        model, {k: v if isinstance(v, str) else json.dumps(v) for k, v in about.items()}
    )
    onnx.save(model, path)


def _simplify(source, target):
    """Lets ONNX Runtime fold constants and BatchNormalization, in operators of the standard."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _quantize(source, target, calibration):
    from onnxruntime import quantization

    class Photos(quantization.CalibrationDataReader):
        batches = iter(calibration[:, None])

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"gray": batch}

    quantization.quantize_static(
        source,
        target,
        Photos(),
        per_channel=True,
        # The one combination that is faster than 32 bits. Processors without VNNI may overflow in
        # a few sums; `reduce_range` would prevent that, and costs twice the accuracy everywhere.
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


def _halve(model):
    """Stores weights in 16 bits, each before a cast to 32 that runtimes do once, when they load."""
    import onnx

    casts = []
    for weight in model.graph.initializer:
        is_weight = weight.data_type == onnx.TensorProto.FLOAT
        if not is_weight or math.prod(weight.dims) < SMALLEST_HALVED:
            continue
        name = weight.name
        values = onnx.numpy_helper.to_array(weight)
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ValueError("the network has weights beyond the range of float16; export float32")
        halved = values.astype(np.float16)
        weight.CopyFrom(onnx.numpy_helper.from_array(halved, f"{name}_float16"))
        cast = onnx.helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT)
        casts.append(cast)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _write_litert(graph, path, precision, calibration, about):
    options = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    if precision != "float32":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        options["target_spec"]["supported_types"] = [tf.float16]
    if precision == "int8":
        options["representative_dataset"] = lambda: ([gray] for gray in calibration[:, None])
        options["target_spec"]["supported_ops"] = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with _no_notes():
        graph.export(path, format="litert", verbose=False, **options)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(METADATA, json.dumps(about, indent=2))


def _open_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    properties = session.get_modelmeta().custom_metadata_map

    def run(gray):
        return dict(zip(names, session.run(names, {"gray": gray}), strict=True))

    return {key: _from_json(value) for key, value in properties.items()}, run


def _open_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read(METADATA))
    runner = Interpreter(str(path)).get_signature_runner()

    def run(gray):
        # One at a time: the file takes no more. Copies, since the next call writes over them.
        rows = [{k: v.copy() for k, v in runner(gray=one).items()} for one in gray[:, None]]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return metadata, run


def _from_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def _check_photos(photos, precision):
    if (photos is None) != (precision != "int8"):
        raise ValueError(
            f"`photos` are needed for int8, and for nothing else; got precision {precision!r} and "
            f"{'no' if photos is None else len(photos)} photographs"
        )


def _check_installed(packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(name.replace("_", "-") for name in missing)
        raise ImportError(
            f"this format needs packages that are not installed: pip install {names}, or "
            'pip install "colorseg[export]" for all formats'
        )


@contextlib.contextmanager
def _no_notes():
    """Keeps the converters from telling about their own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
