"""Early stopping: how long ago validation was at its best."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Course:
    """How the metric that selects has gone, as every checkpoint holds it.

    Attributes:
      best: the best value so far; None before the first.
      since_best: evaluations after the one that gave it; a value that equals the best is no better.
    """

    best: float | None = None
    since_best: int = 0

    def after(self, value: float, higher_is_better: bool) -> "Course":
        """The course with one more evaluation."""
        if self.best is None or (value > self.best if higher_is_better else value < self.best):
            return Course(value, 0)
        return Course(self.best, self.since_best + 1)

    def has_ended(self, patience: int | None) -> bool:
        """Whether the last `patience` evaluations were all no better than one before them."""
        return patience is not None and self.since_best >= patience
