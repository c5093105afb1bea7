"""Converts texts to word ids, as in Keras's IMDB word index. Pure functions.

Id 0 is padding. The reserved ids (a start id, an out-of-vocabulary id) come next. The word of rank r
(1 for the most frequent word) has the id r + `index_from`.
"""

import collections
import unicodedata
from collections.abc import Callable, Iterable, Sequence
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


def split_words(text: bytes) -> list[bytes]:
    """Returns the words of a text: ASCII lower-cased, without separators. Accepts any bytes."""
    return [word for word in text.translate(_TRANSLATION).split(b" ") if word]


def build_vocabulary(texts: Iterable[bytes]) -> list[bytes]:
    """Returns the words of all texts, most frequent first. Ties are sorted by bytes, whatever the order of texts."""
    counts = collections.Counter(word for text in texts for word in split_words(text))
    return sorted(counts, key=lambda word: (-counts[word], word))


def ranks_of(text: bytes, ranks_by_word: dict[bytes, int]) -> Int[np.ndarray, " words"]:
    """Returns the rank of each word of a text, int32; 0 for words outside the vocabulary."""
    return np.fromiter((ranks_by_word.get(word, 0) for word in split_words(text)), np.int32)


def ranks_normalizing_unknown(
    text: bytes, ranks_by_word: dict[bytes, int], is_known: Callable[[int], bool]
) -> Int[np.ndarray, " words"]:
    """Returns the rank of each word of a text like `ranks_of`, and looks again for words that the model does not know.

    Training and evaluation keep the lab's words, to which curly quotes, dashes, ellipses and invisible characters
    stick. A text that someone types or pastes has them more often, so each unknown word is replaced by the words of
    `normalize`, if the model knows any of them.

    Args:
      text: the text.
      ranks_by_word: the vocabulary.
      is_known: whether the model knows the word of a rank; false for 0, the rank of words outside the vocabulary.
    """
    ranks: list[int] = []
    for word in split_words(text):
        found = [ranks_by_word.get(word, 0)]
        if not is_known(found[0]):
            others = [ranks_by_word.get(other, 0) for other in normalize(word)]
            if any(map(is_known, others)):
                found = others
        ranks += found
    return np.array(ranks, np.int32)


# Typed or pasted for the ASCII apostrophe, which is a letter in the lab's words ("don't").
_APOSTROPHES = "\u2018\u2019\u201b\u02bc\u2032\u00b4"
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
# No word is longer, and Unicode's normal form can take time quadratic in the length.
_MAX_NORMALIZED = 100


def normalize(word: bytes) -> tuple[bytes, ...]:
    """Returns the words in a word after other spellings of its characters are replaced by the common ones.

    Invisible characters are removed, characters that are neither letters nor digits separate words, and quotes around
    a word are removed. Letters become lower case, and their composed or compatible forms the common ones (NFKC).
    """
    try:
        characters = word.decode()
    except UnicodeDecodeError:
        characters = word.decode("cp1252", "replace")
    pieces = "".join(map(_replacement, characters)).split(" ")
    normal = (unicodedata.normalize("NFKC", piece) if len(piece) <= _MAX_NORMALIZED else piece for piece in pieces)
    # Again, because a form may contain a separator: ¼ becomes 1⁄4.
    words = split_words("".join(map(_replacement, " ".join(normal))).lower().encode())
    return tuple(word for word in (word.strip(b"'") for word in words) if word)


def _replacement(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or ord(character) in _VARIATION_SELECTORS:
        return ""  # a byte-order mark, a soft hyphen, a zero-width space or joiner, a mark of direction
    if character == "'" or character in _APOSTROPHES:
        return "'"
    return character if category[0] in "LMN" else " "


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


def words_of(
    ids: Int[np.ndarray, " ids"],
    vocabulary: Sequence[bytes],
    *,
    index_from: int,
    start_id: int | None,
    unknown_id: int | None,
) -> list[str]:
    """Returns the word of each id, the inverse of `ids_of`; the two reserved ids give `⟨start⟩` and `⟨unknown⟩`."""
    reserved = {start_id: "⟨start⟩", unknown_id: "⟨unknown⟩"}
    return [
        reserved[id_] if id_ in reserved else vocabulary[id_ - index_from - 1].decode("utf-8", "replace")
        for id_ in ids.tolist()
    ]


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
