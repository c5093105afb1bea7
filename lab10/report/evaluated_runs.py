"""Restores, evaluates and groups the runs of a report."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab10.config.experiment import Experiment, flatten
from lab10.config.fields import option
from lab10.errors import UserError
from lab10.inspection import Run, load
from lab10.training.json_lines import read_json_lines
from lab10.training.workdir import Workdir

# Runs that differ in these alone are one configuration, measured several times.
SEEDS = ("seed", "data.shuffle_seed", "data.validation_seed")


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """A run and its results on a split.

    Attributes:
      name: the shortest end of its path that distinguishes it from the other runs.
      directory: the workdir as it was given.
      run: the run, restored.
      lines: its metrics.jsonl.
      result: the result of `Run.evaluate`.
      per_example: metrics and predictions, [examples] each, and `example`, their row ids in the TFDS split.
      content: digest of the dataset that it was trained on.
    """

    name: str
    directory: str
    run: Run
    lines: list[dict[str, Any]]
    result: dict[str, Any]
    per_example: dict[str, np.ndarray]
    content: str

    @property
    def metrics(self) -> list[str]:
        """Names of the task's metrics, without `loss` if another metric has the same values."""
        names = list(self.run.config.task.metrics)
        twins = [name for name in names[1:] if np.array_equal(self.per_example[name], self.per_example["loss"])]
        return [name for name in names if not (name == "loss" and twins)]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The values of `SEEDS`."""
        fields = flatten(self.run.config)
        return tuple(fields[name] for name in SEEDS)


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds alone, in the order of these.

    Attributes:
      name: of its first run.
      runs: at least one.
    """

    name: str
    runs: tuple[EvaluatedRun, ...]

    @property
    def first(self) -> EvaluatedRun:
        """The run of the lowest seed: it stands for the group where one must, however well it did."""
        return self.runs[0]


def restore_runs(directories: Sequence[str], checkpoint: str, **data: Any) -> list[Run]:
    """Restores runs, and reads no data yet: a mistake in the last costs no reading of the test split.

    Args:
      directories: workdirs.
      checkpoint: `best`, `latest` or a step, of each run.
      **data: as `lab10.load` takes them.

    Raises:
      UserError: a folder is no run or is named twice, or the runs' tasks differ.
    """
    paths = _real_paths(directories)
    for i, path in enumerate(paths):
        if path in paths[:i]:
            raise UserError(f"{directories[i]} is named twice. Name each run once.")
    runs = [load(directory, checkpoint, **data) for directory in directories]
    require_one_task(dict(zip(directories, (run.config for run in runs), strict=True)))
    return runs


def evaluate_runs(directories: Sequence[str], runs: Sequence[Run], split: str) -> list[EvaluatedRun]:
    """Evaluates the restored runs of these workdirs; each counts as having read the split.

    Raises:
      UserError: the split is not there.
    """
    evaluated = []
    for directory, name, run in zip(directories, short_names(_real_paths(directories)), runs, strict=True):
        result, per_example = run.evaluate_examples(split)
        workdir = Workdir(directory)
        lines = read_json_lines(workdir.metrics_path)
        evaluated.append(EvaluatedRun(name, directory, run, lines, result, per_example, workdir.read_content_sha256()))
    return evaluated


def _real_paths(directories: Sequence[str]) -> list[str]:
    return [os.path.realpath(os.path.expanduser(directory)) for directory in directories]


def require_one_task(experiments: dict[str, Experiment]) -> None:
    """Refuses runs whose figures mean different things.

    Raises:
      UserError: names two of them.
    """
    (first, experiment), *others = experiments.items()
    for other, compared in others:
        if type(compared.task) is not type(experiment.task):
            raise UserError(
                f"{first} and {other} cannot be compared: the task of one is {type(experiment.task).__name__}, "
                f"of the other {type(compared.task).__name__}. Give runs of one task."
            )


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of paths that differ, as many of each as tell them all apart."""
    for parts in range(1, max(len(Path(path).parts) for path in paths) + 1):
        names = ["/".join(Path(path).parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def group_runs(runs: Sequence[EvaluatedRun]) -> list[Group]:
    """Groups runs by their config without the seeds, in the given order."""
    groups: dict[Any, list[EvaluatedRun]] = {}
    for run in runs:
        fields = flatten(run.run.config)
        key = (run.content, tuple(sorted((name, repr(value)) for name, value in fields.items() if name not in SEEDS)))
        groups.setdefault(key, []).append(run)
    ordered = (sorted(members, key=lambda run: run.seeds) for members in groups.values())
    return [Group(members[0].name, tuple(members)) for members in ordered]


def differing_values(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The fields, as options, in which groups differ, and the value in each; `–` where a group has no such field."""
    configs = [flatten(group.first.run.config) for group in groups]
    values = {
        option(name): [str(config[name]) if name in config else "–" for config in configs]
        for name in sorted(set().union(*configs))
        if name not in SEEDS
    }
    return {name: of_groups for name, of_groups in values.items() if len(set(of_groups)) > 1}
