"""Objects that a region has by their addresses: what they are, and what they hold.

What is loaded from the heap is what recordings have seen there: numbers become machine values, anything else a
`Reference`, whose class is guarded at once. So no reference is a number, and a store of a number over a number, which
is the only one there is, ends nothing that a region still has; and what is no number stays where it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from minijit.build.numbers import Scalar, scalar, to_int
from minijit.build.request import ABSENT
from minijit.build.state import Pending
from minijit.events import ExitReason
from minijit.ir.kinds import ClassKind, Kind
from minijit.ir.region import Const, Entry, EntryPoint, Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.build.builder import Builder
    from minijit.build.state import State
    from minijit.ir.bytecode import Instruction
    from minijit.ir.region import Operand, Slot, Value

_UNBOXED = {int: "unbox_int", float: "unbox_float", bool: "unbox_bool"}
_HEAP_TYPE = 1 << 9
"""Of `__flags__`: a class that was made by a program, and may end."""
_flags = type.__dict__["__flags__"].__get__


def push_loaded(b: Builder, i: Instruction, value: Value, place: tuple[object, ...] = ()) -> None:
    """Pushes what an instruction has loaded, from a place that the state is to remember, and goes on in a version for
    each class that it was seen to be of."""
    classes = [cls for cls in b.observed(i.next, b.sample(value)) if can_be_known(b, cls)]
    if not classes:
        b.unsupported(i.name, ExitReason.UNSEEN)
        return
    if len(classes) > 1 and b.is_full:
        b.unsupported(i.name, ExitReason.TOO_MANY_BLOCKS)
        return
    *others, last = classes
    before, rest = b.state, None
    # An exit says what was known, so that one that has learnt something since is another one.
    known = " or ".join(sorted(cls.__name__ for cls in classes))
    for cls in others:
        yes, rest = b.split(b.op("is_of", value, Const(cls)))
        b.resume(yes)
        state = before.copy()
        _push(state, _of(b, value, cls, known, is_sure=True), place)
        b.later(yes, i.next, state)
        b.resume(rest)
    b.state = before
    _push(b.state, _of(b, value, last, known), place)
    if rest is not None:
        b.later(rest, i.next, b.state)


def _push(state: State, found: Slot, place: tuple[object, ...]) -> None:
    state.push(found)
    if place and (isinstance(found, Reference) or found == Const(None)):
        state.loaded = {**state.loaded, place: found}


def can_be_known(b: Builder, cls: type) -> bool:
    """Whether an object may be looked at whose class is this: a class that may end is watched."""
    return not _flags(cls) & _HEAP_TYPE or b.relies.on_class(cls) is not None


def _of(b: Builder, value: Value, cls: type, known: str, *, is_sure: bool = False) -> Slot:
    """An object as one of a class, which it is or may be; `known` are all that it may be."""
    if cls in _UNBOXED:
        return b.op(_UNBOXED[cls], value, reason=ExitReason.KIND, detail=known)
    if cls is type(None):
        if is_sure:
            return Const(None)
        b.effect("guard_true", b.op("is_same", value, Const(None)), reason=ExitReason.KIND, detail=known)
        return Const(None)
    if not is_sure:
        b.effect("guard_type", value, Const(cls), reason=ExitReason.KIND, detail=known)
    _guard_other(b, value, cls)
    return Reference(value, Const(cls))


def _guard_other(b: Builder, value: Value, cls: type) -> None:
    """An object whose attributes are variables is known by nothing but them."""
    for slot, kind in enumerate(b.request.slot_kinds):
        if isinstance(kind, ClassKind) and kind.address == id(cls) and kind.fields:
            b.relies.aliased.add(kind.address)
            same = b.op("is_same", value, b.entry_object(slot))
            b.effect("guard_false", same, reason=ExitReason.ALIASED)


def known_entry(b: Builder, i: Instruction, slot: Slot) -> bool:
    """Pushes an object that the entry has found, and of which nothing is known but what recordings have seen; whether
    that says more of it."""
    if not isinstance(slot, Entry) or b.class_of(slot) is not None or b.request.root.point is EntryPoint.BODY:
        return False
    if not b.is_object(slot):
        return False
    classes = b.observed(i.next, b.request.look("entry_object", (slot.slot,)))
    if not classes or not all(_is_of_use(b, cls) for cls in classes):
        return False
    push_loaded(b, i, b.entry_object(slot.slot))
    return True


def _is_of_use(b: Builder, cls: type) -> bool:
    return cls in (list, tuple, type(None)) or bool(_flags(cls) & _HEAP_TYPE and b.relies.on_instance(cls))


def reference(slot: Slot) -> Reference | None:
    """A slot as an object by its address; None if it is none."""
    if isinstance(slot, Const) and slot.kind is None and type(slot.value) is not int:
        return Reference(slot, Const(type(slot.value)))
    return slot if isinstance(slot, Reference) else None


def is_of(slot: Slot, cls: type) -> bool:
    """Whether a slot is such an object of just this class."""
    found = reference(slot)
    return found is not None and found.cls.value is cls


def length(b: Builder, slot: Slot) -> Value | Const | None:
    """How many items a list or a tuple has; None if it is none."""
    found = reference(slot)
    if found is None or found.cls.value not in (list, tuple):
        return None
    if isinstance(slot, Const) and isinstance(slot.value, tuple):
        return Const(len(slot.value))
    return b.op("list_length" if found.cls.value is list else "tuple_length", found.value)


def item_place(b: Builder, slot: Slot, index: Slot) -> tuple[Operand, Operand] | None:
    """A list or tuple, and where in it an index is, which is within; None if they are none."""
    found, number = reference(slot), scalar(index)
    count = length(b, slot)
    if found is None or count is None or number is None or number.kind not in (Kind.INT, Kind.BOOL):
        return None
    place: Operand = to_int(b, number)
    if isinstance(place, Const):
        place = b.op("int_add_wrap", place, count) if place.value < 0 else place  # type: ignore[operator]
    else:
        is_from_end = b.op("int_lt", place, Const(0))
        place = b.op("int_select", is_from_end, b.op("int_add_wrap", place, count), place)
    if not isinstance(place, Const):
        b.effect("guard_true", b.op("int_ge", place, Const(0)), reason=ExitReason.BOUNDS)
    b.effect("guard_true", b.op("int_lt", place, count), reason=ExitReason.BOUNDS)
    return found.value, place


def load_item(b: Builder, i: Instruction, slot: Slot, index: Slot) -> bool:
    """Pushes an item of a list or a tuple; whether it is one."""
    place = item_place(b, slot, index)
    if place is None:
        return False
    load, store = _item_ops(slot)
    _load(b, i, store, place, partial(b.op, load, *place))
    return True


def _item_ops(slot: Slot) -> tuple[str, str]:
    """The ops that load an item of a list or tuple, and that store one; of a tuple nothing does."""
    return ("list_item", "store_item") if is_of(slot, list) else ("tuple_item", "")


def unpacked(b: Builder, i: Instruction, slot: Slot) -> tuple[Slot, ...] | None:
    """The items of a list or tuple that has as many as an instruction takes; None if it is none, or if nobody has seen
    what they are. Of each that is the class seen last, where it was on top of the stack."""
    found, count = reference(slot), length(b, slot)
    if found is None or count is None:
        return None
    b.effect("guard_true", b.op("int_eq", count, Const(i.arg)), reason=ExitReason.BOUNDS)
    load, store = _item_ops(slot)
    items: list[Slot] = []
    for number, offset in enumerate(_tops(b, i)):
        place = found.value, Const(number)
        stored = _pending(b, store, place) if store else None
        value = b.op(load, *place)
        classes = [cls for cls in b.observed(offset, b.sample(value)) if can_be_known(b, cls)]
        if stored is None and not classes:
            return None
        items.append(_of(b, value, classes[-1], classes[-1].__name__) if stored is None else stored)
    return tuple(items)


def _tops(b: Builder, i: Instruction) -> list[int]:
    """Where each item that an instruction unpacks is on top of the stack for the first time: behind those before it."""
    code = b.code
    wanted = code.depths[i.offset] - 1 + i.arg
    found: list[int] = []
    for offset, instruction in code.instructions.items():
        if offset < i.next:
            continue
        if len(found) < i.arg and code.depths.get(offset) == wanted - len(found):
            found.append(offset)
        if instruction.target is not None or len(found) == i.arg:
            break
    return found


def _load(b: Builder, i: Instruction, store: str, place: tuple[Operand, ...], load: Callable[[], Value]) -> None:
    """Pushes what stands in a place of the heap: what was loaded from there, or is to be stored there by an op of this
    name, if there is such."""
    known = b.state.loaded.get((store, *place)) or _pending(b, store, place)
    if known is None:
        push_loaded(b, i, load(), (store, *place))
    else:
        b.state.push(known)


def _pending(b: Builder, store: str, place: tuple[Operand, ...]) -> Operand | None:
    """What is to be stored in a place; None if that is another place than all that are."""
    for op, other, value in reversed(b.state.pending):
        if op != store:
            continue
        if other == place:
            return value
        _guard_elsewhere(b, place, other)
    return None


def _guard_elsewhere(b: Builder, place: tuple[Operand, ...], other: tuple[Operand, ...]) -> None:
    """Leaves if two places, of objects and fields or of lists and indices, are one."""
    (one, where), (two, there) = place, other
    same: Value | None = None
    if where != there:
        if where.kind is not Kind.INT or (isinstance(where, Const) and isinstance(there, Const)):
            return
        same = b.op("int_eq", where, there)
    if one != two:
        is_one = b.op("is_same", one, two)
        same = is_one if same is None else b.op("bool_and", same, is_one)
    assert same is not None
    b.effect("guard_false", same, reason=ExitReason.ALIASED)


def _store(
    b: Builder, i: Instruction, store: str, place: tuple[Operand, ...], value: Scalar, load: Callable[[], Value]
) -> None:
    """Puts a number in a place where there is one already: at once, or when the calls that are inlined have returned,
    since they may be done again until then."""
    if _pending(b, store, place) is None:
        b.effect("guard_number", load(), reason=ExitReason.OVERWRITTEN)
    if b.state.callers:
        b.state.pending = (*b.state.pending, Pending(store, place, value))
        return
    b.effect(store, *place, value, reason=ExitReason.ROOM)
    b.begin_statement(i.next)


def store_item(b: Builder, i: Instruction, slot: Slot, index: Slot, value: Slot) -> bool:
    """Puts a number in the place of another in a list; whether it is that."""
    number = scalar(value)
    place = item_place(b, slot, index) if is_of(slot, list) and number is not None else None
    if place is None or number is None:
        return False
    _store(b, i, "store_item", place, number, partial(b.op, "list_item", *place))
    return True


def field(b: Builder, owner: Reference, kind: ClassKind, name: str) -> Const | None:
    """Where an instance has an attribute of its own; None if it has none of this name."""
    if kind.shared >= 0:
        b.effect("guard_values", owner.value, reason=ExitReason.KIND)
    return b.relies.field(kind, name)


def load_field(b: Builder, i: Instruction, owner: Reference, field: Const, sample: object = ABSENT) -> None:
    """Pushes an attribute of an instance; `sample` is what it is now, if that is known."""
    place = owner.value, field

    def load() -> Value:
        found = b.op("load_field", *place, reason=ExitReason.UNBOUND)
        if sample is not ABSENT:
            b.samples[found] = sample
        return found

    _load(b, i, "store_field", place, load)


def store_field(b: Builder, i: Instruction, owner: Reference, field: Const, value: Slot) -> bool:
    """Gives an attribute that is a number another one; whether it is that."""
    number = scalar(value)
    if number is None:
        return False
    place = owner.value, field
    _store(b, i, "store_field", place, number, partial(b.op, "load_field", *place, reason=ExitReason.UNBOUND))
    return True
