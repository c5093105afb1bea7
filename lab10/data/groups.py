"""Groups of examples that belong together, such as the texts of an author, by the values of a feature."""

from typing import Any

import numpy as np
from jaxtyping import Int

from lab10.config.errors import UserError
from lab10.data.array_cache import ArrayWriter, cache_root, open_entry
from lab10.data.sources import Source


def open_groups(dataset: str, source: Source, feature: str, cache_dir: str | None) -> Int[np.ndarray, " examples"]:
    """Returns the group of each example of a split, numbered from 0. Examples with an empty text are alone.

    Raises:
      UserError: the dataset has no such feature, or only one group.
    """
    features = dict(source.features.items())
    if feature not in features:
        raise UserError(
            f"{dataset} has no feature {feature!r}; it has {', '.join(sorted(features))}.\n"
            "Name the feature that groups examples with --data.validation-group."
        )
    numbers: dict[bytes, int] = {}

    def group_of(value: Any) -> int:
        identity = value.encode() if isinstance(value, str) else value
        identity = identity if isinstance(identity, bytes) else np.asarray(identity).tobytes()
        return numbers.setdefault(identity or b"\0alone %d" % len(numbers), len(numbers))

    def build(writer: ArrayWriter) -> None:
        for records in source.chunks():
            writer.append("groups", np.array([group_of(record[feature]) for record in records], np.int64))

    key = {"reader": "groups 1", "feature": feature, "source": source.fingerprint}
    label = f"{source.version}-{source.fingerprint['split']}-groups"
    groups = open_entry(cache_root(cache_dir), label, key, build)[0]["groups"]
    if groups.max(initial=0) == 0:
        raise UserError(
            f"Every row of {dataset} has the same value of {feature!r}, so no validation split can be held out.\n"
            "Name another feature with --data.validation-group."
        )
    return groups
