"""Trains or resumes an experiment: `python scripts/train.py EXPERIMENT [--workdir DIR] [--FIELD VALUE …] [--json]`.

To train on several hosts, run the same command on each; see docs/scale.md.
"""

import shlex
import signal
import sys

from lab10.cli.overrides import parse_training_arguments
from lab10.cli.script import ScriptResult, format_metrics, run_script
from lab10.config.errors import Interrupted


def main(arguments: list[str]) -> ScriptResult:
    experiment, directory, distributed = parse_training_arguments(arguments)

    from lab10.parallel.distributed import connected
    from lab10.parallel.multihost import is_lead_process
    from lab10.training.after_training import finish_run, saving_history
    from lab10.training.loop import train
    from lab10.training.run_writer import RunWriter
    from lab10.training.workdir import Workdir

    run = RunWriter(experiment, Workdir(directory))
    try:
        with saving_history(run.workdir), connected(distributed):
            result = train(run)
    except Interrupted as error:
        command = shlex.join(["python", sys.argv[0], *arguments])
        raise Interrupted(f"{error} To resume, run:\n  {command}", error.signal_number) from None
    if result["validation"]:
        validation = f", validation {format_metrics(result['validation'])}; best at step {result['best']['step']}"
    else:
        validation = "; without a validation split, the latest checkpoint counts as the best"
    text = f"{directory}: step {result['step']}{validation}"
    if is_lead_process():
        try:
            finish_run(run)
        except (KeyboardInterrupt, Interrupted) as error:
            number = error.signal_number if isinstance(error, Interrupted) else signal.SIGINT
            raise Interrupted(f"{text}\nThe run is complete; only its figures are missing.", number) from None
    return result, text


if __name__ == "__main__":
    run_script(main)
