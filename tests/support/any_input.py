"""Unexpected values, unexpected changes to values, and whether they are accepted or refused."""

import copy

from hypothesis import strategies as st

from lab10.cli.overrides import EXPERIMENTS
from lab10.config.errors import UserError
from lab10.config.experiment import BASE_CLASSES
from lab10.config.registry import components_of
from lab10.data.dataset import Spec

EXPERIMENT_NAMES = sorted(page.stem for page in EXPERIMENTS.glob("*.py"))
COMPONENT_NAMES = sorted(name for base_class in (*BASE_CLASSES, Spec) for name in components_of(base_class))

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)  # lone surrogates too
odd_numbers = st.sampled_from((0, -1, 2**31, 2**32, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e-320, 1e308))
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    odd_numbers,
    texts,
    st.sampled_from((*COMPONENT_NAMES, "nan", "1e999")),
)
json_values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.just("type"), inner, max_size=3),
    max_leaves=6,
)


def same_type_values(value):
    """Values of the same type."""
    whole = st.integers(-2, 100) | st.sampled_from((2**31, 2**32, 2**63, -(2**63), 10**12, 10**400))
    of_type = {bool: st.booleans(), int: whole, float: st.floats(), type(None): st.integers(1, 9) | texts}
    return of_type.get(type(value), texts | st.sampled_from(COMPONENT_NAMES) if isinstance(value, str) else json_values)


def paths_of_parts(value, path=()):
    """The paths of a JSON value's parts, its own among them."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner_path for name, inner in items for inner_path in paths_of_parts(inner, (*path, name)))]


@st.composite
def mutated(draw, value):
    """A JSON value with some of its parts replaced, dropped, or added to."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths_of_parts(value)))
        how = draw(st.sampled_from(("alike", "alike", "alike", "alike", "replace", "replace", "drop", "add")))
        if not path:
            value = draw(json_values) if how == "replace" and draw(st.integers(0, 9)) == 0 else value
            continue
        owner = value
        for name in path[:-1]:
            owner = owner[name]
        if how == "drop":
            del owner[path[-1]]
        elif how in ("alike", "replace"):
            owner[path[-1]] = draw(same_type_values(owner[path[-1]]) if how == "alike" else json_values)
        elif isinstance(owner, dict):
            owner[draw(texts)] = draw(json_values)
        else:
            owner.append(draw(json_values))
    return value


@st.composite
def mutated_bytes(draw, content):
    """Bytes with a stretch taken out and another put in."""
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(len(content), start + 40)))
    return content[:start] + draw(st.binary(max_size=20)) + content[end:]


def result_or_none(action, *arguments):
    """Returns the result of a call, or None if it raises a UserError."""
    try:
        return action(*arguments)
    except UserError as error:
        lines = str(error).splitlines()
    assert 1 <= len(lines) <= 10, "a message of at most ten lines"
    return None
