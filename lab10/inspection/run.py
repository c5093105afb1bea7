"""A run restored from its workdir: its parameters, its config, evaluation."""

import csv
import errno
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from lab10.cli.console import console
from lab10.config.experiment import Experiment
from lab10.data.dataset import OpenDataset, Spec, Split, split_named
from lab10.errors import UserError
from lab10.training.checkpoints import Checkpoints
from lab10.training.evaluation import evaluate
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir

Pixels = Float[np.ndarray, "rows pixels"]
Latents = Float[np.ndarray, "rows latent"]


class Run:
    """A restored run.

    Attributes:
      config: the experiment.
      params: the parameters of the checkpoint.
      step: the checkpoint's step.
      spec: what the dataset looks like.
    """

    def __init__(self, workdir: Workdir, experiment: Experiment, spec: Spec, checkpoint: str):
        self._workdir, self.config, self.spec = workdir, experiment, spec
        self._steps = StepFunctions(experiment, spec)
        higher_is_better = experiment.task.metrics[experiment.monitor]
        checkpoints = Checkpoints(workdir.checkpoints_path, experiment.monitor, higher_is_better, alone=True)
        self.step = checkpoints.find(checkpoint)
        trees = checkpoints.restore(self.step, {"eval_params": self._steps.abstract_params()}).trees
        self.params = trees["eval_params"]
        self._module = self._steps.module
        self._opened: OpenDataset | None = None

    @staticmethod
    def inspects(experiment: Experiment, spec: Spec) -> bool:
        """Whether this class can inspect a run of that experiment."""
        return True

    @property
    def _dataset(self) -> OpenDataset:
        if self._opened is None:
            self._opened = self.config.data.open_dataset()
            found = self._opened.content_sha256, self._opened.spec
            if found != (self._workdir.read_content_sha256(), self.spec):
                raise UserError(
                    f"The dataset {self._opened.version} that was found is not the one that {self._workdir.path} was "
                    "trained on: its content differs. Point TFDS_DATA_DIR or --data.dir at that one."
                )
        return self._opened

    def _split(self, name: str) -> Split:
        return self._dataset.open_split(split_named(name))

    def evaluate(self, split: str = "test") -> dict[str, Any]:
        """Evaluates a split; writes metrics and each example's prediction or error to evaluations/ in the workdir.

        Returns:
          `split`, `examples`, `step`, the metrics, `read_count` (how often this split has now been
          evaluated in this workdir) and `per_example` (the path of the CSV file); the last two are
          None where the workdir cannot be written.
        """
        return self.evaluate_examples(split)[0]

    def evaluate_examples(self, split: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """`evaluate`, which it counts as, and what that writes of each example: columns by name, [examples] each."""
        examples = self._split(split)
        evaluation = evaluate(self._steps, self.params, self._steps.device_loader(examples))
        metrics = evaluation.metrics | self._further_metrics(split)
        result: dict[str, Any] = {"split": split, "examples": len(examples), "step": self.step, **metrics}
        columns = {"example": examples.rows, **evaluation.per_example}
        return result | self._record(result, columns), columns

    def _record(self, result: dict[str, Any], columns: dict[str, np.ndarray]) -> dict[str, Any]:
        """Writes an evaluation into the workdir and says where."""
        split = result["split"]
        try:
            _require_no_links(self._workdir.path / "evaluations")
            count = self._workdir.record_evaluation(split, {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **result})
            stem = self._workdir.path / "evaluations" / f"{split}-{count}"  # by count: no evaluation overwrites another
            recorded = {"read_count": count, "per_example": str(_write_csv(stem.with_suffix(".csv"), columns))}
            stem.with_suffix(".json").write_text(json.dumps(result | recorded, indent=1))
            return recorded
        except OSError as error:
            console.print(
                f"The evaluation is not recorded: {self._workdir.path} cannot be written ({error.strerror}).",
                markup=False,
            )
            return {"read_count": None, "per_example": None}

    def _further_metrics(self, split: str) -> dict[str, float]:
        """Computes reference metrics, such as the error of exact PCA."""
        return {}

    def draw(self, directory: Path) -> None:
        """Writes what there is to look at after training."""

    def encode(self, x: ArrayLike) -> Latents:
        """Latent vectors of images; an autoencoder's."""
        raise self.cannot("encode images")

    def decode(self, z: ArrayLike) -> Pixels:
        """Images of latent vectors; an autoencoder's."""
        raise self.cannot("decode latent vectors")

    def reconstruct(self, x: ArrayLike) -> Pixels:
        """Images of images; an autoencoder's."""
        raise self.cannot("reconstruct images")

    def predict(self, texts: Sequence[str | bytes]) -> list[dict[str, Any]]:
        """Classes of texts; a text classifier's."""
        raise self.cannot("classify texts")

    def cannot(self, what: str) -> UserError:
        """The error that says what this kind of run is not for."""
        model, data = type(self.config.model).__name__, self.spec.modality
        return UserError(
            f"{self._workdir.path} cannot {what}: it is a {model} trained on {data}. "
            f"Give the workdir of a run that can."
        )


def _require_no_links(folder: Path) -> None:
    """Refuses to write through links, which the author of a workdir could point elsewhere.

    Raises:
      OSError: the folder, or a file in it, is a link.
    """
    for path in (folder, *(folder.iterdir() if folder.is_dir() else ())):
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"{path.name} is a link", str(path))


def _write_csv(path: Path, columns: dict[str, np.ndarray]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return path
