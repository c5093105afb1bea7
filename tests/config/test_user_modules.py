"""Experiment files outside the repository: which classes they bring, and which names are refused."""

import dataclasses
import sys

import pytest

from lab10.cli.overrides import apply_overrides, load_experiment_file, parse_training_arguments
from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, flatten, from_json, to_json
from lab10.config.registry import components_of
from lab10.config.traced_fields import static_signature
from lab10.models.model import Model
from lab10.tasks.task import Task

PAGE = '''"""A page of a test."""
import dataclasses
from lab10.cli.overrides import load_experiment
from lab10.models.autoencoder import LinearAutoencoder

@dataclasses.dataclass(frozen=True, kw_only=True)
class Tied(LinearAutoencoder):
    """An autoencoder of a test."""

    gain: float = 1.0
    """A factor."""

experiment = dataclasses.replace(load_experiment("mnist_pca"), model=Tied(gain=2.0))
'''


@pytest.fixture
def write(tmp_path):
    """Writes a page, and returns its path."""

    def write(text=PAGE, name="page.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_class_of_an_experiment_file_is_a_component(write, capsys):
    page = load_experiment_file(str(write()))
    (tied,) = page.user_classes
    assert page.experiment.model == tied(gain=2.0, latent_dim=page.experiment.model.latent_dim)
    parsed = parse_training_arguments([str(write()), "--model.gain", "3", "--model.latent-dim", "5"]).experiment
    assert (type(parsed.model), parsed.model.gain, parsed.model.latent_dim) == (tied, 3.0, 5)
    json = to_json(parsed, Experiment)
    assert json["model"]["type"] == "Tied"
    assert from_json(json, Experiment, [tied]) == parsed
    with pytest.raises(SystemExit):
        parse_training_arguments([str(write()), "--help"])
    help_text = capsys.readouterr().out
    assert "A factor." in help_text
    assert "Tied" in help_text


def test_a_class_that_the_experiment_does_not_use_is_chosen_by_name(write):
    path = write(PAGE.replace(", model=Tied(gain=2.0)", ""))
    assert type(parse_training_arguments([str(path)]).experiment.model).__name__ == "LinearAutoencoder"
    chosen = parse_training_arguments([str(path), "--model", "tied", "--model.gain", "4"]).experiment.model
    assert (type(chosen).__name__, chosen.gain) == ("Tied", 4.0)


def test_a_class_belongs_to_its_own_file_only(write):
    page = load_experiment_file(str(write()))
    assert "Tied" not in components_of(Model)
    assert components_of(Model, page.user_classes)["Tied"] is page.user_classes[0]
    assert components_of(Task, page.user_classes) == components_of(Task)
    with pytest.raises(UserError, match="There is no Model 'tied'"):
        apply_overrides(load_experiment_file("mnist_pca").experiment, "mnist_pca", ["--model", "tied"])
    with pytest.raises(UserError, match="contains no Experiment that this version of lab10 can read"):
        from_json(to_json(page.experiment, Experiment), Experiment)


def test_a_file_and_its_copy_are_one_module_and_two_versions_are_two(write):
    first, copy = load_experiment_file(str(write())), load_experiment_file(str(write(name="copies/page.py")))
    assert first.user_classes == copy.user_classes
    second = load_experiment_file(str(write(PAGE.replace("gain: float = 1.0", "gain: float = 7.0"))))
    assert [cls.__name__ for cls in second.user_classes] == ["Tied"]
    assert second.user_classes[0] is not first.user_classes[0]
    for page, gain in ((first, 1.0), (second, 7.0)):
        fields = to_json(dataclasses.replace(page.experiment, model=page.user_classes[0]()), Experiment)
        assert from_json(fields, Experiment, page.user_classes).model.gain == gain


@pytest.mark.parametrize("name", ["LSTM", "Lstm"])
def test_the_name_of_a_class_of_lab10_is_refused(write, name):
    with pytest.raises(UserError, match=rf"page\.py has the model {name}, and lab10 has the model LSTM"):
        load_experiment_file(str(write(PAGE.replace("Tied", name))))


def test_two_classes_of_one_name_are_refused(write):
    definition = PAGE[PAGE.index("@dataclasses") : PAGE.index("experiment =")]
    for second in (definition, definition.replace("class Tied", "class TIED")):
        with pytest.raises(UserError, match="has two classes"):
            load_experiment_file(str(write(PAGE.replace("experiment =", f"First = Tied\n{second}\nexperiment ="))))


def test_a_file_without_classes_is_run_each_time(write):
    path = write("import itertools, sys\nfrom lab10.cli.overrides import load_experiment\n")
    counted = "sys.counted = getattr(sys, 'counted', 0) + 1\nexperiment = load_experiment('mnist_pca')\n"
    path.write_text(path.read_text() + counted)
    try:
        assert [load_experiment_file(str(path)).user_classes, load_experiment_file(str(path)).user_classes] == [(), ()]
        assert sys.counted == 2
    finally:
        del sys.counted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:\n", r"page\.py, line 2: "),
        ("import no_such_module\n", r"page\.py, line 1: ModuleNotFoundError.*\n.*'no_such_module', which cannot be"),
        ("\n\nraise ValueError('as it is')\n", r"page\.py, line 3: ValueError: as it is"),
        ("experiment = 3\n", "defines no experiment"),
        ("x = '\0'\n", "null bytes"),
    ],
)
def test_a_file_that_fails_is_refused_with_the_line(write, text, message):
    before = set(sys.modules)
    with pytest.raises(UserError, match=message) as refused:
        load_experiment_file(str(write(text)))
    assert len(str(refused.value).splitlines()) <= 10
    left = {name for name in set(sys.modules) - before if name.startswith("page_")}
    assert not left or text.startswith("experiment")


