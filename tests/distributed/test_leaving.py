"""The end of several processes: no thread that waits aborts one, and the first leaves last."""

import pytest

# Looks without a pause, so that the end falls into a look.
SCRIPT = """
import lab10.distributed
from lab10.cli import run_script
from lab10.errors import UserError
from lab10.overrides import parse_training_arguments

def main(arguments):
    lab10.distributed.LOOK_EVERY_SECONDS = 0
    experiment, _, distributed = parse_training_arguments(arguments)
    with lab10.distributed.joined(distributed):
        if experiment.seed == 1:
            raise UserError("refused by all")
    return {"done": True}, ""

run_script(main)
"""


@pytest.mark.parametrize(
    ("seed", "status", "answer"),
    [(0, 0, {"done": True}), (1, 2, {"error": "refused by all"})],
    ids=["complete", "refused"],
)
@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_all_leave_in_order(processes, tmp_path, seed, status, answer, times):
    script = tmp_path / "join_and_leave.py"
    script.write_text(SCRIPT)
    for _ in range(times):
        for ended in processes.run(3, "mnist_pca", "--seed", seed, script=script):
            assert ended.status == status, ended.said
            assert ended.answer == answer
