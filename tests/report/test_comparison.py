"""Which runs were measured on the same examples."""

import dataclasses

import numpy as np

from lab10.data.images import ImageDataset
from lab10.inspection.report.comparison import difference_in_examples
from lab10.inspection.report.evaluated_runs import EvaluatedRun, group_runs
from lab10.inspection.run import Run


def evaluated(image_experiment, test_split, split="test"):
    run = object.__new__(Run)  # restored from nowhere
    run.config = image_experiment(data=ImageDataset(test_split=test_split))
    return EvaluatedRun(
        name=test_split,
        directory=test_split,
        restored_run=run,
        metric_lines=[],
        result={"split": split},
        per_example={"example": np.arange(3), "loss": np.ones(3)},
        content_sha256="same",
    )


def test_slices_of_equal_length_are_not_the_same_examples(image_experiment):
    first, second = (evaluated(image_experiment, split) for split in ("test[:3]", "test[3:6]"))
    assert difference_in_examples(first, second) == "they were evaluated on different splits, test[:3] and test[3:6]"
    assert len(group_runs([first, second])) == 2
    on_validation = [dataclasses.replace(run, result={"split": "validation"}) for run in (first, second)]
    assert difference_in_examples(*on_validation) is None
    assert len(group_runs(on_validation)) == 1
