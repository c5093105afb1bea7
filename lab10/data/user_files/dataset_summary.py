"""Describes a prepared dataset: as a JSON object, and as text."""

import collections
import shlex
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from lab10.data.user_files.examples import Examples
from lab10.data.user_files.problems import counted, listed

SHOWN_CLASSES = 20


def summarize(examples: Examples, splits: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns the rows and classes of each split, lengths or sizes, skipped rows, duplicates and notes."""
    described = {}
    for name, indices in splits.items():
        counts = np.bincount(examples.class_ids[indices], minlength=len(examples.class_names)).tolist()
        classes = dict(zip(examples.class_names, counts, strict=False))
        described[name] = {"rows": len(indices)} | ({"classes": classes} if classes else {})
    summary = {"modality": examples.modality, "splits": described} | examples.sizes | {"skipped": examples.skipped}
    if examples.groups is not None:
        summary["groups"] = {
            name: len({examples.groups[index] for index in indices.tolist()}) for name, indices in splits.items()
        }
    summary["duplicates"] = duplicates(examples, splits)
    return summary | {"notes": [*examples.notes, *_notes(examples, splits, summary)]}


def duplicates(examples: Examples, splits: dict[str, np.ndarray]) -> dict[str, Any]:
    """Counts the examples with the same content as another one.

    Returns:
      `repeated`, the examples that repeat an earlier one; `across`, for two splits, the examples of the second that
      are also in the first; `other_label`, the examples whose content also occurs with another label.
    """
    seen = {name: {examples.digests[index] for index in indices.tolist()} for name, indices in splits.items()}
    names = list(splits)
    across = {}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            count = sum(examples.digests[index] in seen[first] for index in splits[second].tolist())
            if count:
                across[f"{first} and {second}"] = count
    labels: dict[bytes, set[int]] = collections.defaultdict(set)
    for digest, label in zip(examples.digests, examples.class_ids.tolist(), strict=True):
        labels[digest].add(label)
    return {
        "repeated": len(examples) - len(labels),
        "across": across,
        "other_label": sum(len(labels[digest]) > 1 for digest in examples.digests),
    }


def _notes(examples: Examples, splits: dict[str, np.ndarray], summary: dict[str, Any]) -> list[str]:
    notes = []
    unit = examples.modality.removesuffix("s")
    for pair, count in summary["duplicates"]["across"].items():
        first, second = pair.split(" and ")
        can_group = unit == "text" and examples.groups is None and examples.splits is None
        advice = "; --group with the column of the text keeps equal texts in one split" if can_group else ""
        notes.append(f"{second} repeats {counted(count, unit)} of {first}, so its metrics will be optimistic{advice}.")
    if summary["duplicates"]["other_label"]:
        notes.append(f"{counted(summary['duplicates']['other_label'], unit)} with more than one label.")
    alike: dict[str, list[str]] = collections.defaultdict(list)
    for name in examples.class_names:
        alike[unicodedata.normalize("NFKC", name).casefold()].append(name)
    for same in alike.values():
        if len(same) > 1:
            notes.append(f"Classes {' and '.join(map(ascii, same))} differ only in case or in how they are encoded.")
    for name, described in summary["splits"].items():
        absent = [repr(label) for label, count in described.get("classes", {}).items() if count == 0]
        if absent:
            notes.append(f"Classes without {unit}s in {name}: {listed(absent)}.")
    for missing in [name for name in ("train", "test") if name not in splits]:
        notes.append(f"There is no {missing} split.")
    words = summary.get("words", {})
    if words.get("none"):
        notes.append(f"{counted(words['none'], 'text')} without a word of letters or digits.")
    if words.get("over_249"):
        notes.append(
            f"{counted(words['over_249'], 'text')} with more than 249 words, which experiments with --data.max-length "
            "250 leave out, unless --data.overlong is truncate."
        )
    return notes


def _experiment_for(summary: dict[str, Any]) -> str | None:
    """Returns an experiment that can be trained on a dataset; None if none of the project's can."""
    if {"train", "test"} - set(summary["splits"]):
        return None
    if summary["modality"] == "texts":
        return "imdb_bag_of_words" if "classes" in summary["splits"]["train"] else None
    return "mnist_autoencoder"


def summary_text(summary: dict[str, Any]) -> str:
    """Returns a summary as text."""
    lines = [f"{summary['name']}: {summary['folder']}"]
    unit = summary["modality"].removesuffix("s")
    for name, described in summary["splits"].items():
        groups = f" in {counted(summary['groups'][name], 'group')}" if "groups" in summary else ""
        number, noun = counted(described["rows"], unit).split(" ")
        lines.append(f"  {name:<12}{number:>10} {noun}{groups}")
    classes = {name: described["classes"] for name, described in summary["splits"].items() if "classes" in described}
    if classes:
        labels = list(next(iter(classes.values())))
        lines.append(f"  {len(labels):,} classes, with their rows in {', '.join(classes)}:")
        width = max(len(label) for label in labels[:SHOWN_CLASSES])
        for label in labels[:SHOWN_CLASSES]:
            counts = "".join(f"{counts[label]:>10,}" for counts in classes.values())
            lines.append(f"    {label:<{width}}{counts}")
        if len(labels) > SHOWN_CLASSES:
            lines.append(f"    and {len(labels) - SHOWN_CLASSES:,} more (--json lists all)")
    if "words" in summary:
        words = summary["words"]
        lines.append(f"  words: {words['shortest']:,} to {words['longest']:,}, median {words['median']:,}")
    else:
        size = f"{summary['height']} × {summary['width']} × {summary['channels']}"
        lines.append(f"  size: {size} (height × width × channels), {summary['dtype']}")
    lines += [f"  skipped: {count:,} ({reason})" for reason, count in summary["skipped"].items()]
    if summary["duplicates"]["repeated"]:
        repeated = counted(summary["duplicates"]["repeated"], unit)
        lines.append(f"  duplicates: {repeated} with the content of an earlier one")
    lines += [f"  note: {note}" for note in summary["notes"]]
    if experiment := _experiment_for(summary):
        root = shlex.quote(str(Path(summary["folder"]).parents[1]))
        lines.append(
            f"Train on it: python scripts/train.py {experiment} --data.name {summary['name']} --data.dir {root}"
        )
    return "\n".join(lines)
