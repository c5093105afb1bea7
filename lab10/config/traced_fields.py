"""Traced fields: config values that a compiled program takes as arguments, so one program serves many experiments."""

import copy
import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from lab10.config.experiment import Experiment, flatten
from lab10.config.fields import is_static_zero


def traced_fields_of(config: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the traced fields by path: `optimizer.learning_rate`. Values that disable a feature are static."""
    return dict(_numbers(config, prefix))


def _numbers(config: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, path + ".")
        elif path == "seed" or (field.metadata.get("traced") and value is not None and not is_static_zero(value)):
            yield path, value


def static_signature(experiment: Experiment) -> Hashable:
    """A key that is equal for two experiments if and only if one compiled program serves both."""
    numbers = traced_fields_of(experiment)
    fields = {name: value for name, value in flatten(experiment).items() if name not in numbers}
    return tuple(sorted(numbers)), tuple(sorted((name, repr(value)) for name, value in fields.items()))


def with_traced_fields(config: Any, numbers: Mapping[str, Any]) -> Any:
    """Replaces traced fields of a config without checking the values, which may be traced arrays."""
    changed = copy.copy(config)
    for path, value in numbers.items():
        name, _, rest = path.partition(".")
        if rest:
            value = with_traced_fields(getattr(changed, name), {rest: value})
        object.__setattr__(changed, name, value)  # the copy is ours; frozen is for everybody else
    return changed
