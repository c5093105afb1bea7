"""`lab10.runs`: a row for each run in a folder, whatever its state."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from any_input import mutated, mutated_bytes
from hypothesis import given
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.data.texts import TextDataset
from lab10.inspection import runs_table
from lab10.inspection.autoencoder_run import AutoencoderRun
from lab10.inspection.load import load
from lab10.inspection.runs_table import runs
from lab10.metrics.class_metrics import F1
from lab10.training.evaluation_log import record_evaluation
from lab10.training.json_lines import read_metrics
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir


@pytest.fixture(scope="module")
def folder(sample_experiment, made_once):
    """A folder with a run that was evaluated twice on test, and one of another model in a folder of a sweep."""

    def make(folder):
        train(RunWriter(sample_experiment(), Workdir(folder / "first")))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AutoencoderRun, "_extra_metrics", lambda *_: {"pca_reconstruction_error": 7.0})
            result = load(folder / "first").evaluate("test")
        record_evaluation(folder / "first", {"split": "validation", "loss": 0.0})
        record_evaluation(folder / "first", result)
        first = sample_experiment()
        other = dataclasses.replace(
            first, model=dataclasses.replace(first.model, latent_dim=3), seed=1, steps=None, epochs=1, log_every=7
        )
        train(RunWriter(other, Workdir(folder / "sweep" / "runs" / "trial0-seed1")))
        (folder / "sweep" / "logs").mkdir()
        return result

    return made_once("runs_table", make)


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the folder, to damage."""
    return shutil.copytree(folder[0], tmp_path / "runs")


def row_of(table, name):
    (row,) = [row for _, row in table.iterrows() if row.workdir.endswith(name)]
    return row


def test_a_row_has_the_results_and_the_fields_that_differ(folder):
    path, evaluated = folder
    table = runs(path)
    assert [workdir.removeprefix(f"{path}/") for workdir in table.workdir] == ["first", "sweep/runs/trial0-seed1"]
    assert list(table.columns) == [
        *("workdir", "step", "finished", "best_step", "validation_loss", "validation_reconstruction_error"),
        *("test_loss", "test_reconstruction_error", "test_pca_reconstruction_error"),
        *("test_examples", "test_step", "test_read_count"),
        *("model.latent_dim", "epochs", "steps", "seed", "problem"),
    ]
    first, second = (row for _, row in table.iterrows())
    assert (first.step, first.best_step, first.finished) == (20, 20, True)
    assert first.validation_loss == read_metrics(path / "first" / "metrics.jsonl")[-1]["loss"]
    assert (first.test_loss, first.test_examples, first.test_step) == (evaluated["loss"], 1000, 20)
    assert (first.test_read_count, first["model.latent_dim"], first.steps, first.seed) == (2, 2, 20, 0)
    assert (second.step, second["model.latent_dim"], second.epochs, second.seed) == (12, 3, 1, 1)
    assert second.finished
    assert pd.isna([first.epochs, second.test_loss, second.test_read_count, first.problem, second.problem]).all()
    dtypes = {"step": "Int64", "finished": "boolean", "epochs": "Int64", "validation_loss": "float64"}
    assert {name: str(table[name].dtype) for name in dtypes} == dtypes


def test_fields_of_one_part_are_next_to_each_other():
    paths = ["data", "model", "model.widths", "seed", "model.hidden_size"]
    assert runs_table._grouped_by_component(paths) == ["data", "model", "model.widths", "model.hidden_size", "seed"]


def test_all_fields_follow_those_that_differ(folder):
    columns = list(runs(folder[0], all_fields=True).columns)
    fields = columns[columns.index("test_read_count") + 1 : -1]
    assert fields[:5] == ["model.latent_dim", "epochs", "steps", "seed", "log_every"]
    assert {"batch_size", "data.name", "optimizer", "optimizer.learning_rate", "data.dir"} <= set(fields[5:])
    assert len(set(fields)) == len(fields)


def test_a_single_run_is_a_row_too(folder):
    assert list(runs(folder[0] / "first").step) == [20]


def test_an_empty_folder_gives_an_empty_table_and_a_missing_one_is_refused(tmp_path):
    table = runs(tmp_path)
    assert (len(table), list(table.columns)) == (0, ["workdir", "step", "finished", "best_step", "problem"])
    with pytest.raises(UserError, match=r"There is no folder .*missing; expected a folder of runs"):
        runs(tmp_path / "missing")


def test_an_unfinished_run_has_no_problem_entry(copy):
    config = json.loads((copy / "first" / "config.json").read_text())
    config["experiment"]["steps"] = 21
    (copy / "first" / "config.json").write_text(json.dumps(config))
    shutil.rmtree(copy / "sweep" / "runs" / "trial0-seed1" / "checkpoints")
    table = runs(copy)
    assert list(table.finished) == [False, False]
    assert pd.isna(row_of(table, "trial0-seed1").step)
    assert table.problem.isna().all()


def test_an_older_format_is_a_row_with_the_problem(copy):
    config = json.loads((copy / "first" / "config.json").read_text())
    (copy / "first" / "config.json").write_text(json.dumps(config | {"format": 1}))
    row = row_of(runs(copy), "first")
    assert "has the config format 1" in row.problem
    assert row.step == 20
    assert row.test_read_count == 2
    assert pd.isna(row_of(runs(copy), "trial0-seed1").problem)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 3}', None])
