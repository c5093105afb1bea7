"""Hashed unigrams and bigrams with averaged embeddings (fastText): the baseline that an LSTM has to beat.

    python scripts/train.py imdb_bag_of_ngrams
    python scripts/evaluate.py runs/imdb_bag_of_ngrams

Expect 2.5 minutes on one CPU core, and an accuracy of 0.8975, 0.8979 and 0.8972 with --seed 0, 1 and 2 on all 25,000
test reviews, at the checkpoint with the lowest validation loss (epoch 6). As in imdb_lstm_tuned, reviews of more than
600 ids are truncated to their last 600 ids.
"""

from lab10.config.experiment import Experiment
from lab10.data.texts import TextDataset
from lab10.models.bag_of_ngrams import BagOfNgrams
from lab10.optim.optimizers import Adam
from lab10.tasks.classification import Classification

experiment = Experiment(
    data=TextDataset(name="imdb_reviews", num_words=30_000, max_length=600, overlong="truncate", padding_side="left"),
    model=BagOfNgrams(max_ngram=2, embedding_dim=16, dropout=0.2),
    task=Classification(),
    optimizer=Adam(learning_rate=3e-3),
    batch_size=64,
    epochs=20,
    patience=3,
)
