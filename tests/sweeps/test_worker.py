"""Workers: values reported to the pruner, pruned trials, and the number of runs trained together."""

import warnings
from pathlib import Path

import jax
import optuna
import pytest

from lab10.cli.overrides import load_experiment
from lab10.config.errors import Diverged
from lab10.config.experiment import Experiment, to_json
from lab10.sweeps import worker
from lab10.sweeps.study import Sweep


@pytest.fixture
def study():
    """A study whose pruner ends a trial with a value above 10."""
    return optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=10))


@pytest.fixture
def trials(study):
    """Two trials that run."""
    for index in range(2):
        study.enqueue_trial({}, user_attrs={"index": index})
    return [study.ask(), study.ask()]


@pytest.fixture
def watches(trials, image_experiment):
    """The callbacks of two seeds of the first trial and one of the second, and the numbers of the pruned trials."""
    pruned = set()
    of_seeds = (trials[0], trials[0], trials[1])
    runs = [worker.TrialRun(trial, image_experiment(), Path(str(i))) for i, trial in enumerate(of_seeds)]
    return worker.make_callbacks(runs, pruned), pruned


def told(study):
    return [trial.intermediate_values for trial in study.trials]


def test_the_mean_over_a_trials_seeds_is_reported_once_per_step(study, watches):
    (first, second, other), pruned = watches
    for step, values in ((10, (1.0, 3.0, 7.0)), (20, (2.0, 5.0, 8.0))):
        assert not any(
            watch(step, {"loss": value}) for watch, value in zip((first, second, other), values, strict=True)
        )
    assert told(study) == [{10: 2.0, 20: 3.5}, {10: 7.0, 20: 8.0}]
    assert pruned == set()


def test_pruning_ends_all_seeds_of_the_trial_and_no_other_trial(watches):
    (first, second, other), pruned = watches
    assert not first(10, {"loss": 30.0}), "the trial is judged once all its seeds are there"
    assert second(10, {"loss": 30.0})
    assert not other(10, {"loss": 1.0})
    assert first(20, {"loss": 1.0})
    assert pruned == {0}


@pytest.mark.parametrize(("backend", "expected"), [("cpu", 1), ("gpu", 8), ("tpu", 8)])
def test_runs_are_trained_one_at_a_time_on_a_cpu_and_eight_together_on_an_accelerator(monkeypatch, backend, expected):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert worker.default_max_vmapped() == expected


@pytest.fixture
def train(monkeypatch, study, tmp_path):
    """Calls `worker.train` for trials of two seeds; returns the number of runs in each program that was trained.

    The best loss of the run with index `p` in the n-th program is `10 n + p`; it is told `values[n]` on its way.
    """
    default, name = load_experiment("mnist_pca"), "mnist_pca"
    of_sweep = (name, to_json(default, Experiment), [], [], [0, 1], "grid", 0, "none", None, None, 60)
    sweep = Sweep(*of_sweep, str(tmp_path), "sqlite://", name)

    def call(trials, max_vmapped, diverges="", values=(1.0, 1.0)):
        sizes = []

        def train_together(experiments, workdirs, watches):
            sizes.append(len(experiments))
            for workdir in workdirs:
                if workdir.path.name == diverges:
                    raise Diverged("not finite", workdir.path)
            for watch in watches:
                watch(1, {"loss": values[len(sizes) - 1]})
            return [{"best": {"loss": 10.0 * len(sizes) + i}} for i in range(len(experiments))]

        monkeypatch.setattr(worker, "train_together", train_together)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The reported value is ignored")
            worker.train_trials(sweep, study, trials, max_vmapped)
        return sizes

    return call


def test_trials_of_one_program_are_trained_together(train, study, trials):
    assert train(trials, 4) == [4]
    assert [trial.value for trial in study.trials] == [10.5, 12.5]
    assert [trial.user_attrs["best"] for trial in study.trials] == [[10, 11], [12, 13]]


def test_no_program_has_more_than_max_vmapped_runs(train, study, trials):
    assert train(trials[:1], 1) == [1, 1], "the seeds of a trial one after the other"
    assert study.trials[0].value == 15


def test_a_trial_pruned_in_its_first_seed_skips_the_others(train, study, trials):
    assert train(trials[:1], 1, values=(30.0, 1.0)) == [1]
    assert study.trials[0].state.name == "PRUNED"


def test_later_seeds_do_not_change_the_reported_values(train, study, trials):
    assert train(trials[:1], 1, values=(1.0, 30.0)) == [1, 1]
    assert told(study) == [{1: 1.0}, {}]
    assert study.trials[0].state.name == "COMPLETE"


def test_trials_that_share_a_program_with_a_diverged_one_finish(train, study, trials):
    assert train(trials, 4, diverges="trial0-seed1") == [4, 2]
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    assert study.trials[0].user_attrs["error"] == "not finite"
    assert study.trials[1].value == 20.5
