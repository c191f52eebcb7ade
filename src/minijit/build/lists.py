"""Lists: what is made of them, what is found in them, and what makes them longer or shorter.

A list that an instruction makes is made at once: nobody has it yet, so that it may be made again wherever the statement
is done again. To search is to compare with items of which nobody has to be asked (see `ir.searching`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.build import numbers, operators, references, sets, stores
from minijit.build.handlers import Handlers
from minijit.build.state import SOME, Wanted, tuple_items
from minijit.events import ExitReason
from minijit.ir.kinds import Kind, is_program_made
from minijit.ir.ops import RESIZING
from minijit.ir.region import Const, Entry, Hole, Reference, Value, VirtualRange
from minijit.ir.searching import is_sought

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction
    from minijit.ir.region import Operand, Slot

HANDLERS = Handlers()
handles = HANDLERS.handles

MOST_COMPARED = 16
"""How many items of a constant are compared one by one."""


# Made


def _push_made(b: Builder, i: Instruction, name: str, *operands: Operand) -> None:
    """Pushes a list that is made by an op."""
    made = b.op(name, *operands, reason=ExitReason.ROOM)
    b.state.push(Reference(made, Const(list), b.identity() if b.state.is_repeatable else 0))


@handles("BUILD_LIST")
def _build_list(b: Builder, i: Instruction) -> None:
    _push_list(b, i, b.state.pop_many(i.arg))


@handles("LIST_EXTEND")
def _list_extend(b: Builder, i: Instruction) -> None:
    """Of constants: the compiler makes an empty list first."""
    items = tuple_items(b.state.pop())
    before = b.code.instructions.get(i.offset - 4)
    is_empty = before is not None and (before.name, before.arg, before.next) == ("BUILD_LIST", 0, i.offset - 2)
    if items is None or not is_empty or i.arg != 1:
        b.unsupported(i.name)
        return
    b.state.pop()
    _push_list(b, i, list(items))


def _push_list(b: Builder, i: Instruction, items: list[Slot]) -> None:
    parts = stores.all_made(b, items)
    if parts is None:
        b.unsupported(i.name)
        return
    _push_made(b, i, "new_list", *parts)


@handles("LIST_APPEND")
def _list_append(b: Builder, i: Instruction) -> None:
    """Of comprehensions. The list is below what they iterate over."""
    value, stack = b.state.pop(), b.state.stack
    made = stack[-i.arg]
    if isinstance(made, Entry):
        address = b.entry_object(made.slot)
        b.effect("guard_type", address, Const(list), reason=ExitReason.KIND, detail="list")
        stack[-i.arg] = made = Reference(address, Const(list))
    if not isinstance(made, Reference) or not stores.append(b, i, made, value):
        b.unsupported(i.name)


@handles("BINARY_SLICE")
def _binary_slice(b: Builder, i: Instruction) -> None:
    stop, start, container = b.state.pop(), b.state.pop(), b.state.pop()
    _slice(b, i, container, start, stop)


def _slice(b: Builder, i: Instruction, container: Slot, start: Slot, stop: Slot) -> None:
    items = _settled(b, container)
    bounds = None
    if items is not None and items.cls.value is list:
        count = b.op("list_length", items.value)
        bounds = _bound(b, start, Const(0), count), _bound(b, stop, count, count)
    if items is None or bounds is None or bounds[0] is None or bounds[1] is None:
        b.unsupported(i.name)
        return
    _push_made(b, i, "list_slice", items.value, bounds[0], bounds[1])


def _bound(b: Builder, slot: Slot, default: Operand, count: Operand) -> Operand | None:
    """Where a slice begins or ends, counted from the list's beginning; what is outside, the op cuts off."""
    if slot == Const(None):
        return default
    number = numbers.scalar(slot)
    if number is None or number.kind not in (Kind.INT, Kind.BOOL):
        return None
    return references.from_beginning(b, numbers.to_int(b, number), count)


def binary(b: Builder, i: Instruction, sign: str, left: Slot, right: Slot) -> bool:
    """Pushes `list + list` or `list * int`; whether it is that."""
    if sign not in "+*" or not references.is_of(left, list):
        return False
    items, other, number = _settled(b, left), _settled(b, right), numbers.scalar(right)
    if items is None:
        return False
    if sign == "+" and other is not None and other.cls.value is list:
        _push_made(b, i, "list_concat", items.value, other.value)
    elif sign == "*" and number is not None and number.kind is Kind.INT:
        _push_made(b, i, "list_repeat", items.value, number)
    else:
        return False
    return True


