"""What a sweep varies, as it is written."""

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.cli.overrides import load_experiment
from lab10.config.experiment import differing_fields
from lab10.errors import UserError
from lab10.sweeps.points import Points, jobs_of
from lab10.sweeps.space import grid, parse_varied


def values_of(text, count=40):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    varied = parse_varied(text)
    return [varied.suggest(study.ask()) for _ in range(count)]


def test_ranges_are_drawn_within_their_ends_and_as_written():
    assert all(2 <= value <= 5 and isinstance(value, int) for value in values_of("model.latent_dim=2..5"))
    assert all(0.1 <= value <= 0.5 for value in values_of("model.output-dropout=0.1..0.5"))
    logarithmic = np.array(values_of("optimizer.learning-rate=log:1e-5..1e-1", 200))
    assert (logarithmic >= 1e-5).all()
    assert (logarithmic <= 1e-1).all()
    assert 0.3 < np.mean(logarithmic < 1e-3) < 0.7, "half of the draws lie in half of the decades"
    assert set(values_of("optimizer=adam,sgd")) == {"adam", "sgd"}


@given(st.lists(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=4, unique=True), max_size=3))
def test_a_grid_has_every_combination_once(choices):
    varied = [parse_varied(f"field{place}={','.join(one)}") for place, one in enumerate(choices)]
    points = grid(varied)
    assert len(points) == np.prod([len(one) for one in choices], dtype=int)
    assert len({tuple(point.values()) for point in points}) == len(points)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optimizer.learning-rate", "expected FIELD=A,B,C"),
        ("=1,2", "expected FIELD=A,B,C"),
        ("a=", "expected FIELD=A,B,C"),
        ("a=1,,2", "one of the choices is empty or there twice"),
        ("a=1,1", "one of the choices is empty or there twice"),
        ("a=2..1", "expected two numbers, the lower one first"),
        ("a=log:0..1", "expected two numbers, the lower one first"),
        ("a=x..y", "expected two numbers, the lower one first"),
        ("a=1..2..3", "expected two numbers, the lower one first"),
        ("a=0..inf", "expected two numbers, the lower one first"),
        ("seed=1,2", "seeds are given by --seeds"),
    ],
)
def test_what_is_no_choice_and_no_range_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        parse_varied(text)


def test_a_grid_of_a_range_is_refused():
    with pytest.raises(UserError, match="A grid cannot take the range of optimizer"):
        grid([parse_varied("optimizer.learning-rate=0.1..0.2")])


@pytest.fixture
def points(tmp_path):
    default, name = load_experiment("mnist_autoencoder")
    varied = tuple(map(parse_varied, ("optimizer.learning-rate=1e-3,1e-2", "model.encoder-widths=16,32 8")))
    return Points(name, default, ("--epochs", "2"), varied, (0, 3), tmp_path)


def test_a_point_is_an_experiment_a_seed_with_its_values_and_the_shared_options(points):
    point = points.point({"optimizer.learning-rate": "1e-2", "model.encoder-widths": "32 8"})
    assert [experiment.seed for experiment in point.experiments] == [0, 3]
    for experiment in point.experiments:
        assert experiment.optimizer.learning_rate == 1e-2
        assert experiment.model.encoder_widths == (32, 8)
        assert experiment.epochs == 2
    changed = {"--optimizer.learning-rate", "--model.encoder-widths", "--epochs"}
    assert set(differing_fields(points.default, point.experiments[0])) == changed
    assert len(set(point.workdirs)) == 2
    again = points.point({"optimizer.learning-rate": "1e-2", "model.encoder-widths": "32 8"})
    assert again.workdirs == point.workdirs


def test_points_of_one_program_go_together_and_no_job_is_too_large(points):
    numbered = [(place, points.point(values)) for place, values in enumerate(grid(points.varied))]
    assert jobs_of(numbered, 8) == [[0, 2], [1, 3]], "the rates of each shape"
    assert jobs_of(numbered, 2) == [[0], [2], [1], [3]], "two seeds each"
    assert jobs_of(numbered, 1) == [[0], [2], [1], [3]], "a point is never taken apart"
