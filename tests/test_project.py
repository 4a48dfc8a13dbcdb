"""The files around the library agree with each other, and the notebooks are fit to be committed."""

import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import address
import pytest
import yaml

import colorseg

ROOT = Path(__file__).parents[1]
NOTEBOOKS = address.notebooks()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HOOKS = {
    hook["id"]: hook | {"rev": repo["rev"]}
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    for hook in repo["hooks"]
}
README = (ROOT / "README.md").read_text("utf-8")

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def make(target):
    """Returns the commands behind a target, as typed where the environment is active."""
    if not shutil.which("make"):
        pytest.skip("needs make, which this machine does not have")
    command = ["make", "--dry-run", "--always-make", "--no-print-directory", "VENV=venv", target]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.replace("venv/bin/", "").splitlines()


@pytest.mark.parametrize("target", ["book", "test"])
def test_readme_has_the_plain_commands_behind_make(target):
    block = next(b for b in re.findall(r"```bash\n(.*?)```", README, re.S) if "venv" in b)
    plain = [line.split("  #")[0].strip() for line in block.splitlines()]
    behind = [line for line in make(target) if not line.startswith(("python3 -c", "touch"))]
    behind = [line.replace("-m venv venv", "-m venv .venv") for line in behind]
    assert behind
    assert [line for line in behind if line not in plain] == []


@pytest.mark.parametrize("path", ["README.md", ".ci/run", ".github/workflows/ci.yml"])
def test_every_make_command_that_is_named_exists(path):
    targets = set(re.findall(r"(?:^|`|run: )make (\w+)", (ROOT / path).read_text("utf-8"), re.M))
    assert {"book", "test"} <= targets
    for target in targets:
        assert make(target)


@notebooks
def test_notebook_has_no_outputs(path):
    command = [sys.executable, "-m", "nbstripout", "--verify", *HOOKS["nbstripout"]["args"]]
    run = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"strip it: nbstripout {path}\n{run.stdout}{run.stderr}"


@notebooks
def test_notebook_runs_on_any_machine(path):
    """Its kernel is the plain one, and on Colab its first cell installs this version from here."""
    notebook = json.loads(path.read_text("utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert "".join(first["source"]) == address.colab_cell(), "write it: make address"
    # It also goes where the notebook lies in the repository, so no other cell has to.
    assert path.read_text("utf-8").count("google.colab") == 1


def test_repository_address_is_the_same_everywhere():
    paths = ["README.md", "CHANGELOG.md", "pyproject.toml", *NOTEBOOKS]
    text = "\n".join((ROOT / path).read_text("utf-8") for path in paths)
    found = set(re.findall(r"https://github\.com/[\w.-]+/colorseg\b", text))
    assert found == {address.address()}, "make address"


def test_version_is_the_same_everywhere():
    assert colorseg.__version__ == PROJECT["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)[1]
    assert newest == PROJECT["version"]


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "book" / "api.rst").read_text("utf-8")
    documented = re.findall(r"^\.\. (?:auto\w+|py:data):: (?:[\w.]+\.)?(\w+)$", text, re.M)
    assert len(documented) == len(set(documented))
    public = {n for n in colorseg.__all__ if not inspect.ismodule(getattr(colorseg, n))}
    assert public - set(documented) == set()


def test_pre_commit_has_the_ruff_of_the_tests():
    extra = PROJECT["optional-dependencies"]["test"]
    assert f"ruff=={HOOKS['ruff-check']['rev'].removeprefix('v')}" in extra


def test_every_public_name_is_there_without_the_extras():
    """`pip install .` brings all that `import colorseg` offers."""
    absent = ["IPython", "ipywidgets", "jupyter_book", "matplotlib", "hypothesis", "jax", "pytest"]
    absent += ["sklearn", "cv2"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "import colorseg\n"
        "for name in colorseg.__all__: getattr(colorseg, name)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
