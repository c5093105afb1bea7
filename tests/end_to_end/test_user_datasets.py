"""Datasets in color, with labels of numbers, without a test split, without labels, and with a builder of the user's."""

import io
import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    file.seek(0)
    return file


class TinyFlags(tfds.core.GeneratorBasedBuilder):
    """Color images with integer labels, and only a train split."""

    VERSION = tfds.core.Version("0.1.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(None, None, 3)), "label": np.int64}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        random = np.random.default_rng(0)
        for i in range(100):
            yield i, {"image": png(random.integers(0, 256, (3, 5, 3), np.uint8)), "label": i % 3 * 2}


class TinyPolarity(tfds.core.GeneratorBasedBuilder):
    """Texts with a number as label, and a split without labels."""

    VERSION = tfds.core.Version("0.1.0")

    def _info(self):
        features = {"text": tfds.features.Text(), "author": tfds.features.Text(), "polarity": np.int32}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(120), "validation": self._generate_examples(30)}

    def _generate_examples(self, count):
        for i in range(count):
            good = i % 2
            yield i, {"text": f"a {('bad', 'good')[good]} film", "author": f"author {i // 6}", "polarity": 4 * good}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    without_statistics = tfds.download.DownloadConfig(compute_stats=tfds.download.ComputeStatsMode.SKIP)
    for builder in (TinyFlags, TinyPolarity):
        builder(data_dir=folder).download_and_prepare(file_format="array_record", download_config=without_statistics)
    return folder


@pytest.fixture(scope="module")
def flags(scripts, folder, tmp_path_factory):
    """A run on color images, which trained on 80 of the 100."""
    workdir = tmp_path_factory.mktemp("flags") / "run"
    fields = ("--data.name", "tiny_flags", "--data.dir", folder, "--model.latent-dim", 45, "--steps", 20)
    arguments = ("mnist_pca", *fields, "--data.train-split", "train[:80]", "--workdir", workdir)
    return workdir, arguments, scripts.answer("train", *arguments)


