"""Objects that a region has by their addresses: what they are, and what they hold.

What is loaded from the heap is what recordings have seen there: numbers become machine values, anything else a
`Reference`, whose class is guarded at once. So no reference is a number, and a store over a number ends nothing that a
region still has. What else is overwritten is kept as long as the region runs (see `backend.heap_helpers`), if nobody
can notice that; and what is made to be stored is kept as well. So a region counts no references.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import TYPE_CHECKING

from minijit.build import exceptions
from minijit.build.numbers import scalar, to_int
from minijit.build.state import SOME
from minijit.events import ExitReason
from minijit.ir.kinds import ABSENT, ClassKind, Kind, is_program_made
from minijit.ir.ops import RESIZING
from minijit.ir.region import Const, Entry, Reference, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from minijit.build.builder import Builder
    from minijit.build.state import State
    from minijit.ir.bytecode import Instruction
    from minijit.ir.region import ItemIterator, Operand, Slot

UNBOXED = {int: "unbox_int", float: "unbox_float", bool: "unbox_bool"}
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
    known = told(classes)
    if len(classes) > 1 and set(classes) <= set(UNBOXED):
        b.state.push(b.op("unbox_number", value, reason=ExitReason.KIND, detail=known))
        return
    if len(classes) > 1 and b.times("loaded", i) > OFTEN:
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


def told(classes: Iterable[type]) -> str:
    """What an exit says of the classes that were known: so one that has learnt something since is another one."""
    return " or ".join(sorted(cls.__name__ for cls in classes))


def _push(state: State, found: Slot, place: tuple[object, ...]) -> None:
    if isinstance(found, Reference):
        state.learn(found)
    state.push(found)
    if place and (isinstance(found, Reference) or found == Const(None)):
        state.loaded = {**state.loaded, place: found}


def can_be_known(b: Builder, cls: type) -> bool:
    """Whether an object may be looked at whose class is this: a class that may end is watched."""
    return not is_program_made(cls) or b.relies.on_class(cls) is not None


def _of(b: Builder, value: Operand, cls: type, known: str, *, is_sure: bool = False) -> Slot:
    """An object as one of a class, which it is or may be; `known` are all that it may be."""
    if cls in UNBOXED:
        return b.op(UNBOXED[cls], value, reason=ExitReason.KIND, detail=known)
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
    if not isinstance(slot, Entry) or b.class_of(slot) is not None or not b.is_object(slot):
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
    if not isinstance(slot, Entry) or not b.is_object(slot) or b.class_of(slot) is not None:
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
    return cls in (list, tuple, set, frozenset, type(None)) or (
        is_program_made(cls) and b.relies.on_instance(cls) is not None
    )


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
    """Whether a list is to get no longer or shorter; a tuple never is."""
    return items.cls.value is not list or is_settled(b, items, RESIZING)


def is_settled(b: Builder, owner: Reference, stores: Container[str]) -> bool:
    """Whether no store of these is pending to an object; leaves if it is one of those to which there is one."""
    for op, place, _, _ in () if owner.identity else b.state.pending:
        if op in stores:
            if place[0] == owner.value:
                return False
            b.effect("guard_false", b.op("is_same", place[0], owner.value), reason=ExitReason.ALIASED)
    return True


def item_place(b: Builder, slot: Slot, index: Slot) -> tuple[Operand, Operand] | None:
    """A list or tuple, and where in it an index is, which is within; None if they are none."""
    found, position = reference(slot), scalar(index)
    count = length(b, slot)
    if found is None or count is None or position is None or position.kind not in (Kind.INT, Kind.BOOL):
        return None
    place: Operand = to_int(b, position)
    if isinstance(place, Const):
        place = b.index(place)
    place = from_beginning(b, place, count)
    if not isinstance(place, Const):
        exceptions.raise_unless(b, b.op("int_ge", place, Const(0)), IndexError, ExitReason.BOUNDS)
    exceptions.raise_unless(b, b.op("int_lt", place, count), IndexError, ExitReason.BOUNDS)
    return found.value, place


def from_beginning(b: Builder, index: Operand, count: Operand) -> Operand:
    """An index that is counted from the end if it is negative, as one from the beginning."""
    if isinstance(index, Const):
        return b.op("int_add_wrap", index, count) if index.value < 0 else index  # type: ignore[operator]
    return b.op("int_select", b.op("int_lt", index, Const(0)), b.op("int_add_wrap", index, count), index)


def load_item(b: Builder, i: Instruction, slot: Slot, index: Slot) -> bool:
    """Pushes an item of a list or a tuple; whether it is one."""
    place, found = item_place(b, slot, index), reference(slot)
    if place is None or found is None:
        return False
    load, store = _ITEM_OPS[found.cls.value]  # type: ignore[index]
    _load(b, i, store, place, partial(b.op, load, *place))
    return True


def load_next(b: Builder, i: Instruction, iterator: ItemIterator) -> None:
    """Pushes the item that an iterator has come to."""
    load, store = _ITEM_OPS[iterator.cls]
    place = iterator.items, iterator.index
    _load(b, i, store, place, partial(b.op, load, *place))


_ITEM_OPS: dict[type, tuple[str, str]] = {list: ("list_item", "store_item"), tuple: ("tuple_item", "")}
"""The ops that load an item, and that store one; of a tuple nothing does."""


def unpacked(b: Builder, i: Instruction, slot: Slot) -> tuple[Slot, ...] | None:
    """The items of a list or tuple that has as many as an instruction takes; None if it is none, or if nobody has seen
    what they are. Of each that is the class seen last where it was on top of the stack; of objects that may be of
    several it is left open."""
    found, count = reference(slot), length(b, slot)
    if found is None or count is None:
        return None
    b.effect("guard_true", b.op("int_eq", count, Const(i.arg)), reason=ExitReason.BOUNDS)
    load, store = _ITEM_OPS[found.cls.value]  # type: ignore[index]
    items: list[Slot] = []
    for position, offset in enumerate(_tops(b, i)):
        place = found.value, b.index(Const(position))
        stored = pending(b, store, place) if store else None
        value = b.op(load, *place)
        classes = [cls for cls in b.observed(offset, b.sample(value)) if can_be_known(b, cls)]
        if stored is None and not classes:
            return None
        items.append(one_of(b, value, tuple(classes)) if stored is None else stored)
    return tuple(items)


def one_of(b: Builder, value: Value, classes: tuple[type, ...]) -> Slot:
    """What was loaded, as an object of one of some classes. If these are several, it is left open of which; if numbers
    and others are among them, it is of the one that was seen last."""
    are_objects = not any(cls in UNBOXED or cls is type(None) for cls in classes)
    known = told(classes)
    if len(classes) > 1 and set(classes) <= set(UNBOXED):
        return b.op("unbox_number", value, reason=ExitReason.KIND, detail=known)
    if len(classes) > 1 and are_objects:
        is_known = reduce(partial(b.op, "bool_or"), [b.op("is_of", value, Const(cls)) for cls in classes])
        b.effect("guard_true", is_known, reason=ExitReason.KIND, detail=known)
        return Reference(value, SOME)
    return _of(b, value, classes[-1], classes[-1].__name__)


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


def _load(
    b: Builder,
    i: Instruction,
    store: str,
    place: tuple[Operand, ...],
    load: Callable[[], Value],
    sample: object = ABSENT,
) -> None:
    """Pushes what stands in a place of the heap: what was loaded from there, or is to be stored there by an op of this
    name, if there is such; `sample` is what stands there now, if that is known."""
    known = b.state.loaded.get((store, *place)) or pending(b, store, place)
    if known is not None:
        b.state.push(known)
        return
    found = load()
    if sample is not ABSENT:
        b.samples[found] = sample
    push_loaded(b, i, found, (store, *place))


def pending(b: Builder, store: str, place: tuple[Operand, ...]) -> Slot | None:
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


def field(b: Builder, owner: Reference, kind: ClassKind, name: str) -> Const | None:
    """Where an instance has an attribute of its own; None if it has none of this name."""
    if kind.shared >= 0:
        b.effect("guard_values", owner.value, reason=ExitReason.KIND)
    return b.relies.field(kind, name)


def load_named(b: Builder, i: Instruction, owner: Reference, name: str, default: Const | None) -> None:
    """Pushes an attribute of an instance that may have a dict of its own; if it has none of this name, the `default`
    that its class has."""
    place = owner.value, Const(name)
    load = partial(b.op, "load_named", *place, reason=ExitReason.UNBOUND)
    if default is not None:
        load = partial(b.op, "named_or", *place, default, reason=ExitReason.KIND)
    _load(b, i, "store_named", place, load)


def load_global(b: Builder, i: Instruction, namespace: Const, name: str, sample: object) -> None:
    """Pushes what a namespace has under a name; `sample` is what it has now."""
    place = namespace, Const(name)
    load = partial(b.op, "load_global", *place, reason=ExitReason.GLOBAL)
    _load(b, i, "store_global", place, load, sample)


def load_field(b: Builder, i: Instruction, owner: Reference, field: Const, sample: object = ABSENT) -> None:
    """Pushes an attribute of an instance; `sample` is what it is now, if that is known."""
    place = owner.value, field
    _load(b, i, "store_field", place, partial(b.op, "load_field", *place, reason=ExitReason.UNBOUND), sample)
