"""A short run without faults, a killed one, and ways to train in a process with a fault."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import preloaded
import pytest

ROOT = Path(__file__).resolve().parents[2]
# 30 steps; lines, evaluations and checkpoints at steps of their own.
ARGUMENTS = ("mnist_pca", "--data.name", "mnist_sample", "--batch-size", 100, "--steps", 30)
CADENCE = ("--log-every", 7, "--evaluate-every", 10, "--checkpoint-every", 4)


class Runs:
    """Trains the run of these tests; of arguments given twice, the last counts."""

    def __init__(self, scripts):
        self._scripts = scripts

    def train(self, workdir, *arguments):
        """Trains in the test process, to the end; returns the answer and what was said."""
        answer, _, said = self._scripts.call("train", *ARGUMENTS, *CADENCE, "--workdir", workdir, *arguments)
        return answer, said

    def refusal(self, workdir, *arguments):
        """The message with which training refuses a mistake."""
        return self._scripts.refusal("train", *ARGUMENTS, *CADENCE, "--workdir", workdir, *arguments)

    def evaluate(self, workdir):
        """Evaluates in the test process; returns the answer."""
        return self._scripts.answer("evaluate", workdir)

    def train_in_process(self, workdir, environment=None, before=()):
        """Trains in a new process; returns its exit status, standard output and standard error."""
        command = (*before, "scripts/train.py", *ARGUMENTS, *CADENCE, "--workdir", workdir, "--json")
        return self.run(*command, environment=environment)

    def run(self, *command, environment=None):
        """Exit status, standard output and standard error of a Python command that has ended."""
        command, environment = [sys.executable, *map(str, command)], os.environ | (environment or {})
        done = preloaded.run(command, cwd=ROOT, env=environment, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def killed(self, workdir, environment=None):
        """Trains, and is killed right before the checkpoint of step 12 appears; the one before it is of step 10."""
        fault = {"root": str(workdir), "at": ["rename checkpoints/N.orbax-checkpoint-tmp > checkpoints/N", 4]}
        status, _, said = self.run(
            *("tests/support/faulty.py", "scripts/train.py", *ARGUMENTS, *CADENCE, "--workdir", workdir),
            environment=(environment or {}) | {"LAB10_FAULT": json.dumps(fault)},
        )
        assert status == -signal.SIGKILL, said


def saved(workdir):
    """The steps of the finished checkpoints."""
    return sorted(int(path.name) for path in (Path(workdir) / "checkpoints").glob("[0-9]*") if path.name.isdigit())


def digests(workdir):
    """The digests of the arrays of each checkpoint."""
    return {
        step: json.loads((Path(workdir) / "checkpoints" / str(step) / "_CHECKPOINT_METADATA").read_text())[
            "custom_metadata"
        ]["sha256"]
        for step in saved(workdir)
    }


@pytest.fixture(scope="session")
def runs(scripts):
    """Starts scripts."""
    return Runs(scripts)


@pytest.fixture(scope="session")
def checkpoints_of():
    """Gives the digests of a workdir's checkpoints by their steps."""
    return digests


@pytest.fixture(scope="session")
def finished_run(runs, made_once):
    """A run without faults: its workdir and its result."""
    return made_once("finished_run", lambda workdir: runs.train(workdir)[0])


@pytest.fixture
def killed_run(runs, made_once, tmp_path):
    """A copy of a run that was killed after step 10 of its 30."""
    original, _ = made_once("killed", runs.killed)
    return shutil.copytree(original, tmp_path / "run")
