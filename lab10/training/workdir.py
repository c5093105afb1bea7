"""The workdir of a run: its files, and the lock of the process that trains there.

config.json      the experiment, the description of the dataset, and the provenance (versions and devices)
vocabulary.txt   the words of a text dataset, most frequent first, one per line
metrics.jsonl    one JSON object per line; tensorboard/ has the same as events
checkpoints/     one folder per checkpoint
history.png      the learning curves
evaluations/     metrics, and predictions or errors per example, two files per evaluation
"""

import contextlib
import errno
import fcntl
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import jax

from lab10.cli.console import console
from lab10.config.experiment import Experiment, differing_fields, from_json, to_json
from lab10.config.paths import path_of
from lab10.data.dataset import OpenDataset, Spec
from lab10.errors import UserError
from lab10.training.json_lines import read_json_lines

FORMAT_VERSION = 2  # of config.json; raised whenever fields are renamed
# Within this time a file written by another host should be visible:
# NFS clients look again after 30 s to 60 s (nfs(5), acdirmax).
SHARED_SECONDS = 90
# Files that a process may leave if it is killed before config.json is written.
_OWN_BEFORE_CONFIG = ("lock", ".config.json.partial")


class Workdir:
    """The workdir of a run.

    Attributes:
      path: the folder, as given by the user.
    """

    def __init__(self, path: str | Path):
        self.path = path_of(path)
        self._lock: IO[str] | None = None

    @property
    def config_path(self) -> Path:
        """Path to config.json."""
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        """Path to metrics.jsonl."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints_path(self) -> Path:
        """Path to the folder of checkpoints."""
        return self.path / "checkpoints"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for one training process; the operating system releases the lock if the process dies.

        Raises:
          UserError: another process trains there, or the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / "lock", "a")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise UserError(
                f"The workdir {self.path} cannot be written ({error.strerror}). Name another with --workdir."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"Another process is training in {self.path}. Wait for it, or name another --workdir."
                ) from error
            self._lock = file
            try:
                yield
            finally:
                self._lock = None

    def require_still_there(self) -> None:
        """Checks that the folder is still the one this process has locked.

        Raises:
          FileNotFoundError: the folder was moved, removed or replaced.
        """
        with contextlib.suppress(FileNotFoundError):
            if self._lock is None or os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.path / "lock")):
                return
        raise FileNotFoundError(errno.ENOENT, "the folder was moved or removed while it was trained in", str(self.path))

    def write_config(self, experiment: Experiment, dataset: OpenDataset) -> None:
        """Writes config.json, or checks that the recorded experiment computes the same result.

        Raises:
          UserError: the folder holds a run with a different config, or files that are not a run.
        """
        if self.config_path.exists():
            self._require_same(experiment, dataset)
        elif unexpected := sorted(path.name for path in self.path.iterdir() if path.name not in _OWN_BEFORE_CONFIG):
            raise UserError(
                f"{self.path} is no run of lab10, yet holds {', '.join(unexpected[:5])}. "
                f"Name a new folder with --workdir."
            )
        value = {
            "format": FORMAT_VERSION,
            "experiment": to_json(experiment, Experiment),
            "dataset": {
                "version": dataset.version,
                "content_sha256": dataset.content_sha256,
                "spec": to_json(dataset.spec, Spec),
            },
            "provenance": self._made_with(),
        }
        write_atomically(self.config_path, json.dumps(value, indent=1).encode())
        if dataset.vocabulary is not None:
            write_atomically(self.path / "vocabulary.txt", b"\n".join(dataset.vocabulary))

    def shared_filesystem_error(self) -> str:
        """Returns an error message if this process does not see the config of process 0; else an empty string."""
        deadline = time.monotonic() + SHARED_SECONDS
        while not self.config_path.exists():
            if time.monotonic() > deadline:
                return (
                    f"Process {jax.process_index()} (on {platform.node()}) does not see what process 0 wrote to "
                    f"{self.path.absolute()}. Give a --workdir in a folder that all hosts share."
                )
            time.sleep(0.1)
        return ""

    def _made_with(self) -> list[dict[str, Any]]:
        """Returns the provenance of the run so far, with an entry for this process if it differs from the last one."""
        before = self._read().get("provenance", []) if self.config_path.exists() else []
        before = [entry for entry in before if isinstance(entry, dict)] if isinstance(before, list) else []
        now = provenance()
        if before and before[-1] != now:
            changed = ", ".join(sorted(name for name in now if before[-1].get(name) != now[name]))
            console.print(f"This run was made with another {changed}: its bits may differ from here on.", markup=False)
        return before if before and before[-1] == now else [*before, now]

    def _require_same(self, experiment: Experiment, dataset: OpenDataset) -> None:
        recorded = self.read_experiment()
        differing = differing_fields(recorded, experiment)
        # A longer run is the same run gone on, unless the schedule would have been another from the start.
        if not experiment.optimizer.schedule.depends_on_duration and self._longer(recorded, experiment):
            differing = [field for field in differing if field not in ("--epochs", "--steps")]
        if (experiment.patience or math.inf) >= (recorded.patience or math.inf):
            differing = [field for field in differing if field != "--patience"]
        if self.read_content_sha256() != dataset.content_sha256:
            differing.append("the dataset's content")
        if differing:
            raise UserError(
                f"{self.path} holds a run of another config; these differ: {', '.join(differing)}.\n"
                "Name a new folder with --workdir, or give the fields the values in its config.json to go on with it."
            )

    @staticmethod
    def _longer(before: Experiment, now: Experiment) -> bool:
        if before.steps is not None and now.steps is not None:
            return now.steps >= before.steps
        if before.epochs is not None and now.epochs is not None:
            return now.epochs >= before.epochs
        return False

    def read_experiment(self) -> Experiment:
        """Reads the recorded experiment.

        Raises:
          UserError: the folder is no run of this version of lab10.
        """
        return from_json(self._read()["experiment"], Experiment)

    def read_spec(self) -> Spec:
        """Reads the recorded description of the dataset.

        Raises:
          UserError: the folder is no run of this version of lab10.
        """
        return from_json(self._read()["dataset"]["spec"], Spec)  # type: ignore[type-abstract]

    def read_content_sha256(self) -> str:
        """Reads the recorded digest of the train split."""
        return str(self._read()["dataset"].get("content_sha256", ""))

    def read_vocabulary(self) -> Sequence[bytes]:
        """Reads the words of a text dataset, most frequent first."""
        try:
            words = (self.path / "vocabulary.txt").read_bytes()
        except OSError as error:
            raise UserError(
                f"{self.path} has no vocabulary.txt ({error.strerror}); copy the run's folder whole."
            ) from error
        return words.split(b"\n") if words else []

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self.config_path.read_bytes())
        except FileNotFoundError as error:
            raise UserError(
                f"{self.path} is no run: it has no config.json. "
                f"Give a folder that scripts/train.py wrote, such as runs/mnist_pca."
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{self.config_path} cannot be read ({error}).") from error
        if not isinstance(value, dict) or not isinstance(value.get("format"), int):
            raise UserError(f"{self.config_path} is not the config of a run; expected one that scripts/train.py wrote.")
        if value["format"] != FORMAT_VERSION:
            raise UserError(
                f"{self.config_path} has the config format {value['format']}; this version of lab10 reads format "
                f"{FORMAT_VERSION}. Use the revision of lab10 that it names, or train again in a new --workdir."
            )
        dataset = value.get("dataset")
        if "experiment" not in value or not isinstance(dataset, dict) or "spec" not in dataset:
            raise UserError(f"{self.config_path} is damaged: its experiment or dataset is missing.")
        return value

    def record_evaluation(self, split: str, entry: dict[str, Any]) -> int:
        """Records an evaluation of a split, and returns how often the split has now been evaluated.

        Raises:
          OSError: the folder cannot be written.
        """
        path = self.path / "evaluations" / "log.jsonl"
        path.parent.mkdir(exist_ok=True)
        with open(path, "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            before = sum(line.get("split") == split for line in read_json_lines(path))
            torn = not path.read_bytes().endswith((b"\n", b"")) if path.stat().st_size else False
            file.write("\n" * torn + json.dumps({"split": split} | entry) + "\n")
        return before + 1


def provenance() -> dict[str, Any]:
    """Returns the versions of packages, and the device, to compare runs."""
    packages = ("lab10", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")
    device = jax.devices()[0]
    return {
        "revision": _revision(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
    }


def _revision() -> str | None:
    """Returns the git revision of lab10, with `-dirty` if files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file atomically: readers, and a crash, see the old content or the new."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
