"""The lab's layer widths, tuned: 784-256-64-256-784, ELU, sigmoid output, Adam with cosine decay.

    python scripts/train.py mnist_autoencoder
    python scripts/evaluate.py runs/mnist_autoencoder

Expect 24 s on 2 CPU cores, and a test reconstruction error of 1.716, 1.730 and 1.753 with --seed 0, 1 and 2; exact PCA
with the same latent size has 7.097. Activation and learning rate have the lowest validation error after 30 epochs with
--seed 0: tanh has 2.27 at 2e-3 and 2.05 at 4e-3; GELU 2.51 at 1e-3 and 2.19 at 2e-3; ELU 2.08 at 2e-3 and 1.78 at 4e-3.
The error keeps falling with more epochs.
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
        encoder_widths=(256,), latent_dim=64, decoder_widths=(256,), activation="elu", output_activation="sigmoid"
    ),
    task=Reconstruction(),
    optimizer=Adam(learning_rate=4e-3, schedule=Cosine()),
    batch_size=128,
    epochs=30,
)
