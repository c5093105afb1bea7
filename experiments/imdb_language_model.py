"""An LSTM language model of the 75,000 training reviews, labeled or not: what imdb_lstm_pretrained starts from.

    python scripts/train.py imdb_language_model

This is for an accelerator. 18,729,009 parameters; with --seed 0, a validation perplexity of 187, 132, 117 and 114.9
after epochs 1 to 4 (4.66 nats), in 147 s on an H100. The perplexity counts the predictions of both directions, of
30,000 ids. With batches of 128 texts, it was 241 after 3 epochs. For a CPU, choose a smaller --model.hidden-size, and
--model.dtype float32.
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
        length_buckets=3,
    ),
    model=LanguageModel(embedding_dim=256, hidden_size=1024, bidirectional=True, dtype="bfloat16"),
    task=LanguageModeling(),
    metrics=(Perplexity(),),
    optimizer=Adam(learning_rate=2e-3, clip_norm=1.0, schedule=Cosine(warmup_steps=300)),
    batch_size=32,
    epochs=4,
    log_every=200,
)
