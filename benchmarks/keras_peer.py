"""The benchmark's tasks as a user of Keras 3 writes them, on the backend that KERAS_BACKEND names."""

import keras
import numpy as np
from keras import layers
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
    load_arrays,
    peer_parser,
    pixels_of,
    serve,
)


def squared_error(pixels, reconstruction):
    """Summed over pixels, [batch]."""
    return keras.ops.sum(keras.ops.square(reconstruction - pixels), axis=-1)


def build(task: str, length: int, hidden: int = HIDDEN, masked: bool = True) -> keras.Model:
    """The task's model, compiled. On JAX, Keras calls cuDNN only if the LSTM has no mask, and so reads padding."""
    rate = LEARNING_RATE[task]
    if task == "imdb_lstm":
        model = keras.Sequential(
            [
                keras.Input((length,), dtype="int32"),
                layers.Embedding(NUM_EMBEDDINGS, EMBEDDING_FEATURES, mask_zero=masked),
                layers.LSTM(hidden),
                layers.Dense(1),
            ]
        )
        model.compile(
            optimizer=keras.optimizers.RMSprop(rate),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
        )
        return model
    if task == "mnist_pca":
        normal = [keras.initializers.RandomNormal(stddev=LINEAR_STDDEV) for _ in range(2)]
        dense = [
            layers.Dense(LATENT, use_bias=False, kernel_initializer=normal[0]),
            layers.Dense(PIXELS, use_bias=False, kernel_initializer=normal[1]),
        ]
    else:
        dense = [
            layers.Dense(WIDTH, activation="tanh"),
            layers.Dense(LATENT),
            layers.Dense(WIDTH, activation="tanh"),
            layers.Dense(PIXELS),
        ]
    model = keras.Sequential([keras.Input((PIXELS,)), *dense])
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=squared_error)
    return model


class KerasPeer(Peer):
    """`compile`, `fit` and `evaluate`."""

    def build_and_first_step(self) -> None:
        keras.utils.set_random_seed(self.seed)
        self.train, self.test = self._examples("train"), self._examples("test")
        length = self.arrays["train_inputs"].shape[1]
        self.model = build(self.task, length, self.hidden, masked=self.variant != "cuDNN")
        first_inputs, first_targets = (array[:BATCH_SIZE] for array in self.train)
        self.model.fit(first_inputs, first_targets, batch_size=BATCH_SIZE, epochs=1, verbose=0)

    def epoch(self) -> float:
        train = (rows[: self.examples] for rows in self.train)
        history = self.model.fit(*train, batch_size=BATCH_SIZE, epochs=1, verbose=0, shuffle=True)
        return history.history["loss"][0]

    def evaluate(self, batch_size: int) -> dict[str, float]:
        metrics = self.model.evaluate(*self.test, batch_size=batch_size, verbose=0, return_dict=True)
        if self.task == "imdb_lstm":
            return {"accuracy": metrics["accuracy"]}
        return {"reconstruction_error": metrics["loss"]}

    def _examples(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        inputs = self.arrays[f"{split}_inputs"]
        if self.task == "imdb_lstm":
            return inputs, self.arrays[f"{split}_labels"].astype(np.float32)
        pixels = pixels_of(inputs)
        return pixels, pixels


if __name__ == "__main__":
    arguments = peer_parser().parse_args()
    serve(KerasPeer(arguments.task, load_arrays(arguments.arrays), arguments.seed))
