"""The examples that all peers train on, as lab10 prepares them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from lab10.cli.overrides import load_experiment
from lab10.config.errors import UserError
from lab10.data.dataset import Dataset
from lab10.data.texts import TextDataset

# What --short takes instead of the real data; both need no download.
SAMPLES: dict[bool, dict[str, Any]] = {
    True: {"name": "synthetic_reviews", "max_length": 50},
    False: {"name": "mnist_sample"},
}


def dataset_of(task: str, short: bool) -> Dataset:
    """The dataset of the experiment of that name, all of its train split to train on."""
    experiment = load_experiment(task)
    data = experiment.data
    return dataclasses.replace(
        data, validation_fraction=0.0, **(SAMPLES[isinstance(data, TextDataset)] if short else {})
    )


def padded_arrays(data: Dataset) -> dict[str, np.ndarray]:
    """`train_inputs` and `test_inputs`, [examples, time] or [examples, pixels]; labels int32 [examples] of texts."""
    opened = data.open_dataset()
    arrays = {}
    for split_name in ("train", "test"):
        split = opened.open_split(split_name)
        batch = split.batch(np.arange(len(split)))
        arrays[f"{split_name}_inputs"] = batch["inputs"]
        if isinstance(data, TextDataset):
            arrays[f"{split_name}_inputs"] = batch["inputs"].astype(np.int32)  # as Keras's load_data gives them
            arrays[f"{split_name}_labels"] = batch["labels"]
    return arrays


def write_arrays(task: str, short: bool, folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Writes a task's arrays for the workers, and returns the file and the arrays.

    Raises:
      UserError: the real data are not there.
    """
    try:
        arrays = padded_arrays(dataset_of(task, short))
    except UserError as error:
        raise UserError(f"{task}: {error}\nOr measure on the offline samples: --short") from error
    path = folder / f"{task}.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path, arrays
