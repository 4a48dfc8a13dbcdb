import errno
import json
import os
import subprocess
import sys

import pytest

from colorseg import files


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_succeeds(tmp_path):
    path = tmp_path / "notes.txt"
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path  # a move within a disk is atomic
        assert temporary.name.endswith("notes.txt")  # writers look at the suffix
        assert not path.exists()
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["notes.txt"]


def test_the_former_file_is_whole_until_it_is_replaced(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with files.replacing(path) as temporary:
        temporary.write_text("ne")
        assert path.read_text() == "old"
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failing_block_leaves_everything_as_it_was(tmp_path, error):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(error), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["notes.txt"]


def test_what_a_killed_process_leaves_can_be_removed(tmp_path):
    code = f"""
import os, signal
from colorseg import files
with files.replacing({str(tmp_path / "notes.txt")!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode != 0
    others = [".1-other.txt", ".no-notes.txt", "1-notes.txt"]
    for name in others:
        (tmp_path / name).write_text("somebody's")
    assert len(names_in(tmp_path)) == 4
    files.remove_leftovers([tmp_path / "notes.txt", tmp_path / "missing" / "notes.txt"])
    assert names_in(tmp_path) == sorted(others)


def test_what_a_running_process_is_writing_stays(tmp_path):
    in_the_making = tmp_path / f".{os.getppid()}-notes.txt"
    in_the_making.write_text("half")
    files.remove_leftovers([tmp_path / "notes.txt"])
    assert in_the_making.exists()


def test_a_full_disk_is_reported_with_the_name_of_the_file(tmp_path):
    path = tmp_path / "notes.txt"
    with pytest.raises(OSError) as caught, files.replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).endswith(f"cannot write {path}: No space left on device")
    assert names_in(tmp_path) == []


def test_an_error_of_a_library_may_have_no_number(tmp_path):
    path = tmp_path / "weights.h5"
    with pytest.raises(OSError) as caught, files.replacing(path):
        raise OSError("unable to create file")
    assert str(caught.value) == f"cannot write {path}: unable to create file"


def place_in_missing_folder(tmp_path):
    return tmp_path / "missing" / "notes.txt"


def place_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "notes.txt"


def place_of_a_folder(tmp_path):
    (tmp_path / "notes.txt").mkdir()
    return tmp_path / "notes.txt"


@pytest.mark.parametrize(
    "make_place", [place_in_missing_folder, place_below_a_file, place_of_a_folder]
)
def test_an_impossible_place_is_named(tmp_path, make_place):
    path = make_place(tmp_path)
    with pytest.raises(OSError, match="cannot write") as caught:
        files.write_text(path, "new")
    assert str(path) in str(caught.value)
    assert not [name for name in names_in(tmp_path) if name.startswith(".")]


def test_text_is_written_as_utf_8(tmp_path):
    files.write_text(tmp_path / "notes.txt", "ΔE ↓\n")
    assert (tmp_path / "notes.txt").read_bytes() == b"\xce\x94E \xe2\x86\x93\n"


def test_json_comes_back_and_a_value_that_is_none_writes_nothing(tmp_path):
    value = {"value": 0.1, "names": ["a", None], "tasks": {"color": 1.0}}
    files.write_json(tmp_path / "value.json", value)
    assert json.loads((tmp_path / "value.json").read_text()) == value
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "value.json", {"value": object()})
    assert json.loads((tmp_path / "value.json").read_text()) == value
    assert names_in(tmp_path) == ["value.json"]


def test_sha256_of_the_standards_example(tmp_path):
    # FIPS 180-2, appendix B.1.
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "abc") == expected
