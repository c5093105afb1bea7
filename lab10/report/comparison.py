"""Two configurations on the same examples."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from lab10.report.evaluated_runs import EvaluatedRun, Group
from lab10.report.significance import Estimate, McNemar, mcnemar, paired_difference


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of two runs on the same examples.

    Attributes:
      first, second: the runs' names.
      metric: what is compared.
      difference: the first's less the second's.
      mcnemar: for classifiers' accuracy.
    """

    first: str
    second: str
    metric: str
    difference: Estimate
    mcnemar: McNemar | None


@dataclasses.dataclass(frozen=True)
class NotComparable:
    """Two runs that were not measured on the same examples, and why not."""

    first: str
    second: str
    why: str


def compare(groups: Sequence[Group]) -> list[Comparison | NotComparable]:
    """Every two groups, run by run in the order of their seeds."""
    found: list[Comparison | NotComparable] = []
    for one, other in itertools.combinations(groups, 2):
        for first, second in zip(one.runs, other.runs, strict=False):
            why = difference_in_examples(first, second)
            found += [NotComparable(first.name, second.name, why)] if why else compare_runs(first, second)
    return found


def compare_runs(first: EvaluatedRun, second: EvaluatedRun) -> list[Comparison]:
    """Every metric that both runs have, on the same examples."""
    comparisons = []
    for metric in [name for name in first.metrics if name in second.metrics]:
        of_first, of_second = first.per_example[metric], second.per_example[metric]
        classified = metric == "accuracy"
        comparisons.append(
            Comparison(
                first.name,
                second.name,
                metric,
                paired_difference(of_first, of_second),
                mcnemar(of_first == 1, of_second == 1) if classified else None,
            )
        )
    return comparisons


def difference_in_examples(first: EvaluatedRun, second: EvaluatedRun) -> str | None:
    """Why two runs' figures are no pairs; None where they are."""
    if first.content != second.content:
        return "they were trained on different data"
    examples = (first.per_example["example"], second.per_example["example"])
    if not np.array_equal(*examples):
        common = len(np.intersect1d(*examples))
        return f"{len(examples[0])} and {len(examples[1])} examples were evaluated, of which {common} are the same"
    if "label" in first.per_example and not np.array_equal(first.per_example["label"], second.per_example["label"]):
        return "the same examples have different labels"
    return None
