"""The folder of a run: its lock, the files it records, and the configs it refuses."""

import json
import os
import subprocess
import sys

import numpy as np
import preloaded
import pytest

from lab10.config.atomic_write import write_atomically
from lab10.config.errors import UserError
from lab10.data.dataset import OpenDataset
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.training.workdir import Workdir


@pytest.fixture
def dataset(image_spec):
    return OpenDataset(image_spec, "few/1.0.0", "0" * 64, lambda split: pytest.fail("no split is needed"))


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "run").mkdir()
    return Workdir(tmp_path / "run")


def test_a_written_config_is_read_back(workdir, dataset, image_experiment):
    workdir.write_or_check_config(image_experiment(), dataset)
    assert workdir.read_experiment() == image_experiment()
    assert workdir.read_spec() == dataset.spec
    provenance = json.loads(workdir.config_path.read_text())["provenance"]
    assert len(provenance) == 1
    assert {"python", "jax", "device", "revision"} <= provenance[0].keys()


def test_the_vocabulary_is_written_a_word_a_line(workdir, text_spec, text_experiment):
    for words in ([b"the", "d\u00e9j\u00e0".encode(), b"\xff\r"], []):
        workdir.write_or_check_config(
            text_experiment(), OpenDataset(text_spec, "few/1.0.0", "0", lambda split: None, words)
        )
        assert workdir.read_vocabulary() == words


def test_the_same_experiment_resumes_with_other_logging(workdir, dataset, image_experiment):
    workdir.write_or_check_config(image_experiment(), dataset)
    workdir.write_or_check_config(image_experiment(log_every=7, checkpoint_every=3), dataset)
    assert workdir.read_experiment().log_every == 7


def test_another_config_is_refused_and_the_fields_named(workdir, dataset, image_experiment):
    workdir.write_or_check_config(image_experiment(), dataset)
    with pytest.raises(UserError, match=r"these differ") as error:
        workdir.write_or_check_config(image_experiment(batch_size=9, optimizer=Adam(learning_rate=0.5)), dataset)
    said = str(error.value).splitlines()
    assert said[1:3] == ["  --batch-size: 6 → 9", "  --optimizer.learning-rate: 0.001 → 0.5"]
    assert f"--init-from {workdir.path} --workdir {workdir.path}_2" in said[-1]
    assert workdir.read_experiment() == image_experiment(), "nothing was overwritten"


def test_a_message_about_many_fields_has_at_most_ten_lines(workdir, dataset, image_experiment, text_experiment):
    workdir.write_or_check_config(image_experiment(), dataset)
    with pytest.raises(UserError, match="and 2 more: ") as error:
        workdir.write_or_check_config(
            image_experiment(batch_size=9, seed=3, ema_decay=0.5, optimizer=Adam(b1=0.5, b2=0.5)), dataset
        )
    assert len(str(error.value).splitlines()) <= 10
    with pytest.raises(UserError, match="--model") as error:
        workdir.write_or_check_config(text_experiment(), dataset)
    assert len(str(error.value).splitlines()) <= 10


def test_other_data_with_the_same_name_is_refused(workdir, dataset, image_spec, image_experiment):
    workdir.write_or_check_config(image_experiment(), dataset)
    with pytest.raises(UserError, match="the dataset's content"):
        workdir.write_or_check_config(
            image_experiment(), OpenDataset(image_spec, "few/1.0.0", "1" * 64, lambda split: None)
        )


def test_a_run_can_be_extended_but_not_shortened(workdir, dataset, image_experiment):
    workdir.write_or_check_config(image_experiment(steps=10), dataset)
    workdir.write_or_check_config(image_experiment(steps=20), dataset)
    for shorter in ({"steps": 10}, {"steps": None, "epochs": 3}):
        with pytest.raises(UserError, match="--steps"):
            workdir.write_or_check_config(image_experiment(**shorter), dataset)


def test_a_run_whose_schedule_depends_on_its_length_cannot_be_extended(workdir, dataset, image_experiment):
    workdir.write_or_check_config(image_experiment(steps=10, optimizer=Adam(schedule=Cosine())), dataset)
    with pytest.raises(UserError, match="--steps"):
        workdir.write_or_check_config(image_experiment(steps=20, optimizer=Adam(schedule=Cosine())), dataset)


def test_a_folder_of_other_files_is_refused(workdir, dataset, image_experiment):
    (workdir.path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"is not a run of lab10, but contains thesis\.tex"):
        workdir.write_or_check_config(image_experiment(), dataset)
    assert [path.name for path in workdir.path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", b"{", b"[]", b"\xff", b'{"format": 2}', b'{"format": 3}', b"[" * 100_000),
        *(b'{"format": 3, "experiment": {}, "dataset": %s}' % dataset for dataset in (b"[]", b"{}", b"null")),
    ],
    ids=repr,
)
def test_a_folder_that_is_not_a_run_is_refused(workdir, content):
    if content is not None:
        workdir.config_path.write_bytes(content)
    for read in (workdir.read_experiment, workdir.read_spec):
        with pytest.raises(UserError, match=r"config\.json"):
            read()


def test_a_missing_vocabulary_is_reported(workdir):
    with pytest.raises(UserError, match=r"no vocabulary\.txt"):
        workdir.read_vocabulary()


HOLD = """
import sys
from lab10.training.workdir import Workdir
with Workdir(sys.argv[1]).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_locked_until_its_process_dies(workdir):
    with preloaded.Popen(
        [sys.executable, "-c", HOLD, str(workdir.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="Another process is training"), workdir.locked():
            pass
        other.kill()
        other.wait()
    with workdir.locked(), pytest.raises(UserError, match="Another process"), Workdir(workdir.path).locked():
        pass
    with workdir.locked():
        pass


def test_a_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"), Workdir(tmp_path / "file" / "run").locked():
        pass


def test_a_file_is_replaced_atomically(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", bytes(np.arange(256, dtype=np.uint8))):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_replaces_another(tmp_path, monkeypatch):
    done, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("replace") or replace(*paths))
    write_atomically(tmp_path / "file", b"content")
    assert done == [len(b"content"), "replace"]
