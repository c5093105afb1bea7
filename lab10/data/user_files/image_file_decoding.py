"""Decodes an image file into pixels, or says why its pixels would be ambiguous."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from lab10.data.user_files.options import PrepareOptions
from lab10.data.user_files.problems import Invalid

# Some of Pillow's other formats run programs.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".ppm", ".pnm"),
)
MAX_PIXELS = 2**24


@dataclasses.dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes:
      pixels: uint8 or uint16 [height, width] if gray, uint8 [height, width, 3] if color.
      changes: what was changed to get there, for the summary: `turned by EXIF`.
    """

    pixels: np.ndarray
    changes: tuple[str, ...]


def decode(path: Path, options: PrepareOptions) -> DecodedImage:
    """Decodes an image file. Color palettes become colors, two-valued images 0 and 255.

    Raises:
      Invalid: the file is damaged, or its pixels cannot be kept as they are.
    """
    if isinstance(path, Path) and path.is_symlink() and not path.exists():
        raise Invalid("a link to a file that does not exist")
    Image.init()  # Pillow knows TIFF and WebP only then
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _require_supported(image)
                image.load()
                changes = ("turned by EXIF",) if _has_exif_rotation(image) else ()
                return _convert(ImageOps.exif_transpose(image), str(image.format), options, changes)
    except UnidentifiedImageError as error:
        raise Invalid("not an image, or damaged") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Invalid(f"more than {MAX_PIXELS:,} pixels") from error
    except Invalid:
        raise
    except Exception as error:  # Pillow's decoders may raise anything for damaged files
        raise Invalid("damaged or truncated") from error


def _has_exif_rotation(image: Any) -> bool:
    return image.getexif().get(0x0112, 1) in range(2, 9)


def _require_supported(image: Any) -> None:
    """Raises Invalid if the image has several frames, or more pixels or bits than are supported."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a JPEG file of a phone, with a second picture for depth
        raise Invalid(f"{frames} frames instead of one")
    if image.width * image.height > MAX_PIXELS:
        raise Invalid(f"more than {MAX_PIXELS:,} pixels")
    if image.mode in ("RGB", "RGBA", "LA") and _has_16_bit_colors(image):
        raise Invalid("16 bits per color, of which 8 would be lost; convert it to 8 bits")


def _has_16_bit_colors(image: Any) -> bool:
    """Whether Pillow would reduce 16 bits per color to 8: the raw mode is `RGB;16B`, or a PPM's maximum exceeds 255."""
    for tile in image.tile:
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(argument, str) and ";16" in argument for argument in arguments):
            return True
        if image.format == "PPM" and any(isinstance(argument, int) and argument > 255 for argument in arguments[1:2]):
            return tile[0] != "raw"
    return False


def _convert(image: Any, file_format: str, options: PrepareOptions, changes: tuple[str, ...]) -> DecodedImage:
    is_palette = image.mode in ("P", "PA")
    # Pillow reads a 16-bit PGM file as mode I.
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        if "transparency" in image.info:
            raise Invalid("a transparent gray value among 16 bits; remove the transparency")
        return DecodedImage(np.asarray(image).astype(np.uint16), changes)
    if image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floating-point numbers"
        raise Invalid(f"pixels are {kind}; convert them to 8 or 16 bits")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image, changes = _without_alpha(image, options, changes)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGB")
    elif image.mode not in ("L", "RGB"):
        changes = (*changes, f"converted from {image.mode} to RGB")
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if is_palette and image.mode == "RGB" and (pixels == pixels[..., :1]).all():
        return DecodedImage(pixels[..., 0], changes)
    if options.grayscale and image.mode == "RGB":
        changes = (*changes, "converted to gray")
        image = image.convert("L")  # ITU-R 601-2 luma
    return DecodedImage(np.asarray(image), changes)


def _without_alpha(image: Any, options: PrepareOptions, changes: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Returns the image without its alpha channel.

    Raises:
      Invalid: pixels are transparent, and no background is given.
    """
    gray = image.mode in ("LA", "La", "L", "1")
    image = image.convert("RGBA")
    if image.getextrema()[3][0] == 255:
        return image.convert("L" if gray else "RGB"), (*changes, "without their opaque alpha channel")
    if options.background is None:
        raise Invalid("transparent pixels; name the color behind them, for example --background white")
    color = ImageColor.getrgb(options.background)[:3]
    image = Image.alpha_composite(Image.new("RGBA", image.size, (*color, 255)), image).convert("RGB")
    if gray and len(set(color)) == 1:
        image = image.convert("L")
    return image, (*changes, f"put on {options.background}")


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns an image of height and width `size`, with the same type; bilinear, with antialiasing."""
    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    image = Image.fromarray(pixels.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.round(np.asarray(image)), 0, 65535).astype(np.uint16)
