"""An experiment as one frozen, typed value; and as JSON."""

import dataclasses
import functools
import math
from typing import Any, TypeVar

import cattrs
from cattrs.strategies import configure_tagged_union, include_subclasses

from lab10.config.fields import field, option, require_at_least, require_fraction, traced_field
from lab10.config.registry import import_all
from lab10.data.dataset import Dataset, Spec
from lab10.data.transforms import Transform
from lab10.errors import UserError
from lab10.models.model import Model
from lab10.optim.optimizers import Optimizer
from lab10.optim.schedules import Schedule
from lab10.parallel.mesh import DeviceMesh
from lab10.tasks.task import Task

# Every family of kinds that can stand in a config, inner ones first.
BASE_CLASSES: tuple[type, ...] = (Transform, Schedule, Dataset, Model, Task, Optimizer)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """All that defines a run. `lab10.cli.overrides` sets its fields from the command line.

    Raises:
      UserError: a field has a value that no run can have.
    """

    data: Dataset
    """The dataset, and how its examples become arrays."""
    model: Model
    """The model."""
    task: Task
    """The loss and the metrics."""
    optimizer: Optimizer
    """The optimizer."""
    batch_size: int = 32
    """Examples in a training step."""
    epochs: int | None = None
    """Passes over the train split; giving it displaces --steps."""
    steps: int | None = None
    """Training steps; giving it displaces --epochs."""
    seed: int = traced_field(0)
    """Of the initial parameters and of the randomness in training."""
    monitor: str = "loss"
    """The validation metric by which the best checkpoint is chosen."""
    patience: int | None = None
    """Evaluations without a better --monitor after which the run ends; None: it goes on to its last step."""
    ema_decay: float = traced_field(0.0)
    """Of a running mean of the parameters, which then is evaluated and kept (Polyak and Juditsky 1992); 0: none."""
    init_from: str | None = None
    """The workdir of another run, from whose best parameters to start."""
    evaluation_batch_size: int = 256
    """Examples in an evaluation step."""
    mesh: DeviceMesh = field(DeviceMesh(), affects_result=False)
    """The devices that share the work."""
    evaluate_every: int | None = field(None, affects_result=False)
    """Steps between evaluations on the validation split, each followed by a checkpoint; None: once an epoch."""
    checkpoint_every: int | None = field(None, affects_result=False)
    """Steps between further checkpoints; None: only after evaluations."""
    log_every: int = field(100, affects_result=False)
    """Steps between lines of metrics."""
    steps_per_execution: int | None = field(None, affects_result=False)
    """Steps that go to the device at a time; None: as many as take a tenth of a second."""
    device_dataset_max_mib: int = field(2048, affects_result=False)
    """A split of at most so many MiB lies on the device as a whole; larger ones are streamed."""
    profile_steps: int = field(0, affects_result=False)
    """Steps to trace for TensorBoard's profiler, in whole dispatches, compilation left out; 0: none."""

    def __post_init__(self):
        if (self.epochs is None) == (self.steps is None):
            raise UserError("Exactly one of --epochs and --steps must be given.")
        require_at_least(
            1,
            self,
            "batch_size",
            "epochs",
            "steps",
            "evaluate_every",
            "evaluation_batch_size",
            "log_every",
            "checkpoint_every",
            "steps_per_execution",
            "patience",
        )
        require_fraction(self, "ema_decay")
        require_at_least(0, self, "seed", "profile_steps", "device_dataset_max_mib")
        if self.seed >= 2**32:
            raise UserError(f"--seed is {self.seed}; expected below 2**32, the seeds that JAX tells apart.")
        if self.monitor not in self.task.metrics:
            raise UserError(
                f"--monitor is {self.monitor!r}; "
                f"{type(self.task).__name__} has the metrics {', '.join(self.task.metrics)}."
            )

        if self.patience is not None and self.data.validation_fraction == 0:
            raise UserError("--patience looks at validation, and --data.validation-fraction is 0; expected above 0.")

    def steps_per_epoch(self, examples: int) -> int:
        """Steps in a pass over `examples` examples; the last batch may be partial."""
        return math.ceil(examples / self.batch_size)

    def total_steps(self, examples: int) -> int:
        """Steps of the whole run on a train split of `examples` examples."""
        return self.steps if self.steps is not None else (self.epochs or 0) * self.steps_per_epoch(examples)


@functools.cache
def _converter() -> cattrs.Converter:
    import_all()
    converter = cattrs.Converter(forbid_extra_keys=True)
    for family in (*BASE_CLASSES, Spec):
        include_subclasses(family, converter, union_strategy=functools.partial(configure_tagged_union, tag_name="type"))
    return converter


def to_json(value: Any, cls: type) -> dict[str, Any]:
    """A config of this class (an `Experiment` or a family member) as JSON's types; `type` is each part's class name."""
    return _converter().unstructure(value, unstructure_as=cls)


def from_json(value: Any, cls: type[T]) -> T:
    """The inverse of `to_json`. Nothing but the named kinds of `lab10` is ever constructed.

    Raises:
      UserError: it is not a config of this version of the project.
    """
    try:
        return _converter().structure(value, cls)
    except UserError:
        raise
    except Exception as error:
        problems = "; ".join(cattrs.transform_error(error)[:3])
        raise UserError(
            f"config.json holds no {cls.__name__} that this version of lab10 can read: {problems}."
        ) from error


def differing_fields(before: Experiment, now: Experiment) -> list[str]:
    """The fields, as options, in which two experiments would compute different results."""
    flat_before, flat_now = flatten(before), flatten(now)
    return [
        option(path)
        for path in sorted(flat_before.keys() | flat_now.keys())
        if flat_before.get(path) != flat_now.get(path)
    ]


def flatten(config: Any, prefix: str = "", running: bool = False) -> dict[str, Any]:
    """The fields of a config that define its result, by path: `optimizer.learning_rate`; a part's is its class name.

    With `running`, those too that only say how a run is watched.
    """
    flat = {}
    for each in dataclasses.fields(config):
        value, path = getattr(config, each.name), prefix + each.name
        if not (running or each.metadata.get("affects_result", True)):
            continue
        if dataclasses.is_dataclass(value):
            flat[path] = type(value).__name__
            flat |= flatten(value, path + ".", running)
        else:
            flat[path] = value
    return flat
