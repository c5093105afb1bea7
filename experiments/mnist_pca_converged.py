"""The linear autoencoder, trained until it converges to PCA: 20 epochs, learning rate decayed to 0.

    python scripts/train.py mnist_pca_converged
    python scripts/evaluate.py runs/mnist_pca_converged

Expect 11 s on 2 CPU cores, and a test reconstruction error of 7.0989, 7.1005 and 7.0992 with --seed 0, 1 and 2: within
0.05 % of exact PCA's 7.0974.
"""

from lab10.config.experiment import Experiment
from lab10.data.images import ImageDataset
from lab10.models.autoencoder import LinearAutoencoder
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.tasks.reconstruction import Reconstruction

experiment = Experiment(
    data=ImageDataset(name="mnist"),
    model=LinearAutoencoder(latent_dim=64),
    task=Reconstruction(),
    optimizer=Adam(learning_rate=3e-3, schedule=Cosine()),
    batch_size=128,
    epochs=20,
)
