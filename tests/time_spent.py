"""Reports where a test run spends its time: `python -m pytest -p tests.time_spent`.

Every second of a worker is counted once, under the innermost of the activities below. Tracing is counted where it
happens; compiling and lowering are taken out of whatever asked for them.
"""

import collections
import contextlib
import functools
import json
import resource
import subprocess
import threading
import time
from pathlib import Path

import pytest

REAL_DATA, BROWSER = "real data", "browser"
CHILDREN, COMPILING, TRAINING, HYPOTHESIS, OTHER = (
    "waiting for child processes",
    "compiling in the test process",
    "training in the test process",
    "Hypothesis examples",
    "everything else",
)
_COMPILE_EVENTS = ("/jax/core/compile/backend_compile_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")

_seconds: collections.Counter[str] = collections.Counter()
_stack: list[str] = []
_since = 0.0


@contextlib.contextmanager
def _spending(activity):
    """Counts the time of a block under an activity, except what a nested block counts under its own."""
    _settle()
    _stack.append(activity)
    try:
        yield
    finally:
        _settle()
        _stack.pop()


def _settle():
    global _since
    now = time.monotonic()
    if _stack:
        _seconds[_stack[-1]] += now - _since
    _since = now


def _counted(function, activity):
    @functools.wraps(function)
    def counted(*arguments, **options):
        if threading.current_thread() is not threading.main_thread():
            return function(*arguments, **options)
        with _spending(activity):
            return function(*arguments, **options)

    return counted


def _compiled(event, seconds, **_):
    if event in _COMPILE_EVENTS and _stack and 0 < seconds < 600:  # a test turns the clock back
        _seconds[COMPILING] += seconds
        _seconds[_stack[-1]] -= seconds


def pytest_configure(config):
    import jax

    jax.monitoring.register_event_duration_secs_listener(_compiled)
    for name in ("__init__", "communicate", "wait"):
        setattr(subprocess.Popen, name, _counted(getattr(subprocess.Popen, name), CHILDREN))
    time.sleep = _counted(time.sleep, CHILDREN)
    config.stash[_FOLDER] = Path(config.rootpath, ".pytest_cache", "time_spent")
    if not hasattr(config, "workerinput"):
        config.stash[_FOLDER].mkdir(parents=True, exist_ok=True)
        for path in config.stash[_FOLDER].iterdir():
            path.unlink()


_FOLDER = pytest.StashKey[Path]()


def pytest_collection_finish(session):
    """Wraps training once `lab10` is imported, which `--jaxtyping-packages` has to see first."""
    from lab10.training import loop

    loop.train = _counted(loop.train, TRAINING)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if "real_data" in item.nodeid:
        activity = REAL_DATA
    elif "browser" in item.fixturenames:
        activity = BROWSER
    else:
        activity = HYPOTHESIS if hasattr(item.obj, "hypothesis") else OTHER
    with _spending(activity):
        return (yield)


def pytest_sessionfinish(session):
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    name = getattr(session.config, "workerinput", {}).get("workerid", "main")
    if _seconds:
        content = {"seconds": _seconds, "peak_mib": memory}
        (session.config.stash[_FOLDER] / f"{name}.json").write_text(json.dumps(content))


def pytest_terminal_summary(terminalreporter, config):
    found = [json.loads(path.read_text()) for path in sorted(config.stash[_FOLDER].iterdir())]
    total = collections.Counter()
    for one in found:
        total.update(one["seconds"])
    terminalreporter.section("time spent, over all workers")
    for activity, seconds in total.most_common():
        terminalreporter.line(f"{seconds:8.1f} s  {activity}")
    terminalreporter.line(f"peak memory of a worker: {max((one['peak_mib'] for one in found), default=0):.0f} MiB")
