"""Objects that a region has by their addresses: what they are, and what they hold.

What is loaded from the heap is what recordings have seen there: numbers become machine values, anything else a
`Reference`, whose class is guarded at once. So no reference is a number, and a store over a number ends nothing that a
region still has. What else is overwritten is kept as long as the region runs (see `backend.heap_helpers`), if nobody
can notice that; and what is made to be stored is kept as well. So a region counts no references.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING

from minijit.build.numbers import number, scalar, to_int
from minijit.build.state import SOME, Pending
from minijit.events import ExitReason
from minijit.ir.kinds import ABSENT, ClassKind, Kind, is_program_made
from minijit.ir.region import Const, Entry, EntryPoint, Reference, Value, VirtualInstance, VirtualTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.build.builder import Builder
    from minijit.build.state import State
    from minijit.ir.bytecode import Instruction
    from minijit.ir.region import Composite, ListIterator, Operand, Slot

_UNBOXED = {int: "unbox_int", float: "unbox_float", bool: "unbox_bool"}
OFTEN = 16
"""So often an instruction goes on in a version for each class that it loads: those of straight code multiply."""


def push_loaded(
    b: Builder,
    i: Instruction,
    value: Value,
    place: tuple[object, ...] = (),
    classes: tuple[type, ...] = (),
    goes_on: int | None = None,
) -> None:
    """Pushes what an instruction has loaded, from a place that the state is to remember, and goes on in a version for
    each of the classes that it was seen to be of: behind the instruction, if not elsewhere. If there are several sorts
    of numbers, it is left open which it is."""
    next = i.next if goes_on is None else goes_on
    classes = classes or b.observed(i.next, b.sample(value))
    classes = tuple(cls for cls in classes if can_be_known(b, cls))
    if not classes:
        b.unsupported(i.name, ExitReason.UNSEEN)
        return
    if len(classes) > 1 and b.is_full:
        b.unsupported(i.name, ExitReason.TOO_MANY_BLOCKS)
        return
    # An exit says what was known, so that one that has learnt something since is another one.
    known = " or ".join(sorted(cls.__name__ for cls in classes))
    if len(classes) > 1 and set(classes) <= set(_UNBOXED):
        b.state.push(b.op("unbox_number", value, reason=ExitReason.KIND, detail=known))
        return
    if len(classes) > 1 and b.is_often(i, OFTEN):
        classes = classes[-1:]
    *others, last = classes
    before, rest = b.state, None
    for cls in others:
        yes, rest = b.split(b.op("is_of", value, Const(cls)))
        b.resume(yes)
        state = before.copy()
        _push(state, _of(b, value, cls, known, is_sure=True), place)
        b.later(yes, next, state)
        b.resume(rest)
    b.state = before
    _push(b.state, _of(b, value, last, known), place)
    if rest is not None:
        b.later(rest, next, b.state)
    elif goes_on is not None:
        b.later(b.here, next, b.state)


def _push(state: State, found: Slot, place: tuple[object, ...]) -> None:
    state.push(found)
    if place and (isinstance(found, Reference) or found == Const(None)):
        state.loaded = {**state.loaded, place: found}


def can_be_known(b: Builder, cls: type) -> bool:
    """Whether an object may be looked at whose class is this: a class that may end is watched."""
    return not is_program_made(cls) or b.relies.on_class(cls) is not None


def _of(b: Builder, value: Operand, cls: type, known: str, *, is_sure: bool = False) -> Slot:
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


def _guard_other(b: Builder, value: Operand, cls: type) -> None:
    """An object whose attributes are variables is known by nothing but them."""
    for slot, kind in enumerate(b.request.slot_kinds):
        if isinstance(kind, ClassKind) and kind.address == id(cls) and kind.fields:
            b.relies.aliased.add(kind.address)
            same = b.op("is_same", value, b.entry_object(slot))
            b.effect("guard_false", same, reason=ExitReason.ALIASED)


def known_entry(b: Builder, i: Instruction, slot: Slot) -> bool:
    """Pushes an object of which nothing is known but what recordings have seen: one that the entry has found, or whose
    class was forgotten. Whether that says more of it."""
    if isinstance(slot, Reference) and slot.cls == SOME and isinstance(slot.value, Value):
        classes = b.observed(i.next, b.sample(slot.value)) or _observed_elsewhere(b, i)
        if classes:
            push_loaded(b, i, slot.value, classes=classes)
        return bool(classes)
    if not isinstance(slot, Entry) or b.class_of(slot) is not None or b.request.root.point is EntryPoint.BODY:
        return False
    if not b.is_object(slot):
        return False
    classes = b.observed(i.next, b.request.look("entry_object", (slot.slot,))) or _observed_elsewhere(b, i)
    if not classes or not all(_is_of_use(b, cls) for cls in classes):
        return False
    push_loaded(b, i, b.entry_object(slot.slot), classes=classes)
    return True


def _observed_elsewhere(b: Builder, i: Instruction) -> tuple[type, ...]:
    """The classes that a variable's object was seen to be of where other instructions load it."""
    alike = [each for each in b.code.instructions.values() if (each.name, each.arg) == (i.name, i.arg)]
    return tuple(dict.fromkeys(cls for each in alike for cls in b.observed(each.next, ABSENT)))


