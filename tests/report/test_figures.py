"""The figures of a report show what they are given."""

import numpy as np
import pytest

from lab10.inspection.report.curves import Curve
from lab10.inspection.report.figures import plot_curves, plot_estimates
from lab10.inspection.report.significance import Estimate


@pytest.mark.parametrize("counts", [(1,), (2, 1), (3, 3, 1)])
def test_estimates_are_not_drawn_at_the_edges(counts):
    of_metric = {str(i): [Estimate(0.5, 0.4, 0.6, "bootstrap")] * count for i, count in enumerate(counts)}
    for axes in plot_estimates({"loss": of_metric, "accuracy": of_metric}, "test").axes:
        bottom, top = axes.get_ylim()
        heights = [height for line in axes.lines for height in line.get_ydata()]
        assert len(heights) == 3 * sum(counts)
        assert top + 0.5 <= min(heights) <= max(heights) <= bottom - 0.5


@pytest.mark.parametrize(
    ("metric", "scale"), [("loss", "log"), ("reconstruction_error", "log"), ("accuracy", "linear")]
)
def test_a_steeply_falling_error_stays_readable(metric, scale):
    epochs, values = np.array([1.0, 2.0, 3.0]), np.array([0.9, 0.1, 0.02])
    curve = Curve("train", epochs, values, values, values, 1)
    (axes,) = plot_curves({metric: {"run": [curve]}}).axes
    assert axes.get_yscale() == scale
