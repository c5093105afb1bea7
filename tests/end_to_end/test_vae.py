"""A variational autoencoder from training to plots and the likelihood of images."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import lab10
from lab10.data.images import ImageSpec
from lab10.inspection import vae_run
from lab10.inspection.autoencoder_run import AutoencoderRun
from lab10.inspection.vae_run import VAERun

DRAWS_FIGURES = True
SMALL = (
    *("mnist_vae", "--data.name", "mnist_sample", "--steps", 60),
    *("--model.encoder-widths", 20, "--model.decoder-widths", 20, "--model.latent-dim", 3, "--log-every", 20),
)


@pytest.fixture(scope="module")
def vae(scripts, made_once):
    """The workdir and the answer of a short run of a small VAE."""
    return made_once("vae", lambda workdir: scripts.answer("train", *SMALL, "--workdir", workdir))


@pytest.fixture
def run(vae, tmp_path):
    """The run, restored from a copy that may be written."""
    return lab10.load(shutil.copytree(vae[0], tmp_path / "run"))


def test_the_vae_logs_its_terms_and_draws_images(vae):
    workdir, answer = vae
    assert list(answer["validation"]) == ["loss", "reconstruction_loss", "kl_divergence"]
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        np.testing.assert_allclose(line["loss"], line["reconstruction_loss"] + line["kl_divergence"], rtol=1e-5)
    assert lines[-1]["loss"] < lines[0]["loss"]
    for name in ("samples", "latent_grid", "reconstructions"):
        with Image.open(workdir / f"{name}.png") as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 20, name


def test_encode_is_the_mean_and_decode_gives_probabilities(run):
    assert isinstance(run, VAERun)
    images = run.images("validation", [0, 1, 2])
    assert set(np.unique(images)) == {0.0, 1.0}, "binarized"
    np.testing.assert_array_equal(images[1], run.images("validation", [1])[0])
    latents = run.encode(images)
    assert latents.shape == (3, 3)
    probabilities = run.decode(latents)
    assert 0 < probabilities.min() < probabilities.max() < 1
    np.testing.assert_allclose(run.reconstruct(images), probabilities, rtol=1e-5)
    samples = run.sample(4, seed=1)
    assert samples.shape == (4, 784)
    assert np.any(samples != run.sample(4, seed=2))


@pytest.mark.slow  # tests/inspection/test_likelihood.py
def test_the_bound_is_below_the_elbo_and_is_evaluated_with_it(run, monkeypatch):
    monkeypatch.setattr(vae_run, "EVALUATION_SAMPLES", 20)
    evaluated = run.evaluate("validation")
    assert evaluated["importance_weighted_bound_20"] < evaluated["loss"]
    assert "pca_reconstruction_error" not in evaluated
    bound = run.importance_weighted_bound("validation", k=20)
    assert bound["importance_weighted_bound"] == evaluated["importance_weighted_bound_20"]
    assert (bound["examples"], bound["samples"], bound["read_count"]) == (evaluated["examples"], 20, 2)
    rows = np.genfromtxt(bound["per_example"], delimiter=",", names=True)
    values = rows["importance_weighted_bound"]
    np.testing.assert_allclose(values.mean(), bound["importance_weighted_bound"])
    np.testing.assert_allclose(values.std(ddof=1) / np.sqrt(len(values)), bound["standard_error"])
    first = run.importance_weighted_bound("validation", k=20, count=7)
    np.testing.assert_allclose(first["importance_weighted_bound"], values[:7].mean(), rtol=1e-6)


@pytest.mark.slow
def test_the_script_prints_the_bound_and_refuses_other_models(scripts, run, linear_run):
    directory = run._workdir.path
    answer, text, _ = scripts.call("likelihood", directory, "--samples", 3, "--images", 5, "--split", "validation")
    assert (answer["samples"], answer["examples"]) == (3, 5)
    assert f"at most {answer['importance_weighted_bound']:.2f} nats" in text
    assert "expected 2 to 1000 images" in scripts.refusal("likelihood", directory, "--images", 1001)
    assert "at least one sample" in scripts.refusal("likelihood", directory, "--samples", 0)
    assert "cannot estimate the likelihood of images" in scripts.refusal("likelihood", linear_run[0])


def test_an_own_run_class_is_preferred(vae):
    asked = []

    class OwnRun(AutoencoderRun):
        @staticmethod
        def supports(experiment, spec):
            asked.append(spec)
            return len(asked) == 1

    assert type(lab10.load(vae[0])) is OwnRun
    assert type(lab10.load(vae[0])) is VAERun
    assert isinstance(asked[0], ImageSpec)
