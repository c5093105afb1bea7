"""The `Experiment` dataclass, which defines a run, and its JSON form."""

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

# The base classes of the components in a config, each after the base classes that its fields have.
BASE_CLASSES: tuple[type, ...] = (Transform, Schedule, Dataset, Model, Task, Optimizer)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The complete, immutable config of a run. `lab10.cli.overrides` sets its fields from the command line.

    Raises:
      UserError: a field has an invalid value.
    """

    data: Dataset
    """Dataset, and how its examples become arrays."""
    model: Model
    """Model to train."""
    task: Task
    """Task: the loss to minimize and the metrics to report."""
    optimizer: Optimizer
    """Optimizer and its learning-rate schedule."""
    batch_size: int = 32
    """Examples per training step."""
    epochs: int | None = None
    """Passes over the train split. Setting it replaces the default of --steps."""
    steps: int | None = None
    """Training steps. Setting it replaces the default of --epochs."""
    seed: int = traced_field(0)
    """Random seed for the initial parameters and for training; below 2**32."""
    monitor: str = "loss"
    """Validation metric that selects the best checkpoint."""
    patience: int | None = None
    """Early stopping: evaluations without a better --monitor before the run ends; None: no early stopping."""
    ema_decay: float = traced_field(0.0)
    """EMA decay. If positive, the averaged parameters are evaluated and saved (Polyak and Juditsky 1992)."""
    init_from: str | None = None
    """Workdir of another run whose best parameters initialize this run; None: random initialization."""
    evaluation_batch_size: int = 256
    """Examples per evaluation step."""
    mesh: DeviceMesh = field(DeviceMesh(), affects_result=False)
    """Devices that the run uses."""
    evaluate_every: int | None = field(None, affects_result=False)
    """Steps between validations, each followed by a checkpoint; None: once per epoch."""
    checkpoint_every: int | None = field(None, affects_result=False)
    """Steps between additional checkpoints; None: only after validations."""
    log_every: int = field(100, affects_result=False)
    """Steps between logged training metrics."""
    steps_per_execution: int | None = field(None, affects_result=False)
    """Training steps per device call; None: as many as take about 0.1 s."""
    device_dataset_max_mib: int = field(2048, affects_result=False)
    """Largest split, in MiB, that is kept in device memory; larger splits are streamed."""
    profile_steps: int = field(0, affects_result=False)
    """Steps to trace for TensorBoard's profiler, rounded up to whole device calls, without compilation; 0: none."""

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
            raise UserError(f"--seed is {self.seed}; expected a value below 2**32, because JAX keeps only 32 bits.")
        if self.monitor not in self.task.metrics:
            raise UserError(
                f"--monitor is {self.monitor!r}; "
                f"expected a metric of {type(self.task).__name__}: {', '.join(self.task.metrics)}."
            )
        if self.patience is not None and self.data.validation_fraction == 0:
            raise UserError("--patience needs a validation split: set --data.validation-fraction above 0.")

    def steps_per_epoch(self, examples: int) -> int:
        """Returns the number of steps in one pass over `examples` examples, including a partial last batch."""
        return math.ceil(examples / self.batch_size)

    def total_steps(self, examples: int) -> int:
        """Returns the number of steps of the whole run on a train split of `examples` examples."""
        return self.steps if self.steps is not None else (self.epochs or 0) * self.steps_per_epoch(examples)


@functools.cache
def _converter() -> cattrs.Converter:
    import_all()
    converter = cattrs.Converter(forbid_extra_keys=True)
    tagged_union = functools.partial(configure_tagged_union, tag_name="type")
    for base_class in (*BASE_CLASSES, Spec):
        include_subclasses(base_class, converter, union_strategy=tagged_union)
    return converter


def to_json(value: Any, cls: type) -> dict[str, Any]:
    """Converts an `Experiment`, a `Spec` or a component to JSON types.

    Args:
      value: the object to convert.
      cls: `Experiment`, or the base class of `value`, such as `Model`. For a base class, `type` holds the class name.
    """
    return _converter().unstructure(value, unstructure_as=cls)


def from_json(value: Any, cls: type[T]) -> T:
    """Converts JSON types back to an object; the inverse of `to_json`.

    Constructs only `cls`, the classes of its fields and registered components, whatever the JSON names.

    Raises:
      UserError: `value` is not a valid `cls` for this version of the project.
    """
    try:
        return _converter().structure(value, cls)
    except UserError:
        raise
    except Exception as error:
        problems = "; ".join(cattrs.transform_error(error)[:3])
        raise UserError(
            f"config.json contains no {cls.__name__} that this version of lab10 can read: {problems}."
        ) from error


def differing_fields(before: Experiment, now: Experiment) -> list[str]:
    """Returns the options of the fields that affect the result and differ between two experiments."""
    flat_before, flat_now = flatten(before), flatten(now)
    return [
        option(path)
        for path in sorted(flat_before.keys() | flat_now.keys())
        if flat_before.get(path) != flat_now.get(path)
    ]


def flatten(config: Any, prefix: str = "", all_fields: bool = False) -> dict[str, Any]:
    """Returns the fields of a nested config by dotted path, such as `optimizer.learning_rate`.

    The value at the path of a nested config, such as `optimizer`, is its class name.

    Args:
      config: an `Experiment` or one of its parts.
      prefix: prepended to every path.
      all_fields: whether to include the fields that do not affect the result.
    """
    flat = {}
    for config_field in dataclasses.fields(config):
        value, path = getattr(config, config_field.name), prefix + config_field.name
        if not (all_fields or config_field.metadata.get("affects_result", True)):
            continue
        if dataclasses.is_dataclass(value):
            flat[path] = type(value).__name__
            flat |= flatten(value, path + ".", all_fields)
        else:
            flat[path] = value
    return flat
