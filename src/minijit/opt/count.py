"""Drops the overflow checks of counters: values that start small and move in small steps.

    jump b1(0)                                 jump b1(0)
    b1(v1: int):                               b1(v1: int):
      v2: int = int_add v1, 1 | e0               v2: int = int_add_wrap v1, 1
      branch v0 b1(v2) b2()                      branch v0 b1(v2) b2()

A value is *counted* if all that flows into it is: a constant or an input of a magnitude below `SMALL`, or a counted
value plus or minus at most `STEP`. Such a value could leave 64 bits only after `(2**63 - SMALL) / STEP` > 2**58
steps. A loop polls in each round, which no optimiser may skip, and a round takes a tenth of a nanosecond at the very
least; so that would take most of a year without a single poll answered, since every exit goes back to the interpreter
with the true value, and the next entry checks it anew. The argument is one of physics, not of logic. See
docs/decisions/0009.

What it gives: a counter behind a branch (`if hit: inside += 1`) becomes a conditional move, and loops lose an exit.

The pass starts from all block parameters and additions that might be counted, and withdraws those into which something
else flows, until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from minijit.ir.kinds import INPUT_RANGES, SMALL, Kind
from minijit.ir.region import Block, Op, Operand, Region, Value, edges

STEP = 16
"""The largest step."""

_CHECKED = {"int_add": "int_add_wrap", "int_sub": "int_sub_wrap"}
_STEPPING = {*_CHECKED, *_CHECKED.values()}


def count(region: Region) -> Region:
    """The region with counters unchecked."""
    facts = _facts(region)
    counted = facts.counted()
    blocks = tuple(Block(b.params, tuple([facts.unchecked(op, counted) for op in b.ops]), b.end) for b in region.blocks)
    return Region(region.name, region.point, region.entry_kinds, blocks, region.exits)


def counted_values(region: Region) -> set[Value]:
    """The values that are counted: they come nowhere near the ends of 64 bits."""
    return _facts(region).counted()


def _facts(region: Region) -> _Facts:
    steps = {op.result: op for block in region.blocks for op in block.ops if op.name in _STEPPING}
    starts = {value for slot, _, value in region.inputs() if _is_small(INPUT_RANGES.get(region.entry_kinds[slot]))}
    return _Facts(starts, _small_values(region), _incoming(region), steps)


def _is_small(ends: tuple[int, int] | None) -> bool:
    return ends is not None and ends[0] > -SMALL and ends[1] < SMALL


@dataclass(frozen=True, slots=True)
class _Facts:
    """What decides whether a value is counted: small inputs, steps that are no constants, what flows into parameters,
    and the additions by their results."""

    starts: set[Value]
    small: set[Value]
    incoming: dict[Value, list[Operand]]
    steps: dict[Value | None, Op]

    def is_start(self, operand: Operand) -> bool:
        if isinstance(operand, Value):
            return operand in self.starts
        return type(operand.value) is int and abs(operand.value) < SMALL

    def is_step(self, operand: Operand) -> bool:
        if isinstance(operand, Value):
            return operand in self.small
        return type(operand.value) is int and abs(operand.value) <= STEP

    def moves(self, op: Op, counted: set[Value]) -> bool:
        """Whether the op moves something that is counted by a step."""
        left, right = op.args
        pairs = [(left, right)] if op.name.startswith("int_sub") else [(left, right), (right, left)]
        return any(self.is_step(step) and (self.is_start(counter) or counter in counted) for counter, step in pairs)

    def unchecked(self, op: Op, counted: set[Value]) -> Op:
        if op.name in _CHECKED and op.result in counted:
            return Op(_CHECKED[op.name], op.args, op.result)
        return op

    def holds(self, value: Value, counted: set[Value]) -> bool:
        """Whether nothing but starts and counted values flows into a value."""
        if value in self.incoming:
            return all(self.is_start(operand) or operand in counted for operand in self.incoming[value])
        return self.moves(self.steps[value], counted)

    def counted(self) -> set[Value]:
        """The largest set of values of which `holds` is true."""
        counted = {*self.incoming, *(result for result in self.steps if result is not None)}
        while True:
            kept = {value for value in counted if self.holds(value, counted)}
            if len(kept) == len(counted):
                return counted
            counted = kept


def _incoming(region: Region) -> dict[Value, list[Operand]]:
    """What flows into each int parameter."""
    incoming: dict[Value, list[Operand]] = {}
    for block in region.blocks:
        for edge in edges(block.end):
            for param, operand in zip(region.blocks[edge.target].params, edge.args, strict=True):
                if param.kind is Kind.INT:
                    incoming.setdefault(param, []).append(operand)
    return incoming


def _small_values(region: Region) -> set[Value]:
    """Values that are a step at most: truth values as ints."""
    return {
        op.result for block in region.blocks for op in block.ops if op.name == "bool_to_int" and op.result is not None
    }
