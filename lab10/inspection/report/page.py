"""A report as a single HTML file without external resources."""

import base64
import dataclasses
import struct
from collections.abc import Sequence
from typing import ClassVar

import jinja2

from lab10.inspection.report.figures import DOTS_PER_INCH


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
      header: names of the columns.
      rows: cells of each row.
      caption: text below the table.
      first_number_column: index of the first right-aligned column; None: no column is right-aligned.
      bold_rows: indices of the rows in bold, which summarize the rows before them.
    """

    macro_name: ClassVar[str] = "table"

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    first_number_column: int | None = None
    bold_rows: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class PageImage:
    """A figure.

    Attributes:
      name: name of the PNG file, without its suffix.
      png: content of the PNG file, at `DOTS_PER_INCH`.
      caption: a sentence that says what the figure shows.
      title: heading of the figure, if its section has several.
    """

    macro_name: ClassVar[str] = "image"

    name: str
    png: bytes
    caption: str
    title: str = ""

    @property
    def url(self) -> str:
        """A data URL that contains the image."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """Width in CSS pixels, 96 per inch."""
        (dots,) = struct.unpack(">I", self.png[16:20])  # the header's first field
        return round(dots * 96 / DOTS_PER_INCH)


@dataclasses.dataclass(frozen=True)
class ColoredWord:
    """A word of a text and its influence on the prediction."""

    text: str
    influence: float


@dataclasses.dataclass(frozen=True)
class ColoredText:
    """A text whose words are colored by their influence.

    Attributes:
      title: heading: the prediction and the true class.
      words: the words of the text, in order.
      note: text below the words.
    """

    macro_name: ClassVar[str] = "colored"

    title: str
    words: Sequence[ColoredWord]
    note: str

    @property
    def max_influence(self) -> float:
        """The largest absolute influence of a word, which gets the full color."""
        return max((abs(word.influence) for word in self.words), default=0.0) or 1.0


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    macro_name: ClassVar[str] = "paragraph"

    text: str


Block = Table | PageImage | ColoredText | Paragraph


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and its content; a `collapsed` section opens with a click."""

    title: str
    blocks: Sequence[Block]
    collapsed: bool = False


@dataclasses.dataclass(frozen=True)
class Page:
    """The content of a report."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    def images(self) -> list[PageImage]:
        """Returns all figures, in order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, PageImage)]


def render(page: Page) -> bytes:
    """Renders a page as HTML. All text is escaped, so no name or text can become markup."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lab10.inspection.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.jinja").render(page=page)
    return text.encode("utf-8", "replace")  # the name of a folder may contain bytes that are not UTF-8
