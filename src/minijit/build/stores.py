"""Stores: values that a region puts in places of the heap, and what it makes to be put there.

In the region's own frame a store is done at once, and begins a new statement; in inlined calls it is `Pending`, since
these may be done again until they have returned, and so it is where an exception is caught. A list that these have made
themselves nobody else has: it is changed at once. See docs/decisions/0029, 0031 and 0034.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.build import references
from minijit.build.numbers import number
from minijit.build.state import MAX_DEPTH, Pending, depth
from minijit.events import ExitReason
from minijit.ir.kinds import ABSENT, Kind
from minijit.ir.region import Const, Entry, Hole, Reference, Value, VirtualInstance, VirtualTuple

if TYPE_CHECKING:
    from minijit.build.builder import Builder
    from minijit.build.state import State
    from minijit.ir.bytecode import Instruction
    from minijit.ir.region import Operand, Slot

MOST_PENDING = 32
"""So many stores may wait for inlined calls to return."""
_OLD = {
    "store_item": "list_item",
    "store_field": "field_value",
    "store_named": "named_value",
    "store_global": "load_global",
    "delete_item": "list_item",
}
"""The ops that give what a store overwrites, if there is anything."""
_LOADS = {"store_field": "load_field", "store_named": "load_named"}
"""Those that leave if there is nothing."""
_OLD_REASONS = {"store_named": ExitReason.KIND, "store_global": ExitReason.GLOBAL}
NOTHING = Hole.NULL
"""What is stored where something is taken away."""


def _store(b: Builder, i: Instruction, store: str, owner: Reference, where: Operand, value: Slot) -> bool:
    """Puts a value in a place: at once, or when the calls that are inlined have returned, since they may be done again
    until then. Whether that is compiled."""
    place = owner.value, where
    if not can_be_made(value) or not _is_possible(b, i, owner):
        return False
    guard = _guard(b, store, place, value)
    if guard == "guard_number":
        b.effect(guard, _what_is_there(b, store, place, guard), reason=ExitReason.OVERWRITTEN, detail="no number")
    else:
        _note_stored(b.state, (store, *place), value)
    _add(b, i, owner, Pending(store, place, value, guard))
    return True


def _is_possible(b: Builder, i: Instruction, owner: Reference) -> bool:
    """Whether one store more may be pending at an instruction, if it is pending."""
    return bool(owner.identity) or (len(b.state.pending) < MOST_PENDING and not b.is_repeated(i.offset))


def _add(b: Builder, i: Instruction, owner: Reference, store: Pending) -> None:
    if owner.identity:
        _perform(b, (store,))
        # From there it may be loaded, by another name than its maker's.
        b.state.settle([store.value])
        return
    b.state.pending = (*b.state.pending, store)
    if not b.state.is_repeatable:
        carry_out(b)
        b.begin_statement(i.next)


def _guard(b: Builder, store: str, place: tuple[Operand, ...], value: Slot) -> str:
    """What is to be made sure of what a store overwrites: nothing, if that is pending itself; where numbers are stored,
    that it is one, as long as nobody has found that it is not: that costs less, and what else is known of the heap
    still holds then; else that nobody notices its end."""
    if references.pending(b, store, place) is not None:
        return ""
    sample = b.request.look(_OLD[store], tuple(map(b.sample, place)))
    is_of_number = sample is ABSENT or type(sample) in references.UNBOXED
    is_expected = number(value) is not None and is_of_number and not b.is_overwriting
    return "guard_number" if is_expected else "guard_may_end"


def _what_is_there(b: Builder, store: str, place: tuple[Operand, ...], guard: str) -> Value:
    """What a guard is to look at. Only `guard_may_end` takes it that there is nothing."""
    # A name that an instance has not got yet may be new to its class, on which machine code around relies.
    if store in _LOADS and (guard == "guard_number" or store == "store_named" or not b.is_overwriting):
        return b.op(_LOADS[store], *place, reason=ExitReason.UNBOUND)
    if store == "store_global":
        # Who relies on it is to be told.
        b.effect("guard_unwatched", *place, reason=ExitReason.GLOBAL)
    return b.op(_OLD[store], *place, reason=_OLD_REASONS.get(store))


def _note_stored(state: State, key: tuple[object, ...], value: Slot) -> None:
    """Forgets what was loaded from a place, and from all that may be the same."""
    state.loaded = {other: slot for other, slot in state.loaded.items() if not _may_be_same(other, key)}
    if isinstance(value, Reference) or value == Const(None):
        state.loaded = {**state.loaded, key: value}


def _may_be_same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether two places may be one, each with its op, an object, and a field or an index."""
    is_elsewhere = isinstance(one[-1], Const) and isinstance(other[-1], Const) and one[-1] != other[-1]
    return one[0] == other[0] and not is_elsewhere


def can_be_made(slot: Slot) -> bool:
    """Whether there can be an object of it, by its address: what can be stored, or passed to machine code."""
    match slot:
        case Value(_, kind):
            return kind is not Kind.ANY
        case Const() | Reference() | Entry() | Hole.NULL:
            return True
        case VirtualTuple() | VirtualInstance():
            return all(can_be_made(part) for part in slot.parts)
        case _:
            return False


def carry_out(b: Builder) -> None:
    """Does the stores that are pending, in the region's own frame."""
    waiting, b.state.pending = b.state.pending, ()
    _perform(b, waiting)


