"""Objects whose attributes are variables of a root: of what classes they are, and which attributes these are.

In: what a frame holds, and the code that is to be compiled. Out: for an object whose class is transparent (see
`cpython.instances`) a `ClassKind`, with a row for each attribute that the code reads or writes, and that is a variable
of the object. Which names the code uses is read off its text: its own instructions, those of the functions that it
seems to call, and of the methods and properties that the objects have under these names.
"""

from __future__ import annotations

import dis
import weakref
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

from minijit.build.operators import special_names
from minijit.build.request import Classes, is_plain_namespace
from minijit.cpython import instances
from minijit.ir.kinds import ABSENT, ClassKind, EntryKind
from minijit.ir.region import Const

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType

    from minijit.ir.bytecode import Code
    from minijit.ir.kinds import Field, SlotKind

_USES = {"LOAD_ATTR", "STORE_ATTR", "LOAD_GLOBAL"}
MOST_CODES = 32
"""How many code objects are looked at for one root."""
MOST_FIELDS = 16
"""How many attributes of one object are variables."""


def class_of(instance: object) -> type | None:
    """The class of an object, if its attributes can be variables."""
    cls = type(instance)
    return cls if instances.is_transparent(cls) and instances.has_values(instance) else None


def names_used(code: Code, offsets: Iterable[int], globals: dict[str, Any], classes: Iterable[type]) -> frozenset[str]:
    """The names of attributes that the instructions at these offsets may use, or what they may call: too many rather
    than too few, since of what is called all names are taken."""
    instructions = [code.instructions[offset] for offset in offsets]
    used = {code.name(i) for i in instructions if i.name in _USES}
    work = [(used | _special_names({i.name for i in instructions}), globals)]
    names: set[str] = set()
    seen = {code.code}
    can_be_asked: dict[int, bool] = {}
    while work:
        used, globals = work.pop()
        if id(globals) not in can_be_asked:
            can_be_asked[id(globals)] = is_plain_namespace(globals)
        for name in used:
            found: list[object] = [globals.get(name)] if can_be_asked[id(globals)] else []
            if name not in names:
                names.add(name)
                found += [each for cls in classes for each in instances.all_under(cls, name)]
            for function in map(underlying, found):
                if function is not None and function.__code__ not in seen and len(seen) < MOST_CODES:
                    seen.add(function.__code__)
                    work.append((_names_in(function.__code__), function.__globals__))
    return frozenset(names)


def _names_in(code: CodeType) -> set[str]:
    """The names that a function's code may use, those of special methods among them."""
    return set(code.co_names) | _special_names({dis.opname[number] for number in set(code.co_code[::2])})


def _special_names(instructions: Iterable[str]) -> set[str]:
    return {name for instruction in instructions for name in special_names(instruction)}


def underlying(found: object) -> FunctionType | None:
    """The Python function that a function, or what a class has in place of one, or a class, comes down to."""
    if isinstance(found, type):
        found = instances.look_up(found, "__init__")
    if type(found) is property:
        found = found.fget
    elif type(found) in (staticmethod, classmethod):
        found = found.__func__  # type: ignore[attr-defined]
    return found if type(found) is FunctionType else None


def class_kind(instance: object, names: Iterable[str], kind_of: Callable[[object], SlotKind]) -> SlotKind:
    """The kind of an object of a transparent class, whose attributes of these names are used; `kind_of` gives those of
    their values, and of ABSENT."""
    cls = type(instance)
    version = instances.version(cls)
    if not version:
        return EntryKind.OBJECT
    shared = instances.shared_names(cls)
    fields, is_used = [], False
    for name in sorted(names):
        field = instances.field(cls, shared, name)
        is_used |= instances.look_up(cls, name) is not ABSENT
        if field is not None:
            kind = kind_of(instances.value(instance, field))
            fields.append((field, kind if isinstance(kind, EntryKind) else EntryKind.OBJECT))
    if not (fields or is_used) or len(fields) > MOST_FIELDS:
        return EntryKind.OBJECT
    return ClassKind(id(cls), version, shared.count, tuple(fields), instances.name(cls), weakref.ref(cls))


def _attribute(kind: ClassKind, name: str) -> Const | None:
    """What a class has under a name in the state in which the kind says that it is; None for nothing, or if it is in
    another one by now."""
    cls = kind.cls()
    found = ABSENT if cls is None else instances.look_up(cls, name)
    return Const(found) if found is not ABSENT and is_current(kind) else None


def _is_made(kind: ClassKind) -> bool:
    """Whether calls of the class make what `object` makes, for `__init__` to get."""
    cls = kind.cls()
    is_so = cls is not None and instances.is_made_plainly(cls) and instances.is_transparent(cls)
    return is_so and is_current(kind)


def _seen(cls: type) -> ClassKind | None:
    """The kind of a class in the state in which it is now."""
    version = instances.version(cls) if type(cls) is type else 0
    return ClassKind(id(cls), version, -1, (), instances.name(cls), weakref.ref(cls)) if version else None


def _field(kind: ClassKind, name: str) -> Field | None:
    """Where instances have an attribute."""
    cls = kind.cls()
    found = None if cls is None else instances.field(cls, instances.shared_names(cls), name)
    return found if is_current(kind) else None


def _bases(kind: ClassKind) -> tuple[type, ...]:
    """A class and all that it is derived from."""
    cls = kind.cls()
    found = () if cls is None else instances.bases(cls)
    return found if is_current(kind) else ()


def is_current(kind: ClassKind) -> bool:
    """Whether the class is in the state in which the kind says that it is."""
    cls = kind.cls()
    return cls is not None and instances.version(cls) == kind.version


def _is_written(kind: ClassKind) -> bool:
    """Whether attributes of the class's instances are written as `object` has them written."""
    cls = kind.cls()
    return cls is not None and instances.is_writable(cls) and is_current(kind)


def _met(cls: type) -> ClassKind | None:
    """The kind of instances whose attributes are read as `object` has them read, with the names that they share."""
    kind = _seen(cls) if instances.is_transparent(cls) else None
    if kind is None:
        return None
    if id(cls) in _with_dicts:
        return replace(kind, has_dicts=True)
    return replace(kind, shared=instances.shared_names(cls).count)


_with_dicts: dict[int, weakref.ref[type]] = {}


def note_instance(thing: object) -> None:
    """Takes notice of an object that recordings have met: of its class, if it has a dict of its own."""
    cls, address = type(thing), id(type(thing))
    if address not in _with_dicts and not instances.has_values(thing):
        _with_dicts[address] = weakref.ref(cls, lambda _: _with_dicts.pop(address, None))


def _behind(kind: ClassKind, cls: type, name: str) -> Const | None:
    """What `super(cls, instance)` has under a name."""
    own = kind.cls()
    found = ABSENT if own is None else instances.look_behind(own, cls, name)
    return Const(found) if found is not ABSENT and is_current(kind) else None


CLASSES = Classes(_attribute, _field, _is_written, _bases, _seen, _is_made, _met, _behind)
"""What the builder is told of classes."""
