"""The Optuna study of a sweep: its trials are queued in a storage, from which any number of processes claim them."""

import contextlib
import dataclasses
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
import optuna
import sqlalchemy.exc
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.storages._heartbeat import get_heartbeat_thread
from optuna.trial import FrozenTrial, TrialState

from lab10.cli.overrides import apply_overrides
from lab10.config import user_code
from lab10.config.errors import UserError, first_line
from lab10.config.experiment import Experiment, from_json
from lab10.config.fields import option
from lab10.config.restore_user_code import restore_trusted
from lab10.config.traced_fields import static_signature
from lab10.sweeps.space import Value, grid, parse_space, to_arguments

optuna.logging.set_verbosity(optuna.logging.ERROR)  # a sweep prints its own lines

SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "grid": lambda seed: optuna.samplers.RandomSampler(seed),  # unused: every trial is queued with its values
    "random": lambda seed: optuna.samplers.RandomSampler(seed),
    # Counts running trials as bad ones, so that trials drawn at the same time differ.
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    # The sequence depends on no seed, and the study stores the position in it; only the first trial is random.
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed),
}
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
}
# How often a trial is retried after its worker was killed. A trial that exhausts the memory kills every worker.
MAX_RETRIES = 3
# Number of trials drawn before anything runs, to find mistakes in --vary, unless the sampler is grid.
NUM_CHECKED_TRIALS = 10


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The options of a sweep, as JSON types.

    Attributes:
      experiment_name: the name of the experiment.
      base_experiment: the experiment as JSON, which the options change.
      overrides: command-line options shared by all trials.
      vary: the values of `--vary`.
      seeds: seeds of a trial's runs, one run each.
      sampler: a key of `SAMPLERS`.
      sampler_seed: seed of the sampler.
      pruner: a key of `PRUNERS`.
      trials: number of trials; None for a grid.
      max_vmapped: maximal number of runs trained as one program; None: chosen by the device.
      heartbeat_timeout: seconds without a heartbeat after which another worker may claim a running trial.
      directory: the folder of the sweep.
      storage: the URL of Optuna's storage.
      name: the name of the study in the storage.
      user_code: code outside lab10 that the trials may use, as in config.json.
    """

    experiment_name: str
    base_experiment: dict[str, Any]
    overrides: list[str]
    vary: list[str]
    seeds: list[int]
    sampler: str
    sampler_seed: int
    pruner: str
    trials: int | None
    max_vmapped: int | None
    heartbeat_timeout: int
    directory: str
    storage: str
    name: str
    user_code: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def user_classes(self) -> set[type]:
        """Returns the component classes outside lab10 that trials may use. Runs the copies in the sweep's folder.

        Raises:
          UserError: a copy is missing, or has changed.
        """
        return restore_trusted(Path(self.directory), user_code.parse(self.user_code))

    def experiments(self, values: Mapping[str, Value]) -> list[Experiment]:
        """Returns the experiments of a trial with these values, one for each seed.

        Raises:
          UserError: a field does not exist, or cannot have its value.
        """
        own = self.user_classes()
        default = from_json(self.base_experiment, Experiment, own)
        arguments = [*self.overrides, *to_arguments(values), "--seed"]
        return [apply_overrides(default, self.experiment_name, [*arguments, str(seed)], own)[0] for seed in self.seeds]

    def program_key(self, values: Mapping[str, Value]) -> str:
        """Returns a key that is equal for two trials exactly if their runs can be trained as one program."""
        return repr(static_signature(self.experiments(values)[0]))

    def trial_values(self) -> list[dict[str, Value]]:
        """Returns the values of all trials of a grid, or of a few random trials for other samplers, sorted by program.

        Raises:
          UserError: a field does not exist, or cannot have one of its values.
        """
        space = parse_space(self.vary)
        given = {argument.partition("=")[0].replace("_", "-") for argument in self.overrides}
        if both := [field for field in space if option(field) in given]:
            raise UserError(f"{option(both[0])} is varied and given, too; expected one of the two.")
        if self.sampler == "grid":
            return sorted(grid(space), key=self.program_key)
        drawn = optuna.create_study(sampler=SAMPLERS["random"](0))
        return sorted((drawn.ask(space).params for _ in range(NUM_CHECKED_TRIALS)), key=self.program_key)

    def workdirs(self, trial: optuna.Trial | FrozenTrial) -> list[Path]:
        """Returns the workdirs of a trial, one for each seed. Retries of a trial use the same workdirs."""
        runs = Path(self.directory, "runs")
        return [runs / f"trial{trial.user_attrs['index']}-seed{seed}" for seed in self.seeds]


class SweepStudy:
    """The study of a sweep. Creates it in the storage if it does not exist.

    A lock in the sweep's folder protects what Optuna does in several steps: creating tables, enqueuing trials, and
    claiming them.

    Attributes:
      study: the Optuna study.

    Args:
      sweep: the sweep.
      direction: `minimize` or `maximize`, for a new study.

    Raises:
      UserError: the storage cannot be used.
    """

    def __init__(self, sweep: Sweep, direction: Literal["minimize", "maximize"] = "minimize"):
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed|The reported value is ignored")
        self._sweep = sweep
        self._lock = filelock.FileLock(Path(sweep.directory, "sweep.lock"))
        try:
            with self._lock:
                self._storage = RDBStorage(
                    sweep.storage,
                    # SQLite has one writer at a time; let the others wait longer than the default of 5 s.
                    {"connect_args": {"timeout": 60}} if sweep.storage.startswith("sqlite") else None,
                    heartbeat_interval=max(1, sweep.heartbeat_timeout // 6),
                    grace_period=sweep.heartbeat_timeout,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES),
                )
                self.study = optuna.create_study(
                    storage=self._storage,
                    sampler=SAMPLERS[sweep.sampler](sweep.sampler_seed),
                    pruner=PRUNERS[sweep.pruner](),
                    study_name=sweep.name,
                    direction=direction,
                    load_if_exists=True,
                )
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
            reason = first_line(error, 200)
            raise UserError(
                f"--storage {sweep.storage} cannot be used ({reason}). Expected a database's URL, such as "
                "sqlite:///sweep.db or postgresql+psycopg://user@host/name with its driver installed."
            ) from error

    def enqueue(self, values: list[dict[str, Value]]) -> None:
        """Enqueues the trials that the study does not have yet.

        Args:
          values: the values of each trial; the sampler draws the fields without a value.

        Raises:
          UserError: the study belongs to another sweep.
        """
        names = ("experiment_name", "base_experiment", "overrides", "vary", "seeds", "sampler", "sampler_seed")
        identity = {name: getattr(self._sweep, name) for name in names}
        with self._lock:
            recorded = self.study.user_attrs.get("identity", identity)
            # The test split may be chosen after training.
            if _without_test_split(recorded["overrides"]) == _without_test_split(identity["overrides"]):
                recorded = recorded | {"overrides": identity["overrides"]}
            if differing := [name for name in names if recorded.get(name) != identity[name]]:
                raise UserError(
                    f"The storage holds another sweep of this name; these differ: {', '.join(differing)}. "
                    "Give another --workdir, or --name where several sweeps share a storage."
                )
            self.study.set_user_attr("identity", identity)
            for index in range(len(self.trials()), len(values)):
                # Identifies retries of a trial: Optuna copies the attribute to them.
                self.study.enqueue_trial(values[index], user_attrs={"index": index})

    def _sampler(self, trial: FrozenTrial) -> optuna.samplers.BaseSampler:
        """Returns a sampler with a separate seed for this trial.

        With one seed for all, workers and resumed sweeps would repeat the same draws.
        """
        entropy = [self._sweep.sampler_seed, trial.user_attrs["index"]]
        (seed,) = np.random.SeedSequence(entropy).generate_state(1)
        return SAMPLERS[self._sweep.sampler](int(seed))

    def trials(self) -> list[FrozenTrial]:
        """Returns the latest attempt of every trial."""
        with self._lock:  # not between a failure and the retry
            trials = self.study.get_trials(deepcopy=False)
        return list({trial.user_attrs["index"]: trial for trial in trials}.values())

    @contextlib.contextmanager
    def claim_trials(self, at_most: int) -> Iterator[list[optuna.Trial]]:
        """Claims waiting trials, including those of workers without a recent heartbeat, and sends heartbeats for them.

        Args:
          at_most: maximal number of trials.

        Yields:
          The trials; empty if none is waiting. Trials without a result at the end are queued again.
        """
        with contextlib.ExitStack() as heartbeats:
            trials: list[optuna.Trial] = []
            try:
                with self._lock:
                    fail_stale_trials(self.study)
                    waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
                    for frozen in waiting[:at_most]:
                        # Before the trial runs: Optuna never considers a running trial stale that has had no heartbeat.
                        self._storage.record_heartbeat(frozen._trial_id)
                        self.study.sampler = self._sampler(frozen)
                        trials.append(self.study.ask(parse_space(self._sweep.vary)))
                        thread = get_heartbeat_thread(frozen._trial_id, self._storage)
                        thread.start()
                        heartbeats.callback(thread.join)
                yield trials
            finally:
                for trial in trials:
                    with contextlib.suppress(UpdateFinishedTrialError):
                        self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def _without_test_split(overrides: Sequence[str]) -> list[str]:
    """Returns command-line options without `--data.test-split` and its value."""
    text = "\0".join(["", *overrides])
    return re.sub(r"\0--data\.test[-_]split[=\0][^\0]*", "", text).split("\0")
