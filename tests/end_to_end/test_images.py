"""The linear autoencoder from training to images."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import lab10
from lab10.config.errors import UserError


def test_a_run_writes_the_documented_files(linear_run):
    workdir, answer = linear_run
    assert answer.keys() >= {"workdir", "step", "parameters", "train_seconds", "validation", "best"}
    assert (answer["step"], answer["parameters"]) == (200, 2 * 64 * 784)
    for name in ("config.json", "metrics.jsonl", "checkpoints", "history.png", "reconstructions.png", "tensorboard"):
        assert (workdir / name).exists(), name


def test_metrics_are_logged_at_the_requested_intervals(linear_run):
    lines = [json.loads(line) for line in (linear_run[0] / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == [50, 100, 150, 200]
    assert [line["step"] for line in lines if line["split"] == "validation"] == [80, 160, 200]
    assert not any(line["split"] == "test" for line in lines)


def test_a_restored_checkpoint_gives_bit_identical_metrics(scripts, linear_run):
    workdir, answer = linear_run
    evaluated = scripts.process_answer("evaluate", workdir, "--split", "validation", "--checkpoint", "latest")
    assert {name: evaluated[name] for name in answer["validation"]} == answer["validation"]


def test_evaluation_of_a_moved_run_counts_and_writes_each_error(scripts, linear_run, tmp_path):
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(linear_run[0], moved)
    first, second = (scripts.answer("evaluate", moved) for _ in range(2))
    assert (first["read_count"], second["read_count"]) == (1, 2)
    assert first["split"] == "test"
    assert first["examples"] == 1000
    assert first["pca_reconstruction_error"] < first["reconstruction_error"]
    rows = np.genfromtxt(first["per_example"], delimiter=",", names=True)
    assert len(rows) == 1000
    np.testing.assert_allclose(rows["reconstruction_error"].mean(), first["reconstruction_error"], rtol=1e-6)


def test_reconstructions_and_latents_are_written(scripts, linear_run, tmp_path):
    answer = scripts.answer(
        "reconstruct",
        linear_run[0],
        "--indices",
        3,
        1,
        "--output",
        tmp_path / "out.png",
        "--latents",
        tmp_path / "latents.npz",
    )
    assert answer["indices"] == [3, 1]
    assert len(answer["reconstruction_error"]) == len(answer["pca_reconstruction_error"]) == 2
    with Image.open(tmp_path / "out.png") as image:
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image.convert("L")))) > 50
    latents = np.load(tmp_path / "latents.npz", allow_pickle=False)
    assert latents["latents"].shape == (1000, 64)
    assert sorted(set(latents["labels"].tolist())) == list(range(10))


def test_a_run_is_used_from_a_notebook(linear_run):
    run = lab10.load(linear_run[0])
    x = np.random.default_rng(0).random((3, 784), np.float32)
    z = run.encode(x)
    assert z.shape == (3, 64)
    np.testing.assert_allclose(run.decode(z), run.reconstruct(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(z, x @ np.asarray(run.params["encoder"]["dense_0"]["kernel"]), rtol=1e-3, atol=1e-4)
    assert run.config.model.latent_dim == 64
    for wrong in (np.full((1, 784), 255, np.uint8), np.full((1, 784), 255.0), np.full((1, 784), 2, np.uint8)):
        with pytest.raises(UserError, match="255, divide"):
            run.encode(wrong)
    with pytest.raises(UserError, match="as numbers"):
        run.reconstruct(["an image"])
    with pytest.raises(UserError, match="784"):
        run.encode(np.zeros((1, 10)))
    with pytest.raises(UserError, match="cannot classify"):
        run.predict(["text"])


ROWS = np.random.default_rng(0).random((3, 784))
HOLE = np.where(np.arange(3 * 784).reshape(3, 784) == 784 + 5, np.nan, ROWS)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (HOLE, "Row 1, column 5 (from 0) of the pixels is nan"),
        (np.where(np.isnan(HOLE), -np.inf, ROWS), "Row 1, column 5 (from 0) of the pixels is -inf"),
        (ROWS.reshape(3, 28, 28), "got shape [3, 28, 28]. Use x.reshape(-1, 784)"),
        (ROWS.reshape(3, 28, 28, 1), "Use x.reshape(-1, 784)"),
        ([list(row.reshape(28, 28)) for row in ROWS], "Use x.reshape(-1, 784)"),
        (ROWS[0], "got shape [784]. For a single row, use x[None]"),
        (ROWS.astype(complex), "complex numbers"),
        (np.ma.masked_less(ROWS, 0.5), "masked values"),
        (np.where(np.isnan(HOLE), None, ROWS), "Row 1, column 5 (from 0) of the pixels is nan"),
        ([ROWS[0], ROWS[0, :5]], "as numbers of shape [rows, 784]"),
        ([], "got shape [0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_inputs_that_are_not_pixels_are_refused(linear_run, x, said):
    run = lab10.load(linear_run[0])
    for call in (run.encode, run.reconstruct):
        with pytest.raises(UserError, match=re.escape(said)):
            call(x)


def test_pixels_are_read_from_any_array_type(linear_run):
    pandas = pytest.importorskip("pandas")
    run = lab10.load(linear_run[0])
    expected = run.encode(ROWS)
    for form in (pandas.DataFrame(ROWS), ROWS.tolist(), list(ROWS), ROWS.astype(object), ROWS.astype(str)):
        np.testing.assert_allclose(run.encode(form), expected, rtol=1e-5, atol=1e-5)
    assert run.encode((ROWS > 0.5).astype(np.uint8)).shape == run.encode(ROWS > 0.5).shape == (3, 64)
    assert run.encode(np.zeros((0, 784))).shape == (0, 64)


def test_pixels_of_another_scale_are_reported(linear_run, capsys):
    run, images = lab10.load(linear_run[0]), np.linspace(0, 1, 784)[None]
    run.encode(images)
    assert capsys.readouterr().err == ""
    run.reconstruct(2 * images - 1)
    assert "pixels are -1 to 1, but the run was trained on pixels in [0, 1]" in capsys.readouterr().err


def test_latent_vectors_that_are_not_finite_are_refused(linear_run):
    run = lab10.load(linear_run[0])
    with pytest.raises(UserError, match=r"Row 0, column 63 \(from 0\) of the latent vectors is nan"):
        run.decode(np.where(np.arange(64) == 63, np.nan, 0.0)[None])
    for index in (-1, 1000):
        with pytest.raises(UserError, match=f"no image {index}; expected 0 to 999"):
            run.images("test", [0, index])


@pytest.mark.slow  # tests/training/test_init_from.py
def test_a_run_starts_from_the_parameters_of_another(scripts, linear_run, tmp_path):
    workdir, _ = linear_run
    arguments = (
        "mnist_pca",
        "--data.name",
        "mnist_sample",
        "--steps",
        1,
        "--workdir",
        tmp_path / "second",
        "--init-from",
        workdir,
    )
    # One step of a learning rate of 0 leaves the first run's parameters as they were.
    answer = scripts.answer("train", *arguments, "--optimizer.learning-rate", 0)
    best = scripts.answer("evaluate", workdir, "--split", "validation", "--checkpoint", "best")
    assert answer["validation"]["loss"] == best["loss"]
    third = (*arguments[:-3], tmp_path / "third", "--init-from")
    assert "--init-from" in scripts.refusal("train", *third, workdir, "--model.latent-dim", 32)
    assert "config.json" in scripts.refusal("train", *third, tmp_path / "mistyped")
    scripts.answer("train", *third, workdir)  # a refusal has not claimed the workdir


@pytest.mark.slow  # tests/cli/test_overrides.py parses the options
def test_without_validation_the_latest_checkpoint_counts_as_the_best(scripts, tmp_path):
    arguments = ("mnist_pca", "--data.name", "mnist_sample", "--data.validation-fraction", 0, "--steps", 2)
    answer, text, _ = scripts.call("train", *arguments, "--workdir", tmp_path / "run")
    assert answer["validation"] == {}
    assert text.endswith("step 2; without a validation split, the latest checkpoint counts as the best")


def test_a_transform_and_another_optimizer_are_chosen_on_the_command_line(scripts, tmp_path):
    arguments = ("--data.name", "mnist_sample", "--steps", 3, "--workdir", tmp_path / "run", "--profile-steps", 2)
    scripts.answer(
        "train",
        "mnist_autoencoder_lab",
        *arguments,
        "--data.transform",
        "gaussiannoise",
        "--optimizer",
        "sgd",
        "--model.dtype",
        "bfloat16",
    )
    config = json.loads((tmp_path / "run" / "config.json").read_text())["experiment"]
    assert config["data"]["transform"] == {"type": "GaussianNoise", "deviation": 0.1}
    assert config["optimizer"]["type"] == "SGD"
