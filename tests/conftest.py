"""Settings and fixtures that all tests share.

Nothing of `lab10` is imported here at the top: `--jaxtyping-packages` has to see its first import.
"""

import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import hypothesis
import jax
import numpy as np
import pytest
import shared_results

# Compilation makes first examples slow, and shared machines make any example slow.
# Most random configs are refused; the ones left are what a test wants.
for profile, max_examples in (("quick", 10), ("thorough", 50)):
    hypothesis.settings.register_profile(
        profile,
        deadline=None,
        max_examples=max_examples,
        print_blob=True,
        suppress_health_check=[hypothesis.HealthCheck.filter_too_much],
    )
hypothesis.settings.load_profile("quick")

# Adding [batch] to [batch, features] by accident is the commonest way to a wrong number.
jax.config.update("jax_numpy_rank_promotion", "raise")


# Only tests of the real data may find TFDS_DATA_DIR, so it is kept under another name, which workers inherit.
if "TFDS_DATA_DIR" in os.environ:
    os.environ["LAB10_REAL_DATA_DIR"] = os.environ.pop("TFDS_DATA_DIR")
# A worker drops its compiled programs between modules once its resident memory exceeds this.
MAX_RESIDENT_BYTES = 23 * 2**26
# Compiled programs outlive a session, in this folder: they are found by their content.
COMPILED, MAX_COMPILED_BYTES = Path(".pytest_cache", "compiled"), 2**29


def pytest_configure(config: pytest.Config) -> None:
    compiled = config.rootpath / COMPILED
    if not hasattr(config, "workerinput") and sum(map(os.path.getsize, compiled.glob("*"))) > MAX_COMPILED_BYTES:
        shutil.rmtree(compiled)
    settings = {
        "jax_platforms": "cpu",
        "jax_compilation_cache_dir": str(compiled),
        "jax_persistent_cache_min_compile_time_secs": 0.1,  # reading a smaller one takes as long as compiling it
        # Compiling takes most of the time of `make test`; `make test-slow` compiles as users do.
        "jax_disable_most_optimizations": config.getoption("--hypothesis-profile") != "thorough",
    }
    # JAX starts as many threads as a process may use cores: workers that share them wait for each other. Their number
    # also changes the last bits, and workers compare their runs.
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
    # For this process, and for those that tests start.
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    # beartype looks at one item of a tuple, drawn at random, also where hypothesis builds a config.
    config.addinivalue_line("filterwarnings", "ignore:Do not use the `random` module inside strategies")
    # What Orbax leaves unfinished when it meets a damaged checkpoint, whenever the garbage is collected.
    config.addinivalue_line("filterwarnings", "ignore:coroutine '.*' was never awaited:RuntimeWarning")
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores, because some tests wait for timeouts and for processes."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_finish() -> None:
    """Keeps the garbage collector from scanning all that is imported, again and again: a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="session")
def session_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of one session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def made_once(session_dir: Path) -> Callable[[str, Callable[[Path], Any]], tuple[Path, Any]]:
    """Makes a folder once per session, in the worker that needs it first. Tests must not change it.

    `made_once(name, make)` calls `make(folder)` for a folder that does not exist yet, and returns the folder and what
    `make` returned, which has to be JSON.
    """

    def get(name: str, make: Callable[[Path], Any]) -> tuple[Path, Any]:
        folder = session_dir / "made_once" / name
        answer = folder.with_name(f"{name}.json")
        folder.parent.mkdir(exist_ok=True)
        with filelock.FileLock(folder.with_name(f"{name}.lock")):
            if not answer.exists():
                result = make(folder)
                answer.write_text(json.dumps(result))
        return folder, json.loads(answer.read_text())

    return get


@pytest.fixture(scope="session", autouse=True)
def cache_dir(session_dir: Path) -> Iterator[Path]:
    """A cache for this session: samples are prepared once, and the user's cache is not used."""
    with pytest.MonkeyPatch.context() as patch:
        directory = session_dir / "cache"
        patch.setenv("LAB10_CACHE_DIR", str(directory))
        yield directory


