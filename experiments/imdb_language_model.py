"""An LSTM language model of the 75,000 training reviews, labelled or not: what imdb_lstm_pretrained starts from.

    python scripts/train.py imdb_language_model

These settings are those of a CPU and have not been trained to the end. What was measured has 1,024 units:

    python scripts/train.py imdb_language_model --model.hidden-size 1024 --model.dtype bfloat16 --epochs 3 \
        --batch-size 128 --data.length-buckets 2 --optimizer.learning-rate 2e-3 --optimizer.clip-norm 1 \
        --optimizer.schedule.warmup-steps 100

It has 18,729,009 parameters and a validation perplexity of 375, 260 and 241 after epochs 1, 2 and 3 (5.40 nats), with
--seed 0, in 212 s on an H100 that other jobs shared. The perplexity counts the predictions of both directions, of
30,000 ids.
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
