"""A disk without room for the next checkpoint: earlier ones are kept, the message says so, and the run resumes."""

import json
import os
import resource
import shutil
import subprocess

import pytest
from metrics_without_times import metrics_without_times

# Between the largest of the other files (a few kilobytes) and the arrays of a checkpoint (393 KiB each of two trees).
FILE_SIZE = 100_000
# Runs the script that follows under that limit.
LIMITED = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({FILE_SIZE}, {FILE_SIZE}))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def half(killed_run):
    """A run of which half is done."""
    for begun in (killed_run / "checkpoints").glob("*-tmp"):  # which would make room when it is cleared away
        shutil.rmtree(begun)
    return killed_run


def require_same(finished_run, workdir, answer, checkpoints_of):
    assert checkpoints_of(workdir) == checkpoints_of(finished_run[0])
    assert metrics_without_times(workdir) == metrics_without_times(finished_run[0])
    assert answer["best"] == finished_run[1]["best"]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on a file's size here")
def test_a_checkpoint_larger_than_a_file_may_be(runs, finished_run, half, checkpoints_of):
    """Orbax writes arrays in C++: the limit reaches it where no fault can be injected."""
    before = checkpoints_of(half)
    status, answer, said = runs.train_in_process(half, before=("-c", LIMITED))
    assert status == 1
    assert "The checkpoint of step 10" in said
    assert json.loads(answer).keys() == {"error"}
    assert checkpoints_of(half) == before
    require_same(finished_run, half, runs.train(half)[0], checkpoints_of)


@pytest.fixture
def full_disk(half, tmp_path):
    """A file system with the run and room for half a checkpoint more, and what it takes to enlarge it."""
    sizes = [path.stat().st_size for path in half.rglob("*") if path.is_file()]
    pages = sum(-(-size // 4096) for size in sizes) + 60
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not mounted(folder, f"size={4 * pages}k"):
        pytest.skip("needs the right to mount a tmpfs")
    shutil.copytree(half, folder / "run")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def mounted(folder, options):
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.stress
def test_a_full_file_system(runs, finished_run, half, checkpoints_of, full_disk):
    before = checkpoints_of(half)
    status, _, said = runs.train_in_process(full_disk / "run")
    assert status == 1
    assert "The checkpoint of step 10" in said
    assert checkpoints_of(full_disk / "run") == before
    assert mounted(full_disk, "remount,size=64m")
    require_same(finished_run, full_disk / "run", runs.train(full_disk / "run")[0], checkpoints_of)
