"""What a record tells of the machine, the code and the files that it was made with."""

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import keras
import tensorflow as tf

from colorseg import files


def describe(packages):
    """Returns the keys of `environment.json` that any record has, ready for JSON.

    Args:
        packages: names of those whose version is noted, if they are installed.
    """
    return {
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_versions(packages)},
        "platform": platform.platform(),
        "backend": keras.backend.backend(),
        "devices": devices(),
        "cpu_count": os.cpu_count(),
    }


def devices():
    """Returns the names of the accelerators that Keras' backend sees; `["cpu"]` if none."""
    if keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415 - only where it is the backend

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
        return names or ["cpu"]
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
    return names or ["cpu"]


def git_commit():
    """Returns the commit of the package's source, with `-dirty` behind it if files were changed.

    None if the source is not kept in a repository, be it that it lies in somebody else's.
    """
    here = Path(__file__)
    commands = (
        ["ls-files", "--error-unmatch", here.name],
        ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
    )
    try:
        _, commit = (
            subprocess.run(
                ["git", "-C", str(here.parent), *command],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip()


def describe_weights(weights):
    """Returns name and checksum of encoder weights given as `"imagenet"`, `"none"` or a path."""
    if not os.path.isfile(weights):
        return {"name": weights}
    return {"name": Path(weights).name, "sha256": files.sha256(weights)}


def _versions(packages):
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
