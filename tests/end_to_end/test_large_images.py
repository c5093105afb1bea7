"""Images too large for a matrix of all pairs of pixels: the time for exact PCA is bounded, and no result is lost."""

import json
import shutil
import signal

import pytest

from lab10.config.errors import Interrupted
from lab10.inspection import autoencoder_run
from lab10.inspection.load import load

DRAWS_FIGURES = True


@pytest.fixture
def run(linear_run, tmp_path):
    """The workdir of a run, to evaluate."""
    return shutil.copytree(linear_run[0], tmp_path / "run", ignore=shutil.ignore_patterns("evaluations"))


@pytest.fixture
def as_for_large_images(monkeypatch):
    """Fits these images as large ones are, without the cache of the tests."""
    from lab10.models import pca

    monkeypatch.setattr(pca, "MAX_MOMENTS_FEATURES", 100)
    monkeypatch.setattr(autoencoder_run, "MAX_MOMENTS_FEATURES", 100)
    monkeypatch.setattr(autoencoder_run, "fit_pca", pca.fit_pca)


@pytest.mark.slow  # tests/models/test_pca.py ties the ways to compute it
def test_exact_pca_of_large_images_gives_the_same_error(scripts, run, as_for_large_images, monkeypatch):
    monkeypatch.setattr(autoencoder_run, "CHUNK_PIXELS", 200 * 784)
    answer, _, said = scripts.call("evaluate", run)
    assert "exact PCA of images of 784 pixels" in said
    monkeypatch.undo()
    again = scripts.answer("evaluate", run)
    assert answer["pca_reconstruction_error"] == pytest.approx(again["pca_reconstruction_error"], rel=1e-4)


def test_exact_pca_that_takes_too_long_is_skipped_with_a_message(scripts, run, as_for_large_images, monkeypatch):
    monkeypatch.setattr(autoencoder_run, "MAX_PCA_SECONDS", 0.0)
    answer, text, said = scripts.call("evaluate", run)
    assert answer["pca_reconstruction_error"] is None
    assert answer["loss"] > 0
    assert "Exact PCA, the reference, is left out: it takes longer than 0 s" in said
    assert "pca_reconstruction_error: undefined" in text
    assert json.loads((run / "evaluations" / "test-1.json").read_text())["pca_reconstruction_error"] is None
    drawn = scripts.answer("reconstruct", run, "--indices", 1, 2)
    assert drawn["pca_reconstruction_error"] is None
    assert len(drawn["reconstruction_error"]) == 2
    scripts.answer("report", run)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted("Terminated.", signal.SIGTERM)])
def test_an_evaluation_stopped_during_pca_has_recorded_its_metrics(run, monkeypatch, capsys, stop):
    def stopped(*_, **__):
        raise stop

    monkeypatch.setattr(autoencoder_run, "fit_pca", stopped)
    with pytest.raises(type(stop)):
        load(run).evaluate("test")
    recorded = json.loads((run / "evaluations" / "test-1.json").read_text())
    assert recorded["loss"] > 0
    assert (run / "evaluations" / "test-1.csv").exists()
    assert str(recorded["loss"]) in capsys.readouterr().err


def test_a_complete_run_stopped_during_pca_reports_it(scripts, linear_arguments, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise Interrupted("Terminated.", signal.SIGTERM)

    monkeypatch.setattr(autoencoder_run, "fit_pca", stopped)
    with pytest.raises(Interrupted, match="The run is complete; only its figures are missing") as error:
        scripts.call("train", "mnist_pca", "--data.name", "mnist_sample", "--steps", 1, "--workdir", tmp_path / "run")
    assert "validation loss" in str(error.value)
    assert error.value.signal_number == signal.SIGTERM
