"""The compiled steps: the mean over real rows, the update rules in NumPy, meshes, dtypes, what is not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st

from lab10.data.batching import fill
from lab10.data.image_transforms import ElasticDeformation, RandomShift
from lab10.data.images import ImageDataset
from lab10.data.transforms import Binarize, GaussianNoise, Transform
from lab10.models.autoencoder import MLPAutoencoder
from lab10.models.text_classifiers import LSTM
from lab10.optim.optimizers import SGD, Adam, RMSprop
from lab10.training.evaluation import evaluate
from lab10.training.state import TrainState
from lab10.training.step import EVALUATION, TASK, StepFunctions, random_key

RATE = 0.01


def images(rows, seed=0):
    return {"inputs": np.random.default_rng(seed).integers(0, 256, (rows, 12), np.uint8)}


def texts(rows, seed=0):
    random = np.random.default_rng(seed)
    tokens = random.integers(1, 40, (rows, 7)) * (np.arange(7) >= random.integers(0, 7, (rows, 1)))
    return {"inputs": tokens.astype(np.int32), "labels": random.integers(0, 2, rows, np.int32)}


def host(params):
    """A copy on the host, because steps consume their state."""
    return jax.tree.map(np.array, jax.device_get(params))


def steps(program, batches, params=None):
    """The state after these batches, and the metrics of each."""
    state, metrics = program.init_state(program.init_params() if params is None else params), []
    for batch in batches:
        state, batch_metrics = train_step(program, state, batch)
        metrics.append(batch_metrics)
    return state, metrics


train_step = jax.jit(StepFunctions.train_step, static_argnums=0)


def assert_close(one, other, rtol=1e-5, atol=1e-7):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("modality", ["images", "texts"])
def test_a_padded_batch_gives_the_update_of_the_unpadded_one(modality, request):
    make, spec = (
        request.getfixturevalue(f"{modality[:-1]}_experiment"),
        request.getfixturevalue(f"{modality[:-1]}_spec"),
    )
    program = StepFunctions(make(optimizer=SGD(learning_rate=RATE)), spec, 10)
    batch = {"images": images, "texts": texts}[modality](5)
    filled = fill(batch, 9)
    filled["inputs"] = np.concatenate(
        [batch["inputs"], filled["inputs"][5:] + 3]
    )  # whatever stands in the rows that only fill
    (exact, (exact_metrics,)), (padded, (padded_metrics,)) = steps(program, [fill(batch, 5)]), steps(program, [filled])
    assert_close(padded.params, exact.params)
    assert_close(padded_metrics.totals, exact_metrics.totals)
    assert padded_metrics.count == exact_metrics.count == 5
    per_example = jax.jit(program.eval_step)(program.init_params(), fill(batch, 5), jax.random.key(0))
    np.testing.assert_allclose(exact_metrics.totals["loss"], per_example["loss"].sum(), rtol=1e-5)


def linear_gradients(params, inputs):
    """Gradients of the mean over rows of |x E D - x|², derived by hand, float64."""
    x = inputs.astype(np.float64) / 255
    encoder, decoder = (params[part]["dense_0"]["kernel"].astype(np.float64) for part in ("encoder", "decoder"))
    error = x @ encoder @ decoder - x
    return {
        "encoder": {"dense_0": {"kernel": 2 / len(x) * x.T @ error @ decoder.T}},
        "decoder": {"dense_0": {"kernel": 2 / len(x) * (x @ encoder).T @ error}},
    }


def rmsprop_in_numpy(params, gradients, state, step):
    """Keras 3: v ← 0.9 v + 0.1 g²; p ← p − rate g / √(v + 1e-7)."""
    velocity = jax.tree.map(
        lambda v, g: 0.9 * v + 0.1 * g**2, state or jax.tree.map(np.zeros_like, gradients), gradients
    )
    return jax.tree.map(lambda p, g, v: p - RATE * g / np.sqrt(v + 1e-7), params, gradients, velocity), velocity


def adam_in_numpy(params, gradients, state, step):
    """Kingma and Ba 2015, the form at the end of section 2, with β = 0.9, 0.999 and Keras's ε = 1e-7."""
    zeros = jax.tree.map(np.zeros_like, gradients)
    first, second = state or (zeros, zeros)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradients)

    def update(p, m, v):
        return p - RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-7)

    return jax.tree.map(update, params, first, second), (first, second)


