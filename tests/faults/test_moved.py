"""Runs that were moved, are read-only, or continue with other devices or logging intervals."""

import json
import shutil

import jax
import numpy as np
import pytest
from metrics_without_times import metrics_without_times

from lab10.inspection.load import load

EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}


def test_a_killed_run_resumes_after_it_was_copied(runs, finished_run, killed_run, tmp_path, checkpoints_of):
    moved = tmp_path / "new name" / "ünterwegs"
    moved.parent.mkdir()
    killed_run.rename(moved)
    runs.evaluate(moved)
    shutil.rmtree(moved / "evaluations")
    answer, said = runs.train(moved)
    assert "Resuming from step" in said
    assert answer["best"] == finished_run[1]["best"]
    assert checkpoints_of(moved) == checkpoints_of(finished_run[0])
    assert metrics_without_times(moved) == metrics_without_times(finished_run[0])


@pytest.mark.slow  # tests/hostile/test_names.py evaluates a workdir that cannot be written
def test_a_read_only_run_is_evaluated_and_reports_what_is_not_recorded(runs, finished_run, tmp_path):
    """As on a read-only disk: every write under the workdir fails, also for root."""
    workdir = tmp_path / "run"
    shutil.copytree(finished_run[0], workdir)
    before = sorted((path, path.stat().st_mtime_ns) for path in workdir.rglob("*"))
    expected = runs.evaluate(shutil.copytree(finished_run[0], tmp_path / "evaluated"))
    fault = {"root": str(workdir), "at": 1, "do": "EROFS", "lasting": True}
    status, answer, said = runs.run(
        *("tests/support/faulty.py", "scripts/evaluate.py", workdir, "--json"),
        environment={"LAB10_FAULT": json.dumps(fault)},
    )
    assert status == 0, said
    found = json.loads(answer)
    assert (found["loss"], found["read_count"], found["per_example"]) == (expected["loss"], None, None)
    assert "not recorded" in said
    assert sorted((path, path.stat().st_mtime_ns) for path in workdir.rglob("*")) == before


def test_a_read_only_run_is_not_trained(runs, finished_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run[0], workdir)
    fault = {"root": str(workdir), "at": 1, "do": "EROFS", "lasting": True}
    command = ("tests/support/faulty.py", "scripts/train.py", "mnist_pca", "--workdir", workdir)
    status, _, said = runs.run(*command, environment={"LAB10_FAULT": json.dumps(fault)})
    assert status == 2
    assert f"{workdir} cannot be written (Read-only file system)" in said


@pytest.mark.slow  # tests/distributed resumes on fewer devices
@pytest.mark.parametrize("before", [1, 8])
def test_a_run_resumes_with_another_number_of_devices(runs, finished_run, tmp_path, before):
    environment = {} if before == 1 else EIGHT
    runs.killed(tmp_path / "run", environment=environment)
    # 8 devices share batches that they do not divide.
    if before == 1:
        status, _, said = runs.train_in_process(tmp_path / "run", environment=EIGHT)
        assert status == 0, said
    else:
        _, said = runs.train(tmp_path / "run")
    assert "Changed since this run was last trained: devices." in said
    there, here = load(tmp_path / "run", "latest"), load(finished_run[0], "latest")
    assert there.step == here.step == 30
    for ours, theirs in zip(jax.tree.leaves(there.params), jax.tree.leaves(here.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=5e-6)
    assert [(line["split"], line["step"]) for line in metrics_without_times(tmp_path / "run")] == [
        (line["split"], line["step"]) for line in metrics_without_times(finished_run[0])
    ]
    np.testing.assert_allclose(
        [line["loss"] for line in metrics_without_times(tmp_path / "run")],
        [line["loss"] for line in metrics_without_times(finished_run[0])],
        rtol=1e-5,
    )
    on_one = runs.evaluate(shutil.copytree(finished_run[0], tmp_path / "evaluated"))["loss"]
    status, answer, said = runs.run("scripts/evaluate.py", tmp_path / "run", "--json", environment=environment)
    assert status == 0, said
    assert json.loads(answer)["loss"] == pytest.approx(on_one, rel=1e-5)


@pytest.mark.slow  # tests/training/test_loop.py resumes with other sizes of calls
def test_a_run_resumes_with_other_logging_intervals(runs, finished_run, killed_run, checkpoints_of):
    answer, _ = runs.train(killed_run, "--evaluate-every", 6, "--checkpoint-every", 15, "--log-every", 7)
    assert answer["step"] == 30
    assert checkpoints_of(killed_run)[30] == checkpoints_of(finished_run[0])[30]
    found = {(line["split"], line["step"]): line for line in metrics_without_times(killed_run)}
    expected = {(line["split"], line["step"]): line for line in metrics_without_times(finished_run[0])}
    both = found.keys() & expected.keys()
    assert {("train", 7), ("train", 28), ("validation", 30)} <= both
    assert ("validation", 12) in found
    assert {name: found[name] for name in both} == {name: expected[name] for name in both}
