"""The result as Markdown tables."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.growth import growth_rows


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> str:
    """A Markdown table; columns from `numbers` on are aligned to the right."""
    rule = ["---" if i < numbers or not numbers else "---:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def ratio_text(ratio: dict[str, float]) -> str:
    """`3.20 (3.11 to 3.42)`."""
    return f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"


def mean_text(row: dict[str, Any]) -> str:
    """`0.8813 ± 0.0004 (3)`, or `0.8813 (1)` of one seed."""
    error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.4f}"
    return f"{row['mean']:.4f}{error} ({len(row['values'])})"


def task_and_variant(row: dict[str, Any]) -> str:
    """The task, and how lab10 pads in it where there is a choice."""
    return f"`{row['task']}`" + (f", {row['variant']}" if row["variant"] else "")


def markdown(result: dict[str, Any]) -> str:
    """All that the result holds, a section each."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    data = "offline samples" if result["settings"]["short"] else "real data"
    parts = [
        f"# Benchmark\n\n{machine['processors']} processors ({machine['architecture']}); {versions}; {data}, batch "
        f"size 32. A ratio is the peer's seconds over lab10's, the median of {result['settings']['pairs']} pairs "
        "taken in turns, with the lowest and the highest: above 1 lab10 is faster."
    ]
    parts += [section(result[name]) for name, section in SECTIONS.items() if result.get(name)]
    return "\n\n".join(parts) + "\n"


def _training(rows: list[dict[str, Any]]) -> str:
    header = [
        "task",
        "peer",
        "lab10 µs a step",
        "peer",
        "lab10 examples/s",
        "peer",
        "ratio",
        "lab10 MiB",
        "peer",
        "lab10 build s",
        "peer",
    ]
    cells = []
    for row in rows:
        training, peak = row["training"], row["peak_bytes"]
        both = ("lab10", "peer")
        cells.append(
            [task_and_variant(row), row["peer"]]
            + [f"{training[side]['microseconds_per_step']:,.0f}" for side in both]
            + [f"{training[side]['examples_per_second']:,.0f}" for side in both]
            + [ratio_text(training["ratio"])]
            + [f"{peak[side] / 2**20:,.0f}" for side in both]
            + [f"{row['first_step_build_seconds'][side]:.1f}" for side in both]
        )
    evaluation = [
        [task_and_variant(row), row["peer"]]
        + [f"{row['evaluation'][side]['examples_per_second']:,.0f}" for side in ("lab10", "peer")]
        + [ratio_text(row["evaluation"]["ratio"])]
        for row in rows
    ]
    return (
        "## Training\n\nThe memory is the most that was resident, evaluation included. To build is to make the model, "
        "compile and take the first step; lab10 keeps compiled programs, so its figure depends on what ran before.\n\n"
        + table(header, cells, numbers=2)
        + "\n\n## Evaluation\n\n"
        + table(["task", "peer", "lab10 examples/s", "peer", "ratio"], evaluation, numbers=2)
    )


def _learning(rows: list[dict[str, Any]]) -> str:
    rows = sorted(rows, key=lambda row: (row["metric"], row["task"], row["epochs"]))
    cells = [
        [task_and_variant(row), row["name"], row["metric"].replace("_", " "), str(row["epochs"]), mean_text(row)]
        for row in rows
    ]
    text = "Mean over seeds of the test split's metric ± its standard error (number of seeds)."
    header = ["task", "by", "metric", "epochs", "test"]
    return f"## What is learned\n\n{text}\n\n" + table(header, cells, numbers=3)


def _start_up(start_up: dict[str, Any]) -> str:
    cells = [[name, ratio_text(seconds)] for name, seconds in start_up.items()]
    return (
        "## Start-up\n\nSeconds from the start of the process to the first finished step of `mnist_pca`, "
        "caches warm.\n\n" + table(["by", "seconds"], cells, numbers=1)
    )


def _limit(limit: dict[str, Any]) -> str:
    product = limit["product"]
    cells = [
        [task_and_variant(row)]
        + [f"{row['operations_per_second'][kind] / 1e9:,.1f}" for kind in ("real", "padded")]
        + [f"{row['share_of_best'][kind]:.1%}" for kind in ("real", "padded")]
        for row in limit["rows"]
    ]
    header = ["task", "Gflop/s, real positions", "and padding", "share of the product's, real", "and padding"]
    return (
        f"## The machine's limit\n\nA 2048³ float32 matrix product: {product['best'] / 1e9:,.1f} Gflop/s at best, "
        f"{product['median'] / 1e9:,.1f} in the median of {product['samples']} taken between the pairs. lab10's "
        "training step, its products counted by formula, reaches of the best:\n\n" + table(header, cells, numbers=1)
    )


def _growth(curves: list[dict[str, Any]]) -> str:
    return "## Growth\n\nMicroseconds a step of lab10.\n\n" + table(
        ["task", "setting", "value: µs"], growth_rows(curves)
    )


SECTIONS: dict[str, Callable[[Any], str]] = {
    "speed": _training,
    "learning": _learning,
    "start_up": _start_up,
    "limit": _limit,
    "growth": _growth,
}
