"""Restores a finished or running run from its workdir alone: `run = load(DIR)`."""

import dataclasses
import os
from typing import Any

from lab10.errors import UserError
from lab10.inspection.autoencoder_run import AutoencoderRun
from lab10.inspection.run import Run
from lab10.inspection.text_run import TextRun
from lab10.training.compilation_cache import use_compilation_cache
from lab10.training.workdir import Workdir

# Dataset fields that may differ from training without changing the meaning of any id or pixel.
READING_FIELDS = {"dir", "cache_dir", "test_split", "max_length", "overlong", "truncation_side", "padding_side"}

__all__ = ["AutoencoderRun", "Run", "TextRun", "load"]


def load(directory: str | os.PathLike[str], checkpoint: str | int = "best", **data: Any) -> Run:
    """Restores a checkpoint of a run. The workdir may have been moved.

    Args:
      directory: workdir of the run.
      checkpoint: `best` (by the monitored validation metric), `latest`, or a step.
      **data: fields of the dataset to change for reading: `dir` and `cache_dir` on another machine; `test_split`;
        for texts `max_length`, `overlong`, `truncation_side` and `padding_side`.
        Without `cache_dir`, arrays are cached in this machine's default folder, even if the config names another.

    Returns:
      A `TextRun` or an `AutoencoderRun`, with `params` and `config`.

    Raises:
      UserError: the folder is not a run, has no such checkpoint, or its dataset cannot be read with these fields.
    """
    use_compilation_cache()
    workdir = Workdir(os.fspath(directory))
    experiment, spec = workdir.read_experiment(), workdir.read_spec()
    allowed = {field.name for field in dataclasses.fields(experiment.data)} & READING_FIELDS
    if unknown := data.keys() - allowed:
        raise UserError(
            f"Cannot change {', '.join(sorted(unknown))} when reading a dataset of {spec.modality}; "
            f"expected only {', '.join(sorted(allowed))}."
        )
    # The reader of a run, not its author, decides where to write on this machine.
    data = {"cache_dir": None} | data
    experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, **data))
    for cls in (AutoencoderRun, TextRun):
        if cls.supports(experiment, spec):
            return cls(workdir, experiment, spec, str(checkpoint))
    return Run(workdir, experiment, spec, str(checkpoint))
