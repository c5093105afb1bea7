"""Code in an untrusted workdir runs only if the reader trusts it and it is the code that was trained."""

import dataclasses
import hashlib
import importlib.util
import json
import os
import py_compile
import sys

import pytest

from lab10.config.errors import UserError
from lab10.inspection.load import load
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir

SOURCE = '''"""Harmless.\x1b[2J\x07 {long}"""
import dataclasses
from lab10.models.text_classifiers import LSTM
open({marker!r}, "w")

@dataclasses.dataclass(frozen=True, kw_only=True)
class Planted(LSTM):
    pass
'''


@pytest.fixture
def source(marker):
    """A module that makes the marker when it is run."""
    return SOURCE.format(marker=str(marker), long="long " * 50).encode()


@pytest.fixture
def plant(made_runs, copy_of, tmp_path, source):
    """Makes a workdir whose model is said to be a class of a planted file; returns the workdir and the file."""

    def make(**changes):
        workdir = copy_of(made_runs("texts"), tmp_path / "run")
        file = workdir / "user_code" / "planted.py"
        file.parent.mkdir()
        file.write_bytes(source)
        digest = hashlib.sha256(source).hexdigest()
        entry = {"file": "planted.py", "module": None, "sha256": digest, "classes": ["Planted"]} | changes
        config = json.loads((workdir / "config.json").read_bytes())
        config["experiment"]["model"]["type"] = "Planted"
        config["user_code"] = [entry]
        (workdir / "config.json").write_text(json.dumps(config))
        return workdir, file

    return make


def refusal(action, *arguments, **options):
    with pytest.raises(UserError) as refused:
        action(*arguments, **options)
    message = str(refused.value)
    assert 1 <= len(message.splitlines()) <= 10
    return message


def test_the_planted_file_runs_if_trusted(plant, marker):
    """Without this, the tests below would prove nothing."""
    workdir, _ = plant()
    assert type(load(workdir, trust=True).config.model).__name__ == "Planted"
    assert marker.exists()


def test_nothing_done_with_a_run_executes_its_code_without_trust(plant, marker, experiments, use):
    workdir, _ = plant()
    refused = use(workdir, "texts", experiments["texts"])
    assert refused.keys() == {"read", "evaluate", "train"}
    assert not marker.exists()
    message = refused["read"]
    assert "user_code/planted.py, for the class Planted: “Harmless.[2J long" in message
    assert message.isprintable() or set(filter(lambda c: not c.isprintable(), message)) == {"\n"}
    assert max(map(len, message.splitlines())) < 300


def test_a_run_that_starts_from_its_parameters_runs_nothing(plant, marker, experiments, tmp_path):
    workdir, _ = plant()
    second = dataclasses.replace(experiments["texts"], init_from=str(workdir), steps=1)
    assert train(RunWriter(second, Workdir(tmp_path / "second")))["step"] == 1
    assert not marker.exists()


def test_a_file_that_no_config_names_is_never_read(made_runs, copy_of, tmp_path, source, marker, watched):
    workdir = copy_of(made_runs("texts"), tmp_path / "run")
    for folder in ("user_code", "."):
        (workdir / folder).mkdir(exist_ok=True)
        for name in ("__init__.py", "sitecustomize.py", "lab10.py", "planted.py"):
            (workdir / folder / name).write_bytes(source)
    with watched() as watch:
        load(workdir, trust=True).predict(["a text"])
    assert not marker.exists()
    assert not [path for path in watch.opened if path.suffix == ".py" and path.is_relative_to(tmp_path)]


@pytest.mark.parametrize("entries", [[], None, "planted.py", [{}], [None], [{"file": "planted.py"}]])
def test_a_class_that_the_config_names_without_its_file_is_refused(plant, marker, entries):
    workdir, _ = plant()
    config = json.loads((workdir / "config.json").read_bytes())
    config["user_code"] = entries
    (workdir / "config.json").write_text(json.dumps(config))
    for trust in (False, True):
        assert "config.json" in refusal(load, workdir, trust=trust)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["../planted.py", "/tmp/planted.py", "user_code/../../planted.py", ".planted.py", "a\x1b.py", "planted.pyc"]
)
def test_a_file_elsewhere_is_refused(plant, marker, tmp_path, name, source):
    workdir, _ = plant(file=name)
    (tmp_path / "planted.py").write_bytes(source)
    assert "config.json is damaged" in refusal(load, workdir, trust=True)
    assert not marker.exists()


