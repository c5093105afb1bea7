"""Tokens, vocabulary and ids, for any bytes and any settings."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.data.texts import TextDataset
from lab10.data.tokenizer import (
    PADDING_ID,
    build_vocabulary,
    normalize,
    ranks_normalizing_unknown,
    ranks_of,
    split_words,
)

SEPARATORS = b' !"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'

# Few letters make words meet again; any bytes make everything else.
texts = st.one_of(st.binary(max_size=60), st.text("aAbB'. \t\n\0é", max_size=40).map(str.encode))
documents = st.lists(texts, max_size=8)


@st.composite
def encodings(draw):
    """Texts under any settings that the config accepts."""
    none_or = lambda strategy: st.none() | strategy  # noqa: E731
    fields = {
        "num_words": draw(none_or(st.integers(1, 30))),
        "index_from": draw(st.integers(0, 12)),
        "start_id": draw(none_or(st.integers(1, 12))),
        "unknown_id": draw(none_or(st.integers(1, 12))),
    }
    try:
        return TextDataset(**fields)
    except UserError:
        assume(False)


@given(documents, texts, encodings())
def test_no_real_word_gets_the_id_of_padding(train, text, texts):
    words = build_vocabulary(train)
    ids = texts.encode(ranks_of(text, {word: rank for rank, word in enumerate(words, start=1)}))
    assert PADDING_ID == 0
    assert ids.dtype == np.int32
    assert np.all(ids > 0)
    assert np.all(ids < texts.num_ids(len(words)))


@given(st.integers(0, 40), encodings())
def test_two_kept_words_never_share_an_id_nor_take_a_reserved_one(words, texts):
    without_start = texts.start_id is None
    ids = [list(texts.encode(np.array([rank], np.int32)))[0 if without_start else 1 :] for rank in range(words + 1)]
    own = [row[0] for row in ids if row and row[0] != texts.unknown_id]
    assert len(set(own)) == len(own)
    assert texts.start_id not in own
    assert all(own[rank] == rank + 1 + texts.index_from for rank in range(len(own))), (
        "the most frequent words are the ones kept"
    )
    if texts.num_words is None:
        assert len(own) == words


@given(st.binary(max_size=200))
def test_any_bytes_become_words_without_separators_or_capitals(text):
    words = split_words(text)
    assert b"".join(words) == bytes(byte for byte in text.lower() if byte not in SEPARATORS)
    assert all(words)
    assert not any(byte in SEPARATORS for word in words for byte in word)


@given(st.lists(st.text("ab'é", min_size=1, max_size=4).map(str.encode), max_size=8), st.data())
def test_words_are_separated_by_separators(words, data):
    separator = st.lists(st.sampled_from(sorted(SEPARATORS)), min_size=1, max_size=3).map(bytes)
    text = b"".join(data.draw(separator) + word for word in words) + data.draw(separator)
    assert split_words(text) == words


@given(documents.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts))))
def test_the_vocabulary_does_not_depend_on_the_order_of_documents(orders):
    assert build_vocabulary(orders[0]) == build_vocabulary(orders[1])


@given(documents)
def test_the_vocabulary_holds_every_word_once_the_most_frequent_first(train):
    words = build_vocabulary(train)
    counts = collections.Counter(word for text in train for word in split_words(text))
    assert set(words) == set(counts)
    assert len(words) == len(counts)
    for before, after in itertools.pairwise(words):
        assert counts[before] > counts[after] or (counts[before] == counts[after] and before < after)


@given(texts, documents)
def test_ranks_index_the_vocabulary_and_unknown_words_have_rank_zero(text, train):
    words = build_vocabulary(train)
    ranks = ranks_of(text, {word: rank for rank, word in enumerate(words, start=1)})
    for word, rank in zip(split_words(text), ranks, strict=True):
        assert words[rank - 1] == word if rank else word not in words


@pytest.mark.parametrize(
    "fields",
    [
        {"index_from": 1},
        {"start_id": 2, "unknown_id": 2},
        {"num_words": 3},
        {"start_id": 0},
        {"unknown_id": 0},
        {"index_from": -1, "start_id": None},
    ],
)
def test_settings_under_which_a_word_would_get_a_reserved_id_are_refused(fields):
    with pytest.raises(UserError, match="--data"):
        TextDataset(**fields)


@given(documents, texts)
def test_prediction_reads_at_least_the_words_that_training_reads(train, text):
    ranks_by_word = {word: rank for rank, word in enumerate(build_vocabulary(train), start=1)}
    plain = ranks_of(text, ranks_by_word)
    read = ranks_normalizing_unknown(text, ranks_by_word, lambda rank: rank > 0)
    np.testing.assert_array_equal(ranks_normalizing_unknown(text, ranks_by_word, lambda rank: False), plain)
    remaining = iter(read[read > 0].tolist())
    assert all(rank in remaining for rank in plain[plain > 0].tolist()), "in their order"
    if np.all(plain > 0):
        np.testing.assert_array_equal(read, plain)


@given(st.one_of(texts, st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))))
def test_normalized_words_are_words_and_stay_normalized(text):
    for word in split_words(text):
        words = normalize(word)
        assert split_words(b" ".join(words)) == list(words)
        assert [again for one in words for again in normalize(one)] == list(words)
