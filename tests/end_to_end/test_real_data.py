"""The real datasets, if TFDS_DATA_DIR has them: known facts about them, and short runs."""

import collections

import numpy as np
import pytest
from scripts_runner import Scripts

from lab10.data.images import ImageDataset
from lab10.data.sources import open_source
from lab10.data.texts import TextDataset
from lab10.data.tokenizer import split_words
from lab10.models.pca import fit_pca

# The text that the lab prints, x_train[[5]]; ids as printed there.
LAB_REVIEW = (
    "1 778 128 74 12 630 163 15 4 1766 7982 1051 2 32 85 156 45 40 148 139 121 664 665 10 10 "
    "1361 173 4 749 2 16 3804 8 4 226 65 12 43 127 24 2 10 10"
)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real_scripts(real_data):
    return Scripts(TFDS_DATA_DIR=real_data)


@pytest.fixture(scope="module")
def directories(real_data, cache_dir):
    return {"dir": real_data, "cache_dir": str(cache_dir)}


@pytest.fixture(scope="module")
def texts(directories):
    return TextDataset(name="imdb_reviews", **directories)


def test_the_vocabulary_is_that_of_keras(texts):
    opened = texts.open_dataset()
    assert len(opened.vocabulary) == 88_584
    assert opened.vocabulary[:2] == [b"the", b"and"]
    assert opened.vocabulary[10 - 4] == b"br"
    assert opened.spec.num_ids == 10_000


def test_the_number_of_texts_of_at_most_250_ids_is_known(texts):
    opened = texts.open_dataset()
    assert len(opened.open_split("train")) + len(opened.open_split("validation")) == 17_172
    assert len(opened.open_split("test")) == 17_522


def test_the_labs_printed_text_has_the_printed_ids_except_where_counts_tie(texts):
    opened = texts.open_dataset()
    printed = [int(word) for word in LAB_REVIEW.split()]
    found = None
    for name in ("train", "validation"):
        split = opened.open_split(name)
        for start in range(0, len(split), 1000):
            for row in split.batch(np.arange(start, min(start + 1000, len(split))))["inputs"]:
                ids = row[row != 0]
                if len(ids) == len(printed) and abs(ids - printed).max() <= 100:
                    found = ids
    assert found is not None
    differing = [(ours, theirs) for ours, theirs in zip(found.tolist(), printed, strict=True) if ours != theirs]
    # Words of equal count may stand in any order: the id of ours and the lab's then belong to the same count.
    counts = collections.Counter(
        word
        for records in open_source("imdb_reviews", "train", texts.dir).chunks()
        for r in records
        for word in split_words(r["text"])
    )
    count_of = [counts[word] for word in opened.vocabulary]
    assert all(count_of[ours - 4] == count_of[theirs - 4] for ours, theirs in differing)
    assert len(differing) <= 5


def test_exact_pca_of_mnist_has_the_known_errors(directories):
    opened = ImageDataset(name="mnist", **directories).open_dataset()

    def pixels(name):
        split = opened.open_split(name)
        return [
            split.batch(np.arange(start, min(start + 6000, len(split))))["inputs"] / 255.0
            for start in range(0, len(split), 6000)
        ]

    train, test = pixels("train") + pixels("validation"), pixels("test")
    for latent, centered, expected in ((64, False, 7.0974), (64, True, 7.0927), (30, True, 13.8663)):
        pca = fit_pca(train, latent, center=centered)
        assert np.mean(np.concatenate([pca.errors(chunk) for chunk in test])) == pytest.approx(expected, abs=5e-5)


def test_an_epoch_of_the_linear_autoencoder_reaches_the_labs_error(real_scripts, tmp_path):
    real_scripts.answer("train", "mnist_pca", "--workdir", tmp_path / "run")
    answer = real_scripts.answer("evaluate", tmp_path / "run")
    assert answer["reconstruction_error"] <= 8.8
    assert answer["pca_reconstruction_error"] == pytest.approx(7.0974, abs=5e-5)


def test_two_epochs_of_the_bag_of_words_learn_sentiment(real_scripts, tmp_path):
    real_scripts.answer("train", "imdb_bag_of_words", "--epochs", 2, "--workdir", tmp_path / "run")
    assert real_scripts.answer("evaluate", tmp_path / "run")["accuracy"] >= 0.86
    label = [
        p["label"]
        for p in real_scripts.answer(
            "predict", tmp_path / "run", "a wonderful, moving film", "the worst, dull waste of time"
        )["predictions"]
    ]
    assert label == ["pos", "neg"]


def test_an_lstm_learns_from_real_texts(real_scripts, tmp_path):
    answer = real_scripts.answer("train", "imdb_lstm", "--steps", 300, "--workdir", tmp_path / "run")
    assert answer["parameters"] == 652_513
    assert answer["validation"]["accuracy"] > 0.75