def test_two_versions_of_a_class_are_two_configurations(write):
    """Two versions differ in a sweep's programs, between the processes of a run, and in the groups of a report."""
    pages = [load_experiment_file(str(write(PAGE))), load_experiment_file(str(write(f"# A comment.\n{PAGE}")))]
    pages.append(load_experiment_file(str(write(PAGE.replace("gain: float = 1.0", "gain: float = 7.0")))))
    first, commented, changed = (page.experiment for page in pages)
    assert flatten(first)["model"] == flatten(commented)["model"] != flatten(changed)["model"]
    assert flatten(first)["model"].startswith("Tied (")
    assert static_signature(first) == static_signature(commented) != static_signature(changed)
    assert flatten(load_experiment_file("mnist_pca").experiment)["model"] == "LinearAutoencoder"

    again = dataclasses.make_dataclass("InFunction", [], bases=(type(changed.model),), frozen=True, kw_only=True)
    once = dataclasses.make_dataclass("InFunction", [], bases=(type(changed.model),), frozen=True, kw_only=True)
    names = {flatten(dataclasses.replace(first, model=cls()))["model"] for cls in (again, once)}
    assert len(names) == 2


def test_a_file_that_failed_is_run_again(write, monkeypatch):
    path = write(PAGE.replace("experiment =", "import os\nos.environ['FOR_USER_MODULES']\nexperiment ="))
    with pytest.raises(UserError, match="KeyError"):
        load_experiment_file(str(path))
    monkeypatch.setenv("FOR_USER_MODULES", "1")
    page = load_experiment_file(str(path))
    assert page.user_classes == (type(page.experiment.model),)


def test_an_annotation_that_is_a_string_is_understood(write):
    path = write(PAGE.replace("import dataclasses\n", "from __future__ import annotations\nimport dataclasses\n", 1))
    experiment = parse_training_arguments([str(path), "--model.gain", "3"]).experiment
    assert experiment.model.gain == 3.0
    assert from_json(to_json(experiment, Experiment), Experiment, [type(experiment.model)]) == experiment
