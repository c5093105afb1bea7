"""Optimizers as configs, built by optax, with the constants that the labs' library has.

A new optimizer is a new subclass of `Optimizer`.
"""

import abc
import dataclasses

import jax
import optax

from lab10.errors import UserError
from lab10.fields import require_at_least, require_share
from lab10.schedules import Constant, Schedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer(abc.ABC):
    """What every optimizer has around its own rule."""

    learning_rate: float = 1e-3
    """The factor of each update, before the schedule."""
    schedule: Schedule = Constant()
    """How the learning rate goes over the run."""
    clip_norm: float | None = None
    """Gradients of a larger global norm are scaled down to it; None: never."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices (Loshchilov and Hutter 2019); biases do not decay."""

    def __post_init__(self):
        require_at_least(0, self, "learning_rate", "clip_norm", "weight_decay", prefix="optimizer.")
        if self.clip_norm == 0:
            raise UserError("--optimizer.clip-norm is 0, with which nothing is learned; expected above 0, or None.")

    @abc.abstractmethod
    def rule(self) -> optax.GradientTransformation:
        """Gradients to updates of unit learning rate, pointing uphill."""

    def build(self, total_steps: int) -> optax.GradientTransformation:
        """The whole transformation for a run of that many steps: clip, rule, decay, learning rate."""
        factor = self.schedule.build(total_steps)
        parts = [self.rule(), optax.scale_by_learning_rate(lambda step: self.learning_rate * factor(step))]
        if self.clip_norm is not None:
            parts.insert(0, optax.clip_by_global_norm(self.clip_norm))
        if self.weight_decay:
            parts.insert(
                -1,
                optax.add_decayed_weights(
                    self.weight_decay, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
                ),
            )
        return optax.chain(*parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer):
    """Hinton's RMSprop with Keras's constants; epsilon stands inside the square root, as there."""

    decay: float = 0.9
    """Of the running mean of squared gradients."""
    epsilon: float = 1e-7
    """Added to the running mean."""

    def __post_init__(self):
        super().__post_init__()
        require_share(self, "decay", prefix="optimizer.")
        require_at_least(0, self, "epsilon", prefix="optimizer.")

    def rule(self) -> optax.GradientTransformation:
        return optax.scale_by_rms(decay=self.decay, eps=self.epsilon, eps_in_sqrt=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Kingma and Ba 2015, algorithm 1, with Keras's epsilon."""

    b1: float = 0.9
    """Decay of the running mean of gradients."""
    b2: float = 0.999
    """Decay of the running mean of squared gradients."""
    epsilon: float = 1e-7
    """Added to the square root."""

    def __post_init__(self):
        super().__post_init__()
        require_share(self, "b1", "b2", prefix="optimizer.")
        require_at_least(0, self, "epsilon", prefix="optimizer.")

    def rule(self) -> optax.GradientTransformation:
        return optax.scale_by_adam(self.b1, self.b2, self.epsilon)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum where asked."""

    momentum: float = 0.0
    """Share of the last update that goes on (Polyak 1964)."""
    nesterov: bool = False
    """Whether momentum looks ahead."""

    def __post_init__(self):
        super().__post_init__()
        require_share(self, "momentum", prefix="optimizer.")

    def rule(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity()
