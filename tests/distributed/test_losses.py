"""Lost processes: the others end in bounded time, and any number of processes can resume the run."""

import json
import signal
import time

import pytest
from metrics_without_times import metrics_without_times

HEARTBEAT_SECONDS, AT_MOST_SECONDS = 4, 300
# Beyond the heartbeat's: a barrier that fails and an abort, on a machine that is busy.
GRACE_SECONDS = 20


def lasting(reviews_run):
    """A long run that saves often."""
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


# A stopped process stands for a host that is gone from the network: no connection of it is closed.
@pytest.mark.parametrize(
    ("count", "lost", "signal_number"),
    [
        (2, 1, signal.SIGKILL),
        pytest.param(2, 0, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(2, 1, signal.SIGSTOP, marks=pytest.mark.slow),
        pytest.param(2, 0, signal.SIGSTOP, marks=pytest.mark.stress),
        pytest.param(4, 2, signal.SIGKILL, marks=pytest.mark.stress),
    ],
)
def test_the_others_end_in_bounded_time_and_the_same_command_resumes(
    processes, reviews_run, tmp_path, count, lost, signal_number
):
    workdir = tmp_path / "run"
    with processes.started(count, *lasting(reviews_run), "--workdir", workdir) as started:
        wait_for_checkpoint(workdir)
        started[lost].send_signal(signal_number)
        gone = time.monotonic()
        others = processes.ended([process for number, process in enumerate(started) if number != lost])
    assert time.monotonic() - gone < HEARTBEAT_SECONDS + GRACE_SECONDS
    assert all(ended.status != 0 for ended in others), others
    saved = latest(workdir)
    with processes.started(1, *lasting(reviews_run), "--workdir", workdir) as started:
        wait_for_checkpoint(workdir, after=saved)
        started[0].terminate()
        (ended,) = processes.ended(started)
    assert ended.status == 143, ended.said
    assert f"Resuming from step {saved}" in ended.said
    assert "damaged" not in ended.said


@pytest.mark.stress
def test_a_run_of_four_processes_resumes_with_one_and_then_with_two(processes, reviews_run, alone, same_run, tmp_path):
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
    of_runs = [[line for line in metrics_without_times(path) if line["split"] == "train"] for path in (one, other)]
    for ours, theirs in zip(*of_runs, strict=True):
        assert ours.pop("split") == theirs.pop("split")
        assert ours == pytest.approx(theirs, rel=2e-5)


@pytest.mark.stress
def test_four_processes_give_the_result_of_one(processes, reviews_run, alone, same_run, tmp_path):
    workdir = tmp_path / "run"
    for ended in processes.run(4, *reviews_run, "--workdir", workdir):
        assert ended.status == 0, ended.said
    same_run(workdir, alone)


def test_a_signal_to_one_process_stops_all_at_the_same_step(processes, reviews_run, tmp_path):
    workdir = tmp_path / "run"
    with processes.started(2, *lasting(reviews_run), "--workdir", workdir) as started:
        wait_for_checkpoint(workdir)
        started[1].terminate()
        ends = processes.ended(started)
    assert [ended.status for ended in ends] == [143, 143], ends
    (said,) = {ended.answer["error"].splitlines()[0] for ended in ends}
    assert f"Stopped at step {latest(workdir)} of" in said
