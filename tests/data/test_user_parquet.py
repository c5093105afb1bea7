"""Parquet files of texts: every row is read as it is in the file, or reported with its number."""

import json
import textwrap

import pytest

WHOLE = ("--test-fraction", "0")
LABELLED = (*WHOLE, "--label", "label")


@pytest.fixture
def parquet(tmp_path):
    """Writes columns as a Parquet file, and returns its bytes."""
    import pyarrow as pa
    import pyarrow.parquet

    def make(columns, metadata=None):
        pyarrow.parquet.write_table(pa.table(columns).replace_schema_metadata(metadata), tmp_path / "made.parquet")
        return (tmp_path / "made.parquet").read_bytes()

    return make


def test_parquet_files(prepare_table, refuse_table, parquet):
    columns = {"text": ["a", "b", "c"], "label": [0.0, 1.0, 1.0], "words": [["a"], ["b"], ["c"]]}
    _, splits = prepare_table(parquet(columns), *LABELLED, name="notes.parquet")
    assert splits["train"][1] == {"text": "b", "label": "1"}
    message = refuse_table(parquet(columns), "--text", "words", name="notes.parquet")
    assert "Column 'words'" in message
    assert "list<" in message
    missing = parquet({"text": ["a", None, "c"], "label": [0, 1, None]})
    message = refuse_table(missing, *LABELLED, name="notes.parquet")
    assert "no text: row 2" in message
    assert "no label: row 3" in message
    assert "not a readable Parquet file" in refuse_table(b"PAR1 nothing", *WHOLE, name="notes.parquet")


def test_class_names_that_hugging_face_stores_in_parquet(prepare_table, parquet):
    info = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
    content = parquet({"text": ["a", "b", "c"], "label": [1, 0, 1]}, {"huggingface": json.dumps(info)})
    _, splits = prepare_table(content, *LABELLED, name="notes.parquet")
    assert [record["label"] for record in splits["train"]] == ["pos", "neg", "pos"]


def test_equal_numbers_are_one_group_whatever_their_type(prepare_table, parquet, tmp_path):
    """pandas stores whole numbers as floats in a column with missing values."""
    columns = {"text": ["a", "b"], "who": [7.0, 8.5]}
    _, splits = prepare_table(parquet(columns), *WHOLE, "--group", "who", name="notes.parquet")
    assert [record["group"] for record in splits["train"]] == ["7", "8.5"]


@pytest.mark.parametrize("is_struct", [True, False])
def test_images_in_parquet_are_refused_with_the_lines_that_write_them_into_folders(
    refuse_table, parquet, tmp_path, monkeypatch, is_struct
):
    encoded = [b"first", b"second"]
    images = [{"bytes": content, "path": None} for content in encoded] if is_struct else encoded
    content = parquet({"picture": images, "kind": ["cat", "dog"]})
    for arguments in ((), ("--text", "picture")):
        message = refuse_table(content, "--label", "kind", *arguments, name="notes.parquet")
        assert "Column 'picture'" in message
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent("\n".join(line for line in message.splitlines() if line.startswith("  "))), {})
    assert (tmp_path / "images" / "cat" / "0.png").read_bytes() == b"first"
    assert (tmp_path / "images" / "dog" / "1.png").read_bytes() == b"second"


def test_texts_next_to_images_are_read(prepare_table, parquet):
    content = parquet({"image": [b"a", b"b"], "text": ["one", "two"]})
    assert prepare_table(content, *WHOLE, name="notes.parquet")[1]["train"] == [{"text": "one"}, {"text": "two"}]
