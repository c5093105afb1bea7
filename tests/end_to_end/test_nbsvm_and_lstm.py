"""NBSVM and LSTMs from training to typed texts, to another run that starts from them, and to a report."""

import csv

import numpy as np
import pytest

import lab10
from lab10.inspection.report.report import write_report

DATA = ("--data.name", "synthetic_reviews", "--data.length-buckets", 1, "--data.max-length", 40)
DATA += ("--data.train-split", "train[:25%]", "--data.test-split", "test[:10%]")
SMALL = ("--model.hidden-size", 4, "--model.embedding-dim", 4, "--model.ngram-buckets", 64, "--model.num-lstms", 2)


@pytest.fixture(scope="session")
def ensemble_run(scripts, made_once):
    """The workdir and the answer of a short run."""
    arguments = ("imdb_nbsvm_lstm", *DATA, *SMALL, "--steps", 30)
    return made_once("nbsvm_lstm", lambda workdir: scripts.answer("train", *arguments, "--workdir", workdir))


@pytest.mark.slow  # tests/tasks/test_nbsvm_and_lstm_classification.py
def test_evaluations_have_the_accuracy_of_each_part(ensemble_run):
    workdir, answer = ensemble_run
    assert {"accuracy", "nbsvm_accuracy", "lstm_accuracy"} < answer["validation"].keys()
    result = lab10.load(workdir).evaluate("validation")
    with open(result["per_example"], newline="") as file:
        rows = list(csv.DictReader(file))
    for part in ("nbsvm", "lstm"):
        said = np.array([float(row[f"{part}_probabilities_pos"]) > 0.5 for row in rows])
        truth = np.array([int(row["label"]) == 1 for row in rows])
        assert np.mean(said == truth) == pytest.approx(result[f"{part}_accuracy"])


@pytest.mark.slow  # tests/models/test_nbsvm_and_lstm.py
def test_typed_texts_get_the_probability_of_the_combined_logits(ensemble_run):
    run = lab10.load(ensemble_run[0])
    texts = [record["text"] for record in run.config.data.source("test").read(list(range(8)))]
    evaluated = run.evaluate_examples("test")[1]["probabilities"][:8]
    typed = [list(prediction["probabilities"].values()) for prediction in run.predict(texts)]
    np.testing.assert_allclose(typed, evaluated, rtol=1e-4)


@pytest.mark.slow  # tests/training/test_init_from.py and tests/optim/test_parameter_groups.py
def test_another_run_starts_from_the_lstms(ensemble_run, scripts, tmp_path):
    start = ("--init-from", ensemble_run[0], "--init-only", "lstms/*", "--optimizer.freeze", "lstms/*")
    workdir = tmp_path / "run"
    scripts.answer("train", "imdb_nbsvm_lstm", *DATA, *SMALL, "--steps", 2, *start, "--workdir", workdir)
    before, after = (lab10.load(directory).params for directory in (ensemble_run[0], workdir))
    np.testing.assert_array_equal(before["lstms"]["dense"]["kernel"], after["lstms"]["dense"]["kernel"])
    assert not np.array_equal(before["nbsvm"]["weights"], after["nbsvm"]["weights"])


@pytest.mark.slow  # tests/report compares classifiers, and reads mistakes
def test_a_report_compares_the_accuracy_with_nbsvms_and_explains_mistakes(ensemble_run, scripts, tmp_path):
    nbsvm = tmp_path / "nbsvm"
    scripts.answer("train", "imdb_nbsvm", *DATA, "--steps", 30, "--workdir", nbsvm)
    result = write_report([str(ensemble_run[0]), str(nbsvm)], tmp_path / "report.html")
    (comparison,) = result["comparisons"]  # each loss is that of its own task
    assert comparison["metric"] == "accuracy"
    assert comparison["mcnemar"] is not None
    assert all(run["metrics"].keys() == {"accuracy"} for run in result["runs"])


def test_a_task_for_another_model_is_refused(scripts, tmp_path):
    arguments = ("imdb_nbsvm", *DATA, "--workdir", tmp_path / "run")
    message = scripts.refusal("train", *arguments, "--task", "nbsvmandlstmclassification")
    assert "The task NBSVMAndLSTMClassification needs a model that outputs NBSVMAndLSTMLogits" in message
