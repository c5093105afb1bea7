"""Runs a script, and kills it or lets it fail right before a write that is named: no fault points in the product.

    LAB10_FAULT='{"root": "runs/a", "log": "writes.txt", "at": ["rename .config.json.partial > config.json", 2]}' \
        python tests/support/faulty.py scripts/train.py mnist_pca --workdir runs/a

The script runs as `__main__` with the arguments that follow it. Every write of Python code to a file or folder
under `root` is announced before it happens, by an audit hook (https://peps.python.org/pep-0578/) where Python has
an event for it, else by a wrapper. What C++ writes by itself (the arrays of a checkpoint) is not announced; `delay`
reaches it.

A write's name is an operation (open, write, fsync, truncate, rename, link, remove, mkdir, rmdir) and the path from
`root`. Numbers and digests in it are `N`, so that one name stands for the same write of all checkpoints. `write` is
one call of the system's write, after buffering.

LAB10_FAULT holds, as a JSON object:

    root     folder; only writes under it count. It need not exist.
    log      file to which the name of each write is appended, a line each, before it happens. None if left out.
    at       where: a number N, the Nth write of the process, from 1, and 0 the process's start; or [NAME, K], its Kth
             write of that name, from 1. Nothing happens if left out, or if the process ends before: the log records.
    do       what, then: "kill" (SIGKILL, the default); another signal's name ("SIGTERM"), then the write continues;
             or an error's ("ENOSPC", "EIO"), which the write raises as OSError.
    torn     true: if the write is a `write`, its first half reaches the file before.
    delay    seconds after `at` of a kill, during which the process continues; another process sends it.
    lasting  true: with an error, every later `open`, `write`, `mkdir` and `fsync` raises it too: the disk stays full.
"""

import builtins
import errno
import io
import json
import os
import re
import runpy
import select
import signal
import sys
import threading
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_TAKES_ROOM = ("open", "write", "mkdir", "fsync")
# Audit events of operations on one path: our name, and the index of the argument that is a folder's descriptor.
_ON_A_PATH = {
    "os.remove": ("remove", 1),
    "os.mkdir": ("mkdir", 2),
    "os.rmdir": ("rmdir", 1),
    "os.truncate": ("truncate", None),
}
_ON_TWO_PATHS = {"os.rename": "rename", "os.link": "link", "os.symlink": "link"}


class Faults:
    """Counts the writes of this process, and injects a fault at the one that was chosen."""

    def __init__(
        self,
        root: str,
        log: str | None = None,
        at: int | tuple[str, int] | None = None,
        do: str = "kill",
        torn: bool = False,
        delay: float | None = None,
        lasting: bool = False,
    ):
        self._root, self._at, self._do, self._lasting = os.path.abspath(root), at, do, lasting
        self.torn = torn
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._count, self._count_of_name, self._failing = 0, 0, False
        self._lock = threading.RLock()
        self._kill_later = None if delay is None else _start_killer(delay)
        if at == 0:
            self.inject_fault("")

    def under_root(self, path: Any, folder: int | None = None) -> str | None:
        """The absolute path, where it is under the root; `folder` is the descriptor that it is relative to."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        path = os.fsdecode(path)
        if folder is not None and folder >= 0:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        path = os.path.abspath(path)
        return path if path == self._root or path.startswith(self._root + os.sep) else None

    def announce(self, operation: str, *paths: str) -> bool:
        """Announces a write; returns whether the fault is due at it."""
        relative = " > ".join(os.path.relpath(path, self._root) for path in paths)
        name = f"{operation} " + re.sub(r"[0-9a-f]{32}|\d+", "N", relative)
        with self._lock:
            self._count += 1
            if self._log is not None:
                os.write(self._log, f"{name}\n".encode())
            if self._failing and operation in _TAKES_ROOM:
                return True
            if isinstance(self._at, int):
                return self._at == self._count
            if self._at is None or self._at[0] != name:
                return False
            self._count_of_name += 1
            return self._count_of_name == self._at[1]

    def inject_fault(self, path: str) -> None:
        """Kills the process, sends it a signal, or raises the error."""
        if self._kill_later is not None:
            os.write(self._kill_later, b"!")
        elif self._do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._do in signal.Signals.__members__:
            os.kill(os.getpid(), signal.Signals[self._do])
        else:
            self._failing = self._lasting
            number = getattr(errno, self._do)
            raise OSError(number, os.strerror(number), path)

    def before_write(self, operation: str, *paths: str | None) -> None:
        """Announces a write to these paths, of which one is under the root, and injects the fault if it is due."""
        if any(path is not None for path in paths) and self.announce(
            operation, *(path or "elsewhere" for path in paths)
        ):
            self.inject_fault(next(path for path in paths if path is not None))

    def audit_hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python's audit hook."""
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITING and not isinstance(path, int):
                self.before_write("open", self.under_root(path))
        elif event in _ON_A_PATH:
            operation, i = _ON_A_PATH[event]
            self.before_write(operation, self.under_root(arguments[0], None if i is None else arguments[i]))
        elif event in _ON_TWO_PATHS:
            folders = (arguments[2], arguments[3]) if event != "os.symlink" else (None, arguments[2])
            paths = [self.under_root(path, folder) for path, folder in zip(arguments[:2], folders, strict=True)]
            self.before_write(_ON_TWO_PATHS[event], *paths)


def _start_killer(delay: float) -> int:
    """Starts a process that kills this one `delay` seconds after a byte is written to the descriptor it returns."""
    reading, writing = os.pipe()
    victim = os.getpid()
    if os.fork() == 0:
        os.close(writing)
        # No byte, or an end of file while it waits: the victim has ended by itself.
        if os.read(reading, 1) and not select.select([reading], [], [], delay)[0] and os.getppid() == victim:
            os.kill(victim, signal.SIGKILL)
        os._exit(0)
    os.close(reading)
    return writing


def install(faults: Faults) -> None:
    """Announces all writes from here on to `faults`."""
    open_of_python, fsync = builtins.open, os.fsync

    class AnnouncedFile(io.FileIO):
        """A file of which every write is announced."""

        def __init__(self, *arguments: Any, announced: str, **named: Any):
            self._announced = announced
            super().__init__(*arguments, **named)

        def write(self, data: Any) -> int:
            if faults.announce("write", self._announced):
                if faults.torn:
                    super().write(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
                faults.inject_fault(self._announced)
            return super().write(data)

    def announcing_open(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        path = None if isinstance(file, int) or not set(mode) & set("wax+") else faults.under_root(file)
        if path is None:
            return open_of_python(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = AnnouncedFile(file, mode.replace("b", "").replace("t", ""), closefd, opener, announced=path)
        if buffering == 0:
            return raw
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)
        text.mode = mode
        return text

    def announcing_fsync(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        faults.before_write("fsync", faults.under_root(descriptor))
        fsync(descriptor)

    builtins.open = io.open = announcing_open
    os.fsync = announcing_fsync
    sys.addaudithook(faults.audit_hook)


if __name__ == "__main__":
    settings = json.loads(os.environ["LAB10_FAULT"])
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    install(Faults(**settings))
    runpy.run_path(sys.argv[0], run_name="__main__")
