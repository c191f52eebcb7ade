"""What stands in the slots of a live frame, as the entry kinds of a root."""

from __future__ import annotations

import weakref
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, assert_never

from minijit.backend.words import MAX_BOUND
from minijit.build.request import is_plain_namespace, namespaces_of
from minijit.cpython import frames, raw
from minijit.driver.attributes import class_kind, class_of, names_used
from minijit.ir import codeflags
from minijit.ir.bytecode import decode
from minijit.ir.kinds import (
    ABSENT,
    GENERAL,
    INPUT_RANGES,
    ITERATED,
    RANGE_STEPS,
    ClassKind,
    EntryKind,
    FunctionKind,
    Kinds,
    SlotKind,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from minijit.cpython.frames import Frame
    from minijit.ir.bytecode import Code

_KINDS = {
    "": EntryKind.UNBOUND,
    "float": EntryKind.FLOAT,
    "bool": EntryKind.BOOL,
    "NoneType": EntryKind.NONE,
}
_ITEM_ITERATORS = {kind.value: kind for kind in ITERATED}
_TOUCHES = {"LOAD_FAST", "LOAD_FAST_CHECK", "STORE_FAST", "DELETE_FAST", "LOAD_FAST_AND_CLEAR"}


def can_enter_by_call(code: Code) -> bool:
    """Whether the function is of a sort whose start can be a root."""
    return code.is_plain and parameter_count(code) <= MAX_BOUND


def parameter_count(code: Code) -> int:
    """How many parameters there are, keyword-only ones included."""
    return code.code.co_argcount + code.code.co_kwonlyargcount


_INT_KINDS = (EntryKind.SHORT, EntryKind.NATURAL, EntryKind.SMALL_INT, EntryKind.INT)
"""The narrowest first."""


def _int_kind(value: int) -> EntryKind:
    return next((kind for kind in _INT_KINDS if _is_within(kind, value)), EntryKind.OBJECT)


def _is_within(kind: EntryKind, *values: int) -> bool:
    low, high = INPUT_RANGES[kind]
    return all(low <= value <= high for value in values)


def _iterator_kind(address: int) -> EntryKind:
    if not frames.is_unshared(address):
        return EntryKind.OBJECT
    start, step, length = frames.range_fields(address)
    for kind, only in RANGE_STEPS.items():
        if step == only and _is_within(kind, start, start + step * length):
            return kind
    return EntryKind.RANGE_ITERATOR


def as_wide_as_needed(kinds: Kinds, served: Collection[Kinds]) -> Kinds:
    """The kinds for one more version of a root: the narrow ones for the first of these types, wider ones for the next.

    So a root whose numbers are of all sorts has three versions at most: one for those that came first, one for what is
    larger, or negative in the same places, one for any.
    """
    same = sum(same_types(other, kinds) for other in served)
    if not same or kinds in served:
        return kinds
    wider = _SECOND if same == 1 else GENERAL
    return tuple(_widened(kind, wider) for kind in kinds)


def _widened(kind: SlotKind, wider: Mapping[EntryKind, EntryKind]) -> SlotKind:
    match kind:
        case EntryKind():
            return wider.get(kind, kind)
        case ClassKind(fields=fields):
            return replace(kind, fields=tuple((field, wider.get(each, each)) for field, each in fields))
        case FunctionKind():
            return kind
        case _:
            assert_never(kind)


OBJECTS = 3
"""For how many functions a root that calls what it is given has versions of their own; and for how many classes one
that uses attributes."""


def with_few_objects(kinds: Kinds, served: Collection[Kinds]) -> Kinds:
    """The kinds for one more version, where a slot has held so many functions, or instances of so many classes, that
    the next may be any object."""
    return tuple(
        EntryKind.OBJECT if not isinstance(kind, EntryKind) and _is_one_too_many(kind, before) else kind
        for kind, before in zip(kinds, zip(*served, strict=True) if served else [()] * len(kinds), strict=True)
    )


def _is_one_too_many(kind: FunctionKind | ClassKind, before: Collection[SlotKind]) -> bool:
    known = {_named(other) for other in before if not isinstance(other, EntryKind)}
    return EntryKind.OBJECT in before or (_named(kind) not in known and len(known) >= OBJECTS)


def without_classes(kinds: Kinds, classes: Collection[int]) -> Kinds:
    """The kinds, where instances of these classes, which are given by address, are any objects."""
    return tuple(
        EntryKind.OBJECT if isinstance(kind, ClassKind) and kind.address in classes else kind for kind in kinds
    )


def _named(kind: FunctionKind | ClassKind) -> FunctionKind | int:
    """What a kind tells apart: functions, or classes."""
    return kind.address if isinstance(kind, ClassKind) else kind


def same_types(some: Kinds, others: Kinds) -> bool:
    """Whether entry kinds ask for objects of the same types."""
    return list(map(_type, some)) == list(map(_type, others))


def _type(kind: SlotKind) -> object:
    if isinstance(kind, ClassKind):
        return kind.address, kind.version, [(field, each.label) for field, each in kind.fields]
    return kind.label


_SECOND = GENERAL | {
    EntryKind.SHORT: EntryKind.NATURAL,
    EntryKind.NATURAL: EntryKind.NATURAL,
    EntryKind.SMALL_INT: EntryKind.SMALL_INT,
}


def _kind(object: int) -> EntryKind:
    name = frames.type_name(object)
    if name == "int":
        return _int_kind(frames.int_value(object))
    if name == "range_iterator":
        return _iterator_kind(object)
    if name in _ITEM_ITERATORS:
        return _ITEM_ITERATORS[name] if frames.is_unshared(object) else EntryKind.OBJECT
    return _KINDS.get(name, EntryKind.OBJECT)


def _kind_in(code: Code, index: int, object: int) -> SlotKind:
    """The kind of what a local holds: of a function only where it is called."""
    if index in code.called_locals and object and frames.type_address(object) == id(FunctionType):
        return function_kind(raw.borrow(object))
    return _kind(object)


def function_kind(function: FunctionType) -> SlotKind:
    """The kind of a function that is to be known: any object, if it is of a sort that cannot be inlined."""
    code = function.__code__
    if not decode(code).is_plain:
        return EntryKind.OBJECT
    globals, builtins = map(id, namespaces_of(function))
    return FunctionKind(id(code), globals, builtins, function.__qualname__, weakref.ref(function))


def call_kinds(code: Code, frame: Frame) -> Kinds | None:
    """The kinds of a function's arguments, at its start; None if its start cannot be a root."""
    if not can_enter_by_call(code):
        return None
    slots = [frame.slot(index) for index in range(parameter_count(code))]
    # An argument is never an iterator that the frame alone holds: the caller has it too.
    kinds = [_no_iterator(_kind_in(code, index, object)) for index, object in enumerate(slots)]
    return tuple(_with_classes(kinds, slots, code, code.instructions, frame))


def loop_kinds(code: Code, header: int, frame: Frame) -> Kinds | None:
    """The kinds of all slots at a loop header, in a JUMP callback: of locals, names in the globals, and the stack.

    Locals that the loop does not touch are not looked at. None for code that suspends, whose frame is not on the stack,
    and for what has its locals neither in the frame nor in the globals.
    """
    if code.code.co_flags & codeflags.SUSPENDING or not (code.is_optimized or frame.is_in_globals):
        return None
    body = code.loops[header].body
    instructions = (code.instructions[offset] for offset in body)
    touched = {i.arg for i in instructions if i.name in _TOUCHES}
    names = len(code.code.co_varnames)
    kinds: list[SlotKind] = []
    for index in range(frame.stacktop):
        on_stack = index >= code.locals_count
        in_use = on_stack or (index in touched and index < names)
        kind = _kind_in(code, index, frame.slot(index)) if in_use else EntryKind.OBJECT
        is_hole = on_stack and kind is EntryKind.UNBOUND
        kinds.append(EntryKind.OBJECT if is_hole else kind if on_stack else _no_iterator(kind))
    locals, stack = kinds[: code.locals_count], kinds[code.locals_count :]
    held = [frame.slot(index) if index in touched else 0 for index in range(code.locals_count)]
    for object in _named_objects(code.loop_names(header), frame):
        locals.append(EntryKind.UNBOUND if not object else _no_iterator(_kind(object)))
        held.append(object)
    return (*_with_classes(locals, held, code, body, frame), *stack)


def _named_objects(names: tuple[str, ...], frame: Frame) -> Iterator[int]:
    """The addresses of what the globals have under names; 0 for nothing, None's where keys may be anything."""
    namespace, _ = frame.namespaces()
    can_be_asked = is_plain_namespace(namespace)
    for name in names:
        found = namespace.get(name, _NOTHING) if can_be_asked else None
        yield 0 if found is _NOTHING else id(found)


_NOTHING = object()


def _with_classes(
    kinds: Sequence[SlotKind],
    objects: Sequence[int],
    code: Code,
    offsets: Iterable[int],
    frame: Frame,
) -> Iterator[SlotKind]:
    """The kinds, where those of objects whose attributes the code uses say which these are. Of one object that is there
    twice only the first place has them."""
    seen: set[int] = set()
    found: dict[int, object] = {}
    for index, (kind, object) in enumerate(zip(kinds, objects, strict=True)):
        if kind is EntryKind.OBJECT and object and object not in seen and class_of(raw.borrow(object)) is not None:
            seen.add(object)
            found[index] = raw.borrow(object)
    globals, _ = frame.namespaces()
    # By address: to hash a class may run Python code.
    classes = {id(type(each)): type(each) for each in found.values()}
    names = names_used(code, offsets, globals, classes.values()) if found else frozenset()
    for index, kind in enumerate(kinds):
        if index not in found or not names:
            yield kind
            continue
        yield class_kind(found[index], names, _kind_of)


def _kind_of(value: object) -> SlotKind:
    """The kind of what an attribute has."""
    return EntryKind.UNBOUND if value is ABSENT else _no_iterator(_kind(id(value)))


def _no_iterator(kind: SlotKind) -> SlotKind:
    """The kind of what a variable holds: an iterator is any object, since it would have two names as soon as a loop
    takes it."""
    return EntryKind.OBJECT if kind.label in ("range_iterator", *_ITEM_ITERATORS) else kind
