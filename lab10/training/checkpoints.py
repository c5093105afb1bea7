"""Checkpoints, saved and restored with Orbax.

A checkpoint is one folder, `checkpoints/STEP`, which a rename makes appear complete. It contains the
parameters and the optimizer's state and, as metadata, the validation metrics, the pending sums of the next
line of metrics, the state of early stopping, and digests of the arrays and of the metadata.
"""

import dataclasses
import errno
import functools
import hashlib
import itertools
import json
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from lab10.cli.console import console
from lab10.errors import UserError
from lab10.parallel.multihost import run_on_lead
from lab10.tasks.metrics import Metrics
from lab10.training.early_stopping import EarlyStopping

FORMAT_VERSION = 3
METADATA_FILE = "_CHECKPOINT_METADATA"  # Orbax's, with what was given as custom_metadata
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, OSError)
KEEP_LATEST = 2
DROPPED = ".dropped"
# Suffixes of what a process leaves behind if it is killed while it saves or drops a checkpoint.
LEFTOVERS = (".orbax-checkpoint-tmp", DROPPED)


@dataclasses.dataclass(frozen=True)
class Restored:
    """The content of a checkpoint: pytrees by name, and the metadata saved with them."""

    step: int
    trees: dict[str, Any]
    pending_metrics: Metrics
    validation: dict[str, float]
    early_stopping: EarlyStopping


class UnsupportedFormat(UserError):
    """A checkpoint in an unsupported format. It may be valid, so it is left untouched."""


