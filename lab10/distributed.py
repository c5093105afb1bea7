"""Several processes, on one host or on many, as one run: JAX's own runtime, joined, watched and left.

JAX gives processes a coordinator, process 0, which hears a heartbeat of each. What is added here is
how that ends where one of them dies: in every other one within the configured time, with exit status
1 and the lost one named, instead of a wait for ever (where collectives wait) or an abort without a word.
"""

import contextlib
import ctypes
import dataclasses
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from lab10.cli import exit_now
from lab10.console import console
from lab10.errors import Diverged, Interrupted, RunError, UserError
from lab10.fields import require_at_least
from lab10.multihost import gather_texts, is_lead_process

GO_ON = "What was saved is whole. Once all processes can be started, the same command goes on from the last checkpoint."
LOOK_EVERY_SECONDS = 0.5
# What process 0 grants the others to leave before it stops the coordinator that they hang on.
LEAVE_SECONDS = 10
# In which processes that end for one reason find that they do, and the watch finds what a failed barrier has found.
GRACE_SECONDS = 2
# Of the time to notice a loss: the grace, and what the watch and the coordinator take to look again.
MARGIN_SECONDS = GRACE_SECONDS + 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distributed:
    """Which processes make the run together. The first three belong together, where no launcher gives them."""

    coordinator_address: str | None = None
    """Of process 0, as host:port, with a port of it that is free."""
    num_processes: int | None = None
    """How many there are."""
    process_id: int | None = None
    """Which of them this is, from 0."""
    detect: bool | None = None
    """Whether a launcher that JAX knows is asked; None: where Slurm, Open MPI or Kubernetes has started several."""
    connect_timeout_seconds: int = 300
    """Within which all processes have to be there."""
    heartbeat_timeout_seconds: int = 60
    """Without a sign of life of a process, after which the others have ended."""

    def __post_init__(self):
        by_hand = ("coordinator_address", "num_processes", "process_id")
        missing = [name for name in by_hand if getattr(self, name) is None]
        if 0 < len(missing) < len(by_hand):
            options = ", ".join(f"--distributed.{name.replace('_', '-')}" for name in by_hand)
            raise UserError(f"{options} belong together; give all three, or none where a launcher does.")
        require_at_least(1, self, "num_processes", "connect_timeout_seconds", prefix="distributed.")
        require_at_least(0, self, "process_id", prefix="distributed.")
        require_at_least(MARGIN_SECONDS + 1, self, "heartbeat_timeout_seconds", prefix="distributed.")
        if self.coordinator_address is not None:
            host, _, port = self.coordinator_address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
                raise UserError(
                    f"--distributed.coordinator-address is {self.coordinator_address!r}; expected host:port."
                )
        if self.process_id is not None and self.num_processes is not None and self.process_id >= self.num_processes:
            raise UserError(
                f"--distributed.process-id is {self.process_id}; "
                f"expected one from 0 to {self.num_processes - 1}, of --distributed.num-processes."
            )

    @property
    def is_wanted(self) -> bool:
        """Whether this process is one of several."""
        if self.coordinator_address is not None:
            return True
        return launched_together() if self.detect is None else self.detect


def launched_together() -> bool:
    """Whether the environment is that of one of several processes; JAX then finds the others."""
    if "SLURM_STEP_NODELIST" in os.environ:
        return os.environ.get("SLURM_NTASKS", "1") != "1"
    return os.environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1" or "JOB_COMPLETION_INDEX" in os.environ


@contextlib.contextmanager
def joined(settings: Distributed) -> Iterator[None]:
    """While entered, this process is part of the run's; alone it stays what it is. JAX must not have begun.

    Raises:
      UserError: the others, or the coordinator, cannot be reached in time.
    """
    if not settings.is_wanted:
        yield
        return
    watch = Watch(settings)
    watch.connect()
    together = False
    try:
        yield
        multihost_utils.sync_global_devices("the end")
        together = True
    except (UserError, Interrupted, Diverged):  # in all processes at once, unless it is what the loss of one looks like
        together = watch.all_leave()
        if not together:
            watch.wait_for_verdict(GRACE_SECONDS)
        raise
    except RunError:
        # A checkpoint that cannot be written, by this process's fault or since one that should write a part has died.
        watch.wait_for_verdict(GRACE_SECONDS)
        raise
    except Exception:
        # A collective that a process has died in fails before its heartbeat is missed.
        watch.wait_for_verdict(settings.heartbeat_timeout_seconds)
        raise
    finally:
        watch.leave(together)


