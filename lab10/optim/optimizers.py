"""Optimizers: configs that build optax transformations, with Keras's constants as defaults.

A new optimizer is a new subclass of `Optimizer`.
"""

import abc
import dataclasses

import jax
import jax.numpy as jnp
import optax

from lab10.config.fields import is_static_zero, require_at_least, require_fraction, traced_field
from lab10.errors import UserError
from lab10.optim.schedules import Constant, Schedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer(abc.ABC):
    """The fields that all optimizers share."""

    learning_rate: float = traced_field(1e-3)
    """Learning rate, before the schedule."""
    schedule: Schedule = Constant()
    """Learning-rate schedule."""
    clip_norm: float | None = traced_field(None)
    """Maximum global norm of the gradients; None: no clipping."""
    weight_decay: float = traced_field(0.0)
    """Decoupled weight decay of matrices (Loshchilov and Hutter 2019); biases do not decay."""

    def __post_init__(self):
        require_at_least(0, self, "learning_rate", "clip_norm", "weight_decay", prefix="optimizer.")
        if self.clip_norm == 0:
            raise UserError("--optimizer.clip-norm is 0, with which nothing is learned; expected above 0, or None.")

    @abc.abstractmethod
    def rule(self) -> optax.GradientTransformation:
        """Returns the update rule, with learning rate 1 and without the sign of descent."""

    def build(self, total_steps: int) -> optax.GradientTransformation:
        """Builds the whole transformation for a run of `total_steps`: clipping, rule, weight decay, learning rate."""
        factor = self.schedule.build(total_steps)
        parts = [self.rule(), optax.scale_by_learning_rate(lambda step: self.learning_rate * factor(step))]
        if self.clip_norm is not None:
            parts.insert(0, optax.clip_by_global_norm(self.clip_norm))
        if not is_static_zero(self.weight_decay):
            parts.insert(
                -1,
                optax.add_decayed_weights(
                    self.weight_decay, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
                ),
            )
        return optax.chain(*parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """Hinton's RMSprop with Keras's constants and, as in Keras, epsilon inside the square root."""

    decay: float = 0.9
    """Decay of the running mean of squared gradients."""
    epsilon: float = 1e-7
    """Added to the running mean."""

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "decay", prefix="optimizer.")
        require_at_least(0, self, "epsilon", prefix="optimizer.")

    def rule(self) -> optax.GradientTransformation:
        return optax.scale_by_rms(decay=self.decay, eps=self.epsilon, eps_in_sqrt=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Kingma and Ba 2015 in the form that ends their section 2, which is Keras's and TensorFlow's.

    Bias correction scales the step and not the two means, so epsilon counts for more in the first steps
    than in algorithm 1, and there is one division a parameter less to do.
    """

    b1: float = 0.9
    """Decay of the running mean of gradients."""
    b2: float = 0.999
    """Decay of the running mean of squared gradients."""
    epsilon: float = 1e-7
    """Added to the square root."""

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "b1", "b2", prefix="optimizer.")
        require_at_least(0, self, "epsilon", prefix="optimizer.")

    def rule(self) -> optax.GradientTransformation:
        return _scale_by_adam(self.b1, self.b2, self.epsilon)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum where asked."""

    momentum: float = 0.0
    """Momentum (Polyak 1964); 0: none."""
    nesterov: bool = False
    """Whether to use Nesterov momentum."""

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "momentum", prefix="optimizer.")

    def rule(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity()


def _scale_by_adam(b1: float, b2: float, epsilon: float) -> optax.GradientTransformation:
    """m √(1 - b2^t) / (1 - b1^t) / (√v + epsilon), with the running means m of gradients and v of their squares."""

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
