"""Patterns of parameter paths, and the message for one that matches nothing."""

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.optim.parameter_paths import by_path, matches_any, require_matches, summarize_paths, with_leaves

PATHS = ("embedding/embedding", "encoder/dense_0/kernel", "encoder/dense_0/bias", "lstm/bias")


def test_the_path_of_a_parameter_is_its_names_with_slashes():
    params = {"b": {"kernel": jnp.ones(2)}, "a": jnp.zeros(3)}
    assert list(by_path(params)) == ["a", "b/kernel"]
    changed = with_leaves(params, {"b/kernel": jnp.full(2, 5.0)})
    assert (changed["b"]["kernel"].tolist(), changed["a"].tolist()) == ([5, 5], [0, 0, 0])


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("encoder/*", PATHS[1:3]),
        ("*/bias", PATHS[2:]),
        ("*", PATHS),
        ("lstm/bias", PATHS[3:]),
        ("l?tm/*", PATHS[3:]),
        ("encoder/dense_[0-3]/*", PATHS[1:3]),
        ("lstm", ()),
        ("LSTM/*", ()),
    ],
)
def test_a_star_matches_slashes_and_a_pattern_the_whole_path(pattern, matched):
    assert tuple(path for path in PATHS if matches_any([pattern], path)) == matched


@given(st.lists(st.text(max_size=6), max_size=3), st.sampled_from(PATHS))
def test_any_text_is_a_pattern(patterns, path):
    assert matches_any(patterns, path) == any(matches_any([pattern], path) for pattern in patterns)


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("embeding/*", "embedding/*"),
        ("encoder", "encoder/*"),
        ("lstm/baos", "lstm/bias"),
        ("zzz", "embedding/embedding"),
    ],
)
def test_a_pattern_that_matches_nothing_suggests_the_closest_path(pattern, near):
    with pytest.raises(UserError) as refused:
        require_matches("--optimizer.freeze", ["*/bias", pattern], PATHS)
    assert f"--optimizer.freeze {pattern!r} matches no parameter of the model" in str(refused.value)
    assert near in str(refused.value)
    require_matches("--optimizer.freeze", ["*/bias", "encoder/*"], PATHS)


def test_many_paths_are_counted():
    assert summarize_paths(PATHS) == ", ".join(PATHS)
    many = [f"encoder/layer_{i}/kernel" for i in range(20)] + ["dense/bias"]
    assert summarize_paths(many) == (
        "20 in encoder, 1 in dense (encoder/layer_0/kernel, encoder/layer_1/kernel, encoder/layer_2/kernel, …)"
    )
