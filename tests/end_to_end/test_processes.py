"""Each script in a new interpreter: exactly one JSON object on standard output, and the exit status."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts_runner import Scripts

SCRIPTS = Scripts(is_preloaded=False)
ROOT = Path(__file__).resolve().parents[2]
# A script that opens a file, and prints its result.
PRINT = """
from lab10.cli.script import run_script

def main(arguments):
    with open("README.md") as file:
        assert file.fileno() > 2
    return {}, "sch\\u00f6n"

run_script(main)
"""
MISTAKE = """
from lab10.cli.script import run_script
from lab10.config.errors import UserError

def main(arguments):
    raise UserError("There is no such run.")

run_script(main)
"""
SAMPLE = ("mnist_pca", "--data.name", "mnist_sample", "--steps", 2)


def test_train(tmp_path):
    answer = SCRIPTS.process_answer("train", *SAMPLE, "--workdir", tmp_path / "run")
    assert answer.keys() == {"workdir", "step", "parameters", "train_seconds", "validation", "best"}
    assert answer["step"] == 2


def test_reconstruct(linear_run, tmp_path):
    answer = SCRIPTS.process_answer("reconstruct", linear_run[0], "--indices", 1, "--output", tmp_path / "out.png")
    assert answer["indices"] == [1]
    assert (tmp_path / "out.png").exists()


def test_predict(bag_run):
    answer = SCRIPTS.process_answer("predict", bag_run[0], stdin=b"a dull film\na brilliant film\n")
    assert [prediction["text"] for prediction in answer["predictions"]] == ["a dull film", "a brilliant film"]


def test_prepare_data():
    assert SCRIPTS.process_answer("prepare_data", "mnist_sample")["prepared"].keys() == {"mnist_sample"}


@pytest.mark.slow  # tests/sweeps/test_shared.py starts the script in a preloaded process
def test_sweep(tmp_path):
    varied = ("--vary", "optimizer.learning-rate=1e-3", "--no-test", "--workdir", tmp_path)
    answer = SCRIPTS.process_answer("sweep", *SAMPLE, *varied)
    assert (answer["trials"], answer["finished"], answer["failed"]) == (1, 1, 0)


@pytest.mark.slow  # tests/metrics/test_compute.py tests the text
def test_without_json_the_result_is_text_on_standard_output(scripts, linear_run, tmp_path):
    workdir = shutil.copytree(linear_run[0], tmp_path / "run")
    done = scripts.run("evaluate", workdir)
    assert done.returncode == 0
    assert done.stdout.decode().startswith("test, 1000 examples, step 200: loss")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(done.stdout)


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("train", ("mnist_pcaa",), "mnist_pca"),
        pytest.param("evaluate", ("nothing",), "config.json", marks=pytest.mark.slow),
        ("benchmark", ("--pairs", 0), "--pairs is 0"),
    ],
)
def test_a_mistake_is_reported_by_every_script(script, arguments, words):
    assert words in SCRIPTS.process_refusal(script, *arguments)


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full", 1, "Standard output cannot be written (No space left on device)"),
        pytest.param("| head -c 0", 0, "", marks=pytest.mark.slow),
    ],
)
def test_standard_streams_may_be_closed_or_full(redirection, status, said):
    command = f"{sys.executable} -c '{PRINT}' {redirection}"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert said in done.stderr


def test_a_mistake_is_reported_if_standard_output_is_full():
    command = f"{sys.executable} -c '{MISTAKE}' --json >/dev/full"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: There is no such run.\n")


def test_any_text_is_printed_in_any_encoding():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", PRINT], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "sch\\xf6n\n"), done.stderr
