"""Learning-rate schedules: factors of the learning rate as functions of the step, built with optax.

A new schedule is a new subclass of `Schedule`.
"""

import abc
import dataclasses

import optax

from lab10.config.fields import require_at_least
from lab10.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(abc.ABC):
    """The base class of schedules: a factor of the learning rate, after a linear warm-up."""

    warmup_steps: int = 0
    """Steps of linear warm-up from 0."""

    # Whether the factor at a step depends on how long the run is.
    depends_on_duration = True

    def __post_init__(self):
        require_at_least(0, self, "warmup_steps", prefix="optimizer.schedule.")

    def build(self, total_steps: int) -> optax.Schedule:
        """Returns the factor, float32, as a function of the step.

        Raises:
          UserError: the warm-up does not end before the run.
        """
        if self.warmup_steps >= total_steps and self.warmup_steps > 0:
            raise UserError(
                f"--optimizer.schedule.warmup-steps is {self.warmup_steps}; "
                f"expected fewer than the run's {total_steps} steps."
            )
        after = self.after_warmup(total_steps - self.warmup_steps)
        return (
            optax.join_schedules([optax.linear_schedule(0.0, 1.0, self.warmup_steps), after], [self.warmup_steps])
            if self.warmup_steps
            else after
        )

    @abc.abstractmethod
    def after_warmup(self, steps: int) -> optax.Schedule:
        """Returns the factor for the `steps` steps after the warm-up, starting at 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """A constant learning rate."""

    depends_on_duration = False

    def after_warmup(self, steps: int) -> optax.Schedule:
        return optax.constant_schedule(1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from 1 to `end_factor` (Loshchilov and Hutter 2017, equation 5, without restarts)."""

    end_factor: float = 0.0
    """Factor at the end of the run."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(0, self, "end_factor", prefix="optimizer.schedule.")

    def after_warmup(self, steps: int) -> optax.Schedule:
        return optax.cosine_decay_schedule(1.0, steps, alpha=self.end_factor)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """A straight line from 1 to `end_factor`."""

    end_factor: float = 0.0
    """Factor at the end of the run."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(0, self, "end_factor", prefix="optimizer.schedule.")

    def after_warmup(self, steps: int) -> optax.Schedule:
        return optax.linear_schedule(1.0, self.end_factor, steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """Exponential decay: the factor is multiplied by `decay_rate` every `transition_steps`, smoothly."""

    depends_on_duration = False

    decay_rate: float = 0.5
    """Factor of one interval."""
    transition_steps: int = 1000
    """Steps in one interval."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(1, self, "transition_steps", prefix="optimizer.schedule.")
        if not 0 < self.decay_rate <= 1:
            raise UserError(f"--optimizer.schedule.decay-rate is {self.decay_rate}; expected above 0 and at most 1.")

    def after_warmup(self, steps: int) -> optax.Schedule:
        return optax.exponential_decay(1.0, self.transition_steps, self.decay_rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PiecewiseConstant(Schedule):
    """A step function: the factor is multiplied by `factor` at each boundary."""

    depends_on_duration = False

    boundaries: tuple[int, ...] = ()
    """Steps at which the learning rate changes, counted from the end of the warm-up."""
    factor: float = 0.1
    """Factor at each boundary."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(0, self, "boundaries", "factor", prefix="optimizer.schedule.")

    def after_warmup(self, steps: int) -> optax.Schedule:
        return optax.piecewise_constant_schedule(1.0, dict.fromkeys(self.boundaries, self.factor))
