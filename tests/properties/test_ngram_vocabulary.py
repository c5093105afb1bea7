"""Exact n-grams agree with a direct count."""

import collections

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lab10.data.ngram_vocabulary import (
    build_ngram_vocabulary,
    first_occurrences,
    largest_ngram_id,
    ngram_ids,
    text_ids_of,
)

NUM_WORDS = 5  # ranks are 1 to 4, and 0 for unknown words
texts_of_ranks = st.lists(st.lists(st.integers(0, NUM_WORDS - 1), max_size=12), min_size=1, max_size=8)


def joined(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    ranks = np.array([rank for text in texts for rank in text], np.int32)
    return ranks, np.cumsum([0, *map(len, texts)])


def ngrams_of(text: list[int], length: int) -> list[tuple[int, ...]]:
    """All n-grams of known words, by definition."""
    windows = [tuple(text[i : i + length]) for i in range(len(text) - length + 1)]
    return [window for window in windows if 0 not in window]


@given(texts_of_ranks, st.integers(2, 4), st.integers(1, 3))
def test_tables_hold_the_ngrams_that_occur_in_enough_texts(texts, max_ngram, min_count):
    tables = build_ngram_vocabulary(*joined(texts), NUM_WORDS, max_ngram, min_count)
    for length, table in enumerate(tables, start=2):
        counts = collections.Counter(ngram for text in texts for ngram in set(ngrams_of(text, length)))
        assert len(table) == sum(count >= min_count for count in counts.values())
        assert (np.diff(table) > 0).all()


@given(texts_of_ranks, st.integers(2, 4), st.integers(1, 3))
def test_two_positions_have_the_same_id_exactly_if_the_same_ngram_ends_there(texts, max_ngram, min_count):
    ranks, offsets = joined(texts)
    tables = build_ngram_vocabulary(ranks, offsets, NUM_WORDS, max_ngram, min_count)
    ids = ngram_ids(ranks, text_ids_of(offsets), tables, NUM_WORDS)
    np.testing.assert_array_equal(ids[:, 0], ranks)
    assert ids.max(initial=0) <= largest_ngram_id(NUM_WORDS - 1, tables)
    ngram_of_id: dict[int, tuple[int, ...]] = {}
    for length in range(2, max_ngram + 1):
        counts = collections.Counter(ngram for text in texts for ngram in set(ngrams_of(text, length)))
        for i, text in enumerate(texts):
            for end in range(len(text)):
                ngram = tuple(text[max(0, end - length + 1) : end + 1])
                id_ = int(ids[offsets[i] + end, length - 1])
                has_id = len(ngram) == length and 0 not in ngram and counts[ngram] >= min_count
                assert (id_ > 0) == has_id
                if has_id:
                    assert ngram_of_id.setdefault(id_, ngram) == ngram
    assert len(set(ngram_of_id.values())) == len(ngram_of_id)


@given(texts_of_ranks, texts_of_ranks)
def test_new_texts_get_only_ids_of_the_vocabulary(texts, others):
    ranks, offsets = joined(texts)
    tables = build_ngram_vocabulary(ranks, offsets, NUM_WORDS, 3, 1)
    known = {ngram for text in texts for ngram in ngrams_of(text, 2)}
    for text in others:
        ids = ngram_ids(np.array(text, np.int32), np.zeros(len(text), int), tables, NUM_WORDS)
        for end in range(1, len(text)):
            assert (ids[end, 1] > 0) == (tuple(text[end - 1 : end + 1]) in known)


@given(st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=5), min_size=1, max_size=4))
def test_first_occurrences_keep_every_id_of_a_row_once_where_it_comes_first(rows):
    ids = np.array(rows, np.int32)
    once = first_occurrences(ids)
    for row, kept in zip(rows, once.tolist(), strict=True):
        assert kept == [id_ if id_ not in row[:i] else 0 for i, id_ in enumerate(row)]
