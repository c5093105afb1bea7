"""Compares runs on the same examples."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from lab10.inspection.report.evaluated_runs import EvaluatedRun, SeedGroup, common_metrics
from lab10.inspection.report.significance import Estimate, McNemar, mcnemar, paired_difference


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of two runs on the same examples.

    Attributes:
      first, second: names of the runs.
      metric: name of the metric.
      difference: metric of the first run minus that of the second.
      mcnemar: McNemar's test, for the accuracy of classifiers.
    """

    first: str
    second: str
    metric: str
    difference: Estimate
    mcnemar: McNemar | None


@dataclasses.dataclass(frozen=True)
class NotComparable:
    """Two runs that cannot be compared example by example, and the reason."""

    first: str
    second: str
    reason: str


def compare(groups: Sequence[SeedGroup]) -> list[Comparison | NotComparable]:
    """Compares every pair of groups, run by run in the order of the seeds."""
    found: list[Comparison | NotComparable] = []
    for one, other in itertools.combinations(groups, 2):
        for first, second in zip(one.runs, other.runs, strict=False):
            reason = difference_in_examples(first, second)
            found += [NotComparable(first.name, second.name, reason)] if reason else compare_runs(first, second)
    return found


def compare_runs(first: EvaluatedRun, second: EvaluatedRun) -> list[Comparison]:
    """Compares the metrics that both runs have (`common_metrics`), on the same examples."""
    comparisons = []
    for metric in common_metrics([first, second]):
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
    """Returns the reason why two runs cannot be compared example by example; None if they can."""
    if first.content_sha256 != second.content_sha256:
        return "they were trained on different data"
    splits = [run.restored_run.config.data.tfds_split(run.result["split"]) for run in (first, second)]
    if splits[0] != splits[1]:
        return f"they were evaluated on different splits, {splits[0]} and {splits[1]}"
    examples = (first.per_example["example"], second.per_example["example"])
    if not np.array_equal(*examples):
        common = len(np.intersect1d(*examples))
        return f"{len(examples[0])} and {len(examples[1])} examples were evaluated, of which {common} are the same"
    if "label" in first.per_example and not np.array_equal(first.per_example["label"], second.per_example["label"]):
        return "the same examples have different labels"
    return None
