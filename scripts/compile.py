"""Compiles an experiment for hardware that need not be present: `python scripts/compile.py EXPERIMENT --for TARGET`.

Prints memory, operations, collectives and kernel launches of the programs that train.py and evaluate.py run, for the
longest texts if the dataset has texts. Targets are cpu, gpu:h100, gpu:h100:8, tpu:v5e:2x4, …; see docs/accelerators.md.
Any other option is a field of the experiment: `python scripts/train.py EXPERIMENT --help` lists them.
"""

import dataclasses
import re
from typing import Any

from lab10.cli.arguments import Parser
from lab10.cli.script import ScriptResult, run_script
from lab10.config.errors import UserError


def main(arguments: list[str]) -> ScriptResult:
    parser = Parser(__doc__, usage="compile.py EXPERIMENT --for TARGET [--FIELD VALUE …] [--json]")
    parser.add_argument("experiment", metavar="EXPERIMENT", help="a file of experiments/, or a path")
    parser.add_argument("--for", dest="target", required=True, metavar="TARGET", help="hardware, such as tpu:v5e:2x4")
    args, overrides = parser.parse_known_args(arguments)

    from lab10.cli.overrides import apply_overrides, load_experiment_file
    from lab10.parallel.targets import find_target, use_compilers_only
    from lab10.training.aot_compilation import CompiledProgram, compile_programs

    use_compilers_only()
    for option in overrides:
        if re.match(r"--(workdir|distributed)\b", option):
            raise UserError(f"{option} has no effect on the programs; expected fields of the experiment.")
    file = load_experiment_file(args.experiment)
    experiment = apply_overrides(file.experiment, file.name, overrides, file.user_classes).experiment
    target = find_target(args.target)
    programs: dict[str, dict[str, Any]] = {}
    for name, program in compile_programs(experiment, target).items():
        if isinstance(program, CompiledProgram):
            costs = dataclasses.asdict(program.costs)
            if target.platform != "gpu":
                costs["kernel_launches"] = None
            fields = ("argument_bytes", "temp_bytes", "peak_bytes", "compile_seconds")
            programs[name] = {field: getattr(program, field) for field in fields} | costs
            missing = 0 if target.capacity_bytes is None else program.peak_bytes - target.capacity_bytes
            programs[name]["problem"] = f"needs {_bytes(missing)} more than a device has" if missing > 0 else None
        else:
            programs[name] = {"problem": program.reason}
    result = {
        "target": target.name,
        "devices": experiment.mesh.build(target.devices).size,
        "capacity_bytes": target.capacity_bytes,
        "fits": all(program["problem"] is None for program in programs.values()),
        "programs": programs,
    }
    return result, _describe(result)


def _describe(result: dict[str, Any]) -> str:
    """Returns the result as readable text, program by program."""
    capacity = result["capacity_bytes"]
    of_capacity = "" if capacity is None else f" of {_bytes(capacity)}"
    rows = {
        "arguments": lambda program: _bytes(program["argument_bytes"]),
        "temporaries": lambda program: _bytes(program["temp_bytes"]),
        "peak": lambda program: _bytes(program["peak_bytes"]) + of_capacity,
        "operations per step": lambda program: f"{program['flops']:.3e}",
        "bytes per step": lambda program: _bytes(program["bytes_accessed"]),
        "collectives per step": lambda program: (
            ", ".join(f"{count} {name}" for name, count in program["collectives"].items()) or "none"
        ),
        "bytes of collectives": lambda program: _bytes(program["collective_bytes"]),
        "kernel launches per step": lambda program: program["kernel_launches"],
        "compile time": lambda program: f"{program['compile_seconds']:.1f} s",
    }
    lines = [f"{result['target']}, {result['devices']} device{'s' * (result['devices'] > 1)}; per device:"]
    for name, program in result["programs"].items():
        lines.append(f"{name}:")
        if "peak_bytes" in program:
            values = {row: describe(program) for row, describe in rows.items()}
            lines += [f"  {row:<26}{value}" for row, value in values.items() if value is not None]
        if program["problem"] is not None:
            lines.append(f"  does not fit: {program['problem']}")
    return "\n".join(lines)


def _bytes(count: int) -> str:
    """Formats a number of bytes: `12.4 MiB`."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


if __name__ == "__main__":
    run_script(main)
