"""Image files of all kinds: pixels are kept as in the file, or the file is refused by name."""

import io

import numpy as np
import pytest
from PIL import Image
from user_images import assert_whole_groups

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (4, 6), dtype=np.uint8)
COLOR = RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (4, 6), dtype=np.uint16)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


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
def test_pixels_of_each_kind(prepare_images, folder, kind):
    name, image, expected = KINDS[kind]
    image.save(folder / name, **({"lossless": True} if kind == "WebP" else {}))
    _, (read,) = prepare_images(folder)
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


def test_a_cmyk_jpeg_becomes_rgb(prepare_images, folder):
    Image.new("CMYK", (3, 2), (0, 255, 255, 0)).save(folder / "a.jpg")
    summary, (read,) = prepare_images(folder)
    assert read.shape == (2, 3, 3)
    assert (read[..., 0] > 200).all()
    assert (read[..., 1:] < 60).all()
    assert "1 image converted from CMYK to RGB." in summary["notes"]


def test_exif_turns_an_image(prepare_images, folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    (folder / "a.png").write_bytes(png_bytes(Image.fromarray(GRAY), exif=exif))
    summary, (read,) = prepare_images(folder)
    np.testing.assert_array_equal(read[..., 0], np.rot90(GRAY, -1))
    assert "1 image turned by EXIF." in summary["notes"]


TRANSPARENT = Image.fromarray(np.dstack([COLOR, np.where(GRAY > 127, 255, 0).astype(np.uint8)]))


def test_transparent_images_need_a_background(prepare_images, refuse_images, folder):
    TRANSPARENT.save(folder / "a.png")
    message = refuse_images(folder)
    assert "--background white" in message
    assert "a.png" in message
    assert "is not a color" in refuse_images(folder, "--background", "wihte")
    summary, (read,) = prepare_images(folder, "--background", "white")
    np.testing.assert_array_equal(read, np.where(GRAY[..., None] > 127, COLOR, 255))
    assert "1 image put on white." in summary["notes"]


def test_a_transparent_color_is_transparent_too(refuse_images, folder):
    (folder / "a.png").write_bytes(png_bytes(Image.fromarray(GRAY), transparency=int(GRAY[0, 0])))
    assert "transparent pixels" in refuse_images(folder)


def damaged_files(folder):
    whole = png_bytes(Image.fromarray(RANDOM.integers(0, 256, (40, 40), dtype=np.uint8)))
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("this is no image")
    (folder / "empty.png").write_bytes(b"")
    frames = [Image.fromarray(np.full((4, 6), i * 90, np.uint8)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(GRAY.astype(np.float32)).save(folder / "float.tif")


def test_damaged_and_ambiguous_files_are_refused_or_skipped_on_request(prepare_images, refuse_images, folder):
    damaged_files(folder)
    assert "No example is left." in refuse_images(folder, "--skip-invalid")
    Image.fromarray(GRAY).save(folder / "good.png")
    message = refuse_images(folder)
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
    summary, images = prepare_images(folder, "--skip-invalid")
    assert len(images) == 1
    assert sum(summary["skipped"].values()) == 5


def test_colors_of_16_bits_are_refused(refuse_images, folder):
    """Pillow would silently read only eight bits."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + bytes(12))) + chunk(b"IEND", b"")
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert "16 bits per color" in refuse_images(folder)


def test_images_of_different_sizes_are_refused_with_two_names_or_resized(prepare_images, refuse_images, folder):
    Image.fromarray(GRAY).save(folder / "a.png")
    Image.fromarray(GRAY[:2, :3]).save(folder / "b.png")
    message = refuse_images(folder)
    for said in ("a.png has 4 × 6", "b.png has 2 × 3", "--resize 4 6"):
        assert said in message
    assert "expected a height and a width" in refuse_images(folder, "--resize", 0, 3)
    summary, images = prepare_images(folder, "--resize", 2, 3)
    assert [image.shape for image in images] == [(2, 3, 1)] * 2
    np.testing.assert_array_equal(images[1][..., 0], GRAY[:2, :3])
    assert "1 image resized to 2 × 3, of which 0 had another aspect ratio." in summary["notes"]


def test_gray_images_among_color_ones_become_rgb(prepare_images, folder):
    Image.fromarray(GRAY).save(folder / "a.png")
    Image.fromarray(COLOR).save(folder / "b.png")
    summary, images = prepare_images(folder)
    np.testing.assert_array_equal(images, [np.repeat(GRAY[..., None], 3, axis=2), COLOR])
    assert "1 gray image made RGB like the others." in summary["notes"]


def test_color_images_become_gray_on_request(prepare_images, folder):
    Image.fromarray(COLOR).save(folder / "a.png")
    summary, (read,) = prepare_images(folder, "--grayscale")
    np.testing.assert_array_equal(read[..., 0], np.asarray(Image.fromarray(COLOR).convert("L")))
    assert "1 image converted to gray." in summary["notes"]


def test_8_and_16_bits_are_not_mixed(refuse_images, folder):
    Image.fromarray(GRAY).save(folder / "a.png")
    Image.fromarray(DEEP).save(folder / "b.png")
    assert "b.png has 16 bits per pixel and a.png has 8" in refuse_images(folder)


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


def test_ambiguous_layouts_are_refused(refuse_images, folder):
    image = png_bytes(Image.fromarray(GRAY))
    (folder / "cat").mkdir()
    assert "has no images" in refuse_images(folder)
    (folder / "cat" / "notes.txt").write_text("x")
    assert "has no images; it has notes.txt" in refuse_images(folder)
    (folder / "cat" / "a.png").write_bytes(image)
    (folder / "b.png").write_bytes(image)
    assert "1 image next to 1 folder (b.png next to cat)" in refuse_images(folder)
    (folder / "b.png").unlink()
    (folder / "train").mkdir()
    (folder / "train" / "c.png").write_bytes(image)
    assert "folders of splits (train) next to other images: cat" in refuse_images(folder)


def test_a_single_subfolder_is_not_a_class(prepare_images, folder):
    (folder / "images").mkdir()
    Image.fromarray(GRAY).save(folder / "images" / "a.png")
    summary, _ = prepare_images(folder)
    assert "All images are in one folder, 'images', so they have no labels." in summary["notes"]


def test_a_class_folder_whose_name_cannot_be_a_class_is_refused(refuse_images, folder):
    for name in ("cat", "dog\nhouse"):
        (folder / name).mkdir()
        Image.fromarray(GRAY).save(folder / name / "a.png")
    assert "line break" in refuse_images(folder)


def test_table_options_do_not_fit_images(refuse_images, folder):
    Image.fromarray(GRAY).save(folder / "a.png")
    assert "--label is for tables" in refuse_images(folder, "--label", "x")


def test_folders_with_groups(scripts, refuse_images, folder, tmp_path):
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
    assert "is not a regular expression" in refuse_images(folder, "--group", "*")
    message = refuse_images(folder, "--group", "patient_[0-8]")
    assert "2 of 20 images are invalid" in message
    assert "'patient_[0-8]' matches nothing in the path: ill/patient_9_left.png, ill/patient_9_right.png" in message
    (folder / "well").rename(folder / "train")
    (folder / "ill").rename(folder / "test")
    assert "'left' is in train and test" in refuse_images(folder, "--group", "left|right")
