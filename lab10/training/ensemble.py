"""Several experiments as one program: what differs in numbers alone is trained together, on the same batches."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lab10.config import Experiment
from lab10.data.dataset import Spec
from lab10.data.feed import Fed
from lab10.numbers import numbers_of, program_key, with_numbers
from lab10.training.state import TrainState
from lab10.training.step import Program, StepReport


class Ensemble(Program):
    """The program of several experiments: `vmap` over their states and over the numbers in which they differ.

    Every array of a joined train state has a first dimension more, that of the members.

    Args:
      experiments: at least one; their `program_key` is one.
      spec: of their dataset.
      total_steps: of each run.
      mesh: as for `Program`.
    """

    def __init__(self, experiments: Sequence[Experiment], spec: Spec, total_steps: int, mesh: Mesh | None = None):
        super().__init__(experiments[0], spec, total_steps, mesh)
        if len({program_key(experiment) for experiment in experiments}) != 1:
            raise ValueError("The experiments differ in more than numbers.")
        self._total_steps, self._size = total_steps, len(experiments)
        of_members = [numbers_of(experiment) for experiment in experiments]
        self._numbers = {
            name: np.array([numbers[name] for numbers in of_members], np.uint32 if name == "seed" else np.float32)
            for name in of_members[0]
            if len({numbers[name] for numbers in of_members}) > 1
        }

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """The states of the members, in their order, as one."""
        return jax.device_put(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), self.replicated)

    def members(self, state: TrainState) -> list[TrainState]:
        return [jax.tree.map(lambda leaf, place=place: leaf[place], state) for place in range(self._size)]

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def train_steps(self, state: TrainState, fed: Fed) -> tuple[TrainState, StepReport]:
        """Every step that is fed, taken by every member; reports are [steps, members]."""

        def one(numbers: dict[str, jax.Array], state: TrainState) -> tuple[TrainState, StepReport]:
            experiment = with_numbers(self._experiment, numbers)
            return Program(experiment, self._spec, self._total_steps, self.mesh)._train_steps(state, fed)

        numbers = {name: jnp.asarray(values) for name, values in self._numbers.items()}
        return jax.vmap(one, axis_size=self._size, out_axes=(0, 1))(numbers, state)
