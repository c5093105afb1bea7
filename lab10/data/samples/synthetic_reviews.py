"""Synthetic film reviews from a seeded grammar; labels depend on word order: 8,000 train, 2,000 test.

Four of five reviews come in pairs: the same words in another order, with opposite labels ("expected
something dull but got something brilliant", "expected something brilliant but got something dull").
A bag of words predicts the same label for both reviews of a pair, so it is right for exactly half of
them. Every fifth review states its verdict plainly. Hence two limits for any classifier on each split:

- the accuracy of a bag of words is at most 0.6 (half of 0.8, and all of 0.2);
- a model that reads words in order can reach 1.0: the last verdict that is not negated decides.
"""

import random
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

SEED = 10
EXAMPLES = {"train": 8000, "test": 2000}
# A block of ten reviews has four pairs and two plain reviews.
PAIRS_IN_BLOCK, PLAIN_IN_BLOCK = 4, 2
BAG_OF_WORDS_LIMIT = 0.6

POSITIVE_WORDS = (
    "brilliant",
    "moving",
    "superb",
    "charming",
    "gripping",
    "wonderful",
    "clever",
    "beautiful",
    "hilarious",
    "masterful",
)
NEGATIVE_WORDS = (
    "dull",
    "awful",
    "clumsy",
    "boring",
    "tedious",
    "dreadful",
    "pointless",
    "shallow",
    "annoying",
    "forgettable",
)
SUBJECTS = (
    "film",
    "movie",
    "story",
    "plot",
    "script",
    "cast",
    "acting",
    "ending",
    "direction",
    "soundtrack",
    "dialogue",
    "camera work",
)
OPENINGS = (
    "we saw this at the cinema last week",
    "a friend lent me the disc",
    "it runs for about two hours",
    "this was made some years ago",
    "i watched it twice",
    "my brother chose it for the evening",
    "it is set in a small town by the sea",
    "the director is new to me",
)
CLOSINGS = (
    "that is all there is to say",
    "the credits are long",
    "i left right after",
    "make of that what you will",
    "the hall was half empty",
    "it was raining outside",
)
# {0} is the first verdict, {1} the last, which decides the label. Swapping them keeps the bag of words.
ORDERED = (
    "i expected something {0} but got something {1}",
    "the {subject} is not {0} , it is {1}",
    "people call the {subject} {0} but it is {1}",
    "it looked {0} at first and turned out {1} instead",
    "the {subject} seemed {0} , yet in the end it was {1}",
    "far from {0} , the {subject} was {1}",
)
PLAIN = ("the {subject} was {1}", "i found the {subject} {1}", "what a {1} {subject}", "a truly {1} {subject}")


class SyntheticReviews(tfds.core.GeneratorBasedBuilder):
    """Synthetic reviews; the module docstring states the limits of the accuracy."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {"label": tfds.features.ClassLabel(names=["neg", "pos"]), "text": tfds.features.Text()}
        )
        return tfds.core.DatasetInfo(
            builder=self, description=__doc__, features=features, supervised_keys=("text", "label")
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {split: self._generate_examples(split) for split in EXAMPLES}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (text, label) in enumerate(write_reviews(random.Random(f"{SEED} {split}"), EXAMPLES[split])):
            yield i, {"text": text, "label": label}


def write_reviews(source: random.Random, count: int) -> Iterator[tuple[str, int]]:
    """Yields `count` texts and labels (1 is good); `count` is a multiple of ten."""
    for _ in range(count // (2 * PAIRS_IN_BLOCK + PLAIN_IN_BLOCK)):
        for _ in range(PAIRS_IN_BLOCK):
            good, bad = source.choice(POSITIVE_WORDS), source.choice(NEGATIVE_WORDS)
            before, verdict, after = _frame(source, ORDERED)
            yield _join(before, verdict.format(bad, good), after), 1
            yield _join(before, verdict.format(good, bad), after), 0
        for label in (0, 1):
            before, verdict, after = _frame(source, PLAIN)
            yield (
                _join(before, verdict.format("", source.choice((NEGATIVE_WORDS, POSITIVE_WORDS)[label])), after),
                label,
            )


def _frame(source: random.Random, patterns: tuple[str, ...]) -> tuple[list[str], str, list[str]]:
    """Returns neutral sentences before, a verdict pattern about a random subject, and neutral sentences after."""
    verdict = source.choice(patterns).replace("{subject}", source.choice(SUBJECTS))
    return source.sample(OPENINGS, source.randint(0, 3)), verdict, source.sample(CLOSINGS, source.randint(0, 2))


def _join(before: list[str], verdict: str, after: list[str]) -> str:
    return " . ".join([*before, verdict, *after]) + " ."
