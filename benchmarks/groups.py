"""What is measured. Each group runs in a process of its own, see `__main__`."""

import dataclasses
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.race import Row, each, peak_gigabytes, race, times_as_fast

RESULTS = Path(__file__).parents[1] / "book" / "results"


class Missing(RuntimeError):
    """A group cannot run here; the message says why."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        repetitions: of each contestant.
        tiny: whether to try the code on small pictures, for figures that mean nothing.
    """

    repetitions: int = 7
    tiny: bool = False

    def pick(self, real, tiny):
        """Returns the size of something."""
        return tiny if self.tiny else real


def photograph(settings):
    """One photograph of 512 pixels, and a folder of them, against Zhang 2016 and 2017."""
    import colorseg as cs
    from colorseg.predict import colorize_files

    torch, peers = _torch_peers()
    network = cs.load_pretrained()
    side = settings.pick(512, 64)
    rgb = picture(side, side)
    networks = {"Zhang 2016": peers.Zhang2016(), "Zhang 2017": peers.Zhang2017()}
    for peer in networks.values():
        peer.eval()
        peer.side = settings.pick(peer.side, 32)
    rows, figures = [], {}

    seconds = race(
        {
            "colorseg": lambda: cs.colorize(rgb, network),
            **{name: _bind(_paint, torch, peer, rgb) for name, peer in networks.items()},
        },
        repetitions=settings.repetitions,
    )
    figures["seconds_per_photograph"] = float(np.median(seconds["colorseg"]))
    sizes = f"{network.image_size} x {network.image_size} pixels"
    sizes = {
        name: f"the networks see {sizes}, theirs {peer.side} x {peer.side}, as they were trained"
        for name, peer in networks.items()
    }
    what = f"a photograph of {side} px, array to array"
    rows += [
        _race_row(what, seconds, "colorseg", name, aim=20, note=sizes[name]) for name in networks
    ]

    # The same number of pixels for all: what the architecture alone makes of it.
    small = settings.pick(256, 32)
    gray = np.random.default_rng(0).random((1, small, small, 3), dtype="float32")
    lightness = torch.from_numpy(100 * gray[..., :1].transpose(0, 3, 1, 2))
    seconds = race(
        {
            "colorseg": lambda: network.predict_on_batch(gray),
            **{name: _bind(_infer, torch, peer, lightness) for name, peer in networks.items()},
        },
        repetitions=settings.repetitions,
    )
    rows += [
        _race_row(
            f"the network alone, {small} x {small} pixels for both", seconds, "colorseg", name
        )
        for name in networks
    ]

    count = settings.pick(100, 2)
    with tempfile.TemporaryDirectory() as folder:
        album, out = Path(folder, "album"), Path(folder, "out")
        for number in range(count):
            save(picture(side, side, seed=number), album / f"{number}.jpg")
        options = {"format": "jpeg", "progress": False}
        seconds = race(
            {
                "colorseg": lambda: colorize_files(album, network, out, **options),
                **{n: _bind(_paint_folder, torch, p, album, out) for n, p in networks.items()},
            },
            repetitions=min(3, settings.repetitions),
            warm=True,
        )
    rows += [
        _race_row(
            f"a folder of {count} photographs, JPEG to JPEG",
            seconds,
            "colorseg",
            name,
            aim=20,
            count=count,
            note=sizes[name],
        )
        for name in networks
    ]
    return rows, figures


def large(settings):
    """A photograph of 12 megapixels, load to save, against decoding and encoding it."""
    import colorseg as cs
    from colorseg.photo import read_photo, write_image
    from colorseg.predict import colorize_files

    network = cs.load_pretrained()
    height, width = settings.pick((3000, 4000), (60, 80))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "photo.jpg")
        save(picture(height, width), photo)
        for format, suffix in (("png", ".png"), ("jpeg", ".jpg")):
            copy = Path(folder, "copy" + suffix)

            def color(format=format):
                out = Path(folder, "out")
                colorize_files(photo, network, out, format=format, progress=False)

            def floor(copy=copy):
                write_image(copy, read_photo(photo).rgb)

            seconds = race({"colorseg": color, "copy": floor}, repetitions=settings.repetitions)
            rows.append(
                Row(
                    f"{height * width / 1e6:.0f} megapixels, JPEG to {format.upper()}",
                    f"colorize_files ({each(seconds['colorseg'])})",
                    f"decode and encode ({each(seconds['copy'])})",
                    times_as_fast(seconds, "copy", "colorseg"),
                    unit="x the time",
                    aim=2,
                    at_least=False,
                )
            )
    return rows, {}


