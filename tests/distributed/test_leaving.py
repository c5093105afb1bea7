"""How several processes end: together if they share the reason, in bounded time if one fails alone."""

import time

import pytest

SCRIPT = """
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from lab10.cli.script import run_script
from lab10.parallel.distributed import connected
from lab10.config.errors import Diverged, Interrupted, RunError, UserError
from lab10.cli.overrides import parse_training_arguments

SHARED = {
    1: UserError("refused by all"), 2: Diverged("not finite", Path("run")),
    3: Interrupted("stopped", 2), 4: Interrupted("terminated", 15),
}

def main(arguments):
    experiment, _, distributed = parse_training_arguments(arguments)
    with connected(distributed):
        if experiment.seed in SHARED:
            raise SHARED[experiment.seed]
        if experiment.seed > 4:
            if jax.process_index() == 1:
                raise RunError("the disk is full") if experiment.seed == 5 else KeyError("a bug")
            multihost_utils.process_allgather(np.int32(0))
    return {"done": True}, ""

run_script(main)
"""
# Long, so that an end that waits for it is noticed.
HEARTBEAT_SECONDS, SHORT_HEARTBEAT_SECONDS = 300, 4
AT_MOST_SECONDS = 60


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "join_and_leave.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(
    ("seed", "status", "answer"),
    [
        (0, 0, {"done": True}),
        (1, 2, {"error": "refused by all"}),
        (2, 1, {"error": "not finite"}),
        (4, 143, {"error": "terminated"}),
        pytest.param(3, 130, {"error": "stopped"}, marks=pytest.mark.slow),
    ],
    ids=["complete", "refused", "diverged", "terminated", "interrupted"],
)
@pytest.mark.parametrize(("count", "times"), [(2, 1), pytest.param(3, 5, marks=pytest.mark.slow)])
def test_all_processes_end_with_the_same_status(processes, script, seed, status, answer, count, times):
    heartbeat = ("--distributed.heartbeat-timeout-seconds", HEARTBEAT_SECONDS)
    for _ in range(times):
        began = time.monotonic()
        for ended in processes.run(count, "mnist_pca", "--seed", seed, *heartbeat, script=script):
            assert ended.status == status, ended.said
            assert ended.answer == answer
        assert time.monotonic() - began < AT_MOST_SECONDS


@pytest.mark.parametrize(
    ("seed", "error"), [(5, "the disk is full"), pytest.param(6, "KeyError: 'a bug'", marks=pytest.mark.slow)]
)
def test_an_error_in_one_process_is_reported_and_ends_the_others(processes, script, seed, error):
    heartbeat = ("--distributed.heartbeat-timeout-seconds", SHORT_HEARTBEAT_SECONDS)
    began = time.monotonic()
    waiting, failed = processes.run(2, "mnist_pca", "--seed", seed, *heartbeat, script=script)
    assert time.monotonic() - began < AT_MOST_SECONDS
    assert failed.answer == {"error": error}
    assert failed.status != 0
    assert waiting.status != 0
