"""Setting the fields of an experiment from the command line."""

import pytest

from lab10.cli.overrides import apply_overrides, load_experiment, load_experiment_file, parse_training_arguments
from lab10.config.errors import UserError
from lab10.data.transforms import NoTransform, WordDropout
from lab10.metrics.class_metrics import AUC, F1, ConfusionMatrix
from lab10.models.autoencoder import MLPAutoencoder
from lab10.models.text_classifiers import BagOfWords
from lab10.optim.optimizers import SGD, Adam, RMSprop
from lab10.optim.schedules import Cosine, PiecewiseConstant


@pytest.fixture
def parse(text_experiment):
    """Returns a function that applies arguments to an experiment with `epochs=8` and RMSprop."""
    default = text_experiment(steps=None, epochs=8, optimizer=RMSprop(learning_rate=0.5, clip_norm=2.0))
    return lambda *arguments: apply_overrides(default, "lstm", list(arguments))[0]


def refusal(parse, *arguments):
    with pytest.raises(UserError) as error:
        parse(*arguments)
    message = str(error.value)
    assert 1 <= len(message.splitlines()) <= 10
    return message


def test_without_arguments_the_experiment_is_unchanged(parse, text_experiment):
    assert parse() == text_experiment(steps=None, epochs=8, optimizer=RMSprop(learning_rate=0.5, clip_norm=2.0))


def test_steps_replace_the_default_of_epochs_and_vice_versa(parse, text_experiment):
    by_steps, by_epochs = parse("--steps", "7"), parse("--epochs", "3")
    assert (by_steps.steps, by_steps.epochs) == (7, None)
    assert (by_epochs.steps, by_epochs.epochs) == (None, 3)
    epochs_over_steps, *_ = apply_overrides(text_experiment(steps=7), "lstm", ["--epochs=2"])
    assert (epochs_over_steps.steps, epochs_over_steps.epochs) == (None, 2)


def test_steps_and_epochs_together_are_refused(parse):
    assert "Exactly one of --epochs and --steps" in refusal(parse, "--steps", "7", "--epochs", "2")


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        (["--batch-size", "64"], "batch_size", 64),
        (["--batch_size", "64"], "batch_size", 64),
        (["--batch-size=64"], "batch_size", 64),
        (["--batch_size=64"], "batch_size", 64),
        (["--seed", "3"], "seed", 3),
        (["--optimizer.learning-rate", "1e-2"], "optimizer.learning_rate", 0.01),
        (["--optimizer.clip-norm", "None"], "optimizer.clip_norm", None),
        (["--data.name", "a_name/with_config"], "data.name", "a_name/with_config"),
        (["--data.max-length", "None"], "data.max_length", None),
        (["--data.padding-side", "right"], "data.padding_side", "right"),
        (["--model.hidden-size", "5"], "model.hidden_size", 5),
        (["--model.dtype", "bfloat16"], "model.dtype", "bfloat16"),
        (["--init-from", "runs/other"], "init_from", "runs/other"),
    ],
)
def test_every_field_is_set_by_its_path(parse, arguments, path, value):
    parsed = parse(*arguments)
    for name in path.split("."):
        parsed = getattr(parsed, name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--model.bidirectional"], True),
        (["--model.no-bidirectional"], False),
        (["--no-model.bidirectional"], False),
        *(([f"--model.bidirectional={word}"], True) for word in ("True", "true", "TRUE", "1")),
        *((["--model.bidirectional", word], False) for word in ("False", "false", "0")),
        (["--model.no-bidirectional", "True"], False),
        (["--model.bidirectional", "--seed", "3"], True),
        (["--model.bidirectional", "True", "--model.bidirectional", "False"], False),
    ],
)
def test_a_boolean_is_set_with_or_without_a_value(parse, arguments, value):
    assert parse(*arguments).model.bidirectional is value
    assert parse("--seed", "3", *arguments).model.bidirectional is value


def test_booleans_of_a_replaced_component_and_optional_booleans_are_set(parse, text_experiment):
    assert parse("--optimizer.nesterov", "1", "--optimizer", "sgd", "--optimizer.momentum", "0.5").optimizer.nesterov
    assert parse("--mesh.shard_optimizer", "true").mesh.shard_optimizer

    def detect(*arguments):
        return apply_overrides(text_experiment(), "lstm", list(arguments)).distributed.detect

    assert detect() is detect("--distributed.detect", "None") is None
    assert detect("--distributed.detect") is detect("--distributed.detect=true") is True
    assert detect("--distributed.detect", "false") is detect("--distributed.no-detect") is False


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--model.bidirectional", "yes", "True or False"),
        ("--model.bidirectional", "None", "True or False"),
        ("--distributed.detect", "2", "True, False or None"),
    ],
)
def test_a_value_that_is_not_a_boolean_is_refused(parse, option, value, expected):
    message = refusal(parse, option, value)
    assert option in message
    assert f"{value.lower()!r}; expected {expected}" in message


