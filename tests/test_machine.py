import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

from colorseg import machine


def git(folder, *arguments):
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A copy of the module's file in a repository that does not keep it yet."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "Begin")
    path = Path(shutil.copy(machine.__file__, tmp_path))
    monkeypatch.setattr(machine, "__file__", str(path))
    return path


def test_the_commit_of_somebody_elses_repository_is_not_taken(source):
    assert machine.git_commit() is None


def test_a_changed_source_is_told_from_a_commit(source):
    git(source.parent, "add", source.name)
    git(source.parent, "commit", "-q", "-m", "Add")
    commit = machine.git_commit()
    assert re.fullmatch("[0-9a-f]{40}", commit)
    source.write_text("changed")
    assert machine.git_commit() == f"{commit}-dirty"


def test_several_cpu_devices_of_jax_are_one_cpu(monkeypatch):
    cpu, gpu = (SimpleNamespace(platform=kind, device_kind=kind.upper()) for kind in ("cpu", "gpu"))
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    for devices, expected in (([cpu, cpu], ["cpu"]), ([gpu, gpu], ["GPU", "GPU"])):
        jax = SimpleNamespace(devices=lambda devices=devices: devices)
        monkeypatch.setitem(sys.modules, "jax", jax)
        assert machine.devices() == expected