class Checkpoints:
    """The checkpoints of a run. The latest two and the best are kept.

    Args:
      directory: the folder of all checkpoints; created on the first save, inside an existing workdir.
      monitor: the validation metric of which the best value is kept.
      higher_is_better: whether the highest value of that metric is the best.
      alone: whether this process reads on its own, even if it is one of several.

    Attributes:
      directory: as given.
    """

    def __init__(self, directory: Path, monitor: str, higher_is_better: bool, alone: bool = False):
        self.directory = directory
        self._monitor = monitor
        self._processes = {jax.process_index()} if alone else None
        self._sign = 1.0 if higher_is_better else -1.0
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs with a traceback what it raises as well

    def _goodness(self, metrics: dict[str, float]) -> float:
        return self._sign * metrics[self._monitor]

    def steps(self) -> list[int]:
        """Returns the steps of all complete checkpoints, ascending."""
        if not self.directory.is_dir():
            return []
        return sorted(
            int(path.name)
            for path in self.directory.iterdir()
            if path.name.isascii() and path.name.isdigit() and (path / METADATA_FILE).is_file()
        )

    def best_step(self) -> int | None:
        """Returns the step of the best checkpoint, the later one of ties; the latest if none has validation metrics.

        Raises:
          UnsupportedFormat: a checkpoint was written by another version of lab10.
        """
        measured, steps = [], self.steps()
        for step in steps:
            try:
                metrics = self.validation(step)
                if self._monitor in metrics:
                    measured.append((self._goodness(metrics), step))
            except UnsupportedFormat:
                raise
            except UserError as error:
                console.print(f"{error}\nIt is left out of the choice of the best.", markup=False)
        return max(measured)[1] if measured else max(steps, default=None)

    def validation(self, step: int) -> dict[str, float]:
        """Returns the validation metrics saved with a checkpoint; empty if there are none."""
        return self._read_info(step).validation

    def find(self, which: str) -> int:
        """Returns the step that `best`, `latest` or a number refers to.

        Raises:
          UserError: there is no such checkpoint.
        """
        steps = self.steps()
        if not steps:
            raise UserError(
                f"{self.directory.parent} has no checkpoint yet; train first, or longer: python scripts/train.py"
            )
        if which == "latest":
            return steps[-1]
        if which == "best":
            return self.best_step() or steps[-1]
        if not (which.isascii() and which.isdigit()) or int(which) not in steps:
            raise UserError(
                f"There is no checkpoint {which!r}; "
                f"expected best, latest or one of the steps {', '.join(map(str, steps))}."
            )
        return int(which)

    def save(
        self,
        step: int,
        trees: dict[str, Any],
        pending_metrics: Metrics,
        validation: dict[str, float] | None,
        early_stopping: EarlyStopping | None = None,
    ) -> None:
        """Saves a checkpoint, which appears complete or not at all, and removes those that are no longer kept.

        Args:
          step: steps taken so far.
          trees: pytrees of arrays by name.
          pending_metrics: the metrics of the steps since the last line of metrics.
          validation: the validation metrics at this step, if measured.
          early_stopping: the best evaluation so far; None if there was none.

        Raises:
          OSError: the checkpoint could not be written; earlier checkpoints are unchanged.
          UnsupportedFormat: an earlier checkpoint was written by another version of lab10.
        """
        beside = {
            "format": FORMAT_VERSION,
            "validation": validation or {},
            "pending_metrics": {"totals": pending_metrics.totals, "count": pending_metrics.count},
            "early_stopping": dataclasses.asdict(early_stopping or EarlyStopping()),
            "sha256": {name: digest(tree) for name, tree in trees.items()},
        }
        beside["own_sha256"] = digest_of_json(beside)
        run_on_lead(self._make_ready)
        path = self.directory.absolute() / str(step)
        try:
            # A copy: Orbax adds to the dictionary that it is given.
            ocp.save_checkpointables(path, dict(trees), overwrite=True, custom_metadata=beside)
        except (ValueError, RuntimeError) as error:  # so fails what is written by C++
            raise OSError(errno.EIO, _first_line(error), str(path)) from error
        run_on_lead(self._drop_old)

    def _make_ready(self) -> None:
        self.directory.mkdir(exist_ok=True)  # not its parents: a run whose workdir was taken away has nowhere to save
        self._remove_leftovers()

    def _drop_old(self) -> None:
        """Removes the checkpoints that are no longer kept; a rename first, so no reader sees an incomplete one."""
        best = self.best_step()
        for step in self.steps()[:-KEEP_LATEST]:
            if step != best:
                (self.directory / str(step)).rename(self.directory / f"{step}{DROPPED}")
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for path in self.directory.iterdir():
            if path.name.endswith(LEFTOVERS):
                shutil.rmtree(path)

    def restore(self, step: int, abstract_trees: dict[str, Any]) -> Restored:
        """Restores pytrees of a checkpoint with the given shapes, dtypes and shardings.

        Raises:
          UserError: the checkpoint is damaged, or was written by another model or version.
        """
        path = self.directory.absolute() / str(step)
        beside, shapes = self._read_info(step), self._read_shapes(step)
        # Orbax notices this only while reading, and does not name the array.
        for name, tree in abstract_trees.items():
            for leaf, shape in _shapes(tree).items():
                saved = shapes.get(name, {}).get(leaf, shape)
                if saved != shape:
                    raise UserError(
                        f"{path} cannot be read as a checkpoint of this model: "
                        f"{name}/{leaf} is of shape {saved}; expected {shape}."
                    )
        try:
            processes = ocp.options.MultiprocessingOptions(
                primary_host=min(self._processes or {0}), active_processes=self._processes
            )
            with warnings.catch_warnings(), ocp.Context(multiprocessing_options=processes):
                warnings.simplefilter("ignore")
                trees = ocp.load_checkpointables(path, abstract_trees)
        except (ValueError, KeyError, TypeError, OSError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise UserError(f"{path} cannot be read as a checkpoint of this model: {_first_line(cause)}") from error
        for name, tree in trees.items():
            if digest(tree) != beside.sha256.get(name):
                raise UserError(f"{path} is damaged: its {name} differ from what was saved.")
        return Restored(step, trees, beside.pending_metrics, beside.validation, beside.early_stopping)

    def restore_latest(self, abstract_trees: dict[str, Any], at_most: int | None = None) -> Restored | None:
        """Restores the latest undamaged checkpoint, to resume from; None if there is no checkpoint.

        Remains of an interrupted save are removed, and damaged checkpoints are renamed to `STEP.damaged`.

        Args:
          abstract_trees: as for `restore`.
          at_most: the latest step to restore; None for no limit.

        Raises:
          UserError: all checkpoints are damaged, or the latest was written by another version of lab10.
        """
        problems: dict[int, UserError] = {}
        for step in reversed([step for step in self.steps() if at_most is None or step <= at_most]):
            try:
                restored = self.restore(step, abstract_trees)
            except UnsupportedFormat:
                raise
            except UserError as error:
                problems[step] = error
                console.print(f"{error}\nTrying the checkpoint before it.", markup=False)
                continue
            run_on_lead(functools.partial(self._tidy, list(problems)))
            return restored
        if problems:
            raise UserError(
                f"No checkpoint in {self.directory} can be restored. "
                f"The last problem: {next(reversed(problems.values()))}"
            )
        return None

    def _tidy(self, damaged: list[int]) -> None:
        for step in damaged:
            self._set_aside(step)
        self._drop_old()

    def _set_aside(self, step: int) -> None:
        """Renames a damaged checkpoint to a name that is still free."""
        names = (
            self.directory / f"{step}.damaged{suffix}"
            for suffix in itertools.chain([""], (f"-{count}" for count in itertools.count(2)))
        )
        (self.directory / str(step)).rename(next(name for name in names if not name.exists()))

    def _read_info(self, step: int) -> "SavedRunInfo":
        path = self.directory.absolute() / str(step)
        try:
            # Orbax's own reader also reads the metadata of every array, which takes some 30 ms.
            found = dict(json.loads((path / METADATA_FILE).read_text())["custom_metadata"])
            own_sha256 = found.pop("own_sha256", None)
            undigested = own_sha256 is None and found["format"] != FORMAT_VERSION  # as the first format was
            if not undigested and own_sha256 != digest_of_json(found):
                raise ValueError("they are not what was saved")
            if found["format"] == FORMAT_VERSION:
                pending_metrics = Metrics(
                    _numbers(found["pending_metrics"]["totals"]), float(found["pending_metrics"]["count"])
                )
                early_stopping = EarlyStopping(**found["early_stopping"])
                return SavedRunInfo(
                    pending_metrics, _numbers(found["validation"]), dict(found["sha256"]), early_stopping
                )
        except UNREADABLE as error:
            raise UserError(f"{path} is damaged: its metadata cannot be read ({_first_line(error)}).") from error
        raise UnsupportedFormat(
            f"{path} has the checkpoint format {found['format']}; this version of lab10 reads format {FORMAT_VERSION}. "
            "Take the revision that config.json names under provenance, or train anew with another --workdir."
        )

    def _read_shapes(self, step: int) -> dict[str, dict[str, tuple[int, ...]]]:
        """Returns the shapes of the arrays in a checkpoint, by name of the pytree and path of the leaf."""
        path = self.directory.absolute() / str(step)
        try:
            return {name: _shapes(tree) for name, tree in ocp.checkpointables_metadata(path).metadata.items()}
        except UNREADABLE as error:
            raise UserError(f"{path} is damaged: its metadata cannot be read ({_first_line(error)}).") from error


@dataclasses.dataclass(frozen=True)
class SavedRunInfo:
    """The metadata of a checkpoint. `sha256` holds a digest for each pytree by name."""

    pending_metrics: Metrics
    validation: dict[str, float]
    sha256: dict[str, str]
    early_stopping: EarlyStopping


def _numbers(found: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in found.items()}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array of a pytree by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
        if hasattr(leaf, "shape")
    }


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def digest(tree: Any) -> str:
    """Returns the SHA-256 of the paths, dtypes, shapes and bytes of a pytree's arrays, hexadecimal."""
    sha256 = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf) if _is_whole(leaf) else multihost_utils.process_allgather(leaf, tiled=True)
        sha256.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        sha256.update(np.ascontiguousarray(array).tobytes())
    return sha256.hexdigest()


def _is_whole(leaf: Any) -> bool:
    """Whether this process holds all of an array."""
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated


def digest_of_json(value: dict[str, Any]) -> str:
    """Returns the SHA-256 of a JSON object with sorted keys, hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
