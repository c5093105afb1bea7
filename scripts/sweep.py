"""Runs many trials of an experiment, chooses one by validation, and evaluates that one on the test split.

Any other option is a field that all trials share, as for train.py. Run the same command again to resume;
on several machines, with one --storage, they share the trials.
"""

from pathlib import Path
from typing import Any

from lab10.cli.arguments import Parser
from lab10.cli.script import ScriptResult, format_metrics, run_script
from lab10.config.errors import UserError


def main(arguments: list[str]) -> ScriptResult:
    parser = Parser(__doc__)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="a file of experiments/, or a path")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="FIELD=VALUES",
        help="A,B,C or LOW..HIGH or log:LOW..HIGH; again for every field",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="S", help="seeds of each trial's runs (default: 0)"
    )
    parser.add_argument("--sampler", default="grid", choices=("grid", "random", "tpe", "qmc"), help="(default: grid)")
    parser.add_argument(
        "--sampler-seed", type=int, default=0, metavar="S", help="seed of a sampler that is not grid (default: 0)"
    )
    parser.add_argument("--pruner", default="none", choices=("none", "median", "hyperband"), help="(default: none)")
    parser.add_argument("--trials", type=int, metavar="N", help="number of trials, unless the sampler is grid")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="number of worker processes (default: 1)")
    parser.add_argument(
        "--max-vmapped",
        type=int,
        metavar="N",
        help="maximal number of runs that a worker trains as one program (default: 1 on a CPU, 8 on an accelerator)",
    )
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="(default: runs/sweep_EXPERIMENT)")
    parser.add_argument("--storage", metavar="URL", help="URL of Optuna's database (default: SQLite in the workdir)")
    parser.add_argument(
        "--name", metavar="NAME", help="name of the study in the storage (default: name of the experiment)"
    )
    parser.add_argument(
        "--heartbeat-timeout",
        type=int,
        default=60,
        metavar="SECONDS",
        help="seconds without a heartbeat after which other workers retry a worker's trials (default: 60)",
    )
    parser.add_argument("--no-test", dest="test", action="store_false", help="do not evaluate on the test split")
    args, overrides = parser.parse_known_args(arguments)

    from lab10.cli.overrides import load_experiment_file
    from lab10.config import user_code
    from lab10.config.experiment import Experiment, to_json
    from lab10.config.paths import path_of
    from lab10.sweeps.study import Sweep
    from lab10.sweeps.sweep import run

    _require_fitting(args)
    file = load_experiment_file(args.experiment)
    name = file.name
    directory = path_of(args.workdir or f"runs/sweep_{name}")
    if args.storage is None and "?" in str(directory.absolute()):
        raise UserError(
            f"{directory.absolute()} contains a question mark, which would end the name of the sweep's SQLite file; "
            "choose another --workdir, or give --storage."
        )
    sweep = Sweep(
        experiment_name=name,
        base_experiment=to_json(file.experiment, Experiment),
        overrides=overrides,
        vary=args.vary,
        seeds=args.seeds,
        sampler=args.sampler,
        sampler_seed=args.sampler_seed,
        pruner=args.pruner,
        trials=args.trials,
        max_vmapped=args.max_vmapped,
        heartbeat_timeout=args.heartbeat_timeout,
        directory=str(directory),
        storage=args.storage or f"sqlite:///{directory.absolute() / 'sweep.db'}",
        name=args.name or name,
        user_code=[own.to_json() for own in user_code.find_code_of_classes(file.user_classes)],
    )
    result = run(sweep, args.workers, args.test)
    return result, _as_text(result)


def _require_fitting(args: Any) -> None:
    if (args.sampler == "grid") == (args.trials is not None):
        raise UserError(
            "--trials N is required with --sampler random, tpe or qmc, and not allowed with grid, which runs every one."
        )
    for option in ("workers", "max_vmapped", "heartbeat_timeout", "trials"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise UserError(f"--{option.replace('_', '-')} is {value}; expected at least 1.")
    if args.sampler_seed < 0:
        raise UserError(f"--sampler-seed is {args.sampler_seed}; expected at least 0.")
    if len(set(args.seeds)) < len(args.seeds):
        raise UserError("--seeds has a seed twice.")


def _as_text(result: dict[str, Any]) -> str:
    chosen = result["chosen"]
    values = " ".join(f"--{name} {value}" for name, value in chosen["values"].items()) or "no field varies"
    text = f"Chosen of {result['finished']} trials by validation ({format_metrics(chosen['validation'])}): {values}"
    if "test" in result:
        test = result["test"]
        text += (
            f"\ntest, mean of {len(chosen['workdirs'])} seed(s): {format_metrics(test['mean'])}"
            f"\nThis sweep's runs have read test {test['sweep_read_count']} time(s), "
            f"the chosen trial's {test['chosen_read_count']}."
        )
    return text


if __name__ == "__main__":
    run_script(main)
