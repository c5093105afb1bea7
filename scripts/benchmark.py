"""Compares the speed of lab10 with Keras, PyTorch and plain Flax, in alternating processes; writes tables and figures.

With `--against REVISION [--pairs N] [--task NAME …]`, compares the training speed of the working tree with another git
revision instead; with `--device`, measures absolute times on a GPU (`--device --help`).
"""

import sys
from pathlib import Path

from lab10.cli.script import ScriptResult, run_script

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> ScriptResult:
    sys.path.insert(0, str(ROOT))

    if any(argument.partition("=")[0] == "--against" for argument in arguments):
        from benchmarks.against import run_command
    elif "--device" in arguments:
        from benchmarks.on_device import run_command
    else:
        from benchmarks.command import run_command

    return run_command(arguments, __doc__)


if __name__ == "__main__":
    run_script(main)
