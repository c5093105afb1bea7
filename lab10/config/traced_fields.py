"""The numbers of a config that a compiled program can take as data, so that one program serves many experiments."""

import copy
import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from lab10.config.experiment import Experiment, flatten
from lab10.config.fields import is_static_zero


def traced_fields_of(config: Any, prefix: str = "") -> dict[str, Any]:
    """The numbers, by path: `optimizer.learning_rate`; those that switch a part off (0, None) are none of them."""
    return dict(_numbers(config, prefix))


def _numbers(config: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, path + ".")
        elif path == "seed" or (field.metadata.get("traced") and value is not None and not is_static_zero(value)):
            yield path, value


def static_signature(experiment: Experiment) -> Hashable:
    """What two experiments have in common exactly if they are one program: every field that is no such number."""
    numbers = traced_fields_of(experiment)
    fields = {name: value for name, value in flatten(experiment).items() if name not in numbers}
    return tuple(sorted(numbers)), tuple(sorted((name, repr(value)) for name, value in fields.items()))


def with_traced_fields(config: Any, numbers: Mapping[str, Any]) -> Any:
    """The config with these numbers in place of its own, unchecked: they may be traced arrays."""
    changed = copy.copy(config)
    for path, value in numbers.items():
        name, _, rest = path.partition(".")
        if rest:
            value = with_traced_fields(getattr(changed, name), {rest: value})
        object.__setattr__(changed, name, value)  # the copy is ours; frozen is for everybody else
    return changed
