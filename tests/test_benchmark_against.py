"""The comparison with another revision, on a repository whose training command leaves events of known times."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import against
from lab10.config.errors import RunError, UserError

ROOT = Path(__file__).resolve().parents[1]
WORKLOAD = against.Workload("mnist_sample", batch_size=2, log_every=1, num_lines=5)

# Stands for scripts/train.py: notes which tree it is of, and leaves the events that lie there.
FAKE_TRAIN = """
import os, pathlib, shutil, sys
tree = pathlib.Path(__file__).resolve().parents[1]
assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(tree)
with open({turns!r}, "a") as turns:
    turns.write((tree / "side").read_text())
if (tree / "side").read_text() == "x":
    sys.exit("this tree cannot train")
workdir = pathlib.Path(sys.argv[sys.argv.index("--workdir") + 1])
shutil.copy(tree / "events", workdir / "events.out.tfevents.1")
"""


def write_events(path, wall_times):
    from tensorboardX import summary
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter

    records = RecordWriter(str(path))
    records.write(Event(wall_time=0, file_version="brain.Event:2").SerializeToString())
    for step, wall_time in enumerate(wall_times, start=1):
        for name in ("train/loss", "train/accuracy"):
            event = Event(wall_time=wall_time, step=step, summary=summary.scalar(name, 1.0))
            records.write(event.SerializeToString())
    evaluated = Event(wall_time=1e9, step=len(wall_times), summary=summary.scalar("validation/loss", 1.0))
    records.write(evaluated.SerializeToString())
    records.close()


def git(root, *arguments):
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    return subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose commit takes 4 s a step and working tree 3 s, after a first line that takes much longer."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    root = tmp_path / "repository"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "train.py").write_text(FAKE_TRAIN.format(turns=str(tmp_path / "turns")))
    (root / "side").write_text("b")
    write_events(root / "events", [100.0, 150.0, 154.0, 158.0, 162.0])
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "--message", "before")
    (root / "side").write_text("n")
    write_events(root / "events", [100.0, 170.0, 173.0, 176.0, 179.0])
    yield root
    assert len(git(root, "worktree", "list").splitlines()) == 1
    assert not list(temporary.iterdir())


def test_sides_take_turns_and_only_steps_after_the_warm_up_count(repository):
    result = against.compare(repository, "HEAD", 3, {"mnist_pca": WORKLOAD})
    assert (repository.parent / "turns").read_text() == "bn" + "bn" + "nb" + "bn"
    assert result["before"] == {"revision": "HEAD", "commit": git(repository, "rev-parse", "HEAD").strip()}
    assert result["now"]["changed"] is True
    (row,) = result["tasks"]
    assert [pair["first"] for pair in row["raw_pairs"]] == ["before", "now", "before"]
    assert {(pair["before"], pair["now"]) for pair in row["raw_pairs"]} == {(4.0, 3.0)}
    assert row["ratio"] == {"median": 0.75, "lowest": 0.75, "highest": 0.75}
    assert "| mnist_pca | 3 | 4,000,000 | 3,000,000 | 0.750 (0.750 to 0.750) |" in against.markdown(result)


def test_the_interval_is_that_of_students_t():
    # Logarithms -1 and 1: their mean has a standard error of 1, and t of one degree of freedom is 12.706.
    summary = against.summary([{"before": 1.0, "now": 2.718281828}, {"before": 2.718281828, "now": 1.0}])
    assert summary["mean_ratio"]["mean"] == pytest.approx(1)
    assert summary["mean_ratio"]["high"] == pytest.approx(2.718281828**12.7062, rel=1e-4)
    assert summary["mean_ratio"]["low"] * summary["mean_ratio"]["high"] == pytest.approx(1)
    assert summary["pairs"] == 2


def test_the_error_of_a_failing_run_is_reported(repository):
    (repository / "side").write_text("x")
    with pytest.raises(RunError, match=r"mnist_pca in .* ended with status 1:\nthis tree cannot train"):
        against.compare(repository, "HEAD", 2, {"mnist_pca": WORKLOAD})


def test_a_run_without_enough_lines_is_refused(repository):
    write_events(repository / "events", [100.0, 150.0])
    with pytest.raises(RunError, match="fewer than 3 points of train/loss"):
        against.compare(repository, "HEAD", 2, {"mnist_pca": WORKLOAD})


def test_an_interrupt_leaves_no_worktree(repository, monkeypatch):
    def interrupted(tree, *_):
        assert (tree / "side").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(against, "time_a_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        against.compare(repository, "HEAD", 2, {"mnist_pca": WORKLOAD})


def test_an_unknown_revision_is_refused(repository):
    for revision in ("no-such-branch", "", "HEAD:side"):
        with pytest.raises(
            UserError, match=r"has no such revision. Expected a branch, a tag or a commit(.|\n)*git log"
        ):
            against.compare(repository, revision, 2, {"mnist_pca": WORKLOAD})


def test_outside_a_git_checkout_it_is_refused(repository, tmp_path):
    for folder in (tmp_path, repository / "scripts"):
        with pytest.raises(UserError, match=r"is not a git checkout(.|\n)*Clone it with git"):
            against.compare(folder, "HEAD", 2, {"mnist_pca": WORKLOAD})


def test_a_missing_git_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="Install git"):
        against.compare(tmp_path, "HEAD", 2, {"mnist_pca": WORKLOAD})


def test_arguments_that_do_not_fit_are_refused(scripts):
    assert "'mnist' (choose from" in scripts.refusal("benchmark", "--against", "HEAD", "--task", "mnist")
    assert "expected at least 2" in scripts.refusal("benchmark", "--against=HEAD", "--pairs", "1")
    assert "expected one argument" in scripts.refusal("benchmark", "--against")


@pytest.mark.slow
def test_head_against_itself(scripts, monkeypatch):
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    monkeypatch.setitem(against.TASKS, "mnist_pca", WORKLOAD)
    before = git(ROOT, "worktree", "list")
    result = scripts.answer("benchmark", "--against", "HEAD", "--pairs", "2", "--task", "mnist_pca")
    (row,) = result["tasks"]
    assert (row["task"], row["pairs"], len(row["raw_pairs"])) == ("mnist_pca", 2, 2)
    assert row["mean_ratio"]["low"] < row["mean_ratio"]["mean"] < row["mean_ratio"]["high"]
    assert git(ROOT, "worktree", "list") == before
