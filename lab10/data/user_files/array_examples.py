"""Examples from `.npz` files of arrays, such as Keras's `mnist.npz`."""

import dataclasses
import zipfile
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lab10.config.errors import UserError
from lab10.config.registry import closest
from lab10.data.user_files.class_names import group_text, label_text
from lab10.data.user_files.examples import SPLIT_NAMES, Examples, SourceFile
from lab10.data.user_files.image_examples import ImageSurvey
from lab10.data.user_files.image_file_decoding import DecodedImage
from lab10.data.user_files.options import PrepareOptions
from lab10.data.user_files.problems import Invalid, Problems, listed

_IMAGES, _LABELS = ("images", "x"), ("labels", "y")


@dataclasses.dataclass(frozen=True)
class _Images:
    """An array of images with its name and split, and the label and the group of each image, or why it has none."""

    name: str
    split: str | None
    pixels: np.ndarray
    labels: Sequence[str | Invalid] | None
    groups: Sequence[str | Invalid] | None


def read_arrays(sources: Sequence[SourceFile], options: PrepareOptions) -> Examples:
    """Reads images, with their labels and groups, from `.npz` files.

    Raises:
      UserError: a file is damaged or has other arrays, the arrays are not images, or labels or groups are missing.
    """
    notes: list[str] = []
    arrays = [images for source in sources for images in _load(source, options.group, notes)]
    if len({images.labels is None for images in arrays}) > 1:
        raise UserError("Some of the arrays of images have labels and others do not; expected labels for each of them.")
    if len({images.split is None for images in arrays}) > 1:
        raise UserError("Some of the arrays name a split and others do not; name a split for each: --from train=…")
    problems = Problems("image")
    survey = ImageSurvey(options)
    pixels: list[np.ndarray] = []
    labels: list[str] = []
    groups: list[str] = []
    splits: list[str] = []
    for images in arrays:
        for index in range(len(images.pixels)):
            texts = [values[index] for values in (images.labels, images.groups) if values is not None]
            reason = next((text for text in texts if isinstance(text, Invalid)), None)
            if reason is not None:
                problems.add(f"{images.name}[{index}]", str(reason))
                continue
            survey.add(f"image {len(pixels)}", DecodedImage(images.pixels[index], ()))
            pixels.append(images.pixels[index])  # a view
            labels += [] if images.labels is None else [str(images.labels[index])]
            groups += [] if images.groups is None else [str(images.groups[index])]
            splits += [] if images.split is None else [images.split]
    skipped = problems.counts_or_raise(sum(len(images.pixels) for images in arrays), options.skip_invalid)
    return survey.to_examples(pixels.__getitem__, labels or None, groups or None, splits or None, skipped, notes)


def _load(source: SourceFile, group: str | None, notes: list[str]) -> list[_Images]:
    """Returns the images of each array of images in a file, with the arrays of labels and of the group.

    Adds to the notes which arrays are not used.
    """
    path = source.path
    if path.is_file() and not zipfile.is_zipfile(path):
        raise UserError(
            f"{path} is not a readable .npz file: it is not a zip archive. Save the arrays with numpy.savez."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path} has an array of Python objects, which could run code when read. "
                "Save the arrays with a numeric type, and words with dtype str."
            ) from error
        raise UserError(f"{path} is not a readable .npz file: {str(error)[:200]}") from error
    except Exception as error:  # zipfile.BadZipFile, zlib.error
        raise UserError(f"{path} is not a readable .npz file: {str(error)[:200]}") from error
    related = _related(arrays, group)
    if not related:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise UserError(
            f"{path} has no images. Its arrays are {shapes or 'none'}.\n"
            "Expected images and labels; or x_train, y_train, x_test and y_test; or train_images, train_labels, …"
        )
    names = ", ".join(name for _, name, *_ in related)
    if len(related) > len({split for split, *_ in related}):
        raise UserError(
            f"{path} has several arrays of images for one split: {names}.\n"
            "Save those that belong together in a file of their own, and prepare that file."
        )
    unused = sorted(set(arrays) - {name for one in related for name in one[1:]})
    if unused:
        notes.append(f"{path.name} has arrays that are not used: {listed(unused)}.")
    images = [arrays[name] for _, name, *_ in related]
    types_of_16_bits = {array.dtype for array in images if array.dtype.kind in "iu" and array.max(initial=0) > 255}
    loaded = []
    for split, name, label_name, group_name in related:
        pixels = _pixels(f"{name} of {path}", arrays[name], arrays[name].dtype in types_of_16_bits)
        labels = groups = None
        if label_name is not None:
            labels = _texts(f"{label_name} of {path}", "label", arrays[label_name], len(pixels), _label_text)
        if group_name is not None:
            if group_name not in arrays:
                raise UserError(
                    f"{path} has no array {group_name!r}{closest(group_name, arrays)} --group {group} names an array "
                    f"with a group for each image of {name}. Its arrays are {', '.join(arrays)}."
                )
            groups = _texts(f"{group_name} of {path}", "group", arrays[group_name], len(pixels), group_text)
        if split is not None and source.split is not None and split != source.split:
            raise UserError(f"{path} was given as {source.split}, but its array {name} belongs to {split}.")
        loaded.append(_Images(f"{path.name} {name}", split or source.split, pixels, labels, groups))
    return loaded


