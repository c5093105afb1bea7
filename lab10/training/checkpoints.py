"""Checkpoints, saved and restored with Orbax. No other module imports Orbax.

A checkpoint is one folder, `checkpoints/STEP`, which a rename makes visible only once it is complete. It
holds the parameters and the optimizer's state, and as its metadata everything else (`checkpoint_metadata`).
"""

import contextlib
import dataclasses
import errno
import functools
import itertools
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from lab10.cli.console import console
from lab10.config.errors import UserError, first_line
from lab10.optim.parameter_paths import by_path
from lab10.parallel.multihost import run_on_lead
from lab10.tasks.metrics import Metrics
from lab10.training.checkpoint_metadata import (
    READ_ERRORS,
    CheckpointMetadata,
    UnsupportedFormat,
    digest,
    read_checkpoint_metadata,
)
from lab10.training.early_stopping import EarlyStopping
from lab10.training.saved_checkpoints import SavedCheckpoints

KEEP_LATEST = 2
DROPPED_SUFFIX = ".dropped"
# Suffixes of the folders left by a process that died while it saved or removed a checkpoint.
LEFTOVER_SUFFIXES = (".orbax-checkpoint-tmp", DROPPED_SUFFIX)


@dataclasses.dataclass(frozen=True)
class RestoredCheckpoint:
    """Contents of a restored checkpoint.

    Attributes:
      step: number of steps taken.
      trees: pytrees of arrays by name.
      info: the metadata of the checkpoint.
    """

    step: int
    trees: dict[str, Any]
    info: CheckpointMetadata


