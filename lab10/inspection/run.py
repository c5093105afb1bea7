"""A restored run of any type: config, parameters and evaluation."""

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
    """A restored run. `lab10.load` returns an instance.

    Attributes:
      config: the experiment.
      params: the evaluated parameters of the checkpoint, which are the EMA if --ema-decay is positive.
      step: the training step of the checkpoint.
      spec: the shapes and types of the dataset's examples.
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
    def supports(experiment: Experiment, spec: Spec) -> bool:
        """Returns whether this class can inspect runs of the experiment."""
        return True

    @property
    def _dataset(self) -> OpenDataset:
        if self._opened is None:
            self._opened = self.config.data.open_dataset()
            if (self._opened.content_sha256, self._opened.spec) != (self._workdir.read_content_sha256(), self.spec):
                raise UserError(
                    f"The available dataset {self._opened.version} differs in content from the dataset that "
                    f"{self._workdir.path} was trained on. Set TFDS_DATA_DIR or --data.dir to the original dataset."
                )
        return self._opened

    def _split(self, name: str) -> Split:
        return self._dataset.open_split(split_named(name))

    def evaluate(self, split: str = "test") -> dict[str, Any]:
        """Evaluates a split. Writes the metrics and the values of each example to evaluations/ in the workdir.

        Returns:
          `split`, `examples`, `step`, the metrics, `read_count` (the number of evaluations of this split in this
          workdir) and `per_example` (the path of the CSV file). The last two are None if the workdir cannot be written.
        """
        return self.evaluate_examples(split)[0]

    def evaluate_examples(self, split: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Evaluates a split like `evaluate`, and also returns the values of each example.

        Returns:
          The result of `evaluate`, and the columns of its CSV file by name, each [examples].
        """
        examples = self._split(split)
        evaluation = evaluate(self._steps, self.params, self._steps.device_loader(examples))
        metrics = evaluation.metrics | self._extra_metrics(split)
        result: dict[str, Any] = {"split": split, "examples": len(examples), "step": self.step, **metrics}
        columns = {"example": examples.rows, **evaluation.per_example}
        return result | self._record(result, columns), columns

    def _record(self, result: dict[str, Any], columns: dict[str, np.ndarray]) -> dict[str, Any]:
        """Writes an evaluation to the workdir; returns its `read_count` and `per_example` path."""
        split = result["split"]
        try:
            _require_no_links(self._workdir.path / "evaluations")
            count = self._workdir.record_evaluation(split, {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **result})
            # The count in the name keeps an evaluation from overwriting another.
            stem = self._workdir.path / "evaluations" / f"{split}-{count}"
            recorded = {"read_count": count, "per_example": str(_write_csv(stem.with_suffix(".csv"), columns))}
            stem.with_suffix(".json").write_text(json.dumps(result | recorded, indent=1))
            return recorded
        except OSError as error:
            console.print(
                f"The evaluation is not recorded, because {self._workdir.path} cannot be written ({error.strerror}).",
                markup=False,
            )
            return {"read_count": None, "per_example": None}

    def _extra_metrics(self, split: str) -> dict[str, float]:
        """Returns additional metrics of a split, such as a baseline; overridden by subclasses."""
        return {}

    def save_figures(self, directory: Path) -> None:
        """Writes the figures of a complete run to a folder; overridden by subclasses."""

    def encode(self, x: ArrayLike) -> Latents:
        """Encodes images; only for autoencoders."""
        raise self.unsupported("encode images")

    def decode(self, z: ArrayLike) -> Pixels:
        """Decodes latent vectors; only for autoencoders."""
        raise self.unsupported("decode latent vectors")

    def reconstruct(self, x: ArrayLike) -> Pixels:
        """Reconstructs images; only for autoencoders."""
        raise self.unsupported("reconstruct images")

    def predict(self, texts: Sequence[str | bytes]) -> list[dict[str, Any]]:
        """Classifies texts; only for text classifiers."""
        raise self.unsupported("classify texts")

    def unsupported(self, action: str) -> UserError:
        """Returns the error for an action, such as "encode images", that this type of run does not support."""
        model, data = type(self.config.model).__name__, self.spec.modality
        return UserError(
            f"{self._workdir.path} cannot {action}: it is a {model} trained on {data}. "
            f"Give the workdir of a run that can."
        )


def _require_no_links(folder: Path) -> None:
    """Checks for links, which the author of a workdir may have pointed at files outside it.

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
