"""Exceptions that end a run and are not bugs. Scripts report them without a traceback."""

from pathlib import Path


class UserError(Exception):
    """A user's mistake, such as an invalid field, missing data or the wrong workdir. Exit status 2.

    The message says what is wrong, what was expected and what to do, in at most ten lines.
    """


class RunError(Exception):
    """A run that cannot continue, without a mistake of the user, such as a non-finite loss. Exit status 1."""


class Diverged(RunError):
    """A run whose loss or parameters are no longer finite.

    Attributes:
      workdir: the run's workdir, as the user gave it.
    """

    def __init__(self, message: str, workdir: Path):
        super().__init__(message)
        self.workdir = workdir


class Interrupted(Exception):
    """A run that a signal stopped, after it saved its state. Exit status 130 or 143.

    Attributes:
      signal_number: the signal that stopped it.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number
