"""NBSVM, the linear baseline (Wang and Manning 2012): exact n-grams of up to three words, weighted by log-count ratio.

    python scripts/train.py imdb_nbsvm --data.validation-fraction 0
    python scripts/evaluate.py runs/imdb_nbsvm

Expect 27 s on one CPU core, and an accuracy of 0.9241, 0.9242 and 0.9227 with --data.shuffle-seed 0, 1 and 2 on all
25,000 test reviews, after a fit on all 25,000 labels. Only the order of the examples is random. The settings have the
lowest validation loss of twelve trials with the default validation split: learning rates from 3e-4 to 3e-2, n-grams of
up to 2, 3 or 4 words that occur in at least 1 or 2 reviews, smoothing 1 or 0.3, dropout 0 or 0.5. Wang and Manning
report 0.9122 with pairs of words; Mesnil et al. (2014) report 0.9187 with triples.
"""

from lab10.config.experiment import Experiment
from lab10.data.texts import TextDataset
from lab10.models.naive_bayes import NBSVM
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.tasks.classification import Classification

experiment = Experiment(
    data=TextDataset(
        name="imdb_reviews", num_words=None, max_length=1200, overlong="truncate", max_ngram=3, ngram_min_count=2
    ),
    model=NBSVM(),
    task=Classification(),
    optimizer=Adam(learning_rate=3e-3, schedule=Cosine()),
    batch_size=64,
    epochs=3,
)
