"""Decodes stored images with Pillow by the mode of each file.

TFDS's decoder for NumPy ignores the mode: it gives the indices of a palette as brightness and the low bytes of 16-bit
images, and it gives other pixels where OpenCV is installed.
"""

import io
import warnings

import numpy as np
from jaxtyping import UInt
from PIL import Image

from lab10.config.errors import first_line

# Formats that TFDS's encoders write, and others that a dataset may store unchanged.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
# Pillow's mode for a number of channels, with 8 bits each.
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def decode_image(stored: bytes, channels: int | None) -> UInt[np.ndarray, "height width channels"]:
    """Decodes an image to uint8, or to uint16 if the file holds 16 bits per pixel.

    Palettes become colors, 1-bit images become 0 and 255, and colors become gray under one channel, as TensorFlow does.

    Args:
      stored: the bytes of the file.
      channels: number of channels to convert to: gray, gray and alpha, RGB, RGBA; None: those of the file.

    Raises:
      ValueError: the image cannot be decoded without a loss that its reader would not notice; says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(stored), formats=FORMATS)
            image.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"an image that Pillow cannot read ({first_line(error, 100)})") from error
    except Image.DecompressionBombError as error:
        raise ValueError("an image of too many pixels") from error
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ValueError(f"an animated {image.format}; expected one picture per example")
    if image.mode.startswith("I"):
        return _decode_16_bits(image, channels)
    if image.mode == "F":
        raise ValueError("an image of floats (mode F); expected 8 or 16 bits per pixel")
    if image.mode in MODES.values() and "transparency" not in image.info:
        file_channels = len(image.getbands())
    else:
        file_channels = _channels_of(image)
        image = image.convert(MODES[file_channels])
    channels = channels or file_channels
    if channels in (1, 3) and file_channels in (2, 4) and image.getchannel("A").getextrema() != (255, 255):
        raise ValueError(
            f"a transparent image (mode {image.mode}), and the feature has {channels} channel(s); expected opaque ones"
        )
    return np.asarray(image.convert(MODES[channels])).reshape(image.height, image.width, channels)


def _channels_of(image: Image.Image) -> int:
    """Returns the number of channels that hold what an image of any mode shows."""
    is_gray = image.mode in ("1", "L", "LA", "La")
    return (1 if is_gray else 3) + image.has_transparency_data


def _decode_16_bits(image: Image.Image, channels: int | None) -> np.ndarray:
    if (channels or 1) != 1:
        raise ValueError(f"a gray image of 16 bits, and the feature has {channels} channels; expected one channel")
    pixels = np.asarray(image)
    if pixels.min(initial=0) < 0 or pixels.max(initial=0) > 65535:
        raise ValueError("an image of 32 bits per pixel; expected 8 or 16 bits")
    return pixels.astype(np.uint16)[..., None]


def decoding_loses_bits(stored: bytes) -> bool:
    """Returns whether Pillow reads only 8 of the bits of each channel: a PNG file with 16 bits per color."""
    return stored[:8] == b"\x89PNG\r\n\x1a\n" and len(stored) > 25 and stored[24] == 16 and stored[25] != 0


def is_8_bit_gray(stored: bytes) -> bool:
    """Returns whether a file holds a gray image of 8 bits per pixel, without a palette and transparency."""
    with Image.open(io.BytesIO(stored), formats=FORMATS) as image:
        return image.mode == "L" and "transparency" not in image.info
