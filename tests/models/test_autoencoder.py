"""Autoencoders: shapes, initialisers, activations, dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_params, init_with_output

from lab10.config.errors import UserError
from lab10.data.images import ImageSpec
from lab10.data.texts import TextSpec
from lab10.models.autoencoder import ACTIVATIONS, LinearAutoencoder, MLPAutoencoder
from lab10.training.state import count_parameters

MNIST, SMALL = ImageSpec(height=28, width=28, pixel_max=255), ImageSpec(height=3, width=4, pixel_max=255)


def test_the_linear_autoencoder_is_two_matrices_drawn_as_in_the_lab():
    params = init_params(LinearAutoencoder(latent_dim=64).build(MNIST), MNIST, 0)
    assert jax.tree.map(jnp.shape, params) == {
        "encoder": {"dense_0": {"kernel": (784, 64)}},
        "decoder": {"dense_0": {"kernel": (64, 784)}},
    }
    for part in params.values():
        kernel = np.asarray(part["dense_0"]["kernel"])
        np.testing.assert_allclose(kernel.std(), np.sqrt(6 / (64 + 784)), rtol=0.02)
        assert abs(kernel.mean()) < 0.002
        assert np.abs(kernel).max() > 3 * kernel.std(), "a normal distribution reaches further than a uniform one"


def test_the_linear_autoencoder_is_linear():
    module = LinearAutoencoder(latent_dim=2).build(SMALL)
    params = init_params(module, SMALL, 3)
    x = jax.random.uniform(jax.random.key(0), (5, 12))
    encoder, decoder = params["encoder"]["dense_0"]["kernel"], params["decoder"]["dense_0"]["kernel"]
    np.testing.assert_allclose(apply(module, {"params": params}, x), x @ encoder @ decoder, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        apply(module, {"params": params}, -2 * x), -2 * apply(module, {"params": params}, x), rtol=1e-5, atol=1e-6
    )


def test_the_defaults_are_the_labs_deep_autoencoder():
    params = init_params(MLPAutoencoder().build(MNIST), MNIST, 0)
    shapes = [
        part[f"dense_{layer}"]["kernel"].shape for part in (params["encoder"], params["decoder"]) for layer in (0, 1)
    ]
    assert shapes == [(784, 256), (256, 64), (64, 256), (256, 784)]
    assert count_parameters(params) == 784 * 256 + 256 + 256 * 64 + 64 + 64 * 256 + 256 + 256 * 784 + 784
    for part in params.values():
        for dense in part.values():
            limit = np.sqrt(6 / sum(dense["kernel"].shape))
            assert 0.99 * limit < np.abs(dense["kernel"]).max() <= limit
            assert not np.any(dense["bias"])


def test_an_mlp_equals_its_layers_written_out():
    module = MLPAutoencoder(
        latent_dim=2, encoder_widths=(5,), decoder_widths=(4,), activation="tanh", output_activation="sigmoid"
    ).build(SMALL)
    params = jax.tree.map(lambda p: np.asarray(p) + np.float32(0.1), init_params(module, SMALL, 0))
    x = jax.random.uniform(jax.random.key(0), (3, 12))

    def dense(part, layer, x):
        weights = params[part][f"dense_{layer}"]
        return x @ weights["kernel"] + weights["bias"][None]

    latents = dense("encoder", 1, jnp.tanh(dense("encoder", 0, x)))
    expected = jax.nn.sigmoid(dense("decoder", 1, jnp.tanh(dense("decoder", 0, latents))))
    np.testing.assert_allclose(apply(module, {"params": params}, x, method="encode"), latents, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        apply(module, {"params": params}, latents, method="decode"), expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(apply(module, {"params": params}, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "output_activation"),
    [
        ("relu", "sigmoid"),
        ("tanh", "linear"),
        *(
            pytest.param(name, output, marks=pytest.mark.slow)
            for output in ("linear", "sigmoid")
            for name in sorted(ACTIVATIONS)
            if (name, output) not in (("relu", "sigmoid"), ("tanh", "linear"))
        ),
    ],
)
def test_any_depth_width_and_activation_reconstructs_images(activation, output_activation):
    module = MLPAutoencoder(
        latent_dim=3,
        encoder_widths=(6, 5),
        decoder_widths=(),
        activation=activation,
        output_activation=output_activation,
    ).build(SMALL)
    reconstruction, _ = init_with_output(module, jax.random.key(0), jax.random.uniform(jax.random.key(1), (2, 12)))
    assert reconstruction.shape == (2, 12)
    assert np.all(np.isfinite(reconstruction))
    if output_activation == "sigmoid":
        assert np.all((reconstruction > 0) & (reconstruction < 1))


@pytest.mark.parametrize("kind", [pytest.param(LinearAutoencoder, marks=pytest.mark.slow), MLPAutoencoder])
def test_bfloat16_keeps_parameters_latents_and_images_float32(kind):
    x = jax.random.uniform(jax.random.key(1), (2, 12))
    module = kind(latent_dim=3, dtype="bfloat16").build(SMALL)
    reconstruction, variables = init_with_output(module, jax.random.key(0), x)
    latents = apply(module, variables, x, method="encode")
    assert {leaf.dtype for leaf in (reconstruction, latents, *jax.tree.leaves(variables))} == {jnp.dtype("float32")}
    in_float32 = apply(kind(latent_dim=3).build(SMALL), variables, x)
    np.testing.assert_allclose(reconstruction, in_float32, atol=0.1)
    assert np.any(np.asarray(reconstruction) != np.asarray(in_float32))


@pytest.mark.parametrize("kind", [LinearAutoencoder, MLPAutoencoder])
def test_texts_are_refused(kind):
    with pytest.raises(UserError, match="reads images, and the dataset holds texts"):
        kind().build(TextSpec(num_ids=10, class_names=("a", "b")))


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"latent_dim": 0}, "latent-dim"),
        ({"encoder_widths": (0,)}, "encoder-widths"),
        ({"decoder_widths": (3, -1)}, "decoder-widths"),
    ],
)
def test_widths_below_one_are_refused(fields, option):
    with pytest.raises(UserError, match=f"--model.{option}"):
        MLPAutoencoder(**fields)
