"""The benchmark's tasks in this project: its experiments, its step, its way of feeding it."""

import dataclasses

import numpy as np
from worker import BATCH_SIZE, Arrays, Peer, load_arrays, peer_parser, serve

from benchmarks.stepper import Stepper
from lab10.cli.overrides import load_experiment
from lab10.config.experiment import Experiment
from lab10.data.dataset import HostBatch, Split
from lab10.data.images import ImageSpec
from lab10.data.texts import TextDataset, TextSpec, bucket_lengths
from lab10.models.lstm import Implementation
from lab10.tasks.metrics import Metrics
from lab10.training.evaluation import evaluate
from lab10.training.step import StepFunctions


def split_of(arrays: Arrays, name: str, buckets: int) -> Split:
    """A split of the benchmark's arrays, ids in the smallest type that holds them, as lab10's datasets give them."""
    inputs, labels = arrays[f"{name}_inputs"], arrays.get(f"{name}_labels")
    rows = np.arange(len(inputs))
    if labels is None:
        return Split(rows, lambda indices, _: {"inputs": inputs[indices]})
    ids = inputs.astype(np.min_scalar_type(inputs.max()))

    def read(indices: np.ndarray, length: int | None) -> HostBatch:
        return {"inputs": ids[indices, ids.shape[1] - (length or ids.shape[1]) :], "labels": labels[indices]}

    lengths = (ids != 0).sum(axis=1)
    return Split(rows, read, lengths, (*bucket_lengths(lengths, buckets)[:-1], ids.shape[1]))


class Lab10Peer(Peer):
    """The experiment of the task's name, without logs and checkpoints, which no peer writes."""

    def __init__(self, task: str, arrays: Arrays, seed: int, buckets: int):
        super().__init__(task, arrays, seed)
        self.buckets = buckets
        self.implementation: Implementation = "auto"

    def build_and_first_step(self) -> None:
        experiment = load_experiment(self.task)
        data = dataclasses.replace(experiment.data, shuffle_seed=self.seed)
        self.experiment: Experiment = dataclasses.replace(
            experiment, data=data, seed=self.seed, batch_size=BATCH_SIZE, evaluation_batch_size=BATCH_SIZE
        )
        if isinstance(data, TextDataset):
            spec: ImageSpec | TextSpec = TextSpec(num_ids=data.num_ids(0), class_names=("neg", "pos"))
            model = dataclasses.replace(experiment.model, hidden_size=self.hidden, implementation=self.implementation)
            self.experiment = dataclasses.replace(self.experiment, model=model)
        else:
            spec = ImageSpec(height=28, width=28, largest=255)
        self.functions = StepFunctions(
            self.experiment, spec, self.experiment.total_steps(len(self.arrays["train_inputs"]))
        )
        self.test = self.functions.device_loader(split_of(self.arrays, "test", self.buckets))
        self.stepper = Stepper(self.functions, split_of(self.arrays, "train", self.buckets))
        self.state, self.step = self.functions.init_state(self.functions.init_params()), 0
        self._advance(1)

    def epoch(self) -> float:
        return self._advance(self.step + self.steps)

    def evaluate(self, batch_size: int) -> dict[str, float]:
        assert batch_size == self.experiment.evaluation_batch_size
        metrics = evaluate(self.functions, self.state.params, self.test).metrics
        return {name: value for name, value in metrics.items() if name in ("accuracy", "reconstruction_error")}

    def _advance(self, end: int) -> float:
        """Trains up to step `end`, and returns the mean loss over the examples of these steps."""
        metrics = Metrics.empty()
        while self.step < end:
            self.state, self.step = self.stepper.advance(self.state, self.step, end)
            for _, of_step in self.stepper.fetch_metrics(keep_in_flight=1 if self.step < end else 0):
                metrics = metrics.merge(of_step)
        return metrics.means()["loss"]


if __name__ == "__main__":
    parser = peer_parser()
    parser.add_argument("--buckets", type=int, default=6)
    arguments = parser.parse_args()
    serve(Lab10Peer(arguments.task, load_arrays(arguments.arrays), arguments.seed, arguments.buckets))
