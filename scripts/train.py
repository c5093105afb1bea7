"""Trains or resumes an experiment: `python scripts/train.py EXPERIMENT [--workdir DIR] [--FIELD VALUE …] [--json]`.

On several hosts, the same command on each: docs/scale.md.
"""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any

from lab10.cli.overrides import parse_training_arguments
from lab10.cli.script import describe, run_script
from lab10.config.experiment import Experiment
from lab10.errors import Interrupted, RunError


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    experiment, directory, distributed = parse_training_arguments(arguments)

    # What only reads or draws is imported after training: the first step should not wait for it.
    from lab10.parallel.distributed import joined
    from lab10.parallel.multihost import is_lead_process
    from lab10.training.loop import train
    from lab10.training.run_writer import RunWriter
    from lab10.training.workdir import Workdir

    workdir = Workdir(directory)
    try:
        with joined(distributed):
            result = train(RunWriter(experiment, workdir))
    except Interrupted as stopped:
        command = shlex.join(["python", sys.argv[0], *arguments])
        raise Interrupted(f"{stopped} This goes on from there:\n  {command}", stopped.signal_number) from None
    finally:
        if workdir.metrics_path.exists() and is_lead_process():
            from lab10.inspection.plots import plot_history

            with contextlib.suppress(OSError):  # what the picture lacks is room, and the error to tell is another
                plot_history(workdir.metrics_path, workdir.path / "history.png")

    if is_lead_process():
        draw(workdir.path, experiment)
    measured = f", validation {describe(result['validation'])}" if result["validation"] else ""
    text = f"{directory}: step {result['step']}{measured}; best at step {result['best']['step']}"
    return result, text


def draw(directory: Path, experiment: Experiment) -> None:
    """Writes what there is to look at of a run that is complete."""
    from lab10.inspection import load

    try:
        load(directory, cache_dir=experiment.data.cache_dir).draw(directory)
    except OSError as error:
        raise RunError(f"The run is complete, but not its pictures: {error.filename}: {error.strerror}.") from error


if __name__ == "__main__":
    run_script(main)
