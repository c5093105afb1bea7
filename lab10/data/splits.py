"""Chooses validation rows, and compares TFDS splits row by row."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from lab10.config.errors import UserError

# Number of draws of whole groups; the draw that leaves out the fewest classes is taken.
GROUP_DRAWS = 20


def hold_out(
    examples: int,
    fraction: float,
    seed: int,
    labels: Int[np.ndarray, " examples"] | None = None,
    groups: Int[np.ndarray, " examples"] | None = None,
) -> Bool[np.ndarray, " examples"]:
    """Chooses the rows of a train split that are held out for validation; deterministic.

    Rows are drawn at random. If that would leave a class of two or more rows out of training or out of validation, rows
    are drawn class by class: the fraction of each class, but at least one row, and never all.

    Args:
      examples: number of rows.
      fraction: fraction of the rows to hold out; 0: none.
      seed: seed of the draw.
      labels: class of each row, negative without one; None: classes are ignored.
      groups: group of each row, numbered from 0. Whole groups are drawn, so the fraction is met only approximately,
        and a class may be left out.

    Returns:
      True for the rows that are held out.
    """
    if fraction == 0:
        return np.zeros(examples, bool)
    if groups is not None:
        return _draw_groups(groups, fraction, [seed, examples], labels)
    held_out = _draw(examples, fraction, [seed, examples])
    if labels is not None and classes_left_out(held_out, labels):
        order = np.argsort(labels, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            held_out[rows] = _draw(len(rows), fraction, [seed, examples, int(labels[rows[0]]) + 1])
    return held_out


def classes_left_out(held_out: Bool[np.ndarray, " examples"], labels: Int[np.ndarray, " examples"]) -> int:
    """Counts the classes of two or more rows that have no row held out, or all."""
    labelled = labels >= 0
    sizes = np.bincount(labels[labelled])
    drawn = np.bincount(labels[labelled & held_out], minlength=len(sizes))
    return int(np.sum((sizes >= 2) & ((drawn == 0) | (drawn == sizes))))


def _draw(examples: int, fraction: float, seed: list[int]) -> np.ndarray:
    """Draws rows at random: at least one, and never all."""
    count = min(max(round(fraction * examples), 1), examples - 1)
    held_out = np.zeros(examples, bool)
    held_out[np.random.default_rng(seed).permutation(examples)[: max(count, 0)]] = True
    return held_out


def _draw_groups(groups: np.ndarray, fraction: float, seed: list[int], labels: np.ndarray | None) -> np.ndarray:
    """Draws whole groups at random: at least one, never all, and as many rows as come closest to the fraction."""
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        return np.zeros(len(groups), bool)
    draws: list[tuple[int, np.ndarray]] = []
    for attempt in range(GROUP_DRAWS):
        order = np.random.default_rng([*seed, attempt]).permutation(len(sizes))
        count = 1 + np.argmin(np.abs(np.cumsum(sizes[order])[:-1] - fraction * len(groups)))
        held_out = np.isin(groups, order[:count])
        draws.append((0 if labels is None else classes_left_out(held_out, labels), held_out))
        if draws[-1][0] == 0:
            break
    return min(draws, key=lambda draw: draw[0])[1]


def missing_classes(labels: Int[np.ndarray, " examples"], class_names: Sequence[str]) -> list[str]:
    """Returns the names of the classes that no example has."""
    present = np.bincount(labels[labels >= 0], minlength=len(class_names))
    return [name for name, count in zip(class_names, present, strict=True) if count == 0]


def require_disjoint(dataset: str, splits: Any, named: Mapping[str, str]) -> None:
    """Checks that no row is in two of the splits of a run, nor twice in one.

    Args:
      dataset: name of the dataset, for messages.
      splits: the dataset's `tfds.core.SplitDict`.
      named: TFDS split by the option that names it. Splits that do not exist are ignored.

    Raises:
      UserError: two of the splits have rows in common.
    """
    ranges = {option: found for option, split in named.items() if (found := row_ranges(splits, split)) is not None}
    for i, (first, first_ranges) in enumerate(ranges.items()):
        if sum(stop - start for _, start, stop in first_ranges) < _common_rows(first_ranges, first_ranges):
            raise UserError(f"{first} {named[first]} of {dataset} contains rows twice; expected each row once.")
        for second, second_ranges in list(ranges.items())[i + 1 :]:
            if common := _common_rows(first_ranges, second_ranges):
                raise UserError(
                    f"{first} {named[first]} and {second} {named[second]} of {dataset} have {common} row(s) in common; "
                    "expected none, because a model is measured on rows that it has not seen.\n"
                    "Divide a split by slices, such as --data.train-split 'train[:90%]' --data.test-split "
                    "'train[90%:]', or take another split."
                )


def row_ranges(splits: Any, split: str) -> list[tuple[str, int, int]] | None:
    """Returns the rows of a TFDS split as (file, start, stop), without reading them; None if there is no such split."""
    try:
        instructions = splits[split].file_instructions
    except (KeyError, ValueError, NotImplementedError):
        return None
    return [(one.filename, one.skip, one.skip + one.take) for one in instructions]


def _common_rows(first: list[tuple[str, int, int]], second: list[tuple[str, int, int]]) -> int:
    by_file = collections.defaultdict(list)
    for file, start, stop in second:
        by_file[file].append((start, stop))
    return sum(
        max(0, min(stop, other_stop) - max(start, other_start))
        for file, start, stop in first
        for other_start, other_stop in by_file[file]
    )
