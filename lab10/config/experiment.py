"""The `Experiment` dataclass, which defines a run, and its JSON form."""

import dataclasses
import functools
import math
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

import cattrs

from lab10.config.errors import UserError
from lab10.config.fields import field, option, require_at_least, require_fraction, traced_field, walk
from lab10.config.registry import is_built_in, subclasses_of, type_name
from lab10.data.dataset import Dataset, Spec
from lab10.data.transforms import Transform
from lab10.metrics.split_metric import SplitMetric, monitored_metric, require_distinct, require_monitor
from lab10.models.model import Model
from lab10.optim.optimizers import Optimizer
from lab10.optim.schedules import Schedule
from lab10.parallel.mesh import DeviceMesh
from lab10.tasks.task import Task
from lab10.training.train_steps import PlainStep, TrainStep

# The base classes of the components in a config, each after the base classes that its fields have.
BASE_CLASSES: tuple[type, ...] = (Transform, Schedule, Dataset, Model, Task, SplitMetric, Optimizer, TrainStep)

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
    train_step: TrainStep = PlainStep()
    """How a batch changes the parameters."""
    batch_size: int = 32
    """Examples per training step."""
    epochs: int | None = None
    """Passes over the train split. Setting it replaces the default of --steps."""
    steps: int | None = None
    """Training steps. Setting it replaces the default of --epochs."""
    seed: int = traced_field(0)
    """Random seed of the initial parameters, dropout and transforms; below 2**32. The order is --data.shuffle-seed."""
    monitor: str = "loss"
    """Validation metric that selects the best checkpoint: one of the task or of --metrics."""
    metrics: tuple[SplitMetric, ...] = field((), affects_result=False)
    """Additional metrics of the whole validation split, such as f1, auc, recall."""
    patience: int | None = None
    """Early stopping: evaluations without a better --monitor before the run ends; None: no early stopping."""
    ema_decay: float = traced_field(0.0)
    """EMA decay. If positive, the averaged parameters are evaluated and saved (Polyak and Juditsky 1992)."""
    init_from: str | None = None
    """Workdir of another run whose best parameters initialize those of equal path and shape; None: random."""
    init_only: tuple[str, ...] = ()
    """Patterns of the parameters to take from --init-from, such as 'encoder/*'; empty: all that fit."""
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
        self._require_components()
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
        if self.init_only and self.init_from is None:
            raise UserError("--init-only names parameters to take from another run; give that run with --init-from.")
        self.task.require_valid_metrics()
        require_distinct(self.metrics, self.task)
        require_monitor(self.monitor, self.metrics, self.task)
        for option_name, given in (("--patience", self.patience is not None), ("--metrics", bool(self.metrics))):
            if given and not self.data.has_validation:
                raise UserError(f"{option_name} needs a validation split: set --data.validation-fraction above 0.")

    def _require_components(self) -> None:
        """Checks the types of what the other checks use: an experiment may be made in Python, where none is checked."""
        parts = {"data": Dataset, "model": Model, "task": Task, "optimizer": Optimizer, "train_step": TrainStep}
        for name, base in parts.items():
            if not isinstance(value := getattr(self, name), base):
                raise UserError(
                    f"{name} is {value!r:.80}; expected an instance of a class derived from {base.__name__}."
                )
        if not isinstance(self.metrics, tuple | list) or not all(isinstance(one, SplitMetric) for one in self.metrics):
            raise UserError(f"metrics is {self.metrics!r:.80}; expected a tuple of metrics, such as (F1(), AUC()).")
        if not isinstance(self.monitor, str):
            raise UserError(f"monitor is {self.monitor!r:.80}; expected the name of a metric.")

    @property
    def higher_is_better(self) -> bool:
        """Whether higher values of `monitor` are better."""
        metric = monitored_metric(self.monitor, self.metrics)
        return self.task.metrics[self.monitor] if metric is None else bool(metric.higher_is_better)

    def total_steps(self, examples: int) -> int:
        """Returns the number of steps of the whole run on a train split of `examples` examples.

        The last batch of an epoch may be partial.
        """
        return self.steps if self.steps is not None else (self.epochs or 0) * math.ceil(examples / self.batch_size)