def test_a_changed_file_is_refused_with_trust_too(plant, marker):
    workdir, file = plant()
    file.write_bytes(file.read_bytes() + b"# changed\n")
    for trust in (False, True):
        assert "planted.py has changed since the run was trained" in refusal(load, workdir, trust=trust)
    assert not marker.exists()


def test_links_pipes_and_folders_are_refused(plant, marker, tmp_path, source):
    workdir, file = plant()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "planted.py").write_bytes(source)

    def replace(make):
        file.unlink()
        make()
        for trust in (False, True):
            assert "planted.py cannot be read (" in refusal(load, workdir, trust=trust)
        assert not marker.exists()
        file.rmdir() if file.is_dir() else file.unlink()
        file.write_bytes(source)

    replace(lambda: file.symlink_to(tmp_path / "elsewhere" / "planted.py"))
    replace(lambda: file.symlink_to("/dev/zero"))
    replace(lambda: os.mkfifo(file))
    replace(lambda: file.mkdir())
    file.unlink()
    file.parent.rmdir()
    file.parent.symlink_to(tmp_path / "elsewhere")
    assert "user_code is a link" in refusal(load, workdir, trust=True)
    assert not marker.exists()


def test_bytecode_next_to_the_file_is_not_run_in_its_place(plant, marker, tmp_path):
    harmless = b"import dataclasses\nfrom lab10.models.text_classifiers import LSTM\n\n"
    harmless += b"@dataclasses.dataclass(frozen=True, kw_only=True)\nclass Planted(LSTM):\n    pass\n"
    workdir, file = plant(sha256=hashlib.sha256(harmless).hexdigest())
    cached = importlib.util.cache_from_source(str(file))
    py_compile.compile(str(file), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    file.write_bytes(harmless)
    load(workdir, trust=True)
    assert not marker.exists()


def test_a_module_that_the_config_names_is_not_imported_without_trust(plant, marker, tmp_path, monkeypatch, source):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "planted_module", raising=False)
    (tmp_path / "planted_module.py").write_bytes(source)
    workdir, _ = plant(file=None, module="planted_module")
    assert "the module planted_module, for the class Planted" in refusal(load, workdir)
    assert not marker.exists()


def test_a_config_cannot_turn_any_loaded_class_into_a_component(plant, marker):
    for module, name in (("os", "PathLike"), ("subprocess", "Popen"), ("__main__", "Planted")):
        workdir, _ = plant(file=None, module=module, classes=[name])
        assert refusal(load, workdir, trust=True)
    assert not marker.exists()


def test_the_copy_of_a_run_is_not_written_through_a_link(made_runs, copy_of, tmp_path, experiments, marker):
    from lab10.config.user_modules import import_file

    mine = SOURCE.format(marker=os.devnull, long="").encode()
    (tmp_path / "mine.py").write_bytes(mine)
    (cls,) = (cls for cls in import_file(tmp_path / "mine.py", mine).classes if cls.__name__ == "Planted")
    experiment = dataclasses.replace(experiments["texts"], model=cls(embedding_dim=4, hidden_size=3))
    dataset = experiment.data.open_dataset()
    workdir = Workdir(tmp_path / "run")
    workdir.path.mkdir()
    workdir.write_or_check_config(experiment, dataset)
    (tmp_path / "elsewhere").mkdir()
    (workdir.path / "user_code" / "mine.py").unlink()
    (workdir.path / "user_code").rmdir()
    (workdir.path / "user_code").symlink_to(tmp_path / "elsewhere")
    assert "user_code is a link" in refusal(workdir.write_or_check_config, experiment, dataset)
    assert not list((tmp_path / "elsewhere").iterdir())
