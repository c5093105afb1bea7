"""Own files from the command that prepares them to a trained model."""

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from csv_tables import COLUMNS, write_table
from PIL import Image
from rich.console import Console
from scripts_runner import ROOT

from lab10.data.sources import open_source
from lab10.data.texts import TextDataset
from lab10.data.user_files import progress_bar


def prepare(scripts, name, *arguments):
    return scripts.answer("prepare_data", name, *arguments)["datasets"][name]


def test_a_table_is_prepared_trained_on_evaluated_and_predicted(scripts, topics, tmp_path):
    data = ("--data-dir", tmp_path / "data")
    summary = prepare(scripts, "my_topics", "--from", topics, *COLUMNS, *data)
    assert summary["splits"] == {
        "train": {"rows": 160, "classes": {"sea": 80, "wood": 80}},
        "test": {"rows": 40, "classes": {"sea": 20, "wood": 20}},
    }
    assert summary["words"] == {"shortest": 6, "median": 6, "longest": 6, "none": 0, "over_249": 0}
    run = ("--data.name", "my_topics", "--data.dir", tmp_path / "data", "--workdir", tmp_path / "run")
    scripts.answer("train", "imdb_bag_of_words", *run, "--epochs", 20, "--batch-size", 16)
    evaluated = scripts.answer("evaluate", tmp_path / "run")
    assert (evaluated["examples"], evaluated["accuracy"]) == (40, 1.0)
    predicted = scripts.answer("predict", tmp_path / "run", "salt ship wave")["predictions"][0]
    assert predicted["label"] == "sea"


def test_examples_that_changed_between_two_evaluations_are_reported(scripts, tmp_path):
    data, rows = ("--data-dir", tmp_path / "data"), [("text", "label"), ("salt wave", "sea"), ("oak leaf", "wood")]
    train = write_table(tmp_path / "train.csv", [rows[0], *rows[1:] * 20])
    run = ("--data.name", "small", "--data.dir", tmp_path / "data", "--workdir", tmp_path / "run")
    said = []
    for test in (rows, rows, [rows[0], ("salt leaf", "sea"), ("oak wave", "wood")]):
        files = (f"train={train}", f"test={write_table(tmp_path / 'test.csv', test)}")
        prepare(scripts, "small", "--from", *files, "--label", "label", "--overwrite", *data)
        if not said:
            scripts.answer("train", "imdb_bag_of_words", *run, "--steps", 2)
        said.append(scripts.call("evaluate", tmp_path / "run")[2])
    assert ["the examples of test have changed" in each for each in said] == [False, False, True]


def test_groups_stay_in_one_split_and_are_stored(scripts, topics, tmp_path):
    data = tmp_path / "data"
    summary = prepare(scripts, "by_author", "--from", topics, *COLUMNS, "--group", "author", "--data-dir", data)
    authors = {}
    for split in ("train", "test"):
        source = open_source("by_author", split, str(data))
        records = source.read(list(range(len(source))))
        authors[split] = {record["group"] for record in records}
        assert len(authors[split]) == summary["groups"][split]
    assert not authors["train"] & authors["test"]
    assert sum(summary["groups"].values()) == 40
    assert summary["splits"]["test"]["rows"] == 40


def test_groups_that_the_files_tear_are_refused(scripts, tmp_path):
    train = write_table(tmp_path / "a.csv", [("text", "by"), ("one", "x"), ("two", "y")])
    test = write_table(tmp_path / "b.csv", [("text", "by"), ("three", "y"), ("four", "z")])
    files = ("--from", f"train={train}", f"test={test}", "--data-dir", tmp_path / "data")
    assert "'y' is in train and test" in scripts.refusal("prepare_data", "torn", *files, "--group", "by")
    one = write_table(tmp_path / "c.csv", [("text", "by"), ("three", "y"), ("four", "y")])
    message = scripts.refusal("prepare_data", "torn", "--from", one, "--group", "by", "--data-dir", tmp_path / "data")
    assert "All texts are in the group 'y'" in message