def training(settings):
    """Photographs a second in training, against the tutorial's loop and the bare step."""
    import tensorflow as tf

    arrays, steps, batch_size = _training_toys(settings)
    model, ours = _build_to_train("multitask", arrays, batch_size)
    tutorial = _tutorial_batches(arrays, list(model.tasks.values()), batch_size)
    constant = tf.data.Dataset.from_tensors(next(iter(ours))).repeat().prefetch(1)

    def fit(dataset):
        model.fit(dataset, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)

    def bare():
        # What `fit` calls each step, and nothing else.
        function, iterator = model.make_train_function(), iter(constant)
        for _ in range(steps):
            logs = model.train_function(iterator)
        return function, {name: float(value) for name, value in logs.items()}

    def read():
        for _ in ours.take(steps):
            pass

    seconds = race(
        {
            "colorseg": lambda: fit(ours),
            "tutorial": lambda: fit(tutorial),
            "step": bare,
            "pipeline": read,
        },
        repetitions=min(5, settings.repetitions),
    )
    photos = steps * batch_size
    rates = {name: photos / float(np.median(values)) for name, values in seconds.items()}

    ours_a_second = f"colorseg ({rates['colorseg']:.1f}/s)"
    rows = [
        Row(
            "training, photographs a second",
            ours_a_second,
            f"the loop of TensorFlow's segmentation tutorial ({rates['tutorial']:.1f}/s)",
            times_as_fast(seconds, "colorseg", "tutorial"),
            note="ours augments more: it also zooms, turns, shifts and changes the light",
        ),
        Row(
            "training, photographs a second",
            ours_a_second,
            f"the compiled step on one constant batch, the limit ({rates['step']:.1f}/s)",
            times_as_fast(seconds, "colorseg", "step"),
            aim=0.95,
        ),
        Row(
            "input pipeline alone",
            f"batches, augmented ({rates['pipeline']:.1f}/s)",
            f"what training takes ({rates['colorseg']:.1f}/s)",
            times_as_fast(seconds, "pipeline", "colorseg"),
            aim=5,
        ),
    ]
    return rows, {"training_images_per_second": rates["colorseg"]}


def tasks(settings):
    """Steps of training color and mask in one network, against those of one network for each."""
    arrays, steps, batch_size = _training_toys(settings)
    names = ("multitask", "color", "mask")
    built = {name: _build_to_train(name, arrays, batch_size) for name in names}

    def runner(model, batches):
        return lambda: model.fit(batches, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)

    seconds = race(
        {name: runner(*pair) for name, pair in built.items()},
        repetitions=min(5, settings.repetitions),
    )
    both = [color + mask for color, mask in zip(seconds["color"], seconds["mask"], strict=True)]
    photos = steps * batch_size
    row = Row(
        "training on color and mask",
        f"one network ({each(seconds['multitask'], photos)})",
        f"two networks ({each(seconds['color'], photos)} and {each(seconds['mask'], photos)})",
        [one / two for one, two in zip(seconds["multitask"], both, strict=True)],
        unit="x the time",
        aim=0.65,
        at_least=False,
    )
    return [row], {}


def _training_toys(settings):
    """Returns toy pets to train on, how many steps, and of how many photographs."""
    import colorseg as cs

    side, count, steps = settings.pick((128, 512, 30), (32, 16, 2))
    arrays = cs.resize(cs.load("toy_pets", "train").take(count), side)
    return arrays, steps, settings.pick(32, 4)


def _build_to_train(preset, arrays, batch_size):
    """Returns the compiled network of a preset, and its batches without end."""
    import tensorflow as tf

    import colorseg as cs
    from colorseg import training as library
    from colorseg.distribution import Team

    config = cs.preset(
        preset,
        data="toy_pets",
        encoder_weights="none",
        image_size=arrays["images"].shape[1],
        batch_size=batch_size,
    )
    model, batches = library._build(config, arrays, Team())
    return model, batches.of_epochs(0, 1_000_000).prefetch(tf.data.AUTOTUNE)


