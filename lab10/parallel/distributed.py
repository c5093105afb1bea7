"""Runs on several processes, on one host or many, with `jax.distributed`.

JAX detects a lost process: the coordinator misses its heartbeat and names it in the log, and JAX aborts the other
processes. Checkpoints stay intact, so the same command resumes the run.
"""

import atexit
import concurrent.futures
import contextlib
import dataclasses
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import ClassVar

import jax
from jax.experimental import multihost_utils

from lab10.cli.console import console
from lab10.config.errors import Diverged, Interrupted, UserError, first_line
from lab10.config.fields import require_at_least
from lab10.parallel.multihost import is_lead_process

MANUAL_OPTIONS = "--distributed.coordinator-address, --distributed.num-processes and --distributed.process-id"
# Time after which a message says that other processes are awaited, and the time by which JAX's timeout exceeds ours, so
# that ours comes first.
QUIET_SECONDS, JAX_MARGIN_SECONDS = 2.0, 60
RUN_ALONE_HINT = "To run this process alone, give it --distributed.detect False and its own --workdir."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distributed:
    """The processes of a run. The first three fields are required unless JAX detects the launcher."""

    option_prefix: ClassVar[str] = "distributed."

    coordinator_address: str | None = None
    """Address of process 0 as host:port, with a port that is free on its host."""
    num_processes: int | None = None
    """Number of processes."""
    process_id: int | None = None
    """Index of this process, from 0."""
    detect: bool | None = None
    """Whether to ask the launcher; None: only if Slurm, Open MPI or Kubernetes started several processes."""
    connect_timeout_seconds: int = 300
    """Seconds within which all processes must connect."""
    heartbeat_timeout_seconds: int = 60
    """Seconds without a heartbeat before a process counts as lost and the others end."""

    def __post_init__(self):
        manual = (self.coordinator_address, self.num_processes, self.process_id)
        if None in manual and manual != (None, None, None):
            raise UserError(f"{MANUAL_OPTIONS} belong together; give all three, or none under a launcher.")
        at_least_one = ("num_processes", "connect_timeout_seconds", "heartbeat_timeout_seconds")
        require_at_least(1, self, *at_least_one)
        require_at_least(0, self, "process_id")
        if self.coordinator_address is not None:
            host, _, port = self.coordinator_address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
                address = f"--distributed.coordinator-address is {self.coordinator_address!r}"
                raise UserError(f"{address}; expected host:port.")
        if self.process_id is not None and self.num_processes is not None and self.process_id >= self.num_processes:
            raise UserError(
                f"--distributed.process-id is {self.process_id}; "
                f"expected 0 to {self.num_processes - 1}, less than --distributed.num-processes."
            )

    @property
    def is_enabled(self) -> bool:
        """Whether to connect to other processes, as the options or a launcher's environment variables say."""
        if self.coordinator_address is not None:
            return True
        return self._launcher_description() is not None if self.detect is None else self.detect

    def _launcher_description(self) -> str | None:
        """The launcher that started several processes, and how it says so; None for a process on its own."""
        environ = os.environ
        if "SLURM_STEP_NODELIST" in environ:
            # An interactive step has one task, in an allocation (SLURM_NTASKS) that may have more.
            name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environ else "SLURM_NTASKS"
            return f"Slurm ({name}={environ[name]})" if environ.get(name, "1") != "1" else None
        if environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1":
            return f"Open MPI (OMPI_COMM_WORLD_SIZE={environ['OMPI_COMM_WORLD_SIZE']})"
        if "JOB_COMPLETION_INDEX" in environ:
            return f"Kubernetes (JOB_COMPLETION_INDEX={environ['JOB_COMPLETION_INDEX']})"
        return None

    def waiting_message(self) -> str:
        """Returns which processes are waited for, and how to run without them."""
        if self.coordinator_address is not None:
            return (
                f"This is process {self.process_id} of {self.num_processes} (--distributed.num-processes): waiting for "
                f"the others, for at most {self.connect_timeout_seconds} s."
            )
        launcher = self._launcher_description() or "the launcher (--distributed.detect True)"
        return (
            f"According to {launcher}, this is one of several processes of a run: waiting for the others, for at most "
            f"{self.connect_timeout_seconds} s. {RUN_ALONE_HINT}"
        )


