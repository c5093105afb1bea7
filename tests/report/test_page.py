"""The page as a file: texts are escaped, and nothing external is referenced."""

import html.parser
import re
import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st

from lab10.inspection.report.figures import printable
from lab10.inspection.report.page import ColoredText, ColoredWord, Page, PageImage, Paragraph, Section, Table, render

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{ 7*7 }}{% include 'x' %}&amp;<!--"""


def tiny_png():
    """A PNG of one dot."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def page_of(text):
    """A page with the text wherever there can be one."""
    blocks = [
        Table([text, text], [[text, text], [text, text]], text, first_number_column=1, bold_rows=frozenset({1})),
        PageImage(text, tiny_png(), text, text),
        ColoredText(text, [ColoredWord(text, 1.5), ColoredWord(text, -0.5), ColoredWord(text, 0.0)], text),
        Paragraph(text),
    ]
    return Page(text, text, [Section(text, blocks), Section(text, [Paragraph(text)], collapsed=True)])


class Reader(html.parser.HTMLParser):
    """The tags of a page, their attributes, and the text between them."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_data(self, data):
        self.texts.append(data)


PLAIN = Reader(render(page_of("text")))


def assert_only_text(text):
    read = Reader(render(page_of(text)))
    assert read.tags == PLAIN.tags
    assert [attribute[:2] for attribute in read.attributes] == [attribute[:2] for attribute in PLAIN.attributes]
    found = "".join(read.texts)
    assert found.count(text) == "".join(PLAIN.texts).count("text") - CSS_TEXTS


# Where the style sheet itself says "text".
CSS_TEXTS = next(text for text in PLAIN.texts if "--paper" in text).count("text")


def test_markup_in_texts_is_escaped():
    assert_only_text(HOSTILE)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).map(lambda text: f"«{text}»"))
def test_any_text_is_shown_verbatim(text):
    assert_only_text(text)


def test_a_name_that_is_not_utf8_is_shown():
    assert "\ufffd" not in render(page_of("x")).decode()
    render(page_of(b"\xff run".decode(errors="surrogateescape"))).decode()


def test_a_page_references_nothing_external_and_forbids_it():
    for tag, name, value in PLAIN.attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster", "background"):
            assert (tag, name, value[:22]) == ("img", "src", "data:image/png;base64,")
    content = render(page_of("text")).decode()
    assert "url(" not in content
    assert "@import" not in content
    policy = next(value for tag, name, value in PLAIN.attributes if value.startswith("default-src"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "script" not in PLAIN.tags


def test_the_strongest_word_has_full_color_and_the_hue_gives_the_sign():
    content = render(page_of("word")).decode()
    spans = re.findall(r'<span class="(\w+)" style="--share: ([\d.]+)" title="([^"]+)">', content)
    assert spans == [("for", "0.75", "+1.500"), ("against", "0.25", "-0.500"), ("against", "0.00", "+0.000")]
    quiet = ColoredText("title", [ColoredWord("word", 0.0)], "note")
    assert b"--share: 0.00" in render(Page("", "", [Section("", [quiet])]))


def test_names_on_figures_are_not_formulas_and_have_no_line_ends():
    assert printable("$\\frac{1}$\n\x00") == "\\$\\frac{1}\\$\ufffd\ufffd"
    assert printable("grün_1") == "grün_1"
