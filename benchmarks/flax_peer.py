"""The benchmark's tasks as Flax's own examples write them: one jitted step a batch, batches from the host."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from worker import (
    BATCH_SIZE,
    EMBEDDING_FEATURES,
    HIDDEN,
    LATENT,
    LEARNING_RATE,
    LINEAR_STDDEV,
    NUM_EMBEDDINGS,
    PIXELS,
    WIDTH,
    Peer,
    batches,
    load_arrays,
    peer_parser,
    pixels_of,
    right_padded,
    serve,
)

Batch = dict[str, np.ndarray]


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Keras's initialiser of embeddings."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


class LSTMClassifier(nn.Module):
    """Embedding → LSTM → the output of each row's last token → one logit."""

    @nn.compact
    def __call__(self, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        features = nn.Embed(NUM_EMBEDDINGS, EMBEDDING_FEATURES, embedding_init=uniform)(tokens)
        # The cell draws each gate's kernel apart: half the scale makes it Glorot's of the four together.
        glorot_of_four = nn.initializers.variance_scaling(
            (EMBEDDING_FEATURES + HIDDEN) / (EMBEDDING_FEATURES + 4 * HIDDEN), "fan_avg", "uniform"
        )
        cell = nn.OptimizedLSTMCell(HIDDEN, kernel_init=glorot_of_four, name="cell")
        outputs = nn.RNN(cell)(features, seq_lengths=lengths)
        last = outputs[jnp.arange(len(lengths)), lengths - 1]
        return nn.Dense(1, kernel_init=nn.initializers.glorot_uniform())(last)[:, 0]


class LinearAutoencoder(nn.Module):
    """Two matrices without bias."""

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        dense = functools.partial(nn.Dense, use_bias=False, kernel_init=nn.initializers.normal(LINEAR_STDDEV))
        return dense(PIXELS)(dense(LATENT)(pixels))


class MLPAutoencoder(nn.Module):
    """784-256-64-256-784; tanh after the two layers of 256."""

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        dense = functools.partial(nn.Dense, kernel_init=nn.initializers.glorot_uniform())
        latents = dense(LATENT)(nn.tanh(dense(WIDTH)(pixels)))
        return dense(PIXELS)(nn.tanh(dense(WIDTH)(latents)))


def outputs_and_losses(state: TrainState, params: dict, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """The model's outputs, and the loss of each example, [batch]."""
    if "labels" in batch:
        logits = state.apply_fn({"params": params}, batch["inputs"], batch["lengths"])
        return logits, optax.sigmoid_binary_cross_entropy(logits, batch["labels"])
    reconstruction = state.apply_fn({"params": params}, batch["inputs"])
    return reconstruction, jnp.sum((reconstruction - batch["inputs"]) ** 2, axis=-1)


def accuracy_or_error(outputs: jax.Array, losses: jax.Array, batch: Batch) -> jax.Array:
    """The task's metric of each example, [batch]."""
    return (outputs > 0) == (batch["labels"] > 0.5) if "labels" in batch else losses


@jax.jit
def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step of the optimizer, and the batch's means."""

    def loss_fn(params: dict) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        outputs, losses = outputs_and_losses(state, params, batch)
        return losses.mean(), (outputs, losses)

    (loss, (outputs, losses)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    metrics = {"loss": loss, "metric": accuracy_or_error(outputs, losses, batch).mean()}
    return state.apply_gradients(grads=gradients), metrics


@jax.jit
def eval_step(state: TrainState, batch: Batch) -> jax.Array:
    """The sum of the task's metric over a batch."""
    outputs, losses = outputs_and_losses(state, state.params, batch)
    return accuracy_or_error(outputs, losses, batch).sum()


class FlaxPeer(Peer):
    """A loop over numpy batches; metrics are fetched when an epoch ends."""

    def build_and_first_step(self) -> None:
        self.train, self.test = self._examples("train"), self._examples("test")
        texts = self.task == "imdb_lstm"
        module = LSTMClassifier() if texts else LinearAutoencoder() if self.task == "mnist_pca" else MLPAutoencoder()
        first = {name: array[:BATCH_SIZE] for name, array in self.train.items()}
        blank = (first["inputs"], first["lengths"]) if texts else (first["inputs"],)
        params = module.init(jax.random.key(self.seed), *blank)["params"]
        if texts:
            params["cell"]["hf"]["bias"] = jnp.ones_like(params["cell"]["hf"]["bias"])
        rate = LEARNING_RATE[self.task]
        optimizer = optax.rmsprop(rate, decay=0.9, eps=1e-7) if texts else optax.adam(rate, eps=1e-7)
        self.state = TrainState.create(apply_fn=module.apply, params=params, tx=optimizer)
        self.state, _ = train_step(self.state, first)
        jax.block_until_ready(self.state)

    def epoch(self) -> float:
        metrics, sizes = [], []
        for examples in self.shuffled_batches():
            batch = {name: array[examples] for name, array in self.train.items()}
            self.state, of_batch = train_step(self.state, batch)
            metrics.append(of_batch)
            sizes.append(len(examples))
        losses = [of_batch["loss"] for of_batch in jax.device_get(metrics)]
        jax.block_until_ready(self.state)
        return float(np.average(losses, weights=sizes))

    def evaluate(self, batch_size: int) -> dict[str, float]:
        examples = len(self.test["inputs"])
        sums = [
            eval_step(self.state, {name: array[indices] for name, array in self.test.items()})
            for indices in batches(np.arange(examples), batch_size)
        ]
        mean = float(np.sum(jax.device_get(sums), dtype=np.float64)) / examples
        return {"accuracy" if self.task == "imdb_lstm" else "reconstruction_error": mean}

    def _examples(self, split: str) -> Batch:
        inputs = self.arrays[f"{split}_inputs"]
        if self.task != "imdb_lstm":
            return {"inputs": pixels_of(inputs)}
        tokens, lengths = right_padded(inputs)
        return {"inputs": tokens, "lengths": lengths, "labels": self.arrays[f"{split}_labels"].astype(np.float32)}


if __name__ == "__main__":
    arguments = peer_parser().parse_args()
    serve(FlaxPeer(arguments.task, load_arrays(arguments.arrays), arguments.seed))
