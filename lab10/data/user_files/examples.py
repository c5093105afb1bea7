"""Examples of a user's files, checked and described, before they are split and written."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lab10.config.errors import UserError

# What people call splits, and the name of the split.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file or folder, and the split that its examples belong to; None if they are not split yet."""

    path: Path
    split: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """Valid examples of all splits, in the order of the files.

    Attributes:
      modality: whether they are texts or images.
      features: TFDS features of an example, by name.
      conversion: how `read` converts an example, if the digests do not show it; part of the content.
      read: returns the TFDS example of an index, without label and group.
      digests: SHA-256 of the content of each example, without label and group.
      class_names: names of the classes, in order; empty without labels.
      class_ids: class id of each example, int64 [examples]; zeros without labels.
      groups: group of each example; None without groups.
      splits: split of each example; None if they are not split yet.
      skipped: number of invalid rows or images that were left out, by reason.
      sizes: lengths or sizes, for the summary.
      notes: what was decided or looks suspicious, as sentences.
    """

    modality: Literal["texts", "images"]
    features: dict[str, Any]
    conversion: str = ""
    read: Callable[[int], dict[str, Any]]
    digests: list[bytes]
    class_names: tuple[str, ...]
    class_ids: np.ndarray
    groups: list[str] | None
    splits: list[str] | None
    skipped: dict[str, int]
    sizes: dict[str, Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.digests)

    def example(self, index: int) -> dict[str, Any]:
        """Returns the TFDS example of an index."""
        example = self.read(index)
        if self.class_names:
            example["label"] = int(self.class_ids[index])
        if self.groups is not None:
            example["group"] = self.groups[index]
        return example

    def content_sha256(self, splits: dict[str, np.ndarray]) -> str:
        """Returns the SHA-256, hexadecimal, of everything that is written: features, splits, and their examples."""
        digest = hashlib.sha256(repr((self.modality, self.conversion, self.class_names)).encode())
        for name, indices in splits.items():
            digest.update(f"{name} {len(indices)} ".encode())
            for index in indices.tolist():
                group = "" if self.groups is None else self.groups[index]
                digest.update(self.digests[index])
                digest.update(f"{self.class_ids[index]} {len(group)} {group} ".encode())
        return digest.hexdigest()


def split_name(name: str) -> str:
    """Returns the split that a user means by a name: `val`, for example, means validation.

    Args:
      name: the name.

    Raises:
      UserError: the name means no split.
    """
    split = SPLIT_NAMES.get(name.strip().lower())
    if split is None:
        raise UserError(f"--from names the split {name[:40]!r}; expected one of {', '.join(SPLIT_NAMES)}.")
    return split
