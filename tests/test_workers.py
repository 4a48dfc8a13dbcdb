import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colorseg import files, workers

# What the processes do. They import this module.


def start(folder):
    (Path(folder) / f"started-{os.getpid()}").touch()
    return work


def work(item):
    if item == "fail":
        raise ValueError("cannot do it")
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(item, float):
        time.sleep(item)
    return os.getpid(), item


def hang(folder):
    def write(item):
        with files.replacing(Path(folder) / "result") as temporary:
            temporary.write_text("half")
            (Path(folder) / "writing").touch()
            time.sleep(60)

    return write


def fail_to_start(reason):
    raise OSError(reason)


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_come_in_the_order_of_the_items(tmp_path):
    items = [0.3, 0.0, 0.1, 0.0, 0.2, 0.0]
    found = list(workers.share_out(start, [tmp_path], items, jobs=3))
    assert [item for _, item in found] == items
    assert len(list(tmp_path.iterdir())) == 3
    assert len({process for process, _ in found}) > 1
    assert os.getpid() not in {process for process, _ in found}


def test_no_more_processes_than_items(tmp_path):
    assert len(list(workers.share_out(start, [tmp_path], ["a"], jobs=9))) == 1
    assert list(workers.share_out(start, [tmp_path], [], jobs=9)) == []
    assert len(list(tmp_path.iterdir())) == 1


def test_what_an_item_raises_is_raised_at_once_and_ends_all(tmp_path):
    found = workers.share_out(start, [tmp_path], [60.0, "fail", 60.0], jobs=3)
    with pytest.raises(ValueError, match="cannot do it"):
        next(found)
    assert not any(is_running(int(p.name.split("-")[1])) for p in tmp_path.iterdir())


def test_what_the_start_raises_is_raised():
    with pytest.raises(OSError, match="no such network"):
        list(workers.share_out(fail_to_start, ["no such network"], [1, 2], jobs=2))


def test_a_process_that_dies_is_told(tmp_path):
    died = []
    with pytest.raises(ChildProcessError, match=r"exit code -9.* worked on die; if memory ran out"):
        list(workers.share_out(start, [tmp_path], ["die", 60.0], jobs=2, tidy=died.append))
    assert len(died) == 2
    assert not any(is_running(process) for process in died)


HANG = """
import sys, test_workers
from colorseg import workers
if __name__ == "__main__":
    list(workers.share_out(test_workers.hang, [sys.argv[1]], [1], jobs=1))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_processes_quickly_and_leaves_no_file(stop, tmp_path):
    (tmp_path / "main.py").write_text(
        f"import signal\nsignal.signal({int(stop)}, signal.default_int_handler)\n" + HANG
    )
    (tmp_path / "out").mkdir()
    process = subprocess.Popen(
        [sys.executable, tmp_path / "main.py", tmp_path / "out"],
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "out" / "writing").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(stop)
    started = time.monotonic()
    assert process.wait() != 0
    assert time.monotonic() - started < 10
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["writing"]
