"""Writes a report on several runs: one page and its figures."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab10.config.atomic_write import write_atomically
from lab10.config.errors import UserError
from lab10.inspection.autoencoder_run import AutoencoderRun
from lab10.inspection.report.autoencoder_sections import autoencoder_section, side_by_side_section
from lab10.inspection.report.comparison import Comparison, NotComparable, compare
from lab10.inspection.report.evaluated_runs import SeedGroup, evaluate_runs, group_runs, restore_runs
from lab10.inspection.report.page import Page, Section, render
from lab10.inspection.report.summary import (
    Estimates,
    comparison_section,
    config_section,
    curves_section,
    differences_section,
    estimate_metrics,
    results_section,
)
from lab10.inspection.report.text_sections import text_section
from lab10.inspection.text_run import TextRun


def write_report(
    directories: Sequence[str],
    output: Path,
    split: str = "validation",
    checkpoint: str = "best",
    **data: Any,
) -> dict[str, Any]:
    """Evaluates runs, and writes the page and each figure as a PNG file, in a folder next to the page.

    Args:
      directories: the workdirs of the runs.
      output: path of the page; an existing file is replaced.
      split: the split to evaluate; each workdir records that it was read.
      checkpoint: the checkpoint of each run: `best`, `latest` or a step.
      **data: fields of the dataset to change for reading, as for `lab10.load`.

    Returns:
      `output`, `figures` (paths), `split`, `runs` and `comparisons`, as `scripts/report.py --json` prints them.

    Raises:
      UserError: a folder is not a run, the runs have different tasks, the split does not exist, or the page cannot
        be written.
    """
    folder = output.with_suffix("")
    if folder == output:
        raise UserError(
            f"--output {output}: expected a file that ends in .html; its figures go to the folder {folder}."
        )
    runs = restore_runs(directories, checkpoint, **data)
    _make(folder)
    groups = group_runs(evaluate_runs(directories, runs, split))
    estimates, comparisons = estimate_metrics(groups), compare(groups)
    page = Page(_title(groups), _subtitle(groups, split), _sections(groups, estimates, comparisons, split))
    figures = []
    try:
        for i, image in enumerate(page.images(), start=1):
            figures.append(folder / f"{i:02}-{re.sub(r'[^A-Za-z0-9.]+', '-', image.name)[:60]}.png")
            write_atomically(figures[-1], image.png)
        write_atomically(output, render(page))
    except OSError as error:
        raise _cannot_be_written(error, output) from error
    return {
        "output": str(output),
        "figures": [str(figure) for figure in figures],
        "split": split,
        "runs": _runs_as_json(groups, estimates),
        "comparisons": [{"kind": type(one).__name__} | dataclasses.asdict(one) for one in comparisons],
    }


def _make(folder: Path) -> None:
    """Creates the folder of figures before the evaluation, so that a mistyped --output does not cost one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_written(error, folder) from error


def _cannot_be_written(error: OSError, path: Path) -> UserError:
    return UserError(f"{error.filename or path} cannot be written ({error.strerror}). Name another with --output.")


def _sections(
    groups: Sequence[SeedGroup],
    estimates: Estimates,
    comparisons: Sequence[Comparison | NotComparable],
    split: str,
) -> list[Section]:
    sections: list[Section | None] = [
        results_section(groups, estimates, split),
        differences_section(groups),
        curves_section(groups),
        comparison_section(comparisons),
    ]
    firsts = [group.first_run for group in groups]
    sections.append(
        side_by_side_section(
            [(one, one.restored_run) for one in firsts if isinstance(one.restored_run, AutoencoderRun)], split
        )
    )
    for one in firsts:
        if isinstance(one.restored_run, AutoencoderRun):
            sections.append(autoencoder_section(one, one.restored_run, split))
        elif isinstance(one.restored_run, TextRun):
            sections.append(text_section(one, one.restored_run, split))
    sections += [config_section(one) for one in firsts]
    return [section for section in sections if section is not None]


def _title(groups: Sequence[SeedGroup]) -> str:
    names = [group.name for group in groups]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _subtitle(groups: Sequence[SeedGroup], split: str) -> str:
    runs = [run for group in groups for run in group.runs]
    datasets = dict.fromkeys(run.restored_run.config.data.name for run in runs)
    counted = f"{len(runs)} runs of {len(groups)} configurations" if len(groups) > 1 else f"{len(runs)} seeds"
    who = "One run" if len(runs) == 1 else counted
    text = f"{who} on the {split} split of {', '.join(datasets)}."
    readings = [run.result["read_count"] for run in runs]
    if split == "test" and all(readings):
        text += (
            f" Including this report, each run has been evaluated on the test split at most {max(readings)} time(s)."
        )
    return text


def _runs_as_json(groups: Sequence[SeedGroup], estimates: Estimates) -> list[dict[str, Any]]:
    return [
        {
            "workdir": run.directory,
            "configuration": group.name,
            "seed": run.restored_run.config.seed,
            "step": run.restored_run.step,
            "examples": run.result["examples"],
            "metrics": {name: dataclasses.asdict(by_group[group.name][i]) for name, by_group in estimates.items()},
            "read_count": run.result["read_count"],
            "per_example": run.result["per_example"],
        }
        for group in groups
        for i, run in enumerate(group.runs)
    ]
