"""Splits rows into train and test: stratified by class, or by whole groups. Pure functions of their arguments."""

import numpy as np
from jaxtyping import Bool, Int


def held_out_count(rows: int, fraction: float) -> int:
    """Returns the number of rows to hold out: the rounded fraction, but at least one and not all of them."""
    return min(max(round(fraction * rows), 1), rows - 1)


def stratified_split(classes: Int[np.ndarray, " rows"], fraction: float, seed: int) -> Bool[np.ndarray, " rows"]:
    """Returns which rows are held out, at random within each class.

    The number of held-out rows of a class differs by less than one from its proportional share.

    Args:
      classes: class of each row; at least two rows.
      fraction: fraction of the rows to hold out, in (0, 1).
      seed: seed of the choice. The choice also depends on the order of the rows.
    """
    total = held_out_count(len(classes), fraction)
    _, class_ids, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    random = np.random.default_rng(seed)
    held_out = np.zeros(len(classes), bool)
    for class_id, count in enumerate(_apportion(sizes, total)):
        held_out[random.permutation(np.flatnonzero(class_ids == class_id))[:count]] = True
    return held_out


def _apportion(sizes: Int[np.ndarray, " classes"], total: int) -> Int[np.ndarray, " classes"]:
    """Divides `total` in proportion to `sizes`, by largest remainder."""
    products = sizes * total
    counts, remainders = products // sizes.sum(), products % sizes.sum()
    largest = np.argsort(-remainders, kind="stable")[: total - counts.sum()]
    counts[largest] += 1
    return counts


def grouped_split(
    classes: Int[np.ndarray, " rows"], groups: Int[np.ndarray, " rows"], fraction: float, seed: int
) -> Bool[np.ndarray, " rows"]:
    """Returns which rows are held out; all rows of a group or none.

    The groups are visited in random order. A group is held out if that brings the number of held-out rows of each
    class closer to its share (in squared distance), so shares are met as well as the sizes of the groups allow.

    Args:
      classes: class of each row.
      groups: group of each row; at least two groups.
      fraction: fraction of the rows to hold out, in (0, 1).
      seed: seed of the order. The choice does not depend on the order of the rows.
    """
    _, group_ids = np.unique(groups, return_inverse=True)
    _, class_ids = np.unique(classes, return_inverse=True)
    counts = np.zeros((group_ids.max() + 1, class_ids.max() + 1))
    np.add.at(counts, (group_ids, class_ids), 1)
    missing = fraction * counts.sum(axis=0)
    chosen = np.zeros(len(counts), bool)
    for group in np.random.default_rng(seed).permutation(len(counts)):
        if 2 * missing @ counts[group] > counts[group] @ counts[group]:
            chosen[group] = True
            missing = missing - counts[group]
    smallest = counts.sum(axis=1).argmin()
    if not chosen.any():
        chosen[smallest] = True
    elif chosen.all():
        chosen[smallest] = False
    return chosen[group_ids]
