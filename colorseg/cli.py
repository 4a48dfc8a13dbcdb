"""The command line: `colorseg train | evaluate | report | colorize | segment | export`.

The library is imported only when a command runs, so that help comes at once.
"""

import argparse
import inspect
import json
import os
import signal
import sys

from colorseg.presets import PRESETS, preset
from colorseg.workers import quiet

EPILOG = """exit codes: 0 all done; 1 some photographs were skipped, training failed, or an exported
file differs; 2 wrong options or bad input; 130 interrupted"""
DATA_HELP = (
    "oxford_iiit_pet, toy_pets, or a folder of photographs, optionally with images/ and masks/"
)
BASELINE_NAMES = (
    *("gray", "constant", "breed_mean", "nearest", "welsh", "levin", "learch"),
    *("all_foreground", "mean_mask", "threshold", "texton_forest", "grabcut"),
)
EXPORT_SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
NETWORK_HELP = (
    "a run folder, or a network that comes with colorseg: multitask (pretrained is another name "
    "for it) or zhang"
)
N_PHOTOS = 100  # that an exported network is compared on, and that ranges are measured on
AGREEMENT = 1e-4  # of Keras and another runtime, in 32 bits
DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments=None):
    """Runs the command line.

    Args:
        arguments: list of str; None takes those of the process.

    Returns:
        The exit code.
    """
    options = build_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _start_tensorflow()
        return options.run(options)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except (ImportError, ValueError, OSError) as error:
        return _complain(error, MISUSED)


def _start_tensorflow():
    """Imports TensorFlow without the notes that it writes on its start, unless it fails."""
    with quiet():
        import tensorflow

        tensorflow.config.list_physical_devices()


def build_parser():
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="colorseg",
        description="Colors gray photographs, and trains and measures networks that do.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_train, _add_evaluate, _add_report, _add_colorize, _add_segment, _add_export):
        add(commands)
    return parser


def _add_command(commands, name, run, text):
    command = commands.add_parser(
        name,
        help=text.split(".", maxsplit=1)[0].replace("%", "%%"),
        description=text,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def _add_train(commands):
    command = _add_command(
        commands,
        "train",
        _train,
        "Trains a network and writes a run folder. Interrupted and started again with the same\n"
        "command, it continues after the last finished epoch.",
    )
    command.add_argument(
        "--preset", required=True, help=f"what to train: {', '.join(PRESETS)}", metavar="NAME"
    )
    command.add_argument("--data", help=DATA_HELP + " (oxford_iiit_pet)")
    command.add_argument(
        "--encoder-weights",
        metavar="PATH",
        help="weights the encoder starts from: a Keras weights file without top, imagenet (which "
        "Keras downloads), or none (imagenet)",
    )
    command.add_argument(
        "--epochs", type=int, metavar="N", help="passes over the photographs (the preset's)"
    )
    command.add_argument(
        "--seed", type=int, metavar="S", help="of weights, order and augmentation (0)"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="change another option of the preset, as often as needed: decoder=separable, "
        "precision=mixed_float16, tasks.mask=0.3 (the weight of a task's loss)",
    )
    command.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="this machine's GPUs that share each batch (1)",
    )
    command.add_argument(
        "--hosts",
        metavar="A:PORT,B,...",
        help="machines that share each batch, with all their devices: the same command on each, "
        "but for --host-id, with KERAS_BACKEND=jax; they meet at the first one's port",
    )
    command.add_argument(
        "--host-id", type=int, metavar="N", help="this machine's place among --hosts, from 0"
    )
    command.add_argument(
        "--out", required=True, metavar="RUN_DIR", help="the run folder, on host 0 if several"
    )


def _add_evaluate(commands):
    command = _add_command(
        commands,
        "evaluate",
        _evaluate,
        "Scores a network or a baseline on a split, with 95 % bootstrap intervals over the images.",
    )
    command.add_argument(
        "methods",
        nargs="+",
        metavar="method",
        help=f"{NETWORK_HELP}; several are scored as one, the mean of their answers; or a file "
        f"that export wrote; or a baseline: {', '.join(BASELINE_NAMES)}",
    )
    command.add_argument("--data", help=DATA_HELP + " (the run's, else oxford_iiit_pet)")
    command.add_argument(
        "--split", default="test", help="train, validation, test or all (%(default)s)"
    )
    command.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    command.add_argument(
        "--encoder-weights",
        metavar="PATH",
        help="of the encoder whose features a baseline uses, as of train (imagenet)",
    )
    command.add_argument(
        "--hints",
        type=int,
        metavar="N",
        help="pixels of each photograph whose true color levin is given (10)",
    )
    command.add_argument(
        "--blur",
        type=float,
        metavar="SIGMA",
        help="blur a network's chroma by a Gaussian of so many pixels, to see what its grain costs",
    )
    command.add_argument(
        "--mirror",
        action="store_true",
        default=None,
        help="ask each network twice, the second time with the mirror image, and take the mean",
    )
    command.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="score N photographs of the split, a fixed random choice, instead of all",
    )
    command.add_argument(
        "--out",
        metavar="DIR",
        help="write metrics.json, and environment.json that tells how they came about, for report",
    )


