"""Flax modules compiled as one program; run operation by operation, a test compiles a hundred small programs."""

import functools

import jax

from lab10.training import state

init_params = functools.partial(jax.jit, static_argnums=(0, 1))(state.init_params)


@functools.partial(jax.jit, static_argnums=0, static_argnames="method")
def apply(module, variables, *inputs, method=None, **options):
    """Calls `module.apply`."""
    return module.apply(variables, *inputs, method=method, **options)


@functools.partial(jax.jit, static_argnums=0)
def init_with_output(module, key, *inputs):
    """Calls `module.init_with_output`."""
    return module.init_with_output(key, *inputs)
