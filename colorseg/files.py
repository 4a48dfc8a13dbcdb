"""Writing files so that nobody ever sees half of one."""

import contextlib
import hashlib
import json
import os
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Yields a temporary path beside `path`, which takes its place when the block succeeds.

    The temporary file is removed when the block fails; `path` is then as it was.

    Raises:
        OSError: if the file cannot be written, naming `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        # Libraries raise some without a number.
        raise OSError(*filter(None, [error.errno]), message) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_temporaries(folder, process):
    """Removes what a process that was killed left of `replacing`, in a folder and those below."""
    for temporary in Path(folder).rglob(f".{process}-*"):
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_leftovers(paths):
    """Removes what killed processes, not running ones, left of `replacing` any of these paths."""
    paths = {Path(path) for path in paths}
    for folder in {path.parent for path in paths}:
        for temporary in folder.glob(".*-*"):
            process, _, name = temporary.name[1:].partition("-")
            is_ours = process.isdigit() and folder / name in paths
            if is_ours and not _is_other_running(int(process)):
                with contextlib.suppress(OSError):
                    temporary.unlink()


def _is_other_running(process):
    """Whether a process, by its number, is running and not this one."""
    # Windows has no such signal, and lets nobody remove a file that is open.
    if os.name == "nt" or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def write_text(path, text):
    """Writes a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Writes a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def sha256(path):
    """Returns the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
