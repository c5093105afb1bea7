"""Restores a finished or running run from its workdir alone: `run = load(DIR)`."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec
from lab10.inspection import autoencoder_run, text_run, vae_run  # noqa: F401  subclasses of Run, for restore
from lab10.inspection.run import Run
from lab10.training.compilation_cache import use_compilation_cache
from lab10.training.workdir import Workdir

# Dataset fields that may differ from training without changing the meaning of any id or pixel.
READING_FIELDS = {"dir", "cache_dir", "test_split", "max_length", "overlong", "truncation_side", "padding_side"}


def load(directory: str | os.PathLike[str], checkpoint: str | int = "best", *, trust: bool = False, **data: Any) -> Run:
    """Restores a checkpoint of a run. The workdir may have been moved.

    Args:
      directory: workdir of the run.
      checkpoint: `best` (by the monitored validation metric), `latest`, or a step.
      trust: whether to run code in the workdir, if the run uses a custom model or component. Such code can
        do whatever you can: trust only a run whose `user_code/` you have read, or whose author you know.
      **data: fields of the dataset to change for reading: `dir` and `cache_dir` on another machine; `test_split`;
        for texts `max_length`, `overlong`, `truncation_side` and `padding_side`.
        Without `cache_dir`, arrays are cached in this machine's default folder, even if the config names another.

    Returns:
      A `TextRun`, an `AutoencoderRun` or a `VAERun`, or another subclass of `Run` that supports the experiment; with
      `params` and `config`.

    Raises:
      UserError: the folder is not a run, has no such checkpoint, has code that is not trusted, or its dataset cannot be
        read with these fields.
    """
    use_compilation_cache()
    workdir = Workdir(directory)
    experiment, spec = workdir.read_experiment(trust), workdir.read_spec(trust)
    allowed = {field.name for field in dataclasses.fields(experiment.data)} & READING_FIELDS
    if unknown := data.keys() - allowed:
        raise UserError(
            f"Cannot change {', '.join(sorted(unknown))} when reading a dataset of {spec.modality}; "
            f"expected only {', '.join(sorted(allowed))}."
        )
    # The reader of a run, not its author, decides where to write on this machine.
    data = {"cache_dir": None} | data
    experiment = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, **data))
    return restore(workdir, experiment, spec, str(checkpoint))


def restore(workdir: Workdir, experiment: Experiment, spec: Spec, checkpoint: str) -> Run:
    """Restores a checkpoint of a run whose experiment is already known. `load` reads it from the workdir."""
    cls = next(cls for cls in _most_derived_first(Run) if cls.supports(experiment, spec))
    return cls(workdir, experiment, spec, checkpoint)


def _most_derived_first(cls: type[Run]) -> Iterator[type[Run]]:
    """Yields a class after its subclasses, the newest first: a run class of one's own is asked before these."""
    for subclass in reversed(cls.__subclasses__()):
        yield from _most_derived_first(subclass)
    yield cls
