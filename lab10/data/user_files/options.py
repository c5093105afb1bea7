"""What a user may choose when preparing files. The fields are options of `scripts/prepare_data.py`."""

import dataclasses

# Labels that tables use for missing values, as pandas reads them. An empty label is always missing.
MISSING = ("NaN", "nan", "NA", "N/A", "n/a", "<NA>", "NULL", "null", "None")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Options for preparing user files.

    Attributes:
      text: column of the text.
      label: column of the class label; None: texts without labels.
      group: what stays in one split, such as a patient or an author: a column of a table, a regular expression for the
        paths of images, or an array next to an array of images; None: no groups.
      split_column: column that names the split of each row; None: no such column.
      columns: names of the columns of files without a header; None: the first row has the names.
      separator: character between the columns of a CSV or TSV file; None: the one that fits the header.
      quotes: whether quotation marks enclose fields; if not, they belong to the text.
      encoding: text encoding; None: by byte-order mark, else UTF-8.
      missing: labels that mean a missing value, besides the empty one.
      test_fraction: fraction of the examples for the test split; None: 0.2, if nothing else names the splits.
      seed: seed of the choice of test examples; None: 0, if nothing else names the splits.
      resize: height and width of all images; None: the images have one size.
      background: color behind transparent pixels; None: transparent images are refused.
      grayscale: whether color images become gray.
      skip_invalid: whether invalid rows or images are left out instead of refused.
    """

    text: str = "text"
    label: str | None = None
    group: str | None = None
    split_column: str | None = None
    columns: tuple[str, ...] | None = None
    separator: str | None = None
    quotes: bool = True
    encoding: str | None = None
    missing: tuple[str, ...] = MISSING
    test_fraction: float | None = None
    seed: int | None = None
    resize: tuple[int, int] | None = None
    background: str | None = None
    grayscale: bool = False
    skip_invalid: bool = False
