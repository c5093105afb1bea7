"""Arrays of images: pixels are kept as in the file, or the file is refused by name."""

import numpy as np
import pytest
from user_images import assert_whole_groups

from lab10.data.images import ImageDataset

RANDOM = np.random.default_rng(0)


@pytest.fixture
def npz(tmp_path):
    def make(**arrays):
        np.savez(tmp_path / "arrays.npz", **arrays)
        return tmp_path / "arrays.npz"

    return make


IMAGES = RANDOM.integers(0, 256, (5, 4, 6), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        pytest.param(IMAGES, IMAGES[..., None], id="uint8"),
        pytest.param(IMAGES.astype(np.int64), IMAGES[..., None], id="int64"),
        pytest.param(IMAGES[..., None], IMAGES[..., None], id="one channel"),
        pytest.param((IMAGES / 255).astype(np.float32), IMAGES[..., None], id="floats in [0, 1]"),
        pytest.param(IMAGES.astype(float), IMAGES[..., None], id="whole floats"),
        pytest.param(IMAGES > 127, ((IMAGES > 127) * 255).astype(np.uint8)[..., None], id="booleans"),
        pytest.param(IMAGES.astype(np.uint16) * 257, (IMAGES.astype(np.uint16) * 257)[..., None], id="uint16"),
        pytest.param(np.stack([IMAGES] * 3, axis=-1), np.stack([IMAGES] * 3, axis=-1), id="color"),
    ],
)
def test_arrays_of_images(prepare_images, npz, array, expected):
    summary, read = prepare_images(npz(images=array, labels=np.array([0, 1, 0, 1, 1])))
    np.testing.assert_array_equal(read, expected)
    assert summary["dtype"] == expected.dtype.name
    assert summary["splits"]["train"]["classes"] == {"0": 2, "1": 3}


@pytest.mark.parametrize("names", [("x_train", "y_train", "x_test", "y_test"),
                                   ("train_images", "train_labels", "test_images", "test_labels")])  # fmt: skip
def test_arrays_that_name_their_splits(scripts, npz, tmp_path, names):
    labels = np.array([["b"], ["a"], ["b"]])
    path = npz(**dict(zip(names, (IMAGES[:3], labels, IMAGES[3:], labels[:2, 0]), strict=True)))
    arguments = ("pictures", "--from", path, "--data-dir", tmp_path / "data")
    assert scripts.answer("prepare_data", *arguments)["datasets"]["pictures"]["splits"] == {
        "train": {"rows": 3, "classes": {"a": 1, "b": 2}},
        "test": {"rows": 2, "classes": {"a": 1, "b": 1}},
    }


def test_a_split_without_large_values_is_as_deep_as_the_others(scripts, npz, tmp_path):
    path = npz(x_train=IMAGES[:3].astype(np.int64) * 16, x_test=IMAGES[3:].astype(np.int64))
    answer = scripts.answer("prepare_data", "pictures", "--from", path, "--data-dir", tmp_path / "data")
    assert answer["datasets"]["pictures"]["dtype"] == "uint16"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        pytest.param({"images": IMAGES / 256}, "np.round(images * 255)", id="inexact floats"),
        pytest.param({"images": IMAGES - 300.0}, "not whole pixel values", id="negative floats"),
        pytest.param({"images": np.where(IMAGES > 9, np.nan, IMAGES)}, "not finite", id="NaN"),
        pytest.param({"images": IMAGES.astype(int) - 256}, "values from -2", id="negative"),
        pytest.param({"images": IMAGES.astype(int) * 1000}, "expected 0 to 255, or 0 to 65535", id="too large"),
        pytest.param({"images": (IMAGES > 127).astype(np.uint8)}, "(images == 1)", id="zero and one"),
        pytest.param({"images": IMAGES.reshape(5, 24)}, "images.reshape(-1, HEIGHT, WIDTH)", id="rows"),
        pytest.param({"images": IMAGES[:, :, :4].reshape(5, 16)}, "images.reshape(-1, 4, 4)", id="square rows"),
        pytest.param({"images": np.stack([IMAGES] * 3, axis=1)}, "images.transpose(0, 2, 3, 1)", id="channels first"),
        pytest.param({"images": np.stack([IMAGES] * 4, axis=-1)}, "1 or 3 channels", id="four channels"),
        pytest.param({"images": IMAGES[:0]}, "has the shape (0, 4, 6); expected at least one image", id="none"),
        pytest.param({"images": IMAGES, "x": IMAGES}, "several arrays of images for one split: images, x", id="two"),
        pytest.param({"x_train": IMAGES, "train_images": IMAGES}, "x_train", id="two for training"),
        pytest.param({"images": np.array([["a"]])}, "has the shape (1, 1)", id="words"),
        pytest.param({"pictures": IMAGES}, "Its arrays are pictures (5, 4, 6)", id="another name"),
        pytest.param({"images": IMAGES, "labels": np.arange(4)}, "one label for each of 5 images", id="four labels"),
        pytest.param({"images": IMAGES, "labels": np.eye(5)}, "labels.argmax(axis=1)", id="one-hot labels"),
        pytest.param({"images": IMAGES, "labels": np.full(5, np.nan)}, "No example is left", id="no labels"),
        pytest.param({"images": IMAGES, "labels": np.array([0, 1, np.nan, 0, 1])}, "images[2]", id="missing label"),
        pytest.param(
            {"x_train": IMAGES, "y_train": np.arange(5), "x_test": IMAGES}, "others do not", id="half labelled"
        ),
        pytest.param({"images": np.array([{}], object)}, "could run code", id="objects"),
    ],
)
def test_arrays_that_are_not_images_are_refused(refuse_images, npz, arrays, said):
    assert said in refuse_images(npz(**arrays))


