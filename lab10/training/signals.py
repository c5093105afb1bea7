"""Requests to stop: Ctrl-C, a notebook's stop button, SIGTERM, and warnings of a time limit or a lost terminal."""

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable
from types import FrameType

# A lost terminal (SIGHUP), and the warnings of batch systems before a time limit. Their default action would kill the
# process. A signal that was ignored when the process started stays ignored: nohup does this with SIGHUP.
WARNING_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)

Handler = Callable[[int, FrameType | None], None]


def handle_stop_signals(handler: Handler, *additional: signal.Signals) -> dict[int, object]:
    """Installs a handler for the `WARNING_SIGNALS` that are not ignored, and for additional signals.

    Returns:
      The handlers before, by the number of the signal.
    """
    heeded = [number for number in WARNING_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in (*additional, *heeded)}


class StopRequest:
    """Context manager that records a signal to stop instead of stopping the process.

    A SIGINT after a recorded signal raises `KeyboardInterrupt` immediately. Only the main thread can handle signals; in
    other threads, nothing is recorded.

    Attributes:
      signal_number: number of the last signal received, or None.
    """

    def __init__(self):
        self.signal_number: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._previous = handle_stop_signals(self._record, signal.SIGINT, signal.SIGTERM)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGHUP:
            drop_terminal()
        self.signal_number = number


def drop_terminal() -> None:
    """Redirects output to a terminal to /dev/null: once the terminal is gone, each write to it would fail."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, descriptor)
                os.close(null)
