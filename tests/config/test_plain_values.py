"""Configs made in Python: NumPy's numbers, lists and paths are converted, and values of other types refused by name."""

from pathlib import Path

import numpy as np
import pytest

import lab10
from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, to_json
from lab10.config.plain_values import with_plain_values
from lab10.config.traced_fields import with_traced_fields
from lab10.metrics.class_metrics import F1

EXPERIMENT = lab10.experiment("mnist_autoencoder")


def changed(path, value):
    """The experiment with another value at a path, such as `model.latent_dim`, of which no type was checked.

    Users call the constructors without beartype, which would refuse most of these.
    """
    return with_traced_fields(EXPERIMENT, {path: value})


@pytest.mark.parametrize(
    ("path", "value", "plain"),
    [
        ("seed", np.int64(3), 3),
        ("batch_size", np.int32(8), 8),
        ("model.latent_dim", np.int64(8), 8),
        ("model.encoder_widths", [32, np.int64(16)], (32, 16)),
        ("optimizer.learning_rate", np.float64(0.25), 0.25),
        ("optimizer.learning_rate", 1, 1),
        ("optimizer.freeze", ["encoder/*"], ("encoder/*",)),
        ("data.cache_dir", Path("/somewhere"), "/somewhere"),
    ],
)
def test_values_are_converted_and_can_be_written(path, value, plain):
    converted = with_plain_values(changed(path, value))
    assert converted == changed(path, plain)
    assert to_json(converted, Experiment) == to_json(changed(path, plain), Experiment)
    assert hash(converted) == hash(changed(path, plain))


def test_a_plain_config_is_returned_as_it_is():
    assert with_plain_values(EXPERIMENT) is EXPERIMENT


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("epochs", 2.5, "--epochs is 2.5; expected a whole number or None"),
        ("epochs", "3", "--epochs is '3'; expected a number"),
        ("seed", True, "--seed is True; expected a whole number"),
        ("model.latent_dim", 64.0, "--model.latent-dim is 64.0; expected a whole number"),
        ("model.activation", "foo", "--model.activation is 'foo'; expected one of 'tanh'"),
        ("model.encoder_widths", 32, "--model.encoder-widths is 32; expected a tuple, such as (32,)"),
        ("ema_decay", None, "--ema-decay is None; expected a number"),
        ("ema_decay", (0.9, 0.99), "--ema-decay is (0.9, 0.99); expected a number"),
        ("optimizer.learning_rate", "1e-3", "--optimizer.learning-rate is '1e-3'; expected a number"),
        (
            "optimizer.freeze",
            "encoder/*",
            "--optimizer.freeze is 'encoder/*'; expected a tuple, such as ('encoder/*',)",
        ),
        ("data.name", 3, "--data.name is 3; expected a string"),
        ("metrics", ("f1",), "metrics is ('f1',); expected a tuple of metrics, such as (F1(), AUC())"),
        ("metrics", F1(), "expected a tuple of metrics"),
        ("monitor", None, "monitor is None; expected the name of a metric"),
        ("model", None, "model is None; expected an instance of a class derived from Model"),
        ("task", F1, "expected an instance of a class derived from Task"),
    ],
)
def test_values_of_other_types_are_refused_by_name(path, value, said):
    def make_and_convert(experiment):
        for part in (experiment, experiment.data, experiment.model, experiment.optimizer):
            getattr(part, "__post_init__", lambda: None)()
        with_plain_values(experiment)

    with pytest.raises(UserError) as error:
        make_and_convert(changed(path, value))
    assert said in str(error.value)
