"""Compiles the programs of an experiment without running them, for devices that need not be present."""

import dataclasses
import functools
import re
import time
from collections.abc import Sequence

import jax

from lab10.config.errors import RunError, first_line
from lab10.config.experiment import Experiment
from lab10.parallel.hlo import HloProgram, parse
from lab10.parallel.mesh import replicated
from lab10.parallel.step_costs import StepCosts, step_costs
from lab10.parallel.targets import Target
from lab10.training.evaluation import eval_steps
from lab10.training.step import LoopBody, StepFunctions, run_steps
from lab10.training.steps_in_flight import StepsInFlight


@dataclasses.dataclass(frozen=True)
class CompiledProgram:
    """A program compiled for a target.

    Attributes:
      argument_bytes: memory of the arguments on one device: parameters, optimizer, data.
      temp_bytes: memory of temporary arrays on one device.
      peak_bytes: arguments, results and temporary arrays on one device; an upper bound.
      costs: what one device does in one step.
      compile_seconds: time of the compilation.
      hlo: the program.
    """

    argument_bytes: int
    temp_bytes: int
    peak_bytes: int
    costs: StepCosts
    compile_seconds: float
    hlo: HloProgram


@dataclasses.dataclass(frozen=True)
class DoesNotFit:
    """The compiler's refusal of a program that needs more memory than a device has.

    Attributes:
      reason: how much memory is missing, if the compiler says so, else what it says.
    """

    reason: str


def lower_programs(
    experiment: Experiment, devices: Sequence[jax.Device] | None = None, num_members: int | None = None
) -> dict[str, jax.stages.Lowered]:
    """Traces the programs that train.py and evaluate.py call, for the longest padded length.

    Args:
      experiment: what to train.
      devices: the devices of the mesh; None: those that are available.
      num_members: number of runs to train together; None for a single run.

    Returns:
      `train_step`, which is `run_steps`, and `eval_step`, which is `eval_steps`. Both loop over steps.

    Raises:
      UserError: the data is missing, or the mesh does not fit the devices.
    """
    dataset = experiment.data.open_dataset()
    split = dataset.open_split("train")
    validation = dataset.open_split("validation") if experiment.data.has_validation else split
    functions = StepFunctions(
        experiment, dataset.spec, experiment.total_steps(len(split)), experiment.mesh.build(devices)
    )
    in_flight = StepsInFlight(experiment.steps_per_execution, functions.mesh.is_multi_process)
    loader = functions.device_loader(split, in_flight.tuner.max_steps)
    batches = loader.abstract_batches(experiment.batch_size, split.padded_lengths[-1])
    body, sharding = LoopBody(functions, num_members), replicated(functions.mesh)
    metrics = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        jax.eval_shape(functools.partial(body.zero_metrics, batches.max_batches)),
    )
    validation_batches = functions.device_loader(validation).abstract_batches(
        experiment.evaluation_batch_size, validation.padded_lengths[-1]
    )
    state = functions.abstract_state()
    if num_members is not None:
        state = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((num_members, *leaf.shape), leaf.dtype, sharding=sharding), state
        )
    carry = (state, metrics)
    with jax.sharding.set_mesh(functions.mesh):  # Pallas reads the type of the devices from it
        return {
            "train_step": run_steps.lower(0, batches.num_batches, body.with_batches(batches), carry),
            "eval_step": eval_steps.lower(functions, functions.abstract_params(), validation_batches),
        }


def compile_programs(
    experiment: Experiment, target: Target, num_members: int | None = None
) -> dict[str, CompiledProgram | DoesNotFit]:
    """Compiles the programs of an experiment for a target; arguments and results as in `lower_programs`.

    Raises:
      UserError: the data is missing, or the mesh does not fit the devices.
    """
    lowered = lower_programs(experiment, target.devices, num_members)
    return {name: _compile(program, target) for name, program in lowered.items()}


def _compile(lowered: jax.stages.Lowered, target: Target) -> CompiledProgram | DoesNotFit:
    began = time.monotonic()
    caches = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    try:
        # JAX cannot read programs for absent devices from its cache.
        jax.config.update("jax_enable_compilation_cache", False)
        compiled = lowered.compile(compiler_options=target.compiler_options)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise RunError(f"XLA cannot compile this for {target.name}: {first_line(error)}") from error
        needed = re.search(r"HLO temporaries \(([\d.]+)([GT])\) exceeds available HBM \(([\d.]+)G", str(error))
        if needed:
            missing = float(needed[1]) * (1024 if needed[2] == "T" else 1) - float(needed[3])
            return DoesNotFit(
                f"needs {missing:.1f} GiB more than a device has ({needed[3]} GiB), for temporaries alone"
            )
        return DoesNotFit(str(error).removeprefix("RESOURCE_EXHAUSTED: ").splitlines()[0] or "out of memory")
    finally:
        jax.config.update("jax_enable_compilation_cache", caches)
    seconds = time.monotonic() - began
    memory, hlo = compiled.memory_analysis(), parse(compiled.as_text() or "")
    assert memory is not None
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak = memory.argument_size_in_bytes + results + memory.temp_size_in_bytes
    return CompiledProgram(
        memory.argument_size_in_bytes, memory.temp_size_in_bytes, peak, step_costs(hlo), seconds, hlo
    )
