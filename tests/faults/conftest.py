"""A short run of each kind, in a process of its own, and what it leaves when nothing goes wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# 30 steps; lines, evaluations and checkpoints at steps of their own.
ARGUMENTS = ("mnist_pca", "--data.name", "mnist_sample", "--batch-size", 100, "--steps", 30)
CADENCE = ("--log-every", 7, "--evaluate-every", 10, "--checkpoint-every", 4)


class Runs:
    """Starts scripts, each with an environment that a test may add to."""

    def __init__(self):
        self._environment = {name: value for name, value in os.environ.items() if name != "TFDS_DATA_DIR"}
        self._environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}

    def start(self, *command, environment=None, **options):
        """The process of a Python command."""
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env=self._environment | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, *command, environment=None, **options):
        """Exit status, standard output and standard error of a Python command that has ended."""
        process = self.start(*command, environment=environment, **options)
        answer, said = process.communicate()
        assert "Traceback" not in said, said
        return process.returncode, answer, said

    def train(self, workdir, *arguments, environment=None, **options):
        """Trains in a workdir; the last of arguments given twice counts."""
        command = ("scripts/train.py", *ARGUMENTS, *CADENCE, "--workdir", workdir, *arguments, "--json")
        return self.run(*command, environment=environment, **options)

    def trained(self, workdir, *arguments, **options):
        """The answer of a training command that succeeds, and all it said."""
        status, answer, said = self.train(workdir, *arguments, **options)
        assert status == 0, said
        return json.loads(answer), said

    def killed(self, workdir, *arguments, environment=None):
        """Trains, and is killed right before the checkpoint of step 12 appears; the one before it is of step 10."""
        fault = {"root": str(workdir), "at": ["rename checkpoints/N.orbax-checkpoint-tmp > checkpoints/N", 4]}
        status, _, said = self.run(
            *("tests/stress/faulty.py", "scripts/train.py", *ARGUMENTS, *CADENCE, "--workdir", workdir, *arguments),
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
def runs():
    """Starts scripts."""
    return Runs()


@pytest.fixture(scope="session")
def checkpoints_of():
    """Gives the digests of a workdir's checkpoints by their steps."""
    return digests


@pytest.fixture(scope="session")
def whole(runs, tmp_path_factory):
    """A run that met no fault: its workdir and its answer."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, runs.trained(workdir)[0]
