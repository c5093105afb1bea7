"""A worker process of a sweep: `python -m lab10.sweeps.worker SWEEP` trains trials until all are finished."""

import collections
import functools
import itertools
import json
import os
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optuna
from optuna.trial import TrialState

from lab10.cli.script import run_script
from lab10.config.errors import Diverged
from lab10.config.experiment import Experiment
from lab10.sweeps.study import Sweep, SweepStudy
from lab10.training.ensemble import Ensemble
from lab10.training.loop import train
from lab10.training.run_writer import EvalCallback, RunWriter
from lab10.training.workdir import Workdir

POLL_SECONDS = 1.0


class TrialRun(NamedTuple):
    """One run of a trial."""

    trial: optuna.Trial
    experiment: Experiment
    workdir: Path


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    sweep = Sweep(**json.loads(arguments[0]))
    threading.Thread(target=_stop_when_orphaned, args=(os.getppid(),), daemon=True).start()
    study = SweepStudy(sweep)
    max_vmapped = sweep.max_vmapped or default_max_vmapped()
    while not all(trial.state.is_finished() for trial in study.trials()):
        with study.claim_trials(max(1, max_vmapped // len(sweep.seeds))) as trials:
            trials.sort(key=lambda trial: sweep.program_key(trial.params))
            for _, group in itertools.groupby(trials, lambda trial: sweep.program_key(trial.params)):
                train_trials(sweep, study.study, list(group), max_vmapped)
        if not trials:  # other workers run the last ones, and may be killed
            time.sleep(POLL_SECONDS)
    return {}, ""


def default_max_vmapped() -> int:
    """Returns the default of --max-vmapped for the device of this process."""
    # On a CPU, training one run at a time is faster for most models (docs/sweeps.md).
    return 1 if jax.default_backend() == "cpu" else 8


def train_trials(sweep: Sweep, study: optuna.Study, trials: list[optuna.Trial], max_vmapped: int) -> None:
    """Trains the runs of trials that share a program, and tells Optuna the result of each trial."""
    runs = [
        TrialRun(trial, *one)
        for trial in trials
        for one in zip(sweep.experiments(trial.params), sweep.workdirs(trial), strict=True)
    ]
    best: dict[int, list[float]] = {trial.number: [] for trial in trials}
    pruned: set[int] = set()
    while runs:
        batch = runs[:max_vmapped]
        try:
            results = train_together(
                [run.experiment for run in batch],
                [Workdir(run.workdir) for run in batch],
                make_callbacks(batch, pruned),
            )
        except Diverged as error:
            (diverged,) = (run.trial for run in batch if run.workdir == Path(error.workdir))
            diverged.set_user_attr("error", str(error))
            study.tell(diverged, state=TrialState.FAIL)
            del best[diverged.number]  # the others resume from their last checkpoint
        else:
            runs = runs[max_vmapped:]
            for run, result in zip(batch, results, strict=True):
                best[run.trial.number].append(result["best"][run.experiment.monitor])
        runs = [run for run in runs if run.trial.number in best.keys() - pruned]
    for trial in trials:
        if trial.number in pruned:
            study.tell(trial, state=TrialState.PRUNED)
        elif trial.number in best:
            trial.set_user_attr("best", best[trial.number])
            study.tell(trial, statistics.mean(best[trial.number]))


def make_callbacks(runs: list[TrialRun], pruned: set[int]) -> list[EvalCallback]:
    """Makes a callback for each run, which reports the mean over a trial's seeds to the pruner.

    If seeds are trained one after the other, only the first is reported: Optuna keeps the first value of a step.

    Args:
      runs: runs of any number of trials, which are trained together.
      pruned: numbers of the pruned trials; the callbacks add to it.
    """
    seeds = collections.Counter(run.trial.number for run in runs)
    measured: dict[tuple[int, int], list[float]] = collections.defaultdict(list)

    def on_evaluation(run: TrialRun, step: int, metrics: dict[str, float]) -> bool:
        trial, values = run.trial, measured[run.trial.number, step]
        values.append(metrics[run.experiment.monitor])
        if len(values) == seeds[trial.number]:
            trial.report(statistics.mean(values), step)
            if trial.should_prune():
                pruned.add(trial.number)
        # The other seeds of the trial stop at their next evaluation.
        return trial.number in pruned

    return [functools.partial(on_evaluation, run) for run in runs]


def train_together(
    experiments: list[Experiment], workdirs: list[Workdir], callbacks: list[EvalCallback]
) -> list[dict[str, Any]]:
    """Trains runs as one program if there are several, and returns the result of each."""
    runs = [RunWriter(*run) for run in zip(experiments, workdirs, callbacks, strict=True)]
    return train(Ensemble(runs)) if len(runs) > 1 else [train(runs[0])]


def _stop_when_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    run_script(main)
