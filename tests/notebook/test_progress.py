"""Progress in a notebook: one output per run, which is replaced in place."""

import pytest

from lab10.training import progress
from lab10.training.progress import NOTEBOOK_LINES, Progress


class Cell:
    """Stands for a notebook: the outputs of a cell, by their identity."""

    def __init__(self):
        self.outputs = []

    def display(self, content, raw, display_id):
        assert raw
        assert display_id
        self.outputs.append([content])
        return self

    def update(self, content, raw):
        assert raw
        self.outputs[-1].append(content)


@pytest.fixture
def cell(monkeypatch):
    from lab10.cli import cell_output

    cell = Cell()
    monkeypatch.setattr(cell_output, "display", cell.display)
    monkeypatch.setattr(progress.console, "is_jupyter", True)
    monkeypatch.setattr(progress, "NOTEBOOK_INTERVAL", 0)
    return cell


def test_a_run_has_one_output_with_the_bar_and_the_evaluations(cell):
    with Progress(total=300, start=0) as shown:
        for step in (100, 200, 300):
            shown.advance(step)
            shown.show_metrics(step, "train", {"loss": 1 / step})
        shown.show_metrics(300, "validation", {"loss": 0.25, "accuracy": 0.5})
    (updates,) = cell.outputs
    text, html = updates[-1]["text/plain"], updates[-1]["text/html"]
    first, last = text.splitlines()
    assert first == "step 300/300  validation: loss 0.2500, accuracy 0.5000"
    assert last.startswith("step 300/300 ━")
    assert "loss 0.0033" in last
    assert "\x1b" not in text
    assert html.startswith("<pre")
    assert "accuracy 0.5000" in html
    assert "100/300" in updates[0]["text/plain"]


def test_the_output_stays_short(cell):
    with Progress(total=100, start=0) as shown:
        for step in range(1, 101):
            shown.show_metrics(step, "validation", {"loss": 1.0})
            shown.advance(step)
    assert len(cell.outputs[-1][-1]["text/plain"].splitlines()) == NOTEBOOK_LINES + 1


def test_updates_are_rare_except_the_last(cell, monkeypatch):
    monkeypatch.setattr(progress, "NOTEBOOK_INTERVAL", 1000)
    with Progress(total=1000, start=0) as shown:
        for step in range(1, 1001):
            shown.advance(step)
    (updates,) = cell.outputs
    assert [update["text/plain"].split()[1] for update in updates] == ["1/1000", "1000/1000"]
