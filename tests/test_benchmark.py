"""The benchmark's arithmetic and its protocol; what it measures is not tested."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import figures, growth, limits, on_device, pairs, processes, report, worker
from benchmarks.command import parse
from benchmarks.driver import LAB10, Settings, compare_throughput, in_turns, learning
from lab10.config.errors import RunError, UserError

ROOT = Path(__file__).resolve().parents[1]

FAKE_PEER = """
import sys
sys.path.insert(0, {benchmarks!r})
print("a library says hello")
from worker import Peer, load_arrays, peer_parser, serve


class Fake(Peer):
    def build_and_first_step(self):
        print("this goes to standard error")
        self.epochs = 0

    def epoch(self):
        self.epochs += 1
        print("and this")
        return self.seed / self.epochs

    def evaluate(self, batch_size):
        return {{"accuracy": 1 / batch_size}}


arguments = peer_parser().parse_args()
serve(Fake(arguments.task, load_arrays(arguments.arrays), arguments.seed))
"""


@pytest.fixture
def fake_worker(tmp_path):
    script, arrays = tmp_path / "fake_peer.py", tmp_path / "arrays.npz"
    script.write_text(FAKE_PEER.format(benchmarks=str(ROOT / "benchmarks")))
    np.savez(arrays, train_inputs=np.ones((70, 4), np.int32), test_inputs=np.ones((10, 4), np.int32))
    with processes.Worker(str(script), "imdb_lstm", arrays, seed=6) as started:
        yield started


def test_a_worker_follows_the_protocol(fake_worker):
    ready = fake_worker.ready()
    assert ready["ready"] is True
    assert 0 <= ready["first_step_build_seconds"] < ready["seconds"]
    first, second = fake_worker.ask("epoch"), fake_worker.ask("epoch")
    assert (first["steps"], first["examples"], first["loss"], second["loss"]) == (3, 70, 6.0, 3.0)
    evaluated = fake_worker.ask("evaluate 32")
    assert (evaluated["examples"], evaluated["accuracy"]) == (10, 1 / 32)
    assert fake_worker.ask("finish")["peak_bytes"] > 2**20


def test_the_first_turn_is_not_measured(fake_worker, monkeypatch):
    monkeypatch.setattr("benchmarks.driver.PAUSE_SECONDS", 0)
    fake_worker.ready()
    name = ("fake", None)
    epochs, evaluations = in_turns({name: fake_worker}, ("epoch", "evaluate 32"), 2)
    assert [answer["loss"] for answer in epochs[name]] == [6.0, 3.0, 2.0]
    assert [answer["accuracy"] for answer in evaluations[name]] == [1 / 32] * 3
    seconds = [1e9, 3.0, 4.0]
    both = [{"seconds": second, "examples": 12} for second in seconds]
    assert compare_throughput(both, both)["seconds"] == {"lab10": [3.0, 4.0], "peer": [3.0, 4.0]}


def test_learning_starts_from_the_timed_seed(monkeypatch):
    monkeypatch.setattr("benchmarks.driver.LEARNING_EPOCHS", {"mnist_pca": 2})
    settings = Settings(("mnist_pca",), ("flax",), pairs=2, seeds=1, short=True)
    timed = {(LAB10, None): [9.0, 8.0, 7.0], ("flax", None): [9.5, 8.5, 7.5]}
    rows = learning("mnist_pca", Path("none"), settings, timed)
    assert [(row["name"], row["epochs"], row["mean"]) for row in rows] == [
        (LAB10, 1, 9.0),
        (LAB10, 2, 8.0),
        ("flax", 1, 9.5),
        ("flax", 2, 8.5),
    ]


def test_the_error_of_a_failing_worker_is_reported(fake_worker):
    fake_worker.ready()
    with pytest.raises(RunError, match="unknown command 'nonsense'"):
        fake_worker.ask("nonsense")


def test_the_first_matching_line_is_waited_for():
    command = [
        sys.executable,
        "-c",
        "print('stepping'); print('step   1/1  train: loss 2'); import time; time.sleep(60)",
    ]
    assert processes.seconds_to_line(command, r"^step\s+1\b") < 30
    with pytest.raises(RunError, match="printed no line"):
        processes.seconds_to_line([sys.executable, "-c", "print('step 10/10')"], r"^step\s+1\b")


def test_ratio_is_the_median_over_pairs_with_its_spread():
    assert pairs.speedup_of([1.0, 2.0, 4.0], [3.0, 4.0, 20.0]) == {"median": 3.0, "lowest": 2.0, "highest": 5.0}


def test_throughput_is_that_of_the_median():
    answers = [{"seconds": seconds, "steps": 4, "examples": 100} for seconds in (1.0, 2.0, 4.0)]
    assert pairs.throughput(answers) == {
        "seconds": 2.0,
        "examples_per_second": 50.0,
        "microseconds_per_step": 500_000.0,
    }


def test_mean_and_standard_error():
    of_three = pairs.mean_and_error([1.0, 2.0, 3.0])
    assert (of_three["mean"], of_three["standard_error"]) == (2.0, pytest.approx(1 / 3**0.5))
    assert pairs.mean_and_error([5.0])["standard_error"] is None


def test_operations_by_hand():
    # 10 positions × [5 → 8] products, 3 times; 2 rows × [2 → 1], 3 times.
    assert limits.lstm_operations(positions=10, batch=2, features=3, hidden=2) == 2 * 10 * 8 * 5 * 3 + 2 * 2 * 2 * 3
    # [4 → 3] forward and its matrix's gradient; [3 → 5] all three.
    assert limits.mlp_operations(2, (4, 3, 5)) == 2 * 2 * (12 * 2 + 15 * 3)


def test_the_two_flop_counts_differ_only_in_padded_positions():
    tokens = np.zeros((64, 10), np.int32)
    tokens[:, 5:] = 1
    counted = limits.operations_per_step("imdb_lstm", tokens)
    assert counted["padded"] - counted["real"] == 2 * 32 * 5 * 4 * 32 * 96 * 3
    images = limits.operations_per_step("mnist_pca", np.zeros((64, 784), np.uint8))
    assert images["real"] == images["padded"] == 2 * 32 * 784 * 64 * 5


def test_shares_of_limit():
    assert limits.shares_of_limit({"real": 10.0, "padded": 20.0}, 2.0, 100.0) == {"real": 0.05, "padded": 0.1}


def test_padding_moves_behind():
    rows, lengths = worker.right_padded(np.array([[0, 0, 7, 8], [1, 2, 3, 4]], np.int32))
    assert rows.tolist() == [[7, 8, 0, 0], [1, 2, 3, 4]]
    assert lengths.tolist() == [2, 4]


def test_batches_end_with_a_partial_one():
    assert [part.tolist() for part in worker.batches(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]


def test_table_is_markdown():
    assert report.table(["a", "b"], [["x", "1"]], numbers=1) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_growth_measures_every_value(tmp_path):
    curves = growth.measure(lambda task, hidden: hidden / 1e6, [("imdb_lstm", "hidden", (16, 32))])
    assert growth.growth_rows(curves) == [["imdb_lstm", "hidden", "16: 16 · 32: 32"]]
    assert figures.draw({"growth": curves}, tmp_path) == [str(tmp_path / "growth.png")]
    assert (tmp_path / "growth.png").stat().st_size > 0


def test_the_report_has_a_section_for_what_was_measured(tmp_path):
    side = {"seconds": 1.0, "examples_per_second": 1e4, "microseconds_per_step": 400.0}
    measured = {"lab10": side, "peer": side, "ratio": {"median": 2.0, "lowest": 1.5, "highest": 2.5}}
    row = {
        "task": "imdb_lstm",
        "variant": "buckets",
        "peer": "flax",
        "training": measured,
        "evaluation": measured,
        "peak_bytes": {"lab10": 2**20, "peer": 2**21},
        "first_step_build_seconds": {"lab10": 1.5, "peer": 2.5},
    }
    result = {
        "machine": {"processors": 2, "architecture": "any", "versions": {"python": "3"}},
        "settings": {"short": True, "pairs": 2},
        "speed": [row],
        "start_up": {"lab10": {"median": 3.0, "lowest": 2.0, "highest": 4.0}},
    }
    text = report.markdown(result)
    assert "| `imdb_lstm`, buckets | flax | 400 | 400 | 10,000 | 10,000 | 2.00 (1.50 to 2.50) | 1 | 2 |" in text
    assert "| lab10 | 3.00 (2.00 to 4.00) |" in text
    assert "Growth" not in text
    assert figures.draw(result, tmp_path) == [str(tmp_path / "ratios.png")]


def test_a_missing_peer_names_the_extra_to_install(monkeypatch):
    monkeypatch.setattr(processes, "installed", lambda peer: peer != "keras-jax")
    with pytest.raises(UserError, match=r"pip install -e '\.\[bench\]'"):
        parse([], None)
    settings, _ = parse(["--peers", "flax", "--parts", "speed", "--short"], None)
    assert (settings.peers, settings.pairs, settings.seeds) == (("flax",), 2, 1)
    with pytest.raises(UserError, match="--pairs is 0"):
        parse(["--pairs", "0", "--peers", "flax"], None)


def device_row(framework, variant, seconds, **fields):
    row = {"framework": framework, "task": "imdb_lstm", "variant": variant, "hidden": 32, "steps": 50, "members": None}
    return row | {"seconds_per_step": seconds, "build_seconds": 1.0} | fields


def test_the_table_of_a_device_has_times_ratios_and_what_is_missing():
    rows = [
        {"framework": "lab10", "device": "H100", "cudnn": "9.1"},
        device_row("lab10", "padded", [2e-3, 1e-3, 3e-3]),
        device_row("lab10", "padded", [8e-3], members=8),
        device_row("keras-jax", "cuDNN", [5e-3], cudnn_calls_traced=0),
        {"framework": "torch", "error": "ended with status -9"},
    ]
    text = on_device.markdown({"machine": {"gpu": None, "versions": {"jax": "1"}}, "short": True, "rows": rows})
    assert "| `imdb_lstm` | lab10 | padded | 32 | 1 | 2,000 | 1,000 to 3,000 | 16,000 | 50 | 1.0 |" in text
    assert "| `imdb_lstm` | lab10 | padded | 32 | 8 | 8,000 | 8,000 to 8,000 | 32,000 | 50 | 1.0 |" in text
    assert "| `imdb_lstm` | 32 | keras-jax, cuDNN (not called) | 5,000 | padded | 2,000 | 2.50 |" in text
    assert "- torch: ended with status -9" in text


def test_all_frameworks_measure_their_essential_cases_first(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(on_device.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(on_device, "installed", lambda framework: framework == "torch")
    taken = []
    for framework, part, end in on_device.divide_time(100.0):
        taken.append((framework, part, end))
        now[0] = min(end, now[0] + 30)
    assert taken == [
        ("lab10", "essential", 50.0),
        ("torch", "essential", 100.0),
        ("lab10", "other", 80.0),
        ("torch", "other", 100.0),
    ]
    (row,) = on_device.measure_in_process("torch", "other", Path(), False, now[0] + 12)
    assert row["error"] == "no time left for its other cases"


def test_a_peers_epoch_ends_after_the_most_steps():
    class Counting(worker.Peer):
        def build_and_first_step(self): ...
        def epoch(self): ...
        def evaluate(self, batch_size): ...

    peer = Counting("mnist_pca", {"train_inputs": np.zeros((70, 2))}, 0)
    assert (peer.steps, peer.examples, [len(rows) for rows in peer.shuffled_batches()]) == (3, 70, [32, 32, 6])
    peer.max_steps = 2
    assert (peer.steps, peer.examples, [len(rows) for rows in peer.shuffled_batches()]) == (2, 64, [32, 32])
    peer.max_steps = 9
    assert (peer.steps, peer.examples) == (3, 70)


def test_a_limit_too_short_for_a_device_is_refused(tmp_path):
    with pytest.raises(UserError, match="--seconds is 5; expected more than 12"):
        on_device.run_command(["--device", "--seconds", "5", "--output", str(tmp_path)], None)
