"""The folder of a run: its files, the experiment it belongs to, and the lock of the process that trains in it.

config.json      the experiment, the description of the dataset, and the provenance of the run
user_code/        copies of the files, outside lab10, that define parts of the experiment
vocabulary.txt   the words of a text dataset, most frequent first, one per line
ngrams.npz       the n-grams of a text dataset that have ids, if --data.max-ngram is above 1
metrics.jsonl    the metrics, one JSON object per line; tensorboard/ has the same as events
checkpoints/     one folder per checkpoint
history.png      the learning curves
evaluations/     metrics, and the prediction or error of every example, one pair of files per evaluation
"""

import contextlib
import errno
import fcntl
import io
import json
import os
import platform
import shlex
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np

from lab10.config import user_code, user_code_copies
from lab10.config.atomic_write import write_atomically
from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, from_json, to_json
from lab10.config.paths import path_of
from lab10.config.restore_user_code import restore_user_code
from lab10.data.dataset import OpenDataset, Spec
from lab10.training.config_changes import changed_fields, describe_changes
from lab10.training.provenance import provenance_history

FORMAT_VERSION = 4  # of config.json; raised whenever fields are renamed
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

    def __init__(self, path: str | os.PathLike[str]):
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

    @property
    def tensorboard_path(self) -> Path:
        """Path to the folder of event files and profiles."""
        return self.path / "tensorboard"

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

    def write_or_check_config(self, experiment: Experiment, dataset: OpenDataset) -> None:
        """Records the experiment, or checks that the recorded experiment computes the same result.

        Raises:
          UserError: the folder holds a run with another config, or files that are not from a run.
        """
        code = user_code.find_user_code(experiment, dataset.spec)
        if self.config_path.exists():
            self._require_same(experiment, dataset, code)
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
            "metrics": experiment.task.metrics | {experiment.monitor: experiment.higher_is_better},
            "provenance": provenance_history(self._read().get("provenance") if self.config_path.exists() else None),
        }
        if code:
            value["user_code"] = [own.to_json() for own in code]
        write_atomically(self.config_path, json.dumps(value, indent=1).encode())
        user_code_copies.write_copies(self.path, code)
        if dataset.vocabulary is not None:
            write_atomically(self.path / "vocabulary.txt", b"\n".join(dataset.vocabulary))
        if dataset.ngram_vocabulary:
            tables = io.BytesIO()
            np.savez(tables, *dataset.ngram_vocabulary)
            write_atomically(self.path / "ngrams.npz", tables.getvalue())

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

    def _require_same(self, experiment: Experiment, dataset: OpenDataset, code: Sequence[user_code.UserCode]) -> None:
        user_code_copies.require_same(self.path, self.read_user_code(), code)
        own = user_code.user_classes(experiment, dataset.spec)
        recorded = from_json(self._read()["experiment"], Experiment, own)
        differing = changed_fields(recorded, experiment)
        if self.read_content_sha256() != dataset.content_sha256:
            differing.append("the dataset's content")
        recorded_spec = from_json(self._read()["dataset"]["spec"], Spec, own)  # type: ignore[type-abstract]
        if not differing and recorded_spec != dataset.spec:  # read by another version of lab10
            differing.append("how the dataset's examples are read")
        if differing:
            raise UserError(
                f"{self.path} holds a run with another config; these differ (recorded → given):\n"
                f"{describe_changes(recorded, experiment, differing)}\n"
                "To resume this run, use the recorded values. To train anew, choose a new folder with --workdir.\n"
                "To continue from its best parameters with the given values, if no shape changes, add to the command:\n"
                f"  --init-from {shlex.quote(str(self.path))} --workdir {shlex.quote(f'{self.path}_2')}"
            )

    def read_user_code(self) -> list[user_code.UserCode]:
        """Reads which code outside lab10 the experiment is made of.

        Raises:
          UserError: the folder is not a run of this version of lab10.
        """
        return user_code.parse(self._read().get("user_code", []))

    def read_experiment(self, trust: bool = False) -> Experiment:
        """Reads the recorded experiment.

        Args:
          trust: whether to run the code in the workdir that defines parts of the experiment.

        Raises:
          UserError: the folder is not a run of this version of lab10, or has code that is not trusted.
        """
        own = restore_user_code(self.path, self.read_user_code(), trust)
        return from_json(self._read()["experiment"], Experiment, own)

    def read_spec(self, trust: bool = False) -> Spec:
        """Reads the recorded description of the dataset; arguments and errors as for `read_experiment`."""
        own = restore_user_code(self.path, self.read_user_code(), trust)
        return from_json(self._read()["dataset"]["spec"], Spec, own)  # type: ignore[type-abstract]

    def read_experiment_json(self) -> dict[str, Any]:
        """Reads the recorded experiment as JSON. Runs no code, whatever the experiment is made of.

        Raises:
          UserError: the folder is not a run of this version of lab10.
        """
        fields = self._read()["experiment"]
        if not isinstance(fields, dict):
            raise UserError(f"{self.config_path} is damaged: its experiment is missing.")
        return fields

    def read_metric_directions(self) -> dict[str, bool]:
        """Reads, for each metric of the recorded run, whether higher is better.

        Raises:
          UserError: the folder is not a run of this version of lab10, or has code that is not trusted.
        """
        metrics = self._read().get("metrics")
        if isinstance(metrics, dict) and all(isinstance(higher, bool) for higher in metrics.values()):
            return metrics
        return self.read_experiment().task.metrics  # a run of an earlier version

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

    def read_ngram_vocabulary(self) -> tuple[np.ndarray, ...]:
        """Reads the recorded n-grams of a text dataset; empty if it has none.

        Raises:
          UserError: ngrams.npz cannot be read.
        """
        path = self.path / "ngrams.npz"
        if not path.exists():
            return ()
        try:
            with np.load(path, allow_pickle=False) as tables:
                return tuple(tables[name] for name in tables.files)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} cannot be read ({error}). Copy all files of the run.") from error

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self.config_path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(
                f"{self.path} is not a run: it {'is a file' if self.path.is_file() else 'has no config.json'}. "
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