def known_constant(b: Builder, slot: Slot) -> Slot:
    """A constant as an object by its address, if it is an instance of a class that is known; its class may change."""
    if not isinstance(slot, Const) or slot.kind is not None or not _is_instance(b, slot.value):
        return slot
    return _of(b, slot, type(slot.value), type(slot.value).__name__)


def _is_instance(b: Builder, value: object) -> bool:
    cls = type(value)
    return is_program_made(cls) and not isinstance(value, type) and b.relies.on_instance(cls) is not None


def is_plain(b: Builder, value: object) -> bool:
    """Whether an attribute of a class that has this value is just that: the value is an instance of a class that is
    known, and no descriptor."""
    kind = b.relies.on_instance(type(value)) if _is_instance(b, value) else None
    names = ("__get__", "__set__", "__delete__")
    return kind is not None and all(b.request.classes.attribute(kind, name) is None for name in names)


def meet(b: Builder, i: Instruction) -> bool:
    """Where the object on top of the stack is one that the entry has found, of which nothing is known: does the
    instruction again, for each class that recordings have seen there. Whether it is so."""
    slot = b.state.stack[-1]
    if not isinstance(slot, Entry) or not b.is_object(slot) or b.request.root.point is EntryPoint.BODY:
        return False
    if b.class_of(slot) is not None:
        return False
    classes = b.observed(i.offset, b.request.look("entry_object", (slot.slot,)))
    if not classes or not all(_is_of_use(b, cls) for cls in classes):
        return False
    b.state.pop()
    push_loaded(b, i, b.entry_object(slot.slot), classes=classes, goes_on=i.offset)
    return True


def tell_apart(b: Builder, i: Instruction, place: int) -> None:
    """Does the instruction again for a float, for a bool and for an int, where a slot of the stack is a number of
    whatever sort."""
    if b.is_full:
        b.unsupported(i.name, ExitReason.TOO_MANY_BLOCKS)
        return
    value = b.state.stack[place]
    assert isinstance(value, Value)
    before = b.state
    for name in ("float", "bool", "int"):
        block, rest = b.split(b.op(f"is_{name}", value)) if name != "int" else (b.here, None)
        b.resume(block)
        b.state = before.copy()
        b.state.stack[place] = b.op(f"unpack_{name}", value, reason=ExitReason.KIND)
        b.later(block, i.offset, b.state)
        if rest is not None:
            b.resume(rest)


def _is_of_use(b: Builder, cls: type) -> bool:
    return cls in (list, tuple, type(None)) or (is_program_made(cls) and b.relies.on_instance(cls) is not None)


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
    if found is None or found.cls.value not in (list, tuple) or not _is_as_long(b, found):
        return None
    if isinstance(slot, Const) and isinstance(slot.value, tuple):
        return Const(len(slot.value))
    return b.op("list_length" if found.cls.value is list else "tuple_length", found.value)


def _is_as_long(b: Builder, items: Reference) -> bool:
    """Whether nothing is to be appended to a list; leaves if it is one of those to which something is."""
    for op, place, _, _ in b.state.pending:
        if op == "append_item" and items.cls.value is list:
            if place[0] == items.value:
                return False
            b.effect("guard_false", b.op("is_same", *place, items.value), reason=ExitReason.ALIASED)
    return True


