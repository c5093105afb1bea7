"""Lines of metrics: appended, removed when a run resumes from an earlier step, readable after a crash."""

import json
import os
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from lab10.training.json_lines import read_json_lines
from lab10.training.metrics_log import MetricsLog
from lab10.training.workdir import Workdir


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path)


def write(workdir, start, steps):
    with MetricsLog(workdir, start) as log:
        for step in steps:
            log.write(step, step / 10, "train", {"loss": 1 / step, "accuracy": 0.5})
            log.commit()


def test_a_line_is_one_object_with_step_epoch_split_and_metrics(workdir):
    write(workdir, 0, [3])
    (line,) = workdir.metrics_path.read_text().splitlines()
    assert json.loads(line) == {"step": 3, "epoch": 0.3, "split": "train", "loss": 1 / 3, "accuracy": 0.5}


def test_a_resumed_run_rewrites_its_metrics_and_none_twice(workdir):
    write(workdir, 0, [10, 20, 30, 40])
    before = workdir.metrics_path.read_bytes()
    write(workdir, 20, [30, 40])
    assert workdir.metrics_path.read_bytes() == before
    write(workdir, 40, [])
    assert workdir.metrics_path.read_bytes() == before


def test_committed_lines_are_on_the_disk(workdir, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    with MetricsLog(workdir, 0) as log:
        synced.clear()
        log.write(1, 0.1, "train", {"loss": 1.0})
        log.commit()
        assert len(workdir.metrics_path.read_bytes()) in synced


@pytest.mark.parametrize("torn", ['{"step": 20, "epo', '{"step": 20}garbage', "\x00\x00\x00"])
def test_a_line_truncated_by_a_crash_is_ignored(workdir, torn):
    write(workdir, 0, [10])
    with open(workdir.metrics_path, "a") as file:
        file.write(torn)
    assert [line["step"] for line in read_json_lines(workdir.metrics_path)] == [10]
    write(workdir, 10, [20])
    assert [line["step"] for line in read_json_lines(workdir.metrics_path)] == [10, 20]


@pytest.mark.parametrize("line", ["", "garbage", '{"note": "another learning rate"}', '{"step": 20'])
def test_a_line_that_is_no_line_of_metrics_costs_no_other(workdir, capsys, line):
    write(workdir, 0, [10, 20, 30])
    lines = workdir.metrics_path.read_text().splitlines()
    workdir.metrics_path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    write(workdir, 30, [40])
    assert workdir.metrics_path.read_text().splitlines()[:3] == lines
    assert "Removed 1 line(s) that are not lines of metrics" in capsys.readouterr().err
    write(workdir, 40, [50])
    assert capsys.readouterr().err == ""


def test_lines_that_were_added_twice_are_kept_once(workdir):
    write(workdir, 0, [10, 20])
    with MetricsLog(workdir, 20) as log:
        log.write(20, 2.0, "validation", {"loss": 0.5})  # of the same step as a line of training
    content = workdir.metrics_path.read_text()
    assert len(content.splitlines()) == 3
    workdir.metrics_path.write_text(content + content)
    write(workdir, 20, [])
    assert workdir.metrics_path.read_text() == content


def test_a_missing_file_has_no_lines(tmp_path):
    assert read_json_lines(tmp_path / "metrics.jsonl") == []


def test_every_prefix_of_the_file_reads_as_its_complete_lines(workdir):
    write(workdir, 0, [1, 2, 3])
    content = workdir.metrics_path.read_bytes()
    for length in range(len(content) + 1):
        workdir.metrics_path.write_bytes(content[:length])
        whole = content[:length].count(b"\n")
        # The last line may lack no more than its newline.
        assert len(read_json_lines(workdir.metrics_path)) in (whole, whole + (content[length : length + 1] == b"\n"))


def events(workdir):
    """(tag, step, value) of every event of all files, in TensorBoard's order."""
    found = []
    for path in sorted((workdir.path / "tensorboard").iterdir()):
        content, start = path.read_bytes(), 0
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)
            event = Event.FromString(content[start + 12 : start + 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            start += length + 16
    return found


def test_events_of_a_resumed_run_are_in_order_without_duplicates(workdir):
    write(workdir, 0, [10, 20, 30, 40])
    expected = events(workdir)
    assert [(tag, step) for tag, step, _ in expected[:3]] == [
        ("train/loss", 10),
        ("train/accuracy", 10),
        ("train/loss", 20),
    ]
    for start in (20, 20, 10, 30):
        write(workdir, start, range(start + 10, 50, 10))
        assert events(workdir) == expected
    write(workdir, 40, [])
    assert events(workdir) == expected


@pytest.mark.parametrize("torn", [b"\x18", b"\x18" + 7 * b"\0", b"\x02" + 7 * b"\0" + b"crc!" + b"\xff\xff" + b"crc!"])
def test_an_event_truncated_by_a_crash_is_ignored(workdir, torn):
    write(workdir, 0, [10, 20])
    expected = events(workdir)
    (path,) = (workdir.path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes() + torn)
    write(workdir, 20, [30])
    assert events(workdir)[: len(expected)] == expected
    assert len(events(workdir)) == len(expected) + 2


def test_event_files_are_created_with_the_first_event(workdir):
    write(workdir, 0, [])
    assert not (workdir.path / "tensorboard").exists()
    write(workdir, 0, [1])
    assert list((workdir.path / "tensorboard").glob("events*"))
