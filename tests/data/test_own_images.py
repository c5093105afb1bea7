"""Image files and arrays of all kinds: pixels are kept as in the file, or the file is refused by name."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lab10.data.images import ImageDataset
from lab10.data.sources import open_source

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (4, 6), dtype=np.uint8)
COLOR = RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (4, 6), dtype=np.uint16)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.fixture
def prepare(scripts, tmp_path):
    """Prepares a folder or file as `pictures`, and returns the summary and the images of the train split."""

    def run(source, *arguments):
        fixed = ("--from", source, "--data-dir", tmp_path / "data", "--test-fraction", 0)
        summary = scripts.answer("prepare_data", "pictures", *fixed, *arguments)["datasets"]["pictures"]
        return summary, stored_images(tmp_path / "data")

    return run


def stored_images(data):
    """The pixels as the files have them: TFDS decodes images of 16 bits only with OpenCV."""
    source = open_source("pictures", "train", str(data))
    source.records.decoders = {"image": tfds.decode.SkipDecoding()}
    images = [np.asarray(Image.open(io.BytesIO(record["image"]))) for record in source.read(list(range(len(source))))]
    feature = source.features["image"]
    assert all(image.dtype == feature.np_dtype for image in images)
    images = [image[..., None] if image.ndim == 2 else image for image in images]
    assert all(image.shape == feature.shape for image in images)
    return images


@pytest.fixture
def refuse(scripts, tmp_path):
    def run(source, *arguments):
        data = tmp_path / "refused"
        message = scripts.refusal("prepare_data", "pictures", "--from", source, "--data-dir", data, *arguments)
        assert not data.exists()
        return message

    return run


def palette(colors):
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) % len(colors), "L").convert("P")
    image.putpalette([value for color in colors for value in color])
    return image


def png_bytes(image, **options):
    file = io.BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()


REDS = [(255, 0, 0), (0, 255, 0)]
GRAYS = [(0, 0, 0), (99, 99, 99)]
INDICES = np.arange(6).reshape(2, 3) % 2
KINDS = {
    "gray": ("a.png", Image.fromarray(GRAY), GRAY[..., None]),
    "color": ("a.png", Image.fromarray(COLOR), COLOR),
    "16-bit": ("a.png", Image.fromarray(DEEP), DEEP[..., None]),
    "16-bit TIFF": ("a.tif", Image.fromarray(DEEP), DEEP[..., None]),
    "1-bit": ("a.png", Image.fromarray(GRAY > 127), np.where(GRAY > 127, 255, 0).astype(np.uint8)[..., None]),
    "palette": ("a.png", palette(REDS), np.array(REDS, np.uint8)[INDICES]),
    "gray palette": ("a.png", palette(GRAYS), np.array(GRAYS, np.uint8)[INDICES][..., :1]),
    "GIF": ("a.gif", palette(REDS), np.array(REDS, np.uint8)[INDICES]),
    "BMP": ("a.BMP", Image.fromarray(COLOR), COLOR),
    "WebP": ("a.webp", Image.fromarray(COLOR), COLOR),
    "opaque alpha": ("a.png", Image.fromarray(np.dstack([COLOR, np.full((4, 6), 255, np.uint8)])), COLOR),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_each_kind(prepare, folder, kind):
    name, image, expected = KINDS[kind]
    image.save(folder / name, **({"lossless": True} if kind == "WebP" else {}))
    _, (read,) = prepare(folder)
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


def test_a_cmyk_jpeg_becomes_rgb(prepare, folder):
    Image.new("CMYK", (3, 2), (0, 255, 255, 0)).save(folder / "a.jpg")
    summary, (read,) = prepare(folder)
    assert read.shape == (2, 3, 3)
    assert (read[..., 0] > 200).all()
    assert (read[..., 1:] < 60).all()
    assert "1 image converted from CMYK to RGB." in summary["notes"]


def test_exif_turns_an_image(prepare, folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    (folder / "a.png").write_bytes(png_bytes(Image.fromarray(GRAY), exif=exif))
    summary, (read,) = prepare(folder)
    np.testing.assert_array_equal(read[..., 0], np.rot90(GRAY, -1))
    assert "1 image turned by EXIF." in summary["notes"]


TRANSPARENT = Image.fromarray(np.dstack([COLOR, np.where(GRAY > 127, 255, 0).astype(np.uint8)]))


def test_transparent_images_need_a_background(prepare, refuse, folder):
    TRANSPARENT.save(folder / "a.png")
    message = refuse(folder)
    assert "--background white" in message
    assert "a.png" in message
    assert "is no color" in refuse(folder, "--background", "wihte")
    summary, (read,) = prepare(folder, "--background", "white")
    np.testing.assert_array_equal(read, np.where(GRAY[..., None] > 127, COLOR, 255))
    assert "1 image put on white." in summary["notes"]


def test_a_transparent_color_is_transparent_too(refuse, folder):
    (folder / "a.png").write_bytes(png_bytes(Image.fromarray(GRAY), transparency=int(GRAY[0, 0])))
    assert "transparent pixels" in refuse(folder)


def damaged_files(folder):
    whole = png_bytes(Image.fromarray(RANDOM.integers(0, 256, (40, 40), dtype=np.uint8)))
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("this is no image")
    (folder / "empty.png").write_bytes(b"")
    frames = [Image.fromarray(np.full((4, 6), i * 90, np.uint8)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(GRAY.astype(np.float32)).save(folder / "float.tif")


def test_damaged_and_ambiguous_files_are_refused_or_skipped_on_request(prepare, refuse, folder):
    damaged_files(folder)
    assert "No example is left." in refuse(folder, "--skip-invalid")
    Image.fromarray(GRAY).save(folder / "good.png")
    message = refuse(folder)
    assert "5 of 6 images are invalid" in message
    for name in (
        "cut.png",
        "text.jpg",
        "empty.png",
        "3 frames instead of one: moving.gif",
        "floating-point",
        "float.tif",
    ):
        assert name in message
    summary, images = prepare(folder, "--skip-invalid")
    assert len(images) == 1
    assert sum(summary["skipped"].values()) == 5


def test_colors_of_16_bits_are_refused(refuse, folder):
    """Pillow would silently read only eight bits."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + bytes(12))) + chunk(b"IEND", b"")
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert "16 bits per color" in refuse(folder)


