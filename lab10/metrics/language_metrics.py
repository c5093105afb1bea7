"""Metrics of language models."""

from typing import ClassVar

import numpy as np

from lab10.metrics.split_metric import Columns, SplitMetric


class Perplexity(SplitMetric):
    """Exponential of the mean cross-entropy of a word, over all words of the split."""

    higher_is_better: ClassVar[bool | None] = False
    required_columns: ClassVar[tuple[str, ...]] = ("nats", "words")

    def compute(self, columns: Columns, class_names: tuple[str, ...]) -> float:
        words = columns["words"].sum()
        return float(np.exp(columns["nats"].sum(dtype=np.float64) / words)) if words else np.nan
