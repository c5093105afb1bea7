"""TFDS datasets of texts with a class label, as padded rows of word ids."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from lab10.config.fields import require_at_least, require_at_most
from lab10.data.cache import Arrays, ArrayWriter, cache_root, open_entry
from lab10.data.dataset import Batch, Dataset, HostBatch, OpenDataset, Spec, Split, SplitName
from lab10.data.sources import Source, import_tfds
from lab10.data.tokenizer import build_vocabulary, ids_of, pad, ranks_of
from lab10.errors import UserError

# Ids are int32, and the sum of a rank and --data.index-from must not overflow.
MAX_ID = 2**30 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSpec(Spec):
    """The number of ids and the padding side. All ids are below `num_ids`."""

    modality: ClassVar[str] = "texts"

    num_ids: int
    padding_side: Literal["left", "right"] = "left"
    """The side on which rows are padded with zeros."""

    def __post_init__(self):
        if not 1 <= self.num_ids <= 2 * MAX_ID:
            raise UserError(f"A vocabulary of {self.num_ids} ids is not supported; expected 1 to {2 * MAX_ID}.")
        if len(self.class_names) < 2:
            raise UserError(
                f"The dataset has {len(self.class_names)} class(es); expected at least 2 for classification."
            )

    def example(self) -> HostBatch:
        """Returns a text of one word: `inputs` int32 [1, 1]."""
        return {"inputs": np.ones((1, 1), np.int32), "labels": np.zeros(1, np.int32), "mask": np.ones(1, bool)}

    def preprocess(self, batch: Batch) -> Batch:
        """Converts ids to int32 inputs; the labels are the targets."""
        return batch | {"inputs": batch["inputs"].astype(jnp.int32), "targets": batch["labels"]}

    def trim_padding(self, batch: Batch, length: int | None) -> Batch:
        ids = batch["inputs"]
        excess = ids.shape[1] - (length or ids.shape[1])
        return batch | {"inputs": ids[:, excess:] if self.padding_side == "left" else ids[:, : ids.shape[1] - excess]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextDataset(Dataset):
    """Texts with class labels; by default the lab's `dataset_imdb(num_words = 10000, maxlen = 250)`, left-padded."""

    name: str = "imdb_reviews"
    """TFDS dataset of texts with a class label."""
    text_feature: str | None = None
    """Feature that contains the text; None: the only text feature."""
    label_feature: str | None = None
    """Feature that contains the class label; None: the only class label feature."""
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

    def __post_init__(self):
        super().__post_init__()
        counts = ("num_words", "max_length", "start_id", "unknown_id", "length_buckets")
        require_at_least(1, self, *counts, prefix="data.")
        require_at_most(MAX_ID, self, "num_words", "start_id", "unknown_id", "index_from", prefix="data.")
        require_at_most(2**20, self, "max_length", "length_buckets", prefix="data.")
        reserved = [value for value in (self.start_id, self.unknown_id) if value is not None]
        if self.index_from < max(reserved, default=0):
            raise UserError(
                f"--data.index-from is {self.index_from}; "
                f"expected at least the largest of the reserved ids {reserved}, so that no word has a reserved id."
            )
        if len(set(reserved)) < len(reserved):
            raise UserError(
                f"--data.start-id and --data.unknown-id are both {self.start_id}; expected two different ids."
            )
        if self.num_words is not None and self.num_words <= self.index_from:
            raise UserError(
                f"--data.num-words is {self.num_words}; "
                f"expected more than --data.index-from ({self.index_from}), because ids up to that number are no words."
            )

    def open_dataset(self) -> OpenDataset:
        source = self.source("train")
        text, label, classes = self._describe(source)
        words, words_digest = self._vocabulary(source, text)
        arrays, digest = self._open_arrays(source, text, label, words, words_digest)
        padded_lengths = bucket_lengths(self._limit_lengths(self._lengths(arrays)), self.length_buckets)

        def open_split(split: SplitName) -> Split:
            split_arrays = arrays
            if split == "test":
                split_arrays, _ = self._open_arrays(self.source("test"), text, label, words, words_digest)
            return self._split(split, split_arrays, spec, padded_lengths)

        spec = TextSpec(num_ids=self.num_ids(len(words)), class_names=classes, padding_side=self.padding_side)
        return OpenDataset(spec, source.version, digest, open_split, words)

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

    def pad(self, rows: list[np.ndarray], length: int) -> np.ndarray:
        """Pads and truncates rows of ids to an array, int32 [batch, length]."""
        return pad(rows, length, padding_side=self.padding_side, truncation_side=self.truncation_side)

    def _lengths(self, arrays: Arrays) -> np.ndarray:
        """Returns the number of ids of every text before truncation, int64 [texts], including the start id."""
        return np.diff(arrays["offsets"]) + (self.start_id is not None)

    def _limit_lengths(self, lengths: np.ndarray) -> np.ndarray:
        """Returns the lengths after longer texts are dropped or truncated."""
        if self.max_length is None:
            return lengths
        return lengths[lengths <= self.max_length] if self.overlong == "drop" else np.minimum(lengths, self.max_length)

    def _split(self, split: SplitName, arrays: Arrays, spec: TextSpec, padded_lengths: tuple[int, ...]) -> Split:
        ranks, offsets, labels = arrays["ranks"], arrays["offsets"], arrays["labels"]
        lengths = self._lengths(arrays)
        rows = self.split_indices(split, len(labels))
        if self.max_length is not None and self.overlong == "drop":
            rows = rows[lengths[rows] <= self.max_length]
        rows = rows[labels[rows] >= 0]  # TFDS marks examples without a label with -1
        limit = (
            "" if self.max_length is None else f" with a label and at most {self.max_length} ids (--data.max-length)"
        )
        self.refuse_empty(split, rows, limit)
        lengths = self._limit_lengths(lengths[rows])
        longest = self.max_length or max(1, int(lengths.max()))
        dtype = np.min_scalar_type(spec.num_ids - 1)  # a split is stored on the device in this dtype

        def read(row_ids: np.ndarray, length: int | None) -> HostBatch:
            ids = [self.encode(ranks[offsets[i] : offsets[i + 1]]) for i in row_ids]
            return {"inputs": self.pad(ids, length or longest).astype(dtype), "labels": np.asarray(labels[row_ids])}

        return Split(rows, read, lengths, (*(length for length in padded_lengths[:-1] if length < longest), longest))

    def _describe(self, source: Source) -> tuple[str, str, tuple[str, ...]]:
        """Returns the names of the text and label features, and the class names."""
        tfds = import_tfds()
        features = sorted(source.features.items())
        texts = [key for key, feature in features if isinstance(feature, tfds.features.Text)]
        labels = [key for key, feature in features if isinstance(feature, tfds.features.ClassLabel)]
        text = self._choose_feature("text", "--data.text-feature", self.text_feature, texts)
        label = self._choose_feature("class label", "--data.label-feature", self.label_feature, labels)
        return text, label, tuple(source.features[label].names)

    def _choose_feature(self, description: str, option: str, requested: str | None, candidates: list[str]) -> str:
        name = requested or (candidates[0] if len(candidates) == 1 else None)
        if name is None or name not in candidates:
            raise UserError(
                f"{self.name} does not have the expected {description} feature: "
                f"its {description} features are {', '.join(candidates) or 'none'}.\n"
                f"Choose a feature with {option}, or another dataset with --data.name."
            )
        return name

    def _vocabulary(self, source: Source, text: str) -> tuple[list[bytes], str]:
        """Returns the words of the whole train split, most frequent first, and their digest. Depends on no seed."""

        def build(writer: ArrayWriter) -> None:
            words = build_vocabulary(record[text] for records in source.chunks() for record in records)
            writer.append("words", np.frombuffer(b"\n".join(words), np.uint8))  # words contain no newline

        arrays, digest = self._entry(source, "vocabulary", {"text": text}, build)
        joined = arrays["words"].tobytes()
        return joined.split(b"\n") if joined else [], digest

    def _open_arrays(
        self, source: Source, text: str, label: str, words: list[bytes], words_digest: str
    ) -> tuple[Arrays, str]:
        """Opens the arrays of a split in the cache, and their digest.

        `ranks` are int32 [words of all texts], `offsets` into `ranks` int64 [texts + 1], `labels`
        int32 [texts]. Ranks instead of ids, so that one entry serves all values of the fields above.
        """

        def build(writer: ArrayWriter) -> None:
            ranks_by_word = {word: rank for rank, word in enumerate(words, start=1)}
            end = 0
            writer.append("offsets", np.zeros(1, np.int64))
            for records in source.chunks():
                ranks = [ranks_of(record[text], ranks_by_word) for record in records]
                ends = end + np.cumsum([len(row) for row in ranks], dtype=np.int64)
                writer.append("ranks", np.concatenate(ranks))
                writer.append("offsets", ends)
                writer.append("labels", np.array([record[label] for record in records], np.int32))
                end = int(ends[-1])

        return self._entry(source, "ranks", {"text": text, "label": label, "vocabulary": words_digest}, build)

    def _entry(
        self, source: Source, content: str, fields: dict[str, Any], build: Callable[[ArrayWriter], None]
    ) -> tuple[Arrays, str]:
        key = {"reader": f"texts 1 {content}", "source": source.fingerprint} | fields
        label = f"{source.version}-{source.fingerprint['split']}-{content}"
        return open_entry(cache_root(self.cache_dir), label, key, build)


def bucket_lengths(lengths: np.ndarray, buckets: int) -> tuple[int, ...]:
    """Returns at most `buckets` lengths, ascending, at equally spaced quantiles of `lengths`; the last is the maximum.

    On the lengths of IMDB's texts, the padding exceeds the optimal choice by less than one id per text.
    """
    if not len(lengths):
        return ()
    fractions = np.arange(1, buckets + 1) / buckets
    return tuple(sorted({max(1, math.ceil(length)) for length in np.quantile(lengths, fractions)}))
