"""Starting from the parameters of another run: from those that have the same path and shape."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from lab10.cli.console import console
from lab10.config.errors import UserError
from lab10.config.experiment import Experiment
from lab10.data.dataset import OpenDataset
from lab10.data.texts import TextSpec
from lab10.optim.parameter_paths import by_path, matches_any, require_matches, summarize_paths, with_leaves
from lab10.training.checkpoints import Checkpoints
from lab10.training.state import Params, init_params
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir

# Fields of a text dataset that, with the vocabulary, say which word an id is.
ID_FIELDS = ("index_from", "start_id", "unknown_id")
# Some of the parameters of a model, by path.
ParamsByPath = Mapping[str, jax.Array]


def load_params(experiment: Experiment, dataset: OpenDataset, functions: StepFunctions) -> ParamsByPath:
    """Loads the best parameters of the run `init_from` that fit the model, and prints which these are.

    Runs no code of that run: its config is read as JSON. With another vocabulary, only what `init_only` names is taken,
    and never what has a row for each word.

    Raises:
      UserError: there is no such run, nothing fits, a pattern selects nothing, or the vocabulary differs.
    """
    directory, patterns, abstract = experiment.init_from, experiment.init_only, functions.abstract_params()
    assert directory is not None
    here = by_path(abstract)
    require_matches("--init-only", patterns, here)
    wanted = [path for path in here if not patterns or matches_any(patterns, path)]
    workdir = Workdir(directory)
    try:
        _require_same_words(workdir, experiment, dataset, wanted, functions)
        step, there = _restore(workdir, next(iter(here.values())).sharding)
    except UserError as error:
        raise UserError(f"--init-from {directory}: {error}") from error
    taken = {path: there[path] for path in wanted if path in there and _fits(there[path], here[path])}
    left = {path: _reason(there.get(path), here[path], path in wanted) for path in here if path not in taken}
    for pattern in patterns or ("*",):
        if not any(matches_any([pattern], path) for path in taken):
            reasons = [f"{path} ({why})" for path, why in left.items() if matches_any([pattern], path)]
            raise UserError(
                f"--init-from {directory}: nothing fits{f' of --init-only {pattern!r}' if patterns else ''}. Of this "
                f"model: {', '.join(reasons[:5])}{', …' * (len(reasons) > 5)}. That run has {summarize_paths(there)}."
            )
    _report(directory, step, taken, left)
    return taken


def starting_params(functions: StepFunctions, start: ParamsByPath) -> Params:
    """Returns the initial parameters, except for those in `start`, which are taken from there."""
    if not start:
        return functions.init_params()
    abstract = functions.abstract_params()
    return with_leaves(abstract if len(start) == len(by_path(abstract)) else functions.init_params(), start)


def _restore(workdir: Workdir, sharding: jax.sharding.Sharding) -> tuple[int, dict[str, Any]]:
    metrics, monitor = workdir.read_metric_directions(), workdir.read_experiment_json().get("monitor", "loss")
    if monitor not in metrics:
        raise UserError(f"{workdir.config_path} is damaged: its monitor {monitor!r} is none of its metrics.")
    checkpoints = Checkpoints(workdir.checkpoints_path, monitor, metrics[monitor])
    step = checkpoints.find("best")
    abstract = checkpoints.saved_shapes(step, "eval_params", sharding)
    return step, by_path(checkpoints.restore(step, {"eval_params": abstract}).trees["eval_params"])


def _fits(there: Any, here: Any) -> bool:
    return (there.shape, there.dtype) == (here.shape, here.dtype)


def _reason(there: Any, here: Any, is_wanted: bool) -> str:
    if not is_wanted:
        return "not in --init-only"
    if there is None:
        return "not in that run"
    if there.shape == here.shape:
        return f"{there.dtype} there, {here.dtype} here"
    return f"{list(there.shape)} there, {list(here.shape)} here"


def _report(directory: str, step: int, taken: ParamsByPath, left: Mapping[str, str]) -> None:
    count = f"{len(taken)} of {len(taken) + len(left)}" if left else f"all {len(taken)}"
    lines = [f"From {directory}, step {step}, {count} parameters: {summarize_paths(taken)}"]
    if left:
        few = len(left) <= 8
        named = ", ".join(f"{path} ({why})" for path, why in left.items()) if few else summarize_paths(left)
        lines.append(f"Initialized at random: {named}")
    console.print("\n".join(lines))


def _require_same_words(
    workdir: Workdir, experiment: Experiment, dataset: OpenDataset, wanted: list[str], functions: StepFunctions
) -> None:
    """Checks that the ids of both runs are the same words, or that no parameter to take has a row for each word."""
    if dataset.vocabulary is None:
        return
    data = workdir.read_experiment_json().get("data")
    fields = data if isinstance(data, dict) else {}
    differing = [
        name
        for name in ID_FIELDS
        if hasattr(experiment.data, name) and fields.get(name) != getattr(experiment.data, name)
    ]
    if (workdir.path / "vocabulary.txt").exists() and list(workdir.read_vocabulary()) == list(dataset.vocabulary):
        tables = workdir.read_ngram_vocabulary(), dataset.ngram_vocabulary
        same_ngrams = len(tables[0]) == len(tables[1]) and all(map(np.array_equal, *tables))
        if not differing and same_ngrams:
            return
        if not same_ngrams:
            differing += ["max_ngram", "ngram_min_count"]
        what = "has the same vocabulary, but other ids (" + ", ".join(f"data.{name}" for name in differing) + ")"
    else:
        what = "has another vocabulary"
    if not experiment.init_only:
        raise UserError(
            f"that run {what}, so its embedding means other words. "
            "Name what to take, without the embedding, with --init-only PATTERN."
        )
    if of_words := [path for path in wanted if path in word_parameters(functions)]:
        raise UserError(
            f"that run {what}, and --init-only selects {summarize_paths(of_words)}, whose rows are words. "
            "Give patterns without them."
        )


def word_parameters(functions: StepFunctions) -> set[str]:
    """Returns the paths of parameters with rows for words: tables of `nn.Embed`, and shapes that follow `num_ids`."""
    spec = functions.spec
    tables: set[str] = set()

    def note(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if isinstance(context.module, nn.Embed):
            tables.add("/".join((*context.module.path, "embedding")))
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        shapes = by_path(jax.eval_shape(lambda: init_params(functions.module, spec, 0)))
    if isinstance(spec, TextSpec):
        more_ngrams = spec.num_ngrams + 1 if spec.num_ngrams else 0
        larger = dataclasses.replace(spec, num_ids=spec.num_ids + 1, num_ngrams=more_ngrams)
        module = functions.experiment.model.build(larger)
        others = by_path(jax.eval_shape(lambda: init_params(module, larger, 0)))
        tables |= {path for path, leaf in shapes.items() if path in others and others[path].shape != leaf.shape}
    return tables
