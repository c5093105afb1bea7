"""The lab's tokens and ids, on examples worked out by hand; properties/test_vocabulary.py has the rest."""

import numpy as np
import pytest

from lab10.data.tokenizer import (
    build_vocabulary,
    ids_of,
    is_token,
    normalize,
    pad,
    ranks_normalizing_unknown,
    ranks_of,
    split_words,
    words_of,
)

LAB = {"num_words": 10_000, "index_from": 3, "start_id": 1, "unknown_id": 2}

TRAIN = (b"The film was good, the ending was not!", b"the film? THE film...", b"was it<br /><br />the end")
# the 5, film 3, was 3, br 2, and once each: end, ending, good, it, not
WORDS = [b"the", b"film", b"was", b"br", b"end", b"ending", b"good", b"it", b"not"]


def encode(text, **changes):
    ranks = {word: rank for rank, word in enumerate(build_vocabulary(TRAIN), start=1)}
    return ids_of(ranks_of(text, ranks), **(LAB | changes)).tolist()


def test_the_vocabulary_is_ranked_by_count_and_then_by_bytes():
    assert build_vocabulary(TRAIN) == WORDS


def test_apostrophes_stay_in_words_and_markup_becomes_words():
    assert split_words(b"I don't; it's<br />\t(GREAT)\n10/10") == [
        b"i",
        b"don't",
        b"it's",
        b"br",
        b"great",
        b"10",
        b"10",
    ]


def test_only_ascii_is_lower_cased_and_bytes_need_not_be_utf_8():
    assert split_words("Ébène À".encode()) == ["Ébène".encode(), "À".encode()]
    assert split_words(b"\xff\xfe OK\r\n") == [b"\xff\xfe", b"ok\r"]


def test_a_text_becomes_the_ids_of_the_lab():
    assert encode(b"The film was bad, not good.") == [1, 4, 5, 6, 2, 12, 10]


def test_ids_of_num_words_and_above_become_unknown():
    assert encode(b"the film was br end", num_words=7) == [1, 4, 5, 6, 2, 2]
    assert encode(b"the film was br end not", num_words=None) == [1, 4, 5, 6, 7, 8, 12]


def test_index_from_shifts_every_word():
    assert encode(b"the film unheard", index_from=10) == [1, 11, 12, 2]


def test_the_start_id_can_be_disabled():
    assert encode(b"the film", start_id=None) == [4, 5]
    assert encode(b"", start_id=None) == []
    assert encode(b"") == [1]


def test_without_an_unknown_id_unknown_and_rare_words_are_dropped():
    assert encode(b"the unheard film not", unknown_id=None, num_words=6) == [1, 4, 5]
    assert encode(b"unheard", unknown_id=None, start_id=None) == []


def test_the_words_of_ids_are_those_of_the_text():
    names = {"index_from": 3, "start_id": 1, "unknown_id": 2}
    ids = np.array(encode(b"The film was bad"), np.int32)
    assert words_of(ids, WORDS, **names) == ["⟨start⟩", "the", "film", "was", "⟨unknown⟩"]
    assert words_of(np.array([11, 12]), WORDS, index_from=10, start_id=None, unknown_id=None) == ["the", "film"]
    assert words_of(np.array([4]), [b"\xff"], **names) == ["\ufffd"]


@pytest.mark.parametrize(
    ("padding_side", "truncation_side", "expected"),
    [
        ("left", "left", [[0, 0, 7], [2, 3, 4], [0, 0, 0]]),
        ("left", "right", [[0, 0, 7], [1, 2, 3], [0, 0, 0]]),
        ("right", "left", [[7, 0, 0], [2, 3, 4], [0, 0, 0]]),
        ("right", "right", [[7, 0, 0], [1, 2, 3], [0, 0, 0]]),
    ],
)
def test_rows_are_padded_and_truncated_on_the_given_sides(padding_side, truncation_side, expected):
    rows = [np.array(row, np.int32) for row in ([7], [1, 2, 3, 4], [])]
    padded = pad(rows, 3, padding_side=padding_side, truncation_side=truncation_side)
    assert padded.dtype == np.int32
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(is_token(padded), np.array(expected) != 0)


def test_padding_zero_rows_gives_zero_rows():
    assert pad([], 4, padding_side="left", truncation_side="left").shape == (0, 4)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("“good”", ["good"]),
        ("‘good’", ["good"]),
        ("'good'", ["good"]),
        ("don’t", ["don't"]),
        ("donʼt", ["don't"]),
        ("good—bad", ["good", "bad"]),
        ("good–bad", ["good", "bad"]),
        ("good…", ["good"]),
        ("good\u00a0bad\u2003end\u3000", ["good", "bad", "end"]),
        ("\ufeffgood", ["good"]),
        ("g\u00ado\u200bo\u200dd\u2060\u200e", ["good"]),
        ("love❤\ufe0fit", ["love", "it"]),
        ("cafe\u0301", ["café"]),
        ("CAFÉ", ["café"]),
        ("ﬁlm", ["film"]),
        ("ＧＯＯＤ", ["good"]),
        ("good\r", ["good"]),
        ("好看。电影", ["好看", "电影"]),
        ("❤", []),
        ("''", []),
    ],
)
def test_spellings_of_a_word(word, words):
    assert [word.decode() for word in normalize(word.encode())] == words


def test_words_in_the_encoding_of_windows():
    assert normalize(b"\x93good\x94") == (b"good",)
    assert normalize(b"caf\xe9") == ("café".encode(),)


def test_a_text_without_spaces_is_normalized_in_parts():
    assert normalize("\u00a0".join(["good"] * 10_000).encode()) == (b"good",) * 10_000


RANKS = {word.encode(): rank for rank, word in enumerate(["good", "don't", "“bad”", "rare", "a‘b", "a'b"], start=1)}


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("Good, don't", [1, 2]),
        ("“good” don’t", [1, 2]),
        ("“good…rare”", [1, 4]),
        ("“bad”", [3]),  # known as it is
        ("“rare”", [0]),  # of rank 4, and the model knows 3
        ("a‘b", [5]),  # too rare either way
        ("zzz “zzz”", [0, 0]),
    ],
)
def test_only_words_that_the_model_does_not_know_are_normalized(text, ranks):
    known = ranks_normalizing_unknown(text.encode(), RANKS, lambda rank: 0 < rank <= 3)
    assert known.tolist() == ranks
    assert known.dtype == np.int32