def _settled(b: Builder, slot: Slot) -> Reference | None:
    """A list or tuple that is as the program has it by now; leaves if it is one in which something is to be stored yet.
    None if it is surely that, or something else."""
    found = references.reference(slot)
    if found is None or found.cls.value not in (list, tuple):
        return None
    is_settled = found.cls.value is tuple or references.is_settled(b, found, ("store_item", *RESIZING))
    return found if is_settled else None


# Searched


@handles("CONTAINS_OP")
def _contains(b: Builder, i: Instruction) -> None:
    container, value = b.state.pop(), b.state.pop()
    if operators.is_instance(b, container):
        wanted = Wanted.INVERSE if i.arg else Wanted.TRUTH
        operators.call_special(b, container, "__contains__", [value], i, wanted=wanted)
        return
    found = _is_in(b, container, value)
    if found is None:
        b.unsupported(i.name)
        return
    b.state.push(numbers.inverse(b, found) if i.arg else found)


def _is_in(b: Builder, container: Slot, value: Slot) -> Value | Const | None:
    if isinstance(container, VirtualRange):
        return _is_in_range(b, container, value)
    items = tuple_items(container)
    if items is None and isinstance(container, Const) and type(container.value) is frozenset:
        items = tuple(map(Const, container.value))
    if items is not None and len(items) <= MOST_COMPARED and (found := _is_one_of(b, items, value)) is not None:
        return found
    if (found := sets.is_in(b, container, value)) is not None:
        return found
    index = _find(b, container, value)
    return None if index is None else b.op("int_ge", index, Const(0))


def _is_in_range(b: Builder, container: VirtualRange, value: Slot) -> Value | None:
    number = numbers.scalar(value)
    if number is None or number.kind is not Kind.INT or container.step != Const(1):
        return None
    return b.op("bool_and", b.op("int_ge", number, container.start), b.op("int_lt", number, container.stop))


def _is_one_of(b: Builder, items: tuple[Slot, ...], value: Slot) -> Value | Const | None:
    """Whether a number is one of some constants."""
    number = numbers.scalar(value)
    if number is None or not all(isinstance(item, Const) and item.value == item.value for item in items):
        return None
    found: Value | Const = Const(False)
    for item in items:
        assert isinstance(item, Const)
        if item.kind is None and type(item.value) not in (str, type(None)):
            return None
        same = numbers.compare(b, "==", number, item) if item.kind is not None else Const(False)
        if not isinstance(same, Value | Const):
            return None
        if found == Const(False) or same == Const(True):
            found = same
        elif isinstance(found, Value) and isinstance(same, Value):
            found = b.op("bool_or", found, same)
    return found


def _find(b: Builder, container: Slot, value: Slot) -> Value | None:
    """The index of the first item of a list or tuple that equals a value, or -1."""
    items, sought = _settled(b, container), _sought(b, value)
    if items is None or sought is None:
        return None
    name = "list_find" if items.cls.value is list else "tuple_find"
    return b.op(name, items.value, sought, reason=ExitReason.KIND, detail="that compare")


def _sought(b: Builder, slot: Slot) -> Operand | None:
    """What a search takes: a number of any sort, or an object of which nobody has to be asked what it equals."""
    number = numbers.number(slot)
    if number is not None:
        return numbers.as_number(b, number)
    if isinstance(slot, Entry):
        return b.entry_object(slot.slot)
    found = references.reference(slot)
    if found is None or found.cls == SOME or not is_sought(found.cls.value):  # type: ignore[arg-type]
        return None
    # Objects whose attributes are variables of the region are looked for as all others.
    return found.value if not is_program_made(found.cls.value) or b.class_of(found) is not None else None  # type: ignore[arg-type]


# Methods


