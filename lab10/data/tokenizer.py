"""Converts texts to word ids, as in Keras's IMDB word index. Pure functions.

Id 0 is padding. The reserved ids (a start id, an out-of-vocabulary id) come next. The word of rank r
(1 for the most frequent word) has the id r + `index_from`.
"""

import collections
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

PADDING_ID = 0

# The default `filters` of Keras's Tokenizer: each of these characters becomes a space.
_SEPARATORS = b'!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_TRANSLATION = bytes.maketrans(
    _SEPARATORS + bytes(range(ord("A"), ord("Z") + 1)),
    b" " * len(_SEPARATORS) + bytes(range(ord("a"), ord("z") + 1)),
)


def tokenize(text: bytes) -> list[bytes]:
    """Returns the words of a text: ASCII lower-cased, without separators. Accepts any bytes."""
    return [word for word in text.translate(_TRANSLATION).split(b" ") if word]


def build_vocabulary(texts: Iterable[bytes]) -> list[bytes]:
    """Returns the words of all texts, most frequent first. Ties are sorted by bytes, whatever the order of texts."""
    counts = collections.Counter(word for text in texts for word in tokenize(text))
    return sorted(counts, key=lambda word: (-counts[word], word))


def ranks_of(text: bytes, ranks_by_word: dict[bytes, int]) -> Int[np.ndarray, " words"]:
    """Returns the rank of each word of a text, int32; 0 for words outside the vocabulary."""
    return np.fromiter((ranks_by_word.get(word, 0) for word in tokenize(text)), np.int32)


def ids_of(
    ranks: Int[np.ndarray, " words"],
    *,
    num_words: int | None,
    index_from: int,
    start_id: int | None,
    unknown_id: int | None,
) -> Int[np.ndarray, " ids"]:
    """Returns the ids of a text, int32, as Keras's `imdb.load_data` does.

    Args:
      ranks: ranks of the words; 0 for unknown words.
      num_words: ids at or above this number become `unknown_id`; None keeps all ids.
      index_from: the word of rank r has the id r + index_from.
      start_id: id at the start of the text; None adds no start id.
      unknown_id: id of unknown and rare words; None drops these words.
    """
    ids = np.where(ranks > 0, ranks + index_from, -1)
    if num_words is not None:
        ids = np.where(ids < num_words, ids, -1)
    ids = ids[ids >= 0] if unknown_id is None else np.where(ids < 0, unknown_id, ids)
    start = [] if start_id is None else [start_id]
    return np.concatenate([np.array(start, np.int32), ids.astype(np.int32)])


def pad(
    rows: Sequence[Int[np.ndarray, " _"]],
    length: int,
    *,
    padding_side: Literal["left", "right"],
    truncation_side: Literal["left", "right"],
) -> Int[np.ndarray, "batch time"]:
    """Returns rows of ids as one int32 array, padded with zeros or truncated to `length` on the given sides."""
    padded = np.full((len(rows), length), PADDING_ID, np.int32)
    for target, row in zip(padded, rows, strict=True):
        row = (row[:length] if truncation_side == "right" else row[-length:]) if len(row) > length else row
        if len(row):
            target[slice(-len(row), None) if padding_side == "left" else slice(len(row))] = row
    return padded


def is_token(tokens: Int[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Returns True for tokens and False for padding."""
    return tokens != PADDING_ID
