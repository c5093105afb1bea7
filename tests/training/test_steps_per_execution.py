"""The number of steps per call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.training.steps_in_flight import MAX_STEPS, TARGET_SECONDS, StepsPerExecutionTuner

SHORT, LONG = TARGET_SECONDS / 2, TARGET_SECONDS * 3


def test_steps_double_while_calls_are_short_up_to_the_capacity():
    tuner, taken = StepsPerExecutionTuner(None), []
    for _ in range(12):
        taken.append(tuner.steps)
        tuner.update(tuner.steps, SHORT)
    assert taken == [min(2**i, MAX_STEPS) for i in range(12)]
    assert tuner.max_steps == MAX_STEPS


def test_steps_halve_when_calls_are_long_down_to_one():
    tuner = StepsPerExecutionTuner(None)
    for _ in range(12):
        tuner.update(tuner.steps, SHORT)
    taken = []
    for _ in range(12):
        taken.append(tuner.steps)
        tuner.update(tuner.steps, LONG)
    assert taken == [max(MAX_STEPS // 2**i, 1) for i in range(12)]


def test_steps_stay_when_calls_take_about_the_target():
    tuner = StepsPerExecutionTuner(None)
    tuner.update(1, SHORT)
    tuner.update(2, SHORT)
    for seconds in (TARGET_SECONDS, 1.5 * TARGET_SECONDS, 2 * TARGET_SECONDS):
        tuner.update(4, seconds)
        assert tuner.steps == 4


def test_a_call_with_fewer_steps_does_not_double_them():
    tuner = StepsPerExecutionTuner(None)
    tuner.update(1, SHORT)
    tuner.update(2, SHORT)
    tuner.update(3, SHORT)
    assert tuner.steps == 4


def test_a_slow_call_with_few_steps_reduces_them():
    tuner = StepsPerExecutionTuner(None)
    for _ in range(5):
        tuner.update(tuner.steps, SHORT)
    tuner.update(6, LONG)
    assert tuner.steps == 3


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_a_fixed_number_of_steps_stays(steps):
    tuner = StepsPerExecutionTuner(steps)
    for seconds in (0.0, SHORT, LONG, 1e9):
        tuner.update(steps, seconds)
        assert (tuner.steps, tuner.max_steps) == (steps, max(steps, 2))


@given(st.one_of(st.none(), st.integers(1, 500)), st.lists(st.tuples(st.integers(1, 500), st.floats(0, 10))))
def test_steps_are_between_one_and_the_capacity(fixed, calls):
    tuner = StepsPerExecutionTuner(fixed)
    for steps, seconds in calls:
        tuner.update(min(steps, tuner.steps), seconds)
        assert 1 <= tuner.steps <= tuner.max_steps
