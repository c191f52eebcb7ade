"""Iteration over ranges, and tuples that nobody has allocated yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.build import numbers
from minijit.build.handlers import Handlers
from minijit.ir.region import Composite, Const, Jump, RangeIterator, Slot, VirtualRange, VirtualTuple

if TYPE_CHECKING:
    from minijit.build.builder import Builder
    from minijit.build.state import State
    from minijit.ir.bytecode import Instruction

HANDLERS = Handlers()
handles = HANDLERS.handles


@handles("GET_ITER")
def _get_iter(b: Builder, i: Instruction) -> None:
    slot = b.state.pop()
    match slot:
        case RangeIterator():
            b.state.push(slot)
        case VirtualRange(start, stop, step):
            b.state.push(RangeIterator(start, step, numbers.range_length(b, start, stop, step)))
        case _:
            b.unsupported(i.name)


@handles("FOR_ITER")
def _for_iter(b: Builder, i: Instruction) -> None:
    iterator = b.state.stack[-1]
    if not isinstance(iterator, RangeIterator):
        b.unsupported(i.name)
        return
    assert i.target is not None
    some = b.op("int_gt", iterator.length, Const(0))
    done = b.state.copy()
    done.pop()
    yes, no = b.split(some)
    b.resume(no)
    b.state = done
    b.end(Jump(b.edge(i.target, conditional=True)))
    b.resume(yes)
    body = _next_value(b, iterator, done)
    b.later(yes, i.next, body)


def _next_value(b: Builder, iterator: RangeIterator, done: State) -> State:
    """The state in which the loop's body begins. CPython lets the start wrap behind the last value, too."""
    following = b.op("int_add_wrap", iterator.start, iterator.step)
    left = b.op("int_sub_wrap", iterator.length, Const(1))
    body = done.copy()
    body.push(RangeIterator(following, iterator.step, left, iterator.home))
    body.push(iterator.start)
    return body


# Tuples


@handles("BUILD_TUPLE")
def _build_tuple(b: Builder, i: Instruction) -> None:
    items = b.state.pop_many(i.arg)
    if any(depth(item) >= MAX_DEPTH for item in items):
        b.unsupported(f"{i.name}: nested too deeply")
        return
    b.state.push(VirtualTuple(tuple(items), b.identity()) if items else Const(()))


MAX_DEPTH = 4
"""How deep virtual objects nest: one that grows round a loop would make a version for each depth."""


def depth(slot: Slot) -> int:
    """How deep virtual objects nest in a slot."""
    return 1 + max(map(depth, slot.parts), default=0) if isinstance(slot, Composite) else 0


@handles("UNPACK_SEQUENCE")
def _unpack_sequence(b: Builder, i: Instruction) -> None:
    items = tuple_items(b.state.pop())
    if items is None or len(items) != i.arg:
        b.unsupported(i.name)
        return
    for item in reversed(items):
        b.state.push(item)


@handles("BINARY_SUBSCR")
def _binary_subscr(b: Builder, i: Instruction) -> None:
    index, items = b.state.pop(), tuple_items(b.state.pop())
    if items is None or not isinstance(index, Const) or type(index.value) is not int:
        b.unsupported(i.name)
        return
    if not -len(items) <= index.value < len(items):
        b.unsupported(i.name)
        return
    b.state.push(items[index.value])


def tuple_items(slot: Slot) -> tuple[Slot, ...] | None:
    """The items of a tuple that is virtual or constant."""
    if isinstance(slot, VirtualTuple):
        return slot.items
    if isinstance(slot, Const) and type(slot.value) is tuple:
        return tuple(Const(item) for item in slot.value)
    return None
