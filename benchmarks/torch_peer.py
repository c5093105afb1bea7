"""The benchmark's tasks in PyTorch: packed sequences, and examples held as tensors on the device."""

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from worker import (
    BATCH_SIZE,
    EMBEDDING_FEATURES,
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

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class LSTMClassifier(nn.Module):
    """Embedding → LSTM over packed sequences, or over the padding as well → one logit."""

    def __init__(self, hidden: int, packed: bool):
        super().__init__()
        self.packed = packed
        self.embedding = nn.Embedding(NUM_EMBEDDINGS, EMBEDDING_FEATURES)
        self.lstm = nn.LSTM(EMBEDDING_FEATURES, hidden, batch_first=True)
        self.dense = nn.Linear(hidden, 1)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)
        nn.init.xavier_uniform_(self.lstm.weight_ih_l0)
        nn.init.orthogonal_(self.lstm.weight_hh_l0)
        nn.init.zeros_(self.lstm.bias_ih_l0)
        nn.init.zeros_(self.lstm.bias_hh_l0)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        with torch.no_grad():
            self.lstm.bias_ih_l0[hidden : 2 * hidden] = 1.0  # gates: input, forget, candidate, output
        self.lstm.bias_hh_l0.requires_grad_(False)  # the model has one bias

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits [batch] of rows whose padding stands behind; lengths lie on the host."""
        features = self.embedding(tokens)
        if self.packed:
            packed = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
            last = self.lstm(packed)[1][0][-1]
        else:
            last = self.lstm(features)[0][torch.arange(len(lengths)), lengths - 1]
        return self.dense(last)[:, 0]


def autoencoder(task: str) -> nn.Module:
    """The task's dense layers."""
    if task == "mnist_pca":
        model = nn.Sequential(nn.Linear(PIXELS, LATENT, bias=False), nn.Linear(LATENT, PIXELS, bias=False))
        for layer in model:
            nn.init.normal_(layer.weight, std=LINEAR_STDDEV)
        return model
    widths = (PIXELS, WIDTH, LATENT, WIDTH, PIXELS)
    dense = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    for layer in dense:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(dense[0], nn.Tanh(), dense[1], dense[2], nn.Tanh(), dense[3])


class TorchPeer(Peer):
    """The usual loop: `zero_grad`, `backward`, `step`."""

    def build_and_first_step(self) -> None:
        if DEVICE.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32, as JAX's default and cuDNN's
        torch.manual_seed(self.seed)
        texts = self.task == "imdb_lstm"
        self.model = (LSTMClassifier(self.hidden, self.variant != "padded") if texts else autoencoder(self.task)).to(
            DEVICE
        )
        rate = LEARNING_RATE[self.task]
        if texts:
            # PyTorch adds epsilon after the square root, Keras inside it; the root of Keras's epsilon comes closest.
            trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
            self.optimizer = torch.optim.RMSprop(trained, rate, alpha=0.9, eps=1e-7**0.5)
        else:
            self.optimizer = torch.optim.Adam(self.model.parameters(), rate, eps=1e-7)
        self.train, self.test = self._tensors("train"), self._tensors("test")
        self._step(np.arange(min(BATCH_SIZE, len(self.arrays["train_inputs"]))))
        wait()

    def epoch(self) -> float:
        total = torch.zeros((), device=DEVICE)
        for examples in self.shuffled_batches():
            total += self._step(examples) * len(examples)
        wait()
        return total.item() / self.examples

    @torch.inference_mode()
    def evaluate(self, batch_size: int) -> dict[str, float]:
        examples = len(self.arrays["test_inputs"])
        total = torch.zeros((), device=DEVICE)
        for indices in batches(np.arange(examples), batch_size):
            outputs, targets = self._outputs(self.test, indices)
            total += (
                ((outputs > 0) == (targets > 0.5)).sum()
                if self.task == "imdb_lstm"
                else ((outputs - targets) ** 2).sum()
            )
        mean = total.item() / examples
        return {"accuracy" if self.task == "imdb_lstm" else "reconstruction_error": mean}

    def _step(self, examples: np.ndarray) -> torch.Tensor:
        outputs, targets = self._outputs(self.train, examples)
        if self.task == "imdb_lstm":
            loss = nn.functional.binary_cross_entropy_with_logits(outputs, targets)
        else:
            loss = ((outputs - targets) ** 2).sum(dim=1).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _outputs(self, tensors: dict[str, torch.Tensor], examples: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        indices = torch.from_numpy(examples)
        on_device = indices.to(DEVICE)
        inputs = tensors["inputs"][on_device]
        if self.task != "imdb_lstm":
            return self.model(inputs), inputs
        return self.model(inputs, tensors["lengths"][indices]), tensors["targets"][on_device]

    def _tensors(self, split: str) -> dict[str, torch.Tensor]:
        inputs = self.arrays[f"{split}_inputs"]
        if self.task != "imdb_lstm":
            pixels = torch.from_numpy(pixels_of(inputs)).to(DEVICE)
            return {"inputs": pixels}
        tokens, lengths = right_padded(inputs)
        labels = self.arrays[f"{split}_labels"].astype(np.float32)
        return {
            "inputs": torch.from_numpy(tokens).to(DEVICE),
            "targets": torch.from_numpy(labels).to(DEVICE),
            "lengths": torch.from_numpy(lengths).long(),
        }


def wait() -> None:
    """Until the device has done what it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    arguments = peer_parser().parse_args()
    serve(TorchPeer(arguments.task, load_arrays(arguments.arrays), arguments.seed))
