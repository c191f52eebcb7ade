"""Parts of a region with values replaced: new parts, or the very same where there is nothing to replace."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from minijit.ir.region import (
    Block,
    Branch,
    Const,
    Edge,
    Entry,
    Exit,
    FrameState,
    Hole,
    ItemIterator,
    Jump,
    Leave,
    Moot,
    Op,
    Operand,
    RangeIterator,
    Reference,
    Region,
    Return,
    Slot,
    Terminator,
    Value,
    VirtualInstance,
    VirtualMethod,
    VirtualRange,
    VirtualTuple,
)


def map_slot(slot: Slot, change: dict[Value, Operand]) -> Slot:
    """The slot with values replaced."""
    match slot:
        case Value():
            return change.get(slot, slot)
        case VirtualTuple() | VirtualInstance() | VirtualMethod():
            return slot.with_parts(tuple(map_slot(part, change) for part in slot.parts), slot.identity)
        case VirtualRange(start, stop, step, identity):
            return VirtualRange(
                map_operand(start, change), map_operand(stop, change), map_operand(step, change), identity
            )
        case RangeIterator(start, step, length, home):
            return RangeIterator(
                map_operand(start, change), map_operand(step, change), map_operand(length, change), home
            )
        case Reference(value):
            return replace(slot, value=map_operand(value, change))
        case ItemIterator(items, index, cls, home):
            return ItemIterator(map_operand(items, change), map_operand(index, change), cls, home)
        case Const() | Hole() | Entry() | Moot():
            return slot
        case _:
            assert_never(slot)


def map_operand(operand: Operand, change: dict[Value, Operand]) -> Operand:
    return change.get(operand, operand) if isinstance(operand, Value) else operand


def map_operands(operands: tuple[Operand, ...], change: dict[Value, Operand]) -> tuple[Operand, ...]:
    """The operands with values replaced: the very tuple where there is none."""
    mapped = tuple([change.get(x, x) if isinstance(x, Value) else x for x in operands])
    return operands if mapped == operands else mapped


def map_edge(edge: Edge, change: dict[Value, Operand]) -> Edge:
    args = map_operands(edge.args, change)
    return edge if args is edge.args else Edge(edge.target, args)


def map_end(end: Terminator, change: dict[Value, Operand]) -> Terminator:
    """The terminator with values replaced."""
    match end:
        case Jump(edge):
            return Jump(map_edge(edge, change))
        case Branch(condition, then, otherwise):
            return Branch(map_operand(condition, change), map_edge(then, change), map_edge(otherwise, change))
        case Return(value):
            return Return(map_slot(value, change))
        case Leave():
            return end
        case _:
            assert_never(end)


def map_op(op: Op, change: dict[Value, Operand]) -> Op:
    """The op with values replaced: itself where there is none."""
    args = map_operands(op.args, change)
    return op if args is op.args else Op(op.name, args, op.result, op.exit)


def map_exit(exit: Exit, change: dict[Value, Operand]) -> Exit:
    """The exit with values replaced: itself where there is none."""
    frame = exit.frame
    slots = map_slots(frame.locals, change), map_slots(frame.stack, change)
    if slots == (frame.locals, frame.stack):
        return exit
    return Exit(exit.reason, FrameState(frame.offset, *slots), exit.detail)


def map_slots(slots: tuple[Slot, ...], change: dict[Value, Operand]) -> tuple[Slot, ...]:
    # Most slots are plain values: a dictionary is quicker to ask than `map_slot`.
    return tuple([change.get(s, s) if isinstance(s, Value) else map_slot(s, change) for s in slots])


def substitute(region: Region, change: dict[Value, Operand]) -> Region:
    """The region with values replaced everywhere (definitions stay: the caller removes them)."""
    if not change:
        return region
    blocks = tuple(
        Block(b.params, tuple([map_op(op, change) for op in b.ops]), map_end(b.end, change)) for b in region.blocks
    )
    exits = tuple([map_exit(e, change) for e in region.exits])
    return Region(region.name, region.point, region.entry_kinds, blocks, exits)
