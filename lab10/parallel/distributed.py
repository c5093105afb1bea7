"""Joins several processes, on one host or many, into one run by `jax.distributed`.

A process that is lost is JAX's to notice: the coordinator misses its heartbeat, names it in the log, and JAX aborts the
other processes. Checkpoints stay whole, so the same command resumes the run.
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

BY_HAND = "--distributed.coordinator-address, --distributed.num-processes and --distributed.process-id"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distributed:
    """Which processes make up the run. Without a launcher that JAX knows, the first three are needed."""

    coordinator_address: str | None = None
    """Address of process 0 as host:port, with a free port on that host."""
    num_processes: int | None = None
    """Number of processes."""
    process_id: int | None = None
    """Index of this process, from 0."""
    detect: bool | None = None
    """Whether to ask the launcher; None: only if Slurm, Open MPI or Kubernetes has started several processes."""
    connect_timeout_seconds: int = 300
    """Time within which all processes have to connect."""
    heartbeat_timeout_seconds: int = 60
    """Time without a heartbeat after which a process counts as lost and the others end."""

    def __post_init__(self):
        by_hand = (self.coordinator_address, self.num_processes, self.process_id)
        if None in by_hand and by_hand != (None, None, None):
            raise UserError(f"{BY_HAND} belong together; give all three, or none where a launcher does.")
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
                f"expected one from 0 to {self.num_processes - 1}, of --distributed.num-processes."
            )

    @property
    def is_wanted(self) -> bool:
        """Whether this process is one of several, by options or by the variables of a launcher that JAX can ask."""
        if self.coordinator_address is not None:
            return True
        if self.detect is not None:
            return self.detect
        if "SLURM_STEP_NODELIST" in os.environ:
            return os.environ.get("SLURM_NTASKS", "1") != "1"
        return os.environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1" or "JOB_COMPLETION_INDEX" in os.environ


@contextlib.contextmanager
def joined(settings: Distributed) -> Iterator[None]:
    """Makes this process part of the run while entered. Enter it before the first use of a JAX device.

    Raises:
      UserError: the coordinator cannot be reached, or no launcher tells of the other processes.
    """
    if not settings.is_wanted:
        yield
        return
    connect(settings)
    try:
        yield
        multihost_utils.sync_global_devices("end of the run")  # unlike the shutdown, waits for a slow process
    except (UserError, Interrupted, Diverged):
        # All processes raise these together, so they meet in the shutdown and each keeps its exit status.
        jax.distributed.shutdown()
        raise
    # Other errors are one process's own. They are printed before JAX shuts down at exit, which aborts this process
    # and the others if they do not come to the shutdown.
    jax.distributed.shutdown()


def connect(settings: Distributed) -> None:
    """Connects to the other processes by `jax.distributed.initialize`."""
    # JAX's preemption service would take SIGTERM away from `lab10.training.signals`.
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
            # In the shutdown, a process waits for others that may be stuck in a collective because of it.
            shutdown_timeout_seconds=settings.heartbeat_timeout_seconds,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"The processes of this run cannot be joined: {reason}\nGive {BY_HAND}.") from error
    console.quiet = not is_lead_process()
    console.print(f"{jax.process_count()} processes, {jax.device_count()} devices", markup=False)


def wait_for_coordinator(address: str, timeout_seconds: float) -> None:
    """Waits until the coordinator accepts connections; JAX would abort the process if it never does.

    Raises:
      UserError: it does not in time.
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
