"""The files of an evaluation have names that differ for different evaluations."""

import shutil

import numpy as np

import lab10


def test_a_split_whose_name_has_a_dot_keeps_every_evaluation(linear_run, tmp_path):
    run = lab10.load(shutil.copytree(linear_run[0], tmp_path / "run"))
    for count in (1, 2):
        recorded = run._record({"split": "test.v2", "step": 1}, {"example": np.arange(2)})
        assert recorded["read_count"] == count
    names = sorted(path.name for path in (tmp_path / "run" / "evaluations").glob("test.v2*"))
    assert names == ["test.v2-1.csv", "test.v2-1.json", "test.v2-2.csv", "test.v2-2.json"]
