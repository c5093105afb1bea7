"""The validation split that is carved from train."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.data.dataset import split_named
from lab10.data.pictures import Pictures
from lab10.data.reviews import Reviews
from lab10.errors import UserError

shares = st.floats(0, 1, exclude_max=True)


@given(shares, st.integers(0, 300), st.integers(0, 2**40))
def test_train_and_validation_are_a_partition(share, examples, seed):
    data = Pictures(validation_share=share, validation_seed=seed)
    train, validation = data.rows_of("train", examples), data.rows_of("validation", examples)
    assert sorted([*train, *validation]) == list(range(examples))
    assert list(train) == sorted(train)
    assert list(validation) == sorted(validation)
    assert abs(len(validation) - share * examples) <= 1
    if examples >= 2:
        assert len(train) > 0
        assert (len(validation) > 0) == (share > 0)


@given(shares, st.integers(1, 300), st.integers(0, 2**40), st.integers(0, 2**40))
def test_the_carve_depends_on_no_other_field_than_its_seed_and_share(share, examples, validation_seed, order_seed):
    one = Pictures(name="one", validation_share=share, validation_seed=validation_seed, order_seed=order_seed)
    other = Reviews(
        name="two", validation_share=share, validation_seed=validation_seed, max_length=9, too_long="truncate"
    )
    for split in ("train", "validation"):
        np.testing.assert_array_equal(one.rows_of(split, examples), other.rows_of(split, examples))


def test_another_validation_seed_holds_out_other_examples():
    carve = {seed: tuple(Pictures(validation_seed=seed).rows_of("validation", 1000)) for seed in range(5)}
    assert len(set(carve.values())) == 5


@given(shares, st.integers(0, 100), st.integers(0, 9))
def test_the_test_split_is_whole_and_in_order(share, examples, seed):
    np.testing.assert_array_equal(
        Pictures(validation_share=share, validation_seed=seed).rows_of("test", examples), np.arange(examples)
    )


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_that_leaves_nothing_to_train_on_is_refused(share):
    with pytest.raises(UserError, match=r"--data\.validation-share"):
        Pictures(validation_share=share)


@pytest.mark.parametrize("field", ["validation_seed", "order_seed"])
def test_a_negative_seed_is_refused(field):
    with pytest.raises(UserError, match="--data." + field.replace("_", "-")):
        dataclasses.replace(Pictures(), **{field: -1})


def test_an_empty_split_is_refused_with_its_name_and_the_reason():
    with pytest.raises(UserError, match="The validation split of mnist has no example of at most 1 ids"):
        Pictures().refuse_empty("validation", np.arange(0), " of at most 1 ids")
    with pytest.raises(UserError, match=r"--data\.validation-share 0"):
        Pictures(validation_share=0.0).refuse_empty("validation", np.arange(0))
    Pictures().refuse_empty("validation", np.arange(1))


def test_a_split_of_another_name_is_refused():
    with pytest.raises(UserError, match="train, validation, test"):
        split_named("tset")
