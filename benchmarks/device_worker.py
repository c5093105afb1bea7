"""Times the training steps of one framework on an accelerator: all its cases in one process, a JSON line each.

    python benchmarks/device_worker.py FRAMEWORK FOLDER [--short] [--seconds S]

FOLDER holds TASK.npz of each task. Cases that come last are left out when the time is over.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from worker import BATCH_SIZE, HIDDEN, Arrays, Peer, load_arrays, timed

LSTM, AUTOENCODER = "imdb_lstm", "mnist_autoencoder_lab"
REPEATS = 5
# Steps of a repeat where a whole epoch would take too long.
MANY, FEW, FEWEST = 1000, 200, 50
# After that many seconds, a case has enough repeats once it has two.
ENOUGH_SECONDS = 8.0


@dataclasses.dataclass(frozen=True)
class Case:
    """What to time.

    Attributes:
      task: its name.
      variant: the framework's way of computing it.
      hidden: size of the LSTM's state.
      steps: of a repeat; None: a whole epoch.
      members: runs trained together under `vmap`, on texts of full length; None: a single run on the dataset.
    """

    task: str
    variant: str
    hidden: int | None = HIDDEN
    steps: int | None = None
    members: int | None = None


# The most important ones first. lab10's kernel fits up to 64 units; beyond them, and as `scan`, it scans.
CASES = {
    "lab10": [
        Case(LSTM, "padded"),
        Case(AUTOENCODER, "dense", None, MANY),
        Case(LSTM, "padded", members=8, steps=FEWEST),
        Case(LSTM, "padded", members=64, steps=FEWEST),
        Case(LSTM, "padded", 64, FEW),
        Case(LSTM, "padded, scan", steps=FEWEST),
        Case(LSTM, "padded", 128, FEWEST),
        Case(LSTM, "padded", 512, FEWEST),
        Case(LSTM, "buckets"),
        Case(LSTM, "padded", 256, FEWEST),
    ],
    "keras-jax": [
        Case(LSTM, "cuDNN"),
        Case(AUTOENCODER, "dense", None, MANY),
        *(Case(LSTM, "cuDNN", hidden, FEW) for hidden in (64, 128, 512, 256)),
        Case(LSTM, "masked", steps=FEWEST),
    ],
    "torch": [
        Case(LSTM, "packed"),
        Case(LSTM, "padded"),
        Case(AUTOENCODER, "dense", None, MANY),
        *(Case(LSTM, variant, hidden, FEW) for hidden in (64, 128, 512, 256) for variant in ("padded", "packed")),
    ],
}


def peer_of(framework: str, case: Case, arrays: Arrays) -> Peer:
    """The framework's peer for a case, not built yet."""
    if framework == "lab10":
        from lab10_peer import Lab10Peer

        peer: Peer = Lab10Peer(case.task, arrays, 0, buckets=6 if case.variant == "buckets" else 1)
        peer.implementation = "fused" if case.variant.endswith("scan") else "auto"  # type: ignore[attr-defined]
    elif framework == "torch":
        from torch_peer import TorchPeer

        peer = TorchPeer(case.task, arrays, 0)
    else:
        from keras_peer import KerasPeer

        peer = KerasPeer(case.task, arrays, 0)
    peer.hidden, peer.variant = case.hidden or HIDDEN, case.variant
    return peer


def measure(framework: str, case: Case, arrays: Arrays, calls: Callable[[], int]) -> dict[str, Any]:
    """The seconds a step of each repeat, after one that is not counted."""
    if case.members is not None:
        began = time.perf_counter()
        seconds = members_seconds(case, arrays)
        build_seconds = time.perf_counter() - began - sum(seconds) * (case.steps or 0)
        return {"seconds_per_step": seconds, "build_seconds": build_seconds}
    if case.steps is not None:
        arrays = {name: rows[: case.steps * BATCH_SIZE] for name, rows in arrays.items()}
    peer, before = peer_of(framework, case, arrays), calls()
    _, build_seconds = timed(peer.first_step)
    _, warm_up = timed(peer.epoch)
    seconds, began = [], time.perf_counter()
    while len(seconds) < REPEATS and not (len(seconds) >= 2 and time.perf_counter() - began > ENOUGH_SECONDS):
        seconds.append(timed(peer.epoch)[1] / peer.steps)
    answer = {"seconds_per_step": seconds, "steps": peer.steps, "build_seconds": build_seconds}
    answer["warm_up_seconds"] = warm_up  # compiles programs of other shapes
    return answer | ({"cudnn_calls_traced": calls() - before} if framework == "keras-jax" else {})


def members_seconds(case: Case, arrays: Arrays) -> list[float]:
    """Seconds a step of runs that differ in their seeds, trained together."""
    from benchmarks.stepping import stand_in, step_seconds
    from lab10.training.ensemble import stack
    from lab10.training.step import StepFunctions

    experiment, spec, split = stand_in(case.task, 4096, arrays["train_inputs"].shape[1])
    functions = StepFunctions(experiment, spec, 10_000)
    state = functions.init_state(functions.init_params())
    assert case.steps is not None
    assert case.members is not None
    experiments = [dataclasses.replace(experiment, seed=seed) for seed in range(case.members)]
    stacked = stack(experiments, [state] * case.members)
    return step_seconds(functions, stacked, split, case.steps, REPEATS, case.members)


def device_of(framework: str) -> dict[str, Any]:
    """The device's name, and the version of cuDNN."""
    if framework == "torch":
        import torch

        cuda = torch.cuda.is_available()
        name = torch.cuda.get_device_name() if cuda else "cpu"
        return {"device": name, "cudnn": torch.backends.cudnn.version() if cuda else None}
    import jax

    cudnn = [each.version for each in distributions() if (each.name or "").startswith("nvidia-cudnn")]
    return {"device": jax.devices()[0].device_kind, "cudnn": cudnn[0] if cudnn else None}


def count_cudnn_calls() -> Callable[[], int]:
    """Counts the calls of cuDNN's LSTM while Keras is traced; there are none if it falls back to a scan."""
    import jax.experimental.rnn

    calls, original = 0, jax.experimental.rnn.lstm

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        result = original(*args, **kwargs)
        calls += 1
        return result

    jax.experimental.rnn.lstm = counting
    return lambda: calls


def answers(framework: str, folder: Path, short: bool, seconds: float) -> Iterator[dict[str, Any]]:
    """The device, and then the measurement or the error of each case."""
    end = time.perf_counter() + seconds
    yield device_of(framework)
    calls = count_cudnn_calls() if framework == "keras-jax" else lambda: 0
    arrays = {task: load_arrays(folder / f"{task}.npz") for task in (LSTM, AUTOENCODER)}
    for case in CASES[framework]:
        if short:
            if case.hidden not in (None, HIDDEN) or (case.members or 0) > 2:
                continue
            case = dataclasses.replace(case, steps=2)
        row = dataclasses.asdict(case)
        if time.perf_counter() > end:
            yield row | {"error": "no time left"}
            continue
        try:
            yield row | measure(framework, case, arrays[case.task], calls)
        except Exception as error:  # the other cases do not depend on it
            yield row | {"error": f"{type(error).__name__}: {str(error)[:500]}"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("framework", choices=tuple(CASES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    for answer in answers(options.framework, options.folder, options.short, options.seconds):
        print(json.dumps({"framework": options.framework} | answer), flush=True)
