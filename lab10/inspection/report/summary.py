"""The sections of every report: results, differences, learning curves, statistical tests."""

from collections.abc import Sequence

import numpy as np

from lab10.config.experiment import flatten
from lab10.config.fields import option
from lab10.inspection.report.comparison import Comparison, NotComparable
from lab10.inspection.report.curves import mean_curves
from lab10.inspection.report.evaluated_runs import (
    SEED_FIELDS,
    EvaluatedRun,
    SeedGroup,
    common_metrics,
    differing_values,
)
from lab10.inspection.report.figures import plot_curves, plot_estimates, png
from lab10.inspection.report.page import Block, PageImage, Paragraph, Section, Table
from lab10.inspection.report.significance import Estimate, mean_with_interval
from lab10.training.state import count_parameters

# A table of the recall of more classes would not fit on the page.
MAX_RECALL_CLASSES = 20

Estimates = dict[str, dict[str, list[Estimate]]]  # metric → group → one estimate per run


def estimate_metrics(groups: Sequence[SeedGroup]) -> Estimates:
    """Estimates every metric that all runs have (`common_metrics`), with its confidence interval."""
    return {
        metric: {group.name: [mean_with_interval(run.per_example[metric]) for run in group.runs] for group in groups}
        for metric in common_metrics([group.first_run for group in groups])
    }


def results_section(groups: Sequence[SeedGroup], estimates: Estimates, split: str) -> Section:
    """Makes the first table: every run with its metrics, their confidence intervals, and the spread over seeds."""
    varying = [name for i, name in enumerate(SEED_FIELDS) if len({run.seeds[i] for run in _runs(groups)}) > 1]
    shown = varying or ["seed"]
    references = [
        name
        for name in groups[0].first_run.result
        if name not in estimates and isinstance(groups[0].first_run.result[name], float) and name != "loss"
    ]
    rows: list[list[str]] = []
    bold_rows = set()
    for group in groups:
        for i, run in enumerate(group.runs):
            fields = flatten(run.restored_run.config)
            of_run = [run.name, *(str(fields[name]) for name in shown), f"{run.restored_run.step:,}"]
            of_run += [f"{run.result['examples']:,}", f"{count_parameters(run.restored_run.params):,}"]
            of_run += [format_estimate(of_groups[group.name][i]) for of_groups in estimates.values()]
            rows.append(of_run + [format_number(run.result.get(name)) for name in references])
        if len(group.runs) > 1:
            bold_rows.add(len(rows))
            over_seeds = []
            for by_group in estimates.values():
                values = [estimate.value for estimate in by_group[group.name]]
                mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
                over_seeds.append(f"{format_number(mean)} ± {format_number(deviation, mean)}")
            rows.append(
                [f"{group.name}, mean ± deviation of {len(group.runs)} seeds", *("" for _ in range(len(shown) + 3))]
                + over_seeds
                + ["" for _ in references]
            )
    header = ["run", *(option(name) for name in shown), "step", "examples", "parameters"]
    header += [name.replace("_", " ") for name in [*estimates, *references]]
    methods = {one.method for of_metric in estimates.values() for of_group in of_metric.values() for one in of_group}
    intervals = {
        "Wilson": "Wilson's interval for a proportion",
        "bootstrap": "the percentile bootstrap for a mean, over examples",
    }
    caption = (
        f"95 % confidence intervals in parentheses: {'; '.join(intervals[name] for name in sorted(methods))}. "
        "They account for the sample of examples, not for the seed."
    )
    blocks: list[Block] = [Table(header, rows, caption, first_number_column=1, bold_rows=frozenset(bold_rows))]
    blocks += _recall_tables(_runs(groups))
    if len(_runs(groups)) > 1:
        drawn = f"Results on the {split} split, one line per run, with 95 % confidence intervals."
        blocks.append(PageImage("figures", png(plot_estimates(estimates, split)), drawn))
    return Section("Results", blocks)


def _recall_tables(runs: Sequence[EvaluatedRun]) -> list[Table]:
    """Makes a table of the recall of each class, for classifiers of a few classes."""
    classes = list(runs[0].result.get("recall", {}))
    if not 0 < len(classes) <= MAX_RECALL_CLASSES or any(list(run.result.get("recall", {})) != classes for run in runs):
        return []
    rows = [[run.name, *(format_number(run.result["recall"][name]) for name in classes)] for run in runs]
    caption = "Recall: the share of the examples of each class that are classified correctly."
    return [Table(["run", *classes], rows, caption, first_number_column=1)]


