"""Ops ahead of a region: applied to inputs of their own, with their results in all that the region ends with.

In: a region and the names of some ops. Out: a region whose entry takes operands for these ops too, applies them before
anything else, and shows the results in each of its exits and whatever it returns.

What an op gives in a random region is easily lost: it is not reached, its operands are those of every other op, or
nothing shows its result. So random regions alone try an op at an edge seldom. Ops that take something other than
machine scalars are left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from minijit.events import ExitReason
from minijit.ir.kinds import EntryKind, Kind
from minijit.ir.ops import TABLE
from minijit.ir.region import Exit, FrameState, Hole, Op, Return, Slot, Value, VirtualTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minijit.ir.region import Block, Region

ENTRY_KINDS = {Kind.INT: EntryKind.INT, Kind.FLOAT: EntryKind.FLOAT, Kind.BOOL: EntryKind.BOOL}


def with_ops_ahead(region: Region, names: Iterable[str]) -> Region:
    """The region with an op of each name ahead."""
    for name in names:
        if all(kind in ENTRY_KINDS for kind in TABLE[name].params):
            region = _with_op_ahead(region, name)
    return region


def _with_op_ahead(region: Region, name: str) -> Region:
    row = TABLE[name]
    first = 1 + max((value.number for value in _defined(region)), default=-1)
    operands = [Value(first + place, kind) for place, kind in enumerate(row.params) if kind is not None]
    result = Value(first + len(operands), row.result) if row.result is not None else None
    exit = len(region.exits) if row.effect.exits else None
    shown = () if result is None else (result,)
    exits = [_showing(exit, shown) for exit in region.exits]
    if exit is not None:
        empty = (Hole.UNBOUND,) * (len(exits[0].frame.locals) if exits else len(region.entry_kinds) + len(operands))
        exits.append(Exit(ExitReason.DOMAIN, FrameState(2 * exit, empty, tuple(operands))))
    head, *rest = (_block_showing(block, shown) for block in region.blocks)
    head = replace(head, params=(*head.params, *operands), ops=(Op(name, tuple(operands), result, exit), *head.ops))
    kinds = (*region.entry_kinds, *(ENTRY_KINDS[operand.kind] for operand in operands))
    return replace(region, entry_kinds=kinds, blocks=(head, *rest), exits=tuple(exits))


def _defined(region: Region) -> Iterable[Value]:
    for block in region.blocks:
        yield from block.params
        yield from (op.result for op in block.ops if op.result is not None)


def _showing(exit: Exit, shown: tuple[Value, ...]) -> Exit:
    return replace(exit, frame=replace(exit.frame, stack=(*exit.frame.stack, *shown)))


def _block_showing(block: Block, shown: tuple[Value, ...]) -> Block:
    if not isinstance(block.end, Return) or not shown:
        return block
    value = block.end.value
    returned: tuple[Slot, ...] = value.items if isinstance(value, VirtualTuple) else (value,)
    return replace(block, end=Return(VirtualTuple((*returned, *shown))))