def test_color_images_train_and_are_reconstructed_in_color(scripts, flags, tmp_path):
    workdir, _, answer = flags
    assert answer["parameters"] == 2 * 45 * 45
    scripts.answer("reconstruct", workdir, "--split", "validation", "--output", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB"), int)
    assert np.mean(np.ptp(pixels, axis=-1) > 100) > 0.1, "saturated colors"
    report = scripts.answer("report", workdir, "--output", tmp_path / "page.html")
    assert any("filters" in figure for figure in report["figures"])
    spec = json.loads((workdir / "config.json").read_text())["dataset"]["spec"]
    assert (spec["channels"], spec["class_names"]) == (3, ["0", "2", "4"])


def test_a_test_split_can_be_chosen_later_and_must_not_overlap_training(scripts, flags):
    workdir, arguments, answer = flags
    missing = scripts.refusal("evaluate", workdir)
    assert "has no split 'test'; it has 'train'" in missing
    assert "--data.test-split" in missing
    evaluated = scripts.answer("evaluate", workdir, "--data.test-split", "train[80:]")
    assert (evaluated["split"], evaluated["examples"]) == ("test", 20)
    for overlapping in ("train", "train[70:]"):
        said = scripts.refusal("evaluate", workdir, "--data.test-split", overlapping)
        assert "row(s) in common" in said
    assert scripts.answer("train", *arguments, "--data.test-split", "train[80:]")["step"] == answer["step"]
    assert scripts.answer("evaluate", workdir)["examples"] == 20


def test_a_run_whose_images_were_read_differently_is_not_resumed(scripts, flags, tmp_path):
    workdir, arguments, _ = flags
    copy = shutil.copytree(workdir, tmp_path / "run")
    config = json.loads((copy / "config.json").read_text())
    config["dataset"]["spec"]["pixel_max"] = 200
    (copy / "config.json").write_text(json.dumps(config))
    said = scripts.refusal("train", *arguments[:-1], copy)
    assert "how the dataset's examples are read" in said


def test_training_on_the_test_split_is_refused(scripts, folder, tmp_path):
    fields = ("--data.name", "tiny_flags", "--data.dir", folder, "--workdir", tmp_path / "run")
    said = scripts.refusal("train", "mnist_pca", *fields, "--data.test-split", "train")
    assert "--data.train-split train and --data.test-split train of tiny_flags have 100 row(s) in common" in said
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow  # tests/hostile/test_names.py evaluates splits of any name
def test_any_split_can_be_evaluated_by_its_name(scripts, flags):
    workdir, _, _ = flags
    evaluated = scripts.answer("evaluate", workdir, "--split", "train[80:90]+train[95%:]")
    assert evaluated["examples"] == 15
    assert evaluated["per_example"].endswith("train%5B80%3A90%5D+train%5B95%25%3A%5D-1.csv")
    assert "has no split 'tset'; it has 'train'" in scripts.refusal("evaluate", workdir, "--split", "tset")
    assert "with --split" in scripts.refusal("evaluate", workdir, "--split", "train[")


def test_a_sweep_looks_for_the_test_split_before_it_trains(scripts, folder, tmp_path):
    fields = ("mnist_pca", "--data.name", "tiny_flags", "--data.dir", folder, "--vary", "model.latent-dim=2,3")
    said = scripts.refusal("sweep", *fields, "--workdir", tmp_path / "sweep")
    assert "has no split 'test'" in said
    assert "--no-test" in said
    assert not (tmp_path / "sweep").exists()


@pytest.fixture(scope="module")
def polarity(scripts, folder, tmp_path_factory):
    """A classifier of texts whose labels are numbers, with TFDS's own validation split."""
    workdir = tmp_path_factory.mktemp("polarity") / "run"
    fields = ("--data.name", "tiny_polarity", "--data.dir", folder, "--data.num-words", 20, "--data.length-buckets", 1)
    fields = (*fields, "--optimizer.learning-rate", 0.01)
    training = (*fields, "--data.label-feature", "polarity", "--data.validation-split", "validation", "--epochs", 20)
    answer = scripts.answer("train", "imdb_bag_of_words", *training, "--workdir", workdir)
    return workdir, fields, answer


def test_numbers_are_classes_and_validation_is_a_separate_split(scripts, polarity):
    workdir, _, answer = polarity
    assert answer["validation"]["accuracy"] == 1
    assert [scripts.answer("evaluate", workdir, "--split", split)["examples"] for split in ("train", "validation")] == [
        120,
        30,
    ]
    (prediction,) = scripts.answer("predict", workdir, "a good film")["predictions"]
    assert prediction["label"] == "4"


def test_validation_and_test_share_no_row(scripts, polarity):
    said = scripts.refusal("evaluate", polarity[0], "--data.test-split", "validation")
    assert "--data.validation-split validation and --data.test-split validation" in said


def test_texts_without_labels_cannot_be_classified(scripts, polarity, tmp_path):
    said = scripts.refusal("train", "imdb_lstm", *polarity[1], "--workdir", tmp_path / "run")
    assert "no class labels" in said
    assert "--data.label-feature" in said
    assert "'author' of tiny_polarity is Text" in scripts.refusal(
        "train", "imdb_lstm", *polarity[1], "--data.label-feature", "author", "--workdir", tmp_path / "run"
    )


@pytest.mark.slow  # tests/data/test_texts.py reads the words of another run
def test_a_run_with_the_vocabulary_of_another_needs_it_only_once(scripts, polarity, tmp_path):
    first, fields, _ = polarity
    other = shutil.copytree(first, tmp_path / "other")
    (other / "vocabulary.txt").write_bytes(b"good\nbad")
    arguments = ("imdb_bag_of_words", *fields, "--data.label-feature", "polarity", "--data.vocabulary-from", other)
    arguments = (*arguments, "--data.validation-group", "author", "--workdir", tmp_path / "run")
    scripts.answer("train", *arguments, "--steps", 3)
    shutil.rmtree(other)
    assert scripts.answer("train", *arguments, "--steps", 5)["step"] == 5
    assert (tmp_path / "run" / "vocabulary.txt").read_bytes() == b"good\nbad"
    assert scripts.answer("evaluate", tmp_path / "run", "--split", "validation")["examples"] == 12
    assert "--data.vocabulary-from" in scripts.refusal("train", *arguments[:-1], tmp_path / "new", "--steps", 3)


EXPERIMENT = """
import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lab10.config.experiment import Experiment
from lab10.data.images import ImageDataset
from lab10.models.autoencoder import LinearAutoencoder
from lab10.optim.optimizers import Adam
from lab10.tasks.reconstruction import Reconstruction


class TinyStripes(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(4, 4, 1))})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(40), "test": self._generate_examples(10)}

    def _generate_examples(self, count):
        for i in range(count):
            png = io.BytesIO()
            Image.fromarray(np.full((4, 4), i % 5 * 50 + 55, np.uint8)).save(png, format="PNG")
            png.seek(0)
            FAIL
            yield i, {"image": png}


experiment = Experiment(
    data=ImageDataset(name="tiny_stripes"),
    model=LinearAutoencoder(latent_dim=2),
    task=Reconstruction(),
    optimizer=Adam(),
    steps=4,
)
"""


def test_a_builder_in_the_file_of_the_experiment_is_found_and_prepared(scripts, tmp_path):
    (tmp_path / "stripes.py").write_text(EXPERIMENT.replace("FAIL", ""))
    arguments = (tmp_path / "stripes.py", "--data.dir", tmp_path / "data", "--workdir", tmp_path / "run")
    assert scripts.process_answer("train", *arguments)["step"] == 4
    assert (tmp_path / "data" / "tiny_stripes" / "1.0.0").is_dir()
    assert scripts.process_answer("train", *arguments, "--steps", 5)["step"] == 5
    # In this process no builder is imported: the prepared folder is enough.
    assert scripts.answer("evaluate", tmp_path / "run")["examples"] == 10


@pytest.mark.parametrize(
    ("fault", "words"),
    [("raise KeyError('no such column')", "KeyError"), ("open('absent.csv')", "FileNotFoundError")],
)
def test_a_builder_that_fails_is_named_with_its_error(scripts, tmp_path, fault, words):
    (tmp_path / "stripes.py").write_text(EXPERIMENT.replace("FAIL", fault))
    arguments = (tmp_path / "stripes.py", "--data.dir", tmp_path / "data", "--workdir", tmp_path / "run")
    said = scripts.process_refusal("train", *arguments)
    assert "The builder of tiny_stripes/1.0.0 failed" in said
    assert words in said


def test_a_refused_folder_lists_what_it_contains(scripts, folder, tmp_path):
    def refusal(name, directory):
        fields = ("--data.name", name, "--data.dir", directory, "--workdir", tmp_path / "run")
        # Another process, which has not imported the builders: it would prepare their datasets.
        return scripts.process_refusal("train", "mnist_pca", *fields)

    assert f"--data.dir {folder} --data.name tiny_flags:0.1.0" in refusal("tiny_flags", folder / "tiny_flags")
    assert "--data.name tiny_flags:0.1.0" in refusal("tiny_flags:0.2.0", folder)
    assert "did you mean 'tiny_polarity'" in refusal("tiny_polarty", folder)
    other = shutil.copytree(folder / "tiny_flags", tmp_path / "data" / "tiny_flags")
    (info,) = other.rglob("dataset_info.json")
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    assert "in the file format tfrecord" in refusal("tiny_flags", tmp_path / "data")
