"""Counts what a compiled program costs a device per step: operations, bytes, collectives, kernel launches."""

import dataclasses
import math
import re

from lab10.parallel.hlo import HloProgram, Instruction

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
_FLOATS = ("f16", "bf16", "f32", "f64")
# Neither launch a kernel nor move data.
_OPERATIONS_WITHOUT_COST = (
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"),
    *("opt-barrier", "add-dependency"),
)


@dataclasses.dataclass(frozen=True)
class StepCosts:
    """What one device does in one step.

    Attributes:
      flops: floating-point operations of matrix products and other sums of products. A custom kernel states its own in
        the name of its scope: `flops=6000_for=100` is 6000 operations for every 100 elements of its first result.
      bytes_accessed: bytes that instructions read and write, an estimate of the traffic to memory.
      collectives: number of collectives by name.
      collective_bytes: bytes that this device contributes to them.
      kernel_launches: kernels, copies and library calls that a GPU is told to execute.
    """

    flops: int
    bytes_accessed: int
    collectives: dict[str, int]
    collective_bytes: int
    kernel_launches: int


def step_costs(program: HloProgram) -> StepCosts:
    """Counts the costs of one step; a loop of unknown length counts as one step."""
    flops = bytes_accessed = collective_bytes = launches = 0
    collectives: dict[str, int] = {}
    for computation, instruction, times in program.executed():
        if instruction.opcode in _OPERATIONS_WITHOUT_COST or instruction.opcode.endswith(("-done", "-update")):
            continue
        launches += times
        bytes_accessed += times * _bytes_accessed(program, computation, instruction)
        for inside, inner in program.within(computation, instruction):
            flops += times * _flops(inside, inner)
            name = inner.opcode.removesuffix("-start")
            if name in COLLECTIVES:
                collectives[name] = collectives.get(name, 0) + times
                collective_bytes += times * sum(inside[operand].num_bytes for operand in inner.operands)
    return StepCosts(flops, bytes_accessed, dict(sorted(collectives.items())), collective_bytes, launches)


def _flops(computation: dict[str, Instruction], instruction: Instruction) -> int:
    """Two operations, a multiplication and an addition, for every term of a sum of products."""
    if instruction.opcode == "dot":
        left = computation[instruction.operands[0]].shapes[0].dimensions
        contracted = math.prod(left[axis] for axis in instruction.integers("lhs_contracting_dims"))
        return 2 * instruction.shapes[0].size * contracted
    if instruction.opcode == "convolution":
        kernel = computation[instruction.operands[1]].shapes[0]
        left = computation[instruction.operands[0]].shapes[0].dimensions
        return 2 * _convolution_terms(left, kernel.dimensions, instruction)
    if instruction.opcode == "custom-call" and 'custom_call_target="__cublas' in instruction.attributes:
        left = computation[instruction.operands[0]].shapes[0].dimensions
        axes = re.search(r'"lhs_contracting_dimensions":\[([^]]*)\]', instruction.attributes)
        contracted = math.prod(left[int(axis)] for axis in re.findall(r"\d+", axes[1])) if axes else 0
        return 2 * instruction.shapes[0].size * contracted
    if instruction.opcode == "custom-call" and (
        named := re.search(r'op_name="[^"]*\bflops=(\d+)_for=(\d+)', instruction.attributes)
    ):  # a Pallas kernel that states its operations for a size of its result, as `lstm_kernels` does
        return int(named[1]) * instruction.shapes[0].size // int(named[2])
    if instruction.opcode == "reduce":  # of products: how XLA computes a product with a single row
        summed = computation[instruction.operands[0]]
        while summed.opcode in ("convert", "bitcast", "transpose", "copy"):
            summed = computation[summed.operands[0]]
        return 2 * summed.shapes[0].size if summed.opcode == "multiply" and summed.shapes[0].dtype in _FLOATS else 0
    return 0


def _convolution_terms(left: tuple[int, ...], kernel: tuple[int, ...], instruction: Instruction) -> int:
    """Number of products in a convolution, without those with padding. On a TPU, batched products are convolutions."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.attributes)
    assert labels is not None
    terms = instruction.shapes[0].size * kernel[labels[2].index("i")]
    window = dict(re.findall(r"(\w+)=([\d_x-]+)", (re.search(r"window={([^}]*)}", instruction.attributes) or [""])[0]))
    for axis in range(sum(label.isdigit() for label in labels[1])):

        def value(name: str, default: str, axis: int = axis) -> str:
            return window[name].split("x")[axis] if name in window else default

        size, stride, dilation = int(value("size", "1")), int(value("stride", "1")), int(value("lhs_dilate", "1"))
        kernel_dilation, low = int(value("rhs_dilate", "1")), int(value("pad", "0_0").split("_")[0])
        outputs = instruction.shapes[0].dimensions[labels[3].index(str(axis))]
        end = (left[labels[1].index(str(axis))] - 1) * dilation + 1
        starts = (output * stride - low for output in range(outputs))
        real = sum(
            0 <= start + i * kernel_dilation < end and (start + i * kernel_dilation) % dilation == 0
            for start in starts
            for i in range(size)
        )
        terms = terms * real // outputs
    return terms


def _bytes_accessed(program: HloProgram, computation: dict[str, Instruction], instruction: Instruction) -> int:
    """Bytes read and written. Operands that are only sliced or updated in place count as the slice."""
    inside = program.fused(instruction)
    if not inside:
        operands = [computation[operand] for operand in instruction.operands]
        if instruction.opcode == "copy-start":
            return 2 * sum(operand.num_bytes for operand in operands)
        if instruction.opcode in ("slice", "dynamic-slice", "gather"):
            return 2 * instruction.num_bytes
        if instruction.opcode in ("slice-start", "dynamic-slice-start"):  # ((operand), slice, context)
            return 2 * min((shape.num_bytes for shape in instruction.shapes if shape.num_bytes > 8), default=0)
        if instruction.opcode in ("dynamic-update-slice", "scatter"):
            return 2 * sum(operand.num_bytes for operand in operands[1:])
        return instruction.num_bytes + sum(operand.num_bytes for operand in operands)
    parameters = [inner for inner in inside.values() if inner.opcode == "parameter"]
    return sum(_bytes_read(inside, parameter) for parameter in parameters) + _bytes_written(inside)


def _bytes_read(inside: dict[str, Instruction], parameter: Instruction) -> int:
    users = [inner for inner in inside.values() if parameter.name in inner.operands]
    read = 0
    for user in users:
        sliced = user.operands[0] == parameter.name
        if sliced and user.opcode in ("slice", "dynamic-slice", "gather"):
            read += user.num_bytes
        elif not (sliced and user.opcode == "dynamic-update-slice"):
            return parameter.num_bytes
    return read


def _bytes_written(inside: dict[str, Instruction]) -> int:
    root = next(inner for inner in inside.values() if inner.is_root)
    results = [inside[name] for name in root.operands] if root.opcode == "tuple" else [root]
    written = 0
    for result in results:
        while result.opcode == "bitcast":
            result = inside[result.operands[0]]
        updated = result.opcode == "dynamic-update-slice"
        written += inside[result.operands[1]].num_bytes if updated else result.num_bytes
    return written
