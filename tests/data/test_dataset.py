"""The validation split that is held out from train."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.data.images import ImageDataset
from lab10.data.texts import TextDataset

shares = st.floats(0, 1, exclude_max=True)


@given(shares, st.integers(0, 300), st.integers(0, 2**40))
def test_train_and_validation_are_a_partition(share, examples, seed):
    data = ImageDataset(validation_fraction=share, validation_seed=seed)
    train, validation = data.split_indices("train", examples), data.split_indices("validation", examples)
    assert sorted([*train, *validation]) == list(range(examples))
    assert list(train) == sorted(train)
    assert list(validation) == sorted(validation)
    assert abs(len(validation) - share * examples) <= 1
    if examples >= 2:
        assert len(train) > 0
        assert (len(validation) > 0) == (share > 0)


@given(shares, st.integers(1, 300), st.integers(0, 2**40), st.integers(0, 2**40))
def test_validation_depends_only_on_its_seed_and_fraction(share, examples, validation_seed, shuffle_seed):
    one = ImageDataset(
        name="one", validation_fraction=share, validation_seed=validation_seed, shuffle_seed=shuffle_seed
    )
    other = TextDataset(
        name="two", validation_fraction=share, validation_seed=validation_seed, max_length=9, overlong="truncate"
    )
    for split in ("train", "validation"):
        np.testing.assert_array_equal(one.split_indices(split, examples), other.split_indices(split, examples))


def test_another_validation_seed_holds_out_other_examples():
    carve = {seed: tuple(ImageDataset(validation_seed=seed).split_indices("validation", 1000)) for seed in range(5)}
    assert len(set(carve.values())) == 5


@given(shares, st.integers(0, 100), st.integers(0, 9))
def test_the_test_split_is_complete_and_in_order(share, examples, seed):
    np.testing.assert_array_equal(
        ImageDataset(validation_fraction=share, validation_seed=seed).split_indices("test", examples),
        np.arange(examples),
    )


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_fraction_that_leaves_no_training_examples_is_refused(share):
    with pytest.raises(UserError, match=r"--data\.validation-fraction"):
        ImageDataset(validation_fraction=share)


@pytest.mark.parametrize("field", ["validation_seed", "shuffle_seed"])
def test_a_negative_seed_is_refused(field):
    with pytest.raises(UserError, match="--data." + field.replace("_", "-")):
        dataclasses.replace(ImageDataset(), **{field: -1})


def test_an_empty_split_is_refused_with_its_name_and_the_reason():
    with pytest.raises(UserError, match="The validation split of mnist has no examples of at most 1 ids"):
        ImageDataset().require_examples("validation", np.arange(0), " of at most 1 ids")
    with pytest.raises(UserError, match=r"--data\.validation-fraction is 0\. Evaluate another split"):
        ImageDataset(validation_fraction=0.0).require_examples("validation", np.arange(0))
    ImageDataset().require_examples("validation", np.arange(1))


def test_splits_of_a_run_are_found_in_those_of_tfds():
    data = ImageDataset(train_split="train[:80%]", test_split="train[80%:]")
    assert [data.tfds_split(split) for split in ("train", "validation", "test")] == [
        "train[:80%]",
        "train[:80%]",
        "train[80%:]",
    ]
    own = dataclasses.replace(data, validation_split="validation")
    assert [own.tfds_split(split) for split in ("train", "validation")] == ["train[:80%]", "validation"]
    assert [own.tfds_split(split) for split in ("unsupervised", "validation[0:]")] == ["unsupervised", "validation[0:]"]


def test_nothing_is_held_out_if_validation_is_a_separate_split():
    data = ImageDataset(validation_split="validation")
    assert (data.has_validation, data.holds_out_validation) == (True, False)
    np.testing.assert_array_equal(data.split_indices("train", 9), np.arange(9))
    np.testing.assert_array_equal(data.split_indices("validation", 4), np.arange(4))
    with pytest.raises(UserError, match=r"--data\.validation-group.*--data\.validation-split"):
        ImageDataset(validation_split="validation", validation_group="author")


def test_groups_are_not_held_out_next_to_an_extra_split_that_may_have_more_of_them():
    with pytest.raises(UserError, match=r"--data\.validation-group.*--data\.extra-train-split"):
        ImageDataset(extra_train_split="unsupervised", validation_group="author")
