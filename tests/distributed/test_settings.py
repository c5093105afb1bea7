"""Which processes belong to a run, by options or by the environment of a launcher."""

import pytest

from lab10.config.errors import UserError
from lab10.parallel.distributed import Distributed

SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
VARIABLES = (*SLURM, "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "JOB_COMPLETION_INDEX")


@pytest.mark.parametrize(
    ("environment", "settings", "expected"),
    [
        ({}, {}, False),
        ({}, {"detect": True}, True),
        ({}, {"coordinator_address": "host:80", "num_processes": 1, "process_id": 0}, True),
        (SLURM, {}, True),
        (SLURM, {"detect": False}, False),
        (SLURM | {"SLURM_NTASKS": "1"}, {}, False),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, {}, False),  # an interactive step in an allocation of two tasks
        (SLURM | {"SLURM_STEP_NUM_TASKS": "2"}, {}, True),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}, {}, False),  # a batch script, outside of srun
        ({"OMPI_COMM_WORLD_SIZE": "4"}, {}, True),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, {}, False),
        ({"JOB_COMPLETION_INDEX": "0"}, {}, True),
    ],
)
def test_several_processes_are_recognised(monkeypatch, environment, settings, expected):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Distributed(**settings).is_enabled == expected


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (SLURM, "According to Slurm (SLURM_NTASKS=2), this is one of several"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "According to Open MPI (OMPI_COMM_WORLD_SIZE=4)"),
        ({"JOB_COMPLETION_INDEX": "3"}, "According to Kubernetes (JOB_COMPLETION_INDEX=3)"),
    ],
)
def test_waiting_for_other_processes_is_reported(monkeypatch, environment, words):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = Distributed(connect_timeout_seconds=7).waiting_message()
    assert words in said
    assert "at most 7 s" in said
    assert "--distributed.detect False and its own --workdir" in said
    assert Distributed(**COMPLETE).waiting_message().startswith("This is process 0 of 2")


COMPLETE = {"coordinator_address": "host:80", "num_processes": 2, "process_id": 0}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_processes": 2}, "belong together"),
        ({"coordinator_address": "host:80", "process_id": 0}, "belong together"),
        (COMPLETE | {"coordinator_address": "host"}, "'host'; expected host:port"),
        (COMPLETE | {"coordinator_address": "host:http"}, "expected host:port"),
        (COMPLETE | {"coordinator_address": "host:70000"}, "expected host:port"),
        (COMPLETE | {"process_id": 2}, "--distributed.process-id is 2; expected 0 to 1"),
        (COMPLETE | {"process_id": -1}, "--distributed.process-id is -1"),
        (COMPLETE | {"num_processes": 0}, "--distributed.num-processes is 0"),
        ({"connect_timeout_seconds": 0}, "--distributed.connect-timeout-seconds is 0"),
        ({"heartbeat_timeout_seconds": 0}, "--distributed.heartbeat-timeout-seconds is 0"),
    ],
)
def test_mistakes_in_settings_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        Distributed(**settings)
