"""draft"""

from lab10.config import Experiment
from lab10.data.reviews import Reviews
from lab10.models.sentiment import LSTM
from lab10.optimizers import RMSprop
from lab10.tasks.classification import Classification

experiment = Experiment(
    data=Reviews(name="imdb_reviews", num_words=10_000, max_length=250, padding="front"),
    model=LSTM(embedding_features=64, hidden=32),
    task=Classification(),
    optimizer=RMSprop(learning_rate=1e-3),
    batch_size=32,
    epochs=8,
)
