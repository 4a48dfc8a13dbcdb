"""Measuring: peers side by side in one process, so that both meet the same machine."""

import dataclasses
import os
import platform
import statistics
import time
from importlib import metadata
from pathlib import Path

REST = 0.2  # seconds after which the threads of whoever ran before no longer spin
PACKAGES = ("tensorflow", "keras", "torch", "onnxruntime", "ai-edge-litert", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: what is measured.
        ours, peer: what stands against what.
        values: one number a repetition: how many times as fast, or whatever `unit` says.
        unit: of the values.
        aim: the bar; None where there is none.
        at_least: whether the value should be at least the aim, else at most.
        note: what else the reader should know.
    """

    name: str
    ours: str
    peer: str
    values: list[float]
    unit: str = "x"
    aim: float | None = None
    at_least: bool = True
    note: str = ""

    @property
    def value(self):
        """The median over the repetitions."""
        return statistics.median(self.values)

    @property
    def is_met(self):
        """Whether the aim is reached; None without one."""
        if self.aim is None:
            return None
        return self.value >= self.aim if self.at_least else self.value <= self.aim


def race(runners, *, repetitions, warm=False):
    """Lets functions run in turns.

    Args:
        runners: function without arguments by name.
        repetitions: how often each, after one unmeasured time.
        warm: whether they have run already, and need no unmeasured time.

    Returns:
        Seconds of each repetition, a list by name.
    """
    for run in () if warm else runners.values():
        run()
    seconds = {name: [] for name in runners}
    names = list(runners)
    for repetition in range(repetitions):
        # Who goes first changes: a processor that slows down under load treats all alike.
        shift = repetition % len(names)
        for name in names[shift:] + names[:shift]:
            time.sleep(REST)
            started = time.perf_counter()
            runners[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def times_as_fast(seconds, ours, peer):
    """Returns the peer's seconds over ours, for each repetition."""
    return [b / a for a, b in zip(seconds[ours], seconds[peer], strict=True)]


def each(seconds, count=1):
    """Returns the median seconds of one of `count`, as text."""
    value = statistics.median(seconds) / count
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"


def peak_gigabytes():
    """Returns the most memory that this process has had, or None where Linux does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def describe_machine():
    """Returns what the figures were measured on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "platform": platform.platform(),
        "processor": models[0] if models else platform.processor(),
        "cpu_count": os.cpu_count(),
        "devices": ["cpu"],
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": {"python": platform.python_version(), **versions},
    }
