"""Runs of both tasks on the offline samples, trained once per session and only read; and a table of texts."""

import pytest
from csv_tables import write_topics

LINEAR = ("mnist_pca", "--data.name", "mnist_sample", "--steps", 200, "--evaluate-every", 80, "--log-every", 50)
# Each length that batches are padded to is compiled.
REVIEWS = ("--data.name", "synthetic_reviews", "--data.max-length", 48, "--data.length-buckets", 1)


@pytest.fixture(scope="session")
def linear_run(scripts, made_once):
    """The workdir and the answer of a short run of the linear autoencoder."""
    return made_once("linear", lambda workdir: scripts.answer("train", *LINEAR, "--workdir", workdir))


@pytest.fixture(scope="session")
def lstm_run(scripts, made_once):
    """The workdir and the answer of a run of the LSTM, long enough to learn the grammar."""
    arguments = ("imdb_lstm", *REVIEWS, "--epochs", 2)
    return made_once("lstm", lambda workdir: scripts.answer("train", *arguments, "--workdir", workdir))


@pytest.fixture(scope="session")
def bag_run(scripts, made_once):
    """The workdir and the answer of a run of the bag of words, for what does not depend on the classifier."""
    arguments = ("imdb_bag_of_words", *REVIEWS, "--epochs", 2)
    return made_once("bag", lambda workdir: scripts.answer("train", *arguments, "--workdir", workdir))


@pytest.fixture
def linear_arguments():
    return LINEAR


@pytest.fixture
def topics(tmp_path):
    """A table of 200 texts by 40 authors, of two classes that words tell apart."""
    return write_topics(tmp_path / "topics.csv")
