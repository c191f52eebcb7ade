"""Keeps one number round a loop over a range instead of two: where it ends instead of how many values are left.

    b0(v0: int):                               b0(v0: int):
      jump b1(0, v0)                             v9: int = int_add_wrap 0, v0
                                                 jump b1(0, v9)
    b1(v1: int, v2: int):                      b1(v1: int, v10: int):
      v3: bool = int_ne v2, 0                    v2: int = int_sub_wrap v10, v1
      branch v3 b2() b3()                        v3: bool = int_ne v1, v10
                                                 branch v3 b2() b3()
    b2():                                      b2():
      v4: int = int_add_wrap v1, 1               v4: int = int_add_wrap v1, 1
      v5: int = int_sub_wrap v2, 1               v5: int = int_sub_wrap v2, 1
      jump b1(v4, v5)                            jump b1(v4, v10)

A range iterator has the next value and the number of values left, as CPython's has, and each round changes both. Where
one grows or falls by one as the other falls by one, their sum or difference stays, so the loop need not count. What is
left is computed from it where it is needed: in snapshots only, as a rule, and lowering does that on the way out. All
is arithmetic modulo 2**64, so nothing needs to be known of the values.

The parameter that goes becomes an op with the same result, so that its uses stay. Steps other than one are left alone:
they would need a division.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from minijit.ir.kinds import Kind
from minijit.ir.region import Block, Const, Edge, Op, Operand, Region, Value, last_number, with_edges
from minijit.opt.rounds import ADD, SUB, Pair, find_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def iterators(region: Region) -> Region:
    """The region with loops that know their end."""
    pairs = {number: pair for number, pair in find_pairs(region).items() if pair.step in (1, -1)}
    if not pairs:
        return region
    numbers = count(1 + last_number(region))
    ends = {number: Value(next(numbers), Kind.INT) for number in pairs}
    blocks = tuple(_changed(region, number, pairs, ends, numbers) for number in range(len(region.blocks)))
    return Region(region.name, region.point, region.entry_kinds, blocks, region.exits)


def _changed(
    region: Region, number: int, pairs: Mapping[int, Pair], ends: Mapping[int, Value], numbers: Iterator[int]
) -> Block:
    """A block with the end in place of what is left, and with ends for the blocks that it goes on to."""
    block = region.blocks[number]
    params, ops = block.params, list(block.ops)
    if number in pairs:
        params, ops = _with_end(block, pairs[number], ends[number])

    def passed(edge: Edge) -> Edge:
        pair = pairs.get(edge.target)
        if pair is None:
            return edge
        left = edge.args[pair.left]
        end = ends[edge.target]
        if (number, edge) in pair.ways_in:
            end = Value(next(numbers), Kind.INT)
            ops.append(Op(ADD if pair.step == 1 else SUB, (edge.args[pair.next], left), end))
        return Edge(edge.target, (*edge.args[: pair.left], end, *edge.args[pair.left + 1 :]))

    terminator = with_edges(block.end, passed)
    return Block(params, tuple(ops), terminator)


def _with_end(block: Block, pair: Pair, end: Value) -> tuple[tuple[Value, ...], list[Op]]:
    """The parameters with the end, and the ops after that which gives what is left."""
    following, left = block.params[pair.next], block.params[pair.left]
    operands = (end, following) if pair.step == 1 else (following, end)
    ops = [Op(SUB, operands, left)]
    for op in block.ops:
        if op.name == "int_ne" and op.args[0] == left and _is_zero(op.args[1]):
            op = Op(op.name, (following, end), op.result)
        ops.append(op)
    return (*block.params[: pair.left], end, *block.params[pair.left + 1 :]), ops


def _is_zero(operand: Operand) -> bool:
    return isinstance(operand, Const) and type(operand.value) is int and operand.value == 0
