"""Learning curves over seeds."""

import numpy as np

from lab10.inspection.report.curves import mean_curves


def lines(split, values):
    return [{"epoch": epoch, "split": split, "loss": value} for epoch, value in values.items()]


def test_a_curve_is_the_mean_of_the_seeds_between_the_lowest_and_the_highest():
    runs = [
        lines("validation", {1: 1.0, 2: 0.0}),
        lines("validation", {1: 2.0, 2: 0.0}),
        lines("validation", {1: 6.0, 2: 3.0}),
    ]
    (curve,) = mean_curves(runs, "loss")
    assert (curve.split, curve.count) == ("validation", 3)
    np.testing.assert_array_equal(curve.epochs, [1, 2])
    np.testing.assert_array_equal([curve.lowest, curve.mean, curve.highest], [[1, 0], [3, 1], [6, 3]])


def test_an_unfinished_run_shortens_the_curve():
    (curve,) = mean_curves([lines("train", {1: 1.0, 2: 0.5, 3: 0.2}), lines("train", {1: 3.0})], "loss")
    np.testing.assert_array_equal(curve.epochs, [1])
    assert curve.mean[0] == 2


def test_runs_logged_at_different_steps_have_separate_curves():
    first, second = mean_curves([lines("train", {0.3: 1.0, 0.6: 0.5}), lines("train", {0.4: 3.0})], "loss")
    assert (first.count, second.count) == (1, 1)
    np.testing.assert_array_equal(second.mean, [3])


def test_a_metric_that_no_run_has_has_no_curve():
    assert mean_curves([lines("train", {1: 1.0}), []], "accuracy") == []
    assert mean_curves([[], []], "loss") == []
