"""NBSVM and LSTMs as one model have the outputs of NBSVM and of each LSTM alone."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_params
from ngram_texts import INPUTS, LABELS

from lab10.config.errors import UserError
from lab10.data.dataset import Split
from lab10.data.texts import TextSpec
from lab10.models.naive_bayes import NBSVM
from lab10.models.nbsvm_and_lstm import NBSVMAndLSTM
from lab10.models.text_classifiers import LSTM
from lab10.training.adversarial import PERTURBATIONS, with_adversarial_gradient

SPEC = TextSpec(num_ids=8, class_names=("neg", "pos"), max_ngram=2, num_ngrams=5)
WORDS = TextSpec(num_ids=8, class_names=("neg", "pos"))
SIZES = {"embedding_dim": 4, "hidden_size": 3, "bidirectional": True, "pooling": "concat"}
MODEL = NBSVMAndLSTM(**SIZES, num_lstms=2)


def random_params(model=MODEL):
    """Parameters that are random in every entry."""
    leaves, structure = jax.tree.flatten(init_params(model.build(SPEC), SPEC, 0))
    random = np.random.default_rng(0)
    return jax.tree.unflatten(structure, [random.normal(size=leaf.shape).astype(np.float32) for leaf in leaves])


@pytest.mark.parametrize("token_weights", [None, np.array([[1, 0.5, 0.2]] * 3, np.float32)])
def test_the_logits_are_those_of_each_classifier_alone(token_weights):
    params = random_params()
    logits = apply(MODEL.build(SPEC), {"params": params}, INPUTS, token_weights)
    assert (logits.nbsvm.shape, logits.lstms.shape) == ((3, 1), (2, 3, 1))
    nbsvm = apply(NBSVM().build(SPEC), {"params": params["nbsvm"]}, INPUTS, token_weights)
    np.testing.assert_allclose(logits.nbsvm, nbsvm, rtol=1e-6)
    lstm = LSTM(**SIZES).build(WORDS)
    for i in range(2):
        of_lstm = jax.tree.map(lambda leaf, i=i: leaf[i], params["lstms"])
        alone = apply(lstm, {"params": of_lstm}, INPUTS[..., 0], token_weights)
        np.testing.assert_allclose(logits.lstms[i], alone, rtol=1e-5, atol=1e-6)


def test_lstms_differ_in_initial_parameters_and_dropout():
    model = NBSVMAndLSTM(**SIZES, num_lstms=2, output_dropout=0.5)
    params = init_params(model.build(SPEC), SPEC, 0)
    kernel = params["lstms"]["dense"]["kernel"]
    assert not np.array_equal(kernel[0], kernel[1])
    same = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 2), params["lstms"])
    variables = {"params": params | {"lstms": same}}
    first, second = apply(model.build(SPEC), variables, INPUTS).lstms
    np.testing.assert_array_equal(first, second)
    first, second = apply(model.build(SPEC), variables, INPUTS, rngs={"dropout": jax.random.key(0)}).lstms
    assert not np.array_equal(first, second)


def test_rare_words_share_an_embedding():
    model = NBSVMAndLSTM(**SIZES, num_words=5)
    params = random_params(model)
    assert params["lstms"]["embedding"]["embedding"].shape == (1, 6, 4)
    rarer = INPUTS.copy()
    rarer[..., 0] += 2 * (INPUTS[..., 0] >= 5)  # not the ids of n-grams
    logits, other = (apply(model.build(SPEC), {"params": params}, inputs) for inputs in (INPUTS, rarer))
    jax.tree.map(np.testing.assert_array_equal, logits, other)
    logits, other = (apply(MODEL.build(SPEC), {"params": random_params()}, inputs) for inputs in (INPUTS, rarer))
    assert not np.array_equal(logits.lstms, other.lstms)


def test_the_ratios_are_nbsvms():
    split = Split(np.arange(3), lambda rows, _: {"inputs": INPUTS[rows], "labels": LABELS[rows]})
    expected = NBSVM(smoothing=0.5).params_from_data(SPEC, split)["log_count_ratios"]
    start = NBSVMAndLSTM(**SIZES, smoothing=0.5).params_from_data(SPEC, split)
    assert start.keys() == {"nbsvm/log_count_ratios"}
    np.testing.assert_array_equal(start["nbsvm/log_count_ratios"], expected)


def test_each_lstm_is_trained_against_its_own_perturbation():
    module, params, inputs = MODEL.build(SPEC), random_params(), jnp.array(INPUTS)
    words = inputs[..., 0]
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)[PERTURBATIONS]
    assert [leaf.shape for leaf in jax.tree.leaves(shapes)] == [(3, 3, 4, 2)]  # time, batch, features, LSTMs

    def loss(params, perturbations):
        variables = {"params": params, PERTURBATIONS: perturbations}
        return jnp.sum(module.apply(variables, inputs).lstms), None

    together, _ = jax.jit(jax.grad(with_adversarial_gradient(loss, module, inputs, 0.5), has_aux=True))(params)
    alone_module = LSTM(**SIZES).build(WORDS)

    def clean_loss_alone(params, perturbations):
        variables = {"params": params, PERTURBATIONS: perturbations}
        return jnp.sum(alone_module.apply(variables, words)), None

    loss_alone = with_adversarial_gradient(clean_loss_alone, alone_module, words, 0.5)
    grad_alone = jax.jit(jax.grad(loss_alone, has_aux=True))
    for i in range(2):
        alone, _ = grad_alone(jax.tree.map(lambda leaf, i=i: leaf[i], params["lstms"]))
        jax.tree.map(
            lambda both, one, i=i: np.testing.assert_allclose(both[i], one, rtol=1e-3, atol=1e-5),
            together["lstms"],
            alone,
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_words": 0}, r"--model\.num-words is 0; expected at least 1"),
        ({"num_lstms": 0}, r"--model\.num-lstms is 0; expected at least 1"),
        ({"num_lstms": 1000}, r"--model\.num-lstms is 1000; expected at most 256"),
        ({"smoothing": math.inf}, r"--model\.smoothing"),
        ({"hidden_size": 0}, r"--model\.hidden-size"),
    ],
)
def test_fields_out_of_range_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        NBSVMAndLSTM(**fields)


def test_data_without_ngrams_are_refused():
    with pytest.raises(UserError, match=r"NBSVMAndLSTM reads n-grams, so --data\.max-ngram must be at least 2"):
        MODEL.build(WORDS)
