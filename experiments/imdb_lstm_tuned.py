"""An LSTM tuned for accuracy on labelled reviews alone: both directions, pooled over time, words dropped.

    python scripts/train.py imdb_lstm_tuned
    python scripts/evaluate.py runs/imdb_lstm_tuned

All 25,000 test reviews; those of more than 600 ids by their end. Chosen by the validation loss of a tenth held out, and
then trained on all 25,000 labelled reviews for as many epochs, as Johnson and Zhang (2016) do.
"""

from lab10.config import Experiment
from lab10.data.reviews import Reviews
from lab10.models.sentiment import LSTM
from lab10.optimizers import Adam
from lab10.schedules import Cosine
from lab10.tasks.classification import Classification

experiment = Experiment(
    data=Reviews(
        name="imdb_reviews",
        num_words=30_000,
        max_length=600,
        too_long="truncate",
        padding="front",
        validation_share=0.0,
    ),
    model=LSTM(
        embedding_features=64,
        hidden=64,
        bidirectional=True,
        pooling="concat",
        embedding_dropout=0.5,
        output_dropout=0.5,
    ),
    task=Classification(),
    optimizer=Adam(learning_rate=1e-3, schedule=Cosine()),
    batch_size=64,
    epochs=6,
)
