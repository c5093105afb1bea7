"""Runs many points of an experiment, chooses by validation, and reads test once: for the point that was chosen.

Any other option is a field that all points share, as for train.py. The same command again goes on;
on several machines, with one --storage, they share the points.
"""

from pathlib import Path
from typing import Any

from lab10.cli.arguments import Parser
from lab10.cli.script import run_script
from lab10.errors import UserError


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    parser = Parser(__doc__)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="a file of experiments/, or a path")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="FIELD=VALUES",
        help="A,B,C or LOW..HIGH or log:LOW..HIGH; again for every field",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S", help="of each point (default: 0)")
    parser.add_argument("--sampler", default="grid", choices=("grid", "random", "tpe", "qmc"), help="(default: grid)")
    parser.add_argument("--pruner", default="none", choices=("none", "median", "hyperband"), help="(default: none)")
    parser.add_argument("--points", type=int, metavar="N", help="in all, where the sampler is not grid")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes at a time (default: 1)")
    parser.add_argument(
        "--together", type=int, default=8, metavar="N", help="most runs that one process trains by vmap (default: 8)"
    )
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="(default: runs/sweep_EXPERIMENT)")
    parser.add_argument("--storage", metavar="URL", help="Optuna's database (default: sqlite, in the workdir)")
    parser.add_argument("--name", metavar="NAME", help="of the sweep in the storage (default: the experiment's)")
    parser.add_argument(
        "--lost-after", type=int, default=60, metavar="SECONDS", help="a silent machine's points are taken over"
    )
    parser.add_argument("--no-test", dest="test", action="store_false", help="leave the test split alone")
    args, overrides = parser.parse_known_args(arguments)

    from lab10.cli.overrides import load_experiment
    from lab10.config.paths import path_of
    from lab10.sweeps.points import Points
    from lab10.sweeps.space import parse_varied
    from lab10.sweeps.sweep import Settings, Sweep, as_text

    _require_fitting(args)
    default, name = load_experiment(args.experiment)
    directory = path_of(args.workdir or f"runs/sweep_{name}")
    varied = tuple(parse_varied(text) for text in args.vary)
    if len({one.field for one in varied}) < len(varied):
        raise UserError("A field is varied twice; give all its values in one --vary.")
    points = Points(name, default, tuple(overrides), varied, tuple(args.seeds), directory)
    settings = Settings(
        storage=args.storage or f"sqlite:///{directory.absolute() / 'sweep.db'}",
        name=args.name or name,
        sampler=args.sampler,
        pruner=args.pruner,
        points=args.points,
        workers=args.workers,
        together=args.together,
        lost_after=args.lost_after,
        test=args.test,
    )
    result = Sweep(points, settings).run()
    return result, as_text(result)


def _require_fitting(args: Any) -> None:
    if (args.sampler == "grid") == (args.points is not None):
        raise UserError(
            "--points N goes with --sampler random, tpe or qmc, which need it; a grid has as many as it has."
        )
    for option in ("workers", "together", "lost_after", "points"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise UserError(f"--{option.replace('_', '-')} is {value}; expected at least 1.")
    if len(set(args.seeds)) < len(args.seeds):
        raise UserError("A seed is there twice in --seeds.")


if __name__ == "__main__":
    run_script(main)
