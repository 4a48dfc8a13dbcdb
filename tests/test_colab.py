"""Runs notebooks as Google Colab would: with its versions, and nothing but the notebook itself.

It takes an environment of its own, two gigabytes, so it runs where one is named:

    python3 -m venv .colab-venv
    .colab-venv/bin/pip install -r tests/colab.txt
    COLORSEG_TEST_COLAB=.colab-venv python -m pytest tests/test_colab.py

Not tested here: the GPU, and with it the full profile; and GitHub, in whose place is a repository
made of the files here.
"""

import os
import shutil
import subprocess
from pathlib import Path

import address
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ.get("COLORSEG_TEST_COLAB")
PYTHON = ROOT / (ENVIRONMENT or "") / "bin" / "python"
# Two with sliders; one that shows masks, one that builds networks.
CHAPTERS = ["index", "02_pets", "06_two_tasks", "07_results"]
# Colab has imported these before the first cell. Its own `%pip` asks for a restart of the runtime
# if one of them is then replaced.
STARTUP = """
import sys, types
import IPython, matplotlib, numpy, PIL
sys.modules["google.colab"] = types.ModuleType("google.colab")
"""

pytestmark = pytest.mark.skipif(
    not ENVIRONMENT,
    reason="needs an environment with Colab's versions; tests/test_colab.py says how to make it",
)


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def installed():
    """Returns {package: version}."""
    code = "from importlib import metadata\n"
    code += "for d in metadata.distributions(): print(d.metadata['Name'], d.version)"
    # Not `pip list`: it prints nothing where PIP_QUIET is set, as in .ci/run.
    return dict(line.split() for line in run(PYTHON, "-I", "-c", code).splitlines())


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository as it would be if everything here were committed and released."""
    folder = tmp_path_factory.mktemp("repository")
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in files.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git = ["git", "-C", folder, "-c", "user.name=test", "-c", "user.email=test@localhost"]
    run(*git, "init", "-q")
    run(*git, "add", "--all")
    run(*git, "commit", "-q", "-m", "Release")
    run(*git, "tag", f"v{address.version()}")
    return folder


@pytest.fixture
def colab(tmp_path):
    """A new runtime: the environment variables, and an empty folder to start in."""
    run(PYTHON, "-m", "pip", "uninstall", "-q", "-y", "colorseg", "importlib_resources")
    startup = tmp_path / ".ipython" / "profile_default" / "startup" / "colab.py"
    startup.parent.mkdir(parents=True)
    startup.write_text(STARTUP)
    (tmp_path / "content").mkdir()
    ours = ("COLORSEG_", "TFDS_", "PYTHONPATH", "JUPYTER_", "IPYTHON", "VIRTUAL_ENV")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    variables |= {"HOME": str(tmp_path), "COLAB_RELEASE_TAG": "release"}
    return {"cwd": tmp_path / "content", "env": variables}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_runs_on_colab_and_leaves_its_packages_alone(chapter, repository, colab):
    text = (ROOT / "book" / f"{chapter}.ipynb").read_text("utf-8")
    path = colab["cwd"] / "chapter.ipynb"
    path.write_text(text.replace(address.address(), repository.as_uri()), "utf-8")

    before = installed()
    assert "colorseg" not in before
    run(PYTHON.with_name("jupyter-execute"), "--inplace", "--timeout=600", path, **colab)
    after = installed()

    added = {name: number for name, number in after.items() if name not in before}
    assert set(added) == {"colorseg", "importlib_resources"}
    assert added["colorseg"] == address.version()
    assert {name: after[name] for name in before} == before
    assert sliders_of(path) == text.count("cs.slider(")


def sliders_of(path):
    """Returns how many sliders move a Tab, which is what Colab's ipywidgets has."""
    found = nbformat.read(path, as_version=4).metadata.get("widgets", {})
    models = found.get("application/vnd.jupyter.widget-state+json", {"state": {}})["state"]
    moved = [
        model["state"]["target"][0].removeprefix("IPY_MODEL_")
        for model in models.values()
        if model["model_name"] == "LinkModel"
    ]
    return [models[name]["model_name"] for name in moved].count("TabModel")
