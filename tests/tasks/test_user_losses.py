"""The example in docs/losses.md does what the page says."""

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "losses.md"


def test_the_example_of_a_loss_with_two_terms_trains(scripts, tmp_path):
    pytest.importorskip("mlxtend")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    (options,) = re.findall(r"train.py sparse.py (--task.*)", PAGE.read_text())
    (tmp_path / "sparse.py").write_text(code)
    small = ("--data.name", "mnist_sample", "--model.encoder-widths", 5, "--model.latent-dim", 3, "--steps", 4)
    scripts.answer("train", tmp_path / "sparse.py", *options.split(), *small, "--workdir", tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["split"] for line in lines} == {"train", "validation"}
    for line in lines:
        assert line["sparsity"] > 0
        assert line["loss"] == pytest.approx(line["reconstruction_error"] + 0.3 * line["sparsity"], rel=1e-5)
