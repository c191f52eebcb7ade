"""Attributes: of modules, which are assumed, and of instances whose classes are known (`ClassKind`).

What an instance has of its own is to the region a variable like a local: it is read once, at the entry, and written
back where the region is left, so that neither a load nor a store of an attribute costs anything within. So is what an
instance has that the region makes itself (see `instances`). What its class has is a constant for as long as the class
is in the state in which it was. Methods and properties are functions, which are inlined.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from minijit.build import lists, references, sets, stores
from minijit.build.handlers import Handlers
from minijit.build.inline import call_function
from minijit.build.instances import store
from minijit.build.operators import class_of
from minijit.build.state import Wanted
from minijit.build.variables import load_own
from minijit.events import ExitReason
from minijit.ir.region import Const, Entry, Hole, Reference, VirtualInstance, VirtualMethod

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction
    from minijit.ir.kinds import ClassKind
    from minijit.ir.region import Slot

HANDLERS = Handlers()
handles = HANDLERS.handles

_PLAIN = (int, float, bool, type(None), str, bytes, tuple)
"""Of these types are constants that a class may have for its instances to read: they are no descriptors."""


@handles("LOAD_ATTR")
def _load_attr(b: Builder, i: Instruction) -> None:
    if references.meet(b, i):
        return
    owner, name = b.state.pop(), b.code.name(i)
    kind = b.class_of(owner)
    if kind is not None:
        _load_from_instance(b, owner, kind, name, i)
        return
    methods = lists if references.is_of(owner, list) else sets if references.is_of(owner, set) else None
    method = methods.method(name) if methods is not None and i.arg & 1 else None
    if method is not None:
        b.state.push(method)
        b.state.push(owner)
        return
    found = None
    if isinstance(owner, Const) and type(owner.value) is ModuleType:
        found = b.relies.on_attribute(owner.value, name)
    elif isinstance(owner, Const) and isinstance(owner.value, type):
        _load_from_class(b, owner.value, name, i)
        return
    if found is None:
        b.unsupported(f"{i.name} {name}")
        return
    if i.arg & 1:
        b.state.push(Hole.NULL)
    b.state.push(found)


def _load_from_instance(b: Builder, owner: Slot, kind: ClassKind, name: str, i: Instruction) -> None:
    if isinstance(owner, Reference) and _is_named(b, kind, name):
        _load_by_name(b, owner, kind, name, i)
        return
    load = _own(b, owner, kind, name, i)
    if load is None:
        _load_from_class_of(b, owner, kind, name, i)
        return
    if i.arg & 1:
        b.state.push(Hole.NULL)
    load()


def _is_named(b: Builder, kind: ClassKind, name: str) -> bool:
    """Whether instances may have an attribute in a dict of their own."""
    field = b.relies.field(kind, name) if kind.has_dicts else None
    return kind.has_dicts and (field is None or field.value.is_value)  # type: ignore[attr-defined]


def _load_by_name(b: Builder, owner: Reference, kind: ClassKind, name: str, i: Instruction) -> None:
    """What an instance has of its own, unless its class has a property, which goes before that; if the class has a
    function or an object, the instance has to have nothing."""
    found = b.request.classes.attribute(kind, name)
    if found is None or type(found.value) in _PLAIN:
        if i.arg & 1:
            b.state.push(Hole.NULL)
        references.load_named(b, i, owner, name, found)
        return
    if type(found.value) is not property:
        b.effect("guard_not_named", owner.value, Const(name), reason=ExitReason.KIND)
    _load_from_class_of(b, owner, kind, name, i)


def _own(b: Builder, owner: Slot, kind: ClassKind, name: str, i: Instruction) -> Callable[[], None] | None:
    """What pushes an attribute that an instance has of its own; None if it has none of this name."""
    match owner:
        case Reference():
            field = references.field(b, owner, kind, name)
            return None if field is None else partial(references.load_field, b, i, owner, field)
        case VirtualInstance():
            own = owner.find(name)
            return None if own is None else partial(b.state.push, own)
        case Entry(slot):
            index = b.request.scope.field(slot, name)
            if index is None or b.state.own(index) is Hole.UNBOUND:
                return None
            return partial(load_own, b, i, index, name)
        case _:
            return None


def _load_from_class_of(b: Builder, owner: Slot, kind: ClassKind, name: str, i: Instruction) -> None:
    """An attribute that an instance has from its class."""
    is_called = bool(i.arg & 1)
    found = b.request.classes.attribute(kind, name)
    value = None if found is None else found.value
    if type(value) is property and type(value.fget) is FunctionType and not is_called:
        call_function(b, value.fget, [owner], (), i)
    elif type(value) is FunctionType:
        b.state.stack += [Const(value), owner] if is_called else [VirtualMethod(Const(value), owner, b.identity())]
    elif type(value) is staticmethod and type(value.__func__) is FunctionType and is_called:
        b.state.push(Hole.NULL)
        b.state.push(Const(value.__func__))
    elif type(value) is classmethod and type(value.__func__) is FunctionType and is_called:
        b.state.push(Const(value.__func__))
        b.state.push(Const(kind.cls()))
    elif found is not None and type(value) in _PLAIN and not is_called:
        b.state.push(found)
    elif found is not None and references.is_plain(b, value) and not is_called:
        b.state.push(references.known_constant(b, found))
    elif name == "__class__" and (cls := class_of(b, owner)) is not None:
        if is_called:
            b.state.push(Hole.NULL)
        b.state.push(cls)
    else:
        b.unsupported(f"{i.name} {name}")


def _load_from_class(b: Builder, cls: type, name: str, i: Instruction) -> None:
    """What a class itself has: another constant."""
    kind = b.relies.on_class(cls)
    found = None if kind is None else b.request.classes.attribute(kind, name)
    value, is_called = (None if found is None else found.value), bool(i.arg & 1)
    if type(value) is classmethod and type(value.__func__) is FunctionType and is_called:
        b.state.push(Const(value.__func__))
        b.state.push(Const(cls))
        return
    if type(value) is staticmethod:
        value = value.__func__
    is_known = type(value) in (*_PLAIN, FunctionType, type) or references.is_plain(b, value)
    if found is None or hasattr(type, name) or not is_known:
        b.unsupported(f"{i.name} {name}")
        return
    if is_called:
        b.state.push(Hole.NULL)
    b.state.push(references.known_constant(b, found if found.value is value else Const(value)))


@handles("STORE_ATTR")
def _store_attr(b: Builder, i: Instruction) -> None:
    """Of an instance that the entry has found, what it has already. What else it is to have, and what overwrites an
    object, is stored by its address."""
    if references.meet(b, i):
        return
    owner, value, name = b.state.pop(), b.state.pop(), b.code.name(i)
    kind = b.class_of(owner)
    # A `__setattr__` of the class's own goes before all else.
    if kind is None or not b.request.classes.is_written(kind):
        b.unsupported(f"{i.name} {name}")
        return
    found = b.request.classes.attribute(kind, name)
    there = None if found is None else found.value
    if type(there) is property and type(there.fset) is FunctionType:
        call_function(b, there.fset, [owner, value], (), i, Wanted.NOTHING)
        return
    if isinstance(owner, VirtualInstance):
        if not store(b, owner, kind, name, value):
            b.unsupported(f"{i.name} {name}")
        return
    if isinstance(owner, Reference) and _is_named(b, kind, name):
        is_plain = found is None or type(there) in (*_PLAIN, FunctionType)
        if not is_plain or not stores.store_named(b, i, owner, name, value):
            b.unsupported(f"{i.name} {name}")
        return
    if isinstance(owner, Reference):
        field = references.field(b, owner, kind, name)
        if field is None or not stores.store_field(b, i, owner, field, value):
            b.unsupported(f"{i.name} {name}")
        return
    index = b.request.scope.field(owner.slot, name) if isinstance(owner, Entry) else None
    if index is None:
        b.unsupported(f"{i.name} {name}")
        return
    if isinstance(b.state.own(index), Entry | Hole):
        # An object, whose end somebody may notice, or nothing. By its address there is a way.
        b.relies.aliased.add(kind.address)
        b.unsupported(f"{i.name} {name}", ExitReason.OVERWRITTEN)
        return
    b.state.set_own(index, value)
