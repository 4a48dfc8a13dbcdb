import json
import shutil
from pathlib import Path

import address
import pytest

ROOT = Path(__file__).parents[1]
OLD, NEW = address.address(), "https://github.com/some-one/a.fork"


@pytest.fixture
def copy(tmp_path):
    """A copy of the files that repeat the address or the version, and of the two that say it."""
    for path in [
        *(ROOT / name for name in ("_config.yml", "pyproject.toml", "README.md", "CHANGELOG.md")),
        ROOT / "colorseg" / "__init__.py",
        *address.notebooks(),
    ]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path


def texts(root):
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def edit(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_everything_is_in_step(copy):
    assert [path.name for path in address.repeat(copy)] == []


def test_a_new_address_goes_everywhere_and_back(copy):
    before = texts(copy)
    edit(copy / "_config.yml", OLD, NEW)
    changed = address.repeat(copy)
    assert {*address.notebooks(copy), copy / "README.md", copy / "pyproject.toml"} <= set(changed)
    assert [path for path, text in texts(copy).items() if OLD.encode() in text] == []
    assert address.repeat(copy) == []
    edit(copy / "_config.yml", NEW, OLD)
    address.repeat(copy)
    assert texts(copy) == before


def test_a_new_version_goes_to_the_notebooks_and_the_library(copy):
    edit(copy / "pyproject.toml", f'\nversion = "{address.version(copy)}"', '\nversion = "12.3.4"')
    library = copy / "colorseg" / "__init__.py"
    assert set(address.repeat(copy)) == {*address.notebooks(copy), library}
    assert '__version__ = "12.3.4"\n' in library.read_text("utf-8")
    for path in address.notebooks(copy):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        first = next(cell for cell in cells if cell["cell_type"] == "code")
        assert f"git clone -q --depth 1 -b v12.3.4 \\\n        {OLD} " in "".join(first["source"])


@pytest.mark.parametrize("wrong", ["https://gitlab.com/a/b", NEW + ".git/", NEW + "/tree/main"])
def test_an_address_that_colab_cannot_open_is_refused(copy, wrong):
    edit(copy / "_config.yml", OLD, wrong)
    with pytest.raises(ValueError, match=r"must be https://github\.com/OWNER/NAME, got 'http"):
        address.repeat(copy)


def test_a_notebook_without_the_cell_is_refused(copy):
    edit(copy / "book" / "index.ipynb", "google.colab", "google.other")
    with pytest.raises(ValueError, match=r"missing in '# A color for every pixel"):
        address.repeat(copy)
