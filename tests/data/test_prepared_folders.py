"""Datasets that are prepared in another folder, version or config than requested."""

import pytest

from lab10.data.prepared_folders import found_instead


@pytest.fixture
def root(tmp_path):
    for dataset in ("mnist/3.0.0", "mnist/3.0.1", "glue/sst2/2.0.0", "titanic/4.0.0"):
        folder = tmp_path / "a" / "datasets" / dataset
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").touch()
    (tmp_path / "a" / "datasets" / "downloads" / "manual").mkdir(parents=True)
    return tmp_path / "a" / "datasets"


def test_other_versions_and_configs_are_named(root):
    assert found_instead("mnist", root) == "mnist:3.0.0, mnist:3.0.1 is prepared there: --data.name mnist:3.0.1"
    assert found_instead("mnist:9.9.9", root).endswith("--data.name mnist:3.0.1")
    assert found_instead("glue/cola", root) == "glue/sst2:2.0.0 is prepared there: --data.name glue/sst2:2.0.0"


@pytest.mark.parametrize("inside", ["titanic", "titanic/4.0.0"])
def test_a_folder_too_deep_suggests_the_one_above(root, inside):
    assert f"in {root}: --data.dir {root} --data.name titanic:4.0.0" in found_instead("titanic", root / inside)
    message = found_instead("my_texts", root / inside)
    assert "is in the folder of titanic:4.0.0" in message
    assert message.endswith(f"--data.dir {root} --data.name titanic:4.0.0")


def test_a_folder_not_deep_enough_suggests_the_one_below(root):
    assert f"--data.dir {root} --data.name mnist" in found_instead("mnist", root.parent)


def test_the_suggested_name_is_a_prepared_dataset(root):
    assert found_instead("titanik", root) == f"{root} contains glue, mnist, titanic; did you mean 'titanic'?"


@pytest.mark.parametrize("name", ["", "..", "*", "a b", "/etc"])
def test_an_invalid_name_is_not_searched_for(root, name):
    assert found_instead(name, root) == ""


def test_an_empty_or_missing_folder_gives_no_hint(tmp_path):
    assert found_instead("mnist", tmp_path / "absent") == ""
