"""NBSVM and four LSTMs, which learn separately from the same labels and classify together; no unlabeled reviews.

    python scripts/train.py imdb_nbsvm_lstm
    python scripts/evaluate.py runs/imdb_nbsvm_lstm

Every evaluation has the accuracy of each part, `nbsvm_accuracy` and `lstm_accuracy`, next to that of their combined
logits. NBSVM is that of `imdb_nbsvm`, and each LSTM has the architecture of `imdb_lstm_tuned`.
"""

from lab10.config.experiment import Experiment
from lab10.data.texts import TextDataset
from lab10.models.nbsvm_and_lstm import NBSVMAndLSTM
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.tasks.ensemble_classification import EnsembleClassification

experiment = Experiment(
    data=TextDataset(
        name="imdb_reviews", num_words=None, max_length=1200, overlong="truncate", max_ngram=3, ngram_min_count=2
    ),
    model=NBSVMAndLSTM(
        num_lstms=4,
        num_words=30_000,
        embedding_dim=64,
        max_ngram=2,
        hidden_size=64,
        bidirectional=True,
        pooling="concat",
        embedding_dropout=0.5,
        output_dropout=0.5,
    ),
    task=EnsembleClassification(adversarial_radius=0.3),
    optimizer=Adam(learning_rate=1e-3, schedule=Cosine(), learning_rate_factors=("nbsvm/*=3",)),
    batch_size=64,
    epochs=4,
    monitor="combined_loss",
)
