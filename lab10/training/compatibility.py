"""Refuses a model, task, transform and dataset that do not fit together, before anything is traced or written."""

from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec
from lab10.errors import UserError


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
    transform.require_spec(spec)
