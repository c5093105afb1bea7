"""Vocabulary, ranks of words, and n-grams of a text dataset: read from TFDS once, then from the cache."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lab10.config.errors import UserError
from lab10.config.paths import path_of
from lab10.data.array_cache import Arrays, ArrayWriter, cache_root, open_entry
from lab10.data.labels import Labels
from lab10.data.ngram_vocabulary import NgramVocabulary, build_ngram_vocabulary
from lab10.data.sources import Source
from lab10.data.tokenizer import build_vocabulary, ranks_of

# The words of a run's vocabulary, in its workdir: the most frequent first, one per line.
VOCABULARY_FILE = "vocabulary.txt"


@dataclasses.dataclass(frozen=True)
class TextCache:
    """The cached arrays of a split of texts.

    Attributes:
      source: the split.
      text_feature: name of the feature that contains the text.
      cache_dir: folder of the cache; None: the default.
    """

    source: Source
    text_feature: str
    cache_dir: str | None = None

    def open_vocabulary(self) -> tuple[list[bytes], str]:
        """Returns the words of the split, most frequent first, and their digest. Depends on no seed."""

        def build(writer: ArrayWriter) -> None:
            words = build_vocabulary(
                record[self.text_feature] for records in self.source.chunks() for record in records
            )
            writer.append("words", np.frombuffer(b"\n".join(words), np.uint8))  # words contain no newline

        arrays, digest = self._open("vocabulary", {"text": self.text_feature}, build)
        joined = arrays["words"].tobytes()
        return joined.split(b"\n") if joined else [], digest

    def open_ranks(self, labels: Labels, words: list[bytes], words_digest: str) -> tuple[Arrays, str]:
        """Returns the texts and labels of the split as arrays, and the digest of the arrays.

        `ranks` are int32 [words of all texts], `offsets` into `ranks` int64 [texts + 1], `labels` the values of the
        labels [texts]. Ranks instead of ids, so that one entry serves all settings of ids and lengths.
        """

        def build(writer: ArrayWriter) -> None:
            ranks_by_word = {word: rank for rank, word in enumerate(words, start=1)}
            end = 0
            writer.append("offsets", np.zeros(1, np.int64))
            for records in self.source.chunks():
                ranks = [ranks_of(record[self.text_feature], ranks_by_word) for record in records]
                ends = end + np.cumsum([len(row) for row in ranks], dtype=np.int64)
                writer.append("ranks", np.concatenate(ranks))
                writer.append("offsets", ends)
                writer.append("labels", labels.read(records))
                end = int(ends[-1])

        return self._open(
            "ranks", {"text": self.text_feature, "label": labels.feature, "vocabulary": words_digest}, build
        )

    def open_ngram_vocabulary(
        self, arrays: Arrays, digest: str, num_words: int, max_ngram: int, min_count: int
    ) -> NgramVocabulary:
        """Returns the n-grams of the split that have ids. Depends on no seed.

        Args:
          arrays: the arrays of `open_ranks`.
          digest: their digest.
          num_words: number of words in the vocabulary.
          max_ngram: number of words in the longest n-gram; with 1 there are no tables.
          min_count: number of texts in which an n-gram must occur to have an id.
        """
        if max_ngram == 1:
            return ()

        def build(writer: ArrayWriter) -> None:
            tables = build_ngram_vocabulary(arrays["ranks"], arrays["offsets"], num_words + 1, max_ngram, min_count)
            for length, table in enumerate(tables, start=2):
                writer.append(str(length), table)

        tables, _ = self._open("ngrams", {"ranks": digest, "max_ngram": max_ngram, "min_count": min_count}, build)
        return tuple(tables[str(length)] for length in range(2, max_ngram + 1))

    def _open(self, content: str, fields: dict[str, Any], build: Callable[[ArrayWriter], None]) -> tuple[Arrays, str]:
        fingerprint = self.source.fingerprint
        label = f"{self.source.version}-{fingerprint['split']}-{content}"
        key = {"reader": f"texts 1 {content}", "source": fingerprint} | fields
        return open_entry(cache_root(self.cache_dir), label, key, build)


def read_vocabulary(run: str, workdir: Path | None) -> tuple[list[bytes], str]:
    """Returns the words of another run's vocabulary, and their digest.

    Args:
      run: workdir of the other run, `--data.vocabulary-from`.
      workdir: workdir of this run. Its copy is preferred, because the other run may be gone.

    Raises:
      UserError: the vocabulary cannot be read.
    """
    path = path_of(run) / VOCABULARY_FILE
    if workdir is not None and (workdir / VOCABULARY_FILE).exists():
        path = workdir / VOCABULARY_FILE
    problem = "has no words, or a word twice"
    try:
        joined = path.read_bytes()
    except OSError as error:
        problem = error.strerror or str(error)
    else:
        words = joined.split(b"\n")
        if joined and len(set(words)) == len(words):
            return words, hashlib.sha256(joined).hexdigest()
    raise UserError(
        f"--data.vocabulary-from {run}: {path} cannot be used ({problem}).\n"
        "Give the workdir of a run on texts, which contains the words of its vocabulary, one per line."
    )
