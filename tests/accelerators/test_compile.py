"""Every experiment, compiled for GPUs and TPUs that are not present. Run by `make test-accelerators`."""

import dataclasses
import importlib.util
import itertools
import re
from pathlib import Path

import jax
import pytest

from lab10.cli.overrides import apply_overrides, load_experiment
from lab10.config.errors import UserError
from lab10.parallel.targets import find_target, use_compilers_only
from lab10.training.aot_compilation import CompiledProgram, compile_programs

missing = [
    name for name in ("libtpu", "jax_plugins.xla_cuda13") if importlib.util.find_spec(name.split(".")[0]) is None
]
if missing:
    pytest.skip(f"needs {', '.join(missing)}: make test-accelerators", allow_module_level=True)

EXPERIMENTS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "experiments").glob("*.py"))
# One chip has more rows than each of several: there, every experiment is compiled at full size, to check its memory.
FULL_SIZE = "tpu:v5e:1x1"
TARGETS = (FULL_SIZE, "gpu:h100", "gpu:h100:8", "tpu:v5e:2x2", "tpu:v5e:16x16")
MIB = 2**20
# On the offline samples. A TPU pads the rows of a table of n-grams from 10 to 128 columns.
MAX_PEAK_BYTES = {
    "imdb_bag_of_ngrams": 1200 * MIB,
    "imdb_language_model": 5 * 1024 * MIB,
    "imdb_lstm_pretrained": 12 * 1024 * MIB,
    "imdb_lstm_tuned": 2300 * MIB,
    "imdb_nbsvm_lstm": 13 * 1024 * MIB,
}
MAX_COLLECTIVES = 12
# What the samples lack: a split without labels, and a run to start from.
OVERRIDES = {
    "imdb_language_model": ["--data.extra-train-split", "None"],
    "imdb_lstm_pretrained": ["--init-from", "None", "--data.vocabulary-from", "None"],
}
# Smaller sizes of the same layers, for the other targets, of experiments that compile slowly. LSTMs keep their size,
# which decides whether they run as a kernel.
_SHORT_TEXTS = ["--data.max-length", "100"]
SMALLER = {
    "imdb_language_model": _SHORT_TEXTS,
    "imdb_lstm_pretrained": _SHORT_TEXTS,
    "imdb_lstm_tuned": _SHORT_TEXTS,
    "imdb_nbsvm": _SHORT_TEXTS,
    "imdb_nbsvm_lstm": [*_SHORT_TEXTS, "--model.num-lstms", "2"],
    "mnist_autoencoder_best": ["--model.encoder-widths", "64", "64", "--model.decoder-widths", "64", "64"],
    "mnist_deep_autoencoder": ["--model.encoder-widths", "64", "64", "64", "--model.decoder-widths", "64", "64", "64"],
}
# The TPU compiler spends most of its time on making programs fast. Without that, they need more memory, no less.
LOW_EFFORT = {"exec_time_optimization_effort": -1.0}

use_compilers_only()


@pytest.fixture(scope="module")
def compiled(cache_dir):
    """Returns the programs of an experiment on the offline samples for a target."""
    programs = {}

    def compile_once(name, target, num_members=None):
        key = (name, target, num_members)
        if key not in programs:
            sample = "synthetic_reviews" if name.startswith("imdb") else "mnist_sample"
            options = ["--data.name", sample, *OVERRIDES.get(name, [])]
            devices = find_target(target)
            if target != FULL_SIZE:
                options += SMALLER.get(name, [])
            if devices.platform == "tpu" and (target != FULL_SIZE or name in SMALLER):
                devices = dataclasses.replace(devices, compiler_options=devices.compiler_options | LOW_EFFORT)
            experiment = apply_overrides(load_experiment(name), name, options).experiment
            programs[key] = experiment, compile_programs(experiment, devices, num_members)
        return programs[key]

    return compile_once


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_compiles_and_fits(compiled, name, target):
    _, programs = compiled(name, target)
    assert programs.keys() == {"train_step", "eval_step"}
    for program in programs.values():
        assert isinstance(program, CompiledProgram), program
        assert 0 < program.peak_bytes < MAX_PEAK_BYTES.get(name, 300 * MIB)
        assert not program.hlo.dtypes & {"f64", "s64", "c64", "c128"}
        instructions = [instruction for _, instruction, _ in program.hlo.executed()]
        assert not {"infeed", "outfeed", "send", "recv"} & {instruction.opcode for instruction in instructions}
        assert not [instruction for instruction in instructions if "callback" in instruction.attributes]
        # On 16 x 16 chips, of one row; NBSVM has no products of matrices.
        assert program.costs.flops > 0 or target == "tpu:v5e:16x16" or name == "imdb_nbsvm"
    training, evaluation = (programs[name].costs.collectives for name in ("train_step", "eval_step"))
    if target in ("gpu:h100", "tpu:v5e:1x1"):
        assert training == evaluation == {}
    elif target != "tpu:v5e:16x16":  # where a batch has fewer rows than the slice has chips
        # The gradients. XLA shards the large gradient of the n-grams' table while it is summed.
        assert set(training) - ({"all-to-all"} if name == "imdb_bag_of_ngrams" else set()) == {"all-reduce"}
        assert sum(training.values()) <= MAX_COLLECTIVES
        assert set(evaluation) <= {"all-gather", "all-reduce"}


