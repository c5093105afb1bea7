"""Runs a sweep on one machine: starts workers, prints progress, chooses a trial by validation, evaluates it on test."""

import dataclasses
import json
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lab10.cli.console import console
from lab10.config import user_code, user_code_copies
from lab10.config.errors import RunError, UserError
from lab10.inspection.load import load
from lab10.sweeps.space import Value
from lab10.sweeps.study import MAX_RETRIES, Sweep, SweepStudy
from lab10.training.evaluation_log import read_evaluations

POLL_SECONDS = 0.5


def run(sweep: Sweep, workers: int, test: bool) -> dict[str, Any]:
    """Runs the unfinished trials of a sweep.

    Args:
      sweep: the sweep.
      workers: number of worker processes on this machine.
      test: whether to evaluate the chosen trial on the test split.

    Returns:
      `workdir`, `trials`, `finished` and `failed` (counts), `chosen` (values, workdirs and mean validation
      metric) and `test`, as `scripts/sweep.py --json` prints them.

    Raises:
      UserError: a field or a value is invalid, or the storage holds another sweep.
      RunError: a run could not be saved, workers keep being killed, or every trial failed.
    """
    # Checks all values first, so that a mistake in the last one is found before anything runs.
    trial_values = sweep.trial_values()
    experiment = sweep.experiments(trial_values[0])[0]
    if not experiment.data.has_validation:
        raise UserError("A sweep chooses by validation, and --data.validation-fraction is 0; expected above 0.")
    if test:
        _require_test_splits(sweep, trial_values)
    Path(sweep.directory, "logs").mkdir(parents=True, exist_ok=True)
    study = SweepStudy(sweep, "maximize" if experiment.higher_is_better else "minimize")
    sweep = _share_user_code(sweep)
    study.enqueue(trial_values if sweep.trials is None else [{}] * sweep.trials)
    _run_workers(sweep, study, workers)
    trials = study.trials()
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        last = f" The last of them: {_describe(failed[-1])}" if failed else ""
        raise RunError(f"No trial of the sweep was trained to its end.{last}")
    chosen = study.study.best_trial
    workdirs = sweep.workdirs(chosen)
    result = {
        "workdir": sweep.directory,
        "trials": len(trials),
        "finished": len(trials),
        "failed": len(failed),
        "chosen": {
            "values": chosen.params,
            "workdirs": list(map(str, workdirs)),
            "validation": {experiment.monitor: chosen.value},
        },
    }
    # Written before the evaluation on test, which may fail, and again with its result.
    output = Path(sweep.directory, "result.json")
    output.write_text(json.dumps(result, indent=1))
    if test:
        result["test"] = _evaluate_on_test(workdirs, sweep.experiments(chosen.params)[0].data.test_split)
        output.write_text(json.dumps(result, indent=1))
    return result


def _share_user_code(sweep: Sweep) -> Sweep:
    """Copies the trials' user code into the sweep's folder, so that workers do not depend on the original file."""
    shared = user_code_copies.copy_into(Path(sweep.directory), user_code.parse(sweep.user_code))
    sweep = dataclasses.replace(sweep, user_code=[own.to_json() for own in shared])
    sweep.user_classes()  # this process evaluates the chosen runs
    return sweep


def _require_test_splits(sweep: Sweep, trial_values: list[dict[str, Value]]) -> None:
    """Checks that the test splits exist, without reading them, before anything is trained."""
    datasets = {experiment.data for values in trial_values for experiment in sweep.experiments(values)}
    for data in {(data.name, data.train_split, data.test_split): data for data in datasets}.values():
        try:
            data.require_test_split()
        except UserError as error:
            if "--data.test-split" not in str(error):
                raise
            raise UserError(f"{error}\nOr skip the test split with --no-test.") from error


