"""A finished or running run, restored from its workdir alone: `run = load(DIR)`."""

import dataclasses
import os
from typing import Any

from lab10.errors import UserError
from lab10.inspection.autoencoder_run import AutoencoderRun
from lab10.inspection.run import Run
from lab10.inspection.text_run import TextRun
from lab10.training.compilation_cache import use_compilation_cache
from lab10.training.workdir import Workdir

# What may differ from training without any number meaning something else.
READING_FIELDS = {"dir", "cache_dir", "test_split", "max_length", "overlong", "truncation_side", "padding_side"}

__all__ = ["AutoencoderRun", "Run", "TextRun", "load"]


def load(directory: str | os.PathLike[str], checkpoint: str | int = "best", **data: Any) -> Run:
    """Restores a checkpoint of a run. Its folder may have been moved.

    Args:
      directory: the run's workdir.
      checkpoint: `best` by validation, `latest`, or a step.
      **data: fields of the dataset to change for reading: `dir` and `cache_dir` on another machine; `test_split`;
        for texts `max_length`, `overlong`, `truncation_side` and `padding_side`.
        Without `cache_dir` arrays are cached where this machine keeps them, whatever the config says.

    Returns:
      A `TextRun` or an `AutoencoderRun`, with `params` and `config`.

    Raises:
      UserError: the folder is no run, has no such checkpoint, or its dataset cannot be read so.
    """
    use_compilation_cache()
    workdir = Workdir(os.fspath(directory))
    experiment, spec = workdir.read_experiment(), workdir.read_spec()
    readable = {field.name for field in dataclasses.fields(experiment.data)} & READING_FIELDS
    if unknown := data.keys() - readable:
        raise UserError(
            f"A dataset of {spec.modality} cannot be read with another {', '.join(sorted(unknown))}; "
            f"expected some of {', '.join(sorted(readable))}."
        )
    # Where to write is for whoever reads a run to say, not for whoever made it.
    data = {"cache_dir": None} | data
    experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, **data))
    for cls in (AutoencoderRun, TextRun):
        if cls.inspects(experiment, spec):
            return cls(workdir, experiment, spec, str(checkpoint))
    return Run(workdir, experiment, spec, str(checkpoint))