@pytest.mark.parametrize(("target", "devices"), [("gpu:h100", 1), ("gpu:h100:8", 8), ("tpu:v5e:2x2", 4)])
@pytest.mark.parametrize("name", ["imdb_lstm", "mnist_pca", "mnist_autoencoder"])
def test_operations_are_those_of_the_formula(compiled, name, target, devices):
    experiment, programs = compiled(name, target)
    model, rows = experiment.model, experiment.batch_size
    if name == "imdb_lstm":
        length = experiment.data.open_dataset().open_split("train").padded_lengths[-1]
        products = rows * length * 4 * model.hidden_size * (model.embedding_dim + model.hidden_size)
        expected = 2 * 3 * (products + rows * model.hidden_size)
    else:
        widths = [784, *getattr(model, "encoder_widths", ()), model.latent_dim]
        widths += [*getattr(model, "decoder_widths", ()), 784]
        layers = [rows * first * second for first, second in itertools.pairwise(widths)]
        expected = 2 * (3 * sum(layers) - layers[0])  # the images need no gradient
    assert programs["train_step"].costs.flops * devices == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("name", "most"), [("imdb_lstm", 50), ("mnist_pca", 35), ("mnist_autoencoder", 60)])
def test_kernel_launches_of_a_training_step(compiled, name, most):
    _, programs = compiled(name, "gpu:h100")
    assert 5 < programs["train_step"].costs.kernel_launches <= most


@pytest.mark.parametrize("name", ["imdb_lstm", "mnist_pca"])
def test_members_trained_together_launch_few_more_kernels_than_one(compiled, name):
    (_, one), (_, eight) = compiled(name, "gpu:h100"), compiled(name, "gpu:h100", num_members=8)
    launches = [programs["train_step"].costs.kernel_launches for programs in (one, eight)]
    assert launches[1] <= 1.1 * launches[0]


@pytest.mark.parametrize("target", ["gpu:h100", "tpu:v5e:2x2"])
@pytest.mark.parametrize("name", ["imdb_lstm", "mnist_pca"])
def test_members_trained_together_have_the_same_flops_as_alone(compiled, name, target):
    (_, one), (_, eight) = compiled(name, target), compiled(name, target, num_members=8)
    flops = [programs["train_step"].costs.flops for programs in (one, eight)]
    assert flops[1] == pytest.approx(8 * flops[0], rel=0.05)


@pytest.mark.parametrize("target", ["gpu:h100", "tpu:v5e:2x2"])
def test_the_lstm_is_one_kernel_forward_and_one_backward(compiled, target):
    _, programs = compiled("imdb_lstm", target)
    for name, kernels in {"train_step": 2, "eval_step": 1}.items():
        instructions = [instruction for _, instruction, _ in programs[name].hlo.executed()]
        assert (
            sum(
                "flops=" in instruction.attributes and instruction.opcode == "custom-call"
                for instruction in instructions
            )
            == kernels
        )
        loops = [instruction for _, instruction, times in programs[name].hlo.executed() if times > 1]
        assert not loops, "nothing is repeated for every time step"


@pytest.mark.parametrize(
    ("target", "hidden_size", "dtype"),
    [
        ("gpu:a100", 64, "float32"),
        ("gpu:a100", 65, "float32"),
        ("gpu:a100", 64, "bfloat16"),
        ("gpu:a100", 128, "bfloat16"),
        ("tpu:v5e:2x2", 33, "bfloat16"),
        ("tpu:v5e:2x2", 512, "float32"),
        ("tpu:v5e:2x2", 2048, "bfloat16"),
    ],
)
def test_lstms_of_any_size_compile(scripts, target, hidden_size, dtype):
    size = ("--model.hidden-size", hidden_size, "--model.dtype", dtype)
    assert scripts.answer("compile", "imdb_lstm", "--data.name", "synthetic_reviews", "--for", target, *size)["fits"]


@pytest.mark.parametrize("layout", ["3x5", "32x32", "2x2x2", "999x999"])
def test_a_slice_that_does_not_exist_is_refused(layout):
    with pytest.raises(UserError, match=f"There is no slice v5e:{layout}"):
        find_target(f"tpu:v5e:{layout}")


def test_an_unsupported_precision_falls_back_to_scan(scripts):
    command = ("compile", "imdb_lstm", "--data.name", "synthetic_reviews", "--for", "tpu:v5e:2x2")
    with jax.default_matmul_precision("high"):
        assert scripts.answer(*command)["fits"]


@pytest.mark.parametrize("target", ["gpu:h100", "tpu:v5e:2x2"])
def test_a_program_that_does_not_fit_reports_the_missing_memory(scripts, target):
    huge = ("--batch-size", 30_000_000, "--data.validation-fraction", 0)
    answer = scripts.answer("compile", "mnist_pca", "--data.name", "mnist_sample", "--for", target, *huge)
    assert not answer["fits"]
    problem = answer["programs"]["train_step"]["problem"]
    assert re.fullmatch(r"needs [\d.]+ GiB more than a device has( \([\d.]+ GiB\), for temporaries alone)?", problem)
    assert answer["programs"]["eval_step"]["problem"] is None
