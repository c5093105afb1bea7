"""The LSTM and the bag of words from training to sentences typed in."""

import codecs
import csv
import dataclasses
import os
import re

import numpy as np
import pytest

import lab10
from lab10.config.errors import UserError


def test_the_lstm_learns_what_no_bag_of_words_can(scripts, lstm_run, bag_run):
    workdir, answer = lstm_run
    assert answer["parameters"] == 652_513
    assert answer["validation"]["accuracy"] > 0.95
    assert scripts.answer("evaluate", workdir)["accuracy"] > 0.95
    assert scripts.answer("evaluate", bag_run[0])["accuracy"] <= 0.6


def test_each_prediction_is_written_next_to_the_metrics(scripts, bag_run):
    answer = scripts.answer("evaluate", bag_run[0], "--split", "validation")
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


@pytest.mark.parametrize("words", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_any_bytes_are_a_text(scripts, bag_run, words):
    long = b"dull " * words
    stdin = b"\n".join([b"", b"\xff\xfe\x00 not utf-8 \x80", b"  ", long, "schön 🎬".encode()]) + b"\n"
    predictions = scripts.answer("predict", bag_run[0], stdin=stdin)["predictions"]
    assert len(predictions) == 5
    assert [p["truncated"] for p in predictions] == [False, False, False, True, False]
    assert predictions[0]["text"] == ""
    assert all(0.5 <= p["probability"] <= 1 for p in predictions)
    assert scripts.answer("predict", bag_run[0])["predictions"] == []


def test_a_text_longer_than_the_limit_is_reported_as_truncated(scripts, bag_run):
    texts = ["dull " * words for words in (47, 48)]  # 48 ids at most, and the first marks the start
    predictions = scripts.answer("predict", bag_run[0], *texts)["predictions"]
    assert [prediction["truncated"] for prediction in predictions] == [False, True]


def test_text_arguments_may_be_any_bytes(scripts, bag_run):
    workdir, _ = bag_run
    predictions = scripts.answer(
        "predict", workdir, "--checkpoint", "latest", b"\xff dull".decode(errors="surrogateescape")
    )
    assert predictions["predictions"][0]["text"] == "\ufffd dull"
    # What leaves --json and what follows -- apart is the process's entry, not `main`.
    said = scripts.run("predict", workdir, "--", "-dull", "--json").stdout.decode().splitlines()
    assert [line.split("  ")[1] for line in said] == ["-dull", "--json"]


def test_data_that_differs_from_training_is_refused(bag_run):
    with pytest.raises(UserError, match="index_from"):
        lab10.load(bag_run[0], index_from=10)
    run = lab10.load(bag_run[0])
    run.config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, train_split="train[1:]"))
    with pytest.raises(UserError, match="differs in content"):
        run.evaluate("validation")
    with pytest.raises(UserError, match="tset"):
        lab10.load(bag_run[0]).evaluate("tset")
    assert len(run.predict("a dull film")) == 1
    assert run.predict(["\ud83d lone surrogate"])[0]["label"] in ("neg", "pos")


@pytest.mark.slow  # tests/data/test_texts.py truncates
def test_long_texts_are_truncated_in_evaluation_on_request(scripts, tmp_path):
    arguments = ("imdb_bag_of_words", "--data.name", "synthetic_reviews", "--data.max-length", 20, "--steps", 2)
    arguments += ("--data.length-buckets", 1)
    scripts.answer("train", *arguments, "--workdir", tmp_path / "run")
    assert scripts.answer("evaluate", tmp_path / "run")["examples"] < 2000
    assert scripts.answer("evaluate", tmp_path / "run", "--data.overlong", "truncate")["examples"] == 2000


@pytest.mark.slow  # tests/data/test_texts.py reads complete texts and all words
def test_reading_complete_texts_and_all_words(scripts, tmp_path):
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
    small = ("--model.embedding-dim", 4, "--model.hidden-size", 3)
    scripts.answer("train", "imdb_lstm", *arguments, *small, "--steps", 2, "--workdir", tmp_path / "run")
    prediction = scripts.answer("predict", tmp_path / "run", "word " * 300)["predictions"][0]
    assert prediction["truncated"] is False


