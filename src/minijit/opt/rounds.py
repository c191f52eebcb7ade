"""Pairs of numbers that move against each other round a loop: an iterator's next value, and how many values are left.

    b1(v1: int, v2: int):
      v3: bool = int_ne v2, 0
      branch v3 b2() b3()
    b2():
      v4: int = int_add_wrap v1, 3
      v5: int = int_sub_wrap v2, 1
      jump b1(v4, v5)

In: a region. Out: for each block that has one, the first pair of its parameters of which each edge that changes the one
by a constant changes the other by minus one; here the step is 3. Modulo 2**64, `next + step * left` is the same in all
rounds, and what it was where the loop was entered. `ranges` learns the last value from that, `iterators` needs to keep
only one number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.ir.region import Const, Edge, Op, Operand, Region, Value, edges

if TYPE_CHECKING:
    from collections.abc import Mapping

    Made = Mapping[Value | None, Op]
    """Ops by their results."""

ADD, SUB = "int_add_wrap", "int_sub_wrap"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two parameters of a block by their positions, the step, and the ways into the loop: the block that each comes
    from, with the edge."""

    next: int
    left: int
    step: int
    ways_in: tuple[tuple[int, Edge], ...]


def find_pairs(region: Region) -> dict[int, Pair]:
    """The pairs by the numbers of their blocks."""
    made: Made = {op.result: op for block in region.blocks for op in block.ops if op.name in (ADD, SUB)}
    if not made:
        return {}
    incoming: dict[int, list[tuple[int, Edge]]] = {}
    for number, block in enumerate(region.blocks):
        for edge in edges(block.end):
            incoming.setdefault(edge.target, []).append((number, edge))
    found = {number: _find(region.blocks[number].params, ways, made) for number, ways in incoming.items()}
    return {number: pair for number, pair in found.items() if pair is not None}


def _find(params: tuple[Value, ...], incoming: list[tuple[int, Edge]], made: Made) -> Pair | None:
    for left, counter in enumerate(params):
        moves = [moved(edge.args[left], counter, SUB, made) == -1 for _, edge in incoming]
        if not any(moves):
            continue
        rounds = [edge for (_, edge), moves_on in zip(incoming, moves, strict=True) if moves_on]
        ways_in = [way for way, moves_on in zip(incoming, moves, strict=True) if not moves_on]
        # An iterator's next value comes right before what is left.
        for following in range(left - 1, -1, -1):
            steps = {moved(edge.args[following], params[following], ADD, made) for edge in rounds}
            step = steps.pop()
            if not steps and step:
                return Pair(following, left, step, tuple(ways_in))
    return None


def moved(operand: Operand, value: Value, name: str, made: Made) -> int | None:
    """By what an addition or subtraction moves a value to become the operand; None if it does not."""
    op = made.get(operand) if isinstance(operand, Value) else None
    if op is None or op.name != name or op.args[0] != value:
        return None
    step = op.args[1]
    if not isinstance(step, Const) or type(step.value) is not int:
        return None
    return -step.value if name == SUB else step.value
