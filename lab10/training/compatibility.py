"""Refuses a model, task, transform and dataset that do not fit together, before anything is traced or written."""

from typing import Any

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec
from lab10.data.images import ImageSpec
from lab10.models.model import Model


def require_compatible(experiment: Experiment, spec: Spec) -> None:
    """Checks that the parts of an experiment fit each other and the dataset; `Model.build` checks the model's inputs.

    Raises:
      UserError: names the two that do not fit.
    """
    model, task, transform = experiment.model, experiment.task, experiment.data.transform
    if model.output_type != task.output_type:
        raise UserError(
            f"The task {type(task).__name__} needs a model that outputs {task.output_type}, "
            f"but the model {type(model).__name__} outputs {model.output_type}."
        )
    transform.require_fits(spec)


def require_outputs(model: Model, spec: Spec, outputs: Any) -> None:
    """Checks the shape of a model's outputs: a wrong one could broadcast silently, and give a wrong loss.

    Args:
      model: the model. Only outputs of the types `logits` and `pixels` are checked.
      spec: the description of the dataset.
      outputs: the outputs for a batch of one example, or their shapes and dtypes.

    Raises:
      UserError: the outputs are not an array, or have another shape.
    """
    widths: tuple[int, ...] = ()
    if model.output_type == "pixels" and isinstance(spec, ImageSpec):
        widths = (spec.num_values,)
    elif model.output_type == "logits" and spec.class_names:
        widths = (2, 1) if len(spec.class_names) == 2 else (len(spec.class_names),)
    shape = getattr(outputs, "shape", None)
    if widths and shape not in [(1, width) for width in widths]:
        found = f"a {type(outputs).__name__}" if shape is None else f"the shape {list(shape)}"
        raise UserError(
            f"The module of the model {type(model).__name__} returns {found} for a batch of one example; expected "
            f"{model.output_type} of the shape {' or '.join(str([1, width]) for width in widths)}.\n"
            "A model with other outputs needs another `output_type`, and a task that has the same."
        )
