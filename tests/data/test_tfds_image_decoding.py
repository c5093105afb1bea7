"""Stored images of every mode, as pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from lab10.data.tfds_image_decoding import decode_image, decoding_loses_bits, is_8_bit_gray

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (3, 4), np.uint8)
COLORS = RANDOM.integers(0, 256, (3, 4, 3), np.uint8)


def stored(image, file_format="PNG", **options):
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, format=file_format, **options)
    return file.getvalue()


def with_alpha(image, alpha):
    image = Image.fromarray(image)
    image.putalpha(alpha)
    return image


def test_gray_and_color_are_read_as_stored():
    np.testing.assert_array_equal(decode_image(stored(GRAY), 1), GRAY[..., None])
    np.testing.assert_array_equal(decode_image(stored(COLORS), 3), COLORS)
    for image in (GRAY, COLORS):
        assert decode_image(stored(image), None).shape == np.atleast_3d(image).shape
        assert decode_image(stored(image), 1).dtype == np.uint8


def test_a_palette_gives_its_colors_and_not_its_indices():
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    palette.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90])
    np.testing.assert_array_equal(decode_image(stored(palette), 1)[..., 0], [[200, 10, 90]])
    np.testing.assert_array_equal(decode_image(stored(palette), 3), np.repeat([[[200], [10], [90]]], 3, axis=2))
    assert decode_image(stored(palette), None).shape == (1, 3, 3)


def test_one_bit_becomes_black_and_white():
    bits = Image.fromarray(GRAY > 127)
    assert bits.mode == "1"
    np.testing.assert_array_equal(decode_image(stored(bits), 1)[..., 0], 255 * (GRAY > 127))


def test_sixteen_bits_are_kept():
    pixels = RANDOM.integers(0, 65536, (3, 4), np.uint16)
    decoded = decode_image(stored(pixels), 1)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded[..., 0], pixels)
    np.testing.assert_array_equal(decode_image(stored(pixels, "TIFF"), None)[..., 0], pixels)
    with pytest.raises(ValueError, match="16 bits, and the feature has 3 channels"):
        decode_image(stored(pixels), 3)


def test_colors_under_one_channel_become_gray():
    gray = np.repeat(GRAY[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode_image(stored(gray), 1)[..., 0], GRAY)
    luma = COLORS @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(decode_image(stored(COLORS), 1)[..., 0], luma, atol=1)


def test_alpha_is_dropped_only_if_everything_is_opaque():
    for image in (GRAY, COLORS):
        channels = np.atleast_3d(image).shape[-1]
        np.testing.assert_array_equal(decode_image(stored(with_alpha(image, 255)), channels), np.atleast_3d(image))
        clear = stored(with_alpha(image, 3))
        with pytest.raises(ValueError, match=r"transparent image \(mode (LA|RGBA)\), and the feature has"):
            decode_image(clear, channels)
        decoded = decode_image(clear, None)
        assert decoded.shape[-1] == channels + 1
        np.testing.assert_array_equal(decoded[..., -1], 3)
    marked = stored(Image.fromarray(GRAY), transparency=int(GRAY[0, 0]))
    with pytest.raises(ValueError, match="transparent"):
        decode_image(marked, 1)


def test_an_unreadable_image_is_refused_with_the_reason():
    frames = [Image.fromarray(GRAY), Image.fromarray(GRAY.T.copy().reshape(3, 4))]
    for content, words in (
        (b"no image", "cannot read"),
        (stored(COLORS)[:60], "cannot read"),
        (stored(GRAY.astype(np.float32), "TIFF"), "floats"),
        (stored(GRAY.astype(np.int32) - 300, "TIFF"), "32 bits"),
        (stored(frames[0], "GIF", save_all=True, append_images=frames[1:]), "animated GIF"),
    ):
        with pytest.raises(ValueError, match=words):
            decode_image(content, 1)


def test_file_types_are_detected_from_headers():
    assert is_8_bit_gray(stored(GRAY))
    assert not any(map(is_8_bit_gray, (stored(COLORS), stored(GRAY > 127), stored(GRAY.astype(np.uint16)))))
    header = bytearray(stored(COLORS))
    header[24] = 16
    assert decoding_loses_bits(bytes(header))
    assert not any(map(decoding_loses_bits, (stored(COLORS), stored(GRAY.astype(np.uint16)), stored(COLORS, "JPEG"))))
