"""Metrics at their edges; properties/test_metrics.py has the merging."""

import math

import jax.numpy as jnp
import numpy as np

from lab10.tasks.metrics import Metrics


def test_a_batch_gives_sums_and_a_count():
    metrics = Metrics.of({"loss": jnp.array([1.0, 2.0, 4.0])}, jnp.array([True, False, True]))
    assert (float(metrics.totals["loss"]), float(metrics.count)) == (5.0, 2.0)
    assert metrics.means() == {"loss": 2.5}


def test_means_list_the_loss_first_and_the_others_sorted():
    metrics = Metrics({"zeta": 1.0, "accuracy": 2.0, "loss": 3.0}, 2.0)
    assert list(metrics.means().items()) == [("loss", 1.5), ("accuracy", 1.0), ("zeta", 0.5)]


def test_the_mean_of_no_examples_is_nan():
    assert Metrics.empty().means() == {}
    nothing = Metrics.of({"loss": jnp.array([3.0])}, jnp.array([False]))
    assert math.isnan(nothing.means()["loss"])


def test_merging_with_nothing_changes_nothing():
    metrics = Metrics({"loss": 0.1}, 3.0)
    assert metrics.merge(Metrics.empty()) == Metrics.empty().merge(metrics) == metrics


def test_a_batch_of_only_padding_adds_nothing():
    padding = Metrics.of({"loss": jnp.array([np.nan, np.inf])}, jnp.zeros(2, bool))
    merged = Metrics({"loss": 2.0}, 4.0).merge(padding)
    assert merged.means() == {"loss": 0.5}
