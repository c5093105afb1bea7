"""The folder of a run: its files, the experiment it belongs to, and the lock of the process that trains in it.

config.json      the experiment, the description of the dataset, and the provenance of the run
vocabulary.txt   the words of a text dataset, most frequent first, one per line
metrics.jsonl    the metrics, one JSON object per line; tensorboard/ has the same as events
checkpoints/     one folder per checkpoint
history.png      the learning curves
evaluations/     metrics, and the prediction or error of every example, one pair of files per evaluation
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
# Time within which a file written by another host should be visible; NFS clients cache a folder for 30 s to 60 s
# (nfs(5), acdirmax).
SHARED_SECONDS = 90
# Files left by a process that died before it wrote config.json.
_OWN_BEFORE_CONFIG = ("lock", ".config.json.partial")


class Workdir:
    """The folder of a run.

    Attributes:
      path: path to the folder, as given by the user.
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
        """Locks the folder for one training process. The operating system releases the lock if the process dies.

        Raises:
          UserError: another process trains in the folder, or the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / "lock", "a")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise UserError(
                f"The workdir {self.path} cannot be written ({error.strerror}). Choose another with --workdir."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"Another process is training in {self.path}. "
                    "Wait until it ends, or choose another folder with --workdir."
                ) from error
            self._lock = file
            try:
                yield
            finally:
                self._lock = None

    def require_still_there(self) -> None:
        """Checks that the folder is still the one that this process locked.

        Raises:
          FileNotFoundError: the folder was moved or removed; another may have taken its name.
        """
        with contextlib.suppress(FileNotFoundError):
            if self._lock is None or os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.path / "lock")):
                return
        raise FileNotFoundError(errno.ENOENT, "the folder was moved or removed during training", str(self.path))

    def write_config(self, experiment: Experiment, dataset: OpenDataset) -> None:
        """Records the experiment, or checks that the recorded experiment computes the same result.

        Raises:
          UserError: the folder holds a run with another config, or files that are not from a run.
        """
        if self.config_path.exists():
            self._require_same(experiment, dataset)
        elif unexpected := sorted(path.name for path in self.path.iterdir() if path.name not in _OWN_BEFORE_CONFIG):
            raise UserError(
                f"{self.path} is not a run of lab10, but contains {', '.join(unexpected[:5])}. "
                "Choose a new folder with --workdir."
            )
        value = {
            "format": FORMAT_VERSION,
            "experiment": to_json(experiment, Experiment),
            "dataset": {
                "version": dataset.version,
                "content_sha256": dataset.content_sha256,
                "spec": to_json(dataset.spec, Spec),
            },
            "provenance": self._provenance_history(),
        }
        write_atomically(self.config_path, json.dumps(value, indent=1).encode())
        if dataset.vocabulary is not None:
            write_atomically(self.path / "vocabulary.txt", b"\n".join(dataset.vocabulary))

    def shared_filesystem_error(self) -> str:
        """Returns an error message if this process cannot see the config.json of the lead process, else `""`."""
        deadline = time.monotonic() + SHARED_SECONDS
        while not self.config_path.exists():
            if time.monotonic() > deadline:
                return (
                    f"Process {jax.process_index()} (on {platform.node()}) does not see the files that process 0 wrote "
                    f"to {self.path.absolute()}. Choose a --workdir on a filesystem that all hosts share."
                )
            time.sleep(0.1)
        return ""

    def _provenance_history(self) -> list[dict[str, Any]]:
        """The recorded provenance, with that of this process appended if it differs from the last entry."""
        recorded = self._read().get("provenance", []) if self.config_path.exists() else []
        history = [entry for entry in recorded if isinstance(entry, dict)] if isinstance(recorded, list) else []
        current = provenance()
        if not history:
            return [current]
        if history[-1] == current:
            return history
        changed = ", ".join(sorted(name for name in current if history[-1].get(name) != current[name]))
        console.print(
            f"Changed since this run was last trained: {changed}. Its results may differ in their bits from here on.",
            markup=False,
        )
        return [*history, current]

    def _require_same(self, experiment: Experiment, dataset: OpenDataset) -> None:
        recorded = self.read_experiment()
        differing = differing_fields(recorded, experiment)
        # A run may be extended, unless its schedule depends on its length.
        if not experiment.optimizer.schedule.depends_on_duration and self._is_extended(recorded, experiment):
            differing = [field for field in differing if field not in ("--epochs", "--steps")]
        if (experiment.patience or math.inf) >= (recorded.patience or math.inf):
            differing = [field for field in differing if field != "--patience"]
        if self.read_content_sha256() != dataset.content_sha256:
            differing.append("the dataset's content")
        if differing:
            raise UserError(
                f"{self.path} holds a run with another config; these differ: {', '.join(differing)}.\n"
                "Choose a new folder with --workdir, or use the values in its config.json to resume this run."
            )

    @staticmethod
    def _is_extended(recorded: Experiment, experiment: Experiment) -> bool:
        if recorded.steps is not None and experiment.steps is not None:
            return experiment.steps >= recorded.steps
        if recorded.epochs is not None and experiment.epochs is not None:
            return experiment.epochs >= recorded.epochs
        return False

    def read_experiment(self) -> Experiment:
        """Reads the recorded experiment.

        Raises:
          UserError: the folder is not a run of this version of lab10.
        """
        return from_json(self._read()["experiment"], Experiment)

    def read_spec(self) -> Spec:
        """Reads the recorded description of the dataset.

        Raises:
          UserError: the folder is not a run of this version of lab10.
        """
        return from_json(self._read()["dataset"]["spec"], Spec)  # type: ignore[type-abstract]

    def read_content_sha256(self) -> str:
        """Reads the recorded digest of the train split of the dataset."""
        return str(self._read()["dataset"].get("content_sha256", ""))

    def read_vocabulary(self) -> Sequence[bytes]:
        """Reads the recorded words of a text dataset, most frequent first.

        Raises:
          UserError: vocabulary.txt cannot be read.
        """
        try:
            words = (self.path / "vocabulary.txt").read_bytes()
        except OSError as error:
            raise UserError(
                f"{self.path} has no vocabulary.txt ({error.strerror}). Copy all files of the run."
            ) from error
        return words.split(b"\n") if words else []

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self.config_path.read_bytes())
        except FileNotFoundError as error:
            raise UserError(
                f"{self.path} is not a run: it has no config.json. "
                "Give a folder that scripts/train.py wrote, such as runs/mnist_pca."
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
        """Records that a split was read, and returns how often it has been read so far, including this time.

        Raises:
          OSError: the folder cannot be written.
        """
        path = self.path / "evaluations" / "log.jsonl"
        path.parent.mkdir(exist_ok=True)
        with open(path, "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            previous = sum(line.get("split") == split for line in read_json_lines(path, skip_invalid=True))
            content = path.read_bytes()
            is_truncated = bool(content) and not content.endswith(b"\n")  # by a crash during the last write
            file.write("\n" * is_truncated + json.dumps({"split": split} | entry) + "\n")
        return previous + 1


def provenance() -> dict[str, Any]:
    """Describes what may change the bits of a run: the revision, the versions of packages, and the devices."""
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
    """The git revision of the project, with `-dirty` if files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file atomically: a reader, also after a crash, sees all of the old or all of the new content."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
