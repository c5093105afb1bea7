"""The lab's linear autoencoder for MNIST, which learns PCA: 784 → 64 → 784 without bias, one epoch.

    python scripts/train.py mnist_pca
    python scripts/evaluate.py runs/mnist_pca

Expect 7 s on 2 CPU cores, and a test reconstruction error of 8.761, 8.729 and 8.785 with --seed 0, 1 and 2; exact PCA
with the same latent size has 7.097. One epoch is not enough to converge; see mnist_pca_converged.
"""

from lab10.config.experiment import Experiment
from lab10.data.images import ImageDataset
from lab10.models.autoencoder import LinearAutoencoder
from lab10.optim.optimizers import Adam
from lab10.tasks.reconstruction import Reconstruction

experiment = Experiment(
    data=ImageDataset(name="mnist"),
    model=LinearAutoencoder(latent_dim=64),
    task=Reconstruction(),
    optimizer=Adam(learning_rate=1e-3),
    batch_size=32,
    epochs=1,
)
