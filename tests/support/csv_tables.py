"""Writes CSV tables of texts like those that users prepare."""

import csv
import random

from lab10.data.sources import open_source

WORDS = {"sea": ["wave", "ship", "salt"], "wood": ["tree", "moss", "deer"]}
# The options that name the columns of a table of topics.
COLUMNS = ("--text", "body", "--label", "topic")


def write_table(path, rows):
    """Writes the rows as CSV, and returns the path."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def write_topics(path):
    """Writes 200 texts by 40 authors, of two classes that words tell apart, and returns the path."""
    source = random.Random(0)
    rows = [("body", "topic", "author")]
    for i in range(200):
        topic = ("sea", "wood")[i % 2]
        rows.append((f"{' '.join(source.choices(WORDS[topic], k=5))} n{i}", topic, f"author {i % 40}"))
    return write_table(path, rows)


def records_of(split, folder, name="notes"):
    source = open_source(name, split, str(folder / "data"))
    names = source.features["label"].names if "label" in source.features else ()
    return [
        {key: names[value] if key == "label" else value.decode() for key, value in record.items()}
        for record in source.read(list(range(len(source))))
    ]
