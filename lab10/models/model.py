"""The base class of models: a config that builds a Flax module."""

import abc
import dataclasses
from typing import ClassVar, Literal, TypeVar

import jax.numpy as jnp
from flax import linen as nn

from lab10.data.dataset import Spec
from lab10.errors import UserError

S = TypeVar("S", bound=Spec)
ComputeDtype = Literal["float32", "bfloat16", "float16"]
# Of a layer: two of these already make no matrix that any device holds.
MAX_WIDTH = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(abc.ABC):
    """A model. To add one, add a subclass in a file in this folder."""

    # What the module returns: the task must take it.
    output_type: ClassVar[Literal["logits", "pixels"]]

    dtype: ComputeDtype = "float32"
    """Dtype of the computation; parameters, losses and metrics are float32."""

    @abc.abstractmethod
    def build(self, spec: Spec) -> nn.Module:
        """The module for this dataset. Its `__call__` takes a batch's `inputs` and returns outputs for the task.

        Raises:
          UserError: the model does not take such data.
        """

    def compute_dtype(self) -> jnp.dtype:
        """`dtype` as a numpy dtype."""
        return jnp.dtype(self.dtype)


def require_spec(model: Model, spec: Spec, expected: type[S]) -> S:
    """The spec, if it is of the kind that the model reads.

    Raises:
      UserError: it is of another kind.
    """
    if not isinstance(spec, expected):
        raise UserError(
            f"The model {type(model).__name__} reads {expected.modality}, and the dataset holds {spec.modality}."
        )
    return spec
