"""Paths of parameters, such as `encoder/dense_0/kernel`, and the patterns that select them.

A pattern is a shell pattern for a whole path: `*` matches any characters, slashes included, `?` one, and `[ab]` one of
these. `encoder/*` therefore selects everything in `encoder`, and `*/bias` every bias.
"""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from lab10.config.errors import UserError


def by_path(params: Any) -> dict[str, Any]:
    """Returns the leaves of a tree of parameters by path, in the tree's order."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {path_name(path): leaf for path, leaf in leaves}


def path_name(path: Sequence[Any]) -> str:
    """Returns the path that JAX gives for a leaf as text: `encoder/dense_0/kernel`."""
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def matches_any(patterns: Iterable[str], path: str) -> bool:
    """Returns whether one of the patterns matches the path."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def require_matches(option: str, patterns: Iterable[str], paths: Iterable[str]) -> None:
    """Checks that every pattern matches a path.

    Raises:
      UserError: a pattern matches none; the message names the option, and the closest paths.
    """
    paths = list(paths)
    for pattern in patterns:
        if not any(matches_any([pattern], path) for path in paths):
            parts = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(1, path.count("/") + 2)}
            near = difflib.get_close_matches(pattern.rstrip("/*"), sorted(parts), n=3, cutoff=0.4)
            # A pattern that selects what the closest name holds: a module needs `/*`, a parameter does not.
            near = [part if part in paths else f"{part}/*" for part in near]
            raise UserError(
                f"{option} {pattern!r} matches no parameter of the model. "
                + (f"The closest are {', '.join(near)}." if near else f"The parameters are {summarize_paths(paths)}.")
            )


def summarize_paths(paths: Iterable[str], at_most: int = 8) -> str:
    """Returns the paths as one line of text; if they are many, the number in each module and the first few names."""
    paths = list(paths)
    if len(paths) <= at_most:
        return ", ".join(paths)
    counts: dict[str, int] = {}
    for path in paths:
        module = path.partition("/")[0]
        counts[module] = counts.get(module, 0) + 1
    modules = [f"{count} in {module}" for module, count in counts.items()]
    more = ["…"] * (len(modules) > at_most)
    return f"{', '.join([*modules[:at_most], *more])} ({', '.join(paths[:3])}, …)"


def with_leaves(params: Any, leaves: Mapping[str, Any]) -> Any:
    """Returns a tree of parameters with some of its leaves replaced, by path."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaves.get(path_name(path), leaf), params)
