"""A restored text classifier."""

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

MAX_BATCH_SIZE = 64
# Limit on batch size × length: longer texts, such as books, are classified in smaller batches.
IDS_IN_BATCH = 2**20


class TextRun(Run):
    """A run that classifies texts. It encodes them as the run's config says."""

    config: Experiment
    spec: TextSpec

    @staticmethod
    def supports(experiment: Experiment, spec: Spec) -> bool:
        is_text = isinstance(experiment.data, TextDataset) and isinstance(spec, TextSpec)
        return is_text and isinstance(experiment.task, Classification)

    def __init__(self, workdir: Workdir, experiment: Experiment, spec: Spec, checkpoint: str):
        assert isinstance(experiment.data, TextDataset)
        assert isinstance(spec, TextSpec)
        # The reader of a run may choose the other padding side.
        spec = dataclasses.replace(spec, padding_side=experiment.data.padding_side)
        super().__init__(workdir, experiment, spec, checkpoint)
        self._data = experiment.data
        self._vocabulary = workdir.read_vocabulary()
        num_ids = self._data.num_ids(len(self._vocabulary))
        if num_ids != spec.num_ids:
            raise UserError(
                f"{workdir.path / 'vocabulary.txt'} belongs to another run: its {len(self._vocabulary)} words give "
                f"{num_ids} ids; expected {spec.num_ids}. Copy the whole workdir of the run."
            )
        self._rank = {word: rank for rank, word in enumerate(self._vocabulary, start=1)}

        def forward(params: Params, tokens: jax.Array) -> jax.Array:
            logits: Any = self._module.apply({"params": params}, tokens)
            return probabilities(logits)

        self._forward = jax.jit(forward)

    def predict(self, texts: Sequence[str | bytes]) -> list[dict[str, Any]]:
        """Classifies texts. Any text is valid, including an empty text and bytes that are not UTF-8.

        Returns:
          For each text: `text`, `label` (the dataset's name of the most probable class), `probability` (of that
          class), `probabilities` (of every class) and `truncated` (whether the text was cut to --data.max-length ids).
        """
        texts = [texts] if isinstance(texts, str | bytes) else texts
        rows = [self._data.encode(ranks_of(_as_bytes(text), self._rank)) for text in texts]
        return [
            self._prediction(text, row, probabilities)
            for text, row, probabilities in zip(texts, rows, self._probabilities(rows), strict=True)
        ]

    def _prediction(self, text: str | bytes, row: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
        best = int(probabilities.argmax())
        return {
            "text": text.decode("utf-8", "replace") if isinstance(text, bytes) else text,
            "probability": float(probabilities[best]),
            "label": self.spec.class_names[best],
            "probabilities": dict(zip(self.spec.class_names, map(float, probabilities), strict=True)),
            "truncated": self._data.max_length is not None and len(row) > self._data.max_length,
        }

    def tokens(self, split: str, indices: Sequence[int]) -> np.ndarray:
        """Returns the model's input ids for texts of a split by index, int32 [texts, time]."""
        return self._split(split).batch(np.array(indices, np.int64))["inputs"].astype(np.int32)

    def words(self, ids: Int[np.ndarray, " ids"]) -> list[str]:
        """Converts ids to words; the two reserved ids give `⟨start⟩` and `⟨unknown⟩`."""
        reserved = {self._data.start_id: "⟨start⟩", self._data.unknown_id: "⟨unknown⟩"}
        first = self._data.index_from + 1
        return [
            reserved[id_] if id_ in reserved else self._vocabulary[id_ - first].decode("utf-8", "replace")
            for id_ in ids.tolist()
        ]

    def _probabilities(self, rows: list[np.ndarray]) -> np.ndarray:
        """Returns probabilities, float32 [rows, classes].

        Rounds batch sizes, and lengths without a `max_length`, up to powers of two, so that few shapes are compiled.
        """
        probabilities = np.empty((len(rows), len(self.spec.class_names)), np.float32)
        longest_first = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        start = 0
        while start < len(rows):
            length = self._data.max_length or _power_of_two(len(rows[longest_first[start]]))
            batch = longest_first[start : start + max(1, min(MAX_BATCH_SIZE, IDS_IN_BATCH // length))]
            start += len(batch)
            padded = [rows[i] for i in batch] + [rows[0][:0]] * (_power_of_two(len(batch)) - len(batch))
            probabilities[batch] = self._forward(self.params, self._data.pad(padded, length))[: len(batch)]
        return probabilities


def _as_bytes(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")  # restores bytes that Python could not decode as UTF-8
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 0).bit_length()
