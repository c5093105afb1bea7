"""Workers as the driver sees them: started, asked one thing at a time, ended."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab10.config.errors import RunError, UserError

ROOT = Path(__file__).resolve().parent.parent

# Each peer's worker, the package that it cannot do without, and what it adds to the environment.
PEERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "keras-jax": ("keras_peer.py", "keras", {"KERAS_BACKEND": "jax"}),
    "keras-tensorflow": ("keras_peer.py", "tensorflow", {"KERAS_BACKEND": "tensorflow"}),
    "torch": ("torch_peer.py", "torch", {}),
    "flax": ("flax_peer.py", "flax", {}),
}
LAB10 = "lab10"
ALWAYS = ("keras-jax", "flax")

# Two workers live at a time, so neither may take a whole accelerator's memory.
SHARED_DEVICE = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def installed(peer: str) -> bool:
    """Whether the peer's packages are there; none is imported."""
    packages = {PEERS[peer][1]} | ({"keras"} if peer.startswith("keras") else set())
    return all(importlib.util.find_spec(package) is not None for package in packages)


def choose_peers(asked: list[str] | None) -> list[str]:
    """The peers asked for, or those that always take part and whatever else is installed.

    Raises:
      UserError: one of them is not installed.
    """
    chosen = asked or [peer for peer in PEERS if peer in ALWAYS or installed(peer)]
    missing = [peer for peer in chosen if not installed(peer)]
    if missing:
        raise UserError(
            f"{', '.join(missing)} cannot be measured: a package is not installed.\n"
            "Install the peers with pip install -e '.[bench]', or name others with --peers."
        )
    return chosen


class Worker:
    """A process that answers the protocol of worker.py. A context manager that ends it."""

    def __init__(
        self,
        script: str,
        task: str,
        arrays: Path,
        seed: int = 0,
        options: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ):
        command = [sys.executable, str(ROOT / "benchmarks" / script), task, str(arrays), "--seed", str(seed), *options]
        self.name = f"{script} {task}"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the worker ends)
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | SHARED_DEVICE | (env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    @classmethod
    def of(cls, peer: str, task: str, arrays: Path, seed: int = 0, buckets: int | None = None) -> "Worker":
        """The worker of a peer or of lab10, which alone takes a number of buckets."""
        if peer == LAB10:
            options = () if buckets is None else ("--buckets", str(buckets))
            return cls("lab10_peer.py", task, arrays, seed, options)
        script, _, environment = PEERS[peer]
        return cls(script, task, arrays, seed, env=environment)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ready(self) -> dict[str, Any]:
        """Waits for the first step; adds `seconds` since the process was started."""
        answer = self._read()
        return answer | {"seconds": time.perf_counter() - self._began}

    def ask(self, command: str) -> dict[str, Any]:
        """The answer to a command.

        Raises:
          RunError: the worker failed.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # what a library prints while it is imported comes before
                return json.loads(line)
        raise self._failed()

    def _failed(self) -> RunError:
        self._process.wait()
        self._errors.seek(0)
        tail = self._errors.read().decode(errors="replace").strip().splitlines()[-12:]
        return RunError(f"{self.name} ended with status {self._process.returncode}:\n" + "\n".join(tail))


def seconds_to_line(command: list[str], pattern: str) -> float:
    """Seconds from the start of a process to the first line it prints that matches; it is ended then.

    Raises:
      RunError: it ended without such a line.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if re.search(pattern, line):
                return time.perf_counter() - began
            lines.append(line.rstrip())
    finally:
        process.kill()
        process.communicate()
    raise RunError(f"{' '.join(command)} printed no line like {pattern!r}:\n" + "\n".join(lines[-12:]))
