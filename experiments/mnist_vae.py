"""A variational autoencoder (Kingma and Welling 2014) of binarized MNIST: 784-500-500-50 and its mirror, tanh.

    python scripts/train.py mnist_vae
    python scripts/evaluate.py runs/mnist_vae
    python scripts/likelihood.py runs/mnist_vae --samples 5000 --images 1000

Expect -log p(x) of at most 88.80 nats (standard error 0.75) by the last command, with --seed 0: the importance-weighted
bound (Burda et al. 2016) on the first 1,000 test images. The negative ELBO is 94.14 on the validation split and 93.60
on the test split. Training takes about 12 minutes on one core. No setting was tuned.
"""

from lab10.config.experiment import Experiment
from lab10.data.images import ImageDataset
from lab10.data.transforms import Binarize
from lab10.models.vae import VAE
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.tasks.elbo import NegativeELBO

experiment = Experiment(
    data=ImageDataset(name="mnist", transform=Binarize()),
    model=VAE(encoder_widths=(500, 500), latent_dim=50, decoder_widths=(500, 500), activation="tanh"),
    task=NegativeELBO(),
    optimizer=Adam(learning_rate=2e-3, schedule=Cosine()),
    batch_size=128,
    epochs=50,
)
