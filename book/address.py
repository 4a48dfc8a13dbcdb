"""Repeats the repository's address and the version wherever they are needed: `make address`.

The address stands in `_config.yml` (`repository`), the version in `pyproject.toml`. Both are in
the cell with which a notebook installs the library on Colab, the version in `colorseg.__version__`
too, and the address in README, CHANGELOG and pyproject. Commit before, and look at `git diff`
after.
"""

import json
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

# The first code cell of every notebook. It leaves alone what Colab has, and goes where the notebook
# lies, with what lies beside it. tensorflow-datasets 4.9.10 imports importlib_resources without
# asking for it.
COLAB = """\
# On Colab only: installs the library and leaves Colab's TensorFlow and numpy as they are.
import sys

if "google.colab" in sys.modules:
    !git clone -q --depth 1 -b v{version} \\
        {address} ~/colorseg
    %pip install -q --no-deps importlib_resources ~/colorseg
    %cd -q ~/colorseg/book"""


def notebooks(root=ROOT):
    """Returns the paths of the book's notebooks, sorted."""
    return sorted(Path(root).glob("book/**/[!.]*.ipynb"))


def address(root=ROOT):
    """Returns the repository's address as `_config.yml` has it.

    Raises:
        ValueError: if it is none of GitHub's, from which alone Colab opens notebooks.
    """
    found = yaml.safe_load((Path(root) / "_config.yml").read_text("utf-8"))[
        "repository"
    ]["url"]
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]*[\w-]", found):
        raise ValueError(
            f"`repository: url` in _config.yml must be https://github.com/OWNER/NAME, got {found!r}"
        )
    return found


def colab_cell(root=ROOT):
    """Returns the source of the cell that installs this version from here on Colab."""
    return COLAB.format(address=address(root), version=version(root))


def version(root=ROOT):
    """Returns the version as `pyproject.toml` has it."""
    return _project(root)["version"]


def repeat(root=ROOT):
    """Writes address and version where they are repeated.

    Args:
        root: folder of the project.

    Returns:
        List of the paths that have changed.

    Raises:
        ValueError: if the address is none of GitHub's, or a notebook has no cell for Colab.
    """
    root, new, cell = Path(root), address(root), colab_cell(root)
    old, number = _project(root)["urls"]["Repository"], version(root)

    def mend_notebook(text):
        notebook = json.loads(text)
        first = next(
            (c for c in notebook["cells"] if c["cell_type"] == "code"),
            {"source": []},
        )
        if "google.colab" not in "".join(first["source"]):
            raise ValueError(
                "a notebook's first code cell must be the one that installs on Colab, as in "
                f"book/index.ipynb; it is missing in {''.join(notebook['cells'][0]['source'])!r}"
            )
        first["source"] = cell.splitlines(keepends=True)
        return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"

    def mend_version(text):
        return re.sub(
            '^__version__ = ".*"$',
            f'__version__ = "{number}"',
            text,
            flags=re.M,
        )

    changes = dict.fromkeys(notebooks(root), mend_notebook)
    changes[root / "colorseg" / "__init__.py"] = mend_version
    # pyproject comes last: it tells the old address.
    changes |= {
        root / name: str
        for name in ("README.md", "CHANGELOG.md", "pyproject.toml")
    }
    changed = []
    for path, change in changes.items():
        before = path.read_text("utf-8")
        after = change(before.replace(old, new))
        if after != before:
            path.write_text(after, "utf-8", newline="\n")
            changed.append(path)
    return changed


def _project(root):
    return tomllib.loads((Path(root) / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]


if __name__ == "__main__":
    for changed in repeat():
        print(changed.relative_to(ROOT))
