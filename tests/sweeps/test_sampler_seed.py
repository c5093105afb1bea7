"""The seed of a sampler: the same command draws the same trials."""

import itertools

import optuna
import pytest

from lab10.cli.overrides import load_experiment
from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, to_json
from lab10.sweeps.study import SAMPLERS, Sweep, SweepStudy

TRIALS = {"random": 4, "tpe": 12, "qmc": 4}  # TPE's first ten are random


@pytest.fixture
def sweep_of(tmp_path):
    """Makes a sweep in a new folder, or in the given one."""
    default, name = load_experiment("mnist_pca"), "mnist_pca"
    folders = itertools.count()

    def make(sampler, seed, folder=None):
        folder = folder or tmp_path / str(next(folders))
        folder.mkdir(exist_ok=True)
        return Sweep(
            experiment_name=name,
            base_experiment=to_json(default, Experiment),
            overrides=[],
            vary=["optimizer.learning-rate=log:1e-4..1e-1", "model.latent-dim=2..64", "optimizer=adam,sgd"],
            seeds=[0],
            sampler=sampler,
            sampler_seed=seed,
            pruner="none",
            trials=TRIALS[sampler],
            max_vmapped=1,
            heartbeat_timeout=60,
            directory=str(folder),
            storage=f"sqlite:///{folder}/sweep.db",
            name=name,
        )

    return make


def draw(sweep, workers=1, interrupted=()):
    """Returns the values of each trial, claimed by workers in turns; some are interrupted the first time."""
    studies = [SweepStudy(sweep) for _ in range(workers)]
    studies[0].enqueue([{}] * sweep.trials)
    interrupted = set(interrupted)
    for study in itertools.cycle(studies):
        with study.claim_trials(1) as trials:
            for trial in trials:
                if trial.user_attrs["index"] in interrupted:
                    interrupted.remove(trial.user_attrs["index"])
                    studies[0] = SweepStudy(sweep)  # as the same command again does
                    break
                study.study.tell(trial, (trial.params["optimizer.learning-rate"] - 0.01) ** 2)
        if not trials:
            break
    return [trial.params for trial in study.trials()]


@pytest.mark.parametrize(
    "sampler", [pytest.param(name, marks=[] if name == "random" else pytest.mark.slow) for name in TRIALS]
)
def test_the_same_seed_draws_the_same_trials_also_after_an_interruption(sweep_of, sampler):
    expected = draw(sweep_of(sampler, 3))
    assert draw(sweep_of(sampler, 3)) == expected
    assert draw(sweep_of(sampler, 3), interrupted=(0, 2, 11)) == expected
    assert len({tuple(values.items()) for values in expected}) == TRIALS[sampler]
    other = draw(sweep_of(sampler, 4))
    assert other[0] != expected[0]
    assert sampler == "qmc" or not any(values in expected for values in other)


def test_the_same_seed_proposes_the_same_values_by_tpe():
    """Also after the first trials, which it draws at random."""
    drawn = []
    for seed in (3, 3, 4):
        study = optuna.create_study(sampler=SAMPLERS["tpe"](seed))
        study.optimize(lambda trial: (trial.suggest_float("rate", 0, 1) - 0.3) ** 2, n_trials=14)
        drawn.append([trial.params["rate"] for trial in study.trials])
    assert drawn[0] == drawn[1]
    assert set(drawn[0]).isdisjoint(drawn[2])


@pytest.mark.slow  # the test above draws them again after an interruption
@pytest.mark.parametrize("sampler", ["random", pytest.param("qmc", marks=pytest.mark.slow)])
def test_several_workers_draw_the_trials_of_one(sweep_of, sampler):
    assert draw(sweep_of(sampler, 3), workers=3) == draw(sweep_of(sampler, 3))


def test_several_workers_do_not_repeat_each_other(sweep_of):
    drawn = draw(sweep_of("tpe", 3), workers=3)
    assert len({tuple(values.items()) for values in drawn}) == TRIALS["tpe"]


def test_another_seed_is_refused_for_the_same_study(sweep_of, tmp_path):
    SweepStudy(sweep_of("random", 3, tmp_path)).enqueue([{}])
    with pytest.raises(UserError, match="these differ: sampler_seed"):
        SweepStudy(sweep_of("random", 4, tmp_path)).enqueue([{}])
    SweepStudy(sweep_of("random", 3, tmp_path)).enqueue([{}])
