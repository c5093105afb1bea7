"""Requests to stop between two steps: Ctrl-C, or SIGTERM from a scheduler."""

import signal


class StopRequest:
    """Context manager that records SIGINT and SIGTERM instead of stopping the process.

    A SIGINT after a recorded signal raises `KeyboardInterrupt` immediately.

    Attributes:
      signal_number: number of the last signal received, or None.
    """

    def __init__(self):
        self.signal_number: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _record(self, number: int, frame: object) -> None:
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number
