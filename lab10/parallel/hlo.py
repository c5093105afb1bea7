"""Parses the text of a compiled XLA program, and counts how often each instruction is executed."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

# Bits of an element; see https://openxla.org/xla/shapes. Types without data, such as token, are missing.
_BITS = {"pred": 8, "bf16": 16} | {f"{kind}{bits}": bits for kind in "sufc" for bits in (2, 4, 8, 16, 32, 64, 128)}


class Shape(NamedTuple):
    """The type and the dimensions of an array."""

    dtype: str
    dimensions: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.dimensions)

    @property
    def num_bytes(self) -> int:
        """Bytes of the elements, without the padding of a device's layout."""
        bits = _BITS.get(self.dtype) or (8 if self.dtype.startswith("f8") else 0)
        return self.size * bits // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a computation.

    Attributes:
      name: unique in the program.
      opcode: `fusion`, `dot`, `while`, …
      shapes: shapes of the result; several for a tuple.
      operands: names of the operands.
      literal: the value of a constant, as text; empty otherwise.
      attributes: the text after the operands.
      is_root: whether it is the result of its computation.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    literal: str
    attributes: str
    is_root: bool

    @property
    def num_bytes(self) -> int:
        """Bytes of the result."""
        return sum(shape.num_bytes for shape in self.shapes)

    def called(self, attribute: str) -> str | None:
        """Returns the name of the computation under an attribute such as `body` or `calls`."""
        found = re.search(rf"\b{attribute}=%?([\w.-]+)", self.attributes)
        return found and found[1]

    def integers(self, attribute: str) -> tuple[int, ...]:
        """Returns the integers of an attribute such as `lhs_contracting_dims={1}`."""
        found = re.search(rf"\b{attribute}={{([\d,]*)}}", self.attributes)
        return tuple(map(int, filter(None, found[1].split(",")))) if found else ()


@dataclasses.dataclass(frozen=True)
class HloProgram:
    """A compiled program.

    Attributes:
      computations: by name, the instructions by name, in the order in which they are executed.
      entry: name of the computation with which execution begins.
    """

    computations: dict[str, dict[str, Instruction]]
    entry: str

    def executed(self) -> Iterator[tuple[dict[str, Instruction], Instruction, int]]:
        """Yields every instruction that the device executes, with its computation and how often it is executed.

        A loop counts as often as it iterates, and once if that is known only at run time, as in `run_steps`: the
        numbers are then those of one step. For a conditional, the branch that reads fewer bytes is counted: the other
        one of a training step computes diagnostics, at logged steps only. The instructions inside a fusion are left
        out.
        """
        yield from self._executed(self.entry, 1)

    def _executed(self, computation: str, times: int) -> Iterator[tuple[dict[str, Instruction], Instruction, int]]:
        instructions = self.computations[computation]
        for instruction in instructions.values():
            if instruction.opcode == "while":
                trips = self.trip_count(instruction)
                yield from self._executed(self._called(instruction, "body"), times * (1 if trips is None else trips))
                if trips is None:  # a known number of iterations needs no condition
                    yield from self._executed(self._called(instruction, "condition"), times)
            elif instruction.opcode == "conditional":
                branches = [list(self._executed(name, times)) for name in _branches(instruction)]
                yield from min(branches, key=_bytes_read)
            elif instruction.opcode == "call":
                yield from self._executed(self._called(instruction, "to_apply"), times)
            elif instruction.opcode == "async-start":
                yield from self._executed(self._called(instruction, "calls"), times)
            else:
                yield instructions, instruction, times

    def trip_count(self, loop: Instruction) -> int | None:
        """Returns the number of iterations of a `while`; None if it is known only at run time."""
        if annotated := re.search(r'"known_trip_count":{"n":"(\d+)"}', loop.attributes):
            return int(annotated[1])
        # TPU programs are not annotated. `jax.lax.scan` counts from 0 while its counter is less than a constant.
        condition = self.computations[self._called(loop, "condition")]
        root = next(instruction for instruction in condition.values() if instruction.is_root)
        if root.opcode != "compare" or "direction=LT" not in root.attributes:
            return None
        limit = condition[root.operands[1]]
        return int(limit.literal) if limit.opcode == "constant" else None

    def fused(self, instruction: Instruction) -> dict[str, Instruction]:
        """Returns the instructions inside a fusion; none for other instructions."""
        name = instruction.called("calls") if instruction.opcode in ("fusion", "fusion-start") else None
        return {} if name is None else self.computations[name]

    def within(
        self, computation: dict[str, Instruction], instruction: Instruction
    ) -> Iterator[tuple[dict[str, Instruction], Instruction]]:
        """Yields an instruction with its computation, or, for a fusion, all instructions inside, however nested."""
        inside = self.fused(instruction)
        if not inside:
            yield computation, instruction
        for inner in inside.values():
            yield from self.within(inside, inner)

    def _called(self, instruction: Instruction, attribute: str) -> str:
        name = instruction.called(attribute)
        assert name is not None, instruction
        return name

    @functools.cached_property
    def dtypes(self) -> frozenset[str]:
        """The types of all arrays in the program."""
        return frozenset(
            shape.dtype
            for instructions in self.computations.values()
            for instruction in instructions.values()
            for shape in instruction.shapes
        )


def parse(text: str) -> HloProgram:
    """Parses `jax.stages.Compiled.as_text()`."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry = current = ""
    for line in text.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.-]+) \(.*\{$", line):
            current = header[2]
            computations[current] = {}
            entry = current if header[1] else entry
        elif found := re.match(r"\s+(ROOT )?%?([\w.-]+) = ", line):
            instruction = _instruction(found[2], line[found.end() :], is_root=found[1] is not None)
            computations[current][instruction.name] = instruction
    return HloProgram(computations, entry)


def _instruction(name: str, text: str, is_root: bool) -> Instruction:
    """Parses `SHAPE opcode(operands), attributes`."""
    shape_end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    opcode, _, _ = text[shape_end + 1 :].partition("(")
    opening = shape_end + 1 + len(opcode)
    closing = _closing(text, opening)
    shapes = tuple(
        Shape(dtype, tuple(map(int, filter(None, dimensions.split(",")))))
        for dtype, dimensions in re.findall(r"([a-z]\w*)\[([\d,]*)\]", text[:shape_end])
    )
    operands = tuple(re.findall(r"%([\w.-]+)", text[opening:closing]))
    literal = text[opening + 1 : closing] if opcode == "constant" else ""
    return Instruction(name, opcode, shapes, operands, literal, text[closing + 1 :], is_root)


def _closing(text: str, opening: int) -> int:
    """Returns the index of the parenthesis that closes the one at `opening`."""
    depth = 0
    for match in re.compile(r"[()]").finditer(text, opening):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    return len(text)


def _bytes_read(executed: list[tuple[dict[str, Instruction], Instruction, int]]) -> int:
    """Returns the bytes of all operands of instructions that are executed."""
    return sum(
        computation[operand].num_bytes
        for computation, instruction, _ in executed
        for operand in instruction.operands
        if operand in computation and instruction.opcode not in ("tuple", "get-tuple-element")
    )


def _branches(instruction: Instruction) -> list[str]:
    found = re.search(r"branch_computations={([^}]*)}", instruction.attributes)
    if found:
        return re.findall(r"%?([\w.-]+)", found[1])
    return [name for name in map(instruction.called, ("true_computation", "false_computation")) if name is not None]
