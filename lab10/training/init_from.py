"""Starting from the parameters of another run."""

from lab10.data.dataset import OpenDataset
from lab10.errors import UserError
from lab10.training.checkpoints import Checkpoints
from lab10.training.state import Params
from lab10.training.workdir import Workdir


def load_params(directory: str, dataset: OpenDataset, abstract_params: Params) -> Params:
    """Loads the best parameters of another run, for a model of the same shapes and vocabulary.

    Raises:
      UserError: there is no such run, or its model or vocabulary differs.
    """
    workdir = Workdir(directory)
    experiment = workdir.read_experiment()
    if dataset.vocabulary is not None and list(workdir.read_vocabulary()) != list(dataset.vocabulary):
        raise UserError(
            f"--init-from {directory}: that run has another vocabulary, so its embedding means other words."
        )
    higher_is_better = experiment.task.metrics[experiment.monitor]
    checkpoints = Checkpoints(workdir.checkpoints_path, experiment.monitor, higher_is_better)
    try:
        trees = checkpoints.restore(checkpoints.find("best"), {"eval_params": abstract_params}).trees
    except UserError as error:
        raise UserError(f"--init-from {directory}: {error}") from error
    return trees["eval_params"]