TEXT = "i expected something dull but got something brilliant"
DECORATED = [
    "\ufeffi expected something dull but got something brilliant",  # a byte-order mark
    "i expected something dull but got something “brilliant”",
    "i expected something dull—but got something brilliant…",
    "‘i expected something dull’ but got something 'brilliant'",
    "i\u00a0expected\u00a0something\u00a0dull\u00a0but\u00a0got\u00a0something\u00a0brilliant",
    "i ex\u00adpected some\u200bthing dull but got something brilliant\u2060",
    "i expected something dull but got something ｂｒｉｌｌｉａｎｔ",
    "i expected something dull but got something brilliant\U0001f600",
    "i expected something dull\r\nbut got something brilliant\x00",
    "i expected something dull but got something \x93brilliant\x94".encode("latin-1"),  # Windows-1252
]


@pytest.mark.parametrize("text", DECORATED)
def test_quotes_dashes_and_invisible_characters_do_not_hide_words(bag_run, text):
    plain, decorated = lab10.load(bag_run[0]).predict([TEXT, text])
    assert decorated["probabilities"] == plain["probabilities"]
    assert decorated["known_words"] == plain["known_words"] == 1


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
    ],
)
def test_a_file_with_a_byte_order_mark_is_decoded(scripts, bag_run, encoding, mark):
    texts = [TEXT, "schön 🎬", "", "dull"]
    expected = scripts.answer("predict", bag_run[0], *texts)
    stdin = mark + "\r\n".join(texts).encode(encoding)
    assert scripts.answer("predict", bag_run[0], stdin=stdin) == expected


def test_files_with_marks_may_be_joined(scripts, bag_run):
    stdin = codecs.BOM_UTF8 + b"dull\n" + codecs.BOM_UTF8 + b"brilliant\n"
    assert [p["text"] for p in scripts.answer("predict", bag_run[0], stdin=stdin)["predictions"]] == [
        "dull",
        "brilliant",
    ]


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (TEXT.encode("utf-16-le"), "zero, as in UTF-16"),
        (bytes(100), "zero, as in UTF-16"),
        (codecs.BOM_UTF16_LE + b"a\0b", "byte-order mark of UTF-16"),
    ],
)
def test_input_that_is_not_text_is_refused(scripts, bag_run, stdin, said):
    assert said in scripts.refusal("predict", bag_run[0], stdin=stdin)


def test_texts_in_another_encoding_are_reported(scripts, bag_run):
    said = scripts.call("predict", bag_run[0], stdin="dull\nschön\n".encode("cp1252"))[2]
    assert "1 of 2 texts are not valid UTF-8" in said
    assert "UTF-8" not in scripts.call("predict", bag_run[0], stdin="dull\nschön\n".encode())[2]


def test_a_file_name_is_not_predicted_as_a_text(scripts, bag_run, tmp_path):
    path = tmp_path / "my reviews.txt"
    path.write_text("dull\n")
    said = scripts.refusal("predict", bag_run[0], "a text", path)
    assert f"predict.py {bag_run[0]} < '{path}'" in said
    assert "is a folder" in scripts.refusal("predict", bag_run[0], tmp_path)
    assert len(scripts.answer("predict", bag_run[0], f"{path}x")["predictions"]) == 1


def test_a_text_without_known_words_is_marked(scripts, bag_run):
    texts = ["zzz qqq", "这部电影好看", "", "!?", "dull zzz zzz zzz", "dull"]
    answer, text, said = scripts.call("predict", bag_run[0], *texts)
    assert [p["known_words"] for p in answer["predictions"]] == [0, 0, 0, 0, 0.25, 1]
    assert "4 of 6 texts have no word that the model knows" in said
    assert [line.split("  ")[0].split(", ")[1] for line in text.splitlines()] == [
        *["NO KNOWN WORD"] * 4,
        "25% known",
        "100% known",
    ]
    assert "no word" not in scripts.call("predict", bag_run[0], "dull")[2]


