"""Pairs of measurements taken in turns, and what they come to."""

import math
import statistics
from collections.abc import Sequence
from typing import Any


def speedup_of(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Their seconds over ours, pair by pair: above 1 where ours is faster.

    Returns:
      `median`, `lowest` and `highest` over the pairs.
    """
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def spread_of(values: Sequence[float]) -> dict[str, float]:
    """`median`, `lowest` and `highest`."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def mean_and_error(values: Sequence[float]) -> dict[str, Any]:
    """The mean and its standard error, None of a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "standard_error": error, "values": list(values)}


def throughput(answers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians over a worker's answers to `epoch` or `evaluate`: seconds, microseconds per step, examples per second."""
    result = {
        "seconds": statistics.median(answer["seconds"] for answer in answers),
        "examples_per_second": statistics.median(answer["examples"] / answer["seconds"] for answer in answers),
    }
    if "steps" in answers[0]:
        result["microseconds_per_step"] = statistics.median(1e6 * a["seconds"] / a["steps"] for a in answers)
    return result
