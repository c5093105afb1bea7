"""The experiment, one frozen and typed value, and its JSON form."""

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

# The base classes of all components that a config may contain, inner ones first.
BASE_CLASSES: tuple[type, ...] = (Transform, Schedule, Dataset, Model, Task, Optimizer)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that defines a run. `lab10.cli.overrides` sets its fields from the command line.

    Raises:
      UserError: a field has a value that no run can have.
    """

    data: Dataset
    """The dataset, and how its examples are turned into arrays."""
    model: Model
    """The model."""
    task: Task
    """The loss and the metrics."""
    optimizer: Optimizer
    """The optimizer."""
    batch_size: int = 32
    """Examples per training step."""
    epochs: int | None = None
    """Passes over the train split; replaces --steps."""
    steps: int | None = None
    """Training steps; replaces --epochs."""
    seed: int = traced_field(0)
    """Seed of the initial parameters and of all randomness in training."""
    monitor: str = "loss"
    """Validation metric that selects the best checkpoint."""
    patience: int | None = None
    """Stop after this many evaluations without an improvement of --monitor; None: never."""
    ema_decay: float = traced_field(0.0)
    """EMA decay. If positive, the averaged parameters are evaluated and saved (Polyak and Juditsky 1992)."""
    init_from: str | None = None
    """Workdir of another run whose best parameters this run starts from."""
    evaluation_batch_size: int = 256
    """Examples per evaluation step."""
    mesh: DeviceMesh = field(DeviceMesh(), affects_result=False)
    """Devices that share the work."""
    evaluate_every: int | None = field(None, affects_result=False)
    """Steps between evaluations on the validation split, each followed by a checkpoint; None: once per epoch."""
    checkpoint_every: int | None = field(None, affects_result=False)
    """Steps between additional checkpoints; None: only after evaluations."""
    log_every: int = field(100, affects_result=False)
    """Steps between two lines of metrics."""
    steps_per_execution: int | None = field(None, affects_result=False)
    """Training steps per call of the compiled program; None: as many as take about 0.1 s."""
    device_dataset_max_mib: int = field(2048, affects_result=False)
    """Largest split, in MiB, that is stored on the device; larger splits are streamed."""
    profile_steps: int = field(0, affects_result=False)
    """Steps to trace for TensorBoard's profiler, after compilation; 0: none."""

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
        """Number of steps in a pass over `examples` examples; the last batch may be partial."""
        return math.ceil(examples / self.batch_size)

    def total_steps(self, examples: int) -> int:
        """Number of steps of the run on a train split of `examples` examples."""
        return self.steps if self.steps is not None else (self.epochs or 0) * self.steps_per_epoch(examples)


@functools.cache
def _converter() -> cattrs.Converter:
    import_all()
    converter = cattrs.Converter(forbid_extra_keys=True)
    for family in (*BASE_CLASSES, Spec):
        include_subclasses(family, converter, union_strategy=functools.partial(configure_tagged_union, tag_name="type"))
    return converter


def to_json(value: Any, cls: type) -> dict[str, Any]:
    """Converts a config, an `Experiment` or a component, to JSON types; `type` is the class name of each component."""
    return _converter().unstructure(value, unstructure_as=cls)


def from_json(value: Any, cls: type[T]) -> T:
    """Converts JSON types to a config, the inverse of `to_json`. Only components of `lab10` are ever constructed.

    Raises:
      UserError: the value is not a config of this version of lab10.
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
    """Lists the fields, as options, whose difference would change the result."""
    flat_before, flat_now = flatten(before), flatten(now)
    return [
        option(path)
        for path in sorted(flat_before.keys() | flat_now.keys())
        if flat_before.get(path) != flat_now.get(path)
    ]


def flatten(config: Any, prefix: str = "", running: bool = False) -> dict[str, Any]:
    """Flattens a config to the fields that affect its result, by path: `optimizer.learning_rate`.

    A component contributes its class name. With `running`, fields that do not affect the result are included.
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