def _add_report(commands):
    command = _add_command(
        commands,
        "report",
        _report,
        "Prints the tables of a folder of run folders, and writes report.json into it.",
    )
    command.add_argument("results", metavar="DIR", help="folder of run folders")


def _add_colorize(commands):
    command = _add_command(
        commands,
        "colorize",
        _colorize,
        "Colors photographs of any size. The result keeps the photograph's size and luma.\n"
        "A photograph that cannot be read is reported and skipped.",
    )
    _add_files(command)
    command.add_argument(
        "--format",
        default="png",
        help="png keeps the luma to within rounding, jpeg is smaller (%(default)s)",
    )


def _add_segment(commands):
    command = _add_command(
        commands,
        "segment",
        _segment,
        "Finds the pet in photographs of any size. A mask is a PNG of the photograph's size with\n"
        "the values 1 pet, 2 background, 3 border.",
    )
    _add_files(command)


def _add_export(commands):
    command = _add_command(
        commands,
        "export",
        _export,
        "Writes a network into a file that ONNX Runtime or LiteRT runs without colorseg.\n"
        "Prints how far it is from Keras on 100 photographs and what computing in 8 bits costs on\n"
        'the test split. Needs pip install "colorseg[export]".',
    )
    command.add_argument(
        "network",
        metavar="RUN_DIR",
        help=NETWORK_HELP,
    )
    command.add_argument(
        "--format",
        required=True,
        choices=EXPORT_SUFFIXES,
        help="onnx takes photographs of any size, litert those of one",
    )
    precision = command.add_mutually_exclusive_group()
    for name, text in {
        "float16": "store the weights in 16 bits: half the size",
        "int8": "compute in 8 bits: a third of the size, and faster",
    }.items():
        precision.add_argument(
            f"--{name}", dest="precision", action="store_const", const=name, help=text
        )
    command.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="side of the photographs if the file shall take no others, a multiple of 32",
    )
    command.add_argument(
        "--data",
        help=DATA_HELP + ", to compare on and to measure ranges of int8 (the run's; toy_pets "
        "where the run's pets are not prepared)",
    )
    command.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="score int8 on N photographs of the test split, a fixed random choice, instead of all",
    )
    command.add_argument("--out", required=True, metavar="FILE", help="the file")
    command.set_defaults(precision="float32")


def _add_files(command):
    command.add_argument("photos", nargs="+", metavar="PHOTO", help="files or folders")
    command.add_argument(
        "--weights",
        default="pretrained",
        metavar="RUN_DIR",
        help=f"{NETWORK_HELP} (%(default)s)",
    )
    command.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    command.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="the network sees about PIXELS x PIXELS, in the photograph's aspect ratio "
        "(the size it was trained at)",
    )
    command.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the photographs, each with memory for one (%(default)s)",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="keep results that are what would come out again: of the same photograph, network, "
        "size and version",
    )


def _train(options):
    named = {name: getattr(options, name) for name in ("data", "encoder_weights", "epochs", "seed")}
    given = {name: value for name, value in named.items() if value is not None}
    config = preset(options.preset, **{**given, **_parse_changes(options.set)})

    from colorseg.training import TrainingError, train

    machines = {name: getattr(options, name) for name in ("devices", "host_id")}
    machines["hosts"] = options.hosts and options.hosts.split(",")
    machines = {name: value for name, value in machines.items() if value is not None}
    try:
        metrics = train(config, options.out, **machines)
    except TrainingError as error:
        return _complain(error, FAILED)
    if metrics is None:
        print("trained; the run folder and the scores are on host 0", file=sys.stderr)
    else:
        _print_rows({options.preset: metrics})
    return DONE