def sgd_in_numpy(params, gradients, state, step):
    return jax.tree.map(lambda p, g: p - RATE * g, params, gradients), None


@pytest.mark.parametrize(
    ("optimizer", "rule"),
    [
        (RMSprop(learning_rate=RATE), rmsprop_in_numpy),
        (Adam(learning_rate=RATE), adam_in_numpy),
        (SGD(learning_rate=RATE), sgd_in_numpy),
    ],
    ids=["RMSprop", "Adam", "SGD"],
)
def test_updates_equal_the_formulas_with_kerass_constants(optimizer, rule, image_experiment, image_spec):
    program = StepFunctions(image_experiment(optimizer=optimizer), image_spec, 10)
    batches = [images(6, seed) for seed in range(3)]
    state, expected, memory = program.init_state(program.init_params()), host(program.init_params()), None
    for step, batch in enumerate(batches, start=1):
        state, _ = train_step(program, state, fill(batch, 6))
        expected, memory = rule(expected, linear_gradients(expected, batch["inputs"]), memory, step)
        assert_close(host(state.params), expected, rtol=1e-4, atol=1e-5)
    assert int(state.step) == 3


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(LSTM(embedding_dim=4, hidden_size=3, dtype="bfloat16"), marks=pytest.mark.slow),
        MLPAutoencoder(latent_dim=2, encoder_widths=(5,), dtype="bfloat16"),
    ],
)
def test_bfloat16_leaves_parameters_optimizer_and_loss_float32(
    model, text_experiment, image_experiment, text_spec, image_spec
):
    is_lstm = isinstance(model, LSTM)
    make, spec, batch = (text_experiment, text_spec, texts(6)) if is_lstm else (image_experiment, image_spec, images(6))
    state, (report,) = steps(StepFunctions(make(model=model), spec, 10), [fill(batch, 6)])
    floating = [
        leaf for leaf in jax.tree.leaves(state) if np.issubdtype(leaf.dtype, np.floating) or leaf.dtype == jnp.bfloat16
    ]
    assert {leaf.dtype for leaf in (*floating, report.totals["loss"])} == {np.dtype("float32")}
    _, (in_float32,) = steps(
        StepFunctions(make(model=type(model)(**{**vars(model), "dtype": "float32"})), spec, 10), [fill(batch, 6)]
    )
    np.testing.assert_allclose(report.totals["loss"], in_float32.totals["loss"], rtol=0.05)
    assert report.totals["loss"] != in_float32.totals["loss"], "it did compute in bfloat16"


def test_a_resumed_run_has_the_same_bits(image_experiment, image_spec):
    """With noise, so that the randomness of each step is part of it."""
    experiment = image_experiment(data=ImageDataset(transform=GaussianNoise()))
    batches = [fill(images(6, seed), 6) for seed in range(4)]
    uninterrupted, reports = steps(StepFunctions(experiment, image_spec, 10), batches)
    half, _ = steps(StepFunctions(experiment, image_spec, 10), batches[:2])
    program = StepFunctions(experiment, image_spec, 10)
    state = program.put_on_devices(TrainState.from_checkpoint(int(half.step), half.to_checkpoint()))
    for batch in batches[2:]:
        state, report = train_step(program, state, batch)
    assert_close(state, uninterrupted, rtol=0, atol=0)
    np.testing.assert_array_equal(report.totals["loss"], reports[-1].totals["loss"])


@pytest.mark.parametrize(
    "transform",
    [
        GaussianNoise(deviation=0.5),
        pytest.param(RandomShift(max_shift=3, shift_rate=1.0), marks=pytest.mark.slow),
        pytest.param(ElasticDeformation(), marks=pytest.mark.slow),
    ],
)
def test_transforms_differ_from_step_to_step_and_from_seed_to_seed_and_spare_evaluation(
    transform, image_experiment, image_spec, split_of
):
    noisy, clean = ImageDataset(transform=transform), ImageDataset()
    still = SGD(learning_rate=0.0)
    batch = fill(images(6), 6)
    fields = {"noisy": {"data": noisy}, "reseeded": {"data": noisy, "seed": 1}, "clean": {"data": clean}}
    programs = {
        name: StepFunctions(image_experiment(optimizer=still, **given), image_spec, 10)
        for name, given in fields.items()
    }
    params = host(programs["clean"].init_params())
    reports = {name: steps(program, [batch, batch], params)[1] for name, program in programs.items()}
    losses = {name: [report.totals["loss"].item() for report in pair] for name, pair in reports.items()}
    assert losses["clean"][0] == losses["clean"][1]
    assert len({*losses["noisy"], *losses["reseeded"], losses["clean"][0]}) == 5
    split = split_of(**images(6))
    evaluated = [
        evaluate(programs[name], params, programs[name].device_loader(split)).metrics["loss"]
        for name in ("noisy", "clean")
    ]
    assert evaluated[0] == evaluated[1]