def _run_workers(sweep: Sweep, study: SweepStudy, count: int) -> None:
    """Keeps workers running until every trial is finished, and prints the finished trials."""
    log = Path(sweep.directory, "logs", f"{platform.node()}.log")
    workers: list[subprocess.Popen[str]] = []
    printed = {trial.number for trial in study.trials() if trial.state.is_finished()}
    killed = 0
    try:
        while True:
            trials = study.trials()
            finished = [trial for trial in trials if trial.state.is_finished()]
            for trial in finished:
                if trial.number not in printed:
                    printed.add(trial.number)
                    killed = 0
                    console.print(f"[{len(finished)}/{len(trials)}] {_describe(trial)}")
            if len(finished) == len(trials):
                return
            for worker in [worker for worker in workers if worker.poll() not in (None, 0)]:
                workers.remove(worker)
                _raise_unless_killed(worker, log)
                killed += 1
            if killed > count * (MAX_RETRIES + 1):  # a single bad trial would have failed by now
                raise RunError(f"Workers are killed again and again; their output is in {log}.")
            workers += [_start_worker(sweep, log) for _ in range(count - len(workers))]
            time.sleep(POLL_SECONDS)
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)  # saves a checkpoint and stops
        for worker in workers:
            worker.wait()


def _start_worker(sweep: Sweep, log: Path) -> "subprocess.Popen[str]":
    with open(log, "a") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "lab10.sweeps.worker", json.dumps(dataclasses.asdict(sweep)), "--json"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # Ctrl-C reaches only this process, which stops its workers
        )


def _raise_unless_killed(worker: "subprocess.Popen[str]", log: Path) -> None:
    """Raises the error of a worker that failed, unless it was killed."""
    answer, status = worker.communicate()[0], worker.returncode
    message = f"A worker ended with status {status}; its output is in {log}."
    if status in (1, 2):
        raise (UserError if status == 2 else RunError)(json.loads(answer)["error"] if answer else message)
    console.print(f"{message} Its trials are run again once their heartbeats have timed out.")


def _describe(trial: FrozenTrial) -> str:
    """Formats a finished trial, as `optimizer.learning-rate=0.003: validation 0.3126 (0.3017 to 0.3204)`."""
    values = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in trial.params.items()}
    ending = f"pruned at step {trial.last_step}"
    if trial.state == TrialState.FAIL:
        ending = trial.user_attrs.get("error", f"Its worker was killed {MAX_RETRIES + 1} times.")
    elif trial.state == TrialState.COMPLETE:
        best = trial.user_attrs["best"]
        ending = f"validation {trial.value:.4f}" + (f" ({min(best):.4f} to {max(best):.4f})" if len(best) > 1 else "")
    return (" ".join(f"{name}={value}" for name, value in values.items()) or "no field varies") + f": {ending}"


def _evaluate_on_test(workdirs: list[Path], test_split: str) -> dict[str, Any]:
    """Returns the metrics of the chosen trial on the test split. A second call reads the result of the first."""
    results = [_evaluate_once(workdir, test_split) for workdir in workdirs]
    # A metric that is undefined for a run is None.
    names = [name for name in results[0] if all(isinstance(result.get(name), float) for result in results)]
    return {
        "mean": {name: statistics.mean(result[name] for result in results) for name in names},
        "per_seed": {name: [result[name] for result in results] for name in names},
        "examples": results[0]["examples"],
        "chosen_read_count": sum(len(read_evaluations(workdir, "test")) for workdir in workdirs),
        "sweep_read_count": sum(len(read_evaluations(path, "test")) for path in workdirs[0].parent.iterdir()),
    }


def _evaluate_once(workdir: Path, test_split: str) -> dict[str, Any]:
    run = load(workdir, test_split=test_split)  # may differ from the one in the config
    expected = {"step": run.step, "tfds_split": test_split, "content_sha256": run.content_sha256("test")}
    for written in sorted((workdir / "evaluations").glob("test-*.json")):
        previous = dict(json.loads(written.read_text()))
        if expected.items() <= previous.items():
            return previous
    return run.evaluate("test")
