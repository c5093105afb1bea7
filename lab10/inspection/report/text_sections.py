"""The section on a text classifier: its most confident mistakes, and the words that caused them."""

import dataclasses

import numpy as np

from lab10.data.tokenizer import is_token
from lab10.inspection.report.attribution import TOLERANCE, Attribution, explain, takes_token_weights
from lab10.inspection.report.evaluated_runs import EvaluatedRun
from lab10.inspection.report.page import Block, ColoredText, ColoredWord, Paragraph, Section
from lab10.inspection.text_run import TextRun

NUM_TEXTS = 10


def most_confidently_wrong(per_example: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Indices into the split of the wrong predictions with the highest probability, the highest first."""
    wrong = np.flatnonzero(per_example["predicted"] != per_example["label"])
    return wrong[np.argsort(-per_example["probability"][wrong], kind="stable")][:count]


def text_section(run: EvaluatedRun, classifier: TextRun, split: str) -> Section:
    """Shows the most confidently wrong texts, each word colored by its influence."""
    title, per_example = f"A closer look at {run.name}: confident and wrong", run.per_example
    worst = most_confidently_wrong(per_example, NUM_TEXTS)
    if not len(worst):
        return Section(title, [Paragraph(f"Every text of the {split} split is classified correctly.")])
    # In float32, whatever the run computes in: influences are differences of close numbers.
    module = dataclasses.replace(classifier.config.model, dtype="float32").build(classifier.spec)
    if not takes_token_weights(module):
        model = type(classifier.config.model).__name__
        return Section(
            title, [Paragraph(f"{model} takes no `token_weights`, so the influence of words cannot be measured.")]
        )
    inputs = classifier.inputs(split, worst.tolist())
    tokens = inputs if inputs.ndim == 2 else inputs[..., 0]
    predicted, labels = per_example["predicted"][worst], per_example["label"][worst]
    attribution = explain(module, classifier.params, inputs, predicted, labels, classifier.task)
    classes = classifier.spec.class_names
    blocks: list[Block] = [
        Paragraph(
            f"The {len(worst)} texts of the {split} split with the most confident wrong predictions, as the model "
            "reads them. Orange words moved the model towards its prediction, blue ones towards the true class, by "
            "integrated gradients from a text of empty words; the strongest word of each text has the full color. "
            "Hover over a word to see its influence: what it adds to the log ratio of the two probabilities."
        )
    ]
    for i, index in enumerate(worst):
        shown = is_token(tokens[i])
        words = classifier.words(tokens[i][shown])
        influences = np.asarray(attribution.influence[i])[shown].tolist()
        said, truth = classes[predicted[i]], classes[labels[i]]
        blocks.append(
            ColoredText(
                f"{i + 1}. Predicted {said} with probability {per_example['probability'][index]:.4f}; "
                f"true class {truth}"
                f" (example {per_example['example'][index]})",
                [ColoredWord(word, influence) for word, influence in zip(words, influences, strict=True)],
                _completeness_text(attribution, i),
            )
        )
    return Section(title, blocks)


def _completeness_text(attribution: Attribution, i: int) -> str:
    margin, baseline = float(attribution.margin[i]), float(attribution.baseline_margin[i])
    total, gap = float(attribution.influence[i].sum()), float(attribution.relative_completeness_gap[i])
    text = f"The words add {total:+.3f} to the {baseline:+.3f} of a text of empty words, which gives {margin:+.3f}"
    return f"{text}." if abs(gap) <= TOLERANCE else f"{text}, except for {gap:+.1%}: the influences are not exact."
