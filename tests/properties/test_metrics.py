"""Merged metrics over any partition equal the metrics of all examples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lab10.tasks.metrics import Metrics

ROWS = 16  # of every batch, so that one shape is compiled

of = jax.jit(Metrics.of)
examples = st.lists(st.tuples(st.floats(-100, 100, width=32), st.booleans()), max_size=40)


def batches_of(examples, partition):
    """The examples of each part, in masked batches of `ROWS` rows whose other rows are not even numbers."""
    for part in sorted(set(partition)):
        members = [example for example, its_part in zip(examples, partition, strict=True) if its_part == part]
        for start in range(0, len(members), ROWS):
            batch = members[start : start + ROWS]
            loss, accuracy = np.full(ROWS, np.nan, np.float32), np.full(ROWS, np.inf, np.float32)
            loss[: len(batch)], accuracy[: len(batch)] = [loss for loss, _ in batch], [right for _, right in batch]
            yield {"loss": loss, "accuracy": accuracy}, np.arange(ROWS) < len(batch)


@given(
    examples.flatmap(
        lambda rows: st.tuples(st.just(rows), st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows)))
    )
)
def test_merged_metrics_of_any_partition_equal_those_of_all_examples(case):
    rows, partition = case
    parts = [of(per_example, mask) for per_example, mask in batches_of(rows, partition)]
    for merged in (
        functools.reduce(Metrics.merge, parts, Metrics.empty()),
        functools.reduce(Metrics.merge, reversed(parts), Metrics.empty()),
    ):
        assert float(merged.count) == len(rows)
        assert float(merged.totals.get("accuracy", 0)) == sum(right for _, right in rows)
        np.testing.assert_allclose(merged.totals.get("loss", 0), sum(loss for loss, _ in rows), rtol=1e-5, atol=1e-3)
    if rows:
        means = merged.means()
        assert list(means) == ["loss", "accuracy"]
        np.testing.assert_allclose(means["loss"], np.mean([loss for loss, _ in rows]), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(means["accuracy"], np.mean([right for _, right in rows]), rtol=1e-6)


@given(st.lists(st.booleans(), min_size=ROWS, max_size=ROWS))
def test_masked_rows_do_not_count_at_any_position(mask):
    mask = np.array(mask)
    values = jnp.where(mask, jnp.arange(ROWS, dtype=jnp.float32), jnp.nan)
    metrics = of({"loss": values}, mask)
    assert float(metrics.totals["loss"]) == np.arange(ROWS)[mask].sum()
    assert float(metrics.count) == mask.sum()