def test_samples_for_evaluation_depend_on_neither_seed_nor_batch(image_experiment, image_spec, split_of):
    data, params, columns = ImageDataset(transform=Binarize()), None, []
    for fields in ({}, {"seed": 1}, {"evaluation_batch_size": 3}, {"device_dataset_max_mib": 0}):
        program = StepFunctions(image_experiment(data=data, **fields), image_spec)
        params = program.init_params() if params is None else params
        columns.append(evaluate(program, params, program.device_loader(split_of(**images(8)))).per_example["loss"])
    for column in columns[1:]:
        np.testing.assert_allclose(column, columns[0], rtol=1e-5)
    clean = StepFunctions(image_experiment(), image_spec)
    assert np.all(columns[0] != evaluate(clean, params, clean.device_loader(split_of(**images(8)))).per_example["loss"])


@pytest.fixture(scope="module")
def by_batch_size(text_experiment, text_spec):
    """Programs that differ only in the batch size of evaluation; made once, because each is compiled."""
    programs = {size: StepFunctions(text_experiment(evaluation_batch_size=size), text_spec) for size in (4, 7, 20)}
    return programs, programs[20].init_params()


# Each number of examples is compiled for each batch size.
@pytest.mark.parametrize("examples", [17, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 8))])
@given(size=st.sampled_from((4, 7)), seed=st.integers(0, 1000))
def test_evaluation_does_not_depend_on_its_batch_size(by_batch_size, split_of, examples, size, seed):
    (programs, params), split = by_batch_size, split_of(**texts(examples, seed))
    one, other = (evaluate(program, params, program.device_loader(split)) for program in (programs[size], programs[20]))
    assert one.metrics.keys() == {"loss", "accuracy"}
    assert (
        one.metrics["accuracy"] == other.metrics["accuracy"] == np.mean(other.per_example["accuracy"], dtype=np.float64)
    )
    np.testing.assert_allclose(one.metrics["loss"], other.metrics["loss"], rtol=1e-5)
    assert_close(one.per_example, other.per_example, atol=1e-6)
    assert {len(column) for column in one.per_example.values()} == {examples}
    np.testing.assert_array_equal(one.per_example["label"], split.batch(np.arange(examples))["labels"])


def test_abstract_state_describes_the_real_one(text_experiment, text_spec):
    program = StepFunctions(text_experiment(), text_spec, 10)
    params = program.init_params()
    for abstract, real in (
        (program.abstract_params(), params),
        (program.abstract_state().opt_state, program.init_state(params).opt_state),
    ):
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), abstract) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), real
        )


def test_the_streams_of_a_seed_never_share_a_key(text_experiment, text_spec, monkeypatch):
    """Initial parameters, transform, dropout, sampling and evaluation, of two steps and two seeds."""
    keys = []

    def note(key):
        jax.debug.callback(lambda data: keys.append(data.tolist()), jax.random.key_data(key))

    class Spy(Transform):
        def __call__(self, batch, key):
            note(key)
            return batch

    apply = nn.Module.apply

    def spy(module, variables, inputs, rngs):
        for key in rngs.values():
            note(key)
        return apply(module, variables, inputs, rngs=rngs)

    monkeypatch.setattr(nn.Module, "apply", spy)
    for seed in (0, 1):
        experiment = text_experiment(seed=seed)
        object.__setattr__(experiment.data, "transform", Spy())
        program = StepFunctions(experiment, text_spec, 10)
        state = program.init_state(program.init_params())
        keys.append(jax.random.key_data(jax.random.fold_in(jax.random.key(seed), 0)).tolist())
        keys.append(jax.random.key_data(random_key(seed, EVALUATION, 0)).tolist())
        keys.append(jax.random.key_data(random_key(seed, TASK, 0)).tolist())
        step = jax.jit(program.train_step)
        for _ in range(2):
            state, _ = step(state, fill(texts(6), 6))
        jax.effects_barrier()
    assert len({tuple(key) for key in keys}) == len(keys) == 18
