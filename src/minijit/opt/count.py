"""Drops the overflow checks of counters: values that start small and move in small steps.

    jump b1(0)                                 jump b1(0)
    b1(v1: int):                               b1(v1: int):
      v2: int = int_add v1, 1 | e0               v2: int = int_add_wrap v1, 1
      branch v0 b1(v2) b2()                      branch v0 b1(v2) b2()

A value is *counted* if all that flows into it is: a constant below `START`, or a counted value plus or minus at most
`STEP`. Such a value could leave 64 bits only after `(2**63 - START) / STEP` = 2**58 steps. A loop polls in each round,
which no optimiser may skip, and a round takes a tenth of a nanosecond at the very least; so that would take most of a
year without a single poll answered, since every exit goes back to the interpreter with the true value, from which the
next entry starts checking anew: what a region gets as an input is never counted. The argument is one of physics, not
of logic; it is the one that lets C programs count in 64 bits. See docs/decisions/0009.

What it gives: a counter behind a branch (`if hit: inside += 1`) becomes a conditional move, and loops lose an exit.

The pass starts from all block parameters and additions that might be counted, and withdraws those into which something
else flows, until nothing changes.
"""

from __future__ import annotations

from minijit.ir.region import Block, Const, Kind, Op, Operand, Region, Value, edges

START = 2**61
"""A constant from which counting may start has a smaller magnitude."""
STEP = 16
"""The largest step."""

_CHECKED = {"int_add": "int_add_wrap", "int_sub": "int_sub_wrap"}
_STEPPING = {*_CHECKED, *_CHECKED.values()}


def count(region: Region) -> Region:
    """The region with counters unchecked."""
    steps = {op.result: op for block in region.blocks for op in block.ops if op.name in _STEPPING}
    small = _small_values(region)
    counted = _counted(region, steps, small)
    blocks = tuple(
        Block(b.params, tuple([_unchecked(op, counted, small) for op in b.ops]), b.end) for b in region.blocks
    )
    return Region(region.name, region.point, region.entry_kinds, blocks, region.exits)


def _unchecked(op: Op, counted: set[Value], small: set[Value]) -> Op:
    if op.name in _CHECKED and op.result in counted and _counter_of(op, counted, small) is not None:
        return Op(_CHECKED[op.name], op.args, op.result)
    return op


def _small_values(region: Region) -> set[Value]:
    """Values that are a step at most: truth values as ints."""
    return {
        op.result for block in region.blocks for op in block.ops if op.name == "bool_to_int" and op.result is not None
    }


def _is_step(operand: Operand, small: set[Value]) -> bool:
    if isinstance(operand, Value):
        return operand in small
    return type(operand.value) is int and abs(operand.value) <= STEP


def _starts(operand: Operand) -> bool:
    return isinstance(operand, Const) and type(operand.value) is int and abs(operand.value) < START


def _counter_of(op: Op, counted: set[Value], small: set[Value]) -> Operand | None:
    """The operand that the op moves by a step, if it is counted."""
    left, right = op.args
    pairs = [(left, right)] if op.name.startswith("int_sub") else [(left, right), (right, left)]
    for counter, step in pairs:
        if _is_step(step, small) and (_starts(counter) or counter in counted):
            return counter
    return None


def _counted(region: Region, steps: dict[Value | None, Op], small: set[Value]) -> set[Value]:
    """The largest set of values into which only starts and counted values flow."""
    incoming: dict[Value, list[Operand]] = {}
    for block in region.blocks:
        for edge in edges(block.end):
            for param, operand in zip(region.blocks[edge.target].params, edge.args, strict=True):
                if param.kind is Kind.INT:
                    incoming.setdefault(param, []).append(operand)
    counted = {*incoming, *(result for result in steps if result is not None)}
    while True:
        kept = {
            value
            for value in counted
            if (
                all(_starts(operand) or operand in counted for operand in incoming[value])
                if value in incoming
                else _counter_of(steps[value], counted, small) is not None
            )
        }
        if len(kept) == len(counted):
            return counted
        counted = kept
