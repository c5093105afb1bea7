"""The points of a sweep in Optuna's storage: which are waiting, running and finished, over any number of machines."""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from lab10.errors import UserError
from lab10.sweeps.space import Value, Varied

SAMPLERS: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "grid": optuna.samplers.RandomSampler,  # never asked: all points are in the queue
    "random": optuna.samplers.RandomSampler,
    # Points that run at the same time count as bad ones until they are done, so that they differ.
    "tpe": lambda: optuna.samplers.TPESampler(constant_liar=True),
    "qmc": optuna.samplers.QMCSampler,
}
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
}
# To make the tables, which fails where another machine makes them at the same moment.
ATTEMPTS = 5
# Why a point failed that is not run again.
FAILED = "failed"
DUPLICATE = "duplicate"


class Queue:
    """A study, as the sweep needs it.

    Args:
      url: of the database.
      name: of the study.
      sampler, pruner: of `SAMPLERS` and `PRUNERS`.
      higher_is_better: the metric's direction.
      lost_after: seconds without a sign of life after which a running point is given to somebody else.

    Raises:
      UserError: the database cannot be reached.
    """

    def __init__(self, url: str, name: str, sampler: str, pruner: str, higher_is_better: bool, lost_after: int):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", ExperimentalWarning)
        # It is given by hand here, since the sweep asks and tells.
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with")
        self._beats_every = max(1, lost_after // 6)
        self._beaten_at = 0.0
        try:
            self.storage = self._open_storage(url, lost_after)
            self._study = optuna.create_study(
                storage=self.storage,
                study_name=name,
                sampler=SAMPLERS[sampler](),
                pruner=PRUNERS[pruner](),
                direction="maximize" if higher_is_better else "minimize",
                load_if_exists=True,
            )
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
            said = str(error).splitlines()[0][:200]
            raise UserError(
                f"--storage {url} cannot be used ({said}). Expected a database's URL, such as "
                "sqlite:///sweep.db or postgresql+psycopg://user@host/name with its driver installed."
            ) from error

    def _open_storage(self, url: str, lost_after: int) -> RDBStorage:
        """The storage, its tables made where there are none."""
        attempts = ATTEMPTS
        while True:
            try:
                return RDBStorage(
                    url,
                    heartbeat_interval=self._beats_every,
                    grace_period=lost_after,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
                )
            except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
                attempts -= 1
                if not attempts:
                    raise
                time.sleep(1)

    def require_same(self, identity: dict[str, Any]) -> None:
        """Records what is swept, or compares.

        Raises:
          UserError: it is another sweep that has this name there.
        """
        recorded = self._study.user_attrs.get("identity")
        if recorded is None:
            self._study.set_user_attr("identity", identity)
        elif differing := [name for name in identity if recorded.get(name) != identity[name]]:
            raise UserError(
                f"The storage holds another sweep of this name; these differ: {', '.join(differing)}. "
                "Give another --workdir, or --name where several sweeps share a storage."
            )

    def fill(self, combinations: Sequence[dict[str, Value]]) -> None:
        """Puts the points into the queue that are not known yet."""
        known = [_values(trial) for trial in self.trials()]
        for values in combinations:
            if values not in known:
                self._study.enqueue_trial(dict(values))

    def trials(self) -> list[FrozenTrial]:
        """All trials, retried ones as often as they were tried."""
        return self._study.get_trials(deepcopy=False)

    def unfinished(self) -> list[FrozenTrial]:
        """Those that wait or run, here or elsewhere."""
        return [trial for trial in self.trials() if trial.state in (TrialState.WAITING, TrialState.RUNNING)]

    def settled(self) -> list[FrozenTrial]:
        """Those that are not run again."""
        return [
            trial
            for trial in self.trials()
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or FAILED in trial.user_attrs
        ]

    def take(self, varied: Sequence[Varied], at_most: int, points: int | None) -> list[tuple[int, dict[str, Value]]]:
        """Takes waiting points and, up to `points` in all, new ones; gives each its number and values."""
        taken: list[tuple[int, dict[str, Value]]] = []
        while len(taken) < at_most:
            waiting = any(trial.state == TrialState.WAITING for trial in self.trials())
            if not waiting and (points is None or len(self.settled()) + len(self.unfinished()) >= points):
                break
            trial = self._study.ask()
            values = {one.field: one.suggest(trial) for one in varied}
            earlier = [
                other
                for other in self.trials()[: trial.number]
                if _values(other) == values and other.state != TrialState.FAIL
            ]
            if earlier and points is None:  # two machines filled the queue at the same moment
                trial.set_user_attr(DUPLICATE, earlier[0].number)
                self._study.tell(trial.number, state=TrialState.FAIL)
                continue
            taken.append((trial.number, values))
        self.beat([number for number, _ in taken], now=True)
        return taken

    def beat(self, numbers: Sequence[int], now: bool = False) -> None:
        """Says, every now and then, that these points are being run; takes over those of whom nobody says so."""
        if not now and time.monotonic() - self._beaten_at < self._beats_every:
            return
        self._beaten_at = time.monotonic()
        trials = self.trials()
        for number in numbers:
            self.storage.record_heartbeat(trials[number]._trial_id)
        fail_stale_trials(self._study)

    def finish(self, number: int, value: float | None, pruned: bool) -> None:
        """Settles a point."""
        if pruned:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, value)

    def fail(self, number: int, why: str) -> None:
        """Settles a point that cannot be run."""
        self.storage.set_trial_user_attr(self.trials()[number]._trial_id, FAILED, why)
        self._study.tell(number, state=TrialState.FAIL)

    def give_back(self, number: int) -> None:
        """Puts a point that was begun back into the queue."""
        values = _values(self.trials()[number])
        self._study.tell(number, state=TrialState.FAIL)
        self._study.enqueue_trial(values)

    def watcher(self, number: int) -> optuna.Trial:
        """A handle of a running point, for whoever reports its course."""
        return optuna.Trial(self._study, self.trials()[number]._trial_id)

    def best(self) -> tuple[dict[str, Value], float] | None:
        """The values of the best finished point, the earliest of equal ones, and its mean; None where there is none."""
        if not any(trial.state == TrialState.COMPLETE for trial in self.trials()):
            return None
        return _values(self._study.best_trial), float(self._study.best_value)


def _values(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial has drawn, or will when it is asked."""
    return dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {}))