def runtimes(settings):
    """One network in Keras, ONNX Runtime, LiteRT and PyTorch."""
    import colorseg as cs
    from colorseg import predict

    torch, peers = _torch_peers()
    network = cs.load_pretrained()
    side = settings.pick(128, 32)
    written = peers.OurNetwork(network.config.color_stride).eval()
    _check_same_size(network, written)
    toys = cs.resize(cs.load("toy_pets", "train").take(settings.pick(100, 4)), side)["images"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        exported = _export_all(network, folder, toys)
        for count in (1, settings.pick(32, 2)):
            gray = np.random.default_rng(0).random((count, side, side, 1), dtype="float32")
            three = np.repeat(gray, 3, axis=-1)
            channels_first = torch.from_numpy(three.transpose(0, 3, 1, 2).copy())
            runners = {
                "Keras, compiled": lambda x=three: network.predict_on_batch(x),
                "PyTorch": _bind(_infer, torch, written, channels_first),
                **{", ".join(what): _bind(method.run, gray) for what, method in exported.items()},
            }
            ours = "Keras, compiled"
            if count == 1:
                ours = "colorize's way"
                photo = (255 * three[0]).astype("uint8")
                runners[ours] = lambda p=photo: predict._run(p, network, "color", side)
            seconds = race(runners, repetitions=3 * settings.repetitions)
            batch = "one photograph" if count == 1 else f"a batch of {count}"
            rows += [
                _race_row(f"{side} x {side} pixels, {batch}", seconds, ours, name, count=count)
                for name in runners
                if name != ours
            ]
            others = [name for name in runners if name != ours]
            exact = [name for name in others if "int8" not in name]
            for kind, names in (("the fastest", others), ("the fastest in 32 bits", exact)):
                first = min(names, key=lambda name: np.median(seconds[name]))
                rows.append(
                    Row(
                        f"{side} x {side} pixels, {batch}: the default way",
                        f"{ours} ({each(seconds[ours], count)})",
                        f"{kind}, {first} ({each(seconds[first], count)})",
                        times_as_fast(seconds, first, ours),
                        unit="x the time",
                        aim=1.1,
                        at_least=False,
                    )
                )
    return rows, {}


def exported(settings):
    """How far exported networks are from Keras, and what 8 bits cost on the test split."""
    import colorseg as cs
    from colorseg import data, export

    source = "oxford_iiit_pet" if data.pets_are_prepared() else "toy_pets"
    side, count = settings.pick((128, 100), (32, 4))
    network = cs.load_pretrained()
    train = cs.resize(cs.load(source, "train").take(count), side)["images"]
    test = cs.load(source, "test")
    test = cs.resize(test.take(count) if settings.tiny else test, side)
    scored = f"{source}, {len(test['images'])} photographs"
    keras_scores = cs.evaluate(cs.NetworkMethod(network), test, progress=False)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for (runtime, precision), method in _export_all(network, folder, train).items():
            file = f"{runtime}, {precision}"
            if precision == "float32":
                images = test["images"][:count]
                largest = max(export.differences(network, method, images).values())
                name = f"largest difference, {source}, {len(images)} photographs"
                rows.append(Row(name, file, "Keras", [largest], "", 1e-4, at_least=False))
            else:
                scores = cs.evaluate(method, test, progress=False)
                rows += _losses(scored, file, scores, "Keras", keras_scores)
    return rows, {}


def _export_all(network, folder, photos):
    """Returns an exported method by (runtime, precision), for photographs of this size."""
    from colorseg import export

    needed = {package for packages in export.PACKAGES.values() for package in packages}
    missing = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:
        raise Missing(f"needs {', '.join(missing)}: pip install 'colorseg[export]'")
    methods = {}
    for runtime, suffix in (("ONNX Runtime", ".onnx"), ("LiteRT", ".tflite")):
        for precision in ("float32", "int8"):
            path = Path(folder, precision + suffix)
            some = photos if precision == "int8" else None
            size = photos.shape[1]
            export.export_model(network, path, precision=precision, photos=some, image_size=size)
            methods[runtime, precision] = export.ExportedMethod(path)
    return methods


def _losses(what, name, scores, peer, its, *, aims=(None, None)):
    """Rows of how much worse scores are than a peer's: mIoU, and chroma RMSE in percent."""
    mine, its = ({k: v["value"] for k, v in each.items()} for each in (scores, its))
    rows = []
    if "miou" in mine and "miou" in its:
        lost = [its["miou"] - mine["miou"]]
        rows.append(Row(f"mIoU lost, {what}", name, peer, lost, "", aims[0], at_least=False))
    if "chroma_rmse" in mine and "chroma_rmse" in its:
        lost = [100 * (mine["chroma_rmse"] / its["chroma_rmse"] - 1)]
        row = Row(f"chroma RMSE lost, {what}", name, peer, lost, "%", aims[1], at_least=False)
        rows.append(row)
    return rows


def decoders(settings):
    """The light decoder against the paper's: speed here, quality from the records of runs."""
    import colorseg as cs

    side = settings.pick(128, 32)

    def build(decoder, stride):
        tasks = [cs.color_task(stride=stride), cs.mask_task()]
        return cs.build_unet(tasks, decoder=decoder, image_size=side)

    networks = {"separable": build("separable", 2), "paper": build("paper", 1)}
    rows = []
    for count in (1, settings.pick(32, 2)):
        gray = np.random.default_rng(0).random((count, side, side, 3), dtype="float32")
        runners = {name: _bind(n.predict_on_batch, gray) for name, n in networks.items()}
        seconds = race(runners, repetitions=settings.repetitions)
        batch = "one photograph" if count == 1 else f"a batch of {count}"
        rows.append(
            _race_row(
                f"the light decoder, {batch} of {side} px",
                seconds,
                "separable",
                "paper",
                aim=2,
                count=count,
                note="colors at half and at full resolution, as these decoders are used",
            )
        )
    return rows + _decoder_records(), {}


def _decoder_records():
    """Rows of what the light decoder loses, if runs are on record that differ in nothing else."""
    runs = []
    for path in sorted(RESULTS.rglob("config.json")):
        metrics = path.with_name("metrics.json")
        if metrics.exists():
            runs.append((path.parent.name, json.loads(path.read_text()), metrics))

    def recipe(config):
        left_out = ("decoder", "color_stride", "preset")
        return {key: value for key, value in config.items() if key not in left_out}

    rows = []
    for (light, a, ours), (other, b, theirs) in itertools.permutations(runs, 2):
        wanted = a["decoder"] == "separable" and b["decoder"] != "separable"
        if not wanted or recipe(a) != recipe(b):
            continue
        mine, its = (json.loads(path.read_text()) for path in (ours, theirs))
        peer = f"{other} (decoder {b['decoder']})"
        aims = (0.01, 2) if b["decoder"] == "paper" else (None, None)
        rows += _losses(f"test split, {a['epochs']} epochs", light, mine, peer, its, aims=aims)
    return rows


def memory_of_colorize(settings):
    """The peak of `colorseg colorize` on 100 megapixels."""
    from colorseg import cli

    side = settings.pick(10_000, 100)
    with tempfile.TemporaryDirectory() as folder:
        # Drawn in another process, whose memory is not counted.
        code = "import sys; from benchmarks.groups import picture, save\n"
        code += f"save(picture({side}, {side}), sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, f"{folder}/photo.jpg"], check=True)
        if cli.main(["colorize", f"{folder}/photo.jpg", "--out", f"{folder}/out"]) != 0:
            raise RuntimeError("colorize failed")
    return [_memory_row(f"colorize, {side**2 / 1e6:.0f} megapixels", 2.5)], {}


def memory_of_training(settings):
    """The peak of `colorseg train`, from reading the photographs to scoring the test split."""
    import colorseg as cs
    from colorseg import data, training

    source = "oxford_iiit_pet" if data.pets_are_prepared() and not settings.tiny else "toy_pets"
    config = cs.preset("multitask", encoder_weights="none", data=source, epochs=1)
    if settings.tiny:
        config = dataclasses.replace(config, image_size=32, batch_size=256)
    with tempfile.TemporaryDirectory() as folder:
        training.train(config, Path(folder, "run"), progress=False)
    name = f"training for one epoch, {source}, batches of {config.batch_size}"
    return [_memory_row(name, 4)], {}


def start(settings):
    """Import and help, against the interpreter and TensorFlow."""
    commands = {
        "import colorseg": ["-c", "import colorseg"],
        "colorseg --help": ["-m", "colorseg", "--help"],
        "colorseg train --help": ["-m", "colorseg", "train", "--help"],
        "python": ["-c", "pass"],
        "import tensorflow": ["-c", "import tensorflow"],
    }

    def runner(arguments):
        def run():
            subprocess.run(
                [sys.executable, *arguments],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        return run

    seconds = race(
        {name: runner(arguments) for name, arguments in commands.items()},
        repetitions=settings.repetitions,
    )
    rows = []
    for name in list(commands)[:3]:
        code = "import runpy, sys\nsys.argv = sys.argv[1:]\n"
        code += "import colorseg\n"
        if commands[name][0] == "-m":
            code += "try: runpy.run_module('colorseg', run_name='__main__')\n"
            code += "except SystemExit: pass\n"
        code += "print('tensorflow' in sys.modules, file=sys.stderr)"
        arguments = commands[name][1:] if commands[name][0] == "-m" else ["x"]
        process = subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
        )
        imports = process.stderr.strip().splitlines()[-1] == "True"
        ours = f"{each(seconds[name])}, of which the interpreter {each(seconds['python'])}"
        peer = f"import tensorflow ({each(seconds['import tensorflow'])})"
        rows += [
            Row(name, ours, peer, times_as_fast(seconds, name, "import tensorflow")),
            Row(name, "imports of TensorFlow", "", [int(imports)], "", 0, at_least=False),
        ]
    return rows, {}


def floor(settings):
    """The network's time against its multiplications at the machine's speed."""
    import tensorflow as tf

    import colorseg as cs

    side, count, n = settings.pick((128, 32, 2048), (32, 2, 128))
    network = cs.load_pretrained()
    gray = np.random.default_rng(0).random((count, side, side, 3), dtype="float32")
    operations = _count_operations(network, side) * count
    a = tf.random.normal((n, n))
    multiply = tf.function(lambda: tf.reduce_sum(a @ a))
    seconds = race(
        {"network": _bind(network.predict_on_batch, gray), "matmul": lambda: float(multiply())},
        repetitions=settings.repetitions,
    )
    speeds = [2 * n**3 / value for value in seconds["matmul"]]
    floors = [operations / speed for speed in speeds]
    row = Row(
        f"a batch of {count} through the network, {side} px",
        f"Keras, compiled ({each(seconds['network'], count)})",
        f"its {operations / count / 1e9:.2f} GFLOP a photograph at the machine's "
        f"{np.median(speeds) / 1e9:.0f} GFLOP/s in a matrix product ({each(floors, count)})",
        [ours / least for ours, least in zip(seconds["network"], floors, strict=True)],
        unit="x the floor",
    )
    return [row], {
        "gflop_per_photograph": operations / count / 1e9,
        "machine_gflops": float(np.median(speeds)) / 1e9,
    }


GROUPS = {
    function.__name__: function
    for function in (
        photograph,
        large,
        training,
        tasks,
        runtimes,
        exported,
        decoders,
        memory_of_colorize,
        memory_of_training,
        start,
        floor,
    )
}


def picture(height, width, *, seed=0):
    """Draws something as smooth and as noisy as a photograph, uint8 RGB `[H, W, 3]`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.integers(-6, 7, (height, width, 1), dtype=np.int16)
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def save(rgb, path):
    """Writes a JPEG as cameras do."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, quality=90)


def _race_row(name, seconds, ours, peer, *, aim=None, count=1, note=""):
    return Row(
        name,
        f"{ours} ({each(seconds[ours], count)})",
        f"{peer} ({each(seconds[peer], count)})",
        times_as_fast(seconds, ours, peer),
        aim=aim,
        note=note,
    )


def _memory_row(name, aim):
    peak = peak_gigabytes()
    if peak is None:
        raise Missing("needs Linux, which tells the most memory that a process has had")
    return Row(name, "peak of the process", "", [peak], "GB", aim, at_least=False)


def _bind(function, *arguments):
    return lambda: function(*arguments)


def _torch_peers():
    if importlib.util.find_spec("torch") is None:
        raise Missing("needs PyTorch: pip install 'colorseg[benchmarks]'")
    import torch

    from benchmarks import torch_peers

    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    return torch, torch_peers


def _infer(torch, network, x):
    with torch.inference_mode():
        return network(x)


def _paint(torch, network, rgb):
    """Colors a photograph as the two papers' demonstrations do: their size in, full size out."""
    from skimage.color import lab2rgb, rgb2lab

    lightness = rgb2lab(rgb)[..., :1].astype("float32")  # [H, W, 1]
    full = torch.from_numpy(lightness.transpose(2, 0, 1)[None])
    small = Image.fromarray(rgb).resize((network.side, network.side), Image.Resampling.BICUBIC)
    small = rgb2lab(np.asarray(small))[..., :1].astype("float32")
    ab = _infer(torch, network, torch.from_numpy(small.transpose(2, 0, 1)[None].copy()))
    with torch.inference_mode():
        ab = torch.nn.functional.interpolate(ab, full.shape[2:], mode="bilinear")
        lab = torch.cat([full, ab], dim=1)[0].numpy()
    return (255 * lab2rgb(lab.transpose(1, 2, 0))).round().astype("uint8")


def _paint_folder(torch, network, album, out):
    out.mkdir(exist_ok=True)
    for path in sorted(album.iterdir()):
        with Image.open(path) as photo:
            rgb = np.asarray(photo.convert("RGB"))
        Image.fromarray(_paint(torch, network, rgb)).save(out / path.name, quality=95)


def _tutorial_batches(arrays, tasks, batch_size):
    """The pipeline of tensorflow.org/tutorials/images/segmentation, with our targets."""
    import tensorflow as tf

    def load(example):
        image = tf.cast(example["images"], tf.float32) / 255
        return {**example, "images": image}

    def augment(batch):
        mirror = tf.random.uniform([batch_size, 1, 1, 1]) < 0.5
        flipped = {
            key: tf.where(mirror, tf.reverse(batch[key], [2]), batch[key])
            for key in ("images", "segmentation_masks")
        }
        batch = {**batch, **flipped}
        gray = tf.image.rgb_to_grayscale(batch["images"])
        targets = {task.name: task.target(batch) for task in tasks}
        return tf.repeat(gray, 3, axis=-1), targets

    numbers = {key: value for key, value in arrays.items() if key != "file_names"}
    return (
        tf.data.Dataset.from_tensor_slices(numbers)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE)
        .cache()
        .shuffle(1000)
        .batch(batch_size, drop_remainder=True)
        .repeat()
        .map(augment)
        .prefetch(tf.data.AUTOTUNE)
    )


