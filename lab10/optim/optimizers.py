"""Optimizers: configs that build Optax transformations, with the constants of Keras, which the labs use.

To add an optimizer, subclass `Optimizer`.
"""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from lab10.config.errors import UserError
from lab10.config.fields import is_static_zero, require_at_least, require_fraction, traced_field
from lab10.optim.parameter_groups import (
    freeze_parameters,
    frozen_mask,
    parse_factors,
    require_distinct_factors,
    scale_by_factors,
)
from lab10.optim.schedules import Constant, Schedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer(abc.ABC):
    """Base class of the optimizers: learning rate, schedule, clipping and weight decay around an update rule."""

    option_prefix: ClassVar[str] = "optimizer."

    learning_rate: float = traced_field(1e-3)
    """Factor of each update, before the schedule is applied."""
    schedule: Schedule = Constant()
    """Schedule of the learning rate over the run."""
    clip_norm: float | None = traced_field(None)
    """Maximum global norm of the gradients of trained parameters; larger ones are scaled down. None: no clipping."""
    weight_decay: float = traced_field(0.0)
    """Decoupled weight decay (Loshchilov and Hutter 2019) of matrices; biases are not decayed."""
    freeze: tuple[str, ...] = ()
    """Patterns of parameters that are not trained, such as 'embedding/*'; * also matches slashes."""
    learning_rate_factors: tuple[str, ...] = ()
    """Factors of the learning rate, as PATTERN=FACTOR, such as 'embedding/*=0.1'; 1 for all other parameters."""

    def __post_init__(self):
        require_at_least(0, self, "learning_rate", "clip_norm", "weight_decay")
        if self.clip_norm == 0:
            raise UserError(
                "--optimizer.clip-norm is 0, so nothing would be learned; expected a value above 0, or None."
            )
        parse_factors(self.learning_rate_factors)

    @abc.abstractmethod
    def rule(self) -> optax.GradientTransformation:
        """Builds the transformation from gradients to updates with unit learning rate, in the direction of ascent."""

    def learning_rate_at(self, step: jax.Array, total_steps: int) -> jax.Array | float:
        """Returns the learning rate of a step, without the factors of single parameters."""
        return self.learning_rate * self.schedule.build(total_steps)(step)

    def build(self, total_steps: int) -> optax.GradientTransformation:
        """Builds the full transformation for a run of `total_steps` steps: clip, rule, decay, learning rate.

        With `freeze`, all of it applies to the other parameters alone.
        """
        factor = self.schedule.build(total_steps)
        transformations = [
            self.rule(),
            optax.scale_by_learning_rate(lambda step: self.learning_rate * factor(step)),
        ]
        if self.clip_norm is not None:
            transformations.insert(0, optax.clip_by_global_norm(self.clip_norm))
        if not is_static_zero(self.weight_decay):
            decay = optax.add_decayed_weights(self.weight_decay, mask=_matrix_mask)
            transformations.insert(-1, decay)
        if self.learning_rate_factors:
            transformations.append(scale_by_factors(parse_factors(self.learning_rate_factors)))
        transformation = optax.chain(*transformations)
        return freeze_parameters(transformation, self.freeze) if self.freeze else transformation

    def apply_updates(self, params: optax.Params, updates: optax.Updates) -> optax.Params:
        """Adds updates to the parameters, except to frozen ones: adding 0 would change the bits of -0.0."""
        updated = optax.apply_updates(params, updates)
        if not self.freeze:
            return updated
        mask = frozen_mask(self.freeze, params)
        return jax.tree.map(lambda frozen, before, after: before if frozen else after, mask, params, updated)

    @property
    def has_patterns(self) -> bool:
        """Whether a field selects parameters by their paths."""
        return bool(self.freeze or self.learning_rate_factors)

    def require_patterns_match(self, params: optax.Params) -> None:
        """Checks the patterns of `freeze` and `learning_rate_factors` against the parameters of a model.

        Raises:
          UserError: a pattern matches no parameter, two give a parameter different factors, or nothing is trained.
        """
        if self.freeze:
            frozen_mask(self.freeze, params)
        require_distinct_factors(parse_factors(self.learning_rate_factors), self.freeze, params)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """Hinton's RMSprop with the constants of Keras. As in Keras, epsilon is added inside the square root."""

    decay: float = 0.9
    """Decay of the running mean of squared gradients."""
    epsilon: float = 1e-7
    """Constant added to the running mean of squared gradients."""

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "decay")
        require_at_least(0, self, "epsilon")

    def rule(self) -> optax.GradientTransformation:
        return optax.scale_by_rms(decay=self.decay, eps=self.epsilon, eps_in_sqrt=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015) in the form at the end of their section 2, as in Keras and TensorFlow.

    Bias correction scales the step instead of the two means. Epsilon therefore weighs more in the first
    steps than in algorithm 1, and each parameter needs one division less.
    """

    b1: float = 0.9
    """Decay of the running mean of gradients."""
    b2: float = 0.999
    """Decay of the running mean of squared gradients."""
    epsilon: float = 1e-7
    """Constant added to the square root of the mean of squared gradients."""

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "b1", "b2")
        require_at_least(0, self, "epsilon")

    def rule(self) -> optax.GradientTransformation:
        return _scale_by_adam(self.b1, self.b2, self.epsilon)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Muon(Adam):
    """Muon (Jordan et al. 2024): for matrices, momentum with all singular values set to about 1; for the rest, Adam.

    Updates of matrices are scaled to the size of Adam's (Liu et al. 2025, equation 4), to have similar learning rates.
    The update costs the same for any batch, more than the gradients of a small one: use large batches.
    """

    momentum: float = 0.95
    """Decay of the running mean of the gradients of matrices, with Nesterov momentum."""

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "momentum")

    def rule(self) -> optax.GradientTransformation:
        def is_matrix(params: optax.Params) -> Any:
            return jax.tree.map(lambda param: param.ndim == 2, params)

        def dimensions(matrices: optax.Params) -> Any:
            return jax.tree.map(lambda _: contrib.MuonDimensionNumbers(), matrices)

        def scale_like_adam(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
            return jax.tree.map(lambda update: 0.2 * max(update.shape) ** 0.5 * update, updates)

        muon = contrib.scale_by_muon(beta=self.momentum, weight_dimension_numbers=dimensions)
        return optax.partition(
            {True: optax.chain(muon, optax.stateless(scale_like_adam)), False: super().rule()}, is_matrix
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with optional momentum."""

    momentum: float = 0.0
    """Decay of the running sum of gradients (Polyak 1964); 0: no momentum."""
    nesterov: bool = False
    """Whether to use Nesterov momentum."""

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "momentum")

    def rule(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity()


def _matrix_mask(params: optax.Params) -> Any:
    return jax.tree.map(lambda param: param.ndim > 1, params)


def _scale_by_adam(b1: float, b2: float, epsilon: float) -> optax.GradientTransformation:
    """Updates m √(1 - b2^t) / (1 - b1^t) / (√v + epsilon); m and v are running means of gradients and their squares."""

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
        return optax.ScaleByAdamState(jnp.zeros([], jnp.int32), *zeros)

    def update(gradients, state, params=None):
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: m + (1 - b1) * (g - m), state.mu, gradients)
        nu = jax.tree.map(lambda v, g: v + (1 - b2) * (g * g - v), state.nu, gradients)
        scale = jnp.sqrt(1 - b2**count) / (1 - b1**count)
        updates = jax.tree.map(lambda m, v: scale * m / (jnp.sqrt(v) + epsilon), mu, nu)
        return updates, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)
