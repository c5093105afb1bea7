"""From scripts/train.py to the gradient: few calls, and no unneeded imports."""

import subprocess
import sys
import traceback
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Prints which of the modules are imported when training begins.
PROBE = """
import runpy, sys
import lab10.training.loop
def train(run):
    print([name for name in {modules!r} if name in sys.modules], file=sys.stdout)
    sys.stdout.flush()
    raise SystemExit(3)
lab10.training.loop.train = train
sys.argv = ["scripts/train.py", "mnist_pca", "--workdir", {workdir!r}]
runpy.run_path({script!r}, run_name="__main__")
"""


def test_four_functions_lie_between_the_script_and_the_gradient(scripts, tmp_path, monkeypatch):
    pytest.importorskip("mlxtend")
    grad, chains = jax.grad, []

    def spy(*arguments, **options):
        folders = (str(ROOT / "lab10"), str(ROOT / "scripts"))
        chains.append([frame.name for frame in traceback.extract_stack() if frame.filename.startswith(folders)])
        return grad(*arguments, **options)

    monkeypatch.setattr(jax, "grad", spy)
    arguments = ("--data.name", "mnist_sample", "--steps", 1, "--model.latent-dim", 7, "--workdir", tmp_path / "run")
    scripts.answer("train", "mnist_pca", *arguments)
    chain = chains[0][chains[0].index("main") :]
    assert chain == ["main", "train", "__call__", "train_step", "__call__"], "LoopBody, StepFunctions, PlainStep"


def test_training_starts_without_importing_figures_and_tables(tmp_path):
    modules = ["lab10.inspection", "lab10.training.notebook", "matplotlib", "pandas", "IPython"]
    code = PROBE.format(modules=modules, workdir=str(tmp_path / "run"), script=str(ROOT / "scripts" / "train.py"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (3, "[]\n"), done.stderr