@contextlib.contextmanager
def connected(settings: Distributed) -> Iterator[None]:
    """Connects this process to the others of the run inside a `with` block; enter it before JAX uses a device.

    Raises:
      UserError: the coordinator cannot be reached, or no launcher describes the other processes.
    """
    if not settings.is_enabled:
        yield
        return
    connect(settings)
    try:
        yield
        multihost_utils.sync_global_devices("end of the run")  # waits for a slow process; the shutdown does not
    except (UserError, Interrupted, Diverged):
        # All processes raise these errors together, so all reach the shutdown and keep their exit statuses.
        jax.distributed.shutdown()
        raise
    # Other errors are raised by a single process and skip this line: they are printed before JAX shuts down at exit,
    # which aborts this process, and the other processes unless they reach the shutdown too.
    jax.distributed.shutdown()


def connect(settings: Distributed) -> None:
    """Connects to the other processes with `jax.distributed.initialize`.

    Raises:
      UserError: the connection fails.
    """
    # JAX's preemption service would replace the SIGTERM handler of `lab10.training.signals`.
    jax.config.update("jax_enable_preemption_service", False)
    if settings.process_id and settings.coordinator_address is not None:
        wait_for_coordinator(settings.coordinator_address, settings.connect_timeout_seconds)
    try:
        _initialize(settings)
    except (RuntimeError, ValueError) as error:
        reason = first_line(error)
        raise UserError(
            f"Cannot connect to the other processes of this run: {reason}\nGive {MANUAL_OPTIONS}.\n{RUN_ALONE_HINT}"
        ) from error
    console.quiet = not is_lead_process()
    console.print(f"{jax.process_count()} processes, {jax.device_count()} devices")


def _initialize(settings: Distributed) -> None:
    """Calls `jax.distributed.initialize`, and says what it waits for if that is slow.

    `initialize` ignores signals, and aborts the process on a timeout. It therefore runs in a thread, with a timeout
    longer than ours.

    Raises:
      UserError: not all processes have connected in time.
      RuntimeError, ValueError: those of JAX.
    """
    connection: concurrent.futures.Future[None] = concurrent.futures.Future()

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                settings.coordinator_address,
                settings.num_processes,
                settings.process_id,
                initialization_timeout=settings.connect_timeout_seconds + JAX_MARGIN_SECONDS,
                heartbeat_timeout_seconds=settings.heartbeat_timeout_seconds,
                # A process that shuts down waits for others, which may be stuck in a collective that needs this one.
                shutdown_timeout_seconds=settings.heartbeat_timeout_seconds,
            )
            connection.set_result(None)
        except BaseException as error:
            connection.set_exception(error)

    threading.Thread(target=initialize, daemon=True).start()
    try:
        with contextlib.suppress(TimeoutError):
            return connection.result(min(QUIET_SECONDS, settings.connect_timeout_seconds))
        console.print(settings.waiting_message())
        connection.result(max(0, settings.connect_timeout_seconds - QUIET_SECONDS))
    except TimeoutError as error:
        _leave_without_jax(2)
        raise UserError(
            f"Not all processes of this run have connected within {settings.connect_timeout_seconds} s "
            f"(--distributed.connect-timeout-seconds).\n{settings.waiting_message()}"
        ) from error
    except KeyboardInterrupt:
        _leave_without_jax(128 + signal.SIGINT)
        raise
    except Interrupted as error:
        _leave_without_jax(128 + error.signal_number)
        raise


def _leave_without_jax(status: int) -> None:
    """Lets this process exit without JAX's shutdown, which would wait for processes that never came."""
    atexit.register(os._exit, status)


def wait_for_coordinator(address: str, timeout_seconds: float) -> None:
    """Waits until the coordinator accepts connections; on a timeout, JAX would abort the process.

    Raises:
      UserError: the coordinator does not accept a connection in time.
    """
    host, _, port = address.rpartition(":")
    deadline, reason = time.monotonic() + timeout_seconds, ""
    while time.monotonic() < deadline:
        try:
            return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_seconds).close()
        except OSError as error:
            reason = error.strerror or str(error)
        time.sleep(0.2)
    raise UserError(
        f"The coordinator {address} could not be reached within {timeout_seconds} s ({reason}).\nExpected process 0 of "
        "the same command there; see --distributed.coordinator-address and --distributed.connect-timeout-seconds."
    )
