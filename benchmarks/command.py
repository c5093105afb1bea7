"""The benchmark's command line, and the files it leaves."""

import json
from pathlib import Path
from typing import Any

from benchmarks.driver import PARTS, Settings, run
from benchmarks.figures import draw
from benchmarks.processes import PEERS, choose_peers
from benchmarks.report import markdown
from benchmarks.worker import TASKS
from lab10.cli.arguments import Parser
from lab10.config.errors import UserError


def run_command(arguments: list[str], description: str | None) -> tuple[dict[str, Any], str]:
    """Measures as the arguments say; returns the result and its Markdown."""
    settings, output = parse(arguments, description)
    make_folder(output)
    result = run(settings)
    text = markdown(result)
    (output / "benchmark.md").write_text(text)
    result["files"] = [str(output / name) for name in ("benchmark.md", "benchmark.json")] + draw(result, output)
    (output / "benchmark.json").write_text(json.dumps(result, indent=1) + "\n")
    return result, text + "\n" + "\n".join(result["files"])


def parse(arguments: list[str], description: str | None) -> tuple[Settings, Path]:
    """What to measure, and the folder for what comes of it.

    Raises:
      UserError: an argument does not fit, or a peer is not installed.
    """
    parser = Parser(description)
    parser.add_argument("--short", action="store_true", help="on the offline samples, 2 pairs and 1 seed")
    parser.add_argument("--pairs", type=int, metavar="N", help="pairs that count (default: 5)")
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds of what is learned (default: 3)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--peers", nargs="+", choices=tuple(PEERS), metavar="PEER", help=f"{', '.join(PEERS)}")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark"), metavar="DIR", help="(%(default)s)")
    args = parser.parse_args(arguments)
    pairs = args.pairs if args.pairs is not None else 2 if args.short else 5
    seeds = args.seeds if args.seeds is not None else 1 if args.short else 3
    for name, value in (("pairs", pairs), ("seeds", seeds)):
        if value < 1:
            raise UserError(f"--{name} is {value}; expected at least 1.")
    peers = choose_peers(args.peers)
    return Settings(tuple(args.tasks), tuple(peers), pairs, seeds, args.short, tuple(args.parts)), args.output


def make_folder(output: Path) -> None:
    """Makes the folder before hours are spent.

    Raises:
      UserError: it cannot be made or written to.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "benchmark.md").touch()
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}. Name a folder that can be written to.") from error
