import json

import pytest

from lab10.training.evaluation_log import read_evaluations, record_evaluation


def test_evaluations_are_counted_by_split(tmp_path):
    counts = [
        record_evaluation(tmp_path, {"split": split, "step": 3}) for split in ("test", "validation", "test", "test")
    ]
    assert counts == [1, 1, 2, 3]
    lines = [json.loads(line) for line in (tmp_path / "evaluations" / "log.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["test", "validation", "test", "test"]
    assert all(line["step"] == 3 for line in lines)
    assert [len(read_evaluations(tmp_path, split)) for split in ("test", "validation", "train")] == [3, 1, 0]


@pytest.mark.parametrize(
    ("tfds_split", "content", "warned"),
    [("test", "b", True), ("test", "a", False), ("test[:9]", "b", False), ("test", "", False)],
    ids=["changed", "unchanged", "other slice", "unknown"],
)
def test_examples_that_changed_since_the_last_evaluation_are_reported(tmp_path, capsys, tfds_split, content, warned):
    result = {"split": "test", "tfds_split": "test", "content_sha256": "a"}
    for earlier in (result, {"split": "test"}, result | {"split": "validation", "content_sha256": "c"}):
        record_evaluation(tmp_path, earlier)
    assert capsys.readouterr().err == ""
    record_evaluation(tmp_path, result | {"tfds_split": tfds_split, "content_sha256": content})
    assert ("the examples of test have changed since the evaluation at" in capsys.readouterr().err) == warned
