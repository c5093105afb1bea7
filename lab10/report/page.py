"""The report as one HTML file, which needs nothing but itself."""

import base64
import dataclasses
import struct
from collections.abc import Sequence
from typing import ClassVar

import jinja2

from lab10.report.figures import DOTS_PER_INCH


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
      header: of the columns.
      rows: a text a column.
      caption: beneath.
      numbers: columns from this one on are aligned to the right; None: none is.
      strong: rows that sum up those before them.
    """

    template: ClassVar[str] = "table"

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers: int | None = None
    strong: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Image:
    """A figure.

    Attributes:
      name: of its PNG file, without the ending.
      png: the file's content, at `DOTS_PER_INCH`.
      caption: one sentence of what it shows.
      title: above it, where a section has several.
    """

    template: ClassVar[str] = "image"

    name: str
    png: bytes
    caption: str
    title: str = ""

    @property
    def url(self) -> str:
        """The image itself, as an address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    @property
    def width(self) -> int:
        """In CSS's pixels, of which 96 make an inch."""
        (dots,) = struct.unpack(">I", self.png[16:20])  # the header's first field
        return round(dots * 96 / DOTS_PER_INCH)


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a text, and its influence."""

    text: str
    influence: float


@dataclasses.dataclass(frozen=True)
class ColoredText:
    """A text whose words are colored by their influence.

    Attributes:
      title: what was said of it.
      words: in order.
      note: beneath it.
    """

    template: ClassVar[str] = "colored"

    title: str
    words: Sequence[Word]
    note: str

    @property
    def greatest(self) -> float:
        """The greatest influence of a word, either way; that word has the full colour."""
        return max((abs(word.influence) for word in self.words), default=0.0) or 1.0


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A sentence or a few."""

    template: ClassVar[str] = "paragraph"

    text: str


Block = Table | Image | ColoredText | Paragraph


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and its content; a `collapsed` section opens with a click."""

    title: str
    blocks: Sequence[Block]
    collapsed: bool = False


@dataclasses.dataclass(frozen=True)
class Page:
    """All that a report says."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    def images(self) -> list[Image]:
        """Every figure, in order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Image)]


def render(page: Page) -> bytes:
    """The page as an HTML file. Every text on it is escaped: none can become markup, wherever it came from."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lab10.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.jinja").render(page=page)
    return text.encode("utf-8", "replace")  # a folder's name may hold bytes that are no UTF-8
