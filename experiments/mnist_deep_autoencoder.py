"""The deep autoencoder of Hinton and Salakhutdinov (2006), 784-1000-500-250-30 and back, without pretraining.

    python scripts/train.py mnist_deep_autoencoder
    python scripts/evaluate.py runs/mnist_deep_autoencoder

Expect a test reconstruction error of 1.8370, 1.8286 and 1.8332 with --seed 0, 1 and 2; the paper reports 3.00, with
pretraining. The validation error is 1.8718, 1.8669 and 1.8672, at the last checkpoint. The three seeds were trained
together, with four validations (--evaluate-every 1590): 90 s on an H100 that other jobs shared, with products in TF32.
A run on a CPU was not timed.

The learning rate has the lowest validation error after 20 epochs with --seed 0: 2.36 at 3e-3, 2.22 at 6e-3 and 2.46 at
1.2e-2, while 2.4e-2 diverged (127.8). Nothing else was varied, and no run took more than 60 epochs. ELU and Adam at
5e-4 with weight decay 0.05, batches of 64 and unchanged images had 2.82 on test after 45 epochs.
"""

from lab10.config.experiment import Experiment
from lab10.data.image_transforms import ElasticDeformation
from lab10.data.images import ImageDataset
from lab10.models.autoencoder import MLPAutoencoder
from lab10.optim.optimizers import Muon
from lab10.optim.schedules import Cosine
from lab10.tasks.reconstruction import Reconstruction

experiment = Experiment(
    data=ImageDataset(name="mnist", transform=ElasticDeformation(max_shift=1)),
    model=MLPAutoencoder(
        encoder_widths=(1000, 500, 250),
        latent_dim=30,
        decoder_widths=(250, 500, 1000),
        activation="gelu",
        output_activation="sigmoid",
    ),
    task=Reconstruction(),
    optimizer=Muon(learning_rate=6e-3, weight_decay=1e-6, schedule=Cosine(warmup_steps=100)),
    batch_size=512,
    epochs=60,
    evaluation_batch_size=2000,
    log_every=200,
)
