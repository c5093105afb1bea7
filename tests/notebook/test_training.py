"""`lab10.train`: what it returns, resumes and refuses."""

import dataclasses
import inspect
import shutil
import signal
import threading

import numpy as np
import pytest
from metrics_without_times import metrics_without_times

import lab10
from lab10.config.errors import Interrupted, UserError
from lab10.inspection.autoencoder_run import AutoencoderRun
from lab10.training.run_writer import RunWriter
from lab10.training.signals import StopRequest

PAGE = """
from lab10.config.experiment import Experiment
from lab10.data.images import ImageDataset
from lab10.models.autoencoder import MLPAutoencoder
from lab10.optim.optimizers import Adam
from lab10.tasks.reconstruction import Reconstruction

experiment = Experiment(
    data=ImageDataset(name="mnist_sample"),
    model=MLPAutoencoder(latent_dim=2),
    task=Reconstruction(),
    optimizer=Adam(),
    batch_size=300,
    steps=1,
)
"""


@pytest.fixture(scope="module")
def trained(sample_experiment, tmp_path_factory):
    """A workdir, and the run that `lab10.train` returned."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    return workdir, lab10.train(sample_experiment(), workdir)


def test_it_returns_the_run_that_load_returns(trained):
    workdir, run = trained
    loaded = lab10.load(workdir)
    assert isinstance(run, AutoencoderRun)
    assert run.config == loaded.config
    assert run.step == loaded.step == 20
    pixels = np.linspace(0, 1, 2 * 784, dtype=np.float32).reshape(2, 784)
    np.testing.assert_array_equal(run.reconstruct(pixels), loaded.reconstruct(pixels))
    assert {"history.png", "reconstructions.png"} <= {path.name for path in workdir.iterdir()}


def test_a_complete_run_is_only_restored(trained, sample_experiment):
    workdir, run = trained
    before = (workdir / "metrics.jsonl").read_bytes(), sorted((workdir / "checkpoints").iterdir())
    assert lab10.train(sample_experiment(), str(workdir)).step == run.step
    assert ((workdir / "metrics.jsonl").read_bytes(), sorted((workdir / "checkpoints").iterdir())) == before


def test_a_stopped_run_is_saved_and_the_next_call_resumes_it(trained, sample_experiment, tmp_path, monkeypatch):
    log_train = RunWriter.log_train

    def stop_once(self, step, throughput):
        log_train(self, step, throughput)
        if step == 5:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "log_train", stop_once)
        with pytest.raises(Interrupted, match=r"Stopped at step \d+ of 20; saved\. Call lab10\.train again to resume"):
            lab10.train(sample_experiment(), tmp_path / "run")
    assert any((tmp_path / "run" / "checkpoints").iterdir())
    assert (tmp_path / "run" / "history.png").exists()
    assert lab10.train(sample_experiment(), tmp_path / "run").step == 20
    assert metrics_without_times(tmp_path / "run") == metrics_without_times(trained[0])


@pytest.mark.slow  # tests/training/test_workdir.py refuses it
def test_another_experiment_is_refused_and_changes_nothing(trained, sample_experiment, tmp_path):
    workdir = shutil.copytree(trained[0], tmp_path / "run")
    (workdir / "history.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"--seed: 0 → 1"):
        lab10.train(dataclasses.replace(sample_experiment(), seed=1), workdir)
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()} == before


def test_an_experiment_is_found_by_name_or_path(tmp_path):
    pytest.importorskip("mlxtend")
    (tmp_path / "mine.py").write_text(PAGE)
    assert lab10.train(str(tmp_path / "mine.py"), tmp_path / "run").config == lab10.experiment(tmp_path / "mine.py")
    assert lab10.experiment("mnist_pca").model.latent_dim == 64


def test_a_value_that_is_not_an_experiment_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"did you mean 'mnist_pca'"):
        lab10.train("mnist_pcs", tmp_path / "run")
    with pytest.raises(UserError, match=r"Cannot train a value of type dict; expected an Experiment"):
        inspect.unwrap(lab10.train)({}, tmp_path / "run")  # without the type check of the tests
    assert not (tmp_path / "run").exists()


def test_a_notebook_shows_mistakes_without_a_traceback():
    assert UserError("There is no run.")._render_traceback_() == ["UserError: There is no run."]
    assert Interrupted("Stopped.", signal.SIGINT)._render_traceback_() == ["Interrupted: Stopped."]


def test_a_thread_trains_without_handling_signals():
    handlers, requests = [], []

    def in_thread():
        with StopRequest() as stop:
            handlers.append(signal.getsignal(signal.SIGINT))
            requests.append(stop.signal_number)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert handlers == [before]
    assert requests == [None]


def test_the_names_of_the_package_are_completed():
    assert {"experiment", "load", "runs", "train"} <= set(dir(lab10))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        lab10.trian  # noqa: B018
