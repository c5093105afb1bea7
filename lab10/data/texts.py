"""TFDS datasets of texts, as padded rows of word ids."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from lab10.config.errors import UserError
from lab10.config.fields import require_at_least, require_at_most
from lab10.data.array_cache import Arrays
from lab10.data.dataset import Batch, Dataset, HostBatch, OpenDataset, Spec, Split
from lab10.data.feature_choice import choose_feature
from lab10.data.labels import Labels, find_labels
from lab10.data.ngram_vocabulary import NgramVocabulary, first_occurrences, largest_ngram_id, ngram_ids, text_ids_of
from lab10.data.text_cache import TextCache, read_vocabulary
from lab10.data.tfds_import import import_tfds
from lab10.data.tokenizer import ids_of, pad, words_of

# Ids are int32, and the sum of a rank and --data.index-from must not overflow.
MAX_ID = 2**30 - 1
# Longer n-grams hardly occur twice.
MAX_EXACT_NGRAM = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSpec(Spec):
    """Describes prepared texts: the number of ids and n-grams, and the padding side. All ids are below `num_ids`.

    With `max_ngram` above 1, inputs are int32 [batch, time, 1 + max_ngram]: the word ids as before, and the ids of the
    n-grams of 1 to `max_ngram` words that end at each position for the first time in the text, else 0. These ids are in
    a numbering of their own, from 1 to `num_ngrams`.
    """

    modality: ClassVar[str] = "texts"

    num_ids: int
    max_ngram: int = 1
    num_ngrams: int = 0
    padding_side: Literal["left", "right"] = "left"
    """The side on which rows are padded with zeros."""

    def __post_init__(self):
        if not 1 <= self.num_ids <= 2 * MAX_ID:
            raise UserError(f"A vocabulary of {self.num_ids} ids is not supported; expected 1 to {2 * MAX_ID}.")

    def example(self) -> HostBatch:
        """Returns a text of one word: `inputs` int32 [1, 1]."""
        labels = {"labels": np.zeros(1, np.int32)} if self.class_names else {}
        inputs = np.ones((1, 1) if self.max_ngram == 1 else (1, 1, 1 + self.max_ngram), np.int32)
        return {"inputs": inputs, "mask": np.ones(1, bool)} | labels

    def preprocess(self, batch: Batch) -> Batch:
        """Converts ids to int32 inputs; the labels are the targets, and a text without labels is its own target."""
        inputs = batch["inputs"].astype(jnp.int32)
        return batch | {"inputs": inputs, "targets": batch.get("labels", inputs)}

    def trim_padding(self, batch: Batch, length: int | None) -> Batch:
        ids = batch["inputs"]
        excess = ids.shape[1] - (length or ids.shape[1])
        return batch | {"inputs": ids[:, excess:] if self.padding_side == "left" else ids[:, : ids.shape[1] - excess]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextDataset(Dataset):
    """Texts; by default the lab's `dataset_imdb(num_words = 10000, maxlen = 250)`, left-padded."""

    name: str = "imdb_reviews"
    """TFDS dataset of texts."""
    text_feature: str | None = None
    """Feature that contains the text; None: `text`, else the only text feature."""
    label_feature: str | None = None
    """Feature that contains the class label, a name or a whole number; None: `label`, else the only class label."""
    labels: bool = True
    """Whether to read class labels. Without them, texts that have none are kept: for language models."""
    vocabulary_from: str | None = None
    """Workdir of another run whose vocabulary is used, for fine-tuning; None: the words of the train split."""
    num_words: int | None = 10_000
    """Ids at or above this number become --data.unknown-id; None: keep all words."""
    max_length: int | None = 250
    """Maximal number of ids in a text, including the start id; None: no limit."""
    overlong: Literal["drop", "truncate"] = "drop"
    """Drop or truncate longer texts. Texts given to predict are always truncated."""
    truncation_side: Literal["left", "right"] = "left"
    """The side on which longer texts are cut; left keeps the last ids, as Keras's pad_sequences does."""
    padding_side: Literal["left", "right"] = "left"
    """The side on which texts are padded with zeros."""
    start_id: int | None = 1
    """Id at the start of every text; None: no start id."""
    unknown_id: int | None = 2
    """Id of words outside the vocabulary; None: these words are dropped."""
    index_from: int = 3
    """Offset of word ids: the most frequent word has this id + 1."""
    length_buckets: int = 6
    """Number of padded lengths; batches contain texts of similar length. 1: one length, random batches."""
    max_ngram: int = 1
    """Words in the longest n-gram that has an id, for models that read exact n-grams; 1: only words."""
    ngram_min_count: int = 1
    """Number of training texts in which an n-gram of several words must occur to have an id."""

    def __post_init__(self):
        super().__post_init__()
        counts = ("num_words", "max_length", "start_id", "unknown_id", "length_buckets", "max_ngram", "ngram_min_count")
        require_at_least(1, self, *counts)
        require_at_most(MAX_ID, self, "num_words", "start_id", "unknown_id", "index_from")
        require_at_most(2**20, self, "max_length", "length_buckets")
        require_at_most(MAX_EXACT_NGRAM, self, "max_ngram")
        reserved = [value for value in (self.start_id, self.unknown_id) if value is not None]
        if self.index_from < max(reserved, default=0):
            raise UserError(
                f"--data.index-from is {self.index_from}; "
                f"expected at least the largest of the reserved ids {reserved}, so that no word has a reserved id."
            )
        if self.max_ngram > 1 and self.unknown_id is None:
            raise UserError(
                "--data.max-ngram is above 1 and --data.unknown-id is None; expected an id: without it, the unknown "
                "words of a text are dropped, and n-grams are no longer next to their words."
            )
        if len(set(reserved)) < len(reserved):
            raise UserError(
                f"--data.start-id and --data.unknown-id are both {self.start_id}; expected two different ids."
            )
        if self.num_words is not None and self.num_words <= self.index_from:
            raise UserError(
                f"--data.num-words is {self.num_words}; expected more than --data.index-from ({self.index_from}), "
                "because ids up to that number are not words."
            )

    def open_dataset(self, workdir: Path | None = None) -> OpenDataset:
        source = self.source("train")
        text, labels = self._features(dict(source.features.items()))
        cache = TextCache(source, text, self.cache_dir)
        if self.vocabulary_from is None:
            words, words_digest = cache.open_vocabulary()
        else:
            words, words_digest = read_vocabulary(self.vocabulary_from, workdir)
        arrays, digest = cache.open_ranks(labels, words, words_digest)
        labels = labels.with_classes(self.name, arrays["labels"], is_required=self.label_feature is not None)
        padded_lengths = bucket_lengths(self._limit_lengths(self._lengths(arrays)), self.length_buckets)
        tables = cache.open_ngram_vocabulary(arrays, digest, len(words), self.max_ngram, self.ngram_min_count)
        spec = TextSpec(
            num_ids=self.num_ids(len(words)),
            class_names=labels.class_names,
            padding_side=self.padding_side,
            max_ngram=self.max_ngram,
            num_ngrams=largest_ngram_id(len(words), tables) if tables else 0,
        )

        @functools.cache
        def open_split(split: str) -> Split:
            split_arrays, split_digest = arrays, digest
            if not self.is_part_of_train(split):
                split_cache = TextCache(self.source(split), text, self.cache_dir)
                split_arrays, split_digest = split_cache.open_ranks(labels, words, words_digest)
            classes = labels.classes(self.name, split, split_arrays["labels"])
            rows = self.choose_rows(split, source, classes)

            def inputs(texts: Sequence[np.ndarray], length: int) -> np.ndarray:
                return self.inputs(texts, length, len(words), tables)

            opened = self._split(split, split_arrays, classes, rows, spec, padded_lengths, inputs)
            return dataclasses.replace(opened, content_sha256=split_digest)

        return OpenDataset(spec, source.version, digest, open_split, words, tables)

    def num_ids(self, words: int) -> int:
        """Returns the number of ids for a vocabulary of `words` words; all ids are below."""
        return self.num_words if self.num_words is not None else words + self.index_from + 1

    def encode(self, ranks: np.ndarray) -> np.ndarray:
        """Converts the ranks of a text's words to ids, int32 [ids], neither truncated nor padded."""
        return ids_of(
            ranks,
            num_words=self.num_words,
            index_from=self.index_from,
            start_id=self.start_id,
            unknown_id=self.unknown_id,
        )

    def words(self, ids: np.ndarray, vocabulary: Sequence[bytes]) -> list[str]:
        """Converts ids, int32 [ids], to words, the inverse of `encode`."""
        return words_of(ids, vocabulary, index_from=self.index_from, start_id=self.start_id, unknown_id=self.unknown_id)

    def pad(self, rows: list[np.ndarray], length: int) -> np.ndarray:
        """Pads and truncates rows of ids to an array, int32 [batch, length]."""
        return pad(rows, length, padding_side=self.padding_side, truncation_side=self.truncation_side)

    def inputs(self, texts: Sequence[np.ndarray], length: int, num_words: int, tables: NgramVocabulary) -> np.ndarray:
        """Returns the inputs of the model for texts, given as the ranks of their words, as `TextSpec` describes them.

        Args:
          texts: ranks of the words of each text, int32 [words].
          length: length to which the ids are padded or truncated.
          num_words: number of words in the vocabulary.
          tables: the n-grams that have ids.
        """
        ids = self.pad([self.encode(ranks) for ranks in texts], length)
        if not tables:
            return ids
        # The start id ends no n-gram; a 0 instead keeps the n-grams aligned with the ids.
        texts = texts if self.start_id is None else [np.insert(ranks, 0, 0) for ranks in texts]
        offsets = np.cumsum([0, *map(len, texts)])
        ngrams = ngram_ids(np.concatenate(texts), text_ids_of(offsets), tables, num_words + 1)
        columns = [first_occurrences(self.pad(np.split(column, offsets[1:-1]), length)) for column in ngrams.T]
        return np.stack([ids, *columns], axis=-1)

    def _lengths(self, arrays: Arrays) -> np.ndarray:
        """Returns the number of ids of every text before truncation, int64 [texts], including the start id."""
        return np.diff(arrays["offsets"]) + (self.start_id is not None)

    def _limit_lengths(self, lengths: np.ndarray) -> np.ndarray:
        """Returns the lengths after longer texts are dropped or truncated."""
        if self.max_length is None:
            return lengths
        return lengths[lengths <= self.max_length] if self.overlong == "drop" else np.minimum(lengths, self.max_length)

    def _split(
        self,
        split: str,
        arrays: Arrays,
        labels: np.ndarray,
        rows: np.ndarray,
        spec: TextSpec,
        padded_lengths: tuple[int, ...],
        inputs: Callable[[Sequence[np.ndarray], int], np.ndarray],
    ) -> Split:
        ranks, offsets = arrays["ranks"], arrays["offsets"]
        lengths = self._lengths(arrays)
        if self.max_length is not None and self.overlong == "drop":
            rows = rows[lengths[rows] <= self.max_length]
        if spec.class_names:
            rows = rows[labels[rows] >= 0]  # TFDS marks examples without a label with -1
        conditions = ["a label"] if spec.class_names else []
        conditions += [f"at most {self.max_length} ids (--data.max-length)"] if self.max_length is not None else []
        self.require_examples(split, rows, f" with {' and '.join(conditions)}" if conditions else "")
        self.warn_of_missing_classes(split, labels[rows], spec)
        lengths = self._limit_lengths(lengths[rows])
        longest = self.max_length or max(1, int(lengths.max()))
        # A split is stored on the device in this dtype.
        dtype = np.min_scalar_type(max(spec.num_ids - 1, spec.num_ngrams))

        def read(row_ids: np.ndarray, length: int | None) -> HostBatch:
            texts = [ranks[offsets[i] : offsets[i + 1]] for i in row_ids]
            batch = {"inputs": inputs(texts, length or longest).astype(dtype)}
            return batch | ({"labels": np.asarray(labels[row_ids])} if spec.class_names else {})

        return Split(rows, read, lengths, (*(length for length in padded_lengths[:-1] if length < longest), longest))

    def _features(self, features: dict[str, Any]) -> tuple[str, Labels]:
        """Returns the name of the text feature, and the labels."""
        tfds = import_tfds()
        texts = sorted(name for name, feature in features.items() if isinstance(feature, tfds.features.Text))
        text = choose_feature(
            self.name, features, "text", "--data.text-feature", self.text_feature, texts, preferred="text"
        )
        if not self.labels:
            return text, Labels()
        named = sorted(name for name, feature in features.items() if isinstance(feature, tfds.features.ClassLabel))
        requested = self.label_feature
        if requested is None and named and "label" not in named:
            requested = choose_feature(
                self.name, features, "class label", "--data.label-feature", None, named, preferred="label"
            )
        return text, find_labels(self.name, features, requested) or Labels()


def bucket_lengths(lengths: np.ndarray, buckets: int) -> tuple[int, ...]:
    """Returns at most `buckets` lengths, ascending, at equally spaced quantiles of `lengths`; the last is the maximum.

    On the lengths of IMDB's texts, the padding exceeds the optimal choice by less than one id per text.
    """
    if not len(lengths):
        return ()
    fractions = np.arange(1, buckets + 1) / buckets
    return tuple(sorted({max(1, math.ceil(length)) for length in np.quantile(lengths, fractions)}))
