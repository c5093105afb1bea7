"""Invalid rows and images: all of them are reported, then refused or left out."""

import collections

from lab10.config.errors import UserError

MAX_NAMED = 4
MAX_REASONS = 5


class Invalid(Exception):
    """A row or an image that cannot be an example; the message is the reason."""


class Problems:
    """Collects the positions of invalid rows or images, by reason."""

    def __init__(self, unit: str):
        self._unit = unit
        self._positions: dict[str, list[str]] = collections.defaultdict(list)

    def add(self, position: str, reason: str) -> None:
        """Records that the row or image at `position` is invalid."""
        self._positions[reason].append(position)

    def counts_or_raise(self, total: int, skip: bool) -> dict[str, int]:
        """Returns the number of invalid rows or images by reason, which are left out.

        Args:
          total: number of all rows or images, valid or not.
          skip: whether to leave them out instead of refusing them.

        Raises:
          UserError: there are any, and `skip` is false; or none of the `total` is valid.
        """
        counts = {reason: len(positions) for reason, positions in self._positions.items()}
        invalid = sum(counts.values())
        if invalid and (not skip or invalid == total):
            reasons = sorted(self._positions, key=lambda reason: -counts[reason])
            lines = [f"  {reason}: {listed(self._positions[reason])}" for reason in reasons[:MAX_REASONS]]
            if len(reasons) > MAX_REASONS:
                lines.append(f"  and {len(reasons) - MAX_REASONS} other reasons")
            advice = "Correct them, or leave them out with --skip-invalid."
            if invalid == total:
                advice = "No example is left."
            count = f"{invalid:,} of {total:,} {self._unit}s are" if total > 1 else f"The only {self._unit} is"
            raise UserError("\n".join([f"{count} invalid:", *lines, advice]))
        return counts


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun: `1 image`, `1,234 images`."""
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"


def listed(names: list[str], named: int = MAX_NAMED) -> str:
    """Returns names as text; of many, the first ones and the number of the others: `a, b and 7 others`."""
    if len(names) <= named + 1:
        return ", ".join(names)
    return f"{', '.join(names[:named])} and {counted(len(names) - named, 'other')}"