@pytest.fixture(scope="session", autouse=True)
def shared_folder(session_dir: Path) -> Iterator[None]:
    """Tells this process and those that it starts where to share results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(shared_results.FOLDER, str(session_dir / "shared"))
        yield


@pytest.fixture(scope="module", autouse=True)
def share_slow_results(request: pytest.FixtureRequest) -> Iterator[None]:
    """Computes exact PCA and draws the figures of runs once, here and in processes."""
    with pytest.MonkeyPatch.context() as patch:
        if not getattr(request.module, "DRAWS_FIGURES", False):
            patch.setenv(shared_results.FIGURES, "1")
        shared_results.share(patch.setattr)
        yield


@pytest.fixture(scope="session")
def scripts(cache_dir: Path) -> Any:
    """Runs the project's scripts."""
    from scripts_runner import Scripts

    return Scripts()


@pytest.fixture(scope="session")
def real_data() -> str:
    """The folder of the real datasets."""
    folder = os.environ.get("LAB10_REAL_DATA_DIR", "")
    if not all((Path(folder) / name).is_dir() for name in ("mnist", "imdb_reviews")):
        pytest.skip("needs TFDS_DATA_DIR with mnist and imdb_reviews prepared")
    return folder


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    """Drops compiled programs between modules once there are many; a worker would keep them all."""
    yield
    memory = Path("/proc/self/statm")
    if memory.exists() and int(memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > MAX_RESIDENT_BYTES:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def image_spec() -> Any:
    """Images of 3 × 4 pixels in 8 bits."""
    from lab10.data.images import ImageSpec

    return ImageSpec(height=3, width=4, pixel_max=255)


@pytest.fixture(scope="session")
def text_spec() -> Any:
    """Texts of two classes and ids below 40."""
    from lab10.data.texts import TextSpec

    return TextSpec(num_ids=40, class_names=("neg", "pos"))


@pytest.fixture(scope="session")
def image_experiment() -> Callable[..., Any]:
    """Makes an experiment on images, by default with a linear autoencoder."""
    from lab10.config.experiment import Experiment
    from lab10.data.images import ImageDataset
    from lab10.models.autoencoder import LinearAutoencoder
    from lab10.optim.optimizers import Adam
    from lab10.tasks.reconstruction import Reconstruction

    def make(**fields: Any) -> Experiment:
        default = {
            "data": ImageDataset(),
            "model": LinearAutoencoder(latent_dim=2),
            "task": Reconstruction(),
            "optimizer": Adam(),
            "steps": 10,
            "batch_size": 6,
        }
        return Experiment(**(default | fields))

    return make


@pytest.fixture(scope="session")
def text_experiment() -> Callable[..., Any]:
    """Makes an experiment on texts, by default with a small LSTM."""
    from lab10.config.experiment import Experiment
    from lab10.data.texts import TextDataset
    from lab10.models.text_classifiers import LSTM
    from lab10.optim.optimizers import RMSprop
    from lab10.tasks.classification import Classification

    def make(**fields: Any) -> Experiment:
        model = LSTM(embedding_dim=4, hidden_size=3)
        default = {
            "data": TextDataset(),
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
        return Split(np.arange(examples), lambda row_ids, _: {name: array[row_ids] for name, array in arrays.items()})

    return make


@pytest.fixture(scope="session")
def random_token_split() -> Callable[..., Any]:
    """Makes a split of random texts of different lengths, with ids below 40 and even row ids."""
    from lab10.data.dataset import Split
    from lab10.data.tokenizer import pad

    def make(
        examples: int, padding_side: Any = "left", padded_lengths: tuple[int, ...] = (3, 6, 10), seed: int = 0
    ) -> Split:
        random = np.random.default_rng(seed)
        lengths = random.integers(1, padded_lengths[-1] + 1, examples)
        ids = [random.integers(1, 40, length, np.int32) for length in lengths]
        labels = random.integers(0, 2, examples, np.int32)

        def read(row_ids: np.ndarray, length: int | None) -> dict[str, np.ndarray]:
            rows = [ids[row_id // 2] for row_id in row_ids]
            inputs = pad(rows, length or padded_lengths[-1], padding_side=padding_side, truncation_side="left").astype(
                np.uint8
            )
            return {"inputs": inputs, "labels": labels[row_ids // 2]}

        return Split(2 * np.arange(examples), read, lengths, padded_lengths)

    return make
