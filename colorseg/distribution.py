"""Training on several devices, of one machine or of several.

Each device holds the whole network and takes an equal share of every batch; the gradients are
averaged over all of them, so that the weights stay equal. `assemble` chooses the engine:

|                          | TensorFlow                    | JAX                               |
|--------------------------|-------------------------------|-----------------------------------|
| one device               | Keras as it is                | Keras as it is                    |
| several of this machine  | `tf.distribute` mirrors       | `keras.distribution.DataParallel` |
| those of several hosts   | refused                       | `keras.distribution.DataParallel` |

With JAX, a step is one program over the whole batch: whatever is averaged over it, the losses,
BatchNormalization's statistics, the metrics, comes out as on one device. With mirrors,
BatchNormalization is told to average over the devices, too; a loss that leaves out unlabeled pixels
is the mean of the devices' means, which differs a little where they have not equally many.
"""

import atexit
import contextlib
import functools
import os
import re
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from colorseg.adversarial import AdversarialModel
from colorseg.registry import look_up

PATIENCE = 300  # seconds to wait for the other hosts
HEARTBEAT = 60  # seconds without a sign of life after which a host counts as lost


class LostHostError(RuntimeError):
    """Another host went away during training."""


def assemble(*, devices=1, hosts=(), host_id=None, patience=PATIENCE):
    """Returns the team that trains together.

    It is a context manager: hosts meet when it is entered, and part at its end.

    Args:
        devices: how many of this machine's devices to use; several hosts use all that they have.
        hosts: addresses of all machines, the same list on each; the first has a port, where the
            others meet it: `["10.0.0.1:9000", "10.0.0.2:9000"]`.
        host_id: this machine's place in `hosts`.
        patience: seconds to wait for the others to come.

    Returns:
        `Team`.

    Raises:
        ValueError: if there are fewer devices, an address or number is wrong, or the backend does
            not fit; when it is entered, if the hosts have not equally many devices.
        OSError: when it is entered, if the hosts do not find each other.
    """
    backend = keras.backend.backend()
    if hosts:
        _check_hosts(hosts, host_id, devices, backend)
        return _Hosts(hosts, host_id, patience)
    if host_id is not None:
        raise ValueError(f"host {host_id} of which hosts? Name them all, as in --hosts A:9000,B")
    if devices < 1:
        raise ValueError(f"`devices` must be at least 1, got {devices}")
    if devices == 1:
        return Team()
    engines = {"tensorflow": _Mirrored, "jax": _Sharded}
    return look_up(engines, backend, kind="backend for several devices")(devices)


class Team:
    """The devices that share each batch: here, a single one.

    Attributes:
        devices: how many there are, on all hosts together.
        hosts: how many machines.
        host: the place of this one, from 0. Host 0 alone reads and writes the run folder.
    """

    devices = 1
    hosts = 1
    host = 0

    def __enter__(self):
        """Waits until all hosts are there."""
        return self

    def __exit__(self, kind, error, trace):
        """Lets the hosts part; raises a `LostHostError` in place of what the engine raises then."""

    def scope(self):
        """Returns the context in which a model is built and trained."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def apart(self):
        """Leaves the scope for the block, in which one host does what the others do not."""
        yield

    def prepare(self, model):
        """Makes a model ready for this team, before it is compiled."""

    def check_batch(self, size):
        """Raises a ValueError if a batch cannot be shared out evenly."""
        if size % self.devices:
            below = size // self.devices * self.devices
            fitting = " or ".join(str(n) for n in (below, below + self.devices) if n)
            raise ValueError(
                f"{self.devices} devices cannot share a batch of {size} photographs evenly; "
                f"--set batch_size={fitting} would work"
            )

    def shared_evenly(self, arrays):
        """Leaves out the last photographs of arrays by name, if the devices cannot share all.

        Raises:
            ValueError: if there are fewer than devices.
        """
        count = len(arrays["images"])
        if count < self.devices:
            raise ValueError(
                f"{count} photographs are too few for {self.devices} devices; use fewer devices"
            )
        return {name: rows[: count - count % self.devices] for name, rows in arrays.items()}

    def own_part(self, batches):
        """Returns a dataset of this host's part of each batch of a dataset."""
        return batches

    def check_same(self, checksums):
        """Raises a ValueError on every host if one has other checksums than host 0.

        Args:
            checksums: 32-bit numbers by what they are of, for the message.
        """

    @contextlib.contextmanager
    def fetch(self, path):
        """Yields the path of a copy of a file of host 0, or None if it has none."""
        yield path if path.exists() else None


