"""Exceptions that end a run and are not bugs. Scripts and notebooks report them without a traceback."""

from pathlib import Path


class ReportedException(Exception):
    """An exception whose message says everything. Scripts and notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """Returns the lines that IPython shows instead of the traceback."""
        return [f"{type(self).__name__}: {self}"]


class UserError(ReportedException):
    """A user's mistake, such as an invalid field, missing data or the wrong workdir. Exit status 2.

    The message says what is wrong, what was expected and what to do, in at most ten lines.
    """


class RunError(ReportedException):
    """A run that cannot continue, without a mistake of the user, such as a non-finite loss. Exit status 1."""


class Diverged(RunError):
    """A run whose loss or parameters are no longer finite.

    Attributes:
      workdir: the run's workdir, as the user gave it.
    """

    def __init__(self, message: str, workdir: Path):
        super().__init__(message)
        self.workdir = workdir


class Interrupted(ReportedException):
    """A signal stopped the script; a training run has saved its state before. Exit status 128 + the signal's number.

    Attributes:
      signal_number: the signal that stopped it.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


def first_line(error: BaseException, at_most: int = 300) -> str:
    """Returns the first line of an error's message, at most `at_most` characters; without one, the error's type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:at_most]
