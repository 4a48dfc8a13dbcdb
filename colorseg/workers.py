"""Work shared out to several processes: results in order, nothing left when it is broken off."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile

GRACE = 3  # seconds that a process has to clean up before it is killed


def share_out(start, arguments, items, *, jobs, tidy=None):
    """Does something with each of many items, in several processes.

    They are new ones, not copies of this one: TensorFlow's threads do not survive copying. A
    script that calls this keeps its own work under `if __name__ == "__main__":`.

    Args:
        start: called once in each process; returns the function that is called with each item.
            It can be imported, its arguments, the items and the results can be pickled.
        arguments: of `start`.
        items: list.
        jobs: how many processes, at most one for each item.
        tidy: called with the id of each process that died or had to be killed.

    Yields:
        The results, in the order of the items.

    Raises:
        ChildProcessError: if a process dies.
        Exception: what `start` or the function raises. After any of them, or when the generator is
            closed, the processes are ended and their results forgotten.
    """
    team = [_Worker(start, arguments) for _ in range(min(jobs, len(items)))]
    try:
        yield from _in_order(team, items)
    except BaseException:
        for worker in team:
            worker.process.terminate()
        raise
    finally:
        for worker in team:
            worker.pipe.close()
        for worker in team:
            worker.end(tidy)


def _in_order(team, items):
    waiting = iter(enumerate(items))
    results = {}
    given = 0
    while given < len(items):
        for worker in team:
            if worker.index is None and (next_one := next(waiting, None)) is not None:
                worker.give(*next_one)
        busy = {worker.pipe: worker for worker in team if worker.index is not None}
        for pipe in multiprocessing.connection.wait(list(busy)):
            worker = busy[pipe]
            results[worker.index] = worker.take(items)
            worker.index = None
        while given in results:
            yield results.pop(given)
            given += 1


class _Worker:
    """A process, and the way to it."""

    def __init__(self, start, arguments):
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(far_end,), daemon=True)
        self.process.start()
        far_end.close()  # so that the pipe breaks when the process dies
        self.index = None
        with contextlib.suppress(OSError):  # found when the first result is awaited
            self.pipe.send((start, arguments))

    def give(self, index, item):
        self.index = index
        with contextlib.suppress(OSError):
            self.pipe.send(item)

    def take(self, items):
        try:
            is_good, result = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise ChildProcessError(
                f"a process died (exit code {self.process.exitcode}) while it worked on "
                f"{items[self.index]}; if memory ran out, use fewer jobs"
            ) from error
        if is_good:
            return result
        raise result

    def end(self, tidy):
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        if self.process.exitcode and tidy:
            tidy(self.process.pid)


def _serve(pipe):
    """The life of a process: it ends when the pipe does, or by SIGTERM, cleaning up."""
    # An interruption from the keyboard reaches all processes; the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        with quiet():
            start, arguments = pipe.recv()
            is_ready, do = _attempt(start, *arguments)
        while True:
            item = pipe.recv()
            pipe.send(_attempt(do, item) if is_ready else (False, do))


def _attempt(function, *arguments):
    try:
        return True, function(*arguments)
    except Exception as error:
        return False, error


@contextlib.contextmanager
def quiet():
    """Hides what the block writes on standard error, such as TensorFlow's notes on its start.

    If the block fails, it is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(screen, notes.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)