def differences_section(groups: Sequence[SeedGroup]) -> Section | None:
    """Lists the fields in which the configurations differ."""
    if len(groups) < 2:
        return None
    differing = differing_values(groups)
    text = (
        "The fields in which the configurations differ; all others are equal. – marks a field that one does not have."
    )
    rows = [[name, *values] for name, values in differing.items()]
    if not rows:
        return Section("Differences", [Paragraph("The configurations are equal; their data differ.")])
    return Section("Differences", [Table(["field", *(group.name for group in groups)], rows, text)])


def curves_section(groups: Sequence[SeedGroup]) -> Section:
    """Draws the learning curves over epochs."""
    curves = {}
    for metric in groups[0].first_run.metric_names:
        of_groups = {group.name: mean_curves([run.metric_lines for run in group.runs], metric) for group in groups}
        if any(of_groups.values()):
            curves[metric] = {name: of_group for name, of_group in of_groups.items() if of_group}
    if not curves:
        return Section("Learning curves", [Paragraph("The runs have no lines of metrics.")])
    caption = (
        "Solid lines: the validation split. Dotted lines: the mean over the training steps since the previous point."
    )
    if any(len(group.runs) > 1 for group in groups):
        caption += " Lines are means over seeds; the shaded area spans the lowest to the highest seed."
    return Section("Learning curves", [PageImage("learning-curves", png(plot_curves(curves)), caption)])


def comparison_section(comparisons: Sequence[Comparison | NotComparable]) -> Section | None:
    """Compares every pair of configurations on the same examples."""
    if not comparisons:
        return None
    blocks: list[Block] = []
    compared = [one for one in comparisons if isinstance(one, Comparison)]
    if compared:
        rows = [
            [one.first, one.second, one.metric.replace("_", " "), format_estimate(one.difference, sign="+")]
            for one in compared
        ]
        caption = (
            "The first run's metric minus the second's, with the bootstrap 95 % confidence interval of the difference. "
            "If the interval excludes 0, the runs differ by more than this sample of examples explains."
        )
        blocks.append(Table(["first", "second", "metric", "difference"], rows, caption, first_number_column=3))
    tested = [(one, one.mcnemar) for one in compared if one.mcnemar is not None]
    if tested:
        rows = [
            [
                one.first,
                one.second,
                *(f"{count:,}" for count in (test.both_right, test.only_first, test.only_second, test.both_wrong)),
                format_p_value(test.p_value),
            ]
            for one, test in tested
        ]
        caption = (
            "McNemar's exact test of two classifiers on the same examples: p is the probability that two equally good "
            "classifiers disagree at least as unevenly. In borderline cases it is stricter than the interval."
            + (" The p-values are not corrected for the number of tests." * (len(rows) > 1))
        )
        header = ["first", "second", "both right", "only first", "only second", "both wrong", "p"]
        blocks.append(Table(header, rows, caption, first_number_column=2))
    blocks += [
        Paragraph(f"{one.first} and {one.second} are not compared example by example: {one.reason}.")
        for one in comparisons
        if isinstance(one, NotComparable)
    ]
    return Section("Compared example by example", blocks)


def config_section(run: EvaluatedRun) -> Section:
    """Lists every field that defines a run."""
    rows = [[option(name), str(value)] for name, value in sorted(flatten(run.restored_run.config).items())]
    return Section(f"All fields of {run.name}", [Table(["field", "value"], rows)], collapsed=True)


def _runs(groups: Sequence[SeedGroup]) -> list[EvaluatedRun]:
    return [run for group in groups for run in group.runs]


def format_number(value: float | None, like: float | None = None, sign: str = "") -> str:
    """Formats a number with four decimals below 10 and fewer above: `0.8838`, `7.0974`, `12.353`; empty for None.

    Args:
      value: the number.
      like: another number, whose number of decimals is used.
      sign: `+` writes a plus before positive numbers.
    """
    if value is None:
        return ""
    size = abs(value if like is None else like)
    return f"{value:{sign}.{max(0, 5 - len(str(int(size))))}f}"


def format_estimate(one: Estimate, sign: str = "") -> str:
    """Formats a mean and its interval: `0.8838 (0.8790 to 0.8885)`."""
    if one.low is None:
        return format_number(one.value, sign=sign)
    low, high = (format_number(end, one.value, sign) for end in (one.low, one.high))
    return f"{format_number(one.value, sign=sign)} ({low} to {high})"


def format_p_value(p_value: float) -> str:
    """Formats a p-value: `0.0213`, `0.213`, `below 0.0001`."""
    return "below 0.0001" if p_value < 1e-4 else f"{p_value:.3g}"
