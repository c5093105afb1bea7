"""An LSTM that starts from imdb_language_model (Dai and Le 2015), with adversarial training (Miyato et al. 2017).

    python scripts/train.py imdb_language_model
    python scripts/train.py imdb_lstm_pretrained
    python scripts/evaluate.py runs/imdb_lstm_pretrained

No accuracy has been measured yet, and no setting was selected. The size of the LSTM has to be that of the language
model; --init-from and --data.vocabulary-from name another workdir of one.
"""

from lab10.config.experiment import Experiment
from lab10.data.texts import TextDataset
from lab10.models.text_classifiers import LSTM
from lab10.optim.optimizers import Adam
from lab10.optim.schedules import Cosine
from lab10.tasks.classification import Classification

experiment = Experiment(
    data=TextDataset(
        name="imdb_reviews",
        vocabulary_from="runs/imdb_language_model",
        num_words=30_000,
        max_length=400,
        overlong="truncate",
    ),
    init_from="runs/imdb_language_model",
    model=LSTM(embedding_dim=256, hidden_size=512, bidirectional=True, pooling="concat", output_dropout=0.5),
    task=Classification(adversarial_radius=0.3),
    optimizer=Adam(learning_rate=5e-4, schedule=Cosine()),
    batch_size=64,
    epochs=6,
)
