"""Schedules: factors of the learning rate as functions of the step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.config.registry import components_of
from lab10.optim.schedules import Constant, Cosine, Exponential, Linear, PiecewiseConstant, Schedule

TOTAL = 100
schedule_types = st.sampled_from(
    sorted(components_of(Schedule).values(), key=lambda schedule_type: schedule_type.__name__)
)


@given(schedule_types, st.integers(0, TOTAL - 1))
def test_every_schedule_is_one_where_the_warm_up_ends_and_rises_to_it(schedule_type, warmup):
    factor = schedule_type(warmup_steps=warmup).build(TOTAL)
    np.testing.assert_allclose(factor(warmup), 1.0)
    for step in {0, warmup // 2} - {warmup}:
        np.testing.assert_allclose(factor(step), step / warmup, rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), {0: 1, 50: 1, 100: 1}),
        (Cosine(), {0: 1, 25: (1 + np.cos(np.pi / 4)) / 2, 50: 0.5, 100: 0}),
        (Cosine(end_factor=0.2), {0: 1, 50: 0.6, 100: 0.2}),
        (Cosine(warmup_steps=20), {10: 0.5, 20: 1, 60: 0.5, 100: 0}),
        (Linear(end_factor=0.5), {0: 1, 50: 0.75, 100: 0.5}),
        (Exponential(decay_rate=0.5, transition_steps=20), {0: 1, 20: 0.5, 30: 0.5**1.5, 60: 0.125}),
        (PiecewiseConstant(boundaries=(10, 60), factor=0.1), {0: 1, 9: 1, 11: 0.1, 59: 0.1, 61: 0.01}),
        (PiecewiseConstant(boundaries=(10,), factor=0.1, warmup_steps=5), {5: 1, 14: 1, 16: 0.1}),
    ],
)
def test_factors_are_those_of_the_formula(schedule, factors):
    factor = schedule.build(TOTAL)
    for step, expected in factors.items():
        np.testing.assert_allclose(factor(step), expected, rtol=1e-5, atol=1e-7)


def test_depends_on_duration_is_declared_correctly():
    for schedule_type in components_of(Schedule).values():
        same = all(
            np.allclose(schedule_type().build(50)(step), schedule_type().build(500)(step)) for step in range(0, 50, 7)
        )
        assert schedule_type.depends_on_total_steps != same


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(
        UserError, match=r"--optimizer\.schedule\.warmup-steps is 10; expected fewer than the run's 10 steps"
    ):
        Cosine(warmup_steps=10).build(10)


@pytest.mark.parametrize(
    ("schedule_type", "fields"),
    [
        (Constant, {"warmup_steps": -1}),
        (Cosine, {"end_factor": -0.1}),
        (Linear, {"end_factor": float("nan")}),
        (Exponential, {"decay_rate": 0.0}),
        (Exponential, {"decay_rate": 1.5}),
        (Exponential, {"transition_steps": 0}),
    ],
)
def test_values_out_of_range_are_refused(schedule_type, fields):
    with pytest.raises(UserError, match="--optimizer.schedule." + next(iter(fields)).replace("_", "-")):
        schedule_type(**fields)
