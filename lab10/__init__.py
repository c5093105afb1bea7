"""lab10: text classifiers and image autoencoders in JAX.

Train an experiment in a notebook, restore a run, and list all runs in a folder:

    run = lab10.train(lab10.experiment("mnist_autoencoder"), "runs/mnist_autoencoder")
    run = lab10.load("runs/mnist_autoencoder")
    lab10.runs("runs")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab10.inspection.load import load
    from lab10.inspection.runs_table import runs
    from lab10.training.notebook import experiment, train

__all__ = ["experiment", "load", "runs", "train"]

# Imported lazily: scripts that only train should not wait for matplotlib, pandas and other imports of these modules.
_MODULES = {
    "experiment": "lab10.training.notebook",
    "load": "lab10.inspection.load",
    "runs": "lab10.inspection.runs_table",
    "train": "lab10.training.notebook",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'lab10' has no attribute {name!r}")


def __dir__() -> list[str]:
    # Names that completion in a notebook offers.
    return sorted({*globals(), *__all__})
