"""The ways a run ends early that are not bugs, each answered without a traceback."""

from pathlib import Path


class UserError(Exception):
    """A user's mistake: a bad field, missing data, the wrong workdir. Exit status 2.

    The message says what is wrong, what was expected and what to do, in at most ten lines.
    """


class RunError(Exception):
    """A run that cannot go on although nobody made a mistake, such as a loss that is not finite. Exit status 1."""


class Diverged(RunError):
    """A run whose loss or parameters are no longer finite.

    Attributes:
      workdir: the run's folder, as the user named it.
    """

    def __init__(self, message: str, workdir: Path):
        super().__init__(message)
        self.workdir = workdir


class Interrupted(Exception):
    """A run stopped by a signal after it had saved its state. Exit status 130 or 143.

    Attributes:
      signal_number: the signal that stopped it.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number