@functools.cache
def _mirror(devices):
    # One for all networks of a process: two strategies give the same number to different sums.
    return tf.distribute.MirroredStrategy(list(devices))


class _Mirrored(Team):
    """Devices of this machine, on TensorFlow."""

    def __init__(self, devices):
        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        _check_count(devices, [device.name for device in found])
        self.devices = devices
        self._strategy = _mirror(tuple(device.name for device in found[:devices]))

    def scope(self):
        return self._strategy.scope()

    def prepare(self, model):
        if isinstance(model, AdversarialModel):
            model.replicas = self.devices
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


class _Sharded(Team):
    """Devices of this machine, on JAX."""

    def __init__(self, devices):
        import jax  # noqa: PLC0415 - only where it is the backend

        _check_count(devices, [str(device) for device in jax.devices()])
        self._take(jax.devices()[:devices])

    def _take(self, devices):
        self.devices = len(devices)
        names = [f"{device.platform}:{device.id}" for device in devices]
        self._distribution = keras.distribution.DataParallel(
            devices=names, auto_shard_dataset=False
        )

    def scope(self):
        return self._distribution.scope()


class _Hosts(_Sharded):
    """All devices of several machines, on JAX."""

    def __init__(self, hosts, host_id, patience):
        self.hosts = len(hosts)
        self.host = host_id
        self._addresses = hosts
        self._patience = patience

    def __enter__(self):
        import jax  # noqa: PLC0415

        _meet(self._addresses, self.host, self._patience)
        counts = np.bincount([device.process_index for device in jax.devices()])
        if len(set(counts)) > 1:
            raise ValueError(
                f"hosts must have equally many devices, they have {counts.tolist()}; "
                "hide some by CUDA_VISIBLE_DEVICES"
            )
        self._take(jax.devices())
        return self

    def __exit__(self, kind, error, trace):
        import jax  # noqa: PLC0415

        # JAX raises both kinds, the latter with the name of a status in capitals in front.
        is_status = isinstance(error, ValueError) and re.match(r"[A-Z_]+: ", str(error))
        is_lost = isinstance(error, jax.errors.JaxRuntimeError) or is_status
        if kind is None or (issubclass(kind, ValueError) and not is_lost):
            jax.distributed.shutdown()  # a mistake in options or data is found by all at once
            return
        # The others will not come to part: at its end, JAX would wait for them, and then abort.
        code = 128 + signal.SIGINT if issubclass(kind, KeyboardInterrupt) else 1
        atexit.register(_end_at_once, code)
        if is_lost:
            raise LostHostError(
                f"another host went away ({str(error).splitlines()[0]}); start all hosts again "
                "with the same commands, and they go on after the last finished epoch"
            ) from error

    @contextlib.contextmanager
    def apart(self):
        # To save a model, Keras makes an optimizer: in the scope, its variables are everybody's.
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self._distribution)

    def own_part(self, batches):
        def part(array):
            count = tf.shape(array)[0] // self.hosts
            return array[self.host * count : (self.host + 1) * count]

        return batches.map(lambda *batch: tf.nest.map_structure(part, batch))

    def check_same(self, checksums):
        from jax.experimental import multihost_utils  # noqa: PLC0415

        own = np.array(list(checksums.values()), "uint32")
        all_hosts = np.reshape(multihost_utils.process_allgather(own), (self.hosts, -1))
        for host, differs in enumerate(all_hosts != all_hosts[0]):
            if differs.any():
                names = [
                    name for name, is_other in zip(checksums, differs, strict=True) if is_other
                ]
                raise ValueError(
                    f"host {host} has another {' and '.join(names)} than host 0; "
                    "give all hosts the same command and the same data"
                )

    @contextlib.contextmanager
    def fetch(self, path):
        content = path.read_bytes() if self.host == 0 and path.exists() else b""
        content = _send(content)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            copy.write_bytes(content)
            yield copy if content else None


