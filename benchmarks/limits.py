"""How near to the machine's limit a step is: its floating-point operations, and those of a matrix product.

A product of [m, k] and [k, n] is 2·m·k·n operations. A training step does each of a layer's products three times:
forward, for the gradient of its matrix and for that of its input, the last not where the inputs are data. Only
products count:

    LSTM   2 · positions · 4·hidden · (features + hidden) · 3  +  2 · batch · hidden · logits · 3
    MLP    2 · batch · (3 · Σ in·out − in·out of the first layer)

The embedding is looked up, not multiplied. `positions` are tokens of the batch, or tokens and padding.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.worker import BATCH_SIZE, EMBEDDING_FEATURES, HIDDEN, LATENT, PIXELS, WIDTH

PRODUCT_SIZE = 2048
WIDTHS = {
    "mnist_pca": (PIXELS, LATENT, PIXELS),
    "mnist_autoencoder_lab": (PIXELS, WIDTH, LATENT, WIDTH, PIXELS),
}


def lstm_operations(positions: float, batch: float, features: int, hidden: int, logits: int = 1) -> float:
    """Floating-point operations of one training step of the LSTM classifier."""
    return 2 * positions * 4 * hidden * (features + hidden) * 3 + 2 * batch * hidden * logits * 3


def mlp_operations(batch: float, widths: Sequence[int]) -> float:
    """Floating-point operations of one training step of dense layers; `widths` begins with the inputs'."""
    products = [before * after for before, after in itertools.pairwise(widths)]
    return 2 * batch * (3 * sum(products) - products[0])


def operations_per_step(task: str, train_inputs: np.ndarray) -> dict[str, float]:
    """Floating-point operations of an average step of an epoch: on `real` positions, and with the `padded` ones."""
    steps = -(-len(train_inputs) // BATCH_SIZE)
    batch = len(train_inputs) / steps
    if task == "imdb_lstm":
        positions = {"real": np.count_nonzero(train_inputs) / steps, "padded": train_inputs.size / steps}
        return {kind: lstm_operations(count, batch, EMBEDDING_FEATURES, HIDDEN) for kind, count in positions.items()}
    operations = mlp_operations(batch, WIDTHS[task])
    return {"real": operations, "padded": operations}


class MatmulBenchmark:
    """Operations a second of a float32 matrix product, measured now and then while a benchmark runs."""

    def __init__(self, size: int = PRODUCT_SIZE):
        self._size = size
        self._product: Callable[[], None] | None = None
        self.rates: list[float] = []

    def measure(self) -> None:
        """Times one product."""
        if self._product is None:
            self._product = self._build()
            self._product()  # compiles
        began = time.perf_counter()
        self._product()
        self.rates.append(2 * self._size**3 / (time.perf_counter() - began))

    def summary(self) -> dict[str, float]:
        """`best` and `median`, operations a second; `samples`, their number."""
        return {"best": max(self.rates), "median": statistics.median(self.rates), "samples": len(self.rates)}

    def _build(self) -> Callable[[], None]:
        import jax

        left, right = jax.random.normal(jax.random.key(0), (2, self._size, self._size))
        multiply = jax.jit(lambda a, b: a @ b)

        def product() -> None:
            multiply(left, right).block_until_ready()

        return product


def shares_of_limit(operations: dict[str, float], seconds_per_step: float, rate: float) -> dict[str, float]:
    """The share of the measured rate that a step reaches, for each way of counting."""
    return {kind: count / seconds_per_step / rate for kind, count in operations.items()}
