"""Examples from images: folders of image files, or arrays."""

import collections
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from lab10.config.errors import UserError
from lab10.data.tfds_import import import_tfds
from lab10.data.user_files.class_names import classes_of, group_text, label_text
from lab10.data.user_files.examples import Examples, SourceFile
from lab10.data.user_files.image_file_decoding import DecodedImage, decode, resize
from lab10.data.user_files.image_files import ImageFile, find_images
from lab10.data.user_files.options import PrepareOptions
from lab10.data.user_files.problems import Invalid, Problems, counted
from lab10.data.user_files.progress_bar import progress


def read_folders(sources: Sequence[SourceFile], options: PrepareOptions) -> Examples:
    """Reads the images of folders. Each image is decoded twice: to check it, and to write it.

    Raises:
      UserError: a folder has no images or an ambiguous layout, or images are invalid, lack a group or differ in size.
    """
    files, notes = find_images(list(sources))
    pattern = None if options.group is None else _compile_group_pattern(options.group)
    problems = Problems("image")
    valid: list[ImageFile] = []
    groups: list[str] = []
    survey = ImageSurvey(options)
    with progress("checking", len(files), every=1) as advance:
        for file in files:
            try:
                group = None if pattern is None else _group(file, pattern)
                survey.add(file.name, decode(file.path, options))
                valid.append(file)
                groups += [] if group is None else [group]
            except Invalid as reason:
                problems.add(file.name, str(reason))
            advance(1)
    skipped = problems.counts_or_raise(len(files), options.skip_invalid)

    def pixels_of(index: int) -> np.ndarray:
        try:
            pixels = decode(valid[index].path, options).pixels
        except Invalid as reason:
            raise UserError(f"{valid[index].path} changed while it was read: {reason}.") from reason
        if _digest(pixels) != survey.digests[index]:
            raise UserError(f"{valid[index].path} changed while it was read. Run the command again.")
        return pixels

    labels = None if files[0].class_name is None else [_class_name(file) for file in valid]
    splits = None if files[0].split is None else [str(file.split) for file in valid]
    return survey.to_examples(pixels_of, labels, None if pattern is None else groups, splits, skipped, notes)


def _compile_group_pattern(group: str) -> re.Pattern[str]:
    try:
        return re.compile(group)
    except re.error as error:
        raise UserError(
            f"--group {group!r} is not a regular expression ({error}). For images, --group is one that finds the group "
            "in each path, for example --group 'patient_[0-9]+'"
        ) from error


def _group(file: ImageFile, pattern: re.Pattern[str]) -> str:
    """Returns what a pattern finds in the path of an image: its first group, if it has one."""
    found = pattern.search(file.name)
    if found is None:
        raise Invalid(f"--group {pattern.pattern!r} matches nothing in the path")
    return group_text(found[1 if pattern.groups else 0])


def _class_name(file: ImageFile) -> str:
    try:
        return label_text(file.class_name, ())
    except Invalid as reason:
        raise UserError(f"The folder of {file.path} cannot name a class: {reason}. Rename it.") from reason


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(f"{pixels.dtype} {pixels.shape}".encode() + pixels.tobytes()).digest()


