"""Copies of code outside lab10 in a workdir, and when they are run; nothing is trained."""

import dataclasses
import importlib
import json
import os
import sys

import pytest

from lab10.cli.overrides import load_experiment_file
from lab10.config import user_code, user_modules
from lab10.config.equivalent_sources import is_equivalent
from lab10.config.errors import UserError
from lab10.data.dataset import OpenDataset
from lab10.models.autoencoder import LinearAutoencoder
from lab10.training.workdir import Workdir

PAGE = '''"""A page of a test, in one line.

And more.
"""
import dataclasses
from lab10.cli.overrides import load_experiment
from lab10.models.autoencoder import LinearAutoencoder

@dataclasses.dataclass(frozen=True, kw_only=True)
class Tied(LinearAutoencoder):
    gain: float = 1.0
    """A factor."""

    def doubled(self):
        return 2 * self.gain

experiment = dataclasses.replace(load_experiment("mnist_pca"), model=Tied(gain=2.0))
'''


@pytest.fixture
def dataset(image_spec):
    return OpenDataset(image_spec, "few/1.0.0", "0" * 64, lambda split: pytest.fail("no split is needed"))


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "run").mkdir()
    return Workdir(tmp_path / "run")


@pytest.fixture
def write_config(workdir, dataset):
    """Writes the config.json of an experiment to `workdir`, or to another workdir."""
    return lambda experiment, into=workdir: into.write_or_check_config(experiment, dataset)


@pytest.fixture
def page(tmp_path):
    """Writes a page and runs it."""

    def load(text=PAGE, name="page.py"):
        (tmp_path / name).write_text(text)
        return load_experiment_file(str(tmp_path / name))

    return load


@pytest.fixture
def another_process(monkeypatch):
    """Forgets what this process has run and trained, as another process does."""

    def forget():
        monkeypatch.setattr(user_modules, "_run", {})
        user_code.session_classes.clear()

    return forget


@pytest.fixture
def recorded(page, workdir, write_config, another_process):
    """A workdir whose config.json names the class of a page that no longer exists."""
    write_config(page().experiment)
    os.remove(workdir.path.parent / "page.py")
    another_process()
    return workdir


def refusal(action, *arguments):
    with pytest.raises(UserError) as refused:
        action(*arguments)
    message = str(refused.value)
    assert 1 <= len(message.splitlines()) <= 10
    return message


def test_the_file_is_copied_and_its_digest_recorded(page, workdir, write_config):
    write_config(page().experiment)
    assert (workdir.path / "user_code" / "page.py").read_text() == PAGE
    (entry,) = json.loads(workdir.config_path.read_text())["user_code"]
    assert entry == {
        "file": "page.py",
        "module": None,
        "sha256": user_modules.sha256_of(PAGE.encode()),
        "classes": ["Tied"],
    }


def test_a_run_of_classes_of_lab10_has_no_code_of_its_own(page, workdir, write_config):
    unused = page(PAGE.replace(", model=Tied(gain=2.0)", ""))
    assert unused.user_classes, "a class that the experiment does not use"
    write_config(unused.experiment)
    assert "user_code" not in json.loads(workdir.config_path.read_text())
    assert not (workdir.path / "user_code").exists()
    assert workdir.read_experiment() == unused.experiment


def test_without_trust_the_message_says_what_would_run(recorded):
    for read in (recorded.read_experiment, recorded.read_spec):
        message = refusal(read)
        assert str(recorded.path / "user_code" / "page.py") in message
        assert "the class Tied: “A page of a test, in one line.”" in message
        assert "trust=True" in message
        assert "--trust" in message
    assert not user_modules._run, "nothing was run"


def test_with_trust_the_copy_is_run(recorded):
    experiment = recorded.read_experiment(trust=True)
    assert type(experiment.model).__name__ == "Tied"
    assert experiment.model.doubled() == 4.0
    assert recorded.read_experiment() == experiment, "by now, this process has run it"
    assert not list(recorded.path.rglob("*.pyc"))


def test_code_that_this_process_has_run_needs_no_trust(page, workdir, write_config):
    experiment = page().experiment
    write_config(experiment)
    assert workdir.read_experiment() == experiment


def test_a_changed_copy_is_refused_with_trust_and_without(recorded):
    copy = recorded.path / "user_code" / "page.py"
    copy.write_text(PAGE.replace("2 * self.gain", "3 * self.gain"))
    for trust in (False, True):
        assert "page.py has changed since the run was trained" in refusal(recorded.read_experiment, trust)
    copy.unlink()
    assert "user_code/page.py cannot be read (No such file or directory)" in refusal(recorded.read_experiment, True)


