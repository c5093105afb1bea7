"""An LSTM language model of the 75,000 training reviews, labelled or not: what imdb_lstm_pretrained starts from.

python scripts/train.py imdb_language_model
"""

from lab10.config.experiment import Experiment
from lab10.data.texts import TextDataset
from lab10.metrics.language_metrics import Perplexity
from lab10.models.language_model import LanguageModel
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.tasks.language_modeling import LanguageModeling

experiment = Experiment(
    data=TextDataset(
        name="imdb_reviews",
        extra_train_split="unsupervised",
        labels=False,
        num_words=30_000,
        max_length=400,
        overlong="truncate",
    ),
    model=LanguageModel(embedding_dim=256, hidden_size=512, bidirectional=True),
    task=LanguageModeling(),
    metrics=(Perplexity(),),
    optimizer=Adam(learning_rate=1e-3, schedule=Cosine()),
    batch_size=64,
    epochs=4,
)
