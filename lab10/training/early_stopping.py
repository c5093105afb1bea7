"""Early stopping."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """The best value of the monitored metric so far. It is saved in every checkpoint, so patience survives a kill.

    Attributes:
      best: the best value; None before the first evaluation.
      evals_since_best: number of evaluations since then. A value equal to the best is no improvement.
    """

    best: float | None = None
    evals_since_best: int = 0

    def update(self, value: float, higher_is_better: bool) -> "EarlyStopping":
        """Returns the state after one more evaluation."""
        if self.best is None or (value > self.best if higher_is_better else value < self.best):
            return EarlyStopping(value, 0)
        return EarlyStopping(self.best, self.evals_since_best + 1)

    def should_stop(self, patience: int | None) -> bool:
        """Whether the last `patience` evaluations brought no improvement."""
        return patience is not None and self.evals_since_best >= patience