def test_images_of_different_sizes_are_refused_with_two_names_or_resized(prepare, refuse, folder):
    Image.fromarray(GRAY).save(folder / "a.png")
    Image.fromarray(GRAY[:2, :3]).save(folder / "b.png")
    message = refuse(folder)
    for said in ("a.png has 4 × 6", "b.png has 2 × 3", "--resize 4 6"):
        assert said in message
    assert "expected a height and a width" in refuse(folder, "--resize", 0, 3)
    summary, images = prepare(folder, "--resize", 2, 3)
    assert [image.shape for image in images] == [(2, 3, 1)] * 2
    np.testing.assert_array_equal(images[1][..., 0], GRAY[:2, :3])
    assert "1 image resized to 2 × 3, of which 0 had another aspect ratio." in summary["notes"]


def test_gray_images_among_color_ones_become_rgb(prepare, folder):
    Image.fromarray(GRAY).save(folder / "a.png")
    Image.fromarray(COLOR).save(folder / "b.png")
    summary, images = prepare(folder)
    np.testing.assert_array_equal(images, [np.repeat(GRAY[..., None], 3, axis=2), COLOR])
    assert "1 gray image made RGB like the others." in summary["notes"]


def test_color_images_become_gray_on_request(prepare, folder):
    Image.fromarray(COLOR).save(folder / "a.png")
    summary, (read,) = prepare(folder, "--grayscale")
    np.testing.assert_array_equal(read[..., 0], np.asarray(Image.fromarray(COLOR).convert("L")))
    assert "1 image converted to gray." in summary["notes"]


def test_8_and_16_bits_are_not_mixed(refuse, folder):
    Image.fromarray(GRAY).save(folder / "a.png")
    Image.fromarray(DEEP).save(folder / "b.png")
    assert "b.png has 16 bits per pixel and a.png has 8" in refuse(folder)


def test_folders_name_classes_and_splits(scripts, folder, tmp_path):
    for i, path in enumerate(["train/10/a", "train/9/deep/er/b", "test/9/c", "VAL/10/d"]):
        file = folder / f"{path}.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(np.full((2, 2), i, np.uint8)).save(file)
    for ignored in (".DS_Store", "train/9/._b.png", "train/9/Thumbs.db", "__MACOSX/._c.png"):
        (folder / ignored).parent.mkdir(exist_ok=True)
        (folder / ignored).write_bytes(b"x")
    (folder / "train" / "9" / "notes.txt").write_text("x")
    (folder / "empty").mkdir()
    arguments = ("pictures", "--from", folder, "--data-dir", tmp_path / "data")
    summary = scripts.answer("prepare_data", *arguments)["datasets"]["pictures"]
    assert summary["splits"] == {
        "train": {"rows": 2, "classes": {"9": 1, "10": 1}},
        "validation": {"rows": 1, "classes": {"9": 0, "10": 1}},
        "test": {"rows": 1, "classes": {"9": 1, "10": 0}},
    }
    assert "1 file left aside, not images: train/9/notes.txt." in summary["notes"]
    assert "Folders without images: empty." in summary["notes"]


