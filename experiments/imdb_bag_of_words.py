"""draft"""

from lab10.config import Experiment
from lab10.data.reviews import Reviews
from lab10.models.sentiment import BagOfWords
from lab10.optimizers import RMSprop
from lab10.tasks.classification import Classification

experiment = Experiment(
    data=Reviews(name="imdb_reviews", num_words=10_000, max_length=250),
    model=BagOfWords(widths=(16,)),
    task=Classification(),
    optimizer=RMSprop(learning_rate=1e-3),
    batch_size=128,
    epochs=10,
)