def item_place(b: Builder, slot: Slot, index: Slot) -> tuple[Operand, Operand] | None:
    """A list or tuple, and where in it an index is, which is within; None if they are none."""
    found, position = reference(slot), scalar(index)
    count = length(b, slot)
    if found is None or count is None or position is None or position.kind not in (Kind.INT, Kind.BOOL):
        return None
    place: Operand = to_int(b, position)
    if isinstance(place, Const):
        place = b.op("int_add_wrap", place, count) if place.value < 0 else b.index(place)  # type: ignore[operator]
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


def load_next(b: Builder, i: Instruction, iterator: ListIterator) -> None:
    """Pushes the item that an iterator over a list has come to."""
    place = iterator.list, iterator.index
    _load(b, i, "store_item", place, partial(b.op, "list_item", *place))


def _item_ops(slot: Slot) -> tuple[str, str]:
    """The ops that load an item of a list or tuple, and that store one; of a tuple nothing does."""
    return ("list_item", "store_item") if is_of(slot, list) else ("tuple_item", "")


def unpacked(b: Builder, i: Instruction, slot: Slot) -> tuple[Slot, ...] | None:
    """The items of a list or tuple that has as many as an instruction takes; None if it is none, or if nobody has seen
    what they are. Of each that is the class seen last where it was on top of the stack; of objects that may be of
    several it is left open."""
    found, count = reference(slot), length(b, slot)
    if found is None or count is None:
        return None
    b.effect("guard_true", b.op("int_eq", count, Const(i.arg)), reason=ExitReason.BOUNDS)
    load, store = _item_ops(slot)
    items: list[Slot] = []
    for position, offset in enumerate(_tops(b, i)):
        place = found.value, b.index(Const(position))
        stored = _pending(b, store, place) if store else None
        value = b.op(load, *place)
        classes = [cls for cls in b.observed(offset, b.sample(value)) if can_be_known(b, cls)]
        if stored is None and not classes:
            return None
        are_objects = not any(cls in _UNBOXED or cls is type(None) for cls in classes)
        if stored is not None:
            items.append(stored)
        elif len(classes) > 1 and are_objects:
            is_known = reduce(partial(b.op, "bool_or"), [b.op("is_of", value, Const(cls)) for cls in classes])
            known = " or ".join(sorted(cls.__name__ for cls in classes))
            b.effect("guard_true", is_known, reason=ExitReason.KIND, detail=known)
            items.append(Reference(value, SOME))
        else:
            items.append(_of(b, value, classes[-1], classes[-1].__name__))
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


def _pending(b: Builder, store: str, place: tuple[Operand, ...]) -> Slot | None:
    """What is to be stored in a place; None if that is another place than all that are."""
    for op, other, value, _ in reversed(b.state.pending):
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


MOST_PENDING = 32
"""So many stores may wait for inlined calls to return."""
_OLD = {"store_item": "list_item", "store_field": "field_value"}
"""The ops that give what a store overwrites, if there is anything."""


def _store(b: Builder, i: Instruction, store: str, place: tuple[Operand, ...], value: Slot) -> bool:
    """Puts a value in a place: at once, or when the calls that are inlined have returned, since they may be done again
    until then. Whether that is compiled."""
    # Nobody lets go of what bodies keep, and their callers rely on the length of lists.
    is_body = b.request.root.point is EntryPoint.BODY
    if not _can_be_stored(b, value) or len(b.state.pending) >= MOST_PENDING:
        return False
    if b.is_repeated(i.offset) or (is_body and (number(value) is None or store not in _OLD)):
        return False
    guard = _guard(b, store, place, value) if store in _OLD else ""
    if guard == "guard_number":
        b.effect(guard, _what_is_there(b, store, place), reason=ExitReason.OVERWRITTEN, detail="no number")
    elif store in _OLD:
        _note_stored(b.state, (store, *place), value)
    b.state.pending = (*b.state.pending, Pending(store, place, value, guard))
    if not b.state.callers:
        carry_out(b)
        b.begin_statement(i.next)
    return True


