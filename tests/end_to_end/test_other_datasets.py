"""Other TFDS datasets, chosen by name: prepared by TFDS, read through the real scripts."""

import io
import random
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

TOPICS = {
    "sea": ["wave", "ship", "salt"],
    "wood": ["tree", "moss", "deer"],
    "sky": ["cloud", "star", "wind"],
    "city": ["tram", "shop", "noise"],
}


class TinyTopics(tfds.core.GeneratorBasedBuilder):
    """Four classes, fields of other names than IMDB's, and two texts an example."""

    VERSION = tfds.core.Version("0.1.0")

    def _info(self):
        features = {
            "title": tfds.features.Text(),
            "body": tfds.features.Text(),
            "topic": tfds.features.ClassLabel(names=list(TOPICS)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "validation": self._generate_examples(1)}

    def _generate_examples(self, seed):
        source = random.Random(seed)
        for i in range(400):
            topic = source.choice(list(TOPICS))
            yield (
                i,
                {
                    "title": "a note",
                    "body": " ".join(source.choices(TOPICS[topic], k=source.randint(1, 9))),
                    "topic": topic,
                },
            )


class TinyShapes(tfds.core.GeneratorBasedBuilder):
    """Images that are neither square nor of 784 pixels, without labels."""

    VERSION = tfds.core.Version("0.1.0")
    SIZES = ((6, 9),)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"shape": tfds.features.Image(shape=(None, None, 1))})
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

    def _generate_examples(self, seed):
        source = np.random.default_rng(seed)
        for i in range(120):
            height, width = self.SIZES[i % len(self.SIZES)]
            png = io.BytesIO()
            Image.fromarray(source.integers(0, 256, (height, width), dtype=np.uint8)).save(png, format="PNG")
            png.seek(0)
            yield i, {"shape": png}


class TinyMixedShapes(TinyShapes):
    """Images of two sizes."""

    SIZES = ((6, 9), (9, 6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    without_statistics = tfds.download.DownloadConfig(compute_stats=tfds.download.ComputeStatsMode.SKIP)
    for builder in (TinyTopics, TinyShapes, TinyMixedShapes):
        builder(data_dir=folder).download_and_prepare(file_format="array_record", download_config=without_statistics)
    return folder


@pytest.mark.slow  # test_user_datasets.py and tests/tasks/test_classification.py have several classes
@pytest.mark.parametrize("experiment", ["imdb_bag_of_words", "imdb_lstm"])
def test_texts_of_four_classes(scripts, folder, tmp_path, experiment):
    fields = (
        "--data.name",
        "tiny_topics",
        "--data.dir",
        folder,
        "--data.test-split",
        "validation",
        "--data.num-words",
        20,
    )
    said = scripts.refusal("train", "imdb_lstm", *fields, "--workdir", tmp_path / "run")
    assert "body, title" in said
    assert "--data.text-feature" in said
    fields = (*fields, "--data.text-feature", "body", "--data.max-length", 10, "--data.length-buckets", 1)
    training = ("--epochs", 30, "--evaluate-every", 1000, "--batch-size", 16, "--optimizer.learning-rate", 0.01)
    workdir = tmp_path / experiment
    scripts.answer("train", experiment, *fields, *training, "--workdir", workdir)
    evaluated = scripts.answer("evaluate", workdir)
    assert (evaluated["examples"], evaluated["accuracy"]) == (400, 1.0)
    prediction = scripts.answer("predict", workdir, "tree moss tree")["predictions"][0]
    assert prediction["label"] == "wood"
    assert prediction["probabilities"].keys() == TOPICS.keys()


@pytest.mark.slow  # test_user_datasets.py has color images of another size
def test_images_of_another_size_without_labels(scripts, folder, tmp_path):
    fields = (
        "--data.name",
        "tiny_shapes",
        "--data.dir",
        folder,
        "--model.latent-dim",
        54,
        "--epochs",
        2,
        "--workdir",
        tmp_path / "run",
    )
    assert scripts.answer("train", "mnist_pca", *fields)["parameters"] == 2 * 54 * 54
    evaluated = scripts.answer("evaluate", tmp_path / "run")
    assert evaluated["examples"] == 120
    assert evaluated["pca_reconstruction_error"] == pytest.approx(0, abs=1e-8)  # as many dimensions as pixels
    scripts.answer("reconstruct", tmp_path / "run", "--output", tmp_path / "out.png")


def test_a_run_resumes_with_its_dataset_in_another_folder(scripts, folder, tmp_path):
    fields = ("mnist_pca", "--data.name", "tiny_shapes", "--model.latent-dim", 5, "--workdir", tmp_path / "run")
    scripts.answer("train", *fields, "--data.dir", folder, "--epochs", 2)
    here = scripts.answer("evaluate", tmp_path / "run")
    elsewhere = ("--data.dir", shutil.copytree(folder, tmp_path / "elsewhere"), "--data.cache-dir", tmp_path / "cache")
    assert scripts.answer("evaluate", tmp_path / "run", *elsewhere)["loss"] == here["loss"]
    longer = scripts.answer("train", *fields, *elsewhere, "--epochs", 4)
    uninterrupted = (*fields[:-1], tmp_path / "uninterrupted", "--data.dir", folder, "--epochs", 4)
    assert longer["validation"] == scripts.answer("train", *uninterrupted)["validation"]
    (records,) = (tmp_path / "elsewhere" / "tiny_shapes").rglob("*-test.array_record*")
    (train,) = (tmp_path / "elsewhere" / "tiny_shapes").rglob("*-train.array_record*")
    shutil.copyfile(records, train)
    other = (*elsewhere[:2], "--data.cache-dir", tmp_path / "another_cache")
    assert "the dataset's content" in scripts.refusal("train", *fields, *other, "--epochs", 5)


def test_images_of_two_sizes_are_refused(scripts, folder, tmp_path):
    said = scripts.refusal(
        "train", "mnist_pca", "--data.name", "tiny_mixed_shapes", "--data.dir", folder, "--workdir", tmp_path / "run"
    )
    assert "different sizes" in said