def _check_same_size(network, written):
    """Raises unless the network in PyTorch has as many weights as that in Keras."""
    keras_count = sum(int(np.prod(v.shape)) for v in network.weights)
    torch_count = sum(v.numel() for v in written.state_dict().values() if v.dim() > 0)
    if keras_count != torch_count:
        raise RuntimeError(
            f"the network in PyTorch has {torch_count} weights, that in Keras {keras_count}: "
            "write it anew, or measure nothing"
        )


def _count_operations(network, side):
    """Returns the float operations of one photograph, by TensorFlow's own count."""
    import tensorflow as tf

    profiler = tf.compat.v1.profiler
    spec = tf.TensorSpec((1, side, side, 3), tf.float32)
    graph = tf.function(lambda x: network(x, training=False)).get_concrete_function(spec).graph
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    return profiler.profile(graph, options=options.with_empty_output().build()).total_float_ops


def run(name, settings):
    """Returns the outcome of a group, ready for JSON."""
    started = time.perf_counter()
    try:
        rows, figures = GROUPS[name](settings)
    except Missing as error:
        return {"rows": [], "figures": {}, "skipped": str(error)}
    seconds = time.perf_counter() - started
    return {
        "rows": [dataclasses.asdict(row) for row in rows],
        "figures": figures,
        "seconds": seconds,
    }
