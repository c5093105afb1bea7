"""A cache of arrays: checked, memory-mapped, and safe if several processes build at once.

An entry is a folder with one raw binary file per array and a manifest with the dtype, shape and
SHA-256 of each file. An entry is written under a temporary name and renamed when complete, so a
reader sees a complete entry or none. An entry that does not match its manifest is rebuilt.
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lab10.cli.console import console
from lab10.config.errors import UserError
from lab10.config.paths import path_of

FORMAT_VERSION = 1
Arrays = dict[str, np.ndarray]


def cache_root(directory: str | None) -> Path:
    """Returns the folder of the cache: `directory`, else $LAB10_CACHE_DIR, else ~/.cache/lab10."""
    return path_of(directory or os.environ.get("LAB10_CACHE_DIR") or "~/.cache/lab10").absolute()


class ArrayWriter:
    """Writes the arrays of an entry chunk by chunk, so that no array has to fit in memory."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._arrays: dict[str, dict[str, Any]] = {}

    def append(self, name: str, chunk: np.ndarray) -> None:
        """Appends rows, [rows, …], to the array `name`.

        Raises:
          ValueError: the dtype or the row shape differs from the previous chunks.
        """
        description = self._arrays.setdefault(name, {"dtype": chunk.dtype.str, "shape": [0, *chunk.shape[1:]]})
        if (description["dtype"], description["shape"][1:]) != (chunk.dtype.str, list(chunk.shape[1:])):
            raise ValueError(
                f"chunk of {name} is {chunk.dtype} {chunk.shape[1:]}, the previous chunks were {description}"
            )
        description["shape"][0] += len(chunk)
        with open(self._folder / f"{name}.bin", "ab") as file:
            file.write(np.ascontiguousarray(chunk).tobytes())

    def finish(self, key: dict[str, Any]) -> None:
        """Writes the manifest, which completes the entry."""
        for name, description in self._arrays.items():
            description["sha256"] = _sha256(self._folder / f"{name}.bin")
        manifest = {
            "format": FORMAT_VERSION,
            "key": key,
            "arrays": self._arrays,
            "sha256": _content_sha256(self._arrays),
        }
        (self._folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))


def open_entry(root: Path, label: str, key: dict[str, Any], build: Callable[[ArrayWriter], None]) -> tuple[Arrays, str]:
    """Opens the entry with this key; builds the entry first if it is missing or damaged.

    Args:
      root: folder of the cache.
      label: readable prefix of the entry's folder name.
      key: everything that defines the content, as JSON types. Every key has its own entry.
      build: writes the arrays.

    Returns:
      The arrays by name, memory-mapped and read-only, and the SHA-256 of their content.

    Raises:
      UserError: the cache cannot be written, or a new entry does not read back.
    """
    key = json.loads(json.dumps(key))
    digest = hashlib.sha256(json.dumps([FORMAT_VERSION, key], sort_keys=True).encode()).hexdigest()[:16]
    entry = root / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', label).strip('.')[:100]}-{digest}"
    opened = _read(entry, key)
    if opened is not None:
        return opened
    try:
        with locked(root, entry.name):
            opened = _read(entry, key)  # another process may have built the entry meanwhile
            if opened is None:
                _build(entry, key, build)
                opened = _read(entry, key)
    except OSError as error:
        raise UserError(
            f"The cache in {root} cannot be written ({error.strerror or error}).\n"
            "Name a writable folder with enough space: LAB10_CACHE_DIR or --data.cache-dir."
        ) from error
    if opened is None:
        raise UserError(
            f"The cache entry {entry} cannot be read back as it was written. "
            "The disk may be failing: try another --data.cache-dir."
        )
    return opened


def _build(entry: Path, key: dict[str, Any], build: Callable[[ArrayWriter], None]) -> None:
    if entry.exists():
        console.print(f"The cached arrays in {entry} are damaged; rebuilding them.")
    # Left by a process that died: this process holds the lock.
    for leftover in entry.parent.glob(f".{glob.escape(entry.name)}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        new = temporary / "new"
        new.mkdir()  # unlike the temporary folder, with the permissions that other users may have
        writer = ArrayWriter(new)
        build(writer)
        writer.finish(key)
        if entry.exists():
            os.replace(entry, temporary / "damaged")
        os.replace(new, entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read(entry: Path, key: dict[str, Any]) -> tuple[Arrays, str] | None:
    """Returns the arrays and the digest of an entry; None if it is missing, damaged or has another key."""
    try:
        manifest = json.loads((entry / "manifest.json").read_text())
        if manifest["format"] != FORMAT_VERSION or manifest["key"] != key:
            return None
        if manifest["sha256"] != _content_sha256(manifest["arrays"]):
            return None
        arrays = {}
        for name, description in sorted(manifest["arrays"].items()):
            path = entry / f"{Path(name).name}.bin"
            dtype, shape = np.dtype(description["dtype"]), tuple(description["shape"])
            size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            if dtype.hasobject or path.stat().st_size != size or _sha256(path) != description["sha256"]:
                return None
            arrays[name] = np.memmap(path, dtype, "r", shape=shape) if size else np.zeros(shape, dtype)
        return arrays, manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError):
        return None


def _content_sha256(descriptions: dict[str, Any]) -> str:
    """Returns the SHA-256 of the names, dtypes, shapes and digests of an entry's arrays."""
    return hashlib.sha256(json.dumps(descriptions, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Holds the lock `name` in a folder; the operating system releases the lock if the process dies."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f".{name}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(f"Another process is building {name} in {root}; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