def test_a_damaged_config_is_a_row_with_the_problem(copy, content):
    path = copy / "first" / "config.json"
    path.unlink() if content is None else path.write_text(content)
    table = runs(copy)
    assert len(table) == 2
    assert "config.json" in row_of(table, "first").problem


def test_a_damaged_checkpoint_is_named_and_another_is_the_best(copy):
    (copy / "first" / "checkpoints" / "20" / "_CHECKPOINT_METADATA").write_text("{}")
    row = row_of(runs(copy), "first")
    assert "checkpoints/20 is damaged" in row.problem
    assert (row.step, row.best_step) == (20, 16)
    assert row.validation_loss > 0
    assert pd.isna(row.finished)


def test_a_checkpoint_of_another_format_is_named(copy):
    path = copy / "first" / "checkpoints" / "20" / "_CHECKPOINT_METADATA"
    metadata = json.loads(path.read_text())
    metadata["custom_metadata"] = {"format": 1}
    path.write_text(json.dumps(metadata))
    assert "has the checkpoint format 1" in row_of(runs(copy), "first").problem


def test_a_run_without_metrics_has_an_unknown_status(copy):
    (copy / "sweep" / "runs" / "trial0-seed1" / "metrics.jsonl").unlink()
    assert pd.isna(row_of(runs(copy), "trial0-seed1").finished)


@pytest.mark.slow  # tests/training/test_early_stopping.py
def test_early_stopping_finishes_a_run(sample_experiment, tmp_path):
    never_better = dataclasses.replace(sample_experiment().optimizer, learning_rate=0.0)
    train(RunWriter(sample_experiment(optimizer=never_better, patience=1, evaluate_every=2), Workdir(tmp_path / "a")))
    (row,) = (row for _, row in runs(tmp_path).iterrows())
    assert (row.step, row.finished) == (4, True)


@pytest.mark.slow  # tests/end_to_end/test_metrics.py monitors one
def test_a_run_chosen_by_a_metric_of_the_split_has_its_results(text_experiment, tmp_path):
    data = TextDataset(name="synthetic_reviews", max_length=20)
    experiment = text_experiment(
        data=data, metrics=(F1(),), monitor="f1", batch_size=500, steps=2, evaluate_every=1, steps_per_execution=1
    )
    train(RunWriter(experiment, Workdir(tmp_path / "by_f1")))
    row = runs(tmp_path).iloc[0]
    values = {line["step"]: line["f1"] for line in read_metrics(tmp_path / "by_f1" / "metrics.jsonl") if "f1" in line}
    assert len(values) == 2
    assert row.validation_f1 == max(values.values()) == values[row.best_step]
    assert pd.isna(row.problem)


def test_a_folder_that_cannot_be_read_is_a_row_with_the_problem(copy, monkeypatch):
    scandir = runs_table.os.scandir

    def refuse(folder):
        if str(folder).endswith("logs"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(runs_table.os, "scandir", refuse)
    table = runs(copy)
    assert len(table) == 3
    assert "logs cannot be read (Permission denied)" in row_of(table, "logs").problem


def test_links_are_followed_once(copy):
    (copy / "linked").symlink_to(copy / "sweep" / "runs" / "trial0-seed1")
    (copy / "loop").symlink_to(copy)
    (copy / "itself").symlink_to("itself")
    (copy / "first" / "elsewhere").symlink_to("/")
    table = runs(copy)
    assert sorted(workdir.split("/")[-1] for workdir in table.workdir) == ["first", "linked"]


def test_values_that_pandas_cannot_store_are_shown(copy):
    path = copy / "first" / "config.json"
    config = json.loads(path.read_text())
    config["experiment"]["data"]["name"] = "\ud800"
    config["experiment"]["data"]["shuffle_seed"] = 2**70
    path.write_text(json.dumps(config))
    row = row_of(runs(copy), "first")
    assert row["data.name"] == "\\ud800"
    assert row["data.shuffle_seed"] == 2**70


FILES = ("config.json", "metrics.jsonl", "evaluations/log.jsonl", "checkpoints/20/_CHECKPOINT_METADATA")


@pytest.fixture(scope="module")
def damaged(folder, tmp_path_factory):
    """A copy of the folder for many kinds of damage, each undone by the next."""
    return shutil.copytree(folder[0], tmp_path_factory.mktemp("damaged") / "runs")


@given(st.data())
def test_damaged_runs_still_have_a_row_each(folder, damaged, data):
    name = data.draw(st.sampled_from(FILES))
    content = (folder[0] / "first" / name).read_bytes()
    if data.draw(st.booleans()):
        changed_content = data.draw(mutated_bytes(content))
    else:
        lines = [data.draw(mutated(json.loads(line))) for line in [content] if name.endswith(("json", "METADATA"))]
        lines = lines or [data.draw(mutated(json.loads(line))) for line in content.splitlines()[-2:]]
        changed_content = "\n".join(map(json.dumps, lines)).encode()
    (damaged / "first" / name).write_bytes(changed_content)
    table = runs(damaged)
    (damaged / "first" / name).write_bytes(content)
    assert len(table) == 2
    assert str(table)


@pytest.mark.slow  # an interpreter of its own
def test_listing_runs_imports_neither_orbax_nor_matplotlib(folder):
    code = f"import lab10, sys; print(len(lab10.runs({str(folder[0])!r})), [n in sys.modules for n in {MODULES!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["2", "[False, False, False]\n"]


MODULES = ["orbax.checkpoint", "matplotlib", "tensorflow_datasets"]
