"""wide"""

from lab10.config.experiment import Experiment
from lab10.data.texts import TextDataset
from lab10.models.wide_lstm import WideLSTM
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.tasks.classification import Classification

experiment = Experiment(
    data=TextDataset(name="imdb_reviews", num_words=30_000, max_length=600, overlong="truncate", max_ngram=3),
    model=WideLSTM(
        embedding_dim=64,
        hidden_size=64,
        bidirectional=True,
        pooling="concat",
        embedding_dropout=0.5,
        output_dropout=0.5,
        ngram_dropout=0.5,
    ),
    task=Classification(),
    optimizer=Adam(learning_rate=1e-3, schedule=Cosine()),
    batch_size=64,
    epochs=3,
)
