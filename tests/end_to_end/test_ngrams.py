"""Exact n-grams from training to texts typed in."""

import shutil

import numpy as np
import pytest

import lab10
from lab10.config.errors import UserError

NBSVM = ("imdb_nbsvm", "--data.name", "synthetic_reviews", "--steps", 60, "--data.length-buckets", 1)


@pytest.fixture(scope="session")
def nbsvm_run(scripts, made_once):
    """The workdir and the answer of a short run of NBSVM."""
    return made_once("nbsvm", lambda workdir: scripts.answer("train", *NBSVM, "--workdir", workdir))


def test_ngrams_learn_what_no_bag_of_words_can(nbsvm_run):
    assert nbsvm_run[1]["validation"]["accuracy"] > 0.9


def test_predictions_of_typed_texts_agree_with_the_evaluation(nbsvm_run):
    run = lab10.load(nbsvm_run[0])
    source = run.config.data.source("test")
    texts = [record["text"] for record in source.read(list(range(20)))]
    split = run.config.data.open_dataset().open_split("test")
    inputs = split.batch(np.arange(20))["inputs"]
    assert inputs.shape[-1] == 4
    typed = run.config.data.inputs(
        [run._ranks(text) for text in texts], inputs.shape[1], len(run._vocabulary), run._ngram_tables
    )
    np.testing.assert_array_equal(typed, inputs)
    assert (inputs[..., 3] > 0).any()
    assert [prediction["label"] for prediction in run.predict(texts)].count("pos") > 0


def test_a_run_with_the_ngrams_of_another_is_refused(nbsvm_run, tmp_path):
    workdir = shutil.copytree(nbsvm_run[0], tmp_path / "copy")
    np.savez(workdir / "ngrams.npz", np.array([7]), np.array([8]))
    with pytest.raises(UserError, match=r"ngrams\.npz belongs to another run"):
        lab10.load(workdir)
    (workdir / "ngrams.npz").write_bytes(b"PK no zip file")
    with pytest.raises(UserError, match=r"ngrams\.npz cannot be read"):
        lab10.load(workdir)
    (workdir / "ngrams.npz").unlink()
    with pytest.raises(UserError, match="Copy the whole workdir"):
        lab10.load(workdir)


def test_ngrams_need_an_id_for_unknown_words(scripts, tmp_path):
    message = scripts.refusal("train", *NBSVM, "--data.unknown-id", "None", "--workdir", tmp_path / "run")
    assert "--data.max-ngram is above 1 and --data.unknown-id is None" in message


def test_components_that_cannot_read_ngrams_are_refused(scripts, tmp_path):
    arguments = (*NBSVM, "--workdir", tmp_path / "run")
    assert "--data.max-ngram must be at least 2" in scripts.refusal("train", *arguments, "--data.max-ngram", 1)
    for model in ("bagofwords", "lstm", "bagofngrams"):
        assert "--data.max-ngram is 3; expected 1" in scripts.refusal("train", *arguments, "--model", model)
    refusal = scripts.refusal("train", *arguments, "--data.transform", "worddropout")
    assert "WordDropout replaces words alone" in refusal
    assert "--data.max-ngram is 3; expected 1" in refusal
    assert not (tmp_path / "run" / "config.json").exists()