class Checkpoints(SavedCheckpoints):
    """Saves and restores the checkpoints of a run, of which it keeps the latest two and the best.

    Args:
      directory: folder of all checkpoints. `save` creates it, but not the workdir around it.
      monitor: validation metric that decides which checkpoint is the best.
      higher_is_better: whether higher values of `monitor` are better.
      alone: whether this process reads without the other processes of a multi-process run.

    Attributes:
      directory: folder of all checkpoints.
    """

    def __init__(self, directory: Path, monitor: str, higher_is_better: bool, alone: bool = False):
        super().__init__(directory, monitor, higher_is_better)
        self._processes = {jax.process_index()} if alone else None
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs the errors that it raises, with traceback

    def save(
        self,
        step: int,
        trees: dict[str, Any],
        pending_metrics: Metrics,
        validation: dict[str, float] | None,
        early_stopping: EarlyStopping | None = None,
    ) -> None:
        """Saves a checkpoint atomically, and removes the checkpoints that are no longer kept.

        Args:
          step: number of steps taken.
          trees: pytrees of arrays by name.
          pending_metrics: metrics of the steps since the last line of metrics.
          validation: validation metrics at this step; None if there was no evaluation.
          early_stopping: the best evaluation so far; None if there was no evaluation.

        Raises:
          OSError: the checkpoint could not be written; the earlier checkpoints are unchanged.
          UnsupportedFormat: an earlier checkpoint was saved by another version of lab10.
        """
        digests = {name: digest(tree) for name, tree in trees.items()}
        info = CheckpointMetadata(pending_metrics, validation or {}, digests, early_stopping or EarlyStopping())
        run_on_lead(self._prepare_directory)
        path = self.directory.absolute() / str(step)
        try:
            # A copy of the dictionary, because Orbax adds entries to it.
            ocp.save_checkpointables(path, dict(trees), overwrite=True, custom_metadata=info.to_json())
        except (ValueError, RuntimeError) as error:  # raised by the C++ code that writes arrays
            raise OSError(errno.EIO, first_line(error), str(path)) from error
        run_on_lead(self._remove_old)

    def _prepare_directory(self) -> None:
        self.directory.mkdir(exist_ok=True)  # without parents, so that saving fails if the workdir was removed
        self._remove_leftovers()

    def _remove_old(self) -> None:
        """Removes the checkpoints that are no longer kept. Renames them first, so that no reader sees a part of one."""
        best = self.best_step()
        for step in self.steps()[:-KEEP_LATEST]:
            if step != best:
                (self.directory / str(step)).rename(self.directory / f"{step}{DROPPED_SUFFIX}")
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for path in self.directory.iterdir():
            if path.name.endswith(LEFTOVER_SUFFIXES):
                shutil.rmtree(path)

    def restore(self, step: int, abstract_trees: dict[str, Any]) -> RestoredCheckpoint:
        """Restores pytrees of a checkpoint with the given shapes, dtypes and shardings.

        Args:
          step: step of the checkpoint.
          abstract_trees: pytrees of `jax.ShapeDtypeStruct` by name, for all pytrees or only some.

        Raises:
          UserError: the checkpoint is damaged, or its model or its version of lab10 differs.
        """
        path = self.directory.absolute() / str(step)
        info = self.info(step)
        self._check_shapes(step, abstract_trees)
        try:
            processes = ocp.options.MultiprocessingOptions(
                primary_host=min(self._processes or {0}), active_processes=self._processes
            )
            with warnings.catch_warnings(), ocp.Context(multiprocessing_options=processes):
                warnings.simplefilter("ignore")
                trees = ocp.load_checkpointables(path, abstract_trees)
        except (ValueError, KeyError, TypeError, OSError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise UserError(f"{path} cannot be read as a checkpoint of this model: {first_line(cause)}") from error
        for name, tree in trees.items():
            if digest(tree) != info.sha256.get(name):
                raise UserError(f"{path} is damaged: its {name} differ from what was saved.")
        return RestoredCheckpoint(step, trees, info)

    def restore_latest(self, abstract_trees: dict[str, Any], at_most: int | None = None) -> RestoredCheckpoint | None:
        """Restores the latest undamaged checkpoint, to resume from it; returns None if there are no checkpoints.

        Later checkpoints that are damaged are renamed to `STEP.damaged`, and the leftovers of a process that
        died while saving are removed.

        Args:
          abstract_trees: as for `restore`.
          at_most: the latest step to restore; None for no limit.

        Raises:
          UserError: all checkpoints are damaged, or one was saved by another version of lab10.
        """
        errors: dict[int, UserError] = {}
        for step in reversed([step for step in self.steps() if at_most is None or step <= at_most]):
            try:
                restored = self.restore(step, abstract_trees)
            except UnsupportedFormat:
                raise
            except UserError as error:
                errors[step] = error
                console.print(f"{error}\nTrying the previous checkpoint.")
                continue
            run_on_lead(functools.partial(self._clean_up, list(errors)))
            return restored
        if errors:
            raise UserError(
                f"No checkpoint in {self.directory} can be restored. The last error: {next(reversed(errors.values()))}"
            )
        return None

    def _clean_up(self, damaged_steps: list[int]) -> None:
        for step in damaged_steps:
            self._rename_damaged(step)
        self._remove_old()

    def _rename_damaged(self, step: int) -> None:
        """Renames a damaged checkpoint to `STEP.damaged`, with a number appended if that name is taken."""
        names = (
            self.directory / f"{step}.damaged{suffix}"
            for suffix in itertools.chain([""], (f"-{count}" for count in itertools.count(2)))
        )
        (self.directory / str(step)).rename(next(name for name in names if not name.exists()))

    def saved_shapes(self, step: int, name: str, sharding: jax.sharding.Sharding) -> Any:
        """Returns one of a checkpoint's pytrees as it was saved, abstract, to be restored with a sharding.

        Raises:
          UserError: the metadata are damaged, or no such pytree was saved.
        """
        read_checkpoint_metadata(self.directory.absolute() / str(step))  # refuses other versions first
        with self._reading_metadata(step) as saved:
            return jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), saved[name]
            )

    def _check_shapes(self, step: int, abstract_trees: dict[str, Any]) -> None:
        """Compares shapes. Orbax would do so only while reading, and without naming the array."""
        with self._reading_metadata(step) as saved:
            saved_shapes = {name: _shapes(tree) for name, tree in saved.items()}
        for name, tree in abstract_trees.items():
            for leaf, shape in _shapes(tree).items():
                saved_shape = saved_shapes.get(name, {}).get(leaf, shape)
                if saved_shape != shape:
                    raise UserError(
                        f"{self.directory.absolute() / str(step)} cannot be read as a checkpoint of this model: "
                        f"{name}/{leaf} has shape {saved_shape}; expected {shape}."
                    )

    @contextlib.contextmanager
    def _reading_metadata(self, step: int) -> Iterator[Any]:
        """Yields Orbax's metadata of each pytree by name; reports errors while they are read and used."""
        path = self.directory.absolute() / str(step)
        try:
            yield ocp.checkpointables_metadata(path).metadata
        except READ_ERRORS as error:
            raise UserError(f"{path} is damaged: its metadata cannot be read ({first_line(error)}).") from error


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {path: tuple(leaf.shape) for path, leaf in by_path(tree).items() if hasattr(leaf, "shape")}
