"""Runs as one page to look at: figures with intervals, tests, images, words. `write_report` makes it."""

from lab10.inspection.report.report import write_report

__all__ = ["write_report"]