def _related(
    arrays: Mapping[str, np.ndarray], group: str | None
) -> list[tuple[str | None, str, str | None, str | None]]:
    """Returns the split, the array of images, that of labels and that of groups, for every array of images.

    The array of groups is named by `group` as that of labels is by `labels`: in `patient_test` are those of `x_test`.
    """
    related: list[tuple[str | None, str, str | None, str | None]] = []
    for images, labels in zip(_IMAGES, _LABELS, strict=True):
        if images in arrays:
            related.append((None, images, labels if labels in arrays else None, group))
        for name in arrays:
            for split in SPLIT_NAMES:
                for form in (f"{{}}_{split}", f"{split}_{{}}"):
                    if name == form.format(images):
                        label_name = form.format(labels)
                        group_name = None if group is None else form.format(group)
                        related.append(
                            (SPLIT_NAMES[split], name, label_name if label_name in arrays else None, group_name)
                        )
    return related


def _pixels(name: str, array: np.ndarray, is_16_bit: bool) -> np.ndarray:
    """Returns images as uint8 or uint16 [images, height, width] or [images, height, width, 3].

    Args:
      name: the array, for messages.
      array: the images.
      is_16_bit: whether an array of this type in the same file has values above 255.

    Raises:
      UserError: the array is not one of images, or its values would be changed.
    """
    shape = array.shape
    advice = ""
    if array.ndim == 2:
        side = round(shape[1] ** 0.5)
        rows = f"{side}, {side}" if side * side == shape[1] else "HEIGHT, WIDTH"
        advice = f"For rows of pixels: images.reshape(-1, {rows})"
    elif array.ndim == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        advice = "If channels come first, move them: images.transpose(0, 2, 3, 1)"
    elif array.ndim == 4 and shape[3] not in (1, 3):
        advice = "Images have 1 or 3 channels; drop an alpha channel with images[..., :3]"
    if array.ndim in (3, 4) and shape[0] == 0:
        raise UserError(f"{name} has the shape {shape}; expected at least one image.")
    if array.ndim not in (3, 4) or advice or min(shape) == 0:
        raise UserError(
            f"{name} has the shape {shape}; expected [images, height, width] or [images, height, width, 1 or 3].\n"
            f"{advice}".strip()
        )
    array = _integers(name, array, is_16_bit)
    if array.ndim == 4 and array.dtype == np.uint16 and shape[3] == 3:
        raise UserError(f"{name} has color images of 16 bits; expected 8 bits: (images // 257).astype(np.uint8)")
    return array[..., 0] if array.ndim == 4 and shape[3] == 1 else array


def _integers(name: str, array: np.ndarray, is_16_bit: bool) -> np.ndarray:
    """Returns the values as uint8 or uint16, if they can be that without a change."""
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise UserError(f"{name} has the type {array.dtype}; expected integers, booleans, or floats in [0, 1].")
    smallest, largest = array.min(), array.max()
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise UserError(f"{name} has values that are not finite; expected pixels.")
    if array.dtype.kind == "f":
        scaled = array.astype(np.float64) * (255 if largest <= 1 else 1)
        if smallest < 0 or largest > 255 or np.abs(scaled - np.round(scaled)).max() > 1e-3:
            raise UserError(
                f"{name} has floats from {smallest:.4g} to {largest:.4g} that are not whole pixel values; expected "
                "multiples of 1/255 in [0, 1], or whole numbers up to 255.\nScale them to [0, 1] and round yourself: "
                "np.round(images * 255).astype(np.uint8), or with 65535 and np.uint16 for single-channel images."
            )
        return np.round(scaled).astype(np.uint8)
    if smallest < 0 or largest > 65535:
        raise UserError(f"{name} has values from {smallest} to {largest}; expected 0 to 255, or 0 to 65535.")
    if largest == 1:
        raise UserError(
            f"{name} has only the values 0 and 1, nearly black among 255; if 1 is white, save (images == 1)."
        )
    return array.astype(np.uint16 if is_16_bit or array.dtype == np.uint16 else np.uint8)


def _texts(
    name: str, noun: str, array: np.ndarray, images: int, text_of: Callable[[object], str]
) -> list[str | Invalid]:
    """Returns the label or the group of each image as text, or why an image has none.

    Raises:
      UserError: the array does not have one for each of so many images.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != images:
        advice = "\nFor one-hot labels: labels.argmax(axis=1)" if array.ndim == 2 and noun == "label" else ""
        raise UserError(
            f"{name} has the shape {array.shape}; expected one {noun} for each of {images:,} images.{advice}"
        )
    texts: list[str | Invalid] = []
    for value in array.tolist():
        try:
            texts.append(text_of(value.decode() if isinstance(value, bytes) else value))
        except UnicodeDecodeError as error:
            texts.append(Invalid(f"the {noun} is not valid UTF-8 ({error.reason})"))
        except Invalid as reason:
            texts.append(reason)
    return texts


def _label_text(value: object) -> str:
    return label_text(value, ())
