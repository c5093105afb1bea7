"""Messages about datasets that are missing, not prepared, or misspelled."""

import socket
from pathlib import Path

import pytest

from lab10.config.errors import UserError
from lab10.data import preparation, samples
from lab10.data.sources import SAMPLES, data_root, open_builder, open_source


@pytest.fixture
def empty_root(tmp_path, monkeypatch):
    """A data folder in which nothing is prepared, on a machine without a network."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))

    def refuse(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    return tmp_path


def lines_of(error) -> list[str]:
    lines = str(error.value).splitlines()
    assert len(lines) <= 10
    return lines


@pytest.mark.parametrize(
    ("typo", "meant"), [("mnits", "mnist"), ("imdb_review", "imdb_reviews"), ("synthetic_review", "synthetic_reviews")]
)
def test_an_unknown_dataset_suggests_the_closest_name(empty_root, typo, meant):
    with pytest.raises(UserError, match=f"no dataset '{typo}'; did you mean '{meant}'") as error:
        open_source(typo, "train")
    lines_of(error)


def test_an_own_dataset_in_another_folder_is_answered_with_that_folder(empty_root, monkeypatch):
    """As after `train.py --data.dir data`, where the run is then opened in another folder."""
    monkeypatch.chdir(empty_root)
    with pytest.raises(UserError, match="has no dataset 'my_reviews'") as error:
        open_source("my_reviews", "train", "data")
    message = "\n".join(lines_of(error))
    assert f"{empty_root / 'data'}, which does not exist (a relative path starts at the current folder)" in message
    assert f"prepare_data.py my_reviews --from FILE --data-dir {empty_root / 'data'}" in message
    assert error.value.__suppress_context__, "TFDS's message has hundreds of lines"
    with pytest.raises(UserError) as error:
        open_source("my_reviews", "train")
    assert "does not exist" not in str(error.value)


def test_an_unprepared_dataset_says_how_to_prepare_it(empty_root):
    with pytest.raises(UserError, match="mnist is not prepared in") as error:
        open_source("mnist", "train")
    message = "\n".join(lines_of(error))
    for advice in (str(empty_root), "TFDS_DATA_DIR", "--data.dir", "scripts/prepare_data.py mnist", *SAMPLES):
        assert advice in message


def test_preparing_without_a_network_says_so_at_once(empty_root, monkeypatch):
    monkeypatch.setattr(preparation.importlib.util, "find_spec", lambda name: object())  # as if TensorFlow were there
    with pytest.raises(UserError, match="cannot be reached") as error:
        preparation.prepare("mnist", None, None)
    assert "--manual-dir" in "\n".join(lines_of(error))


def test_preparing_without_tensorflow_names_the_extra(empty_root, monkeypatch):
    monkeypatch.setattr(preparation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"lab10\[prepare\]"):
        preparation.prepare("mnist", None, None)


def test_preparing_from_a_missing_folder_is_refused(empty_root, monkeypatch):
    monkeypatch.setattr(preparation.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(UserError, match=r"--manual-dir .* is not a folder"):
        preparation.prepare("mnist", None, empty_root / "absent")


def test_preparing_an_unknown_dataset_suggests_the_closest_name(empty_root):
    with pytest.raises(UserError, match="did you mean 'fashion_mnist'"):
        preparation.prepare("fashion_mnits", None, None)


def test_an_unknown_split_lists_the_available_splits():
    with pytest.raises(UserError, match=r"has no split 'tset'; it has '(test', 'train|train', 'test)'") as error:
        open_source("synthetic_reviews", "tset", option="--data.test-split")
    assert "with --data.test-split" in "\n".join(lines_of(error))


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        ("train[", "Unrecognized split format"),
        ("train[:200%]", r"\[-100, 100\]"),
        ("train[9000:]", "incompatible with 8000"),
        ("all[:5]", "does not support slice"),
        ("train[5:5]", "has no examples"),
        ("", "no split ''"),
    ],
)
def test_slices_that_do_not_exist_are_refused_with_the_reason(split, reason):
    with pytest.raises(UserError, match=reason) as error:
        open_source("synthetic_reviews", split)
    assert "--data.train-split" in "\n".join(lines_of(error))


def test_slices_are_read_in_order_and_have_separate_cache_entries():
    whole, part = open_source("synthetic_reviews", "train"), open_source("synthetic_reviews", "train[10:30]+test[:5]")
    assert len(part) == 25
    assert part.read([0])[0]["text"] == whole.read([10])[0]["text"]
    assert part.read([20])[0]["text"] == open_source("synthetic_reviews", "test").read([0])[0]["text"]
    splits = ("train[10:30]+test[:5]", "train[10:30]", "train[11:31]", "train")
    fingerprints = [open_source("synthetic_reviews", split).fingerprint for split in splits]
    assert len({str(fingerprint) for fingerprint in fingerprints}) == 4
    assert fingerprints[3].keys() == {"name", "split", "shards", "bytes"}, "entries of whole splits keep their keys"


def test_stored_bytes_are_returned_undecoded():
    source = open_source("synthetic_reviews", "train")
    assert source.undecoded("label").read([0])[0].keys() == {"text", "label"}
    assert source.records.decoders is None


def test_the_data_folder_is_the_field_or_the_variable_or_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert data_root(None) == tmp_path
    assert data_root(str(tmp_path / "other")) == tmp_path / "other"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert data_root(None).name == "tensorflow_datasets"


def test_a_sample_is_prepared_on_first_use_and_read_by_position(cache_dir):
    source = open_source("synthetic_reviews", "test")
    assert len(source) == 2000
    assert str(cache_dir) in str(open_builder("synthetic_reviews", cache_dir / "samples").data_dir)
    chunks = list(source.chunks(700))
    assert [len(chunk) for chunk in chunks] == [700, 700, 600]
    assert chunks[1][0]["text"] == source.records[700]["text"]
    assert source.version == "synthetic_reviews/1.0.0"


def test_fingerprints_of_splits_differ():
    train, test = (open_source("synthetic_reviews", split).fingerprint for split in ("train", "test"))
    assert train != test
    assert train == open_source("synthetic_reviews", "train").fingerprint


def test_every_file_of_samples_is_a_dataset_without_an_entry_in_a_table():
    folder = Path(samples.__file__).parent
    assert SAMPLES.keys() == {path.stem for path in folder.glob("*.py")} - {"__init__"}
