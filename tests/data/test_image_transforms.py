"""Transforms that move pixels: inputs and targets alike, for images of any shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.data.image_transforms import ElasticDeformation, RandomShift, warp
from lab10.data.images import ImageSpec

keys = st.integers(0, 2**31 - 1).map(jax.random.key)
# Not square, and in color; each shape is compiled.
SHAPES = [(4, 9, 3), *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((7, 7, 1), (1, 5, 2)))]


@functools.partial(jax.jit, static_argnums=(0, 3))
def apply(transform, batch, key, spec):
    return transform.apply(batch, key, spec)


def rows(shape, count=6):
    """A batch of random images, flattened, with other targets than inputs, and the spec."""
    height, width, channels = shape
    spec = ImageSpec(height=height, width=width, channels=channels, pixel_max=255)
    pixels = jax.random.uniform(jax.random.key(5), (count, spec.num_values))
    batch = {"inputs": pixels, "targets": 1 - pixels, "mask": jnp.ones(count, bool), "row_ids": jnp.arange(count)}
    return batch, spec


def shifted(image, down, right):
    """The expected shift of an image [height, width, channels], by padding."""
    limit = max(abs(down), abs(right))
    height, width = image.shape[:2]
    padded = np.pad(image, ((limit, limit), (limit, limit), (0, 0)), mode="edge")
    return padded[limit - down : limit - down + height, limit - right : limit - right + width]


@pytest.mark.parametrize("max_shift", [2, *(pytest.param(shift, marks=pytest.mark.slow) for shift in (0, 1))])
@pytest.mark.parametrize("shape", SHAPES)
@given(key=keys)
def test_each_image_is_one_of_the_possible_shifts_in_all_channels_and_in_inputs_and_targets(shape, key, max_shift):
    batch, spec = rows(shape)
    after = apply(RandomShift(max_shift=max_shift), batch, key, spec)
    steps = range(-max_shift, max_shift + 1)
    for i in range(len(batch["inputs"])):
        of_image = {name: np.asarray(batch[name][i]).reshape(shape) for name in ("inputs", "targets")}
        assert any(
            all(
                np.array_equal(shifted(image, down, right).reshape(-1), after[name][i])
                for name, image in of_image.items()
            )
            for down in steps
            for right in steps
        )


@pytest.mark.parametrize("shape", SHAPES)
@given(key=keys)
@pytest.mark.parametrize("transform", [RandomShift(max_shift=2, shift_rate=1.0), ElasticDeformation(deviation=2.0)])
def test_pixels_are_interpolated_and_all_else_is_left_alone(transform, shape, key):
    batch, spec = rows(shape)
    after = apply(transform, batch, key, spec)
    assert after.keys() == batch.keys()
    for name in ("inputs", "targets"):
        assert (after[name].shape, after[name].dtype) == (batch[name].shape, jnp.float32)
        before = batch[name].reshape(-1, spec.height * spec.width, spec.channels)
        pixels = after[name].reshape(before.shape)
        assert np.all(pixels >= before.min(1, keepdims=True) - 1e-6)
        assert np.all(pixels <= before.max(1, keepdims=True) + 1e-6)
    # Linear interpolation of 1 - x is 1 minus that of x only if both move alike.
    np.testing.assert_allclose(after["targets"], 1 - after["inputs"], atol=1e-5)
    for name in ("mask", "row_ids"):
        np.testing.assert_array_equal(after[name], batch[name])


@pytest.mark.parametrize("shape", SHAPES)
@given(key=keys)
def test_nothing_moves_at_rates_of_0_or_without_a_distance(shape, key):
    batch, spec = rows(shape)
    for transform in (
        RandomShift(max_shift=3, shift_rate=0.0),
        RandomShift(max_shift=0),
        ElasticDeformation(shift_rate=0.0, deformation_rate=0.0),
        ElasticDeformation(shift_rate=0.0, deviation=0.0),
    ):
        np.testing.assert_array_equal(apply(transform, batch, key, spec)["inputs"], batch["inputs"])


@given(keys)
def test_a_transform_is_a_function_of_batch_and_key(key):
    batch, spec = rows((8, 7, 2))
    for transform in (RandomShift(shift_rate=1.0, max_shift=3), ElasticDeformation(deformation_rate=1.0)):
        once, again = (apply(transform, batch, key, spec)["inputs"] for _ in range(2))
        np.testing.assert_array_equal(once, again)
        other = apply(transform, batch, jax.random.fold_in(key, 1), spec)["inputs"]
        assert np.any(np.asarray(once) != np.asarray(other))


@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_the_rates_are_the_shares_of_images_that_change(rate):
    batch, spec = rows((8, 8, 1), count=2000)
    for transform, expected in (
        (RandomShift(max_shift=1, shift_rate=rate), rate * 8 / 9),
        (ElasticDeformation(shift_rate=0.0, deformation_rate=rate), rate),
    ):
        after = apply(transform, batch, jax.random.key(2), spec)
        changed = np.any(np.asarray(after["inputs"] != batch["inputs"]), axis=1)
        assert abs(changed.mean() - expected) < 0.04


@pytest.mark.parametrize("smoothness", [pytest.param(1.0, marks=pytest.mark.slow), 4.0])
def test_displacements_have_their_deviation_everywhere_and_are_smooth(smoothness):
    transform = ElasticDeformation(shift_rate=0.0, deviation=1.5, smoothness=smoothness, deformation_rate=1.0)
    drawn = np.asarray(transform.displacements(jax.random.key(0), 4000, 12, 10))
    np.testing.assert_allclose(drawn.std(0), 1.5, atol=0.1)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.1)
    # The correlation of neighbors, of noise smoothed by a Gaussian, away from the edges.
    middle = drawn[:, :, 5:7, 5]
    correlation = np.corrcoef(middle[:, 0, 0], middle[:, 0, 1])[0, 1]
    assert abs(correlation - np.exp(-1 / (4 * smoothness**2))) < 0.05


def test_a_pixel_is_interpolated_between_its_four_neighbors_and_constant_beyond_the_edge():
    image = jnp.arange(12.0).reshape(1, 3, 4, 1)
    half = warp(image, jnp.full((1, 2, 1, 1), 0.5))[0, :, :, 0]
    np.testing.assert_allclose(half[0, 0], (0 + 1 + 4 + 5) / 4)
    np.testing.assert_allclose(half[2, 3], 11)


@pytest.mark.parametrize("transform", [RandomShift(), ElasticDeformation()])
def test_evaluation_sees_unchanged_images(transform):
    batch, _ = rows((4, 4, 1))
    assert transform.for_evaluation(batch) is batch


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (RandomShift, {"max_shift": -1}),
        (RandomShift, {"shift_rate": 1.1}),
        (RandomShift, {"shift_rate": float("nan")}),
        (ElasticDeformation, {"shift_rate": -0.1}),
        (ElasticDeformation, {"deviation": -1.0}),
        (ElasticDeformation, {"smoothness": 0.0}),
        (ElasticDeformation, {"deformation_rate": 2.0}),
    ],
)
def test_values_out_of_range_are_refused(kind, fields):
    with pytest.raises(UserError, match="--data.transform." + next(iter(fields)).replace("_", "-")):
        kind(**fields)
