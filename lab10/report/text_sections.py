"""A closer look at a classifier of texts: where it is sure and wrong, and which words made it so."""

import dataclasses

import numpy as np

from lab10.data.tokenizer import is_token
from lab10.inspection import TextRun
from lab10.report.attribution import TOLERANCE, Attribution, explain, takes_token_weights
from lab10.report.evaluated_runs import EvaluatedRun
from lab10.report.page import Block, ColouredText, Paragraph, Section, Word

SHOWN = 10


def most_confidently_wrong(per_example: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Positions in the split of the wrong predictions with the highest probability, the highest first."""
    wrong = np.flatnonzero(per_example["predicted"] != per_example["label"])
    return wrong[np.argsort(-per_example["probability"][wrong], kind="stable")][:count]


def reviews_section(run: EvaluatedRun, classifier: TextRun, split: str) -> Section:
    """The most confidently wrong texts, each word coloured by its influence."""
    title, per_example = f"A closer look at {run.name}: confident and wrong", run.per_example
    worst = most_confidently_wrong(per_example, SHOWN)
    if not len(worst):
        return Section(title, [Paragraph(f"Every text of the {split} split is classified rightly.")])
    # In float32, whatever the run computes in: influences are differences of close numbers.
    module = dataclasses.replace(classifier.config.model, dtype="float32").build(classifier.spec)
    if not takes_token_weights(module):
        model = type(classifier.config.model).__name__
        return Section(
            title, [Paragraph(f"{model} takes no `token_weights`, so the influence of words cannot be measured.")]
        )
    tokens = classifier.tokens(split, worst.tolist())
    predicted, labels = per_example["predicted"][worst], per_example["label"][worst]
    attribution = explain(module, classifier.params, tokens, predicted, labels)
    classes = classifier.spec.class_names
    blocks: list[Block] = [
        Paragraph(
            f"The {len(worst)} texts of the {split} split that the model was most sure of and wrong about, as it reads "
            "them. Orange words moved it towards what it said, blue ones towards the truth, by integrated gradients "
            "from a text of empty words; the strongest word of a text has the full colour. A word's influence, shown "
            "when it is pointed at, is what it adds to the logarithm of how many times more probable the model holds "
            "what it said than the truth."
        )
    ]
    for place, position in enumerate(worst):
        shown = is_token(tokens[place])
        words = classifier.words(tokens[place][shown])
        influences = np.asarray(attribution.influence[place])[shown].tolist()
        said, truth = classes[predicted[place]], classes[labels[place]]
        blocks.append(
            ColouredText(
                f"{place + 1}. Said {said} with probability {per_example['probability'][position]:.4f}; it is {truth}"
                f" (example {per_example['example'][position]})",
                [Word(word, influence) for word, influence in zip(words, influences, strict=True)],
                _completeness_text(attribution, place),
            )
        )
    return Section(title, blocks)


def _completeness_text(attribution: Attribution, place: int) -> str:
    margin, baseline = float(attribution.margin[place]), float(attribution.baseline[place])
    total, gap = float(attribution.influence[place].sum()), float(attribution.gap[place])
    text = f"The words add {total:+.3f} to the {baseline:+.3f} of a text of empty words, and make {margin:+.3f}"
    return f"{text}." if abs(gap) <= TOLERANCE else f"{text} but for {gap:+.1%}: the influences are not exact."
