"""Training in a notebook: `run = lab10.train(experiment, "runs/mine")`."""

import os

from lab10.cli.overrides import load_experiment
from lab10.config.errors import Interrupted, UserError
from lab10.config.experiment import Experiment
from lab10.inspection.run import Run
from lab10.training import loop
from lab10.training.after_training import finish_run, saving_history
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir


def experiment(name: str | os.PathLike[str]) -> Experiment:
    """Returns an experiment by name. `dataclasses.replace` makes another one with some fields changed.

        experiment = lab10.experiment("mnist_autoencoder")
        experiment = dataclasses.replace(experiment, batch_size=64, seed=1)

    Args:
      name: the name of a file in experiments/, without `.py`, or a path that ends in `.py`.

    Raises:
      UserError: there is no such experiment.
    """
    return load_experiment(os.fspath(name))


def train(experiment: Experiment | str, workdir: str | os.PathLike[str]) -> Run:
    """Trains an experiment, shows its progress, and returns the run with its best checkpoint, as `lab10.load` does.

    If the workdir holds the same run, resumes from its last checkpoint, or only restores it if it is complete. The
    notebook's stop button saves a checkpoint and raises `Interrupted`; calling `train` again resumes.

    Args:
      experiment: the experiment, or the name of a file in experiments/.
      workdir: folder of the run, created if it is missing.

    Returns:
      The run, of the class for its model: a `TextRun`, an `AutoencoderRun` or a `VAERun`.

    Raises:
      UserError: the data is missing, or the workdir holds another run.
      RunError: the loss or a parameter is no longer finite, or a file cannot be written.
      Interrupted: the run was stopped, after it saved a checkpoint.
    """
    if isinstance(experiment, str):
        experiment = load_experiment(experiment)
    if not isinstance(experiment, Experiment):
        raise UserError(
            f"Cannot train a value of type {type(experiment).__name__}; expected an Experiment, or the name of one, "
            "such as 'mnist_pca'."
        )
    run = RunWriter(experiment, Workdir(workdir))
    try:
        with saving_history(run.workdir):
            loop.train(run)
    except Interrupted as error:
        raise Interrupted(f"{error} Call lab10.train again to resume.", error.signal_number) from None
    return finish_run(run)