def test_ambiguous_layouts_are_refused(refuse, folder):
    image = png_bytes(Image.fromarray(GRAY))
    (folder / "cat").mkdir()
    assert "has no images" in refuse(folder)
    (folder / "cat" / "notes.txt").write_text("x")
    assert "has no images; it has notes.txt" in refuse(folder)
    (folder / "cat" / "a.png").write_bytes(image)
    (folder / "b.png").write_bytes(image)
    assert "1 image next to 1 folder (b.png next to cat)" in refuse(folder)
    (folder / "b.png").unlink()
    (folder / "train").mkdir()
    (folder / "train" / "c.png").write_bytes(image)
    assert "folders of splits (train) next to other images: cat" in refuse(folder)


def test_a_single_subfolder_is_not_a_class(prepare, folder):
    (folder / "images").mkdir()
    Image.fromarray(GRAY).save(folder / "images" / "a.png")
    summary, _ = prepare(folder)
    assert "All images are in one folder, 'images', so they have no labels." in summary["notes"]


def test_a_class_folder_whose_name_cannot_be_a_class_is_refused(refuse, folder):
    for name in ("cat", "dog\nhouse"):
        (folder / name).mkdir()
        Image.fromarray(GRAY).save(folder / name / "a.png")
    assert "line break" in refuse(folder)


def test_table_options_do_not_fit_images(refuse, folder):
    Image.fromarray(GRAY).save(folder / "a.png")
    assert "--label is for tables" in refuse(folder, "--label", "x")


# Arrays.


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
def test_arrays_of_images(prepare, npz, array, expected):
    summary, read = prepare(npz(images=array, labels=np.array([0, 1, 0, 1, 1])))
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
        pytest.param({"images": IMAGES[:0]}, "has the shape (0, 4, 6)", id="none"),
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
def test_arrays_that_are_not_images_are_refused(refuse, npz, arrays, said):
    assert said in refuse(npz(**arrays))


def test_arrays_without_some_labels_are_left_out_where_asked(prepare, npz):
    summary, read = prepare(npz(images=IMAGES, labels=np.array([1, np.nan, 2, np.nan, 2])), "--skip-invalid")
    np.testing.assert_array_equal(read, IMAGES[[0, 2, 4]][..., None])
    assert summary["splits"]["train"] == {"rows": 3, "classes": {"1": 1, "2": 2}}
    assert summary["skipped"] == {"no label": 2}


def test_arrays_with_groups(scripts, refuse, npz, tmp_path):
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
    assert "'4' is in train and test" in refuse(torn, "--group", "patient")
    named = npz(images=images, patient=np.arange(20) // 4)
    assert "no array 'patients'; did you mean 'patient'?" in refuse(named, "--group", "patients")
    assert "one group for each of 20 images" in refuse(npz(images=images, patient=np.arange(4)), "--group", "patient")
    assert "no group: arrays.npz images[1]" in refuse(
        npz(images=images[:3], patient=np.array([0, np.nan, 1])), "--group", "patient"
    )


def assert_whole_groups(data, sizes):
    """Both splits have whole groups, of which `sizes` has the number of images."""
    found = {}
    for split in ("train", "test"):
        source = open_source("pictures", split, str(data))
        source.records.decoders = {"image": tfds.decode.SkipDecoding()}
        names = [record["group"].decode() for record in source.read(list(range(len(source))))]
        assert names
        for name in set(names):
            assert found.setdefault(name, names.count(name)) == sizes[name]
    assert found == sizes


def test_folders_with_groups(scripts, refuse, folder, tmp_path):
    for i in range(20):
        name = f"patient_{i // 2}_{'left' if i % 2 else 'right'}.png"
        path = folder / ("ill" if i // 2 % 2 else "well") / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(GRAY + np.uint8(i)).save(path)
    arguments = ("pictures", "--data-dir", tmp_path / "data", "--overwrite", "--from", folder, "--group")
    scripts.answer("prepare_data", *arguments, "patient_[0-9]+")
    assert_whole_groups(tmp_path / "data", {f"patient_{i}": 2 for i in range(10)})
    scripts.answer("prepare_data", *arguments, "patient_([0-9]+)")
    assert_whole_groups(tmp_path / "data", {str(i): 2 for i in range(10)})
    assert "is not a regular expression" in refuse(folder, "--group", "*")
    message = refuse(folder, "--group", "patient_[0-8]")
    assert "2 of 20 images are invalid" in message
    assert "'patient_[0-8]' matches nothing in the path: ill/patient_9_left.png, ill/patient_9_right.png" in message
    (folder / "well").rename(folder / "train")
    (folder / "ill").rename(folder / "test")
    assert "'left' is in train and test" in refuse(folder, "--group", "left|right")


def test_a_damaged_file_of_arrays_is_refused(refuse, npz, tmp_path):
    path = npz(images=IMAGES)
    path.write_bytes(path.read_bytes()[:200])
    assert "not a readable .npz file" in refuse(path)