class ImageSurvey:
    """Statistics of all images, collected in one pass: sizes, channels, types, and what was changed."""

    def __init__(self, options: PrepareOptions):
        self._options = options
        self.digests: list[bytes] = []
        # The first image of each size, number of channels and type, and how many there are.
        self._seen: dict[tuple[tuple[int, ...], str], tuple[str, int]] = {}
        self._changes: collections.Counter[str] = collections.Counter()

    def add(self, name: str, image: DecodedImage) -> None:
        """Records an image, which is called `name` in messages."""
        key = (image.pixels.shape, image.pixels.dtype.name)
        first, count = self._seen.get(key, (name, 0))
        self._seen[key] = first, count + 1
        self._changes.update(image.changes)
        self.digests.append(_digest(image.pixels))

    def to_examples(
        self,
        pixels_of: Callable[[int], np.ndarray],
        labels: Sequence[str] | None,
        groups: list[str] | None,
        splits: list[str] | None,
        skipped: dict[str, int],
        notes: Iterable[str] = (),
    ) -> Examples:
        """Returns the examples of all images.

        Args:
          pixels_of: returns the pixels of an image, as they were given to `add`.
          labels: class of each image; None without classes.
          groups: group of each image; None without groups.
          splits: split of each image; None if they are not split yet.
          skipped: number of invalid images by reason.
          notes: notes to which these examples add their own.

        Raises:
          UserError: the images differ in size or in type.
        """
        height, width = self._size()
        channels, dtype = self._channels_and_dtype()
        names, classes = classes_of(labels) if labels is not None else ((), np.zeros(len(self.digests), np.int64))
        tfds = import_tfds()
        features: dict[str, Any] = {
            "image": tfds.features.Image(shape=(height, width, channels), dtype=np.dtype(dtype).type)
        }
        if names:
            features["label"] = tfds.features.ClassLabel(names=names)
        if groups is not None:
            features["group"] = tfds.features.Text()

        def read(index: int) -> dict[str, Any]:
            pixels = resize(pixels_of(index), (height, width))
            if channels == 3 and pixels.ndim == 2:
                pixels = np.repeat(pixels[..., None], 3, axis=2)
            return {"image": png(pixels)}

        return Examples(
            modality="images",
            features=features,
            conversion=f"{height} {width} {channels} {dtype}",
            read=read,
            digests=self.digests,
            class_names=names,
            class_ids=classes,
            groups=groups,
            splits=splits,
            skipped=skipped,
            sizes={"height": height, "width": width, "channels": channels, "dtype": dtype},
            notes=(*notes, *self._notes(channels)),
        )

    def _size(self) -> tuple[int, int]:
        if self._options.resize is not None:
            return self._options.resize
        sizes: dict[tuple[int, ...], tuple[str, int]] = {}
        for (shape, _), (first, count) in self._seen.items():
            name, others = sizes.get(shape[:2], (first, 0))
            sizes[shape[:2]] = name, others + count
        if len(sizes) > 1:
            (one, (name, _)), (other, (other_name, _)) = sorted(sizes.items(), key=lambda item: -item[1][1])[:2]
            raise UserError(
                f"The images have {len(sizes):,} different sizes (height × width): {name} has {one[0]} × {one[1]}, "
                f"{other_name} has {other[0]} × {other[1]}; expected one size.\n"
                f"Scale all of them to one size, for example --resize {one[0]} {one[1]}"
            )
        height, width = next(iter(sizes))
        return height, width

    def _channels_and_dtype(self) -> tuple[int, str]:
        shapes = {(len(shape), dtype): first for (shape, dtype), (first, _) in self._seen.items()}
        deep = shapes.get((2, "uint16"))
        if deep is not None and len(shapes) > 1:
            other = next(first for key, first in shapes.items() if key != (2, "uint16"))
            raise UserError(
                f"{deep} has 16 bits per pixel and {other} has 8; expected one type.\n"
                "Convert all images to 8 or all to 16 bits per pixel."
            )
        return (3 if any(dimensions == 3 for dimensions, _ in shapes) else 1), "uint8" if deep is None else "uint16"

    def _notes(self, channels: int) -> Iterable[str]:
        gray = sum(count for (shape, _), (_, count) in self._seen.items() if len(shape) == 2)
        if channels == 3 and gray:
            yield f"{counted(gray, 'gray image')} made RGB like the others."
        for change, count in sorted(self._changes.items()):
            yield f"{counted(count, 'image')} {change}."
        if self._options.resize is not None:
            height, width = self._options.resize
            resized = [(shape, n) for (shape, _), (_, n) in self._seen.items() if shape[:2] != (height, width)]
            stretched = sum(n for shape, n in resized if abs(shape[0] * width - shape[1] * height) > max(height, width))
            yield (
                f"{counted(sum(n for _, n in resized), 'image')} resized to {height} × {width}, "
                f"of which {stretched:,} had another aspect ratio."
            )


def png(pixels: np.ndarray) -> io.BytesIO:
    """Returns an image as a PNG file: TFDS would need TensorFlow to encode arrays."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    file.seek(0)
    return file
