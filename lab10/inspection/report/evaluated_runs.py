"""Restores, evaluates and groups the runs of a report."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, flatten
from lab10.config.fields import option
from lab10.inspection.load import load
from lab10.inspection.run import Run
from lab10.training.json_lines import read_metrics
from lab10.training.workdir import Workdir

# Runs that differ only in these fields are repetitions of one configuration.
SEED_FIELDS = ("seed", "data.shuffle_seed", "data.validation_seed")


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """A run and its results on a split.

    Attributes:
      name: the shortest end of the path that distinguishes the run from the others.
      directory: the workdir, as given by the user.
      restored_run: the run, with its checkpoint.
      metric_lines: the lines of metrics.jsonl.
      result: the result of `Run.evaluate`.
      per_example: metrics and predictions, [examples] each, and `example`, their row ids in the TFDS split.
      content_sha256: digest of the dataset that the run was trained on.
    """

    name: str
    directory: str
    restored_run: Run
    metric_lines: list[dict[str, Any]]
    result: dict[str, Any]
    per_example: dict[str, np.ndarray]
    content_sha256: str

    @property
    def metric_names(self) -> list[str]:
        """Names of the metrics of the task, without `loss` if another metric has the same values."""
        names = list(self.restored_run.config.task.metrics)
        twins = [name for name in names[1:] if np.array_equal(self.per_example[name], self.per_example["loss"])]
        return [name for name in names if not (name == "loss" and twins)]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The values of `SEED_FIELDS`."""
        fields = flatten(self.restored_run.config)
        return tuple(fields[name] for name in SEED_FIELDS)


@dataclasses.dataclass(frozen=True)
class SeedGroup:
    """Runs that differ only in their seeds, sorted by seed.

    Attributes:
      name: name of the first run.
      runs: the runs, at least one.
    """

    name: str
    runs: tuple[EvaluatedRun, ...]

    @property
    def first_run(self) -> EvaluatedRun:
        """The run with the lowest seed, which represents the group, whatever its result."""
        return self.runs[0]


def restore_runs(directories: Sequence[str], checkpoint: str, **data: Any) -> list[Run]:
    """Restores runs without reading data, so that an invalid workdir does not cost an evaluation of the others.

    Args:
      directories: the workdirs.
      checkpoint: the checkpoint of each run: `best`, `latest` or a step.
      **data: fields of the dataset to change for reading, as for `lab10.load`.

    Raises:
      UserError: a folder is not a run or is given twice, or the runs have different tasks.
    """
    paths = _real_paths(directories)
    for i, path in enumerate(paths):
        if path in paths[:i]:
            raise UserError(f"{directories[i]} is given twice. Give each run once.")
    runs = [load(directory, checkpoint, **data) for directory in directories]
    require_one_task(dict(zip(directories, (run.config for run in runs), strict=True)))
    return runs


def evaluate_runs(directories: Sequence[str], runs: Sequence[Run], split: str) -> list[EvaluatedRun]:
    """Evaluates the restored runs of these workdirs, and records in each workdir that the split was read.

    Raises:
      UserError: the split does not exist.
    """
    evaluated = []
    for directory, name, run in zip(directories, short_names(_real_paths(directories)), runs, strict=True):
        result, per_example = run.evaluate_examples(split)
        workdir = Workdir(directory)
        lines = read_metrics(workdir.metrics_path)
        evaluated.append(EvaluatedRun(name, directory, run, lines, result, per_example, workdir.read_content_sha256()))
    return evaluated


def _real_paths(directories: Sequence[str]) -> list[str]:
    return [os.path.realpath(os.path.expanduser(directory)) for directory in directories]


def require_one_task(experiments: dict[str, Experiment]) -> None:
    """Checks that the runs have one task, or tasks of which one derives from the other, so that they share metrics.

    Raises:
      UserError: two runs have different tasks; the message names them.
    """
    (first, experiment), *others = experiments.items()
    for other, compared in others:
        tasks = type(experiment.task), type(compared.task)
        if not (issubclass(*tasks) or issubclass(*tasks[::-1])):
            raise UserError(
                f"{first} and {other} cannot be compared: the task of one is {type(experiment.task).__name__}, "
                f"of the other {type(compared.task).__name__}. Give runs of one task."
            )


def common_metrics(runs: Sequence[EvaluatedRun]) -> list[str]:
    """Returns the metrics that all runs have; without `loss` if their tasks differ, because each minimizes its own."""
    tasks = {type(run.restored_run.config.task) for run in runs}
    common = [name for name in runs[0].metric_names if all(name in run.metric_names for run in runs)]
    return [name for name in common if name != "loss" or len(tasks) == 1]


def short_names(paths: Sequence[str]) -> list[str]:
    """Returns the last parts of each path, as many as are needed to distinguish all paths."""
    for parts in range(1, max(len(Path(path).parts) for path in paths) + 1):
        names = ["/".join(Path(path).parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def group_runs(runs: Sequence[EvaluatedRun]) -> list[SeedGroup]:
    """Groups runs that differ only in their seeds; the groups are in the order of the runs."""
    groups: dict[Any, list[EvaluatedRun]] = {}
    for run in runs:
        fields = flatten(run.restored_run.config)
        split = run.restored_run.config.data.tfds_split(run.result["split"])
        key = (
            run.content_sha256,
            split,
            tuple(sorted((name, repr(value)) for name, value in fields.items() if name not in SEED_FIELDS)),
        )
        groups.setdefault(key, []).append(run)
    ordered = (sorted(members, key=lambda run: run.seeds) for members in groups.values())
    return [SeedGroup(members[0].name, tuple(members)) for members in ordered]


def differing_values(groups: Sequence[SeedGroup]) -> dict[str, list[str]]:
    """Returns the options in which groups differ, with the value in each group; `–` for a missing field."""
    configs = [flatten(group.first_run.restored_run.config) for group in groups]
    values = {
        option(name): [str(config[name]) if name in config else "–" for config in configs]
        for name in sorted(set().union(*configs))
        if name not in SEED_FIELDS
    }
    return {name: of_groups for name, of_groups in values.items() if len(set(of_groups)) > 1}
