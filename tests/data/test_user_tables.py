"""Tables of texts: every row is read as it is in the file, or reported with its line."""

import codecs
import gzip
import json

import pytest

WHOLE = ("--test-fraction", "0")
LABELLED = (*WHOLE, "--label", "label")


def table(rows, separator=",", end="\n"):
    return "".join(separator.join(row) + end for row in [("text", "label"), *rows])


ROWS = [("a good film", "pos"), ("a bad film", "neg"), ("größer 映画", "pos"), ("dull", "neg")]
EXPECTED = [{"text": text, "label": label} for text, label in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(table(ROWS).encode(), id="plain"),
        pytest.param(codecs.BOM_UTF8 + table(ROWS).encode(), id="byte-order mark"),
        pytest.param(table(ROWS).encode("utf-16"), id="utf-16"),
        pytest.param(codecs.BOM_UTF16_BE + table(ROWS).encode("utf-16-be"), id="utf-16-be"),
        pytest.param(table(ROWS).encode("utf-32"), id="utf-32"),
        pytest.param(table(ROWS, end="\r\n").encode(), id="Windows line ends"),
        pytest.param(table(ROWS, end="\r").encode(), id="old Mac line ends"),
        pytest.param(table(ROWS, separator=";").encode(), id="semicolons"),
        pytest.param(table(ROWS, separator="\t").encode(), id="tabs"),
        pytest.param(table(ROWS).rstrip("\n").encode(), id="no last line end"),
        pytest.param(table(ROWS).replace("\n", "\n\n").encode(), id="blank lines"),
        pytest.param(f"\n\n{table(ROWS)}".encode(), id="blank lines before the header"),
        pytest.param(table(ROWS).replace("text,label", " text , label ").encode(), id="spaces in the header"),
        pytest.param(table(ROWS).replace(",pos", ", pos ").encode(), id="spaces around labels"),
    ],
)
def test_tables_of_any_format_are_read(prepare_table, content):
    assert prepare_table(content, *LABELLED)[1] == {"train": EXPECTED}


def test_a_header_that_repeats_the_given_columns_is_no_row(prepare_table):
    columns = ("--columns", "text", "label")
    for content in (table(ROWS), table(ROWS).partition("\n")[2]):
        assert prepare_table(content, *LABELLED, *columns)[1] == {"train": EXPECTED}


def test_json_arrays_in_place_of_objects_are_refused(refuse_table):
    assert "expected an object in each line" in refuse_table('["a", "pos"]\n["b", "neg"]\n', *LABELLED, name="a.jsonl")


def test_quoted_fields_keep_line_ends_separators_and_quotes(prepare_table):
    text = 'He said "no",\r\nthen\nleft; twice'
    quoted = text.replace('"', '""')
    _, splits = prepare_table(f'label,text\npos,"{quoted}"\nneg,bad\n', *LABELLED)
    assert splits["train"][0]["text"] == text


def test_texts_that_look_like_missing_values_are_kept(prepare_table):
    """pandas would read missing values, numbers and dates."""
    texts = ["null", "NA", "NaN", "1", "1e5", "2020-01-01", "True"]
    _, splits = prepare_table("text\n" + "\n".join(texts), *WHOLE)
    assert splits["train"] == [{"text": text} for text in texts]


def test_other_encodings_must_be_named(prepare_table, refuse_table):
    content = table([("schön", "pos"), ("übel", "neg")]).encode("cp1252")
    message = refuse_table(content, *LABELLED)
    assert "not valid UTF-8 (line 2)" in message
    assert "--encoding cp1252" in message
    assert prepare_table(content, *LABELLED, "--encoding", "cp1252")[1]["train"][0]["text"] == "schön"
    assert "Unknown --encoding 'cp9'" in refuse_table(content, *LABELLED, "--encoding", "cp9")
    assert "Unknown --encoding 'base64'" in refuse_table(content, *LABELLED, "--encoding", "base64")


def test_an_encoding_against_the_byte_order_mark_is_refused(refuse_table):
    message = refuse_table(codecs.BOM_UTF8 + table(ROWS).encode(), *LABELLED, "--encoding", "latin-1")
    assert "byte-order mark of utf-8" in message


def test_utf_16_without_a_mark_is_recognized(prepare_table, refuse_table):
    content = table(ROWS).encode("utf-16-le")
    assert "--encoding utf-16-le" in refuse_table(content.replace("ößer 映画".encode("utf-16-le"), b""), *LABELLED)
    assert prepare_table(content, *LABELLED, "--encoding", "utf-16-le")[1] == {"train": EXPECTED}