def test_a_missing_module_that_a_copy_imports_is_named(
    page, workdir, write_config, another_process, tmp_path, monkeypatch
):
    (tmp_path / "helper_of_user_code.py").write_text("FACTOR = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = PAGE.replace("import dataclasses\n", "import dataclasses\nimport helper_of_user_code\n", 1)
    write_config(page(text).experiment)
    assert [path.name for path in (workdir.path / "user_code").iterdir()] == ["page.py"]
    another_process()
    monkeypatch.delitem(sys.modules, "helper_of_user_code")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    importlib.invalidate_caches()
    message = refusal(workdir.read_experiment, True)
    assert "user_code/page.py, line 6: ModuleNotFoundError" in message
    assert "imports the module 'helper_of_user_code', which cannot be found here" in message


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A module on the path that defines a class."""
    path = tmp_path / "module_of_user_code.py"
    path.write_text(PAGE[: PAGE.index("experiment =")])
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("module_of_user_code")
    sys.modules.pop("module_of_user_code", None)


def test_a_class_of_an_imported_module_is_imported_by_its_name(
    imported, workdir, write_config, image_experiment, another_process, tmp_path, monkeypatch
):
    experiment = image_experiment(model=imported.Tied(gain=3.0))
    write_config(experiment)
    assert not (workdir.path / "user_code").exists()
    assert workdir.read_experiment() == experiment
    del sys.modules["module_of_user_code"]
    assert "the module module_of_user_code, for the class Tied" in refusal(workdir.read_experiment)
    assert workdir.read_experiment(trust=True).model.gain == 3.0
    path = tmp_path / "module_of_user_code.py"
    path.write_text(path.read_text().replace("2 * self.gain", "3 * self.gain"))
    assert "module_of_user_code.py has changed since" in refusal(workdir.read_experiment, True)
    path.unlink()
    del sys.modules["module_of_user_code"]
    importlib.invalidate_caches()
    message = refusal(workdir.read_experiment, True)
    assert "the module 'module_of_user_code', which cannot be imported here" in message
    assert "PYTHONPATH" in message


def test_a_class_without_a_file_is_loaded_only_by_its_own_process(
    workdir, write_config, image_experiment, another_process
):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class InNotebook(LinearAutoencoder):
        pass

    experiment = image_experiment(model=InNotebook())
    write_config(experiment)
    write_config(experiment)
    assert workdir.read_experiment() == experiment
    another_process()
    for trust in (False, True):
        message = refusal(workdir.read_experiment, trust)
        assert "the class InNotebook, defined in a notebook or a script, of which no file was saved" in message
        assert "python scripts/train.py FILE.py" in message
    assert "another notebook session" in refusal(write_config, experiment)


def test_comments_docstrings_and_the_experiment_may_change(recorded, page, write_config):
    changed = PAGE.replace("in one line", "in another").replace("A factor.", "Any factor.  ")
    changed = changed.replace("def doubled", "# twice\n\n    def doubled").replace("gain=2.0", "gain=1.0 + 1.0")
    assert changed.count("\n") == PAGE.count("\n") + 2
    write_config(page(changed).experiment)
    assert (recorded.path / "user_code" / "page.py").read_text() == changed
    assert recorded.read_experiment().model.gain == 2.0, "the recorded file is the one that was run last"


def test_another_value_of_a_field_is_still_refused(recorded, page, write_config):
    message = refusal(write_config, page(PAGE.replace("gain=2.0", "gain=5.0")).experiment)
    assert "--model.gain: " in message


def test_code_that_computes_something_else_is_refused(recorded, page, write_config):
    before = recorded.config_path.read_bytes()
    changed = page(PAGE.replace("2 * self.gain", "3 * self.gain")).experiment
    message = refusal(write_config, changed)
    assert "page.py has changed since" in message
    copy = recorded.path / "user_code" / "page.py"
    assert f"train.py {copy} --workdir {recorded.path}" in message
    assert (recorded.config_path.read_bytes(), copy.read_text()) == (before, PAGE)
    write_config(load_experiment_file(str(copy)).experiment)  # as the message says


def test_a_run_is_not_resumed_without_its_code_or_with_added_code(recorded, page, write_config, tmp_path):
    plain = load_experiment_file("mnist_pca").experiment
    assert "it has the class Tied of page.py, and this experiment does not" in refusal(write_config, plain)
    (tmp_path / "plain").mkdir()
    other = Workdir(tmp_path / "plain")
    write_config(plain, other)
    message = refusal(write_config, page().experiment, other)
    assert "--model: " in message
    assert "--model.gain: " in message


def test_a_class_of_a_notebook_with_the_name_of_another_is_refused(write_config, image_experiment):
    namespace = dataclasses.make_dataclass("LinearAutoencoder", [], bases=(LinearAutoencoder,), frozen=True)
    message = refusal(write_config, image_experiment(model=namespace()))
    assert "The experiment has the model LinearAutoencoder, and lab10 has the model LinearAutoencoder" in message


def test_two_files_of_one_name_are_refused(page, write_config, tmp_path):
    (tmp_path / "other").mkdir()
    transform = """import dataclasses
from lab10.cli.overrides import load_experiment
from lab10.data.transforms import NoTransform

@dataclasses.dataclass(frozen=True, kw_only=True)
class Nothing(NoTransform):
    pass

experiment = load_experiment("mnist_pca")
"""
    (nothing,) = page(transform, "other/page.py").user_classes
    experiment = page().experiment
    both = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, transform=nothing()))
    assert "classes of two files named page.py" in refusal(write_config, both)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x = 1", "x  =  1  # one", True),
        ("def f():\n    'says'\n    return 1", "def f():\n    return 1", True),
        ("class A:\n    'says'", "class A:\n    pass", True),
        ("x = 1", "x = 2", False),
        ("def f(): return 1", "def g(): return 1", False),
        ("experiment = 1", "experiment = 2", True),
        ("class A:\n    experiment = 1", "class A:\n    experiment = 2", False),
        ("x = experiment = 1", "x = experiment = 2", False),
        ("x = 1", "x = (", False),
        ("\0", "\0", False),
        ("(" * 5000, "(" * 5000, False),
    ],
)
def test_files_that_differ_only_in_comments_and_layout_are_equivalent(before, after, same):
    assert is_equivalent(before.encode(), after.encode(), "experiment") is same
    assert is_equivalent(after.encode(), before.encode(), "experiment") is same


def test_the_experiment_line_counts_unless_it_is_ignored():
    assert not is_equivalent(b"experiment = 1", b"experiment = 2")