def _guard(b: Builder, store: str, place: tuple[Operand, ...], value: Slot) -> str:
    """What is to be made sure of what a store overwrites: nothing, if that is pending itself; where numbers are stored,
    that it is one, as long as nobody has found that it is not: that costs less, and what else is known of the heap
    still holds then; else that nobody notices its end."""
    if _pending(b, store, place) is not None:
        return ""
    sample = b.request.look(_OLD[store], tuple(map(b.sample, place)))
    is_of_number = sample is ABSENT or type(sample) in _UNBOXED
    is_body = b.request.root.point is EntryPoint.BODY
    is_expected = number(value) is not None and is_of_number and (is_body or not b.is_overwriting)
    return "guard_number" if is_expected else "guard_may_end"


def _what_is_there(b: Builder, store: str, place: tuple[Operand, ...]) -> Value:
    if store == "store_field" and not b.is_overwriting:
        return b.op("load_field", *place, reason=ExitReason.UNBOUND)
    return b.op(_OLD[store], *place)


def _note_stored(state: State, key: tuple[object, ...], value: Slot) -> None:
    """Forgets what was loaded from a place, and from all that may be the same."""
    state.loaded = {other: slot for other, slot in state.loaded.items() if not _may_be_same(other, key)}
    if isinstance(value, Reference) or value == Const(None):
        state.loaded = {**state.loaded, key: value}


def _may_be_same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether two places may be one, each with its op, an object, and a field or an index."""
    is_elsewhere = isinstance(one[-1], Const) and isinstance(other[-1], Const) and one[-1] != other[-1]
    return one[0] == other[0] and not is_elsewhere


def _can_be_stored(b: Builder, slot: Slot) -> bool:
    match slot:
        case Value(_, kind):
            return kind is not Kind.ANY
        case Const() | Reference():
            return True
        case Entry():
            return b.request.root.point is not EntryPoint.BODY
        case VirtualTuple() | VirtualInstance():
            return all(_can_be_stored(b, part) for part in slot.parts)
        case _:
            return False


def carry_out(b: Builder) -> None:
    """Does the stores that are pending, in the region's own frame. What they overwrite is looked at, and what they
    store is made first: the region can be left only as long as nothing is stored."""
    olds: list[Value] = []
    for each in b.state.pending:
        if each.guard == "guard_may_end":
            old = _what_is_there(b, each.op, each.place)
            b.effect("guard_may_end", old, reason=ExitReason.OVERWRITTEN)
            for other in olds:
                b.effect("guard_apart", old, other, reason=ExitReason.OVERWRITTEN)
            olds.append(old)
    made: dict[int, Slot] = {}
    stores = [(each.op, each.place, _made(b, each.value, made)) for each in b.state.pending]
    b.state.change(made, b.identity)
    b.state.pending = ()
    for count, (op, place, value) in enumerate(stores):
        b.effect(op, *place, value, *[Const(True)] * bool(count), reason=ExitReason.ROOM)


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


def _make(b: Builder, slot: Composite, parts: list[Operand]) -> Reference:
    if isinstance(slot, VirtualTuple):
        return Reference(b.op("new_tuple", *parts, reason=ExitReason.ROOM), Const(tuple))
    fields = Const(tuple(field for field, _ in slot.attributes))
    return Reference(b.op("new_instance", slot.cls, fields, *parts, reason=ExitReason.ROOM), slot.cls)


def store_item(b: Builder, i: Instruction, slot: Slot, index: Slot, value: Slot) -> bool:
    """Puts a value in the place of another in a list; whether it is that."""
    place = item_place(b, slot, index) if is_of(slot, list) else None
    if place is None:
        return False
    return _store(b, i, "store_item", place, value)


def append(b: Builder, i: Instruction, slot: Slot, value: Slot) -> bool:
    """Gives a list one item more; whether it is a list."""
    found = reference(slot)
    if found is None or not is_of(slot, list):
        return False
    b.state.push(Const(None))
    return _store(b, i, "append_item", (found.value,), value)


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
    """Gives an attribute another value; whether that is compiled. One that has none yet is found out."""
    return _store(b, i, "store_field", (owner.value, field), value)
