"""The files that start a run on a cluster: linted, and the one for Slurm run, with a stand-in for srun."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

LAUNCH = Path(__file__).resolve().parents[2] / "scripts" / "launch"
SBATCH = LAUNCH / "slurm.sbatch"
# Two tasks on this host, told of each other as Slurm tells them.
SRUN = """#!/bin/bash
shift
export SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & other=$!
SLURM_PROCID=0 SLURM_LOCALID=0 "$@"; status=$?
wait $other && exit $status
"""


def test_the_slurm_script_passes_shellcheck():
    # Next to this Python, where pip installs the programs of packages.
    done = subprocess.run([Path(sys.executable).with_name("shellcheck"), SBATCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_slurm_reads_all_of_its_options():
    """It stops at the first line that is neither blank nor a comment (sbatch's manual page)."""
    head = SBATCH.read_text().split("set -euo pipefail")[0].splitlines()
    assert all(line == "" or line.startswith("#") for line in head)
    options = [line.removeprefix("#SBATCH ") for line in head if line.startswith("#SBATCH ")]
    assert all(re.fullmatch(r"--[a-z-]+(=\S+)?", option) for option in options)
    assert "--signal=TERM@120" in options


@pytest.mark.stress
def test_the_slurm_script_runs_both_tasks_as_one_run(processes, reviews_run, same_run, alone, tmp_path):
    for name, content in (("bin/srun", SRUN), (".venv/bin/activate", "")):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(content)
        path.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    shutil.copytree(LAUNCH.parents[1] / "scripts", tmp_path / "scripts")
    environment = processes.environment | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "4711",
        "PYTHONPATH": os.pathsep.join([str(LAUNCH.parents[1]), *filter(None, sys.path)]),
    }
    arguments = [SBATCH, *map(str, reviews_run), "--workdir", tmp_path / "run"]
    done = subprocess.run(["bash", *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 processes, 2 devices" in done.stderr
    same_run(tmp_path / "run", alone)


def test_the_kubernetes_job_is_valid_and_consistent():
    service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    for part in (service, job):
        kubernetes_validate.validate(part, kubernetes_validate.latest_version(), strict=True)
    pods = job["spec"]["template"]["spec"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    (container,) = pods["containers"]
    command = container["args"][0].split()
    name = service["metadata"]["name"]
    assert pods["subdomain"] == name
    assert f"{job['metadata']['name']}-0.{name}:8476" in command
    assert command[command.index("--distributed.num-processes") + 1] == str(job["spec"]["completions"])


def test_train_accepts_the_command_of_the_kubernetes_job():
    from lab10.cli.overrides import parse_training_arguments

    _, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    command = job["spec"]["template"]["spec"]["containers"][0]["args"][0].split()
    arguments = command[command.index("scripts/train.py") + 1 :]
    launch = parse_training_arguments([{'"$JOB_COMPLETION_INDEX"': "3"}.get(part, part) for part in arguments])
    assert launch.distributed.process_id == 3
