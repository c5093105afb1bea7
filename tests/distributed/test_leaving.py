"""The end of several processes: no thread that waits aborts one, and the first leaves last."""

import subprocess
import sys

import pytest

# Looks without a pause, so that the end falls into a look.
PROGRAM = """
import sys
import lab10.distributed
from lab10.cli import run_script
from lab10.errors import UserError

def main(arguments):
    address, number, refuses = arguments
    lab10.distributed.LOOK_EVERY_SECONDS = 0
    settings = lab10.distributed.Distributed(coordinator_address=address, num_processes=3, process_id=int(number))
    with lab10.distributed.joined(settings):
        if refuses == "True":
            raise UserError("refused by all")
    return {}, "done"

run_script(main)
"""


@pytest.mark.parametrize("refuses", [False, True])
def test_all_leave_in_order(processes, free_port, refuses):
    for _ in range(5):
        address = f"127.0.0.1:{free_port()}"
        started = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, address, str(number), str(refuses)],
                env=processes.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(3)
        ]
        for process in started:
            out, said = process.communicate(timeout=120)
            assert process.returncode == (2 if refuses else 0), said
            assert ("refused by all" in said) if refuses else out.endswith("done\n")