class Watch:
    """Sees to it that this process does not outlive another one of its run."""

    def __init__(self, settings: Distributed):
        self._settings = settings
        self._missed, self._leaving = threading.Event(), threading.Event()
        self._hosts: list[str] = []  # of each process, once they are connected
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def connect(self) -> None:
        """Joins the others, and starts to watch."""
        settings = self._settings
        began = time.monotonic()
        _on_abort(self._aborted)
        # A process that is lost is for us to say; JAX's own answer is an abort. And signals are ours.
        jax.config.update("jax_enable_recoverability", True)
        jax.config.update("jax_enable_preemption_service", False)
        if settings.process_id:
            _await(settings.coordinator_address or "", settings.connect_timeout_seconds)
        left = settings.connect_timeout_seconds - (time.monotonic() - began)
        try:
            jax.distributed.initialize(
                settings.coordinator_address,
                settings.num_processes,
                settings.process_id,
                initialization_timeout=max(1, round(left)),
                heartbeat_timeout_seconds=settings.heartbeat_timeout_seconds - MARGIN_SECONDS,
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"The processes of this run cannot be joined: {str(error).splitlines()[0]}\n"
                "Give --distributed.coordinator-address, --distributed.num-processes and --distributed.process-id."
            ) from error
        self._hosts = gather_texts(socket.gethostname())
        self._first = is_lead_process()
        console.quiet = not self._first
        console.print(f"{jax.process_count()} processes, {jax.device_count()} devices", markup=False)
        self._thread.start()

    def all_leave(self) -> bool:
        """Returns once all processes leave for a reason that they share; False: one does not, in a time."""
        try:
            ocp.multihost.get_barrier_sync_fn()(key="leave", timeout_ms=LEAVE_SECONDS * 1000)
        except Exception:  # of JAX's client, whose types are not public
            return False
        return True

    def leave(self, together: bool) -> None:
        """Leaves the run; where all leave together, process 0, which is the coordinator, as the last."""
        self._leaving.set()
        if self._first and together:
            self._thread.join(LEAVE_SECONDS)
        jax.distributed.shutdown()
        # A thread that comes back from native code when Python has ended is an abort.
        self._thread.join(LEAVE_SECONDS)
        _on_abort(None)

    def wait_for_verdict(self, seconds: float) -> None:
        """Returns if no process is missed within a time; where one is, its loss ends this one."""
        if self._missed.wait(seconds):
            self._thread.join()

    def _look_after(self) -> None:
        devices = jax.devices()
        others = {device.process_index for device in devices} - {jax.process_index()}
        missing: set[int] = set()
        while missing != others:
            try:
                # Each call waits until every process that lives has made it too.
                with multihost_utils.live_devices(devices) as live:
                    missing |= others - {device.process_index for device in live}
                    time.sleep(LOOK_EVERY_SECONDS)
            except multihost_utils.ProcessFailureError as error:
                missing |= {device.process_index for device in error.failed_devices}
            except Exception:
                return  # there is no coordinator any more: this process has left, or an abort is under way
            if missing:
                self._missed.set()
                if not self._leaving.wait(GRACE_SECONDS):
                    lost = ", ".join(f"{number} (on {self._hosts[number]})" for number in sorted(missing))
                    exit_now(f"Process {lost} of {len(self._hosts)} is lost, so this one cannot go on. {GO_ON}")

    def _aborted(self) -> None:
        """What is said in place of the abort with which JAX answers where there is no coordinator."""
        settings = self._settings
        if not self._hosts:
            of_all = "" if settings.num_processes is None else f" {settings.num_processes}"
            exit_now(
                f"Not all{of_all} processes of this run were there within {settings.connect_timeout_seconds} s "
                "(--distributed.connect-timeout-seconds). Start the same command on every host, each with its own "
                "--distributed.process-id."
            )
        if self._first:
            exit_now(f"Native code has given up; what it said stands above. {GO_ON}")
        exit_now(f"Process 0 (on {self._hosts[0]}), the coordinator, is lost, so this one cannot go on. {GO_ON}")


def _await(address: str, seconds: float) -> None:
    """Returns once somebody listens at an address.

    Raises:
      UserError: nobody did in time.
    """
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    while True:
        try:
            left = max(0.1, deadline - time.monotonic())
            socket.create_connection((host.strip("[]"), int(port)), timeout=left).close()
            return
        except OSError as error:
            if time.monotonic() + 0.2 >= deadline:
                raise UserError(
                    f"The coordinator {address} could not be reached within {seconds} s "
                    f"({error.strerror or error}). Expected process 0 of the same command there; see "
                    "--distributed.coordinator-address and --distributed.connect-timeout-seconds."
                ) from error
            time.sleep(0.2)


_ABORT_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_handlers: list[object] = []  # as long as C may call them


def _on_abort(function) -> None:
    """Calls a function when native code aborts this process; None: it aborts.

    JAX's client aborts, in a thread of its own, when it cannot reach the coordinator; there is a hook for
    that, `missed_heartbeat_callback`, but calling it fails in C++ (std::bad_cast, JAX 0.10 to 0.12).
    """
    handler = _ABORT_HANDLER(signal.SIG_DFL.value if function is None else lambda _: function())
    _handlers.append(handler)
    libc_signal = ctypes.CDLL(None).signal
    libc_signal.argtypes, libc_signal.restype = [ctypes.c_int, _ABORT_HANDLER], ctypes.c_void_p
    libc_signal(signal.SIGABRT, handler)
