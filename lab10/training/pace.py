"""How many steps go to the device in one dispatch."""

# Long enough that the cost of a dispatch does not show, short enough that a signal is noticed at once.
TARGET_SECONDS = 0.1
MOST_STEPS = 128
# Of the dispatches that several processes make together, whatever the clock of each says.
SHARED_STEPS = 16


class Pace:
    """The number of steps of the next dispatch, found by trying: it doubles while dispatches are short.

    No result depends on it.

    Attributes:
      capacity: the steps for which a dispatch has room.
      steps: of the next dispatch.
    """

    def __init__(self, fixed: int | None):
        # Where there is room for one step alone, XLA moves its batch out of the loop over steps, and rounds otherwise.
        self.capacity = MOST_STEPS if fixed is None else max(fixed, 2)
        self.steps = 1 if fixed is None else fixed
        self._fixed = fixed is not None

    def took(self, steps: int, seconds: float) -> None:
        """Says how long a dispatch of so many steps took."""
        if self._fixed:
            return
        if seconds > 2 * TARGET_SECONDS:
            self.steps = max(1, min(self.steps, steps) // 2)
        elif seconds < TARGET_SECONDS and steps >= self.steps:
            self.steps = min(2 * self.steps, self.capacity)
