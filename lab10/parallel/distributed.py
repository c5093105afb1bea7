"""Runs on several processes, on one host or many, with `jax.distributed`.

JAX detects a lost process: the coordinator misses its heartbeat and names it in the log, and JAX aborts the other
processes. Checkpoints stay intact, so the same command resumes the run.
"""

import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

from lab10.cli.console import console
from lab10.config.fields import require_at_least
from lab10.errors import Diverged, Interrupted, UserError
from lab10.parallel.multihost import is_lead_process

MANUAL_OPTIONS = "--distributed.coordinator-address, --distributed.num-processes and --distributed.process-id"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distributed:
    """The processes of a run. The first three fields are required unless JAX detects the launcher."""

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
        require_at_least(1, self, *at_least_one, prefix="distributed.")
        require_at_least(0, self, "process_id", prefix="distributed.")
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
        if self.detect is not None:
            return self.detect
        if "SLURM_STEP_NODELIST" in os.environ:
            return os.environ.get("SLURM_NTASKS", "1") != "1"
        return os.environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1" or "JOB_COMPLETION_INDEX" in os.environ


@contextlib.contextmanager
def joined(settings: Distributed) -> Iterator[None]:
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
        jax.distributed.initialize(
            settings.coordinator_address,
            settings.num_processes,
            settings.process_id,
            initialization_timeout=settings.connect_timeout_seconds,
            heartbeat_timeout_seconds=settings.heartbeat_timeout_seconds,
            # A process that shuts down waits for others, which may be stuck in a collective that needs this process.
            shutdown_timeout_seconds=settings.heartbeat_timeout_seconds,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"Cannot connect to the other processes of this run: {reason}\nGive {MANUAL_OPTIONS}."
        ) from error
    console.quiet = not is_lead_process()
    console.print(f"{jax.process_count()} processes, {jax.device_count()} devices", markup=False)


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
