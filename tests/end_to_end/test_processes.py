"""Each script in a new interpreter: exactly one JSON object on standard output, and the exit status."""

import json
import shutil

import pytest
from scripts_runner import Scripts

SCRIPTS = Scripts(is_preloaded=False)
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
