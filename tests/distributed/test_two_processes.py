"""Two processes of two devices each: the same run as one process, written once; and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import preloaded
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def together(processes, reviews_run, tmp_path_factory):
    """The workdir of the run in two processes, the optimizer's state in parts; and how they ended."""
    workdir = tmp_path_factory.mktemp("together") / "run"
    ends = processes.run(2, *reviews_run, "--workdir", workdir, "--mesh.shard-optimizer", devices=2)
    assert [ended.status for ended in ends] == [0, 0], ends
    return workdir, ends


def test_two_processes_give_the_result_of_one(together, alone, same_run):
    same_run(together[0], alone)


def test_one_process_writes_and_all_return_the_result(together, alone):
    workdir, ends = together
    files = {path.name for path in workdir.iterdir()}
    assert files == {path.name for path in alone.iterdir()}
    assert len(list((workdir / "tensorboard").iterdir())) == 1
    answers = [{name: value for name, value in ended.answer.items() if "seconds" not in name} for ended in ends]
    assert answers[0] == answers[1]
    assert "step 20/20" in ends[0].said
    assert "step" not in ends[1].said
    assert json.loads((workdir / "config.json").read_text())["provenance"][-1]["devices"] == 4


@pytest.mark.slow  # tests/distributed/test_losses.py resumes
def test_one_process_resumes_a_run_of_two(processes, reviews_run, alone, same_run, tmp_path):
    workdir = tmp_path / "run"
    ends = processes.run(2, *reviews_run, "--workdir", workdir, "--steps", 10)
    assert [ended.status for ended in ends] == [0, 0], ends
    (ended,) = processes.run(1, *reviews_run, "--workdir", workdir, devices=3)
    assert ended.status == 0, ended.said
    assert "Resuming from step 10" in ended.said
    same_run(workdir, alone)


def test_different_configs_are_refused_and_the_fields_named(processes, reviews_run, tmp_path):
    ends = processes.run(
        2, *reviews_run, "--workdir", tmp_path / "run", each=lambda number: ("--optimizer.learning-rate", 0.1 + number)
    )
    for ended in ends:
        assert ended.status == 2, ended.said
        assert (
            "Processes 0 and 1 of this run differ in --optimizer.learning-rate (0.1 and 1.1)." in ended.answer["error"]
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # test_leaving.py refuses in one process
def test_a_workdir_refused_by_one_process_is_refused_by_both(processes, reviews_run, alone, tmp_path):
    shutil.copytree(alone, tmp_path / "run")
    ends = processes.run(2, *reviews_run, "--workdir", tmp_path / "run", "--seed", 1)
    for ended in ends:
        assert ended.status == 2, ended.said
        assert "--seed" in ended.answer["error"]


def test_an_unreachable_coordinator_is_reported(processes, reviews_run, tmp_path):
    with processes.started(2, *reviews_run, "--distributed.connect-timeout-seconds", 2) as started:
        started[0].kill()
        _, ended = processes.ended(started)
    assert ended.status == 2, ended.said
    assert "could not be reached within 2 s" in ended.answer["error"]
    assert len(ended.answer["error"].splitlines()) <= 10
    assert "Traceback" not in ended.said


@pytest.fixture
def alone_in_a_step(processes, reviews_run, tmp_path):
    """Starts one of four tasks of a Slurm step, of which the others never come."""

    def start(*arguments, task=0):
        slurm = {"SLURM_JOB_ID": str(4000 + os.getpid() % 4000), "SLURM_STEP_NODELIST": "localhost"}
        slurm |= {"SLURM_NTASKS": "4", "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)}
        command = [sys.executable, "scripts/train.py", *map(str, (*reviews_run, *arguments, "--json"))]
        command += ["--workdir", str(tmp_path / "run")]
        return preloaded.Popen(
            command, cwd=ROOT, env=processes.environment | slurm, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return start


@pytest.mark.slow  # test_an_unreachable_coordinator_is_reported
@pytest.mark.parametrize("task", [0, 1])
def test_a_process_whose_peers_never_start_reports_it(alone_in_a_step, task):
    process, began = alone_in_a_step("--distributed.connect-timeout-seconds", 4, task=task), time.monotonic()
    out, said = (stream.decode() for stream in process.communicate(timeout=60))
    assert time.monotonic() - began < 30
    assert process.returncode == 2, said
    assert "Not all processes of this run have connected within 4 s" in json.loads(out)["error"]
    assert said.count("According to Slurm (SLURM_NTASKS=4), this is one of several") == 2, "while it waits, and after"
    assert "--distributed.detect False and its own --workdir" in said
    assert len(said.splitlines()) <= 10
    assert "Traceback" not in said
    assert "Check failure" not in said


@pytest.mark.slow  # test_losses.py stops processes
def test_a_process_that_waits_for_others_can_be_stopped(alone_in_a_step):
    process = alone_in_a_step()
    said = process.stderr.readline()  # of what it waits for
    assert b"According to Slurm" in said
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)
    assert process.returncode == 143, said
    assert json.loads(out)["error"].startswith("Terminated. To resume")
    assert b"Traceback" not in said


@pytest.mark.slow  # test_an_unreachable_coordinator_is_reported waits, too
def test_the_coordinator_stops_waiting_for_missing_processes(processes, reviews_run, tmp_path):
    with processes.started(2, *reviews_run, "--distributed.connect-timeout-seconds", 2) as started:
        started[1].kill()
        ended, _ = processes.ended(started)
    assert ended.status == 2, ended.said
    assert "Not all processes of this run have connected within 2 s" in ended.answer["error"]
    assert "processes, " not in ended.said  # which is said once all are there
