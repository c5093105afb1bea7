"""Confidence intervals and significance tests of metrics, over examples and over seeds."""

import dataclasses
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

CONFIDENCE = 0.95
RESAMPLES = 5000
# Maximal number of values that the resamples hold in memory at a time.
_MAX_NUMBERS_PER_BATCH = 4_000_000

# One number per example.
Values = Float[np.ndarray, " examples"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over examples and its 95 % confidence interval.

    Attributes:
      value: the mean.
      low: lower end of the interval; None for a single example, which gives no interval.
      high: upper end of the interval; None for a single example.
      method: how the interval was computed.
    """

    value: float
    low: float | None
    high: float | None
    method: Literal["Wilson", "bootstrap"]


@dataclasses.dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of two classifiers on the same examples.

    Attributes:
      both_right, only_first, only_second, both_wrong: numbers of examples.
      p_value: two-sided: the probability that two equally accurate classifiers disagree at least as unevenly.
    """

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float


def mean_with_interval(values: Values) -> Estimate:
    """Returns the mean with Wilson's interval if all values are 0 or 1 (an accuracy), else with a bootstrap interval.

    Raises:
      ValueError: there are no values.
    """
    if np.isin(values, (0, 1)).all() and len(values):
        return wilson(int(values.sum()), len(values))
    return bootstrap_mean(values)


def wilson(successes: int, trials: int) -> Estimate:
    """Returns a proportion with Wilson's score interval (Wilson 1927), which stays within [0, 1] and is never empty."""
    interval = scipy.stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(successes / trials, float(interval.low), float(interval.high), "Wilson")


def bootstrap_mean(values: Values) -> Estimate:
    """Returns a mean with its percentile bootstrap interval over examples (Efron 1979).

    Raises:
      ValueError: there are no values.
    """
    values = np.asarray(values, np.float64)
    if len(values) == 0:
        raise ValueError("the mean of no examples")
    mean = float(values.mean())
    if len(values) == 1:
        return Estimate(mean, None, None, "bootstrap")
    interval = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _MAX_NUMBERS_PER_BATCH // len(values)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), "bootstrap")


def paired_difference(first: Values, second: Values) -> Estimate:
    """Returns the mean of `first - second`, example by example, with its bootstrap interval.

    Raises:
      ValueError: there are no examples.
    """
    return bootstrap_mean(np.asarray(first, np.float64) - np.asarray(second, np.float64))


def mcnemar(first_right: Bool[np.ndarray, " examples"], second_right: Bool[np.ndarray, " examples"]) -> McNemar:
    """Returns McNemar's exact test (McNemar 1947), which uses the examples that exactly one classifier gets right."""
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(~first_right & second_right))
    disagreements = only_first + only_second
    p_value = float(scipy.stats.binomtest(only_first, disagreements).pvalue) if disagreements else 1.0
    return McNemar(
        int(np.sum(first_right & second_right)),
        only_first,
        only_second,
        int(np.sum(~first_right & ~second_right)),
        p_value,
    )
