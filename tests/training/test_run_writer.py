"""Metrics that are not finite, with which metrics.jsonl could not be read back, end a run."""

import math

import pytest

from lab10.config.errors import Diverged
from lab10.tasks.metrics import Metrics
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir


@pytest.mark.parametrize(
    ("totals", "said"),
    [
        ({"accuracy": math.nan, "loss": math.inf}, "The loss is not finite at step 3."),
        ({"accuracy": math.nan, "loss": 1.0}, "The metric accuracy is not finite at step 3."),
    ],
)
def test_metrics_of_a_step_that_are_not_finite_are_named(text_experiment, tmp_path, totals, said):
    run = RunWriter(text_experiment(), Workdir(tmp_path))
    finite = Metrics(dict.fromkeys(totals, 1.0), 1.0)
    with pytest.raises(Diverged, match=said):
        run.add_metrics([(2, finite), (3, Metrics(totals, 1.0))])
