"""Settings and fixtures that all tests share.

Nothing of `lab10` is imported here at the top: `--jaxtyping-packages` has to see its first import.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jax
import numpy as np
import pytest

# Compilation makes first examples slow, and shared machines make any example slow.
# Most random configs are refused; the ones left are what a test wants.
hypothesis.settings.register_profile(
    "lab10",
    deadline=None,
    max_examples=50,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.filter_too_much],
)
hypothesis.settings.load_profile("lab10")

# Adding [batch] to [batch, features] by accident is the commonest way to a wrong number.
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config: pytest.Config) -> None:
    # beartype looks at one item of a tuple, drawn at random, also where hypothesis builds a config.
    config.addinivalue_line("filterwarnings", "ignore:Do not use the `random` module inside strategies")
    # What Orbax leaves unfinished when it meets a damaged checkpoint, whenever the garbage is collected.
    config.addinivalue_line("filterwarnings", "ignore:coroutine '.*' was never awaited:RuntimeWarning")
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the session's own: samples are prepared once, and the user's cache is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("cache")
        patch.setenv("LAB10_CACHE_DIR", str(directory))
        yield directory


@pytest.fixture(scope="session")
def picture_spec() -> Any:
    """Pictures of 3 × 4 pixels in 8 bits."""
    from lab10.data.pictures import PictureSpec

    return PictureSpec(height=3, width=4, largest=255)


@pytest.fixture(scope="session")
def review_spec() -> Any:
    """Reviews of two classes and ids below 40."""
    from lab10.data.reviews import ReviewSpec

    return ReviewSpec(num_ids=40, class_names=("neg", "pos"))


@pytest.fixture(scope="session")
def picture_experiment() -> Callable[..., Any]:
    """Makes an experiment on pictures: a linear autoencoder where no other field is given."""
    from lab10.config import Experiment
    from lab10.data.pictures import Pictures
    from lab10.models.autoencoder import LinearAutoencoder
    from lab10.optimizers import Adam
    from lab10.tasks.reconstruction import Reconstruction

    def make(**fields: Any) -> Experiment:
        default = {
            "data": Pictures(),
            "model": LinearAutoencoder(latent=2),
            "task": Reconstruction(),
            "optimizer": Adam(),
            "steps": 10,
            "batch_size": 6,
        }
        return Experiment(**(default | fields))

    return make


@pytest.fixture(scope="session")
def review_experiment() -> Callable[..., Any]:
    """Makes an experiment on reviews: a small LSTM where no other field is given."""
    from lab10.config import Experiment
    from lab10.data.reviews import Reviews
    from lab10.models.sentiment import LSTM
    from lab10.optimizers import RMSprop
    from lab10.tasks.classification import Classification

    def make(**fields: Any) -> Experiment:
        model = LSTM(embedding_features=4, hidden=3)
        default = {
            "data": Reviews(),
            "model": model,
            "task": Classification(),
            "optimizer": RMSprop(),
            "steps": 10,
            "batch_size": 6,
        }
        return Experiment(**(default | fields))

    return make


@pytest.fixture(scope="session")
def split_of() -> Callable[..., Any]:
    """Makes a split of arrays held in memory."""
    from lab10.data.dataset import Split

    def make(**arrays: np.ndarray) -> Split:
        examples = len(next(iter(arrays.values())))
        return Split(np.arange(examples), lambda places, _: {name: array[places] for name, array in arrays.items()})

    return make


@pytest.fixture(scope="session")
def reviews_of() -> Callable[..., Any]:
    """Makes a split of so many random reviews of ids below 40 that differ in length; their places are even numbers."""
    from lab10.data.dataset import Split
    from lab10.data.text import pad

    def make(
        examples: int, padding: Any = "front", padded_lengths: tuple[int, ...] = (3, 6, 10), seed: int = 0
    ) -> Split:
        random = np.random.default_rng(seed)
        lengths = random.integers(1, padded_lengths[-1] + 1, examples)
        ids = [random.integers(1, 40, length, np.int32) for length in lengths]
        labels = random.integers(0, 2, examples, np.int32)

        def read(places: np.ndarray, length: int | None) -> dict[str, np.ndarray]:
            rows = [ids[place // 2] for place in places]
            inputs = pad(rows, length or padded_lengths[-1], side=padding, keep="last").astype(np.uint8)
            return {"inputs": inputs, "labels": labels[places // 2]}

        return Split(2 * np.arange(examples), read, lengths, padded_lengths)

    return make
