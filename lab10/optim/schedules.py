"""Learning-rate schedules: factors of the learning rate as functions of the step, built with Optax.

To add a schedule, subclass `Schedule`.
"""

import abc
import dataclasses
from typing import ClassVar

import optax

from lab10.config.errors import UserError
from lab10.config.fields import require_at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(abc.ABC):
    """Base class of the schedules: a linear warm-up, followed by the factor that a subclass defines."""

    option_prefix: ClassVar[str] = "optimizer.schedule."

    warmup_steps: int = 0
    """Number of steps over which the learning rate rises linearly from 0."""

    # Whether the factor at a step depends on the length of the run. If not, a finished run can be extended.
    depends_on_total_steps = True

    def __post_init__(self):
        require_at_least(0, self, "warmup_steps")

    def build(self, total_steps: int) -> optax.Schedule:
        """Builds the function from the step to the factor, float32.

        Raises:
          UserError: the warm-up is not shorter than the run.
        """
        if self.warmup_steps >= total_steps and self.warmup_steps > 0:
            raise UserError(
                f"--optimizer.schedule.warmup-steps is {self.warmup_steps}; "
                f"expected fewer than the run's {total_steps} steps."
            )
        after_warmup = self.factor_after_warmup(total_steps - self.warmup_steps)
        if not self.warmup_steps:
            return after_warmup
        warmup = optax.linear_schedule(0.0, 1.0, self.warmup_steps)
        return optax.join_schedules([warmup, after_warmup], [self.warmup_steps])

    @abc.abstractmethod
    def factor_after_warmup(self, steps: int) -> optax.Schedule:
        """Builds the factor, starting at 1, over the `steps` steps after the warm-up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """Constant learning rate."""

    depends_on_total_steps = False

    def factor_after_warmup(self, steps: int) -> optax.Schedule:
        return optax.constant_schedule(1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecayToEnd(Schedule):
    """Base class of the schedules that decay from 1 to `end_factor` over the run."""

    end_factor: float = 0.0
    """Factor of the learning rate at the end of the run."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(0, self, "end_factor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(DecayToEnd):
    """Cosine decay from 1 to `end_factor` (Loshchilov and Hutter 2017, equation 5, without restarts)."""

    def factor_after_warmup(self, steps: int) -> optax.Schedule:
        return optax.cosine_decay_schedule(1.0, steps, alpha=self.end_factor)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(DecayToEnd):
    """Linear decay from 1 to `end_factor`."""

    def factor_after_warmup(self, steps: int) -> optax.Schedule:
        return optax.linear_schedule(1.0, self.end_factor, steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """Exponential decay by `decay_rate` per `transition_steps` steps, without stairs."""

    depends_on_total_steps = False

    decay_rate: float = 0.5
    """Factor by which the learning rate falls in `transition_steps` steps, above 0 and at most 1."""
    transition_steps: int = 1000
    """Number of steps in which the learning rate falls by `decay_rate`."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(1, self, "transition_steps")
        if not 0 < self.decay_rate <= 1:
            raise UserError(
                f"--optimizer.schedule.decay-rate is {self.decay_rate}; expected a value above 0 and at most 1."
            )

    def factor_after_warmup(self, steps: int) -> optax.Schedule:
        return optax.exponential_decay(1.0, self.transition_steps, self.decay_rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PiecewiseConstant(Schedule):
    """Piecewise constant: the learning rate is multiplied by `factor` at each of `boundaries`."""

    depends_on_total_steps = False

    boundaries: tuple[int, ...] = ()
    """Steps at which the learning rate changes, counted from the end of the warm-up."""
    factor: float = 0.1
    """Factor of the learning rate at each boundary."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(0, self, "boundaries", "factor")

    def factor_after_warmup(self, steps: int) -> optax.Schedule:
        return optax.piecewise_constant_schedule(1.0, dict.fromkeys(self.boundaries, self.factor))
