"""How many steps go to the device at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.training.pace import MOST_STEPS, TARGET_SECONDS, Pace

SHORT, LONG = TARGET_SECONDS / 2, TARGET_SECONDS * 3


def test_it_doubles_while_dispatches_are_short_up_to_its_capacity():
    pace, taken = Pace(None), []
    for _ in range(12):
        taken.append(pace.steps)
        pace.took(pace.steps, SHORT)
    assert taken == [min(2**place, MOST_STEPS) for place in range(12)]
    assert pace.capacity == MOST_STEPS


def test_it_halves_when_dispatches_are_long_down_to_one_step():
    pace = Pace(None)
    for _ in range(12):
        pace.took(pace.steps, SHORT)
    taken = []
    for _ in range(12):
        taken.append(pace.steps)
        pace.took(pace.steps, LONG)
    assert taken == [max(MOST_STEPS // 2**place, 1) for place in range(12)]


def test_it_stays_where_dispatches_take_about_the_target():
    pace = Pace(None)
    pace.took(1, SHORT)
    pace.took(2, SHORT)
    for seconds in (TARGET_SECONDS, 1.5 * TARGET_SECONDS, 2 * TARGET_SECONDS):
        pace.took(4, seconds)
        assert pace.steps == 4


def test_fewer_steps_than_were_asked_for_do_not_double_it():
    pace = Pace(None)
    pace.took(1, SHORT)
    pace.took(2, SHORT)
    pace.took(3, SHORT)
    assert pace.steps == 4


def test_a_few_steps_that_took_long_say_that_more_would_take_longer():
    pace = Pace(None)
    for _ in range(5):
        pace.took(pace.steps, SHORT)
    pace.took(6, LONG)
    assert pace.steps == 3


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_a_fixed_pace_stays(steps):
    pace = Pace(steps)
    for seconds in (0.0, SHORT, LONG, 1e9):
        pace.took(steps, seconds)
        assert (pace.steps, pace.capacity) == (steps, max(steps, 2))


@given(st.one_of(st.none(), st.integers(1, 500)), st.lists(st.tuples(st.integers(1, 500), st.floats(0, 10))))
def test_there_is_always_a_step_and_never_more_than_fit(fixed, dispatches):
    pace = Pace(fixed)
    for steps, seconds in dispatches:
        pace.took(min(steps, pace.steps), seconds)
        assert 1 <= pace.steps <= pace.capacity