def test_a_misspelled_column_suggests_the_closest_name(refuse_table):
    message = refuse_table(table(ROWS), "--text", "txt", "--label", "label")
    assert "no column 'txt'; did you mean 'text'?" in message
    assert "'text', 'label'" in message


def test_a_file_without_a_header_needs_column_names(prepare_table, refuse_table):
    content = table(ROWS).split("\n", 1)[1]
    assert "--columns text label" in refuse_table(content, *LABELLED)
    assert prepare_table(content, *LABELLED, "--columns", "text", "label")[1] == {"train": EXPECTED}
    assert "has 2 columns" in refuse_table(content, *LABELLED, "--columns", "text", "label", "date")


def test_text_and_label_must_be_different_columns(refuse_table):
    assert "--text and --label both name the column 'label'" in refuse_table(table(ROWS), *LABELLED, "--text", "label")


def test_a_column_that_comes_twice_is_refused(refuse_table):
    assert "2 columns named 'text'" in refuse_table("text,text,label\na,b,c\n", *LABELLED)


INVALID = 'text,label\ngood,pos\n"two\nlines",neg\n,pos\n   ,neg\nbad,\nworse,NaN\na,b,c\nlonely\nfine,pos\ndull,neg\n'


def test_invalid_rows_are_refused_with_their_lines(refuse_table):
    message = refuse_table(INVALID, *LABELLED)
    assert "6 of 10 rows are invalid" in message
    for said in (
        "no text: line 5, line 6",
        "no label: line 7",
        "the label 'NaN' (if it is a class, see --missing): line 8",
        "3 instead of 2 fields (separator ','): line 9",
        "1 instead of 2 fields (separator ','): line 10",
        "--skip-invalid",
    ):
        assert said in message


def test_invalid_rows_are_skipped_on_request(prepare_table):
    summary, splits = prepare_table(INVALID, *LABELLED, "--skip-invalid")
    assert [record["text"] for record in splits["train"]] == ["good", "two\nlines", "fine", "dull"]
    assert sum(summary["skipped"].values()) == 6
    assert summary["skipped"]["no text"] == 2


def test_a_class_may_be_called_none(prepare_table, refuse_table):
    content = "text,label\na,None\nb,anger\nc,None\nd,anger\n"
    assert "the label 'None' (if" in refuse_table(content, *LABELLED)
    assert prepare_table(content, *LABELLED, "--missing")[0]["splits"]["train"]["classes"] == {"None": 2, "anger": 2}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("text,label\n", "no rows after the header"),
        ("text,label\n,\n", "The only row is invalid"),
        ("text,label\na,x\nb,x\n", "Every row has the label 'x'"),
        ("text,label\na,1\nb,2\nc,3\nd,4\n", "'label' has 4 different values in 4 rows"),
        ('text,label\na,x\n"b,y\nc,y\n', "opens in line 3 of"),
        ('text,label\na,"x\ny"\nb,z\n', "the label has a line break: line 2"),
        ('text,label\n"a" b,x\nb,z\n', "continues after its closing quotation mark"),
    ],
)
def test_a_table_without_examples_or_classes_is_refused(refuse_table, content, said):
    assert said in refuse_table(content, *LABELLED)


def test_quotation_marks_may_belong_to_the_texts(prepare_table):
    _, splits = prepare_table('text\tlabel\n"A start\tx\nb "c"\ty\n', *LABELLED, "--no-quotes", name="notes.tsv")
    assert [record["text"] for record in splits["train"]] == ['"A start', 'b "c"']


def test_options_that_do_not_fit_the_file(refuse_table):
    for option, name in [
        (("--columns", "text"), "a.jsonl"),
        (("--no-quotes",), "a.parquet"),
        (("--separator", ";"), "a.json"),
    ]:
        assert f"{option[0]} is for .csv, .tsv, .txt files" in refuse_table("x", *option, name=name)
    assert "--encoding is for" in refuse_table("x", "--encoding", "utf-8", name="a.parquet")


def test_a_separator_by_name(prepare_table):
    assert prepare_table(table(ROWS, separator="\t"), *LABELLED, "--separator", "tab")[1] == {"train": EXPECTED}
    assert prepare_table(table(ROWS, separator="~"), *LABELLED, "--separator", "~")[1] == {"train": EXPECTED}