def _evaluate(options):
    from colorseg import data, records

    if options.out:
        records.check_folder(options.out)
    method, about = _load_method(options)
    trained_on = about.pop("trained_on", about["data"])

    def read(split):
        examples = data.load(about["data"], split)
        return data.resize(examples, about["image_size"], progress=True)

    arrays = read(options.split)
    if trained_on != about["data"]:
        arrays.pop("labels", None)  # where the same numbers stand for other breeds
    train = read("train") if hasattr(method, "fit") else None
    metrics, how = records.score(method, arrays, train=train, limit=options.limit, progress=True)
    if options.out:
        records.write(options.out, metrics, {**about, "split": options.split, **how})
    if options.json:
        print(json.dumps(metrics))
    else:
        name = options.out and os.path.basename(os.path.normpath(options.out))
        _print_rows({name or about["method"]: metrics})
    return DONE


def _load_method(options):
    """Returns the method that `colorseg evaluate` names, and what its record says of it."""
    from colorseg import machine
    from colorseg.baselines import BASELINES
    from colorseg.model import find_pretrained

    named = {
        name: getattr(options, name) for name in ("encoder_weights", "hints", "blur", "mirror")
    }
    given = {name: value for name, value in named.items() if value is not None}
    known = ("pretrained", *find_pretrained())
    networks = [
        method
        for method in options.methods
        if method not in BASELINES and (os.path.isdir(method) or method in known)
    ]
    if len(networks) == len(options.methods):
        return _load_networks(options, given)
    method = next(method for method in options.methods if method not in networks)
    is_exported = method.lower().endswith(tuple(EXPORT_SUFFIXES.values()))
    if not is_exported and method not in BASELINES:
        raise ValueError(
            f"{method!r} is neither a network nor a baseline; known networks: "
            f"{', '.join(find_pretrained())} and any run folder; known baselines: "
            f"{', '.join(BASELINES)}"
        )
    if len(options.methods) > 1:
        raise ValueError(
            f"only networks can be scored as one, by name or run folder; evaluate {method} alone"
        )
    if is_exported:
        return _load_exported(method, options.data, given)
    build = BASELINES[method]
    signature = inspect.signature(build)
    _check_accepted(given, signature.parameters.keys() - {"blur", "mirror"}, method)
    arguments = signature.bind(**given)
    arguments.apply_defaults()
    settings = arguments.arguments
    about = {"method": method, "settings": settings}
    if "encoder_weights" in settings:
        about["encoder_weights"] = machine.describe_weights(settings.pop("encoder_weights"))
    about |= {"data": options.data or "oxford_iiit_pet", "image_size": 128}
    return build(**given), about


def _load_networks(options, given):
    from colorseg.evaluation import NetworkMethod

    _check_accepted(given, ("blur", "mirror"), "a network")
    names = [os.path.basename(os.path.normpath(method)) for method in options.methods]
    models = [_load_weights(method) for method in options.methods]
    learned = {(model.config.data, model.config.image_size) for model in models}
    if len(learned) > 1:
        told = " and ".join("{} at {} pixels".format(*each) for each in sorted(learned))
        raise ValueError(f"networks of {told} cannot be scored as one; take those of one kind")
    ((trained_on, size),) = learned
    settings = given | ({"networks": names} if len(names) > 1 else {})
    about = {"data": options.data or trained_on, "image_size": size}
    about |= {"method": ", ".join(names), "kind": "network", "settings": settings}
    return NetworkMethod(*models, **given), {**about, "trained_on": trained_on}


def _load_exported(path, data, given):
    from colorseg.export import ExportedMethod

    _check_accepted(given, (), "an exported network")
    method = ExportedMethod(path)
    about = {"data": data or method.metadata["data"] or "oxford_iiit_pet"}
    about["trained_on"] = method.metadata["data"] or about["data"]
    about["image_size"] = method.image_size
    about |= {"method": os.path.basename(path), "kind": "network", "settings": {}}
    return method, about


def _check_accepted(given, accepted, who):
    for option in given:
        if option not in accepted:
            raise ValueError(f"{who} takes no --{option.replace('_', '-')}")


def _report(options):
    from colorseg.report import write_report

    print(write_report(options.results), end="")
    return DONE


def _colorize(options):
    from colorseg.predict import colorize_files

    report = colorize_files(
        options.photos,
        _load_weights(options.weights),
        options.out,
        size=options.size,
        format=options.format,
        jobs=options.jobs,
        resume=options.resume,
    )
    return _print_report(report, options.out)


