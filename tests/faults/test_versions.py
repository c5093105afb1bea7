"""Checkpoints of another format, and runs made with another revision of the project."""

import json
import shutil

import pytest

from lab10.training.checkpoint_metadata import FORMAT_VERSION, digest_of_json


@pytest.fixture
def copied(finished_run, tmp_path):
    """A copy of a finished run."""
    shutil.copytree(finished_run[0], tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_checkpoint_of_another_format_is_refused_and_kept(scripts, runs, copied, checkpoints_of, command):
    path = copied / "checkpoints" / "30" / "_CHECKPOINT_METADATA"
    metadata = json.loads(path.read_text())
    custom = metadata["custom_metadata"] | {"format": FORMAT_VERSION + 1}
    del custom["own_sha256"]
    path.write_text(json.dumps(metadata | {"custom_metadata": custom | {"own_sha256": digest_of_json(custom)}}))
    before = checkpoints_of(copied)
    said = runs.refusal(copied, "--steps", 40) if command == "train" else scripts.refusal("evaluate", copied)
    assert f"has the checkpoint format {FORMAT_VERSION + 1}; this version of lab10 reads format" in said
    assert checkpoints_of(copied) == before, "neither read, nor dropped, nor set aside"


def test_a_config_of_another_format_is_refused(runs, copied):
    path = copied / "config.json"
    path.write_text(path.read_text().replace('"format": 4', '"format": 3'))
    said = runs.refusal(copied)
    assert "has the config format 3; this version of lab10 reads format 4" in said


def test_another_revision_gives_a_warning_and_is_recorded(runs, copied):
    path = copied / "config.json"
    config = json.loads(path.read_text())
    config["provenance"][-1]["revision"] = "0" * 40
    path.write_text(json.dumps(config))
    _, said = runs.train(copied, "--steps", 32)
    assert "Changed since this run was last trained: revision." in said
    revisions = [entry["revision"] for entry in json.loads(path.read_text())["provenance"]]
    assert len(revisions) == 2
    assert revisions[0] == "0" * 40
    _, said = runs.train(copied, "--steps", 32)
    assert "Changed since" not in said
