"""draft"""

from lab10.config import Experiment
from lab10.data.pictures import Pictures
from lab10.models.autoencoder import MLPAutoencoder
from lab10.optimizers import Adam
from lab10.tasks.reconstruction import Reconstruction

experiment = Experiment(
    data=Pictures(name="mnist"),
    model=MLPAutoencoder(encoder_widths=(256,), latent=64, decoder_widths=(256,), activation="tanh", output="linear"),
    task=Reconstruction(),
    optimizer=Adam(learning_rate=0.01),
    batch_size=32,
    steps=1500,
    seed=2,
)
