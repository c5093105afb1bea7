"""A restored run of any type: config, parameters and evaluation."""

import csv
import errno
import json
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from lab10.cli.console import console
from lab10.config.atomic_write import write_atomically
from lab10.config.errors import Interrupted, UserError
from lab10.config.experiment import Experiment
from lab10.data.dataset import OpenDataset, Spec, Split
from lab10.metrics.split_metric import SplitMetric, find_split_metric, require_distinct
from lab10.training.checkpoints import Checkpoints
from lab10.training.evaluation import evaluate, require_split_metrics
from lab10.training.evaluation_log import record_evaluation
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir

Pixels = Float[np.ndarray, "rows pixels"]
Latents = Float[np.ndarray, "rows latent_dim"]
# With more classes, the CSV file leaves out their probabilities: it would be large and hardly readable.
MAX_CSV_CLASSES = 20


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
        self._functions = StepFunctions(experiment, spec)
        checkpoints = Checkpoints(workdir.checkpoints_path, experiment.monitor, experiment.higher_is_better, alone=True)
        self.step = checkpoints.find(checkpoint)
        trees = checkpoints.restore(self.step, {"eval_params": self._functions.abstract_params()}).trees
        self.params = trees["eval_params"]
        self._module = self._functions.module
        self._opened: OpenDataset | None = None

    @staticmethod
    def supports(experiment: Experiment, spec: Spec) -> bool:
        """Returns whether this class can inspect runs of the experiment."""
        return True

    @property
    def _dataset(self) -> OpenDataset:
        if self._opened is None:
            self._opened = self.config.data.open_dataset(self._workdir.path)
            if (self._opened.content_sha256, self._opened.spec) != (self._workdir.read_content_sha256(), self.spec):
                raise UserError(
                    f"The available dataset {self._opened.version} differs in content from the dataset that "
                    f"{self._workdir.path} was trained on. Set TFDS_DATA_DIR or --data.dir to the original dataset."
                )
        return self._opened

    def _split(self, name: str) -> Split:
        return self._dataset.open_split(name)

    def content_sha256(self, split: str) -> str:
        """Returns the SHA-256 of the examples of the TFDS split that contains a split; `""` if it is not known."""
        return self._split(split).content_sha256

    def evaluate(self, split: str = "test", metrics: str | Sequence[str | SplitMetric] = ()) -> dict[str, Any]:
        """Evaluates a split. Writes the metrics and the values of each example to evaluations/ in the workdir.

        Args:
          split: `train`, `validation` or `test` of this run, or any other TFDS split, such as `unsupervised`,
            `test[:10%]`, or `validation[0:]` for TFDS's own validation split.
          metrics: additional metrics of the whole split, or their names: `f1`, `auc`, `confusion_matrix`.

        Returns:
          `split`, `tfds_split` (what it is in TFDS), `examples`, `step`, `content_sha256` (as in the method of this
          name), the metrics, `read_count` (the number of evaluations of this split in this workdir) and `per_example`
          (the path of the CSV file). The last two are None if the workdir cannot be written.
          A metric per class is a dict by class name. A table, such as `confusion_matrix`, is a list of rows, and
          `class_names` names its rows and columns. A value that is undefined on this split is None.

        Raises:
          UserError: the split or a metric does not exist, or the metric does not fit this run.
        """
        return self.evaluate_examples(split, metrics)[0]

    def evaluate_examples(
        self, split: str, metrics: str | Sequence[str | SplitMetric] = ()
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Evaluates a split like `evaluate`, and also returns the values of each example.

        Returns:
          The result of `evaluate`, and the columns of its CSV file by name, each [examples, …].
        """
        all_metrics, examples = self._split_metrics(metrics), self._split(split)
        loader = self._functions.device_loader(examples)
        if metrics:  # those of training were checked then
            require_split_metrics(self._functions, all_metrics, loader)
        evaluation = evaluate(self._functions, self.params, loader, all_metrics)
        tfds_split = self.config.data.tfds_split(split)
        result: dict[str, Any] = {
            "split": split,
            "tfds_split": tfds_split,
            "examples": len(examples),
            "step": self.step,
            "content_sha256": examples.content_sha256,
        }
        result |= evaluation.metrics | evaluation.split_metrics
        if any(isinstance(value, list) for value in evaluation.split_metrics.values()):
            result["class_names"] = list(self.spec.class_names)
        columns = {"example": examples.rows, **evaluation.per_example}
        # Recorded before the further metrics, which can be slow, so that nothing is lost if the process is stopped.
        recorded = self._record(result, columns)
        try:
            extra_metrics = self._extra_metrics(split)
        except (KeyboardInterrupt, Interrupted):
            console.print(f"{split}, step {self.step}: {evaluation.metrics}")
            raise
        if extra_metrics and recorded["per_example"] is not None:
            path = Path(recorded["per_example"]).with_suffix(".json")
            write_atomically(path, json.dumps(result | extra_metrics | recorded, indent=1).encode())
        return result | extra_metrics | recorded, columns

    def _split_metrics(self, additional: str | Sequence[str | SplitMetric]) -> list[SplitMetric]:
        """Returns the task's default metrics, those of the experiment and additional ones, each once."""
        task, of_experiment = self.config.task, {metric.name: metric for metric in self.config.metrics}
        additional = [additional] if isinstance(additional, str) else additional
        found = [
            metric if isinstance(metric, SplitMetric) else of_experiment.get(metric) or find_split_metric(metric)
            for metric in (*task.evaluation_metrics, *of_experiment, *additional)
        ]
        metrics = list({metric.name: metric for metric in found}.values())
        require_distinct(metrics, task)
        return metrics

    def _record(self, result: dict[str, Any], columns: dict[str, np.ndarray]) -> dict[str, Any]:
        """Writes an evaluation to the workdir; returns its `read_count` and `per_example` path."""
        split = result["split"]
        try:
            _require_no_links(self._workdir.path / "evaluations")
            count = record_evaluation(self._workdir.path, result)
            # The count in the name keeps an evaluation from overwriting another.
            folder, name = self._workdir.path / "evaluations", f"{file_name_part(split)}-{count}"
            path = _write_csv(folder / f"{name}.csv", columns, self.spec.class_names)
            recorded = {"read_count": count, "per_example": str(path)}
            write_atomically(folder / f"{name}.json", json.dumps(result | recorded, indent=1).encode())
            return recorded
        except OSError as error:
            console.print(
                f"The evaluation is not recorded, because {self._workdir.path} cannot be written ({error.strerror}).",
            )
            return {"read_count": None, "per_example": None}

    def _extra_metrics(self, split: str) -> dict[str, float | None]:
        """Returns further metrics of this type of run, which can be slow; overridden by subclasses."""
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


def file_name_part(split: str) -> str:
    """Returns a part of a file name for a split; slices such as `test[:10%]` get a name that is valid everywhere."""
    return urllib.parse.quote(split, safe="+")


def _require_no_links(folder: Path) -> None:
    """Checks for links, which the author of a workdir may have pointed at files outside it.

    Raises:
      OSError: the folder, or a file in it, is a link.
    """
    for path in (folder, *(folder.iterdir() if folder.is_dir() else ())):
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"{path.name} is a link", str(path))


def _write_csv(path: Path, columns: dict[str, np.ndarray], class_names: Sequence[str]) -> Path:
    """Writes columns by name. Columns [examples, classes] become one for each class, unless there are too many."""
    flat: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        if column.ndim == 1:
            flat[name] = column
        elif column.shape[1:] == (len(class_names),) and len(class_names) <= MAX_CSV_CLASSES:
            flat |= {f"{name}_{class_name}": column[:, i] for i, class_name in enumerate(class_names)}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(flat)
        writer.writerows(zip(*(column.tolist() for column in flat.values()), strict=True))
    return path