def _pop(b: Builder, i: Instruction, items: Reference, arguments: Sequence[Slot]) -> bool:
    index = arguments[0] if arguments else Const(-1)
    place = references.item_place(b, items, index) if len(arguments) <= 1 else None
    if place is None or references.pending(b, "store_item", place) is not None:
        return False
    value = b.op("list_item", *place)
    classes = tuple(cls for cls in b.observed(i.next, b.sample(value)) if references.can_be_known(b, cls))
    known = b.state.loaded.get(("store_item", *place))
    if known is None and not classes:
        return False
    found = known or references.one_of(b, value, classes)
    b.state.push(found)
    return stores.delete(b, i, items, place[1], found)


def _remove(b: Builder, i: Instruction, items: Reference, arguments: Sequence[Slot]) -> bool:
    index = _found(b, items, arguments)
    if index is None:
        return False
    b.state.push(Const(None))
    return stores.delete(b, i, items, index, arguments[0])


def _index(b: Builder, i: Instruction, items: Reference, arguments: Sequence[Slot]) -> bool:
    index = _found(b, items, arguments)
    if index is not None:
        b.state.push(index)
    return index is not None


def _found(b: Builder, items: Reference, arguments: Sequence[Slot]) -> Value | None:
    """The index of an item that is there; leaves where it is not."""
    index = _find(b, items, arguments[0]) if len(arguments) == 1 else None
    if index is not None:
        b.effect("guard_true", b.op("int_ge", index, Const(0)), reason=ExitReason.DOMAIN)
    return index


def _append(b: Builder, i: Instruction, items: Reference, arguments: Sequence[Slot]) -> bool:
    if len(arguments) != 1:
        return False
    b.state.push(Const(None))
    return stores.append(b, i, items, arguments[0])


def _insert(b: Builder, i: Instruction, items: Reference, arguments: Sequence[Slot]) -> bool:
    number = numbers.scalar(arguments[0]) if len(arguments) == 2 else None
    if number is None or number.kind not in (Kind.INT, Kind.BOOL):
        return False
    b.state.push(Const(None))
    return stores.insert(b, i, items, numbers.to_int(b, number), arguments[1])


def _copy(b: Builder, i: Instruction, items: Reference, arguments: Sequence[Slot]) -> bool:
    if arguments:
        return False
    _slice(b, i, items, Const(None), Const(None))
    return True


_METHODS: dict[str, Callable[[Builder, Instruction, Reference, Sequence[Slot]], bool]] = {
    "append": _append,
    "copy": _copy,
    "index": _index,
    "insert": _insert,
    "pop": _pop,
    "remove": _remove,
}
_BY_IDENTITY = {id(getattr(list, name)): called for name, called in _METHODS.items()}


def method(name: str) -> Const | None:
    """The method of a list that has this name, if calls of it are compiled."""
    return Const(getattr(list, name)) if name in _METHODS else None


def call(b: Builder, i: Instruction, called: Const, arguments: Sequence[Slot]) -> bool:
    """Calls a method of a list, its first argument, if it is one; whether it is."""
    found = _BY_IDENTITY.get(id(called.value))
    if found is None or not arguments:
        return False
    receiver, *arguments = arguments
    items = references.reference(receiver)
    if items is None or not references.is_of(items, list) or not found(b, i, items, arguments):
        b.unsupported(f"{i.name} {called.value.__name__}")  # type: ignore[attr-defined]
    return True


@handles("DELETE_SUBSCR")
def _delete_subscr(b: Builder, i: Instruction) -> None:
    index, container = b.state.pop(), b.state.pop()
    if operators.is_instance(b, container):
        operators.call_special(b, container, "__delitem__", [index], i, wanted=Wanted.NOTHING)
        return
    items = references.reference(container)
    place = references.item_place(b, container, index) if references.is_of(container, list) else None
    if (
        items is None
        or place is None
        or references.pending(b, "store_item", place) is not None
        or not stores.delete(b, i, items, place[1], None)
    ):
        b.unsupported(i.name)


# The variable of a comprehension


@handles("LOAD_FAST_AND_CLEAR")
def _load_fast_and_clear(b: Builder, i: Instruction) -> None:
    """What a local had that a comprehension's variable hides, or that it had nothing."""
    slot = b.state.locals[i.arg]
    if isinstance(slot, Entry) or (isinstance(slot, Value) and slot.kind is Kind.ANY):
        b.unsupported(i.name, ExitReason.UNBOUND)
        return
    b.state.push(slot)
    b.state.locals[i.arg] = Hole.UNBOUND
