"""Runs that are killed, stopped or go wrong, and what they leave."""

import shlex
import shutil
import signal
import time

import pytest


def wait_for_checkpoint(process, workdir):
    while process.poll() is None and not any((workdir / "checkpoints").glob("[0-9]*")):
        time.sleep(0.05)
    assert process.poll() is None, "the run ended before it could be stopped"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_saves_and_says_how_to_go_on(scripts, tmp_path, number, status):
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
    assert shlex.split(command)[1:] == process.args[1:], "the command that goes on"
    assert "Traceback" not in said


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


def test_a_validation_loss_that_is_not_finite_is_never_saved(scripts, tmp_path):
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


def test_what_a_process_left_that_died_early_is_no_obstacle(scripts, tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".config.json.partial").write_text("{")
    scripts.answer("train", "mnist_pca", "--data.name", "mnist_sample", "--steps", 1, "--workdir", tmp_path)


def test_a_run_goes_on_for_longer_where_no_schedule_depends_on_its_length(
    scripts, linear_run, linear_arguments, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(linear_run[0], workdir)
    longer = [240 if argument == 200 else argument for argument in linear_arguments]
    assert scripts.answer("train", *longer, "--workdir", workdir)["step"] == 240
    with open(workdir / "evaluations.jsonl", "w") as file:
        file.write("anything beside a run is left alone")
    assert "--steps" in scripts.refusal("train", *linear_arguments, "--workdir", workdir)


def test_a_torn_line_in_the_log_of_evaluations_is_no_obstacle(scripts, linear_run, tmp_path):
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


def test_a_damaged_newest_checkpoint_is_noticed_and_the_one_before_it_used(
    scripts, linear_run, linear_arguments, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(linear_run[0], workdir)
    data = max((workdir / "checkpoints" / "200" / "eval_params").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    assert "200" in scripts.refusal("evaluate", workdir, "--checkpoint", "latest")
    _, _, said = scripts.call("train", *linear_arguments, "--workdir", workdir)
    assert "Resuming from step 160" in said
    assert (workdir / "metrics.jsonl").read_bytes() == (linear_run[0] / "metrics.jsonl").read_bytes()
