"""Traced fields: numbers of a config that the compiled step takes as arguments.

Experiments that differ only in traced fields, such as the seed or the learning rate, share one compiled program.
"""

import copy
from collections.abc import Hashable, Mapping
from typing import Any

from lab10.config.experiment import Experiment, flatten
from lab10.config.fields import is_static_zero, walk


def traced_fields_of(config: Any) -> dict[str, Any]:
    """Returns the values of the traced fields by dotted path, such as `optimizer.learning_rate`.

    A field that is 0 or None is static, because this value disables a feature and changes the program. The seed of an
    `Experiment` is always traced.
    """
    return {
        path: value
        for path, field, value in walk(config)
        if path == "seed" or (field.metadata.get("traced") and value is not None and not is_static_zero(value))
    }


def static_signature(experiment: Experiment) -> Hashable:
    """Returns a key that is equal for two experiments exactly if they share one compiled program.

    The key holds the paths of the traced fields, and the paths and values of all other fields that affect the result.
    """
    traced = traced_fields_of(experiment)
    static = {path: value for path, value in flatten(experiment).items() if path not in traced}
    return tuple(sorted(traced)), tuple(sorted((path, repr(value)) for path, value in static.items()))


def with_traced_fields(config: Any, values: Mapping[str, Any]) -> Any:
    """Returns a copy of a config with the given values, by dotted path.

    The values are not validated, because they may be traced arrays.
    """
    updated = copy.copy(config)
    for path, value in values.items():
        name, _, rest = path.partition(".")
        if rest:
            value = with_traced_fields(getattr(updated, name), {rest: value})
        object.__setattr__(updated, name, value)  # safe on a frozen dataclass: the copy has no other reference
    return updated
