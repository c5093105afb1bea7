"""Learning curves of several seeds: mean, lowest and highest."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Curve:
    """A metric on a split, at the epochs at which all runs have measured it.

    Attributes:
      split: `train` or `validation`.
      epochs: the epochs, ascending.
      mean, lowest, highest: mean and range over the runs.
      count: number of runs.
    """

    split: str
    epochs: Float[np.ndarray, " points"]
    mean: Float[np.ndarray, " points"]
    lowest: Float[np.ndarray, " points"]
    highest: Float[np.ndarray, " points"]
    count: int


def mean_curves(runs: Sequence[Sequence[dict[str, Any]]], metric: str) -> list[Curve]:
    """Returns the curves of a metric from the lines of several runs, training first.

    Runs of one config measure at the same steps; an unfinished run shortens the curve of all. If the training lines of
    the runs have no epoch in common, because `--log-every` differed, each run has its own curve.
    """
    curves = []
    for split in ("train", "validation"):
        points = [
            {line["epoch"]: line[metric] for line in lines if line.get("split") == split and metric in line}
            for lines in runs
        ]
        points = [of_run for of_run in points if of_run]
        common = sorted(set(points[0]).intersection(*points)) if points else []
        together = [(common, points)] if common else [(sorted(of_run), [of_run]) for of_run in points]
        for epochs, of_runs in together:
            values = np.array([[of_run[epoch] for epoch in epochs] for of_run in of_runs], np.float64)
            curves.append(
                Curve(
                    split,
                    np.array(epochs, np.float64),
                    values.mean(axis=0),
                    values.min(axis=0),
                    values.max(axis=0),
                    len(of_runs),
                )
            )
    return curves
