"""Outputs of a model that do not fit the dataset, which a broadcast could hide, are refused."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from lab10.config.errors import UserError
from lab10.data.texts import TextSpec
from lab10.training.compatibility import require_outputs
from lab10.training.step import StepFunctions


class Reshaped(nn.Module):
    """The outputs of another module, reshaped."""

    module: nn.Module
    shape: tuple[int, ...]

    def __call__(self, inputs: jax.Array) -> Any:
        outputs = jnp.resize(self.module(inputs), (len(inputs), *self.shape))
        return outputs if self.shape != (7,) else (outputs, outputs)


@pytest.fixture
def refuse(monkeypatch):
    """Returns the message that refuses the outputs of an experiment's model, once they have another shape."""

    def refuse(experiment, spec, shape):
        build = type(experiment.model).build
        monkeypatch.setattr(type(experiment.model), "build", lambda self, spec: Reshaped(build(self, spec), shape))
        outputs = StepFunctions(experiment, spec).abstract_outputs()
        with pytest.raises(UserError) as raised:
            require_outputs(experiment.model, spec, outputs)
        return str(raised.value)

    return refuse


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((), "returns the shape [1] for a batch of one example; expected pixels of the shape [1, 12]."),
        ((1,), "returns the shape [1, 1] for"),
        ((3, 4), "returns the shape [1, 3, 4] for"),
        ((7,), "returns a tuple for"),
    ],
)
def test_reconstructions_of_another_shape_than_the_images(refuse, image_experiment, image_spec, shape, found):
    assert f"The module of the model LinearAutoencoder {found}" in refuse(image_experiment(), image_spec, shape)


@pytest.mark.parametrize(
    ("classes", "shape", "expected"),
    [
        ("ab", (), "returns the shape [1] for a batch of one example; expected logits of the shape [1, 2] or [1, 1]."),
        ("ab", (3,), "[1, 2] or [1, 1]"),
        ("abc", (1,), "returns the shape [1, 1] for a batch of one example; expected logits of the shape [1, 3]."),
        ("abc", (5, 3), "returns the shape [1, 5, 3] for"),
    ],
)
def test_logits_that_do_not_belong_to_the_classes(refuse, text_experiment, classes, shape, expected):
    spec = TextSpec(num_ids=40, class_names=tuple(classes))
    assert expected in refuse(text_experiment(), spec, shape)


@pytest.mark.parametrize(("classes", "width"), [("ab", 1), ("abc", 3)])
def test_outputs_that_fit_are_accepted(text_experiment, image_experiment, image_spec, classes, width):
    experiment, spec = text_experiment(), TextSpec(num_ids=40, class_names=tuple(classes))
    outputs = StepFunctions(experiment, spec).abstract_outputs()
    assert outputs.shape == (1, width)
    require_outputs(experiment.model, spec, outputs)
    pixels = StepFunctions(image_experiment(), image_spec).abstract_outputs()
    assert pixels.shape == (1, 12)
    require_outputs(image_experiment().model, image_spec, pixels)
