"""The arrays that training moves forward."""

from typing import Any

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
      averages: the running mean of the parameters, where the experiment asks for one.
    """

    step: jax.Array | np.ndarray
    params: Params
    opt_state: optax.OptState
    averages: Params | None = None

    @property
    def evaluated(self) -> Params:
        """What is evaluated, chosen and looked at: the averages where there are any, else the parameters."""
        return self.params if self.averages is None else self.averages

    def trees(self) -> dict[str, Any]:
        """What a checkpoint holds, by name; `params` is what inspection reads."""
        trees = {"params": self.evaluated, "opt_state": self.opt_state}
        return trees if self.averages is None else trees | {"unaveraged": self.params}


def averaged(averages: Params, params: Params, decay: jax.Array | float, step: jax.Array | np.ndarray) -> Params:
    """The mean of the parameters after each step up to `step`, int32 [], of weights that decay backwards in time.

    The weights are normalised, so that the initial parameters have no part in it: Adam's bias correction.
    """
    decay = jnp.float32(decay)  # so that both differences come from one number, and the first share is exactly one
    share = (1 - decay) / (1 - decay**step)
    return jax.tree.map(lambda average, param: average + share * (param - average), averages, params)


def init_params(module: nn.Module, spec: Spec, seed: int | np.uint32 | jax.Array) -> Params:
    """Initial parameters, a function of the seed."""
    inputs = spec.decode({name: jnp.asarray(array) for name, array in spec.example().items()})["inputs"]
    return module.init(jax.random.fold_in(jax.random.key(seed), 0), inputs)["params"]


def count_parameters(params: Params) -> int:
    """Numbers in all parameters together."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
