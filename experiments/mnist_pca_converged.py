"""draft"""

from lab10.config import Experiment
from lab10.data.pictures import Pictures
from lab10.models.autoencoder import LinearAutoencoder
from lab10.optimizers import Adam
from lab10.schedules import Cosine
from lab10.tasks.reconstruction import Reconstruction

experiment = Experiment(
    data=Pictures(name="mnist"),
    model=LinearAutoencoder(latent=64),
    task=Reconstruction(),
    optimizer=Adam(learning_rate=3e-3, schedule=Cosine()),
    batch_size=128,
    epochs=20,
)
