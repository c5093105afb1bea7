"""Requests to stop: which signals are recorded, and which are ignored."""

import os
import signal

import pytest

from lab10.training.signals import StopRequest

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


@pytest.fixture(autouse=True)
def handlers():
    """Restores the handlers after a test, and keeps the terminal of the test process."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_recorded_and_the_handler_before_restored(number, monkeypatch):
    monkeypatch.setattr("lab10.training.signals.drop_terminal", lambda: None)
    before = {number: signal.getsignal(number) for number in STOPPING}
    with StopRequest() as stop:
        assert stop.signal_number is None
        os.kill(os.getpid(), number)
        assert stop.signal_number == number
    assert {number: signal.getsignal(number) for number in STOPPING} == before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_an_ignored_signal_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), number)
        assert stop.signal_number is None
        assert signal.getsignal(number) == signal.SIG_IGN
    assert signal.getsignal(number) == signal.SIG_IGN


def test_ctrl_c_after_a_signal_stops_at_once():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal_number == signal.SIGUSR1
