"""The search space, as written in --vary."""

import dataclasses

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.cli.overrides import load_experiment
from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, differing_fields, to_json
from lab10.sweeps.space import grid, parse_space, parse_vary
from lab10.sweeps.study import Sweep


def values_of(text, count=40):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = parse_space([text])
    return [value for _ in range(count) for value in study.ask(space).params.values()]


def test_ranges_are_sampled_within_their_bounds():
    assert all(2 <= value <= 5 and isinstance(value, int) for value in values_of("model.latent_dim=2..5"))
    assert all(0.1 <= value <= 0.5 for value in values_of("model.output-dropout=0.1..0.5"))
    logarithmic = np.array(values_of("optimizer.learning-rate=log:1e-5..1e-1", 200))
    assert (logarithmic >= 1e-5).all()
    assert (logarithmic <= 1e-1).all()
    assert 0.3 < np.mean(logarithmic < 1e-3) < 0.7, "half of the draws lie in half of the decades"
    assert set(values_of("optimizer=adam,sgd")) == {"adam", "sgd"}


@given(st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=4, unique=True), max_size=3))
def test_a_grid_has_every_combination_once(choices):
    combinations = grid(parse_space([f"field{i}={','.join(one)}" for i, one in enumerate(choices)]))
    assert len(combinations) == np.prod([len(one) for one in choices], dtype=int)
    assert len({tuple(values.values()) for values in combinations}) == len(combinations)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optimizer.learning-rate", "expected FIELD=A,B,C"),
        ("=1,2", "expected FIELD=A,B,C"),
        ("a=", "expected FIELD=A,B,C"),
        ("a=1,,2", "a choice is empty or occurs twice"),
        ("a=1,1", "a choice is empty or occurs twice"),
        ("a=2..1", "expected two numbers, the lower one first"),
        ("a=log:0..1", "expected two numbers, the lower one first"),
        ("a=x..y", "expected two numbers, the lower one first"),
        ("a=1..2..3", "expected two numbers, the lower one first"),
        ("a=0..inf", "expected two numbers, the lower one first"),
        ("seed=1,2", "give seeds with --seeds"),
        ("data.text-feature=it's,text", "the choice it's cannot be read as a shell would"),
    ],
)
def test_values_that_are_neither_choices_nor_a_range_are_refused(text, said):
    with pytest.raises(UserError, match=said):
        parse_vary(text)


def test_paths_of_a_folder_above_are_choices():
    _, distribution = parse_vary("init-from=../runs/a,../runs/b")
    assert distribution.choices == ("../runs/a", "../runs/b")


def test_a_grid_of_a_range_is_refused():
    with pytest.raises(UserError, match="A grid cannot take the range of optimizer"):
        grid(parse_space(["optimizer.learning-rate=0.1..0.2"]))


@pytest.fixture
def sweep(tmp_path):
    default, name = load_experiment("mnist_autoencoder"), "mnist_autoencoder"
    return Sweep(
        experiment_name=name,
        base_experiment=to_json(default, Experiment),
        overrides=["--epochs", "2"],
        vary=["optimizer.learning-rate=1e-3,1e-2", "model.encoder-widths=16,32 8"],
        seeds=[0, 3],
        sampler="grid",
        sampler_seed=0,
        pruner="none",
        trials=None,
        max_vmapped=None,
        heartbeat_timeout=60,
        directory=str(tmp_path),
        storage="sqlite://",
        name=name,
    )


def test_a_trial_has_one_experiment_per_seed_with_its_values(sweep):
    experiments = sweep.experiments({"optimizer.learning-rate": "1e-2", "model.encoder-widths": "32 8"})
    assert [experiment.seed for experiment in experiments] == [0, 3]
    for experiment in experiments:
        assert experiment.optimizer.learning_rate == 1e-2
        assert experiment.model.encoder_widths == (32, 8)
        assert experiment.epochs == 2
    changed = {"--optimizer.learning-rate", "--model.encoder-widths", "--epochs"}
    assert set(differing_fields(load_experiment("mnist_autoencoder"), experiments[0])) == changed


def test_booleans_are_choices(sweep):
    default, name = load_experiment("imdb_lstm"), "imdb_lstm"
    default = to_json(default, Experiment)
    vary = ["model.bidirectional=True,false"]
    sweep = dataclasses.replace(sweep, experiment_name=name, base_experiment=default, overrides=[], vary=vary)
    combinations = sweep.trial_values()
    assert len(combinations) == 2
    for values in combinations:
        expected = values["model.bidirectional"] == "True"
        assert all(experiment.model.bidirectional is expected for experiment in sweep.experiments(values))


def test_patterns_of_parameters_can_be_varied(sweep):
    assert parse_space(["optimizer.freeze=encoder/*,decoder/*"])["optimizer.freeze"].choices == (
        "encoder/*",
        "decoder/*",
    )
    values = {"optimizer.freeze": "encoder/* */bias", "optimizer.learning-rate-factors": "decoder/*=0.1"}
    for experiment in sweep.experiments(values):
        assert experiment.optimizer.freeze == ("encoder/*", "*/bias")
        assert experiment.optimizer.learning_rate_factors == ("decoder/*=0.1",)
    assert sweep.program_key(values) != sweep.program_key(values | {"optimizer.freeze": "encoder/*"})


def test_retries_of_a_trial_share_its_workdirs(sweep):
    study = optuna.create_study()
    for index in (0, 1, 0):
        study.enqueue_trial({}, user_attrs={"index": index})
    first, second, retried = map(sweep.workdirs, study.trials)
    assert len({*first, *second}) == 4
    assert retried == first


def test_the_values_of_trials_are_sorted_by_program(sweep):
    combinations = sweep.trial_values()
    rates = [values["optimizer.learning-rate"] for values in combinations]
    widths = [values["model.encoder-widths"] for values in combinations]
    assert rates == ["1e-3", "1e-2"] * 2, "trained together"
    assert widths in (["16", "16", "32 8", "32 8"], ["32 8", "32 8", "16", "16"])