def _end_at_once(code):
    """Ends the process; registered last, it comes before whatever else waits for its end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check_hosts(hosts, host_id, devices, backend):
    if backend != "jax":
        raise ValueError(
            f"several hosts need the JAX backend, this is {backend}; install it (pip install jax) "
            "and set the environment variable KERAS_BACKEND=jax"
        )
    if len(hosts) < 2 or not all(hosts):
        raise ValueError(f"hosts must be two or more addresses, as in A:9000,B, got {list(hosts)}")
    _, _, port = hosts[0].rpartition(":")
    if not port.isdecimal():
        raise ValueError(
            f"the first host needs a port where the others meet it, as in {hosts[0]}:9000"
        )
    if host_id is None or not 0 <= host_id < len(hosts):
        raise ValueError(
            f"of {len(hosts)} hosts, this must be one from 0 to {len(hosts) - 1}, got {host_id}; "
            "give each its own --host-id"
        )
    if devices != 1:
        raise ValueError(
            "several hosts use all their devices; leave --devices out, and hide some by "
            "CUDA_VISIBLE_DEVICES if need be"
        )


def _check_count(devices, found):
    if devices > len(found):
        raise ValueError(f"{devices} devices are asked for, there are {len(found)}: {found}")


def _meet(hosts, host, patience):
    """Starts JAX on all hosts at once; the first coordinates."""
    import jax  # noqa: PLC0415

    # JAX would wait, too, but abort the process when it is tired of it, and not say for whom.
    deadline = time.monotonic() + patience
    if host == 0:
        _await_calls(hosts, deadline)
    else:
        _call(hosts[0], host, deadline)
    with contextlib.suppress(RuntimeError):  # raised where TensorFlow runs already
        tf.config.set_visible_devices([], "GPU")  # it reads data only; the memory is JAX's
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    try:
        jax.distributed.initialize(
            hosts[0],
            num_processes=len(hosts),
            process_id=host,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
        jax.devices()  # the hosts exchange what they have
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise OSError(f"the hosts met at {hosts[0]}, but JAX did not start: {reason}") from error


def _await_calls(hosts, deadline):
    """Waits, on host 0, until each of the others has called."""
    port = int(hosts[0].rpartition(":")[2])
    both = {"family": socket.AF_INET6, "dualstack_ipv6": True}
    try:
        server = socket.create_server(("", port), **(both if socket.has_dualstack_ipv6() else {}))
    except OSError as error:
        raise OSError(
            f"cannot listen on port {port} ({error.strerror}); choose another one in --hosts"
        ) from error
    calls = {}
    missing = set(range(1, len(hosts)))
    with server:
        while missing:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                call, _ = server.accept()
                call.settimeout(5)
                caller = int(call.recv(8))
            except TimeoutError as error:
                if time.monotonic() < deadline:
                    continue  # somebody called and said nothing
                names = ", ".join(f"{host} ({hosts[host]})" for host in sorted(missing))
                raise OSError(
                    f"missing at {hosts[0]}: host {names}; start the same command there, with its "
                    "own --host-id, and see whether a firewall is between"
                ) from error
            except (OSError, ValueError):
                continue  # or something else
            calls[caller] = call
            missing.discard(caller)
    for call in calls.values():
        with call, contextlib.suppress(OSError):
            call.sendall(b"start")
            call.recv(1)  # the caller hangs up first, which leaves the port free


def _call(address, host, deadline):
    """Calls host 0 until it says that all are there."""
    name, _, port = address.rpartition(":")
    while True:
        try:
            with socket.create_connection((name.strip("[]"), int(port)), timeout=5) as call:
                call.sendall(str(host).encode())
                call.settimeout(max(0.01, deadline - time.monotonic()))
                if call.recv(8) == b"start":
                    return
            raise ConnectionError("it hung up")
        except OSError as error:
            if time.monotonic() > deadline:
                raise OSError(
                    f"host 0 does not answer at {address} ({error.strerror or error}); start the "
                    "same command with --host-id 0 there (unless that run is finished already), "
                    "or mend the address"
                ) from error
        time.sleep(0.2)


def _send(content):
    """Returns host 0's bytes, on every host."""
    from jax.experimental import multihost_utils  # noqa: PLC0415

    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    if not size:
        return b""
    own = np.frombuffer(content, "uint8") if content else np.zeros(size, "uint8")
    return np.asarray(multihost_utils.broadcast_one_to_all(own)).tobytes()