@pytest.mark.slow  # the next test counts known words
def test_known_words_are_counted_among_those_that_the_model_reads(scripts, bag_run, tmp_path):
    run = lab10.load(bag_run[0])  # of 48 ids, the last ones
    assert run.predict(["dull " * 100 + "zzz " * 100])[0]["known_words"] == 0
    assert run.predict(["zzz " * 100 + "dull " * 24 + "zzz " * 24])[0]["known_words"] == 0.5
    whole = lab10.load(bag_run[0], max_length=None)
    assert whole.predict(["dull " * 100 + "zzz " * 100])[0]["known_words"] == 0.5
    arguments = ("imdb_bag_of_words", "--data.name", "synthetic_reviews", "--data.unknown-id", "None", "--steps", 1)
    scripts.answer("train", *arguments, "--workdir", tmp_path / "run")
    assert lab10.load(tmp_path / "run").predict(["dull zzz", ""])[0]["known_words"] == 0.5


@pytest.mark.slow  # tests/data/test_tokenizer.py asks which words a model knows
def test_a_word_that_is_too_rare_to_have_an_id_is_not_known(scripts, tmp_path):
    arguments = ("imdb_bag_of_words", "--data.name", "synthetic_reviews", "--data.num-words", 10, "--steps", 1)
    scripts.answer("train", *arguments, "--workdir", tmp_path / "run")
    run = lab10.load(tmp_path / "run")
    common, rare = (run._vocabulary[rank - 1].decode() for rank in (1, 7))  # ids 4 and 10
    assert [p["known_words"] for p in run.predict([common, f"“{common}”", rare])] == [1, 1, 0]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["good", float("nan")], "Item 1 (counted from 0) is not a text but float: nan."),
        ([None], "Item 0 (counted from 0) is not a text but NoneType"),
        (["good", None, "bad", 3], "2 of 4 are none"),
        ((text for text in ["good", b"bad", None]), "Item 2"),
        ([["good", "bad"]], "Item 0 (counted from 0) is not a text but list"),
        (np.array([["good", "bad"]]), "Item 0 (counted from 0) is not a text but ndarray"),
        (np.array(["good", None], object), "Item 1 (counted from 0) is not a text but NoneType"),
        (np.array([1, 2]), "Item 0 (counted from 0) is not a text but int64"),
        ({"text": "good"}, "Cannot classify a dict"),
    ],
)
def test_items_that_are_not_texts_are_refused_with_position_and_type(bag_run, texts, said):
    with pytest.raises(UserError, match=re.escape(said)) as error:
        lab10.load(bag_run[0]).predict(texts)
    assert len(str(error.value).splitlines()) <= 10


@pytest.mark.parametrize("texts", [3, None, 1.5, np.array("good"), os])
def test_input_that_is_not_iterable_is_refused(texts):
    from lab10.inspection.text_run import _as_texts  # beartype refuses them in `predict`, which users call without it

    with pytest.raises(UserError, match="Cannot classify a"):
        _as_texts(texts)


def probabilities_of(predictions):
    return [prediction["probabilities"]["pos"] for prediction in predictions]


def test_texts_are_read_from_any_iterable(bag_run):
    run = lab10.load(bag_run[0])
    texts = ["dull", "brilliant"]
    expected = probabilities_of(run.predict(texts))
    forms = (tuple(texts), iter(texts), (text for text in texts), np.array(texts), np.array(texts, object))
    forms += (np.array(texts, bytes), dict.fromkeys(texts).keys())
    for form in forms:
        assert probabilities_of(run.predict(form)) == pytest.approx(expected, abs=1e-6)
    assert run.predict([]) == run.predict(iter(())) == []
    assert probabilities_of(run.predict("dull")) == pytest.approx(expected[:1], abs=1e-6)


def test_columns_of_a_table_are_texts_and_missing_values_are_named(bag_run):
    pandas = pytest.importorskip("pandas")
    run, table = lab10.load(bag_run[0]), pandas.DataFrame({"text": ["dull", "brilliant", None]}, index=[7, 8, 9])
    assert len(run.predict(table["text"][:2])) == 2
    for column in (table["text"], table["text"].astype("string"), table["text"].astype("category")):
        with pytest.raises(UserError, match="Item 2"):
            run.predict(column)
    with pytest.raises(UserError, match=r"Cannot classify a DataFrame.*Choose one column"):
        run.predict(table)