def test_json_lines_of_any_labels(prepare_table):
    rows = [
        {"text": "a", "label": True},
        {"label": False, "text": "b", "other": [1]},
        {"text": "c\ud55c\n", "label": 1 > 0},
    ]
    content = "\n".join(map(json.dumps, rows))
    assert prepare_table(content, *LABELLED, name="notes.jsonl")[1]["train"] == [
        {"text": "a", "label": "true"},
        {"text": "b", "label": "false"},
        {"text": "c한\n", "label": "true"},
    ]
    array = json.dumps([{"text": "a", "label": 0}, {"text": "b", "label": 1.0}, {"text": "c", "label": 1}])
    assert prepare_table(array, *LABELLED, name="notes.json")[0]["splits"]["train"]["classes"] == {"0": 1, "1": 2}


def test_json_lines_that_are_not_examples_are_refused_with_their_lines(refuse_table):
    lines = ['{"text": "a", "label": 0}', '{"text": "b", "label": 1', "[1]", '{"text": 5, "label": 1}', '{"label": 1}']
    lines += ['{"text": "c", "label": [1]}', '{"text": "c", "label": NaN}', '{"text": "\\ud83d", "label": 1}']
    message = refuse_table("\n".join(lines), *LABELLED, name="notes.jsonl")
    for said in (
        "not valid JSON: line 2",
        "not a JSON object: line 3",
        "the text is of type int, not a string: line 4",
        "no text: line 5",
    ):
        assert said in message
    assert "and 2 other reasons" in message
    assert "no column 'label'; did you mean 'labels'?" in refuse_table(
        '{"text": "a", "labels": 0}', *LABELLED, name="notes.jsonl"
    )
    assert "not valid JSON" in refuse_table('[{"text": "a"', *WHOLE, name="notes.json")
    assert "not a JSON object: item 2" in refuse_table('[{"text": "a"}, "b"]', *WHOLE, name="notes.json")


def test_class_names_of_any_letters(prepare_table):
    names = ["été", "日本/東京", "a b", "ünï"]
    content = "text,label\n" + "".join(f"{i},{name}\n" for i, name in enumerate(names * 3))
    assert set(prepare_table(content, *LABELLED)[0]["splits"]["train"]["classes"]) == set(names)


def test_classes_that_differ_in_case_are_noted(prepare_table):
    summary, _ = prepare_table("text,label\na,Pos\nb,pos\nc,neg\nd,neg\ne,pos\nf,neg\n", *LABELLED)
    assert "Classes 'Pos' and 'pos' differ only in case or in how they are encoded." in summary["notes"]


def test_an_unsupported_file_is_refused(refuse_table):
    assert "expected .csv, .tsv" in refuse_table("x", *WHOLE, name="notes.xlsx")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_compressed_text_files(prepare_table, suffix):
    content = table(ROWS, separator="\t" if suffix == "tsv" else ",")
    if suffix == "jsonl":
        content = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)
    assert prepare_table(gzip.compress(content.encode()), *LABELLED, name=f"notes.{suffix}.gz")[1]["train"] == EXPECTED


def test_compressed_files_keep_encodings_and_options(prepare_table, refuse_table):
    marked = codecs.BOM_UTF16_LE + table(ROWS).encode("utf-16-le")
    assert prepare_table(gzip.compress(marked), *LABELLED, name="notes.csv.gz")[1]["train"] == EXPECTED
    headless = gzip.compress("größer;pos\ndull;neg\n".encode("cp1252"))
    assert "not valid UTF-8 (line 1)" in refuse_table(
        headless, *LABELLED, "--columns", "text", "label", name="notes.csv.gz"
    )
    arguments = (*LABELLED, "--columns", "text", "label", "--encoding", "cp1252")
    assert prepare_table(headless, *arguments, name="notes.csv.gz")[1]["train"][0] == {"text": "größer", "label": "pos"}


@pytest.mark.parametrize(
    ("damage", "name", "said"),
    [
        pytest.param(lambda content: content[:-20], "notes.csv.gz", "end-of-stream", id="truncated"),
        pytest.param(
            lambda content: content[:12] + bytes(20) + content[32:], "notes.csv.gz", "cannot be read", id="bytes"
        ),
        pytest.param(lambda _: b"text,label\n", "notes.csv.gz", "Not a gzipped file", id="not compressed"),
        pytest.param(lambda content: content, "notes.parquet.gz", "expected .csv", id="parquet"),
        pytest.param(lambda content: content, "notes.gz", "expected .csv", id="no other suffix"),
    ],
)
def test_compressed_files_that_cannot_be_read_are_refused(refuse_table, damage, name, said):
    content = table([(f"text {i} {i**9}", "pos") for i in range(200)])
    assert said in refuse_table(damage(gzip.compress(content.encode())), *LABELLED, name=name)
