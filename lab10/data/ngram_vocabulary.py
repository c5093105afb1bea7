"""Exact ids of n-grams of words, as sorted tables of integers. Pure functions of the ranks of words.

The id of a word is its rank. The ids of n-grams of two words come next, then those of three, and so on. 0 means no
n-gram.
"""

import numpy as np
from jaxtyping import Int

# One table of keys per length, from 2 on, sorted. A key is `index * rank_limit + rank`: the rank of the last word, and
# the index, in the table before, of the n-gram without it (for two words: the rank of the first word, minus 1).
NgramVocabulary = tuple[Int[np.ndarray, " _"], ...]


def build_ngram_vocabulary(
    ranks: Int[np.ndarray, " words"],
    offsets: Int[np.ndarray, " offsets"],
    rank_limit: int,
    max_ngram: int,
    min_count: int,
) -> NgramVocabulary:
    """Returns the tables of all n-grams of 2 to `max_ngram` words that occur in at least `min_count` texts.

    Args:
      ranks: ranks of the words of all texts, from 1; 0 for unknown words, which are in no n-gram.
      offsets: the words of text i are `ranks[offsets[i]:offsets[i + 1]]`.
      rank_limit: larger than every rank.
      max_ngram: number of words in the longest n-gram.
      min_count: number of texts in which an n-gram has to occur.
    """
    text_ids = text_ids_of(offsets)
    ranks = np.asarray(ranks, np.int64)
    tables: list[np.ndarray] = []
    shorter = ranks - 1  # index of the n-gram that ends at each word, in the table before; -1: none
    for _ in range(2, max_ngram + 1):
        keys = _keys(shorter, ranks, text_ids, rank_limit)
        occurs = keys >= 0
        # Each text counts once: sort by key, then by text.
        order = np.lexsort((text_ids[occurs], keys[occurs]))
        found, texts = keys[occurs][order], text_ids[occurs][order]
        first = np.ones(len(found), bool)
        first[1:] = (found[1:] != found[:-1]) | (texts[1:] != texts[:-1])
        table, counts = np.unique(found[first], return_counts=True)
        tables.append(table[counts >= min_count])
        shorter = _indices(keys, tables[-1])
    return tuple(tables)


def largest_ngram_id(vocabulary_size: int, tables: NgramVocabulary) -> int:
    """Returns the number of n-grams, the words of the vocabulary included; their ids run from 1 to it."""
    return vocabulary_size + sum(map(len, tables))


def text_ids_of(offsets: Int[np.ndarray, " offsets"]) -> Int[np.ndarray, " words"]:
    """Returns the index of the text of each word."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def ngram_ids(
    ranks: Int[np.ndarray, " words"], text_ids: Int[np.ndarray, " words"], tables: NgramVocabulary, rank_limit: int
) -> Int[np.ndarray, "words lengths"]:
    """Returns the id of the n-gram of each length that ends at each word, from words (the rank) on; 0: none.

    Args:
      ranks: ranks of the words of one or more texts; 0 for unknown words.
      text_ids: the text of each word; no n-gram crosses texts.
      tables: as `build_ngram_vocabulary` returns them.
      rank_limit: as for `build_ngram_vocabulary`.
    """
    ids = np.zeros((len(ranks), 1 + len(tables)), np.int32)
    ids[:, 0] = ranks
    ranks = np.asarray(ranks, np.int64)
    shorter, offset = ranks - 1, rank_limit  # the largest rank is rank_limit - 1
    for column, table in enumerate(tables, start=1):
        shorter = _indices(_keys(shorter, ranks, text_ids, rank_limit), table)
        ids[:, column] = np.where(shorter >= 0, shorter + offset, 0)
        offset += len(table)
    return ids


def first_occurrences(ids: Int[np.ndarray, "texts words"]) -> Int[np.ndarray, "texts words"]:
    """Returns the ids with repetitions within a row set to 0, so that each id of a text counts once."""
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = 0
    once = np.zeros_like(ids)
    np.put_along_axis(once, order, ordered, axis=1)
    return once


def _keys(shorter: np.ndarray, ranks: np.ndarray, text_ids: np.ndarray, rank_limit: int) -> np.ndarray:
    """Returns the key of the n-gram that ends at each word; -1 where a text begins, or a word or n-gram is unknown."""
    keys = np.full(len(ranks), -1, np.int64)
    known = (shorter[:-1] >= 0) & (ranks[1:] > 0) & (text_ids[1:] == text_ids[:-1])
    keys[1:][known] = shorter[:-1][known] * rank_limit + ranks[1:][known]
    return keys


def _indices(keys: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Returns the index of each key in a sorted table; -1 where the table does not hold it."""
    if not len(table):
        return np.full(len(keys), -1, np.int64)
    indices = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return np.where(table[indices] == keys, indices, -1)
