"""Changes of a config that forbid resuming a run."""

import math
from collections.abc import Sequence

from lab10.config.experiment import Experiment, differing_fields, flatten
from lab10.config.fields import option


def changed_fields(recorded: Experiment, given: Experiment) -> list[str]:
    """Returns the options of the fields whose change would lead to another result than that of the recorded run."""
    changed = differing_fields(recorded, given)
    # A run may be extended, unless its schedule depends on its length.
    if not given.optimizer.schedule.depends_on_total_steps and _is_extended(recorded, given):
        changed = [name for name in changed if name not in ("--epochs", "--steps")]
    if (given.patience or math.inf) >= (recorded.patience or math.inf):
        changed = [name for name in changed if name != "--patience"]
    return changed


def _is_extended(recorded: Experiment, given: Experiment) -> bool:
    if recorded.steps is not None and given.steps is not None:
        return given.steps >= recorded.steps
    if recorded.epochs is not None and given.epochs is not None:
        return given.epochs >= recorded.epochs
    return False


def describe_changes(recorded: Experiment, given: Experiment, changed: Sequence[str]) -> str:
    """Describes fields that differ, as `--batch-size: 32 → 64; …`, in at most four lines."""
    before, now = ({option(path): value for path, value in flatten(one).items()} for one in (recorded, given))
    absent = "(no such field)"
    lines = [
        f"  {name}: {str(before.get(name, absent))[:60]} → {str(now.get(name, absent))[:60]}"
        if name in before.keys() | now.keys()
        else f"  {name}"
        for name in changed
    ]
    return "\n".join(
        [*lines[:3], f"  and {len(lines) - 3} more: {', '.join(changed[3:])}"[:300]] if len(lines) > 4 else lines
    )
