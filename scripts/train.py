"""Trains or resumes an experiment: `python scripts/train.py EXPERIMENT [--workdir DIR] [--FIELD VALUE …] [--json]`.

To train on several hosts, run the same command on each; see docs/scale.md.
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

    # Imports for inspection and figures come after training, so that the first step does not wait for them.
    from lab10.parallel.distributed import joined
    from lab10.parallel.multihost import is_lead_process
    from lab10.training.loop import train
    from lab10.training.run_writer import RunWriter
    from lab10.training.workdir import Workdir

    workdir = Workdir(directory)
    try:
        with joined(distributed):
            result = train(RunWriter(experiment, workdir))
    except Interrupted as error:
        command = shlex.join(["python", sys.argv[0], *arguments])
        raise Interrupted(f"{error} To resume, run:\n  {command}", error.signal_number) from None
    finally:
        if workdir.metrics_path.exists() and is_lead_process():
            from lab10.inspection.plots import plot_history

            with contextlib.suppress(OSError):  # if the disk is full, training has already raised the error to report
                plot_history(workdir.metrics_path, workdir.path / "history.png")

    if is_lead_process():
        save_figures(workdir.path, experiment)
    validation = f", validation {describe(result['validation'])}" if result["validation"] else ""
    text = f"{directory}: step {result['step']}{validation}; best at step {result['best']['step']}"
    return result, text


def save_figures(directory: Path, experiment: Experiment) -> None:
    """Writes the figures of a complete run to its workdir.

    Raises:
      RunError: a figure cannot be written.
    """
    from lab10.inspection import load

    try:
        load(directory, cache_dir=experiment.data.cache_dir).save_figures(directory)
    except OSError as error:
        raise RunError(f"The run is complete, but {error.filename} cannot be written ({error.strerror}).") from error


if __name__ == "__main__":
    run_script(main)
