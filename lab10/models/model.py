"""Base class of models: a config that builds a Flax module."""

import abc
import dataclasses
from typing import ClassVar, Literal, TypeVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from lab10.config.errors import UserError
from lab10.data.dataset import Spec, Split

S = TypeVar("S", bound=Spec)
ComputeDtype = Literal["float32", "bfloat16", "float16"]
# Maximal width of a layer: a matrix between two such layers already fits on no device.
MAX_WIDTH = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(abc.ABC):
    """The config of a model. A new model is a new subclass, in a file in this folder."""

    option_prefix: ClassVar[str] = "model."

    # The type of the module's outputs, which the task must accept. `logits` are [batch, classes], or [batch, 1] for two
    # classes; `pixels` are [batch, pixels]. Other types are those of the models that name them.
    output_type: ClassVar[str]

    dtype: ComputeDtype = "float32"
    """Dtype of the computation; parameters, losses and metrics stay float32."""

    @abc.abstractmethod
    def build(self, spec: Spec) -> nn.Module:
        """Builds the module for a dataset. Its `__call__` maps a batch's `inputs` to outputs for the task.

        Raises:
          UserError: the model does not accept this type of examples.
        """

    def params_from_data(self, spec: Spec, split: Split) -> dict[str, jax.Array]:
        """Returns initial values that come from the examples of the train split, by path; by default none."""
        return {}

    def compute_dtype(self) -> jnp.dtype:
        """Returns `dtype` as a NumPy dtype."""
        return jnp.dtype(self.dtype)


def require_spec(model: Model, spec: Spec, expected: type[S]) -> S:
    """Returns the spec, checked to have the type that the model reads.

    Raises:
      UserError: the spec has another type.
    """
    if not isinstance(spec, expected):
        raise UserError(
            f"The model {type(model).__name__} reads {expected.modality}, and the dataset holds {spec.modality}."
        )
    return spec
