"""Text datasets: any TFDS dataset of texts with a class label, as padded rows of word ids."""

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from lab10.config.fields import require_at_least, require_at_most
from lab10.data.cache import Arrays, ArrayWriter, cache_root, open_entry
from lab10.data.dataset import Batch, Dataset, HostBatch, OpenDataset, Spec, Split, SplitName
from lab10.data.sources import Source, import_tfds
from lab10.data.tokenizer import build_vocabulary, ids_of, pad, ranks_of
from lab10.errors import UserError

# Ids are int32, and so is the sum of a rank and --data.index-from.
MAX_ID = 2**30 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSpec(Spec):
    """The description of a text dataset, whose ids are below `num_ids`."""

    modality: ClassVar[str] = "texts"

    num_ids: int
    padding_side: Literal["left", "right"] = "left"
    """Side of the padding."""

    def __post_init__(self):
        if not 1 <= self.num_ids <= 2 * MAX_ID:
            raise UserError(f"A vocabulary of {self.num_ids} ids is not read; expected 1 to {2 * MAX_ID}.")
        if len(self.class_names) < 2:
            raise UserError(f"There is nothing to classify: the dataset has {len(self.class_names)} class(es).")

    def example(self) -> HostBatch:
        """A text of one word: `inputs` int32 [1, 1]."""
        return {"inputs": np.ones((1, 1), np.int32), "labels": np.zeros(1, np.int32), "mask": np.ones(1, bool)}

    def preprocess(self, batch: Batch) -> Batch:
        """Ids, int32, are the inputs; the label is the target."""
        return batch | {"inputs": batch["inputs"].astype(jnp.int32), "targets": batch["labels"]}

    def trim_padding(self, batch: Batch, length: int | None) -> Batch:
        ids = batch["inputs"]
        beyond = ids.shape[1] - (length or ids.shape[1])
        return batch | {"inputs": ids[:, beyond:] if self.padding_side == "left" else ids[:, : ids.shape[1] - beyond]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextDataset(Dataset):
    """Texts with class labels; by default the lab's `dataset_imdb(num_words = 10000, maxlen = 250)` padded in front."""

    name: str = "imdb_reviews"
    """Name of a TFDS dataset of texts with a class label."""
    text_feature: str | None = None
    """Field that contains the text; None: the only text field."""
    label_feature: str | None = None
    """Field that contains the class; None: the only label field."""
    num_words: int | None = 10_000
    """Number of ids; larger ids become --data.unknown-id; None: keep all words."""
    max_length: int | None = 250
    """Maximum number of ids in a text, including the start id; None: no limit."""
    overlong: Literal["drop", "truncate"] = "drop"
    """Whether longer texts are dropped or truncated. Texts given to predict.py are always truncated."""
    truncation_side: Literal["left", "right"] = "left"
    """Side on which texts are truncated; left keeps the last ids, as Keras's pad_sequences does."""
    padding_side: Literal["left", "right"] = "left"
    """Side of the padding."""
    start_id: int | None = 1
    """Id added in front of every text; None: none."""
    unknown_id: int | None = 2
    """Id of words outside the vocabulary; None: such words are left out."""
    index_from: int = 3
    """Offset of word ids: the most frequent word has this id + 1."""
    length_buckets: int = 6
    """Number of padded lengths; texts of similar length share a batch. 1: random batches, one length."""

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
                f"expected at least the reserved ids {reserved}, so that no word shares one."
            )
        if len(set(reserved)) < len(reserved):
            raise UserError(
                f"--data.start-id and --data.unknown-id are both {self.start_id}; expected two different ids."
            )
        if self.num_words is not None and self.num_words <= self.index_from:
            raise UserError(
                f"--data.num-words is {self.num_words}; "
                f"expected more than --data.index-from, {self.index_from}, which stand for no word."
            )

    def open_dataset(self) -> OpenDataset:
        source = self.source("train")
        text, label, classes = self._describe(source)
        words, words_digest = self._vocabulary(source, text)
        arrays, digest = self._materialise(source, text, label, words, words_digest)
        padded_lengths = bucket_lengths(self._shortened(self._lengths(arrays)), self.length_buckets)

        def open_split(split: SplitName) -> Split:
            of_split = (
                self._materialise(self.source("test"), text, label, words, words_digest)[0]
                if split == "test"
                else arrays
            )
            return self._split(split, of_split, spec, padded_lengths)

        spec = TextSpec(num_ids=self.num_ids(len(words)), class_names=classes, padding_side=self.padding_side)
        return OpenDataset(spec, source.version, digest, open_split, words)

    def num_ids(self, words: int) -> int:
        """Ids lie below this, for a vocabulary of that many words."""
        return self.num_words if self.num_words is not None else words + self.index_from + 1

    def encode(self, ranks: np.ndarray) -> np.ndarray:
        """The ids of a text whose words have these ranks, int32 [ids], not yet cut or padded."""
        return ids_of(
            ranks,
            num_words=self.num_words,
            index_from=self.index_from,
            start_id=self.start_id,
            unknown_id=self.unknown_id,
        )

    def pad(self, rows: list[np.ndarray], length: int) -> np.ndarray:
        """Rows of ids as an array, int32 [batch, length]."""
        return pad(rows, length, padding_side=self.padding_side, truncation_side=self.truncation_side)

    def _lengths(self, arrays: Arrays) -> np.ndarray:
        """Ids of every text as a whole, int64 [texts], the start id counted."""
        return np.diff(arrays["offsets"]) + (self.start_id is not None)

    def _shortened(self, lengths: np.ndarray) -> np.ndarray:
        """The lengths that are left once the too long ones are dropped or truncated."""
        if self.max_length is None:
            return lengths
        return lengths[lengths <= self.max_length] if self.overlong == "drop" else np.minimum(lengths, self.max_length)

    def _split(self, split: SplitName, arrays: Arrays, spec: TextSpec, padded_lengths: tuple[int, ...]) -> Split:
        ranks, offsets, labels = arrays["ranks"], arrays["offsets"], arrays["labels"]
        lengths = self._lengths(arrays)
        rows = self.split_indices(split, len(labels))
        if self.max_length is not None and self.overlong == "drop":
            rows = rows[lengths[rows] <= self.max_length]
        rows = rows[labels[rows] >= 0]  # TFDS's mark of an example without a label is -1
        limit = (
            "" if self.max_length is None else f" with a label and at most {self.max_length} ids (--data.max-length)"
        )
        self.refuse_empty(split, rows, limit)
        lengths = self._shortened(lengths[rows])
        longest = self.max_length or max(1, int(lengths.max()))
        dtype = np.min_scalar_type(spec.num_ids - 1)  # a split lies on the device as it is read

        def read(row_ids: np.ndarray, length: int | None) -> HostBatch:
            ids = [self.encode(ranks[offsets[row_id] : offsets[row_id + 1]]) for row_id in row_ids]
            return {"inputs": self.pad(ids, length or longest).astype(dtype), "labels": np.asarray(labels[row_ids])}

        return Split(rows, read, lengths, (*(length for length in padded_lengths[:-1] if length < longest), longest))

    def _describe(self, source: Source) -> tuple[str, str, tuple[str, ...]]:
        """The fields of text and label, and the names of the classes."""
        tfds = import_tfds()
        features = sorted(source.features.items())
        texts = [key for key, feature in features if isinstance(feature, tfds.features.Text)]
        labels = [key for key, feature in features if isinstance(feature, tfds.features.ClassLabel)]
        text = self._choose("text", "--data.text-feature", self.text_feature, texts)
        label = self._choose("class label", "--data.label-feature", self.label_feature, labels)
        return text, label, tuple(source.features[label].names)

    def _choose(self, what: str, option: str, asked: str | None, found: list[str]) -> str:
        name = asked or (found[0] if len(found) == 1 else None)
        if name is None or name not in found:
            raise UserError(
                f"{self.name} does not have the {what} that was expected: "
                f"its fields of that kind are {', '.join(found) or 'none'}.\n"
                f"Name one with {option}, or another dataset with --data.name."
            )
        return name

    def _vocabulary(self, source: Source, text: str) -> tuple[list[bytes], str]:
        """Returns the words of the whole train split, most frequent first. They do not depend on a seed."""

        def build(writer: ArrayWriter) -> None:
            words = build_vocabulary(record[text] for records in source.chunks() for record in records)
            writer.append("words", np.frombuffer(b"\n".join(words), np.uint8))  # no word holds a newline

        arrays, digest = self._entry(source, "vocabulary", {"text": text}, build)
        joined = arrays["words"].tobytes()
        return joined.split(b"\n") if joined else [], digest

    def _materialise(
        self, source: Source, text: str, label: str, words: list[bytes], words_digest: str
    ) -> tuple[Arrays, str]:
        """`ranks` int32 [words of all texts], `offsets` int64 [texts + 1] into it, `labels` int32 [texts].

        Ranks and not ids, so that one entry serves every setting of the fields above.
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

    def _entry(self, source: Source, what: str, fields: dict[str, Any], build: Any) -> tuple[Arrays, str]:
        key = {"reader": f"texts 1 {what}", "source": source.fingerprint} | fields
        return open_entry(
            cache_root(self.cache_dir), f"{source.version}-{source.fingerprint['split']}-{what}", key, build
        )


def bucket_lengths(lengths: np.ndarray, buckets: int) -> tuple[int, ...]:
    """At most so many lengths, ascending, between which lie equal shares of the examples; the last holds them all.

    On the lengths of IMDB's texts this pads less than one id more a text than the best choice there is.
    """
    if not len(lengths):
        return ()
    shares = np.arange(1, buckets + 1) / buckets
    return tuple(sorted({max(1, math.ceil(length)) for length in np.quantile(lengths, shares)}))
