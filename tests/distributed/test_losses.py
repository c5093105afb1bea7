"""Processes that die: the others end in time, name them, and leave a run that goes on, with any number of processes."""

import json
import time

import pytest

HEARTBEAT_SECONDS, AT_MOST_SECONDS = 8, 300
# Beyond the heartbeat's: a poll, a barrier, an exit, all on a machine that is busy.
GRACE_SECONDS = 20


def lasting(reviews_run):
    """The run without an end, saved often."""
    watching = ("--checkpoint-every", 4, "--evaluate-every", 1000, "--log-every", 1000)
    return (*reviews_run, *watching, "--steps", 10**6, "--distributed.heartbeat-timeout-seconds", HEARTBEAT_SECONDS)


def latest(workdir):
    """The step of the latest checkpoint; 0 before the first."""
    return max((int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()), default=0)


def wait_for_checkpoint(workdir, after=0):
    deadline = time.monotonic() + AT_MOST_SECONDS
    while latest(workdir) <= after:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("count", "lost"), [(2, 1), *(pytest.param(*case, marks=pytest.mark.stress) for case in ((2, 0), (4, 2)))]
)
def test_a_process_that_is_killed_is_named_by_the_others_and_its_run_goes_on(
    processes, reviews_run, tmp_path, count, lost
):
    workdir = tmp_path / "run"
    with processes.started(count, *lasting(reviews_run), "--workdir", workdir) as started:
        wait_for_checkpoint(workdir)
        started[lost].kill()
        killed = time.monotonic()
        ends = processes.ended(started)
    assert time.monotonic() - killed < HEARTBEAT_SECONDS + GRACE_SECONDS
    for number, ended in enumerate(ends):
        if number != lost:
            assert ended.status == 1, ended.said
            assert f"Process {lost} (on " in ended.answer["error"]
            assert "is lost" in ended.answer["error"]
    saved = latest(workdir)
    with processes.started(1, *lasting(reviews_run), "--workdir", workdir) as started:
        wait_for_checkpoint(workdir, after=saved)
        started[0].terminate()
        (ended,) = processes.ended(started)
    assert ended.status == 143, ended.said
    assert f"Going on from step {saved}" in ended.said
    assert "damaged" not in ended.said


@pytest.mark.stress
def test_a_run_of_four_goes_on_with_one_and_then_with_two(processes, reviews_run, alone, same_run, tmp_path):
    workdir = tmp_path / "run"
    for count, steps, devices in ((4, 6, 1), (1, 13, 2), (2, 20, 2)):
        sharded = ("--mesh.shard-optimizer",) * (count > 1)
        arguments = (*reviews_run, "--checkpoint-every", 1, "--workdir", workdir, "--steps", steps, *sharded)
        for ended in processes.run(count, *arguments, devices=devices):
            assert ended.status == 0, ended.said
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    of_training = [line["step"] for line in lines if line["split"] == "train"]
    assert of_training == list(range(1, 21))
    same_lines_of_training(workdir, alone)


def same_lines_of_training(one, other):
    of_runs = [
        [
            line
            for line in map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
            if line["split"] == "train"
        ]
        for path in (one, other)
    ]
    for ours, theirs in zip(*of_runs, strict=True):
        assert ours.pop("split") == theirs.pop("split")
        assert ours == pytest.approx(theirs, rel=2e-5)


@pytest.mark.stress
def test_four_processes_give_what_one_gives(processes, reviews_run, alone, same_run, tmp_path):
    workdir = tmp_path / "run"
    for ended in processes.run(4, *reviews_run, "--workdir", workdir):
        assert ended.status == 0, ended.said
    same_run(workdir, alone)


def test_a_signal_to_one_stops_all_at_one_step(processes, reviews_run, tmp_path):
    workdir = tmp_path / "run"
    with processes.started(2, *lasting(reviews_run), "--workdir", workdir) as started:
        wait_for_checkpoint(workdir)
        started[1].terminate()
        ends = processes.ended(started)
    assert [ended.status for ended in ends] == [143, 143], ends
    (said,) = {ended.answer["error"].splitlines()[0] for ended in ends}
    assert f"Stopped at step {latest(workdir)} of" in said
