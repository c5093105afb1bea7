"""A restored classifier of texts."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec
from lab10.data.texts import TextDataset, TextSpec
from lab10.data.tokenizer import ranks_of
from lab10.errors import UserError
from lab10.inspection.run import Run
from lab10.tasks.classification import Classification, probabilities
from lab10.training.state import Params
from lab10.training.workdir import Workdir

BATCH = 64
# A few books: of longer texts fewer are read at a time.
IDS_IN_BATCH = 2**20


class TextRun(Run):
    """Classifies texts as the run's config encodes them."""

    config: Experiment
    spec: TextSpec

    @staticmethod
    def inspects(experiment: Experiment, spec: Spec) -> bool:
        of_reviews = isinstance(experiment.data, TextDataset) and isinstance(spec, TextSpec)
        return of_reviews and isinstance(experiment.task, Classification)

    def __init__(self, workdir: Workdir, experiment: Experiment, spec: Spec, checkpoint: str):
        assert isinstance(experiment.data, TextDataset)
        assert isinstance(spec, TextSpec)
        # A run may be read with its padding on the other side.
        spec = dataclasses.replace(spec, padding_side=experiment.data.padding_side)
        super().__init__(workdir, experiment, spec, checkpoint)
        self._reviews = experiment.data
        self._vocabulary = workdir.read_vocabulary()
        words = len(self._vocabulary)
        if self._reviews.num_ids(words) != spec.num_ids:
            raise UserError(
                f"{workdir.path / 'vocabulary.txt'} is not that of this run: with its {words} words there are "
                f"{self._reviews.num_ids(words)} ids, and the run has {spec.num_ids}. Copy the run's folder whole."
            )
        self._rank = {word: rank for rank, word in enumerate(self._vocabulary, start=1)}

        def forward(params: Params, tokens: jax.Array) -> jax.Array:
            logits: Any = self._module.apply({"params": params}, tokens)
            return probabilities(logits)

        self._forward = jax.jit(forward)

    def predict(self, texts: Sequence[str | bytes]) -> list[dict[str, Any]]:
        """Classifies texts. Any text gets a class, even an empty one or one that is not UTF-8.

        Returns:
          For each text `text`, `label` (the dataset's name of the most probable class),
          `probability` (of that class), `probabilities` (of every class) and `truncated` (whether
          only a part of --data.max-length ids was read).
        """
        texts = [texts] if isinstance(texts, str | bytes) else texts
        rows = [self._reviews.encode(ranks_of(_as_bytes(text), self._rank)) for text in texts]
        return [
            self._prediction(text, row, of_classes)
            for text, row, of_classes in zip(texts, rows, self._probabilities(rows), strict=True)
        ]

    def _prediction(self, text: str | bytes, row: np.ndarray, of_classes: np.ndarray) -> dict[str, Any]:
        best = int(of_classes.argmax())
        return {
            "text": text.decode("utf-8", "replace") if isinstance(text, bytes) else text,
            "probability": float(of_classes[best]),
            "label": self.spec.class_names[best],
            "probabilities": dict(zip(self.spec.class_names, map(float, of_classes), strict=True)),
            "truncated": self._reviews.max_length is not None and len(row) > self._reviews.max_length,
        }

    def tokens(self, split: str, indices: Sequence[int]) -> np.ndarray:
        """The ids of texts of a split, by position in it, int32 [texts, time], as the model reads them."""
        return self._split(split).batch(np.array(indices, np.int64))["inputs"].astype(np.int32)

    def words(self, ids: Int[np.ndarray, " ids"]) -> list[str]:
        """Converts ids to words; the two ids that are not words become `⟨start⟩` and `⟨unknown⟩`."""
        reserved = {self._reviews.start_id: "⟨start⟩", self._reviews.unknown_id: "⟨unknown⟩"}
        first = self._reviews.index_from + 1
        return [
            reserved[number] if number in reserved else self._vocabulary[number - first].decode("utf-8", "replace")
            for number in ids.tolist()
        ]

    def _probabilities(self, rows: list[np.ndarray]) -> np.ndarray:
        """Probabilities [rows, classes]; sizes are rounded up, so that few are compiled."""
        probabilities = np.empty((len(rows), len(self.spec.class_names)), np.float32)
        longest_first = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        start = 0
        while start < len(rows):
            length = self._reviews.max_length or _power_of_two(len(rows[longest_first[start]]))
            batch = longest_first[start : start + max(1, min(BATCH, IDS_IN_BATCH // length))]
            start += len(batch)
            padded = [rows[i] for i in batch] + [rows[0][:0]] * (_power_of_two(len(batch)) - len(batch))
            probabilities[batch] = self._forward(self.params, self._reviews.pad(padded, length))[: len(batch)]
        return probabilities


def _as_bytes(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")  # bytes that were no UTF-8, as Python passes them on
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 0).bit_length()
