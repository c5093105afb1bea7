"""A platform that this machine does not have, or that does not exist: one message, from every script."""

import pytest
from scripts_runner import Scripts

SAMPLE = ("mnist_pca", "--data.name", "mnist_sample", "--steps", 1)


@pytest.mark.parametrize(
    "platform", ["cuda", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpu", "tpu", "cdua", "cuda,tpu"))]
)
def test_training_on_a_missing_platform_is_refused(platform, tmp_path):
    said = Scripts(JAX_PLATFORMS=platform).process_refusal("train", *SAMPLE, "--workdir", tmp_path / "run")
    assert f"JAX_PLATFORMS={platform}" in said
    assert "cpu" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("evaluate", ()),
        *(pytest.param(script, (), marks=pytest.mark.slow) for script in ("reconstruct", "report")),
    ],
)
def test_loading_a_run_on_a_missing_platform_is_refused(script, arguments, linear_run):
    said = Scripts(JAX_PLATFORMS="cuda").process_refusal(script, linear_run[0], *arguments)
    assert "JAX_PLATFORMS=cuda" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_sweep_on_a_missing_platform_is_refused(tmp_path):
    varied = ("--vary", "optimizer.learning-rate=1e-3", "--workdir", tmp_path / "sweep")
    said = Scripts(JAX_PLATFORMS="cuda").process_refusal("sweep", *SAMPLE, *varied)
    assert "JAX_PLATFORMS=cuda" in said


def test_other_errors_are_not_reported_as_a_missing_device():
    from lab10.cli.script import _unavailable_device

    assert _unavailable_device(AssertionError()) == ""
