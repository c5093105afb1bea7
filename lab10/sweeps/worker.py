"""One job of a sweep in a process of its own: `python -m lab10.sweeps.worker JOB.json`; answers as scripts do."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lab10.cli.script import run_script
from lab10.config.experiment import Experiment, from_json
from lab10.errors import Diverged
from lab10.training.ensemble import Ensemble
from lab10.training.loop import train
from lab10.training.run_writer import EvalCallback, RunWriter
from lab10.training.workdir import Workdir


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    job = json.loads(Path(arguments[0]).read_text())
    threading.Thread(target=_stop_when_orphaned, args=(os.getppid(),), daemon=True).start()
    experiments = [from_json(run["experiment"], Experiment) for run in job["runs"]]
    workdirs = [Workdir(run["workdir"]) for run in job["runs"]]
    pruned: set[int] = set()
    callbacks = _watches(job, experiments, pruned) if job["pruner"] != "none" else [None] * len(workdirs)
    runs = [RunWriter(*of_run) for of_run in zip(experiments, workdirs, callbacks, strict=True)]
    try:
        results = train(Ensemble(runs)) if len(runs) > 1 else [train(runs[0])]
    except Diverged as error:
        return {"diverged": str(error.workdir), "error": str(error)}, ""
    return {"results": results, "pruned": sorted(pruned)}, ""


def _watches(job: dict[str, Any], experiments: list[Experiment], pruned: set[int]) -> list[EvalCallback | None]:
    """Reports the mean over a point's seeds, and ends all of them where the pruner says so."""
    from lab10.sweeps.queue import Queue

    monitor = experiments[0].monitor
    queue = Queue(
        job["storage"],
        job["name"],
        job["sampler"],
        job["pruner"],
        experiments[0].task.metrics[monitor],
        job["lost_after"],
    )
    numbers = [run["number"] for run in job["runs"]]
    trials = {number: queue.watcher(number) for number in numbers}
    values: dict[tuple[int, int], list[float]] = {}

    def watch_of(number: int) -> EvalCallback:
        def watch(step: int, metrics: dict[str, float]) -> bool:
            of_step = values.setdefault((number, step), [])
            of_step.append(metrics[monitor])
            if len(of_step) == numbers.count(number):
                trials[number].report(sum(of_step) / len(of_step), step)
                if trials[number].should_prune():
                    pruned.add(number)
            # The seeds before the last one learn of it at their next evaluation.
            return number in pruned

        return watch

    return [watch_of(number) for number in numbers]


def _stop_when_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    run_script(main)