def user_component_classes(*values: Any) -> frozenset[type]:
    """Returns the classes of the components in the given configs or specs that are not defined in lab10."""
    components = {
        type(part) for value in values for part in _nested_configs(value) if isinstance(part, (*BASE_CLASSES, Spec))
    }
    return frozenset(cls for cls in components if not is_built_in(cls))


def _nested_configs(value: Any) -> Iterator[Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for config_field in dataclasses.fields(value):
            yield from _nested_configs(getattr(value, config_field.name))
    elif isinstance(value, tuple):  # such as metrics
        for part in value:
            yield from _nested_configs(part)


@functools.lru_cache(maxsize=64)
def _converter(own: frozenset[type]) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    # In a fixed order, and parents first.
    ordered = sorted(own, key=lambda cls: (len(cls.__mro__), cls.__module__, cls.__qualname__))
    for base_class in (*BASE_CLASSES, Spec):
        _convert_subclasses(converter, base_class, {cls.__name__: cls for cls in subclasses_of(base_class, ordered)})
    return converter


def _convert_subclasses(converter: cattrs.Converter, base_class: type, subclasses: dict[str, type]) -> None:
    """Makes a converter store the class name of a component under `type`.

    So does `cattrs.strategies.include_subclasses`, but it collects garbage for each base class, and generates code for
    each subclass instead of those in use: half a second at the start of every script.
    """

    def unstructure(value: Any) -> dict[str, Any]:
        return {**converter.unstructure(value, type(value)), "type": type(value).__name__}

    def structure(value: Any, _: type) -> Any:
        fields = dict(value)
        name = fields.pop("type", None)
        if name not in subclasses:
            raise UserError(f"there is no {base_class.__name__} {name!r}")
        return converter.structure(fields, subclasses[name])

    converter.register_unstructure_hook_func(lambda cls: cls is base_class, unstructure)
    converter.register_structure_hook_func(lambda cls: cls is base_class, structure)


def to_json(value: Any, cls: type) -> dict[str, Any]:
    """Converts an `Experiment`, a `Spec` or a component to JSON types.

    Args:
      value: the object to convert.
      cls: `Experiment`, or the base class of `value`, such as `Model`. For a base class, `type` holds the class name.
    """
    return _converter(user_component_classes(value)).unstructure(value, unstructure_as=cls)


def from_json(value: Any, cls: type[T], own: Collection[type] = ()) -> T:
    """Converts JSON types back to an object; the inverse of `to_json`.

    Constructs only `cls`, the classes of its fields and registered components, whatever the JSON names.

    Args:
      value: the JSON types.
      cls: as for `to_json`.
      own: component classes outside lab10 that the JSON may name.

    Raises:
      UserError: `value` is not a valid `cls` for this version of the project.
    """
    try:
        return _converter(frozenset(own)).structure(value, cls)
    except Exception as error:
        problems = "; ".join(cattrs.transform_error(error, format_exception=_description)[:3])
        raise UserError(
            f"config.json contains no {cls.__name__} that this version of lab10 can read: {problems}."
        ) from error


def _description(error: BaseException, expected: Any) -> str:
    return str(error) if isinstance(error, UserError) else cattrs.v.format_exception(error, expected)


def differing_fields(before: Experiment, now: Experiment) -> list[str]:
    """Returns the options of the fields that affect the result and differ between two experiments."""
    flat_before, flat_now = flatten(before), flatten(now)
    return [
        option(path)
        for path in sorted(flat_before.keys() | flat_now.keys())
        if flat_before.get(path) != flat_now.get(path)
    ]


def flatten(config: Any, all_fields: bool = False) -> dict[str, Any]:
    """Returns the fields of a nested config by dotted path, such as `optimizer.learning_rate`.

    The value at the path of a nested config, such as `optimizer`, is its class name, as `type_name` has it.

    Args:
      config: an `Experiment` or one of its parts.
      all_fields: whether to include the fields that do not affect the result.
    """
    return {
        path: type_name(type(value)) if dataclasses.is_dataclass(value) else value
        for path, config_field, value in walk(config)
        if all_fields or config_field.metadata.get("affects_result", True)
    }