def _segment(options):
    from colorseg.predict import segment_files

    report = segment_files(
        options.photos,
        _load_weights(options.weights),
        options.out,
        size=options.size,
        jobs=options.jobs,
        resume=options.resume,
    )
    return _print_report(report, options.out)


def _export(options):
    from colorseg import data, export

    suffix = EXPORT_SUFFIXES[options.format]
    if not options.out.lower().endswith(suffix):
        raise ValueError(
            f"--format {options.format} writes {suffix} files, got --out {options.out}"
        )
    precision = options.precision
    if options.limit and precision != "int8":
        raise ValueError("--limit says how many photographs --int8 is scored on; give both or none")
    network = _load_weights(options.network)
    source = options.data or network.config.data
    if not options.data and source == "oxford_iiit_pet" and not data.pets_are_prepared():
        source = "toy_pets"
        print("colorseg: no pets are prepared, taking drawings, toy_pets", file=sys.stderr)
    size = options.size or network.image_size

    def read(split, count):
        examples = data.load(source, split)
        return data.resize(examples.take(count) if count else examples, size)

    photos = read("train", N_PHOTOS)["images"] if precision == "int8" else None
    export.export_model(
        network, options.out, precision=precision, photos=photos, image_size=options.size
    )
    megabytes = os.path.getsize(options.out) / 1e6
    print(f"{options.out}: {precision}, {megabytes:.1f} MB")
    method = export.ExportedMethod(options.out)
    images = read("test", N_PHOTOS)["images"]
    found = export.differences(network, method, images)
    print(
        f"largest difference from Keras on {len(images)} photographs of {source}: "
        + ", ".join(f"{name} {difference:.2g}" for name, difference in found.items())
    )
    if precision == "float32" and not all(off <= AGREEMENT for off in found.values()):
        return _complain(f"that is more than {AGREEMENT}: do not use the file", FAILED)
    if precision == "int8":
        _print_loss(network, method, read("test", None), source, options.limit)
    return DONE


def _print_loss(network, method, arrays, source, limit):
    """Prints what computing in 8 bits costs."""
    from colorseg import records
    from colorseg.evaluation import NetworkMethod

    rows = {}
    for name, each in {"Keras": NetworkMethod(network), "int8": method}.items():
        scores, how = records.score(each, arrays, limit=limit, progress=True)
        rows[name] = {key: scores[key] for key in ("chroma_rmse", "miou") if key in scores}
    print(f"on {how['examples']['scored']} photographs of {source}, test split:")
    _print_rows(rows)
    keras, int8 = ({key: score["value"] for key, score in row.items()} for row in rows.values())
    losses = {
        "chroma_rmse": lambda old, new: f"{(new - old) / old:+.1%}",
        "miou": lambda old, new: f"{new - old:+.4f}",
    }
    for key, old in keras.items():
        print(f"{key} {losses[key](old, int8[key])}")


def _load_weights(name):
    from colorseg import model

    if name == "pretrained":
        return model.load_pretrained()
    if name in model.find_pretrained() and not os.path.isdir(name):
        return model.load_pretrained(name)
    network = model.load_run(name)
    if not os.path.isfile(os.path.join(name, "metrics.json")):
        print(
            f"colorseg: {name} has not been trained to its end; these are its weights so far",
            file=sys.stderr,
        )
    return network


def _parse_changes(settings):
    """Returns {option: value} of `option=value`; `tasks.mask=0.3` becomes {"tasks": {...}}."""
    changes, weights = {}, {}
    for setting in settings:
        option, is_set, text = setting.partition("=")
        if not is_set:
            raise ValueError(f"--set takes OPTION=VALUE, got {setting!r}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if option.startswith("tasks."):
            weights[option.removeprefix("tasks.")] = value
        else:
            changes[option] = value
    tasks = changes.get("tasks", {})
    if weights and isinstance(tasks, dict):
        changes["tasks"] = {**tasks, **weights}
    return changes


def _print_rows(rows):
    from colorseg.evaluation import to_markdown

    print(to_markdown(rows))


def _print_report(report, out):
    kept = f"{len(report.kept)} kept, " if report.kept else ""
    print(
        f"{len(report.written)} written to {out}, {kept}{len(report.failed)} skipped",
        file=sys.stderr,
    )
    return FAILED if report.failed else DONE


def _complain(message, code):
    print(f"colorseg: {message}", file=sys.stderr)
    return code