def test_splits_from_files_or_a_column(scripts, tmp_path):
    rows = [("text", "label", "part"), ("a", "x", "Train"), ("b", "y", "train"), ("c", "y", "VAL"), ("a", "x", "test")]
    whole = write_table(tmp_path / "whole.csv", rows)
    data = ("--label", "label", "--data-dir", tmp_path / "data")
    by_column = prepare(scripts, "by_column", "--from", whole, "--split-column", "part", *data)
    assert {name: split["rows"] for name, split in by_column["splits"].items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    parts = [
        write_table(tmp_path / f"{i}.csv", [rows[0], *part]) for i, part in enumerate((rows[1:3], rows[3:4], rows[4:]))
    ]
    names = ("training", "val", "test")
    files = [f"{name}={path}" for name, path in zip(names, parts, strict=True)]
    by_file = prepare(scripts, "by_file", "--from", *files, *data)
    for summary in (by_column, by_file):
        assert summary["duplicates"] == {"repeated": 1, "across": {"train and test": 1}, "other_label": 0}
        notes = " ".join(summary["notes"])
        assert "test repeats 1 text of train, so its metrics will be optimistic." in notes
        assert "Classes without texts in test: 'y'." in notes
    assert by_file["splits"] == by_column["splits"]
    assert by_file["content_sha256"] == by_column["content_sha256"]
    assert "unknown split 'maybe'" in scripts.refusal(
        "prepare_data",
        "x",
        "--from",
        write_table(tmp_path / "d.csv", [*rows, ("e", "x", "maybe")]),
        "--split-column",
        "part",
        *data,
    )
    for mixed, said in [
        ((whole, files[0]), "some"),
        ((whole, tmp_path), "mixes"),
        ((f"tran={whole}",), "names the split 'tran'"),
        ((tmp_path / "absent.csv",), "does not exist"),
    ]:
        assert said in scripts.refusal("prepare_data", "x", "--from", *mixed, *data).replace("Some", "some")
    message = scripts.refusal("prepare_data", "x", "--from", files[0], "--split-column", "part", *data)
    assert "both name the splits" in message
    message = scripts.refusal("prepare_data", "x", "--from", files[0], "--test-fraction", 0.1, *data)
    assert "the files already name the splits" in message


def test_texts_with_two_labels_are_noted(scripts, tmp_path):
    rows = [("text", "label"), ("a", "x"), ("a", "y"), ("b", "x"), ("c", "y")]
    summary = prepare(
        scripts, "doubtful", "--from", write_table(tmp_path / "a.csv", rows), "--label", "label", "--test-fraction", 0,
        "--data-dir", tmp_path / "data",
    )  # fmt: skip
    assert summary["duplicates"]["other_label"] == 2
    assert "2 texts with more than one label." in summary["notes"]


def test_the_same_content_is_not_written_again_and_other_content_only_where_asked(scripts, tmp_path):
    """Two tables of equal size: the cache must not answer for one with the arrays of the other."""
    table = tmp_path / "a.csv"
    arguments = ("--from", table, "--label", "label", "--data-dir", tmp_path / "data")
    data = TextDataset(name="changing", dir=str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    rows = [("text", "label"), *((f"{word} film", label) for word, label in [("good", "p"), ("dull", "n")] * 10)]

    def files():
        return [(path, path.stat().st_mtime_ns) for path in sorted((tmp_path / "data" / "changing").rglob("*"))]

    write_table(table, rows)
    first, before = prepare(scripts, "changing", *arguments), files()
    assert prepare(scripts, "changing", *arguments) == first
    assert files() == before
    assert set(data.open_dataset().vocabulary) == {b"film", b"good", b"dull"}

    write_table(table, [(text.replace("dull", "fine"), label) for text, label in rows])
    assert "--overwrite" in scripts.refusal("prepare_data", "changing", *arguments)
    assert files() == before
    assert prepare(scripts, "changing", *arguments, "--overwrite")["content_sha256"] != first["content_sha256"]
    assert set(data.open_dataset().vocabulary) == {b"film", b"good", b"fine"}
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name[0] != "."] == ["changing"]


def test_a_damaged_dataset_is_repaired_by_overwriting_it(scripts, topics, tmp_path):
    arguments = ("my_topics", "--from", topics, *COLUMNS, "--data-dir", tmp_path / "data")
    scripts.answer("prepare_data", *arguments)
    (records,) = (tmp_path / "data").rglob("*-train.array_record*")
    whole = records.read_bytes()
    records.write_bytes(whole[: len(whole) // 2])
    scripts.answer("prepare_data", *arguments, "--overwrite")
    source = open_source("my_topics", "train", str(tmp_path / "data"))
    assert len(source.read(list(range(len(source))))) == 160


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--test-fraction", 0.5), id="fraction"),
        pytest.param(("--test-fraction", 0.2, "--seed", 1), id="seed"),
        pytest.param(("--label", "other"), id="labels"),
        pytest.param(("--group", "other"), id="groups"),
    ],
)
def test_other_splits_labels_and_groups_are_other_content(scripts, tmp_path, arguments):
    rows = [("text", "label", "other"), *((f"text {i}", i % 2, i // 10) for i in range(20))]
    fixed = ("varied", "--from", write_table(tmp_path / "a.csv", rows), "--data-dir", tmp_path / "data")
    fixed += ("--label", "label", "--test-fraction", "0.2" if "--seed" in arguments else 0)
    scripts.answer("prepare_data", *fixed)
    assert "--overwrite" in scripts.refusal("prepare_data", *fixed, *arguments)


def test_files_named_like_splits_are_put_together_with_a_note(scripts, topics, tmp_path):
    paths = [shutil.copy(topics, tmp_path / name) for name in ("topics_train.csv", "topics-test.csv")]
    fixed = ("--data-dir", tmp_path / "data", *COLUMNS, "--from")
    (note,) = [note for note in prepare(scripts, "both", *fixed, *paths)["notes"] if "--from" in note]
    assert note.endswith(f"--from train={paths[0]} test={paths[1]}")
    named = prepare(scripts, "named", *fixed, f"train={paths[0]}", f"test={paths[1]}")
    one = prepare(scripts, "one", *fixed, paths[0])
    assert not any("--from" in note for note in named["notes"] + one["notes"])


def test_texts_without_labels(scripts, topics, tmp_path):
    prepare(scripts, "unlabelled", "--from", topics, "--text", "body", "--data-dir", tmp_path / "data")
    assert set(open_source("unlabelled", "train", str(tmp_path / "data")).features) == {"text"}


def test_the_summary_is_readable(scripts, topics, tmp_path):
    _, text, _ = scripts.call("prepare_data", "my_topics", "--from", topics, *COLUMNS, "--data-dir", tmp_path / "data")
    for line in ("train              160 texts", "2 classes", "words: 6 to 6, median 6"):
        assert line in text
    command = f"python scripts/train.py imdb_bag_of_words --data.name my_topics --data.dir {tmp_path / 'data'}"
    assert text.splitlines()[-1] == f"Train on it: {command}"


@pytest.mark.slow  # tests/data/test_user_images.py
def test_the_summary_names_an_experiment_for_color_images(scripts, tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "colors.npz", images=colors)
    arguments = ("colors", "--from", tmp_path / "colors.npz", "--data-dir", tmp_path / "data")
    _, text, _ = scripts.call("prepare_data", *arguments)
    command = text.splitlines()[-1].removeprefix("Train on it: python scripts/train.py ").split()
    trained = scripts.answer("train", *command, "--epochs", 1, "--workdir", tmp_path / "run")
    assert np.isfinite(trained["validation"]["loss"])


def test_progress_is_shown_in_a_terminal_only(monkeypatch):
    for is_terminal in (True, False):
        said = io.StringIO()
        monkeypatch.setattr(progress_bar, "console", Console(file=said, force_terminal=is_terminal, width=80))
        with progress_bar.progress("reading", 3, every=1) as advance:
            for _ in range(3):
                advance(1)
        assert ("reading" in said.getvalue(), "3/3" in said.getvalue()) == (is_terminal, is_terminal)


ALONE = """
import runpy, sys
try:
    runpy.run_path("scripts/prepare_data.py", run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
assert not {"tensorflow", "pandas", "jax"} & set(sys.modules)
"""


def test_tensorflow_pandas_and_jax_are_not_imported(topics, tmp_path):
    arguments = ("light", "--from", topics, "--text", "body", "--data-dir", tmp_path / "data")
    done = subprocess.run([sys.executable, "-c", ALONE, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folder_of_color_images(scripts, tmp_path):
    random_pixels = np.random.default_rng(0)
    pixels = {}
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(5):
            pixels[name, i] = random_pixels.integers(0, 256, (4, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels[name, i]).save(tmp_path / "pets" / name / f"{i}.png")
    summary = prepare(scripts, "pets", "--from", tmp_path / "pets", "--data-dir", tmp_path / "data")
    assert summary["splits"]["test"] == {"rows": 2, "classes": {"cat": 1, "dog": 1}}
    assert [summary[key] for key in ("height", "width", "channels", "dtype")] == [4, 6, 3, "uint8"]
    found = set()
    for split in ("train", "test"):
        source = open_source("pets", split, str(tmp_path / "data"))
        assert source.features["image"].shape == (4, 6, 3)
        for record in source.read(list(range(len(source)))):
            label = source.features["label"].names[record["label"]]
            (match,) = [key for key, value in pixels.items() if np.array_equal(value, record["image"])]
            assert match[0] == label
            found.add(match)
    assert found == set(pixels)
