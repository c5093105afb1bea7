"""The real scripts as a user runs them, on the offline samples, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Scripts:
    """Runs scripts/NAME.py."""

    def __init__(self, environment):
        self.environment = environment

    def command(self, name, *arguments):
        return [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]

    def start(self, name, *arguments, **options):
        return subprocess.Popen(self.command(name, *arguments), cwd=ROOT, env=self.environment, **options)

    def run(self, name, *arguments, stdin=b""):
        return subprocess.run(
            self.command(name, *arguments), cwd=ROOT, env=self.environment, input=stdin, capture_output=True
        )

    def answer(self, name, *arguments, stdin=b""):
        """The JSON object that the script answers with."""
        done = self.run(name, *arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def refusal(self, name, *arguments, stdin=b""):
        """The message of a script that refuses a mistake, as the contract says."""
        done = self.run(name, *arguments, "--json", stdin=stdin)
        said = done.stderr.decode()
        assert done.returncode == 2, said
        assert "Traceback" not in said
        assert 0 < len(said.strip().splitlines()) <= 10
        assert json.loads(done.stdout).keys() == {"error"}
        return said


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    environment = {name: value for name, value in os.environ.items() if name != "TFDS_DATA_DIR"}
    environment |= {"LAB10_CACHE_DIR": str(tmp_path_factory.mktemp("cache")), "JAX_PLATFORMS": "cpu"}
    return Scripts(environment)


@pytest.fixture(scope="session")
def real_scripts(scripts):
    """The scripts with the real datasets."""
    folder = os.environ.get("TFDS_DATA_DIR", "")
    if not all((Path(folder) / name).is_dir() for name in ("mnist", "imdb_reviews")):
        pytest.skip("needs TFDS_DATA_DIR with mnist and imdb_reviews prepared")
    return Scripts(scripts.environment | {"TFDS_DATA_DIR": folder})


@pytest.fixture(scope="session")
def linear_run(scripts, tmp_path_factory):
    """The workdir and the answer of a short run of the linear autoencoder."""
    workdir = tmp_path_factory.mktemp("runs") / "linear"
    return workdir, scripts.answer("train", *LINEAR, "--workdir", workdir)


@pytest.fixture(scope="session")
def lstm_run(scripts, tmp_path_factory):
    """The workdir and the answer of a run of the LSTM, long enough to learn the grammar."""
    workdir = tmp_path_factory.mktemp("runs") / "lstm"
    return workdir, scripts.answer("train", *RECURRENT, "--workdir", workdir)


LINEAR = ("mnist_pca", "--data.name", "mnist_sample", "--steps", 200, "--evaluate-every", 80, "--log-every", 50)
RECURRENT = ("imdb_lstm", "--data.name", "synthetic_reviews", "--data.max-length", 48, "--epochs", 3)


@pytest.fixture
def linear_arguments():
    return LINEAR


@pytest.fixture
def recurrent_arguments():
    return RECURRENT
