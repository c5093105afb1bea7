"""Configs of every type: conversion to JSON and back, and the fields that differ."""

import dataclasses
import json
import types
import typing

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.config.experiment import BASE_CLASSES, Experiment, differing_fields, from_json, to_json
from lab10.config.fields import option
from lab10.config.registry import components_of
from lab10.data.dataset import Dataset
from lab10.models.model import Model
from lab10.optim.optimizers import Optimizer
from lab10.tasks.task import Task

# Fields whose values are bounded on both sides; all others take any value of their type that is large enough.
SHARES = {
    name: st.floats(0, 1, exclude_max=True)
    for name in (
        "validation_fraction",
        "ema_decay",
        "dropout",
        "embedding_dropout",
        "input_dropout",
        "output_dropout",
        "decay",
        "b1",
        "b2",
        "momentum",
    )
} | {
    "rate": st.floats(0, 1, exclude_min=True, exclude_max=True),
    "shift_rate": st.floats(0, 1),
    "deformation_rate": st.floats(0, 1),
    "smoothness": st.floats(1, 9),
    "smoothing": st.floats(0.01, 9),
    "clip_norm": st.none() | st.floats(0.01, 9),
    "max_ngram": st.integers(1, 5),
    "lstm_weight": st.floats(0, 1),
    "decay_rate": st.floats(0, 1, exclude_min=True),
    "pixel_max": st.none() | st.integers(1, 65535),
    "learning_rate_factors": st.lists(st.floats(0.1, 9).map("*={}".format), max_size=1).map(tuple),
}


def values(name: str, hint: object) -> st.SearchStrategy:
    """Values for a field of this name and type."""
    if hint in BASE_CLASSES:
        return st.sampled_from(sorted(components_of(hint).values(), key=lambda kind: kind.__name__)).flatmap(configs)
    if dataclasses.is_dataclass(hint):
        return configs(hint)
    if name in SHARES:
        return SHARES[name]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if argument is type(None) else values(name, argument) for argument in arguments])
    if origin is tuple:
        return st.lists(values(name, arguments[0]), max_size=3).map(tuple)
    plain = {int: st.integers(1, 10**6), float: st.floats(0, 1e9), bool: st.booleans(), str: st.text(max_size=8)}
    return plain[hint]


@st.composite
def configs(draw, cls: type):
    """A config of this class with any values that it accepts."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: draw(values(field.name, hints[field.name])) for field in dataclasses.fields(cls)}
    if cls is Experiment:
        fields["monitor"] = draw(st.sampled_from(sorted(fields["task"].metrics)))
        fields[draw(st.sampled_from(("epochs", "steps")))] = None
        fields |= {"init_only": ()} if fields["init_from"] is None else {}
        fields |= {"steps": 7} if fields["epochs"] is None and fields["steps"] is None else {}
        fields["metrics"] = tuple({metric.name: metric for metric in fields["metrics"]}.values())
    if any(fields.get(name) is not None for name in ("validation_split", "extra_train_split")):
        fields["validation_group"] = None
    if "index_from" in fields:  # far above the reserved ids, and they apart: the rest is the vocabulary's test
        fields |= {
            "index_from": 5,
            "start_id": draw(st.none() | st.integers(1, 2)),
            "unknown_id": draw(st.none() | st.integers(3, 4)),
        }
        fields["num_words"] = draw(st.none() | st.integers(6, 10**6))
        fields |= {"max_ngram": 1} if fields["unknown_id"] is None else {}
    try:
        return cls(**fields)
    except UserError:
        assume(False)


def leaves(config: object, path: tuple[str, ...] = ()):
    """Every plain field of a config: its path, its dataclass field and its owner."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, (*path, field.name))
        else:
            yield (*path, field.name), field, config


def replaced(config: object, path: tuple[str, ...], value: object):
    inner = value if len(path) == 1 else replaced(getattr(config, path[0]), path[1:], value)
    return dataclasses.replace(config, **{path[0]: inner})


@given(configs(Experiment))
@settings(max_examples=2 * settings().max_examples)
def test_encoding_and_decoding_a_config_is_the_identity(experiment):
    decoded = from_json(json.loads(json.dumps(to_json(experiment, Experiment))), Experiment)
    assert decoded == experiment
    assert [type(getattr(decoded, field.name)) for field in dataclasses.fields(Experiment)] == [
        type(getattr(experiment, field.name)) for field in dataclasses.fields(Experiment)
    ]
    assert differing_fields(experiment, decoded) == []


@pytest.mark.parametrize(
    "kind", [kind for family in (Dataset, Model, Task, Optimizer) for kind in components_of(family).values()]
)
def test_every_component_is_written_with_its_type(kind):
    @given(configs(kind))
    @settings(max_examples=3)
    def check(part):
        family = next(family for family in BASE_CLASSES if isinstance(part, family))
        field = next(field.name for field in dataclasses.fields(Experiment) if field.type is family)
        base = dict.fromkeys(("data", "model", "task", "optimizer"))
        for name in base:
            hint = typing.get_type_hints(Experiment)[name]
            base[name] = min(components_of(hint).items())[1]()
        experiment = Experiment(**(base | {field: part}), epochs=1)
        assert to_json(experiment, Experiment)[field]["type"] == kind.__name__
        assert from_json(json.loads(json.dumps(to_json(experiment, Experiment))), Experiment) == experiment

    check()


@given(configs(Experiment), st.data())
@settings(max_examples=2 * settings().max_examples)
def test_a_single_differing_field_is_named(experiment, data):
    path, field, owner = data.draw(st.sampled_from(list(leaves(experiment))))
    value = data.draw(values(field.name, typing.get_type_hints(type(owner))[field.name]))
    assume(value != getattr(owner, field.name))
    try:
        changed = replaced(experiment, path, value)
    except UserError:
        assume(False)
    affects_result = field.metadata.get("affects_result", True)
    assert differing_fields(experiment, changed) == ([option(".".join(path))] if affects_result else [])
    assert differing_fields(changed, experiment) == differing_fields(experiment, changed)


@pytest.mark.slow  # tests/training/test_workdir.py names the fields that differ
@given(configs(Experiment), configs(Experiment))
def test_a_replaced_component_is_named(before, now):
    differing = differing_fields(before, now)
    for part in ("data", "model", "task", "optimizer", "data.transform", "optimizer.schedule"):
        owner, _, name = part.rpartition(".")
        kinds = {
            type(getattr(getattr(experiment, owner) if owner else experiment, name)) for experiment in (before, now)
        }
        assert (option(part) in differing) == (len(kinds) == 2)
