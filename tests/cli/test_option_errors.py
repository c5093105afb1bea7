"""Options that do not exist and values that cannot be read: the messages name the mistake and what was expected."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mnist_pca", "--steps", "1e3"), "--steps is '1e3'; expected a whole number or None."),
        (("mnist_pca", "--epochs=1.5"), "--epochs is '1.5'; expected a whole number or None."),
        (("mnist_pca", "--optimizer.learning-rate", "high"), "--optimizer.learning-rate is 'high'; expected a number."),
        (("mnist_pca", "--model.latent_dim", "3x"), "--model.latent-dim is '3x'; expected a whole number."),
        (
            ("mnist_autoencoder", "--model.encoder-widths", "a"),
            "--model.encoder-widths is 'a'; expected whole numbers.",
        ),
        (("mnist_pca", "--lr", "0.1"), "There is no option --lr.\n"),
        (("imdb_lstm", "--model.hiden-size", "8"), "no option --model.hiden-size; did you mean --model.hidden-size?"),
        (("imdb_lstm", "--hidden-size", "8"), "There is no option --hidden-size; did you mean --model.hidden-size?"),
        (("imdb_lstm", "--model.widths", "8"), "no option --model.widths here; it is one of --model bagofwords."),
    ],
)
def test_the_message_names_the_option_and_what_was_expected(scripts, tmp_path, arguments, said):
    refused = scripts.refusal("train", *arguments, "--workdir", tmp_path / "run")
    assert said in refused
    assert len(refused.splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_every_unknown_option_is_named(scripts):
    refused = scripts.refusal("train", "imdb_lstm", "--model.hidden", "8", "--epochs", "1", "--nonsense", "9")
    assert "There is no option --model.hidden;" in refused
    assert "There is no option --nonsense." in refused
