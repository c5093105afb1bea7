"""One machine's part of a sweep: starts workers, shows progress, chooses by validation, reads test once."""

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
from lab10.config import own_code, own_copies
from lab10.errors import RunError, UserError
from lab10.inspection import load
from lab10.sweeps.space import Value
from lab10.sweeps.study import MAX_RETRIES, Sweep, SweepStudy
from lab10.training.json_lines import read_json_lines

POLL_SECONDS = 0.5


def run(sweep: Sweep, workers: int, test: bool) -> dict[str, Any]:
    """Runs what is left of a sweep.

    Args:
      sweep: what to run.
      workers: how many worker processes to run on this machine.
      test: whether to evaluate the chosen trial on the test split.

    Returns:
      `workdir`, `trials`, `finished` and `failed` (how many are), `chosen` (its values, workdirs and mean validation
      metric) and `test`, as `scripts/sweep.py --json` prints them.

    Raises:
      UserError: a field or a value is wrong, or the storage holds another sweep.
      RunError: a run could not be saved, workers keep dying, or no trial was trained to its end.
    """
    # Every combination is made before the first is run: a mistake in the last should not wait for the others.
    combinations = sweep.combinations()
    experiment = sweep.experiments(combinations[0])[0]
    if not experiment.data.has_validation:
        raise UserError("A sweep chooses by validation, and --data.validation-fraction is 0; expected above 0.")
    if test:
        _require_test_splits(sweep, combinations)
    Path(sweep.directory, "logs").mkdir(parents=True, exist_ok=True)
    study = SweepStudy(sweep, "maximize" if experiment.higher_is_better else "minimize")
    sweep = _share_own_code(sweep)
    study.fill(combinations if sweep.trials is None else [{}] * sweep.trials)
    _run_workers(sweep, study, workers)
    trials = study.trials()
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        said = f" The last of them: {_describe(failed[-1])}" if failed else ""
        raise RunError(f"No trial of the sweep was trained to its end.{said}")
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
    # Written before test is read, which may fail, and again with its figures.
    output = Path(sweep.directory, "result.json")
    output.write_text(json.dumps(result, indent=1))
    if test:
        result["test"] = _test(workdirs, sweep.experiments(chosen.params)[0].data.test_split)
        output.write_text(json.dumps(result, indent=1))
    return result


def _share_own_code(sweep: Sweep) -> Sweep:
    """Copies the trials' own code into the sweep's folder, where workers find it, whatever becomes of the original."""
    shared = own_copies.share(Path(sweep.directory), own_code.parse(sweep.own_code))
    sweep = dataclasses.replace(sweep, own_code=[own.to_json() for own in shared])
    sweep.own_classes()  # here, too: the runs are evaluated by this process
    return sweep


def _require_test_splits(sweep: Sweep, combinations: list[dict[str, Value]]) -> None:
    """Checks that the test splits exist, without reading them, before anything is trained."""
    datasets = {experiment.data for values in combinations for experiment in sweep.experiments(values)}
    for data in {(data.name, data.train_split, data.test_split): data for data in datasets}.values():
        try:
            data.require_test_split()
        except UserError as error:
            if "--data.test-split" not in str(error):
                raise
            raise UserError(f"{error}\nOr leave the test split alone, with --no-test.") from error


def _run_workers(sweep: Sweep, study: SweepStudy, count: int) -> None:
    """Keeps workers running, and prints what they finish, until every trial is finished."""
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
                    console.print(f"[{len(finished)}/{len(trials)}] {_describe(trial)}", markup=False)
            if len(finished) == len(trials):
                return
            for worker in [worker for worker in workers if worker.poll() not in (None, 0)]:
                workers.remove(worker)
                _require_killed(worker, log)
                killed += 1
            if killed > count * (MAX_RETRIES + 1):  # it is not for a trial, which would have failed by now
                raise RunError(f"Workers are killed again and again; their output is in {log}.")
            workers += [_start_worker(sweep, log) for _ in range(count - len(workers))]
            time.sleep(POLL_SECONDS)
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)  # asks it to save and end
        for worker in workers:
            worker.wait()


def _start_worker(sweep: Sweep, log: Path) -> "subprocess.Popen[str]":
    with open(log, "a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "lab10.sweeps.worker", json.dumps(dataclasses.asdict(sweep)), "--json"],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which then stops its workers
        )


def _require_killed(worker: "subprocess.Popen[str]", log: Path) -> None:
    """Raises the error that a worker has ended with, unless it was killed."""
    answer, status = worker.communicate()[0], worker.returncode
    message = f"A worker ended with status {status}; its output is in {log}."
    if status in (1, 2):
        raise (UserError if status == 2 else RunError)(json.loads(answer)["error"] if answer else message)
    console.print(f"{message} Its trials are run again once their heartbeats have timed out.", markup=False)


def _describe(trial: FrozenTrial) -> str:
    """Returns a finished trial as `optimizer.learning-rate=0.003: validation 0.3126 (0.3017 to 0.3204)`."""
    values = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in trial.params.items()}
    ending = f"pruned at step {trial.last_step}"
    if trial.state == TrialState.FAIL:
        ending = trial.user_attrs.get("error", f"Its worker was killed {MAX_RETRIES + 1} times.")
    elif trial.state == TrialState.COMPLETE:
        best = trial.user_attrs["best"]
        ending = f"validation {trial.value:.4f}" + (f" ({min(best):.4f} to {max(best):.4f})" if len(best) > 1 else "")
    return " ".join(f"{name}={value}" for name, value in values.items()) + f": {ending}"


def _test(workdirs: list[Path], test_split: str) -> dict[str, Any]:
    """Returns the chosen trial's figures on the test split, read once: a second call finds them written down."""
    of_runs = [_read_once(workdir, test_split) for workdir in workdirs]
    # A metric may be undefined in one of the runs, and so be None there.
    names = [name for name in of_runs[0] if all(isinstance(run.get(name), float) for run in of_runs)]
    return {
        "mean": {name: statistics.mean(run[name] for run in of_runs) for name in names},
        "of_seeds": {name: [run[name] for run in of_runs] for name in names},
        "examples": of_runs[0]["examples"],
        "readings_of_chosen": sum(map(_readings, workdirs)),
        "readings_of_sweep": sum(map(_readings, workdirs[0].parent.iterdir())),
    }


def _read_once(workdir: Path, test_split: str) -> dict[str, Any]:
    run = load(workdir, test_split=test_split)  # it may be named after training
    for written in sorted((workdir / "evaluations").glob("test-*.json")):
        before = dict(json.loads(written.read_text()))
        if (before["step"], before.get("tfds_split", test_split)) == (run.step, test_split):
            return before
    return run.evaluate("test")


def _readings(workdir: Path) -> int:
    return sum(
        line.get("split") == "test"
        for line in read_json_lines(workdir / "evaluations" / "log.jsonl", skip_invalid=True)
    )
