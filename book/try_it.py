"""Brings what the page "Try it on your photograph" needs: the network, as ONNX, and its runtime.

A Sphinx extension, named in `_config.yml`. The files go to `_static/vendor`, which git ignores, and
are made anew only when the weights or the exporter have changed. With them the build has the tag
`try_it`; where they cannot be had, it says so, and the page says so, too.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import fetch_static
from fetch_static import FetchError, Package
from PIL import Image

import colorseg
from colorseg import toy_pets
from colorseg.files import replacing, write_json

MODEL = fetch_static.VENDOR / "model"
RUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    root="dist/",
)
EXAMPLE = 3  # of the drawn pets


def publish(vendor=fetch_static.VENDOR):
    """Writes network, runtime and example below `vendor`; what is there already is left alone.

    Raises:
        FetchError: if the runtime cannot be fetched, or the network not be exported.
    """
    fetch_static.publish({"onnxruntime": RUNTIME}, vendor=vendor)
    folder = Path(vendor) / "model"
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / "model.json"
    made_of = _made_of()
    if (
        about.exists()
        and json.loads(about.read_text("utf-8")).get("made_of") == made_of
    ):
        return
    metadata = _export(folder / "model.onnx")
    with replacing(folder / "example.png") as path:
        Image.fromarray(
            toy_pets.draw(EXAMPLE, split="test")["images"]
        ).convert("L").save(path)
    runtime = Path(vendor) / "onnxruntime"
    sizes = {
        "model": (folder / "model.onnx").stat().st_size,
        "runtime": sum(
            (runtime / name).stat().st_size for name in RUNTIME.files
        ),
    }
    write_json(about, {**metadata, "bytes": sizes, "made_of": made_of})


def setup(app):
    """Registers the extension with Sphinx."""
    app.connect("config-inited", _prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _prepare(app, config):
    try:
        publish()
    except FetchError as error:
        print(
            f"{error}: the page 'Try it on your photograph' says that it cannot color"
        )
    else:
        app.tags.add("try_it")


def _export(path):
    """Exports the shipped network, in a process of its own, and returns the file's metadata."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        command = [
            sys.executable,
            "-m",
            "colorseg",
            "export",
            "pretrained",
            "--format=onnx",
        ]
        command += ["--float16", "--data=toy_pets", "--out", str(file)]
        run = subprocess.run(
            command, capture_output=True, text=True, check=False
        )
        if run.returncode:
            reason = run.stderr.strip().splitlines()[-1:] or [
                f"exit status {run.returncode}"
            ]
            raise FetchError(f"the network cannot be exported ({reason[0]})")
        from colorseg.export import ExportedMethod  # noqa: PLC0415, needs the extra `export`

        metadata = ExportedMethod(file).metadata
        with replacing(path) as temporary:
            shutil.copyfile(file, temporary)
    return metadata


def _made_of():
    """Returns a checksum of the shipped weights and of the code that exports them."""
    package = Path(colorseg.__file__).parent
    sources = [
        *sorted((package / "weights").rglob("*")),
        package / "export.py",
        Path(__file__),
    ]
    digest = hashlib.sha256()
    for source in sources:
        if source.is_file():
            digest.update(source.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    try:
        publish()
    except FetchError as error:
        sys.exit(str(error))
