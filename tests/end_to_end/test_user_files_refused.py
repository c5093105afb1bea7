"""Own files that cannot be prepared, and what an unfinished preparation leaves."""

import random
import resource

import pytest
from csv_tables import COLUMNS, write_table

from lab10.data.user_files.examples import Examples


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My-Reviews", "such as 'my_reviews'"),
        ("3d", "such as 'my_3d'"),
        ("a/b", "not a valid name"),
        ("titanic", "one of TFDS's own datasets"),
        ("mnist_sample", "one of the offline samples"),
    ],
)
def test_names_that_a_dataset_cannot_have(scripts, topics, tmp_path, name, said):
    assert said in scripts.refusal("prepare_data", name, "--from", topics, *COLUMNS, "--data-dir", tmp_path / "data")


def test_a_folder_that_is_not_ours_is_left_alone(scripts, topics, tmp_path):
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "thesis.txt").write_text("x")
    arguments = ("--from", topics, *COLUMNS, "--data-dir", tmp_path / "data", "--overwrite")
    assert "was not written by this command" in scripts.refusal("prepare_data", "mine", *arguments)
    assert (tmp_path / "data" / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--resize", 2, 2), "--resize is for images"),
        (("--test-fraction", 1), "expected a number from 0 to below 1"),
        (("--seed", -1), "expected 0 or more"),
        (("--separator", "ab"), "expected one character"),
        (("--manual-dir", "."), "use one of them"),
    ],
)
def test_options_that_do_not_fit(scripts, topics, tmp_path, arguments, said):
    fixed = ("--from", topics, *COLUMNS, "--data-dir", tmp_path / "data")
    assert said in scripts.refusal("prepare_data", "x", *fixed, *arguments)


@pytest.mark.parametrize(("option", "value"), [("--seed", 0), ("--test-fraction", 0.3)])
def test_options_of_the_choice_of_test_examples_are_refused_where_there_is_none(
    scripts, topics, tmp_path, option, value
):
    fixed = ("x", *COLUMNS, "--data-dir", tmp_path / "data", option, value, "--from")
    assert f"{option} is for choosing" in scripts.refusal("prepare_data", *fixed, f"train={topics}")
    if option == "--seed":
        assert "--test-fraction 0 makes none" in scripts.refusal("prepare_data", *fixed, topics, "--test-fraction", 0)


def test_options_and_files_without_from(scripts, topics, tmp_path):
    assert "--label is for your own files" in scripts.refusal("prepare_data", "mnist", "--label", "x")
    assert "--overwrite is for your own files" in scripts.refusal("prepare_data", "mnist", "--overwrite")
    assert f"NAME --from {topics}" in scripts.refusal("prepare_data", topics, "--data-dir", tmp_path)
    assert "there are 2 names: a, b" in scripts.refusal("prepare_data", "a", "b", "--from", topics)


def test_one_row_cannot_be_split(scripts, tmp_path):
    table = write_table(tmp_path / "a.csv", [("text",), ("alone",)])
    arguments = ("alone", "--from", table, "--data-dir", tmp_path / "data")
    assert "--test-fraction 0" in scripts.refusal("prepare_data", *arguments)
    assert scripts.answer("prepare_data", *arguments, "--test-fraction", 0)["datasets"]["alone"]["splits"] == {
        "train": {"rows": 1}
    }


def test_an_interrupted_preparation_leaves_nothing(scripts, topics, tmp_path, monkeypatch):
    whole = Examples.example

    def interrupted(examples, index):
        if index > 150:
            raise KeyboardInterrupt
        return whole(examples, index)

    monkeypatch.setattr(Examples, "example", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scripts.call("prepare_data", "my_topics", "--from", topics, *COLUMNS, "--data-dir", tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".my_topics.preparation.lock"]


def test_a_disk_without_room_is_reported_and_leaves_nothing(scripts, tmp_path):
    source = random.Random(0)
    table = write_table(tmp_path / "a.csv", [("text",), *([source.randbytes(5000).hex()] for _ in range(100))])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = scripts.refusal("prepare_data", "large", "--from", table, "--data-dir", tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "large cannot be written to" in message
    assert "File too large" in message
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".large.preparation.lock"]


def test_a_folder_that_cannot_be_made_is_reported(scripts, topics, tmp_path):
    (tmp_path / "file").write_text("x")
    arguments = ("--from", topics, *COLUMNS, "--data-dir", tmp_path / "file")
    assert "my_topics cannot be written to" in scripts.refusal("prepare_data", "my_topics", *arguments)


def test_a_killed_preparation_leaves_no_dataset_and_the_next_one_clears_it_away(scripts, topics, tmp_path):
    """The folder is what a process leaves that is killed while it writes the records."""
    data = tmp_path / "data"
    leftover = data / ".my_topics.preparation-killed" / "my_topics" / "1.0.0"
    leftover.mkdir(parents=True)
    (leftover / "dataset_info.json").write_text("{}")
    arguments = ("--data.name", "my_topics", "--data.dir", data, "--workdir", tmp_path / "run")
    assert "my_topics" in scripts.refusal("train", "imdb_bag_of_words", *arguments)
    scripts.answer("prepare_data", "my_topics", "--from", topics, *COLUMNS, "--data-dir", data)
    assert not list(data.glob(".my_topics.preparation-*"))