def test_arrays_without_some_labels_are_left_out_where_asked(prepare_images, npz):
    summary, read = prepare_images(npz(images=IMAGES, labels=np.array([1, np.nan, 2, np.nan, 2])), "--skip-invalid")
    np.testing.assert_array_equal(read, IMAGES[[0, 2, 4]][..., None])
    assert summary["splits"]["train"] == {"rows": 3, "classes": {"1": 1, "2": 2}}
    assert summary["skipped"] == {"no label": 2}


def test_arrays_with_groups(scripts, refuse_images, npz, tmp_path):
    """Numbers of different types are one group; all images of a group are in one split."""
    images = RANDOM.integers(0, 256, (20, 4, 6), dtype=np.uint8)
    arguments = ("pictures", "--data-dir", tmp_path / "data", "--overwrite", "--group", "patient", "--from")
    scripts.answer("prepare_data", *arguments, npz(images=images, patient=np.arange(20) // 4))
    assert_whole_groups(tmp_path / "data", {str(i): 4 for i in range(5)})
    dataset = ImageDataset(name="pictures", dir=str(tmp_path / "data"), validation_group="group").open_dataset()
    rows = [dataset.open_split(split).rows // 4 for split in ("train", "validation")]
    assert not {*rows[0]} & {*rows[1]}, "rows of one patient on both sides"
    answer = scripts.answer(
        "prepare_data", *arguments, npz(x_train=IMAGES, patient_train=np.arange(5), x_test=images[:2],
                                        patient_test=np.array([7.0, 8.0]))
    )  # fmt: skip
    assert answer["datasets"]["pictures"]["groups"] == {"train": 5, "test": 2}
    torn = npz(x_train=IMAGES, patient_train=np.arange(5), x_test=images[:2], patient_test=np.array([4.0, 8.0]))
    assert "'4' is in train and test" in refuse_images(torn, "--group", "patient")
    named = npz(images=images, patient=np.arange(20) // 4)
    assert "no array 'patients'; did you mean 'patient'?" in refuse_images(named, "--group", "patients")
    assert "one group for each of 20 images" in refuse_images(
        npz(images=images, patient=np.arange(4)), "--group", "patient"
    )
    assert "no group: arrays.npz images[1]" in refuse_images(
        npz(images=images[:3], patient=np.array([0, np.nan, 1])), "--group", "patient"
    )


def test_arrays_that_are_not_used_are_listed(prepare_images, npz):
    summary, _ = prepare_images(npz(images=IMAGES, labels=np.array([0, 1, 0, 1, 1]), masks=IMAGES))
    assert "arrays.npz has arrays that are not used: masks." in summary["notes"]


def test_a_file_of_another_kind_is_refused(refuse_images, tmp_path):
    path = tmp_path / "arrays.npz"
    path.write_text("1,2,3")
    assert "it is not a zip archive" in refuse_images(path)


def test_a_damaged_file_of_arrays_is_refused(refuse_images, npz, tmp_path):
    path = npz(images=IMAGES)
    path.write_bytes(path.read_bytes()[:200])
    assert "not a readable .npz file" in refuse_images(path)
