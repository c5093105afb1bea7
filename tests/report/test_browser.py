"""The page as a browser shows it."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# WCAG 2.2, relative luminance and contrast ratio.
CONTRAST = """
(() => {
  const luminance = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const style = getComputedStyle(document.querySelector(SELECTOR))
  const paper = getComputedStyle(document.body).backgroundColor
  const [dark, light] = [luminance(style.color), luminance(paper)].sort((one, other) => one - other)
  return [(light + 0.05) / (dark + 0.05), luminance(paper)]
})()
"""


pytestmark = pytest.mark.slow  # tests/report/test_page.py checks the same pages without a browser


@pytest.fixture(scope="module")
def pages(images, texts):
    """A page of images, and one of texts."""
    return [Path(images["output"]), Path(texts["output"])]


def test_a_page_opens_from_its_file_alone_and_shows_every_figure(browser, pages):
    for page in pages:
        tab = browser.open(page)
        assert tab.requests() == [page.as_uri()]
        assert tab.complaints() == []
        assert tab.evaluate("document.scripts.length") == 0
        shown = tab.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 100)")
        assert shown
        assert all(shown)
        assert tab.evaluate("[...document.images].every(image => image.alt.length > 0)")
        assert tab.evaluate("document.querySelector('h2').innerText") == "Results"


@pytest.mark.parametrize("width", [360, 1000])
def test_a_page_is_no_wider_than_the_window(browser, pages, width):
    for page in pages:
        tab = browser.open(page, width=width)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_colors_follow_the_readers_theme_and_are_legible(browser, pages):
    paper = {}
    for dark in (False, True):
        tab = browser.open(pages[1], dark=dark)
        for selector in ("p", "figcaption", ".text span"):
            contrast, paper[dark] = tab.evaluate(CONTRAST.replace("SELECTOR", json.dumps(selector)))
            assert contrast >= 4.5
        seen = np.asarray(Image.open(io.BytesIO(tab.image())).convert("L"))
        assert (np.median(seen) < 80) == dark
        assert len(np.unique(seen)) > 50
    assert paper[True] < 0.05 < 0.8 < paper[False]


def test_words_are_colored_by_influence_and_show_it_on_hover(browser, pages):
    tab = browser.open(pages[1])
    words = tab.evaluate(
        "[...document.querySelectorAll('.text')[0].querySelectorAll('span')]"
        ".map(word => [getComputedStyle(word).backgroundColor, word.title])"
    )
    opacity = [float(re.search(r"rgba\(.*, ([\d.]+)\)", colour)[1]) if "rgba" in colour else 1 for colour, _ in words]
    influence = np.array([float(title) for _, title in words])
    assert max(opacity) == pytest.approx(0.75, abs=0.01)
    np.testing.assert_allclose(opacity, 0.75 * np.abs(influence) / np.abs(influence).max(), atol=0.02)
    reds = [int(re.search(r"\((\d+),", colour)[1]) for colour, _ in words]
    assert all((red > 100) == (title > 0) for red, title in zip(reds, influence, strict=True) if title)


def test_requests_and_errors_of_a_page_are_detected(browser, tmp_path):
    (tmp_path / "page.html").write_text("<script>console.log('here')</script><img src='other.png'>")
    tab = browser.open(tmp_path / "page.html")
    assert len(tab.requests()) == 2
    assert len(tab.complaints()) >= 1


def test_a_page_runs_no_injected_script(browser, pages, tmp_path):
    content = pages[1].read_text().replace("</body>", "<script>document.title = 'ran'</script></body>")
    (tmp_path / "page.html").write_text(content)
    assert browser.open(tmp_path / "page.html").evaluate("document.title") != "ran"
