"""The points of a sweep as experiments and folders."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab10.cli.overrides import apply_overrides
from lab10.config.experiment import Experiment
from lab10.config.traced_fields import static_signature
from lab10.sweeps.space import Value, Varied


@dataclasses.dataclass(frozen=True)
class Point:
    """A point: one value for each varied field, run with every seed.

    Attributes:
      values: by field.
      experiments: one a seed.
      workdirs: of each.
    """

    values: dict[str, Value]
    experiments: tuple[Experiment, ...]
    workdirs: tuple[Path, ...]

    def text(self) -> str:
        """`optimizer.learning-rate=0.003 model.hidden_size=64`."""
        return " ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.values.items()
        )


@dataclasses.dataclass(frozen=True)
class Points:
    """Makes points of an experiment.

    Attributes:
      name: the experiment's.
      default: the experiment.
      overrides: options that all points share.
      varied: the fields.
      seeds: of each point's runs.
      directory: of the sweep.
    """

    name: str
    default: Experiment
    overrides: tuple[str, ...]
    varied: tuple[Varied, ...]
    seeds: tuple[int, ...]
    directory: Path

    def experiment(self, values: dict[str, Value], seed: int) -> Experiment:
        """The experiment of one run.

        Raises:
          UserError: a field does not exist, or cannot have its value.
        """
        options = [part for one in self.varied for part in one.arguments(values[one.field])]
        arguments = [*self.overrides, *options, "--seed", str(seed)]
        return apply_overrides(self.default, self.name, arguments)[0]

    def point(self, values: dict[str, Value]) -> Point:
        """The point of these values; its folders are named by them, so that it is found again wherever it was begun."""
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]
        folders = tuple(self.directory / "runs" / f"{digest}-seed{seed}" for seed in self.seeds)
        return Point(values, tuple(self.experiment(values, seed) for seed in self.seeds), folders)

    def identity(self, sampler: str) -> dict[str, Any]:
        """What two commands must share to be parts of one sweep."""
        return {
            "experiment": self.name,
            "overrides": list(self.overrides),
            "varied": {one.field: str(one.distribution) for one in self.varied},
            "seeds": list(self.seeds),
            "sampler": sampler,
        }


def jobs_of(numbered: Sequence[tuple[int, Point]], together: int) -> list[list[int]]:
    """The numbers of points in groups that are one program each, of at most `together` runs, or of one point."""
    groups: dict[Any, list[int]] = {}
    sizes = {number: len(point.experiments) for number, point in numbered}
    for number, point in numbered:
        groups.setdefault(static_signature(point.experiments[0]), []).append(number)
    jobs = []
    for members in groups.values():
        at_a_time = max(1, together // sizes[members[0]])
        jobs += [members[start : start + at_a_time] for start in range(0, len(members), at_a_time)]
    return jobs