def _perform(b: Builder, pending: tuple[Pending, ...]) -> None:
    """Does some stores. What they overwrite is looked at, and what they store is made first: the region can be left
    only as long as nothing is stored."""
    olds: list[Value] = []
    for each in pending:
        if each.guard == "guard_may_end":
            old = _what_is_there(b, each.op, each.place, each.guard)
            b.effect("guard_may_end", old, reason=ExitReason.OVERWRITTEN)
            for other in olds:
                b.effect("guard_apart", old, other, reason=ExitReason.OVERWRITTEN)
            olds.append(old)
    made: dict[int, Slot] = {}
    stores: list[tuple[str, tuple[Operand, ...]]] = []
    for each in pending:
        stores.append((each.op, each.place if each.value is NOTHING else (*each.place, _made(b, each.value, made))))
    b.state.change(made, b.identity)
    for count, (op, operands) in enumerate(stores):
        b.effect(op, *operands, *[Const(True)] * bool(count), reason=ExitReason.ROOM)


def all_made(b: Builder, slots: list[Slot]) -> list[Operand] | None:
    """Values as operands of an op that makes an object of them; None if one of them can be none."""
    if not all(can_be_made(slot) for slot in slots):
        return None
    made: dict[int, Slot] = {}
    operands = [_made(b, slot, made) for slot in slots]
    b.state.change(made, b.identity)
    b.state.settle(slots)
    return operands


def shallow(b: Builder, slot: Slot) -> Slot | None:
    """A value that is to be part of a virtual object: an instance that has others of its class in it, as chains and
    trees have that grow round a loop, is made, and what is left of it is its address. None if it can be no part."""
    if isinstance(slot, VirtualInstance) and any(_has(part, slot.cls) for part in slot.parts):
        made = all_made(b, [slot])
        return None if made is None else Reference(made[0], slot.cls)
    return slot if depth(slot) < MAX_DEPTH else None


def _has(slot: Slot, cls: Const) -> bool:
    """Whether there is a virtual instance of a class in a slot."""
    if isinstance(slot, VirtualInstance) and slot.cls == cls:
        return True
    return isinstance(slot, VirtualTuple | VirtualInstance) and any(_has(part, cls) for part in slot.parts)


def _made(b: Builder, slot: Slot, made: dict[int, Slot]) -> Operand:
    """What can be stored as an operand; virtual objects are made, and noted by their identity."""
    match slot:
        case Value() | Const():
            return slot
        case Reference(value):
            return value
        case Entry(number):
            return b.entry_object(number)
        case VirtualTuple() | VirtualInstance():
            known = made.get(slot.identity)
            if known is None:
                parts = [_made(b, part, made) for part in slot.parts]
                made[slot.identity] = known = _make(b, slot, parts)
            assert isinstance(known, Reference)
            return known.value
        case _:
            raise AssertionError(slot)


def _make(b: Builder, slot: VirtualTuple | VirtualInstance, parts: list[Operand]) -> Reference:
    if isinstance(slot, VirtualTuple):
        return Reference(b.op("new_tuple", *parts, reason=ExitReason.ROOM), Const(tuple))
    fields = Const(tuple(field for field, _ in slot.attributes))
    return Reference(b.op("new_instance", slot.cls, fields, *parts, reason=ExitReason.ROOM), slot.cls)


def store_item(b: Builder, i: Instruction, slot: Slot, index: Slot, value: Slot) -> bool:
    """Puts a value in the place of another in a list; whether it is that."""
    items = references.reference(slot)
    place = references.item_place(b, slot, index) if references.is_of(slot, list) else None
    if items is None or place is None:
        return False
    return _store(b, i, "store_item", items, place[1], value)


def append(b: Builder, i: Instruction, items: Reference, value: Slot) -> bool:
    """Gives a list one item more; whether that is compiled."""
    return _resize(b, i, items, Pending("append_item", (items.value,), value, ""))


def add_key(b: Builder, i: Instruction, keys: Reference, value: Slot) -> bool:
    """Gives a set a key that it may have already, an int; whether that is compiled."""
    return _resize(b, i, keys, Pending("add_key", (keys.value,), value, ""))


def insert(b: Builder, i: Instruction, items: Reference, index: Operand, value: Slot) -> bool:
    """The same before an index, wherever that is."""
    return _resize(b, i, items, Pending("insert_item", (items.value, index), value, ""))


def delete(b: Builder, i: Instruction, items: Reference, index: Operand, value: Slot | None) -> bool:
    """Takes an item out of a list, which equals a value, or None where nobody knows; whether that is compiled. What
    equals a number is one."""
    is_number = value is not None and number(value) is not None
    guard = "" if is_number else "guard_may_end"
    return _resize(b, i, items, Pending("delete_item", (items.value, index), NOTHING, guard))


def _resize(b: Builder, i: Instruction, items: Reference, store: Pending) -> bool:
    if not _is_possible(b, i, items) or not can_be_made(store.value):
        return False
    if store.op != "append_item":
        # Other items are elsewhere from now on.
        b.state.loaded = {place: slot for place, slot in b.state.loaded.items() if place[0] != "store_item"}
    _add(b, i, items, store)
    return True


def store_named(b: Builder, i: Instruction, owner: Reference, name: str, value: Slot) -> bool:
    """The same of an instance that may have a dict of its own."""
    return _store(b, i, "store_named", owner, Const(name), value)


def store_global(b: Builder, i: Instruction, name: str, value: Slot) -> bool:
    """Gives a name of the globals, which they have, another value; whether that is compiled."""
    namespace = Const(b.state.scope.globals)
    b.relies.looked_up.add((id(namespace.value), name))
    return _store(b, i, "store_global", Reference(namespace, Const(dict)), Const(name), value)


def store_field(b: Builder, i: Instruction, owner: Reference, field: Const, value: Slot) -> bool:
    """Gives an attribute another value; whether that is compiled. One that has none yet is found out."""
    return _store(b, i, "store_field", owner, field, value)
