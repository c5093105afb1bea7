"""Several processes of the real scripts/train.py over loopback, with CPU collectives."""

import contextlib
import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import preloaded
import pytest
from metrics_without_times import metrics_without_times

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "scripts" / "train.py"
# A failure of the code under test must not become a test that never ends.
AT_MOST_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended: its status, what it answered on standard output, and what it said on standard error."""

    status: int
    answer: dict
    said: str


class Processes:
    """Starts a run in several processes; they end with the `with` block at the latest."""

    def __init__(self, environment):
        self.environment = environment

    def command(self, count, number, port, arguments, script):
        distributed = {"coordinator-address": f"127.0.0.1:{port}", "num-processes": count, "process-id": number}
        by_hand = [part for name, value in distributed.items() for part in (f"--distributed.{name}", str(value))]
        return [sys.executable, str(script), *map(str, arguments), "--json", *(by_hand if count > 1 else [])]

    @contextlib.contextmanager
    def started(self, count, *arguments, each=lambda number: (), devices=1, script=TRAIN):
        """The processes; `each` gives further arguments of one."""
        port = free_port()
        environment = self.environment | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        with contextlib.ExitStack() as stack:
            processes = []
            for number in range(count):
                command = self.command(count, number, port, (*arguments, *each(number)), script)
                pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
                processes.append(stack.enter_context(preloaded.Popen(command, env=environment, **pipes)))
                stack.callback(processes[-1].kill)
            yield processes

    def ended(self, processes):
        """How each process ended."""
        deadline, ends = time.monotonic() + AT_MOST_SECONDS, []
        for process in processes:
            out, said = process.communicate(timeout=max(1, deadline - time.monotonic()))
            ends.append(Ended(process.returncode, json.loads(out) if out else {}, said.decode()))
        return ends

    def run(self, count, *arguments, **options):
        """Starts them and waits."""
        with self.started(count, *arguments, **options) as processes:
            return self.ended(processes)


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="session")
def processes(cache_dir):
    launchers = re.compile("SLURM|OMPI|JOB_COMPLETION")
    return Processes({name: value for name, value in os.environ.items() if not launchers.match(name)})


@pytest.fixture(scope="session")
def same_run():
    """Compares two workdirs: the same lines, but for rounding, in the same order, each once; the same parameters."""

    def compare(one, other):
        from lab10.inspection.load import load

        lines = [metrics_without_times(path) for path in (one, other)]
        steps_and_splits = [[(line["step"], line["split"]) for line in of_run] for of_run in lines]
        assert steps_and_splits[0] == steps_and_splits[1]
        assert len(set(steps_and_splits[0])) == len(steps_and_splits[0])
        for ours, theirs in zip(*lines, strict=True):
            assert ours.keys() == theirs.keys()
            for name in ours.keys() - {"split"}:
                np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-5, err_msg=f"{ours['step']} {name}")
        params = [jax.tree.leaves(jax.device_get(load(path, "latest").params)) for path in (one, other)]
        for ours, theirs in zip(*params, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5)

    return compare


TEXTS = ("--data.name", "synthetic_reviews", "--data.max-length", 12, "--data.num-words", 200)
MODELS = {
    "bag": ("imdb_bag_of_ngrams", *TEXTS, "--model.buckets", 500, "--model.embedding-dim", 6, "--model.dropout", 0.3),
    # Every dropout that there is, and batches of two lengths.
    "lstm": (
        *("imdb_lstm", *TEXTS, "--data.length-buckets", 2, "--model.hidden-size", 6, "--model.embedding-dim", 8),
        *("--model.input-dropout", 0.2, "--model.embedding-dropout", 0.1, "--model.output-dropout", 0.3),
    ),
}


@pytest.fixture(scope="session", params=["bag", pytest.param("lstm", marks=pytest.mark.slow)])
def reviews_run(request):
    """20 steps of a model with dropout, in batches that neither 2 processes of 2 devices nor 4 divide."""
    cadence = ("--steps", 20, "--log-every", 1, "--evaluate-every", 10, "--steps-per-execution", 4)
    return (*MODELS[request.param], "--batch-size", 30, *cadence)


@pytest.fixture(scope="session")
def alone(scripts, reviews_run, made_once):
    """The workdir of that run in one process with one device."""
    return made_once(
        f"alone_{reviews_run[0]}", lambda workdir: scripts.answer("train", *reviews_run, "--workdir", workdir)
    )[0]
