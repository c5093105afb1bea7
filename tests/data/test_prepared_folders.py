"""Datasets that are prepared in another folder, version or config than requested."""

import pytest

from lab10.data.prepared_folders import prepared_dataset_hint


@pytest.fixture
def root(tmp_path):
    for dataset in ("mnist/3.0.0", "mnist/3.0.1", "glue/sst2/2.0.0", "titanic/4.0.0"):
        folder = tmp_path / "a" / "datasets" / dataset
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").touch()
    (tmp_path / "a" / "datasets" / "downloads" / "manual").mkdir(parents=True)
    return tmp_path / "a" / "datasets"


def test_other_versions_and_configs_are_named(root):
    assert prepared_dataset_hint("mnist", root) == "mnist:3.0.0, mnist:3.0.1 is prepared there: --data.name mnist:3.0.1"
    assert prepared_dataset_hint("mnist:9.9.9", root).endswith("--data.name mnist:3.0.1")
    assert prepared_dataset_hint("glue/cola", root) == "glue/sst2:2.0.0 is prepared there: --data.name glue/sst2:2.0.0"


@pytest.mark.parametrize("inside", ["titanic", "titanic/4.0.0"])
def test_a_folder_too_deep_suggests_the_one_above(root, inside):
    assert f"in {root}: --data.dir {root} --data.name titanic:4.0.0" in prepared_dataset_hint("titanic", root / inside)
    message = prepared_dataset_hint("my_texts", root / inside)
    assert "is in the folder of titanic:4.0.0" in message
    assert message.endswith(f"--data.dir {root} --data.name titanic:4.0.0")


def test_a_folder_not_deep_enough_suggests_the_one_below(root):
    assert f"--data.dir {root} --data.name mnist" in prepared_dataset_hint("mnist", root.parent)


def test_the_suggested_name_is_a_prepared_dataset(root):
    assert prepared_dataset_hint("titanik", root) == f"{root} contains glue, mnist, titanic; did you mean 'titanic'?"


@pytest.mark.parametrize("name", ["", "..", "*", "a b", "/etc"])
def test_an_invalid_name_is_not_searched_for(root, name):
    assert prepared_dataset_hint(name, root) == ""


def test_an_empty_or_missing_folder_gives_no_hint(tmp_path):
    assert prepared_dataset_hint("mnist", tmp_path / "absent") == ""
