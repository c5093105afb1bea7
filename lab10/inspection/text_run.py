"""A restored text classifier."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec
from lab10.data.ngram_vocabulary import largest_ngram_id
from lab10.data.texts import TextDataset, TextSpec
from lab10.data.tokenizer import ranks_normalizing_unknown
from lab10.inspection.run import Run
from lab10.tasks.classification import Classification, probabilities
from lab10.training.state import Params
from lab10.training.workdir import Workdir

MAX_BATCH_SIZE = 64
# Limit on batch size × length: longer texts, such as books, are classified in smaller batches.
MAX_IDS_PER_BATCH = 2**20


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
        self._ngram_tables = workdir.read_ngram_vocabulary()
        ngrams = largest_ngram_id(len(self._vocabulary), self._ngram_tables) if self._data.max_ngram > 1 else 0
        if ngrams != spec.num_ngrams:
            raise UserError(
                f"{workdir.path / 'ngrams.npz'} belongs to another run: with {len(self._vocabulary)} words it gives "
                f"{ngrams} n-grams; expected {spec.num_ngrams}. Copy the whole workdir of the run."
            )
        assert isinstance(experiment.task, Classification)
        self.task = task = experiment.task
        self._rank = {word: rank for rank, word in enumerate(self._vocabulary, start=1)}

        def forward(params: Params, tokens: jax.Array) -> jax.Array:
            outputs: Any = self._module.apply({"params": params}, tokens)
            return probabilities(task.logits(outputs))

        self._forward = jax.jit(forward)

    def predict(self, texts: Iterable[Any]) -> list[dict[str, Any]]:
        """Classifies texts. Any text is valid, including an empty text and bytes that are not UTF-8.

        Words that the model does not know are looked up again without curly quotes, dashes, invisible characters and
        the like (`lab10.data.tokenizer.normalize`).

        Args:
          texts: a text, or a list, array, column or other iterable of texts.

        Returns:
          For each text: `text`, `label` (the dataset's name of the most probable class), `probability` (of that
          class), `probabilities` (of every class), `truncated` (whether the text was cut to --data.max-length ids) and
          `known_words` (the share of the words read that the model knows; 0 if there are no words). If `known_words`
          is 0, the label says nothing about the text.

        Raises:
          UserError: `texts` is not one-dimensional, or contains anything but texts, such as a missing value.
        """
        items = _as_texts(texts)
        rows = [self._ranks(text) for text in items]
        return [
            self._prediction(text, row, probabilities) | {"known_words": self._known_word_share(row)}
            for text, row, probabilities in zip(items, rows, self._probabilities(rows), strict=True)
        ]

    def _ranks(self, text: str | bytes) -> np.ndarray:
        return ranks_normalizing_unknown(_as_bytes(text), self._rank, self._is_known)

    def _prediction(self, text: str | bytes, row: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
        best = int(probabilities.argmax())
        return {
            "text": text.decode("utf-8", "replace") if isinstance(text, bytes) else text,
            "probability": float(probabilities[best]),
            "label": self.spec.class_names[best],
            "probabilities": dict(zip(self.spec.class_names, map(float, probabilities), strict=True)),
            "truncated": self._data.max_length is not None and len(self._data.encode(row)) > self._data.max_length,
        }

    def _is_known(self, rank: int) -> bool:
        """Returns whether the word of a rank has an id. Rank 0 is that of all words outside the vocabulary."""
        return rank > 0 and (self._data.num_words is None or rank + self._data.index_from < self._data.num_words)

    def _known_word_share(self, ranks: np.ndarray) -> float:
        """Returns the share of known words among the words of a text that the model reads."""
        row = self._data.encode(ranks)
        if self._data.unknown_id is None:  # only known words have ids
            return float(np.mean([self._is_known(rank) for rank in ranks.tolist()])) if len(ranks) else 0.0
        read = self._data.pad([row], min(len(row), self._data.max_length or len(row)))[0]
        words = read[read != self._data.start_id]
        return float(np.mean(words != self._data.unknown_id)) if len(words) else 0.0

    def inputs(self, split: str, indices: Sequence[int]) -> np.ndarray:
        """Returns the model's inputs for texts of a split by index, int32 [texts, time, …], as `TextSpec` says."""
        return self._split(split).batch(np.array(indices, np.int64))["inputs"].astype(np.int32)

    def words(self, ids: Int[np.ndarray, " ids"]) -> list[str]:
        """Converts ids to words; the two reserved ids give `⟨start⟩` and `⟨unknown⟩`."""
        return self._data.words(ids, self._vocabulary)

    def _probabilities(self, rows: list[np.ndarray]) -> np.ndarray:
        """Returns probabilities, float32 [rows, classes], for the ranks of the words of texts.

        Rounds batch sizes, and lengths without a `max_length`, up to powers of two, so that few shapes are compiled.
        """
        probabilities = np.empty((len(rows), len(self.spec.class_names)), np.float32)
        lengths = [len(self._data.encode(row)) for row in rows]
        longest_first = sorted(range(len(rows)), key=lambda i: -lengths[i])
        start = 0
        while start < len(rows):
            length = self._data.max_length or _power_of_two(lengths[longest_first[start]])
            batch = longest_first[start : start + max(1, min(MAX_BATCH_SIZE, MAX_IDS_PER_BATCH // length))]
            start += len(batch)
            filled = [rows[i] for i in batch] + [rows[0][:0]] * (_power_of_two(len(batch)) - len(batch))
            inputs = self._data.inputs(filled, length, len(self._vocabulary), self._ngram_tables)
            probabilities[batch] = self._forward(self.params, inputs)[: len(batch)]
        return probabilities


def _as_texts(texts: Any) -> list[str | bytes]:
    """Returns texts as a list.

    Raises:
      UserError: names the first item that is not a text, its position and its type.
    """
    expected = "expected a text, or a list of texts (str or bytes)"
    if isinstance(texts, str | bytes):
        return [texts]
    if hasattr(texts, "columns"):  # a table iterates over the names of its columns
        raise UserError(f"Cannot classify a {type(texts).__name__}; {expected}. Choose one column: table['text'].")
    if isinstance(texts, Mapping) or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) == 0:
        raise UserError(f"Cannot classify a {type(texts).__name__}; {expected}.")
    items = list(texts)
    wrong = [i for i, item in enumerate(items) if not isinstance(item, str | bytes)]
    if wrong:
        item = items[wrong[0]]
        others = f" {len(wrong)} of {len(items)} are none." if len(wrong) > 1 else ""
        raise UserError(
            f"Item {wrong[0]} (counted from 0) is not a text but {type(item).__name__}: {repr(item)[:60]}.{others}\n"
            f"{expected.capitalize()}; leave missing values out, or replace them by ''."
        )
    return items


def _as_bytes(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")  # restores bytes that Python could not decode as UTF-8
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 0).bit_length()
