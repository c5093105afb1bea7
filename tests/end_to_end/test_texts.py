"""The LSTM and the bag of words from training to sentences typed in."""

import csv
import dataclasses

import pytest

import lab10
from lab10.errors import UserError


def test_the_lstm_learns_what_no_bag_of_words_can(scripts, lstm_run, tmp_path):
    workdir, answer = lstm_run
    assert answer["parameters"] == 652_513
    assert scripts.answer("evaluate", workdir)["accuracy"] > 0.95
    bag = (
        "imdb_bag_of_words",
        "--data.name",
        "synthetic_reviews",
        "--data.max-length",
        48,
        "--epochs",
        2,
        "--workdir",
        tmp_path / "bag",
    )
    scripts.answer("train", *bag)
    assert scripts.answer("evaluate", tmp_path / "bag")["accuracy"] <= 0.6


def test_each_prediction_is_written_beside_the_metrics(scripts, lstm_run):
    answer = scripts.answer("evaluate", lstm_run[0], "--split", "validation")
    with open(answer["per_example"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == answer["examples"] == 800
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert right / len(rows) == pytest.approx(answer["accuracy"])


def test_word_order_decides_the_prediction(scripts, lstm_run):
    texts = [
        "i expected something dull but got something brilliant",
        "i expected something brilliant but got something dull",
    ]
    first, second = scripts.answer("predict", lstm_run[0], *texts)["predictions"]
    assert (first["label"], second["label"]) == ("pos", "neg")
    assert (first["text"], second["text"]) == tuple(texts)
    for prediction in (first, second):
        assert prediction["probability"] == prediction["probabilities"][prediction["label"]] >= 0.5


def test_any_bytes_are_a_text(scripts, lstm_run):
    million = b"dull " * 1_000_000
    stdin = b"\n".join([b"", b"\xff\xfe\x00 not utf-8 \x80", b"  ", million, "schön 🎬".encode()]) + b"\n"
    predictions = scripts.answer("predict", lstm_run[0], stdin=stdin)["predictions"]
    assert len(predictions) == 5
    assert [p["truncated"] for p in predictions] == [False, False, False, True, False]
    assert predictions[0]["text"] == ""
    assert all(0.5 <= p["probability"] <= 1 for p in predictions)
    assert scripts.answer("predict", lstm_run[0])["predictions"] == []


def test_a_text_as_long_as_the_run_reads_is_whole_and_one_word_more_is_not(scripts, lstm_run):
    texts = ["dull " * words for words in (47, 48)]  # 48 ids at most, and the first marks the start
    predictions = scripts.answer("predict", lstm_run[0], *texts)["predictions"]
    assert [prediction["truncated"] for prediction in predictions] == [False, True]


def test_arguments_of_any_bytes_after_an_option(scripts, lstm_run):
    workdir, _ = lstm_run
    predictions = scripts.answer(
        "predict", workdir, "--checkpoint", "latest", b"\xff dull".decode(errors="surrogateescape")
    )
    assert predictions["predictions"][0]["text"] == "\ufffd dull"
    # What leaves --json and what follows -- apart is the process's entry, not `main`.
    said = scripts.run("predict", workdir, "--", "-dull", "--json").stdout.decode().splitlines()
    assert [line.split("  ")[1] for line in said] == ["-dull", "--json"]


def test_other_data_than_the_run_was_trained_on_are_noticed(lstm_run):
    with pytest.raises(UserError, match="index_from"):
        lab10.load(lstm_run[0], index_from=10)
    run = lab10.load(lstm_run[0])
    run.config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, train_split="test"))
    with pytest.raises(UserError, match="differs in content"):
        run.evaluate("validation")
    with pytest.raises(UserError, match="tset"):
        lab10.load(lstm_run[0]).evaluate("tset")
    assert len(run.predict("a dull film")) == 1
    assert run.predict(["\ud83d lone surrogate"])[0]["label"] in ("neg", "pos")


def test_long_texts_are_truncated_in_evaluation_where_asked(scripts, tmp_path):
    arguments = ("imdb_lstm", "--data.name", "synthetic_reviews", "--data.max-length", 20, "--steps", 2)
    arguments += ("--data.length-buckets", 1)
    scripts.answer("train", *arguments, "--workdir", tmp_path / "run")
    assert scripts.answer("evaluate", tmp_path / "run")["examples"] < 2000
    assert scripts.answer("evaluate", tmp_path / "run", "--data.overlong", "truncate")["examples"] == 2000


def test_whole_texts_and_all_words(scripts, tmp_path):
    arguments = (
        "--data.name",
        "synthetic_reviews",
        "--data.num-words",
        "None",
        "--data.max-length",
        "None",
        "--data.padding-side",
        "right",
        "--data.length-buckets",
        1,
    )
    scripts.answer("train", "imdb_lstm", *arguments, "--steps", 2, "--workdir", tmp_path / "run")
    prediction = scripts.answer("predict", tmp_path / "run", "word " * 300)["predictions"][0]
    assert prediction["truncated"] is False
