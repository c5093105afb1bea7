"""Any text is read: what the tokenizer and `predict` make of it has rules that hold for all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.data.tokenizer import build_vocabulary, ranks_of, split_words
from lab10.inspection.load import load


@pytest.mark.parametrize("cases", [100, pytest.param(3000, marks=pytest.mark.stress)])
def test_any_bytes_are_words(case, cases):
    likely = st.text("aB'\0\t\n,. é\u0130", max_size=30).map(str.encode)

    @given(st.binary(max_size=100) | likely, st.binary(max_size=100) | likely)
    @settings(max_examples=cases)
    def check(text, other):
        words = split_words(text)
        assert split_words(b" ".join(words)) == words, "words are made of themselves"
        assert split_words(text.upper()) == split_words(text.lower()) == words, "whatever the case"
        assert split_words(text + b" " + other) == words + split_words(other), "a space keeps texts apart"
        vocabulary = build_vocabulary([text])
        ranks = ranks_of(text + b"\n" + other, {word: rank for rank, word in enumerate(vocabulary, start=1)})
        assert ranks.dtype == np.int32
        assert np.all((ranks[: len(words)] >= 1) & (ranks[: len(words)] <= len(vocabulary)))
        assert np.all((ranks >= 0) & (ranks <= len(vocabulary)))
        case()

    check()


@pytest.fixture(scope="module")
def predictors(made_runs):
    """A run without a length limit, and one that truncates texts as in training."""
    return {"whole": load(made_runs("texts"), max_length=None), "cut": load(made_runs("texts"))}


@pytest.mark.parametrize(
    "cases", [5, pytest.param(15, marks=pytest.mark.slow), pytest.param(600, marks=pytest.mark.stress)]
)
@pytest.mark.parametrize("way", ["whole", "cut"])
def test_each_of_any_texts_has_its_own_prediction(predictors, way, case, cases):
    run = predictors[way]
    words = sorted(run._rank)[:40]
    likely = st.lists(st.sampled_from(words), max_size=12).map(b" ".join)
    long = st.builds(
        lambda text, times: text * times, st.sampled_from(("film ", "a\0 ", "dull,", " ")), st.integers(0, 2000)
    )
    some = st.one_of(
        st.text(st.characters(codec=None, exclude_categories=()), max_size=40), st.binary(max_size=40), likely, long
    )

    @given(st.lists(some, max_size=5), st.randoms(use_true_random=False))
    @settings(max_examples=cases)
    def check(texts, random):
        answers = run.predict(texts)
        assert [answer["text"] for answer in answers] == [
            text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in texts
        ]
        for answer in answers:
            probabilities = answer["probabilities"]
            assert all(0 <= value <= 1 for value in probabilities.values())
            assert abs(sum(probabilities.values()) - 1) < 1e-6
            assert answer["probability"] == probabilities[answer["label"]] == max(probabilities.values())
        if texts:
            i = random.randrange(len(texts))
            (alone,) = run.predict([texts[i]])
            together = answers[i]["probabilities"]
            assert all(abs(alone["probabilities"][name] - together[name]) < 1e-5 for name in together)
        case()

    check()
    # Batches of 1 to 8 texts, of 1 to 4,096 words where they are not cut.
    assert run._forward._cache_size() <= 4 * (13 if way == "whole" else 1)


def test_texts_too_long_for_one_batch_are_read_in_several_batches(predictors, monkeypatch):
    run, texts = predictors["whole"], ["dull " * length for length in (90, 1, 30, 3, 70)]
    together = run.predict(texts)
    monkeypatch.setattr("lab10.inspection.text_run.MAX_IDS_PER_BATCH", 64)
    apart = run.predict(texts)
    for one, other in zip(together, apart, strict=True):
        assert one["text"] == other["text"]
        assert abs(one["probability"] - other["probability"]) < 1e-5
