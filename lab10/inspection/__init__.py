"""A finished or running run, restored from its workdir alone: `run = load(DIR)`."""

import os

from lab10.inspection.pictures import AutoencoderRun
from lab10.inspection.reviews import ReviewsRun
from lab10.inspection.run import Run
from lab10.workdir import Workdir

__all__ = ["AutoencoderRun", "ReviewsRun", "Run", "load"]


def load(directory: str | os.PathLike[str], checkpoint: str | int = "best") -> Run:
    """Restores a checkpoint of a run, wherever its folder was moved.

    Args:
      directory: the run's workdir.
      checkpoint: `best` by validation, `latest`, or a step.

    Returns:
      A `ReviewsRun` or an `AutoencoderRun`, with `params` and `config`.

    Raises:
      UserError: the folder is no run, or has no such checkpoint.
    """
    workdir = Workdir(os.fspath(directory))
    experiment, spec = workdir.read_experiment(), workdir.read_spec()
    for cls in (AutoencoderRun, ReviewsRun):
        if cls.inspects(experiment, spec):
            return cls(workdir, experiment, spec, str(checkpoint))
    return Run(workdir, experiment, spec, str(checkpoint))
