"""The runs in a folder, with their fields and results, as a pandas DataFrame: `lab10.runs("runs")`."""

import dataclasses
import errno
import math
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, flatten
from lab10.config.paths import path_of
from lab10.training.checkpoint_metadata import CheckpointMetadata
from lab10.training.evaluation_log import read_evaluations
from lab10.training.json_lines import read_metrics
from lab10.training.saved_checkpoints import SavedCheckpoints
from lab10.training.workdir import Workdir

# A folder with any of these is a run, perhaps a damaged one.
RUN_FILES = {"config.json", "metrics.jsonl", "checkpoints"}
# Folders in a workdir in which there are no runs.
RUN_FOLDERS = {"checkpoints", "evaluations", "tensorboard"}


def runs(directory: str | os.PathLike[str], all_fields: bool = False, *, trust: bool = False) -> pd.DataFrame:
    """Lists the runs in a folder and in the folders below it, such as those of a sweep. Reads no arrays.

    Args:
      directory: the folder. Hidden folders in it are skipped.
      all_fields: whether to add the fields in which the runs agree, and those that do not affect the result.
      trust: whether to run code in the workdirs of runs that have their own, as in `lab10.load`.

    Returns:
      A row for each run, ordered by path, with the columns

      - `workdir`, `step` (of the latest checkpoint) and `finished` (whether the run has reached its last step, or early
        stopping has ended it);
      - `best_step` and `validation_METRIC`: the best checkpoint and its validation metrics;
      - `test_METRIC`, `test_examples` and `test_step`: the latest evaluation on the test split; and `test_read_count`,
        the number of such evaluations;
      - the fields in which the runs differ, by dotted path, such as `optimizer.learning_rate`;
      - `problem`: what is damaged, or why the run cannot be read. Its other cells may then be missing.

    Raises:
      UserError: there is no such folder.
    """
    root = path_of(directory)
    if not root.is_dir():
        raise UserError(f"There is no folder {root}; expected a folder of runs, such as runs/.")
    return _to_frame([_read(path, problem, all_fields, trust) for path, problem in find_runs(root)], all_fields)


