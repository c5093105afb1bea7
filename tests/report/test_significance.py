"""Intervals and tests against published figures, and what must hold for any."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from lab10.inspection.report.significance import (
    bootstrap_mean,
    mcnemar,
    mean_with_interval,
    paired_difference,
    wilson,
)

numbers = numpy_strategies.arrays(np.float64, st.integers(1, 40), elements=st.floats(-100, 100, width=32))
rights = st.integers(0, 30).flatmap(lambda size: st.tuples(*2 * [numpy_strategies.arrays(bool, size)]))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_that_of_newcombe_1998_table_1(successes, trials, low, high):
    found = wilson(successes, trials)
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=5e-5)
    assert (found.value, found.method) == (successes / trials, "Wilson")


@given(st.integers(1, 10_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilsons_interval_contains_the_proportion_and_is_within_0_and_1(counts):
    found = wilson(*counts)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert found.low < found.high


def test_a_bootstrap_interval_of_many_examples_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).exponential(3.0, 4000)
    found, error = bootstrap_mean(values), values.std() / math.sqrt(len(values))
    np.testing.assert_allclose(
        [found.low, found.high], values.mean() + 1.96 * error * np.array([-1, 1]), atol=0.1 * error
    )


@pytest.mark.slow  # measures coverage over many draws
def test_nineteen_of_twenty_bootstrap_intervals_contain_the_mean():
    samples = np.random.default_rng(0).normal(5.0, 2.0, (120, 60))
    held = sum(found.low <= 5.0 <= found.high for found in map(bootstrap_mean, samples))
    assert 0.87 <= held / len(samples) <= 0.99


@given(numbers)
def test_a_bootstrap_interval_is_within_the_values_and_deterministic(values):
    found, again = bootstrap_mean(values), bootstrap_mean(values)
    assert found == again
    np.testing.assert_allclose(found.value, values.mean())
    if len(values) == 1:
        assert (found.low, found.high) == (None, None)
    else:
        slack = 1e-9 * (1 + np.abs(values).max())
        assert values.min() - slack <= found.low <= found.high <= values.max() + slack


@pytest.mark.slow  # measures memory
def test_an_interval_of_many_examples_needs_little_memory():
    import tracemalloc

    tracemalloc.start()
    bootstrap_mean(np.random.default_rng(0).random(20_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 300e6


def test_accuracies_have_wilsons_interval_and_errors_the_bootstraps():
    assert mean_with_interval(np.array([1.0, 0.0, 1.0])) == wilson(2, 3)
    assert mean_with_interval(np.array([1.0, 0.5, 1.0])).method == "bootstrap"
    with pytest.raises(ValueError, match="no examples"):
        mean_with_interval(np.array([]))


def test_mcnemars_p_value_is_the_binomials():
    first = np.repeat([True, True, False, False], [10, 9, 2, 5])
    second = np.repeat([True, False, True, False], [10, 9, 2, 5])
    found = mcnemar(first, second)
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (10, 9, 2, 5)
    # Twice the chance that at most 2 of 11 fair coins show heads.
    assert found.p_value == pytest.approx(2 * sum(math.comb(11, heads) for heads in range(3)) / 2**11)


@given(rights)
def test_mcnemars_test_counts_every_example_and_is_symmetric(pair):
    found, swapped = mcnemar(*pair), mcnemar(*pair[::-1])
    assert found.both_right + found.only_first + found.only_second + found.both_wrong == len(pair[0])
    assert (found.only_first, found.only_second) == (swapped.only_second, swapped.only_first)
    assert found.p_value == pytest.approx(swapped.p_value)
    assert 0 <= found.p_value <= 1


def test_two_classifiers_that_agree_on_every_example_do_not_differ():
    right = np.array([True, False, True])
    assert mcnemar(right, right).p_value == 1


def test_a_paired_difference_is_narrower_than_the_figures_themselves():
    random = np.random.default_rng(0)
    hard = random.exponential(10.0, 500)  # some images are hard for both
    first, second = hard + random.normal(1.0, 0.1, 500), hard
    found = paired_difference(first, second)
    assert 0.98 < found.low < found.high < 1.02
    assert bootstrap_mean(first).low < bootstrap_mean(second).high
