"""Looks for a dataset that is prepared, but not where or as it was asked for."""

import os
import re
from pathlib import Path

from lab10.config.registry import closest

# Folders in which to look for a dataset, at most.
MAX_FOLDERS = 200


def prepared_dataset_hint(name: str, root: Path) -> str:
    """Returns a sentence on what is prepared in and around a folder, and the options that name it, or an empty text.

    Args:
      name: the dataset that was asked for, as `NAME`, `NAME/CONFIG` or with `:VERSION`.
      root: the folder of prepared datasets in which it was not found.
    """
    base = re.split("[/:]", name)[0]
    if not re.fullmatch(r"[\w-]+", base):
        return ""
    for directory in (root, *root.parents[:3], *_folders_in(root)):
        if versions := _versions(directory / base):
            where = "there" if directory == root else f"in {directory}"
            options = "" if directory == root else f"--data.dir {directory} "
            return f"{', '.join(versions[:5])} is prepared {where}: {options}--data.name {versions[-1]}"
    names = [folder.name for folder in _folders_in(root) if _versions(folder)]
    shown = ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
    if names:
        return f"{root} contains {shown}{closest(base, names)}"
    for directory in root.parents[:3]:  # `root` may be in the folder of another dataset
        if versions := _versions(directory / root.relative_to(directory).parts[0]):
            return (
                f"{root} is in the folder of {versions[-1]}; expected the folder above that: "
                f"--data.dir {directory} --data.name {versions[-1]}"
            )
    return ""


def _versions(dataset: Path) -> list[str]:
    """Returns what the folder of a dataset contains, as `NAME:VERSION` or `NAME/CONFIG:VERSION`, sorted."""
    return sorted(
        f"{'/'.join(folder.relative_to(dataset.parent).parts[:-1])}:{folder.name}"
        for folder in (
            *_folders_in(dataset),
            *(inner for config in _folders_in(dataset) for inner in _folders_in(config)),
        )
        if re.fullmatch(r"\d+\.\d+\.\d+", folder.name) and os.path.isfile(folder / "dataset_info.json")
    )


def _folders_in(root: Path) -> list[Path]:
    try:
        return [path for path in sorted(root.iterdir())[:MAX_FOLDERS] if os.path.isdir(path)]
    except OSError:
        return []
