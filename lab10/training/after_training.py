"""What follows training in scripts/train.py and in `lab10.train`: the figures, and the run restored.

Inspection and matplotlib are imported where they are used, so that the first training step does not wait for them.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab10.config.errors import RunError, UserError
from lab10.parallel.multihost import is_lead_process
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir

if TYPE_CHECKING:
    import lab10.inspection.run


@contextlib.contextmanager
def saving_history(workdir: Workdir) -> Iterator[None]:
    """Writes history.png when training ends, even if it was stopped or failed.

    After a UserError it writes nothing, because the workdir may hold another run.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException:
        _save_history(workdir)
        raise
    _save_history(workdir)


def _save_history(workdir: Workdir) -> None:
    if workdir.metrics_path.exists() and is_lead_process():
        from lab10.inspection.plots import plot_history

        with contextlib.suppress(OSError):  # if the disk is full, training has already raised the error to report
            plot_history(workdir.metrics_path, workdir.path / "history.png")


def finish_run(run: RunWriter) -> "lab10.inspection.run.Run":
    """Restores the best checkpoint of a complete run, and saves the run's figures to its workdir.

    Uses the experiment in memory, not the recorded one, so its classes may be defined in a notebook.

    Raises:
      RunError: a figure cannot be written.
    """
    from lab10.inspection.load import restore

    assert run.spec is not None
    restored = restore(run.workdir, run.experiment, run.spec, "best")
    try:
        restored.save_figures(run.workdir.path)
    except OSError as error:
        raise RunError(f"The run is complete, but {error.filename} cannot be written ({error.strerror}).") from error
    return restored
