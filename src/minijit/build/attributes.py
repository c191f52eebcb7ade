"""Attributes: of modules, which are assumed, and of instances whose classes are known (`ClassKind`).

What an instance has of its own is to the region a variable like a local: it is read once, at the entry, and written
back where the region is left, so that neither a load nor a store of an attribute costs anything within. What its class
has is a constant for as long as the class is in the state in which it was. Methods and properties are functions, which
are inlined.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from minijit.build.handlers import Handlers
from minijit.build.inline import call_function
from minijit.build.variables import load_own
from minijit.events import ExitReason
from minijit.ir.region import Const, Entry, Hole

if TYPE_CHECKING:
    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction
    from minijit.ir.kinds import ClassKind

HANDLERS = Handlers()
handles = HANDLERS.handles

_PLAIN = (int, float, bool, type(None), str, bytes, tuple)
"""Of these types are constants that a class may have for its instances to read: they are no descriptors."""


@handles("LOAD_ATTR")
def _load_attr(b: Builder, i: Instruction) -> None:
    owner, name = b.state.pop(), b.code.name(i)
    kind = b.class_of(owner)
    if kind is not None:
        assert isinstance(owner, Entry)
        _load_from_instance(b, owner, kind, name, i)
        return
    found = None
    if isinstance(owner, Const) and type(owner.value) is ModuleType:
        found = b.relies.on_attribute(owner.value, name)
    if found is None:
        b.unsupported(f"{i.name} {name}")
        return
    if i.arg & 1:
        b.state.push(Hole.NULL)
    b.state.push(found)


def _load_from_instance(b: Builder, owner: Entry, kind: ClassKind, name: str, i: Instruction) -> None:
    index = b.request.scope.field(owner.slot, name)
    is_called = bool(i.arg & 1)
    if index is not None and b.state.own(index) is not Hole.UNBOUND:
        if is_called:
            b.state.push(Hole.NULL)
        load_own(b, i, index, name)
        return
    found = b.request.attribute(kind, name)
    value = None if found is None else found.value
    if type(value) is property and type(value.fget) is FunctionType and not is_called:
        call_function(b, value.fget, [owner], (), i)
    elif type(value) is FunctionType and is_called:
        b.state.push(Const(value))
        b.state.push(owner)
    elif type(value) is staticmethod and type(value.__func__) is FunctionType and is_called:
        b.state.push(Hole.NULL)
        b.state.push(Const(value.__func__))
    elif found is not None and type(value) in _PLAIN and not is_called:
        b.state.push(found)
    else:
        b.unsupported(f"{i.name} {name}")


@handles("STORE_ATTR")
def _store_attr(b: Builder, i: Instruction) -> None:
    """Of what the instance has already: a new attribute has its place among the others, which the order of stores
    decides."""
    owner, value, name = b.state.pop(), b.state.pop(), b.code.name(i)
    kind = b.class_of(owner)
    index = b.request.scope.field(owner.slot, name) if isinstance(owner, Entry) else None
    if kind is None or index is None or not b.request.is_written(kind):
        b.unsupported(f"{i.name} {name}")
        return
    if isinstance(b.state.own(index), Entry | Hole):
        # An object, whose end somebody may notice, or nothing.
        b.unsupported(f"{i.name} {name}", ExitReason.OVERWRITTEN)
        return
    b.state.set_own(index, value)
