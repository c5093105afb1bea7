"""Stopping between two steps when asked to: Ctrl-C, SIGTERM of a scheduler."""

import signal


class StopRequest:
    """While entered, SIGINT and SIGTERM are noted instead of obeyed; a second SIGINT interrupts at once.

    Attributes:
      signal_number: the signal that came, or None.
    """

    def __init__(self):
        self.signal_number: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: object) -> None:
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number
