"""A language model from training to a classifier that starts from it."""

import numpy as np
import pytest

import lab10

SAMPLE = ("--data.name", "synthetic_reviews", "--data.max-length", 20, "--data.num-words", 300, "--steps", 20)
SMALL = (
    "--model.hidden-size",
    8,
    "--model.embedding-dim",
    6,
    "--data.length-buckets",
    1,
    "--batch-size",
    32,
    "--optimizer.learning-rate",
    0.02,
    "--optimizer.schedule.warmup-steps",
    0,
    "--model.dtype",
    "float32",
)
SPLITS = ("--data.train-split", "train[:40%]", "--data.extra-train-split", "train[40%:60%]")


@pytest.fixture(scope="session")
def language_model_run(scripts, made_once):
    """The workdir and the answer of a short run of a language model."""
    arguments = ("imdb_language_model", *SAMPLE, *SMALL, *SPLITS)
    return made_once("language_model", lambda workdir: scripts.answer("train", *arguments, "--workdir", workdir))


@pytest.mark.slow  # tests/models/test_language_model.py and tests/tasks/test_language_modeling.py
def test_it_learns_and_reports_its_perplexity(language_model_run, scripts):
    workdir, answer = language_model_run
    assert answer["validation"]["loss"] < 0.95 * np.log(300)
    evaluation = scripts.answer("evaluate", workdir)
    assert 1 < evaluation["perplexity"] < 300
    per_example = np.genfromtxt(evaluation["per_example"], delimiter=",", names=True)
    expected = np.exp(per_example["nats"].sum() / per_example["words"].sum())
    assert evaluation["perplexity"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow  # needs a trained run
def test_its_validation_texts_are_those_of_the_classifier(language_model_run):
    run = lab10.load(language_model_run[0])
    data = run.config.data
    rows = data.open_dataset().open_split("validation").rows
    classifier = type(data)(name=data.name, train_split=data.train_split, max_length=None)
    np.testing.assert_array_equal(rows, classifier.open_dataset().open_split("validation").rows)
    train = data.open_dataset().open_split("train").rows
    assert len(train) + len(rows) == 4800
    assert not set(rows) & set(train)
    assert set(range(3200, 4800)) <= set(train)


@pytest.mark.slow  # tests/models/test_language_model.py finds the same parameters in both
def test_a_classifier_starts_from_it(language_model_run, scripts, tmp_path):
    start = ("--init-from", language_model_run[0], "--data.vocabulary-from", language_model_run[0])
    train = ("--data.train-split", "train[:40%]")
    workdir = tmp_path / "classifier"
    said = scripts.call("train", "imdb_lstm_pretrained", *SAMPLE, *SMALL, *train, *start, "--workdir", workdir)[2]
    assert "7 of 9 parameters" in said
    assert lab10.load(workdir).predict("good")[0]["label"] in ("neg", "pos")


@pytest.mark.slow  # needs a trained run
def test_it_cannot_classify(language_model_run, scripts):
    assert "cannot classify texts: it is a LanguageModel" in scripts.refusal("predict", language_model_run[0], "good")


def test_rows_to_train_on_twice_are_refused(scripts, tmp_path):
    arguments = ("imdb_language_model", *SAMPLE, *SMALL, "--workdir", tmp_path / "run")
    message = scripts.refusal("train", *arguments, "--data.extra-train-split", "train[:10%]")
    assert "contains rows twice" in message
    assert "with --data.train-split and --data.extra-train-split" in scripts.refusal("train", *arguments)
