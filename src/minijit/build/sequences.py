"""Iteration over ranges and lists, items, and tuples that nobody has allocated yet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from minijit.build import numbers, operators, references, stores
from minijit.build.handlers import Handlers
from minijit.build.state import MAX_DEPTH, Wanted, depth, tuple_items
from minijit.ir.region import (
    Const,
    ItemIterator,
    Jump,
    RangeIterator,
    Reference,
    VirtualRange,
    VirtualTuple,
)

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
        case Const(range() as known) if all(Const(end).kind for end in _ends(known)):
            start, stop, step = map(Const, _ends(known))
            b.state.push(RangeIterator(start, step, numbers.range_length(b, start, stop, step)))
        case VirtualTuple() if (made := stores.all_made(b, [slot])) is not None:
            b.state.push(ItemIterator(made[0], Const(0), tuple))
        case _:
            found = references.reference(slot)
            if found is None or found.cls.value not in (list, tuple):
                b.unsupported(i.name)
                return
            b.state.push(ItemIterator(found.value, Const(0), found.cls.value))


def _ends(found: range) -> tuple[int, int, int]:
    return found.start, found.stop, found.step


@handles("FOR_ITER")
def _for_iter(b: Builder, i: Instruction) -> None:
    iterator = b.state.stack[-1]
    match iterator:
        case RangeIterator(length=length):
            some = b.op("int_gt", length, Const(0))
        case ItemIterator(items, index, cls):
            count = references.length(b, Reference(items, Const(cls)))
            if count is None:
                b.unsupported(i.name)
                return
            some = b.op("int_lt", index, count)
        case _:
            b.unsupported(i.name)
            return
    assert i.target is not None
    done = b.state.copy()
    done.pop()
    yes, no = b.split(some)
    b.resume(no)
    b.state = done
    b.end(Jump(b.edge(i.target, conditional=True)))
    b.resume(yes)
    if isinstance(iterator, ItemIterator):
        _next_item(b, iterator, done, i)
    else:
        b.later(yes, i.next, _next_value(b, iterator, done))


def _next_item(b: Builder, iterator: ItemIterator, done: State, i: Instruction) -> None:
    """Goes on where the loop's body begins."""
    following = b.op("int_add_wrap", iterator.index, Const(1))
    b.state = done.copy()
    b.state.push(replace(iterator, index=following))
    references.load_next(b, i, iterator)


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


@handles("UNPACK_SEQUENCE")
def _unpack_sequence(b: Builder, i: Instruction) -> None:
    container = b.state.pop()
    items = tuple_items(container)
    if items is None:
        items = references.unpacked(b, i, container)
    if items is None or len(items) != i.arg:
        b.unsupported(i.name)
        return
    for item in reversed(items):
        b.state.push(item)


@handles("BINARY_SUBSCR")
def _binary_subscr(b: Builder, i: Instruction) -> None:
    index, container = b.state.pop(), b.state.pop()
    if operators.is_instance(b, container):
        operators.call_special(b, container, "__getitem__", [index], i)
        return
    items = tuple_items(container)
    if items is not None and isinstance(index, Const) and type(index.value) is int:
        if not -len(items) <= index.value < len(items):
            b.unsupported(i.name)
            return
        b.state.push(items[index.value])
    elif numbers.is_number(index):
        b.state.stack += [container, index]
        references.tell_apart(b, i, -1)
    elif not references.load_item(b, i, container, index):
        b.unsupported(i.name)


@handles("STORE_SUBSCR")
def _store_subscr(b: Builder, i: Instruction) -> None:
    index, container, value = b.state.pop(), b.state.pop(), b.state.pop()
    if operators.is_instance(b, container):
        operators.call_special(b, container, "__setitem__", [index, value], i, wanted=Wanted.NOTHING)
        return
    if numbers.is_number(index):
        b.state.stack += [value, container, index]
        references.tell_apart(b, i, -1)
        return
    if not stores.store_item(b, i, container, index, value):
        b.unsupported(i.name)
