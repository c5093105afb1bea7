"""A model from a file outside the repository, docs/your_code.md's: trained, stopped, moved, and read elsewhere."""

import json
import re
import signal
import sys
import time
from pathlib import Path

import preloaded
import pytest

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--evaluate-every", 100, "--checkpoint-every", 20, "--model.hidden-size", 16)


@pytest.fixture
def page(tmp_path):
    """The documented file, in a separate folder."""
    (gru,) = re.findall(r'```python\n("""A GRU.*?)```', (ROOT / "docs" / "your_code.md").read_text(), re.S)
    path = tmp_path / "elsewhere" / "my_gru.py"
    path.parent.mkdir()
    path.write_text(gru)
    return path


@pytest.mark.slow  # its parts are in tests/config/test_user_code.py and tests/hostile/test_user_code.py
def test_an_own_model_is_trained_moved_and_loaded(scripts, page, tmp_path):
    workdir = tmp_path / "run"
    arguments = (page, *OPTIONS, "--workdir", workdir)
    process = scripts.start("train", *arguments, stderr=-1)
    while process.poll() is None and not any((workdir / "checkpoints").glob("[0-9]*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1].decode()
    assert process.returncode == 143, said
    page.write_text("# The same, with a comment.\n" + page.read_text())
    answer = scripts.process_answer("train", *arguments)
    assert answer["validation"]["accuracy"] > 0.6, "more than a bag of words can"

    page.unlink()
    moved = workdir.rename(tmp_path / "moved")
    refused = scripts.process_refusal("evaluate", moved)
    assert f"{moved}/user_code/my_gru.py, for the class GRU: “A GRU classifier on the synthetic reviews" in refused
    assert "--trust" in refused
    evaluated = scripts.process_answer("evaluate", moved, "--split", "validation", "--trust")
    assert evaluated["accuracy"] == answer["best"]["accuracy"]
    text = "i expected something dull but got something brilliant"
    (prediction,) = scripts.process_answer("predict", moved, "--trust", text)["predictions"]
    program = (
        "import json, sys, lab10\n"
        "problems = [lab10.runs(sys.argv[1], trust=trust).problem.item() for trust in (False, True)]\n"
        "run = lab10.load(sys.argv[1], trust=True)\n"
        "module = type(run.config.model).__module__\n"
        "print(json.dumps([run.config.model.hidden_size, module, run.predict(sys.argv[2]), problems]))"
    )
    loaded = preloaded.run([sys.executable, "-c", program, str(moved), text], cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr.decode()
    hidden_size, module, (same,), problems = json.loads(loaded.stdout)
    assert (hidden_size, same) == (16, prediction)
    assert module.startswith("my_gru_")
    assert "has code of its own" in problems[0]
    assert problems[1] is None
    assert scripts.process_answer("report", moved, "--trust", "--output", tmp_path / "page.html")["runs"]


@pytest.mark.slow  # tests/config/test_user_code.py refuses it, too
def test_another_model_is_refused_in_the_same_workdir(scripts, page, tmp_path):
    arguments = (page, "--steps", 1, "--data.max-length", 10, "--workdir", tmp_path / "run")
    scripts.answer("train", *arguments)
    page.write_text(page.read_text().replace("states[:, -1]", "states.mean(axis=1)"))
    refused = scripts.refusal("train", *arguments)
    assert "my_gru.py has changed since" in refused
    copy = refused.split("train.py ")[1].split(" --workdir")[0]
    assert scripts.answer("train", copy, *arguments[1:])["step"] == 1
    # A new version next to the old one, and both in one report.
    scripts.answer("train", *arguments[:-1], tmp_path / "second")
    answer = scripts.answer("report", tmp_path / "run", tmp_path / "second", "--output", tmp_path / "page.html")
    assert len(answer["runs"]) == 2