def test_a_component_is_replaced_by_name_and_its_fields_are_set(parse):
    optimizer = parse("--optimizer", "adam", "--optimizer.b1", "0.8").optimizer
    assert optimizer == Adam(b1=0.8, learning_rate=0.5, clip_norm=2.0), "fields of the base class keep their values"
    assert parse("--optimizer.momentum", "0.5", "--optimizer", "SGD").optimizer == SGD(
        momentum=0.5, learning_rate=0.5, clip_norm=2.0
    )
    assert parse("--optimizer=rmsprop").optimizer == RMSprop(learning_rate=0.5, clip_norm=2.0)
    assert parse("--model", "bagofwords", "--model.widths", "8", "4").model == BagOfWords(widths=(8, 4))


def test_nested_components_are_replaced(parse):
    assert parse(
        "--optimizer.schedule", "cosine", "--optimizer.schedule.end-factor", "0.1"
    ).optimizer.schedule == Cosine(end_factor=0.1)
    assert parse(
        "--optimizer.schedule", "piecewiseconstant", "--optimizer.schedule.boundaries", "10", "20"
    ).optimizer.schedule == PiecewiseConstant(boundaries=(10, 20))
    experiment = parse(
        "--optimizer",
        "adam",
        "--optimizer.schedule",
        "cosine",
        "--data.transform",
        "worddropout",
        "--data.transform.rate",
        "0.2",
    )
    assert experiment.optimizer.schedule == Cosine()
    assert experiment.data.transform == WordDropout(rate=0.2)
    assert parse("--data.transform", "notransform").data.transform == NoTransform()


def test_metrics_are_given_by_name(parse, text_experiment):
    assert parse("--metrics", "f1", "ConfusionMatrix", "--seed", "3").metrics == (F1(), ConfusionMatrix())
    assert parse("--monitor", "auc", "--metrics=auc").monitor == "auc"
    default = text_experiment(metrics=(F1(),))
    assert apply_overrides(default, "lstm", [])[0].metrics == (F1(),)
    assert apply_overrides(default, "lstm", ["--metrics", "auc"])[0].metrics == (AUC(),)
    assert apply_overrides(default, "lstm", ["--metrics"])[0].metrics == ()
    assert "did you mean 'auc'" in refusal(parse, "--metrics", "acu")


def test_a_misspelled_field_suggests_the_closest_name(parse):
    for typo, meant in (
        ("--bach-size", "--batch-size"),
        ("--optimizer.learning-rat", "--optimizer.learning-rate"),
        ("--data.max-lenght", "--data.max-length"),
    ):
        message = refusal(parse, typo, "3")
        assert typo in message
        assert meant in message


def test_an_unknown_component_suggests_the_closest_name(parse):
    message = refusal(parse, "--optimizer", "adm")
    assert "did you mean 'adam'" in message
    assert "RMSprop" in message
    assert "--optimizer needs a value" in refusal(parse, "--optimizer")


def test_a_field_of_the_replaced_component_is_unknown(parse):
    assert "--optimizer.decay" in refusal(parse, "--optimizer", "adam", "--optimizer.decay", "0.5")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--batch-size", "0"),
        ("--epochs", "0"),
        ("--steps", "-1"),
        ("--seed", "-1"),
        ("--log-every", "0"),
        ("--optimizer.learning-rate", "-1"),
        ("--optimizer.learning-rate", "nan"),
        ("--data.validation-fraction", "1"),
        ("--data.num-words", "2"),
        ("--model.hidden-size", "0"),
        ("--monitor", "reconstruction_error"),
    ],
)
def test_a_value_out_of_range_is_refused_and_its_option_named(parse, option, value):
    assert option in refusal(parse, option, value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--batch-size", "many"),
        ("--batch-size", "1.5"),
        ("--data.padding-side", "front"),
        ("--optimizer.learning-rate", "fast"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_and_its_option_named(parse, option, value):
    message = refusal(parse, option, value)
    assert option in message
    assert value in message


def test_the_workdir_defaults_to_the_name_of_the_experiment(text_experiment):
    assert apply_overrides(text_experiment(), "lstm", [])[1] == "runs/lstm"
    assert apply_overrides(text_experiment(), "lstm", ["--workdir", "elsewhere/x"])[1] == "elsewhere/x"


def test_an_experiment_is_found_by_name_or_by_path(tmp_path):
    file = load_experiment_file("mnist_autoencoder_lab")
    assert isinstance(file.experiment.model, MLPAutoencoder)
    assert file.name == "mnist_autoencoder_lab"
    path = tmp_path / "mine.py"
    path.write_text("from lab10.cli.overrides import load_experiment\nexperiment = load_experiment('mnist_pca')\n")
    assert load_experiment_file(str(path))[:2] == (load_experiment("mnist_pca"), "mine")
    path.write_text("experiment = 3\n")
    with pytest.raises(UserError, match="defines no experiment"):
        load_experiment(str(path))


def test_a_misspelled_experiment_suggests_the_closest_name():
    with pytest.raises(UserError, match="no experiment 'imdb_lsmt'; did you mean 'imdb_lstm'"):
        load_experiment("imdb_lsmt")
    for arguments in ([], ["--seed", "3"]):
        with pytest.raises(UserError, match=r"usage: .*EXPERIMENT"):
            parse_training_arguments(arguments)


def test_the_help_lists_every_field_with_its_docstring(parse, capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert not stop.value.code
    help_text = capsys.readouterr().out
    for words in (
        "--batch-size",
        "--optimizer.learning-rate",
        "--data.validation-fraction",
        "--model.hidden-size",
        "--workdir",
        "Examples per training step",
    ):
        assert words in help_text
