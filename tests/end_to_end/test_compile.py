"""scripts/compile.py for this machine's processors, and what it says where it cannot compile."""

import dataclasses
import importlib.util
import re

import pytest

from lab10.parallel import targets

IMAGES = ("mnist_pca", "--data.name", "mnist_sample")
FIELDS = {
    *("argument_bytes", "temp_bytes", "peak_bytes", "compile_seconds", "flops", "bytes_accessed"),
    *("collectives", "collective_bytes", "kernel_launches", "problem"),
}


def test_the_programs_of_an_experiment_are_compiled_and_counted(scripts):
    answer, text, _ = scripts.call("compile", *IMAGES, "--for", "cpu", "--batch-size", 16, "--model.latent-dim", 4)
    assert (answer["target"], answer["devices"], answer["fits"]) == ("cpu", 1, True)
    assert answer["programs"].keys() == {"train_step", "eval_step"}
    for program in answer["programs"].values():
        assert program.keys() == FIELDS
        assert program["problem"] is None
        assert program["kernel_launches"] is None
        assert program["collectives"] == {}
        assert 0 < program["argument_bytes"] < program["peak_bytes"]
    assert answer["programs"]["train_step"]["flops"] == pytest.approx(2 * 5 * 16 * 784 * 4, rel=0.05)
    assert "operations per step" in text
    assert "kernel launches" not in text


@pytest.mark.slow  # compiles another program
def test_a_program_that_does_not_fit_reports_the_missing_memory(scripts, monkeypatch):
    small = dataclasses.replace(targets.find_target("cpu"), capacity_bytes=2**20)
    monkeypatch.setattr(targets, "find_target", lambda name: small)
    answer, text, _ = scripts.call("compile", *IMAGES, "--for", "cpu")
    assert not answer["fits"]
    problem = answer["programs"]["train_step"]["problem"]
    assert re.fullmatch(r"needs [\d.]+ MiB more than a device has", problem)
    assert f"does not fit: {problem}" in text


def test_more_devices_than_the_target_has_are_refused(scripts):
    assert "--mesh.data is 2" in scripts.refusal("compile", *IMAGES, "--for", "cpu", "--mesh.data", 2)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gpu:h1000", "did you mean 'gpu:h100'? Expected one of: cpu, gpu:a100[:COUNT], gpu:h100[:COUNT]"),
        ("gpu:h100:0", "Unknown target 'gpu:h100:0'"),
        ("tpu:v5e", "Unknown target 'tpu:v5e'; did you mean 'tpu:v5e:2x2'?"),
        ("abacus", "Unknown target 'abacus'. Expected one of: cpu, gpu:"),
    ],
)
def test_an_unknown_target_lists_the_known_ones(scripts, target, message):
    assert message in scripts.refusal("compile", *IMAGES, "--for", target)


@pytest.mark.parametrize(
    ("target", "module", "extra"),
    [("tpu:v5e:2x2", "libtpu", ".[tpu]"), ("gpu:h100", "jax_plugins", ".[gpu-compiler]")],
)
def test_a_missing_compiler_is_named_with_its_extra(scripts, monkeypatch, target, module, extra):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name.split(".")[0] == module else find(name, *rest)
    )
    assert f"pip install -e '{extra}'" in scripts.refusal("compile", *IMAGES, "--for", target)


@pytest.mark.parametrize("option", ["--workdir", "--distributed.num-processes"])
def test_an_option_that_would_have_no_effect_is_refused(scripts, option):
    assert f"{option} has no effect" in scripts.refusal("compile", *IMAGES, "--for", "cpu", option, 2)


def test_a_target_must_be_named(scripts):
    assert "--for" in scripts.refusal("compile", *IMAGES)
