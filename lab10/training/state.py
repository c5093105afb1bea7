"""The arrays that training updates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jax.sharding import Mesh

from lab10.data.dataset import Spec
from lab10.parallel.mesh import largest_axis_sharding, replicated

# Nested; the leaves are arrays, or their shapes.
Params = dict[str, Any]


class TrainState(struct.PyTreeNode):
    """Everything a training step reads and writes.

    Attributes:
      step: number of steps taken, int32 [].
      params: parameters of the model.
      opt_state: state of the optimizer.
      ema_params: moving average of the parameters, if the experiment has an `ema_decay`.
      hyperparams: values of traced fields by path, such as `optimizer.learning_rate`; they replace the
        experiment's own. Empty unless several runs are trained together.
    """

    # Not only arrays: the same tree holds their shapes or shardings.
    step: Any
    params: Any
    opt_state: Any
    ema_params: Any = None
    hyperparams: dict[str, Any] = struct.field(default_factory=dict)

    @property
    def eval_params(self) -> Params:
        """The parameters to evaluate, select and inspect: the moving average if there is one."""
        return self.params if self.ema_params is None else self.ema_params

    def to_checkpoint(self) -> dict[str, Any]:
        """The pytrees to save, by name. Inspection reads `eval_params` alone."""
        trees = {"eval_params": self.eval_params, "opt_state": self.opt_state}
        return trees if self.ema_params is None else trees | {"params": self.params}

    @classmethod
    def from_checkpoint(cls, step: int, trees: dict[str, Any]) -> "TrainState":
        """The inverse of `to_checkpoint`."""
        eval_params = trees["eval_params"]
        params = trees.get("params")
        if params is None:
            return cls(np.array(step, np.int32), eval_params, trees["opt_state"])
        return cls(np.array(step, np.int32), params, trees["opt_state"], ema_params=eval_params)

    def shardings(self, mesh: Mesh, shard_optimizer: bool) -> "TrainState":
        """The sharding of every array: replicated, except that the optimizer's state may be sharded."""
        shardings = jax.tree.map(lambda _: replicated(mesh), self)
        if shard_optimizer:
            opt_state = jax.tree.map(lambda leaf: largest_axis_sharding(mesh, leaf), self.opt_state)
            shardings = shardings.replace(opt_state=opt_state)
        return shardings


def ema_update(ema_params: Params, params: Params, decay: jax.Array | float, step: jax.Array | np.ndarray) -> Params:
    """Updates an exponential moving average of the parameters, without bias towards the initial ones.

    Equal to Adam's bias-corrected mean (Kingma and Ba 2015, section 3).

    Args:
      ema_params: the average after the step before.
      params: the parameters after this step.
      decay: weight of the past, in [0, 1).
      step: number of this step, int32 [], the first being 1.
    """
    decay = jnp.float32(decay)  # both differences round from one float32, so the first weight is exactly 1
    weight = (1 - decay) / (1 - decay**step)
    return jax.tree.map(lambda average, param: average + weight * (param - average), ema_params, params)


def init_params(module: nn.Module, spec: Spec, seed: int | np.uint32 | jax.Array) -> Params:
    """Initial parameters, a pure function of the seed."""
    inputs = spec.preprocess({name: jnp.asarray(array) for name, array in spec.example().items()})["inputs"]
    return module.init(jax.random.fold_in(jax.random.key(seed), 0), inputs)["params"]


def count_parameters(params: Params) -> int:
    """Total number of scalars in the parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
