"""The deep autoencoder of Hinton and Salakhutdinov (2006), 784-1000-500-250-30 and back, without pretraining.

    python scripts/train.py mnist_deep_autoencoder
    python scripts/evaluate.py runs/mnist_deep_autoencoder

Expect 6 to 7 minutes on one CPU core, and a test reconstruction error of 2.821, 2.825 and 2.809 with --seed 0, 1 and
2. The paper reports 3.00, with pretraining. The config has the lowest validation error, with one seed, of seven trials.
"""

from lab10.config.experiment import Experiment
from lab10.data.images import ImageDataset
from lab10.models.autoencoder import MLPAutoencoder
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.tasks.reconstruction import Reconstruction

experiment = Experiment(
    data=ImageDataset(name="mnist"),
    model=MLPAutoencoder(
        encoder_widths=(1000, 500, 250),
        latent_dim=30,
        decoder_widths=(250, 500, 1000),
        activation="elu",
        output_activation="sigmoid",
    ),
    task=Reconstruction(),
    optimizer=Adam(learning_rate=5e-4, weight_decay=0.05, schedule=Cosine()),
    batch_size=64,
    epochs=45,
)
