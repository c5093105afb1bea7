"""Validation and length of experiments; properties/test_config.py covers JSON and differing fields."""

import dataclasses
import inspect

import pytest

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, from_json, to_json
from lab10.config.registry import components_of, find_component
from lab10.data.dataset import Spec
from lab10.optim.optimizers import Optimizer


def test_the_length_of_a_run_is_given_in_steps_or_epochs(image_experiment):
    by_epochs = image_experiment(steps=None, epochs=3, batch_size=32)
    assert (by_epochs.total_steps(96), by_epochs.total_steps(100)) == (9, 12), "a partial batch counts"
    assert image_experiment(steps=7).total_steps(100) == 7


@pytest.mark.parametrize("fields", [{"steps": None}, {"steps": 1, "epochs": 1}])
def test_exactly_one_of_steps_and_epochs_is_given(image_experiment, fields):
    with pytest.raises(UserError, match="Exactly one of --epochs and --steps"):
        image_experiment(**fields)


@pytest.mark.parametrize(
    "field", ["batch_size", "steps", "evaluation_batch_size", "evaluate_every", "checkpoint_every", "log_every"]
)
def test_counts_below_one_are_refused(image_experiment, field):
    with pytest.raises(UserError, match="--" + field.replace("_", "-") + " is 0; expected at least 1"):
        image_experiment(**{field: 0})


def test_monitor_is_a_metric_of_the_task(image_experiment, text_experiment):
    assert text_experiment(monitor="accuracy").monitor == "accuracy"
    with pytest.raises(
        UserError, match="--monitor is 'accuracy'; expected a metric of Reconstruction: loss, reconstruction_error"
    ):
        image_experiment(monitor="accuracy")


def test_a_config_cannot_be_changed_in_place(image_experiment):
    with pytest.raises(dataclasses.FrozenInstanceError):
        image_experiment().batch_size = 3


def test_every_field_has_a_docstring():
    """The help text of an option is its field's docstring, which tyro reads from the source."""
    for cls in (Experiment, *components_of(Optimizer).values()):
        source = inspect.getsource(cls)
        for name in cls.__annotations__:
            declared = source.index(f"    {name}: ")
            assert source[declared:].splitlines()[1].strip().startswith('"""'), f"{cls.__name__}.{name}"


@pytest.mark.parametrize(
    "damage",
    [
        lambda config: config | {"batchsize": 3},
        lambda config: {name: value for name, value in config.items() if name != "model"},
        lambda config: config | {"model": config["model"] | {"type": "Transformer"}},
        lambda config: config | {"batch_size": "many"},
        lambda config: config | {"optimizer": None},
        lambda config: [],
    ],
)
def test_a_config_of_another_version_is_refused(image_experiment, damage):
    with pytest.raises(UserError, match="contains no Experiment that this version of lab10 can read"):
        from_json(damage(to_json(image_experiment(), Experiment)), Experiment)


def test_invalid_values_are_refused_from_json_too(image_experiment):
    with pytest.raises(UserError, match="--batch-size is 0"):
        from_json(to_json(image_experiment(), Experiment) | {"batch_size": 0}, Experiment)


def test_specs_are_written_and_read_like_configs(image_spec, text_spec):
    for spec in (image_spec, text_spec):
        assert from_json(to_json(spec, Spec), Spec) == spec


def test_a_component_is_found_by_its_name_in_any_case():
    assert (
        find_component(Optimizer, "RMSPROP")
        is find_component(Optimizer, "rmsprop")
        is components_of(Optimizer)["RMSprop"]
    )
    with pytest.raises(UserError, match="There is no Optimizer 'rmsprob'; did you mean 'rmsprop'"):
        find_component(Optimizer, "rmsprob")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("type", "Transformer", r"there is no Model 'Transformer' @ \$\.model\."),
        ("latent_dim", 0, r"read: --model\.latent-dim is 0; expected at least 1\."),
    ],
)
def test_a_model_that_cannot_be_read_is_refused_with_the_reason(image_experiment, field, value, said):
    config = to_json(image_experiment(), Experiment)
    config["model"][field] = value
    with pytest.raises(UserError, match=said):
        from_json(config, Experiment)
