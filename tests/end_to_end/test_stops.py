"""Runs that are killed, stopped or fail, and the files they leave."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import preloaded
import pytest
from metrics_without_times import metrics_without_times


def wait_for_checkpoint(process, workdir):
    while process.poll() is None and not any((workdir / "checkpoints").glob("[0-9]*")):
        time.sleep(0.05)
    assert process.poll() is None, "the run ended before it could be stopped"


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
        pytest.param(signal.SIGUSR1, 138, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR2, 140, marks=pytest.mark.slow),
        pytest.param(signal.SIGXCPU, 152, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_saves_and_says_how_to_resume(scripts, tmp_path, number, status):
    process = scripts.start(
        "train",
        "mnist_pca",
        "--data.name",
        "mnist_sample",
        "--steps",
        1_000_000,
        "--evaluate-every",
        20,
        "--workdir",
        tmp_path / "run",
        stderr=-1,
    )
    wait_for_checkpoint(process, tmp_path / "run")
    process.send_signal(number)
    said = process.communicate()[1].decode()
    assert process.returncode == status, said
    command = next(line for line in said.splitlines() if "scripts/train.py" in line)
    assert shlex.split(command)[1:] == process.args[1:], "the command that resumes"
    assert "Traceback" not in said


ROOT = Path(__file__).resolve().parents[2]
LONG = ("mnist_pca", "--data.name", "mnist_sample", "--steps", "1000000", "--evaluate-every", "20")


# Makes standard input the terminal that controls a process, which then runs a command.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.slow  # SIGHUP as such is above
def test_a_run_whose_terminal_is_lost_saves(tmp_path):
    ours, theirs = os.openpty()
    command = [sys.executable, "scripts/train.py", *LONG, "--workdir", str(tmp_path / "run")]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *command], cwd=ROOT, start_new_session=True, **streams
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    deadline = time.monotonic() + 120
    while not any((tmp_path / "run" / "checkpoints").glob("[0-9]*")):
        try:
            os.read(ours, 10_000)  # a terminal that nobody reads fills up
        except BlockingIOError:
            time.sleep(0.05)
        assert time.monotonic() < deadline
        assert process.poll() is None
    os.close(ours)
    assert process.wait(120) == 129


@pytest.mark.slow  # tests/training/test_signals.py keeps an ignored SIGHUP
def test_a_run_under_nohup_continues_after_sighup(tmp_path):
    process = subprocess.Popen(
        ["nohup", sys.executable, "scripts/train.py", *LONG, "--workdir", str(tmp_path / "run")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_for_checkpoint(process, tmp_path / "run")
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.terminate()
    assert b"To resume" in process.communicate()[1]
    assert process.returncode == 143


WAIT = """
import time
from lab10.cli.script import run_script

def main(arguments):
    print("ready", flush=True)
    time.sleep(60)

run_script(main)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGUSR1, 138), (signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_a_script_stopped_outside_training_exits_with_the_signal_number(number, status):
    process = preloaded.Popen([sys.executable, "-c", WAIT, "--json"], stdout=-1, stderr=-1)
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(number)
    out, said = process.communicate(timeout=30)
    assert process.returncode == status, said.decode()
    assert json.loads(out) == {"error": f"{signal.strsignal(number)}."}
    assert b"Traceback" not in said


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(scripts, tmp_path):
    arguments = (
        "mnist_pca",
        "--data.name",
        "mnist_sample",
        "--steps",
        60,
        "--checkpoint-every",
        1,
        "--optimizer",
        "sgd",
    )
    said = scripts.failure("train", *arguments, "--optimizer.learning-rate", 0.2, "--workdir", tmp_path / "run")
    assert "not finite at step" in said
    step = int(said.split("not finite at step ")[1].split(".")[0])
    saved = sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").glob("[0-9]*"))
    assert saved[-1] == step - 1


def test_a_checkpoint_with_a_nonfinite_validation_loss_is_not_saved(scripts, tmp_path):
    arguments = (
        "mnist_pca",
        "--data.name",
        "mnist_sample",
        "--steps",
        1,
        "--optimizer",
        "sgd",
        "--workdir",
        tmp_path / "run",
    )
    done = scripts.run("train", *arguments, "--optimizer.learning-rate", "1e30")
    said = done.stderr.decode()
    assert done.returncode == 1
    assert "validation loss is not finite at step 1" in said
    assert "Traceback" not in said
    assert not any((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


def test_leftovers_of_a_killed_process_are_no_obstacle(scripts, tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".config.json.partial").write_text("{")
    scripts.answer("train", "mnist_pca", "--data.name", "mnist_sample", "--steps", 1, "--workdir", tmp_path)


def test_a_run_is_extended_unless_its_schedule_depends_on_its_length(scripts, linear_run, linear_arguments, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(linear_run[0], workdir)
    longer = [240 if argument == 200 else argument for argument in linear_arguments]
    assert scripts.answer("train", *longer, "--workdir", workdir)["step"] == 240
    with open(workdir / "evaluations.jsonl", "w") as file:
        file.write("other files next to a run are kept")
    assert "--steps" in scripts.refusal("train", *linear_arguments, "--workdir", workdir)


def test_a_truncated_line_in_the_evaluation_log_is_no_obstacle(scripts, linear_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(linear_run[0], workdir)
    (workdir / "evaluations").mkdir(exist_ok=True)
    (workdir / "evaluations" / "log.jsonl").write_text('{"split": "test"}\n{"split": "te')
    assert [scripts.answer("evaluate", workdir)["read_count"] for _ in range(2)] == [2, 3]


def test_a_second_run_on_a_workdir_is_refused(scripts, tmp_path):
    arguments = (
        "mnist_pca",
        "--data.name",
        "mnist_sample",
        "--steps",
        1_000_000,
        "--evaluate-every",
        20,
        "--workdir",
        tmp_path / "run",
    )
    process = scripts.start("train", *arguments, stderr=-1)
    wait_for_checkpoint(process, tmp_path / "run")
    assert "Another process" in scripts.refusal("train", *arguments)
    process.kill()
    process.wait()


@pytest.mark.slow  # tests/training/test_checkpoints.py damages every file
def test_a_damaged_latest_checkpoint_is_skipped_for_the_previous_one(scripts, linear_run, linear_arguments, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(linear_run[0], workdir)
    data = max((workdir / "checkpoints" / "200" / "eval_params").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    assert "200" in scripts.refusal("evaluate", workdir, "--checkpoint", "latest")
    _, _, said = scripts.call("train", *linear_arguments, "--workdir", workdir)
    assert "Resuming from step 160" in said
    assert metrics_without_times(workdir) == metrics_without_times(linear_run[0])
