"""Examples from `.npz` files of arrays, such as Keras's `mnist.npz`."""

from collections.abc import Mapping, Sequence

import numpy as np

from lab10.data.own_files.class_names import label_text
from lab10.data.own_files.decoding import DecodedImage
from lab10.data.own_files.examples import SPLIT_NAMES, Examples, SourceFile
from lab10.data.own_files.image_examples import Survey
from lab10.data.own_files.options import PrepareOptions
from lab10.data.own_files.problems import Invalid, Problems
from lab10.errors import UserError

_IMAGES, _LABELS = ("images", "x"), ("labels", "y")


def read_arrays(sources: Sequence[SourceFile], options: PrepareOptions) -> Examples:
    """Reads images and labels from `.npz` files.

    Raises:
      UserError: a file is damaged or has other arrays, or the arrays are no images.
    """
    images: list[np.ndarray] = []
    labels: list[str] = []
    splits: list[str | None] = []
    labelled: set[bool] = set()
    for source in sources:
        for split, pixels, classes in _load(source):
            images.append(pixels)
            labelled.add(classes is not None)
            labels += classes or []
            splits += [split] * len(pixels)
    if len(labelled) > 1:
        raise UserError("Some of the arrays of images have labels and others do not; expected labels for each of them.")
    if len({split is None for split in splits}) > 1:
        raise UserError("Some of the arrays name a split and others do not; name a split for each: --from train=…")
    starts = np.cumsum([0, *map(len, images)])

    def pixels_of(index: int) -> np.ndarray:
        array = int(np.searchsorted(starts, index, side="right")) - 1
        return images[array][index - starts[array]]

    survey = Survey(options)
    for index in range(len(splits)):
        survey.add(f"image {index}", DecodedImage(pixels_of(index), ()))
    given = None if splits[0] is None else [str(split) for split in splits]
    return survey.examples(pixels_of, labels if labelled == {True} else None, given, {})


def _load(source: SourceFile) -> list[tuple[str | None, np.ndarray, list[str] | None]]:
    """Returns the split, the images and the labels of each array of images in a file."""
    path = source.path
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
    pairs = _pairs(arrays)
    if not pairs:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise UserError(
            f"{path} has no images. Its arrays are {shapes or 'none'}.\n"
            "Expected images and labels; or x_train, y_train, x_test and y_test; or train_images, train_labels, …"
        )
    loaded = []
    for split, name, label_name in pairs:
        pixels = _pixels(f"{name} of {path}", arrays[name])
        labels = None if label_name is None else _labels(f"{label_name} of {path}", arrays[label_name], len(pixels))
        if split is not None and source.split is not None and split != source.split:
            raise UserError(f"{path} was given as {source.split}, but its array {name} belongs to {split}.")
        loaded.append((split or source.split, pixels, labels))
    return loaded


def _pairs(arrays: Mapping[str, np.ndarray]) -> list[tuple[str | None, str, str | None]]:
    """Returns the split, the array of images and the array of labels, for every array of images."""
    pairs: list[tuple[str | None, str, str | None]] = []
    for images, labels in zip(_IMAGES, _LABELS, strict=True):
        if images in arrays:
            pairs.append((None, images, labels if labels in arrays else None))
        for name in arrays:
            for split in SPLIT_NAMES:
                if name in (f"{images}_{split}", f"{split}_{images}"):
                    label_name = f"{labels}_{split}" if name == f"{images}_{split}" else f"{split}_{labels}"
                    pairs.append((SPLIT_NAMES[split], name, label_name if label_name in arrays else None))
    return pairs


def _pixels(name: str, array: np.ndarray) -> np.ndarray:
    """Returns images as uint8 or uint16 [images, height, width] or [images, height, width, 3].

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
    if array.ndim not in (3, 4) or advice or min(shape) == 0:
        raise UserError(
            f"{name} has the shape {shape}; expected [images, height, width] or [images, height, width, 1 or 3].\n"
            f"{advice}".strip()
        )
    array = _integers(name, array)
    if array.ndim == 4 and array.dtype == np.uint16 and shape[3] == 3:
        raise UserError(f"{name} has color images of 16 bits; expected 8 bits: (images // 257).astype(np.uint8)")
    return array[..., 0] if array.ndim == 4 and shape[3] == 1 else array


def _integers(name: str, array: np.ndarray) -> np.ndarray:
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
    return array.astype(np.uint8 if largest <= 255 and array.dtype != np.uint16 else np.uint16)


def _labels(name: str, array: np.ndarray, images: int) -> list[str]:
    """Returns labels as words.

    Raises:
      UserError: they are no labels of so many images.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != images:
        advice = "\nFor one-hot labels: labels.argmax(axis=1)" if array.ndim == 2 else ""
        raise UserError(
            f"{name} has the shape {array.shape}; expected one label for each of {images:,} images.{advice}"
        )
    problems = Problems("label")
    labels = []
    for index, value in enumerate(array.tolist()):
        try:
            labels.append(label_text(value.decode() if isinstance(value, bytes) else value, ()))
        except (Invalid, UnicodeDecodeError) as reason:
            problems.add(f"{name} {index}", str(reason))
    problems.settle(len(array), skip=False)
    return labels
