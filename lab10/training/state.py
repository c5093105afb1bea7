"""The arrays that training moves forward."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from lab10.data.dataset import Spec

Params = dict[str, jax.Array | dict]


class TrainState(struct.PyTreeNode):
    """All that a step reads and writes.

    Attributes:
      step: steps taken so far, int32 [].
      params: the model's parameters.
      opt_state: the optimizer's state.
    """

    step: jax.Array | np.ndarray
    params: Params
    opt_state: optax.OptState


def init_params(module: nn.Module, spec: Spec, seed: int) -> Params:
    """Initial parameters, a function of the seed."""
    inputs = spec.decode({name: jnp.asarray(array) for name, array in spec.example().items()})["inputs"]
    return module.init(jax.random.fold_in(jax.random.key(seed), 0), inputs)["params"]


def count_parameters(params: Params) -> int:
    """Numbers in all parameters together."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