def find_runs(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Yields the workdirs in a folder, ordered by path; and each folder that cannot be read, with the reason.

    Follows links, but not those inside a run, and visits each folder once.
    """
    visited, pending = set(), [root]
    while pending:
        folder = pending.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            is_run = not RUN_FILES.isdisjoint(entry.name for entry in entries)
            inner = [
                Path(entry.path)
                for entry in entries
                if _is_folder(entry, follow_symlinks=not is_run)
                and not entry.name.startswith(".")
                and not (is_run and entry.name in RUN_FOLDERS)
            ]
        except OSError as error:
            yield folder, f"{folder} cannot be read ({error.strerror})."
            continue
        if is_run:
            yield folder, None
        pending += reversed(inner)


def _is_folder(entry: os.DirEntry[str], follow_symlinks: bool) -> bool:
    """Whether an entry is a folder, or may be one where this user may not look; links in a circle are none."""
    try:
        return entry.is_dir(follow_symlinks=follow_symlinks)
    except OSError as error:
        return error.errno != errno.ELOOP


@dataclasses.dataclass(frozen=True)
class _Row:
    """A run: its results by column, its fields by path, and what is wrong with it."""

    results: dict[str, Any]
    fields: dict[str, Any]
    problems: Sequence[str]


def _read(path: Path, problem: str | None, all_fields: bool, trust: bool) -> _Row:
    results: dict[str, Any] = {"workdir": str(path), "step": None, "finished": None, "best_step": None}
    if problem is not None:
        return _Row(results, {}, [problem])
    fields: dict[str, Any] = {}
    problems: list[str] = []
    try:
        workdir = Workdir(path)
        steps = SavedCheckpoints(workdir.checkpoints_path, "", False).steps()
        results["step"] = steps[-1] if steps else None
        results |= _test_results(read_evaluations(path, "test"))
        experiment = workdir.read_experiment(trust)
        fields = flatten(experiment, all_fields=all_fields)
        _add_training_results(results, workdir, experiment, problems)
    except UserError as error:
        problems.append(str(error))
    except OSError as error:
        problems.append(f"{error.filename or path} cannot be read ({error.strerror}).")
    return _Row(results, fields, list(dict.fromkeys(problems)))


def _add_training_results(
    results: dict[str, Any], workdir: Workdir, experiment: Experiment, problems: list[str]
) -> None:
    """Adds the results of training by column, and the errors of damaged checkpoints to `problems`.

    Raises:
      UserError: a checkpoint is damaged, or was saved by another version. The results before it are added.
    """
    saved = SavedCheckpoints(workdir.checkpoints_path, experiment.monitor, experiment.higher_is_better)
    best = saved.best_step(on_damaged=lambda error: problems.append(str(error)))
    if best is None:
        results["finished"] = False
        return
    results["best_step"] = best
    results |= {f"validation_{name}": value for name, value in saved.validation(best).items()}
    step = saved.steps()[-1]
    results["finished"] = _is_finished(experiment, step, saved.info(step), read_metrics(workdir.metrics_path))


def _is_finished(
    experiment: Experiment, step: int, info: CheckpointMetadata, lines: list[dict[str, Any]]
) -> bool | None:
    """Whether a run has ended; None if there are no lines of metrics, which tell the number of steps in an epoch."""
    if info.early_stopping.should_stop(experiment.patience):
        return True
    if experiment.steps is not None:
        return step >= experiment.steps
    steps_per_epoch = next((line["step"] / line["epoch"] for line in lines if line["epoch"] > 0), math.inf)
    if experiment.epochs is None or not math.isfinite(steps_per_epoch):
        return None
    return step >= experiment.epochs * round(steps_per_epoch)


def _test_results(of_test: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the latest result of the evaluations on the test split by column; none if there was no evaluation."""
    if not of_test:
        return {}
    metrics = {f"test_{name}": value for name, value in of_test[-1].items() if isinstance(value, float)}
    counts = {f"test_{name}": of_test[-1].get(name) for name in ("examples", "step")}
    return metrics | counts | {"test_read_count": len(of_test)}


def _to_frame(rows: list[_Row], all_fields: bool) -> pd.DataFrame:
    results = dict.fromkeys(["workdir", "step", "finished", "best_step"])
    for prefix in ("validation_", "test_"):
        results |= dict.fromkeys(name for row in rows for name in row.results if name.startswith(prefix))
    columns = {name: [row.results.get(name) for row in rows] for name in results}
    # A damaged run has no fields, and differs in none.
    configs = [row.fields for row in rows if row.fields]
    names = _grouped_by_component(dict.fromkeys(name for fields in configs for name in fields))
    differing = [name for name in names if len({repr(fields.get(name, "")) for fields in configs}) > 1]
    shown = [*differing, *(name for name in names if all_fields and name not in differing)]
    columns |= {name: [row.fields.get(name) for row in rows] for name in shown}
    columns["problem"] = ["\n".join(row.problems) or None for row in rows]
    return pd.DataFrame({name: _series(values) for name, values in columns.items()})


def _grouped_by_component(paths: Collection[str]) -> list[str]:
    """Returns the fields of several configs with those of each part, such as the model, next to each other."""
    parts = list(dict.fromkeys(path.partition(".")[0] for path in paths))
    return sorted(paths, key=lambda path: parts.index(path.partition(".")[0]))


def _series(values: list[Any]) -> pd.Series:
    """Returns a column with the type that its values have in common; missing values do not change it."""
    types = {type(value) for value in values if value is not None}
    dtypes = {bool: "boolean", int: "Int64", float: "float64", str: "str"}
    dtype = "float64" if types == {int, float} else dtypes.get(types.pop(), "object") if len(types) == 1 else "object"
    # pandas cannot store lone surrogates, which the name of a folder or a string in a config may contain.
    values = [value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value for value in values]
    try:
        return pd.Series(values, dtype=dtype)
    except OverflowError:  # a seed of more than 64 bits
        return pd.Series(values, dtype="object")
