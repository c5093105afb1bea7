"""Times the training steps of one framework on an accelerator: some of its cases in one process, a JSON line each.

    python benchmarks/device_worker.py FRAMEWORK PART FOLDER [--short] [--seconds S]

PART is `essential` or `other`, and FOLDER holds TASK.npz of each task. Cases that come last are left out when the time
is over.
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

from worker import HIDDEN, Arrays, Peer, load_arrays, timed

LSTM, AUTOENCODER = "imdb_lstm", "mnist_autoencoder_lab"
REPEATS = 5
# The repeats of a case together take about that long, and each has at least as many steps, at most an epoch.
CASE_SECONDS, FEWEST_STEPS = 3.0, 20
# Enough for lab10 to settle how many steps it takes in a call.
WARM_UP_STEPS = 128
MEMBERS_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Case:
    """What to time.

    Attributes:
      task: its name.
      variant: the framework's way of computing it.
      hidden: size of the LSTM's state.
      members: runs trained together under `vmap`, on texts of full length; None: a single run on the dataset.
    """

    task: str
    variant: str
    hidden: int | None = HIDDEN
    members: int | None = None


# The essential cases of all frameworks run before any other case. lab10's kernel fits LSTMs of at most 64 units; larger
# ones, and the variant `scan`, run as a scan.
CASES = {
    "lab10": {
        "essential": [Case(LSTM, "padded"), Case(AUTOENCODER, "dense", None), Case(LSTM, "buckets")],
        "other": [
            *(Case(LSTM, "padded", members=members) for members in (8, 64)),
            Case(LSTM, "padded, scan"),
            *(Case(LSTM, "padded", hidden) for hidden in (64, 128, 512, 256)),
        ],
    },
    "keras-jax": {
        "essential": [Case(LSTM, "cuDNN"), Case(AUTOENCODER, "dense", None)],
        "other": [*(Case(LSTM, "cuDNN", hidden) for hidden in (64, 128, 512, 256)), Case(LSTM, "masked")],
    },
    "torch": {
        "essential": [Case(LSTM, "packed"), Case(LSTM, "padded"), Case(AUTOENCODER, "dense", None)],
        "other": [Case(LSTM, variant, hidden) for hidden in (64, 128, 512, 256) for variant in ("padded", "packed")],
    },
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


def measure(
    framework: str, case: Case, arrays: Arrays, cudnn_calls: Callable[[], int], max_steps: int | None
) -> dict[str, Any]:
    """The seconds a step of each repeat, after some that are not counted.

    Args:
      framework: the framework.
      case: what to time.
      arrays: those of its task.
      cudnn_calls: counts the calls of cuDNN so far.
      max_steps: steps of each repeat; None: as many as there is time for.
    """
    if case.members is not None:
        steps, began = max_steps or MEMBERS_STEPS, time.perf_counter()
        seconds = members_seconds(case, arrays, steps)
        build_seconds = time.perf_counter() - began - sum(seconds) * steps
        return {"seconds_per_step": seconds, "steps": steps, "build_seconds": build_seconds}
    peer, before = peer_of(framework, case, arrays), cudnn_calls()
    _, build_seconds = timed(peer.build_and_first_step)
    # A whole epoch has all lengths, each of which is a program to compile.
    peer.max_steps = max_steps or (None if case.variant == "buckets" else WARM_UP_STEPS)
    _, warm_up = timed(peer.epoch)
    peer.max_steps = max_steps or WARM_UP_STEPS
    if max_steps is None:
        seconds_per_step = timed(peer.epoch)[1] / peer.steps
        peer.max_steps = max(FEWEST_STEPS, int(CASE_SECONDS / REPEATS / seconds_per_step))
    seconds = [timed(peer.epoch)[1] / peer.steps for _ in range(REPEATS)]
    answer = {"seconds_per_step": seconds, "steps": peer.steps, "build_seconds": build_seconds}
    answer["warm_up_seconds"] = warm_up
    return answer | ({"cudnn_calls_traced": cudnn_calls() - before} if framework == "keras-jax" else {})


def members_seconds(case: Case, arrays: Arrays, steps: int) -> list[float]:
    """Seconds a step of runs that differ in their seeds, trained together."""
    from benchmarks.step_times import load_with_random_data, step_seconds
    from lab10.training.ensemble import stack
    from lab10.training.step import StepFunctions

    experiment, spec, split = load_with_random_data(case.task, 4096, arrays["train_inputs"].shape[1])
    functions = StepFunctions(experiment, spec, 10_000)
    state = functions.init_state(functions.init_params())
    assert case.members is not None
    experiments = [dataclasses.replace(experiment, seed=seed) for seed in range(case.members)]
    stacked = stack(experiments, [state] * case.members)
    # The second call compiles once more, for the arrays that the first one returns.
    return step_seconds(functions, stacked, split, steps, REPEATS + 1, case.members)[1:]


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


def measurements(framework: str, part: str, folder: Path, short: bool, seconds: float) -> Iterator[dict[str, Any]]:
    """The device, and then the measurement or the error of each case of a part."""
    end = time.perf_counter() + seconds
    yield device_of(framework)
    cudnn_calls = count_cudnn_calls() if framework == "keras-jax" else lambda: 0
    arrays = {task: load_arrays(folder / f"{task}.npz") for task in (LSTM, AUTOENCODER)}
    for case in CASES[framework][part]:
        if short and (case.hidden not in (None, HIDDEN) or (case.members or 0) > 8):
            continue
        row = dataclasses.asdict(case)
        if time.perf_counter() > end:
            yield row | {"error": "no time left"}
            continue
        try:
            yield row | measure(framework, case, arrays[case.task], cudnn_calls, 2 if short else None)
        except Exception as error:  # the other cases do not depend on it
            yield row | {"error": f"{type(error).__name__}: {str(error)[:500]}"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("framework", choices=tuple(CASES))
    parser.add_argument("part", choices=("essential", "other"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    for answer in measurements(options.framework, options.part, options.folder, options.short, options.seconds):
        print(json.dumps({"framework": options.framework} | answer), flush=True)
