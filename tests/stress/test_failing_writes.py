"""A write of Python code that fails, each in turn: the run reports it, loses no checkpoint, and resumes."""

import collections
import concurrent.futures
import json
import os
import sys
import time
from pathlib import Path

import preloaded
import pytest

ROOT = Path(__file__).resolve().parents[2]
DRAWS_FIGURES = True
SEED = int(os.environ.get("LAB10_STRESS_SEED", "0"))
TASKS = {
    "images": ("mnist_autoencoder_lab", "--data.name", "mnist_sample"),
    "texts": ("imdb_lstm", "--data.name", "synthetic_reviews", "--data.max-length", 16, "--model.hidden-size", 8),
}


def failing(folder, task, errors, most):
    """The results of runs with one fault each, and the number of writes of a run."""
    asked = {"folder": str(folder), "arguments": TASKS[task], "errors": errors, "most": most, "seed": SEED}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support")))}
    program = [sys.executable, str(Path(__file__).with_name("failing_writes.py")), json.dumps(asked)]
    done = preloaded.run(program, cwd=ROOT, env=environment, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, *faults = map(json.loads, done.stdout.splitlines())
    return first, faults


def require_all_well(faults):
    for fault in faults:
        assert fault["ended"] in ("finished", "RunError", "UserError"), fault
        assert fault["ended"] == "finished" or len(fault["message"].splitlines()) <= 10, fault
        assert fault["kept"], fault
        assert fault["differs"] is None, fault


@pytest.mark.parametrize("count", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_a_run_survives_a_few_failing_writes(tmp_path, count):
    _, faults = failing(tmp_path, "images", ["ENOSPC", "EIO"], count)
    assert len(faults) == count
    assert any(fault["ended"] == "RunError" for fault in faults)
    require_all_well(faults)


@pytest.mark.stress
def test_a_run_survives_any_failing_write(tmp_path, capsys):
    def fail(task):
        began = time.monotonic()
        first, faults = failing(tmp_path / task, task, ["ENOSPC", "EIO"], None)
        with capsys.disabled():
            print(
                f"\n{task}: {len(faults)} faults at {first['distinct']} named writes: "
                f"{dict(collections.Counter(fault['ended'] for fault in faults))}; {time.monotonic() - began:.0f} s"
            )
        return faults

    for task in TASKS:
        (tmp_path / task).mkdir()
    with concurrent.futures.ThreadPoolExecutor(len(TASKS)) as pool:
        for faults in pool.map(fail, TASKS):
            require_all_well(faults)
