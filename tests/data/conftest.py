"""Own files that are prepared, or refused."""

import pytest
from csv_tables import records_of
from user_images import stored_images


@pytest.fixture
def prepare_images(scripts, tmp_path):
    """Prepares a folder or file as `pictures`, and returns the summary and the images of the train split."""

    def run(source, *arguments):
        fixed = ("--from", source, "--data-dir", tmp_path / "data", "--test-fraction", 0)
        summary = scripts.answer("prepare_data", "pictures", *fixed, *arguments)["datasets"]["pictures"]
        return summary, stored_images(tmp_path / "data")

    return run


@pytest.fixture
def refuse_images(scripts, tmp_path):
    """Prepares a folder or file as `pictures`, and returns the message with which it is refused."""
    return lambda source, *arguments: refused_preparation(scripts, tmp_path, "pictures", source, *arguments)


@pytest.fixture
def prepare_table(scripts, tmp_path):
    """Writes a file, prepares it as `notes`, and returns the summary and the records of each split."""

    def run(content, *arguments, name="notes.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        fixed = ("notes", "--from", path, "--data-dir", tmp_path / "data", "--overwrite")
        summary = scripts.answer("prepare_data", *fixed, *arguments)["datasets"]["notes"]
        return summary, {split: records_of(split, tmp_path) for split in summary["splits"]}

    return run


@pytest.fixture
def refuse_table(scripts, tmp_path):
    """Writes a file, and returns the message with which it is refused; nothing is written."""

    def run(content, *arguments, name="notes.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return refused_preparation(scripts, tmp_path, "notes", path, *arguments)

    return run


def refused_preparation(scripts, tmp_path, name, source, *arguments):
    """The message with which a dataset is refused; checks that nothing is written."""
    data = tmp_path / "refused"
    message = scripts.refusal("prepare_data", name, "--from", source, "--data-dir", data, *arguments)
    assert not data.exists()
    return message
