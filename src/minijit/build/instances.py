"""Instances: of classes that the entry has found, and such as the region makes itself.

What a call of a plain class makes is virtual: its `__init__` is inlined, its attributes are values like those of a
local, and nothing is allocated before somebody outside of the region could see it. An instance that changes is another
virtual object from then on, so that a snapshot that was taken before has it as it was.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING

from minijit.build import stores
from minijit.build.inline import call_function
from minijit.build.state import SOME, Wanted
from minijit.ir.region import (
    Attribute,
    Const,
    Entry,
    LoopIterator,
    Reference,
    Slot,
    Value,
    VirtualInstance,
    VirtualTuple,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction
    from minijit.ir.kinds import ClassKind


def construct(b: Builder, cls: type, arguments: list[Slot], keywords: tuple[str, ...], i: Instruction) -> None:
    """The call of a class: the instance, once its `__init__` has returned."""
    kind = b.relies.on_class(cls, is_called=True)
    init = None if kind is None else b.request.classes.attribute(kind, "__init__")
    if init is None or b.is_full:
        b.unsupported(f"{i.name} {cls.__qualname__}")
        return
    instance = VirtualInstance(Const(cls), (), b.identity())
    if type(init.value) is FunctionType:
        b.state.push(instance)
        call_function(b, init.value, [instance, *arguments], keywords, i, Wanted.NONE)
    elif init.value is object.__dict__["__init__"] and not arguments:
        b.state.push(instance)
    else:
        b.unsupported(f"{i.name} {cls.__qualname__}")


def store(b: Builder, owner: VirtualInstance, kind: ClassKind, name: str, value: Slot) -> bool:
    """Gives an attribute to a virtual instance whose class writes them as `object` does; whether that is compiled."""
    field = b.request.classes.field(kind, name)
    if field is None or isinstance(value, LoopIterator):
        return False
    shared = set(identities([owner])) & set(identities([value]))
    # Of what is made on the way, no part may be the owner's: that would become another.
    if owner.identity in shared:
        return False
    part = stores.shallow(b, value)
    if part is None or (shared and part != value):
        return False
    known = [attribute.field for attribute in owner.attributes]
    attributes = [Attribute(each, part if each == field else old) for each, old in owner.attributes]
    if field not in known:
        attributes.append(Attribute(field, part))
    b.state.change({owner.identity: VirtualInstance(owner.cls, tuple(attributes), b.identity())}, b.identity)
    return True


def identities(slots: Iterable[Slot]) -> Iterable[int]:
    """Those of the virtual objects among slots and their parts."""
    for slot in slots:
        match slot:
            case VirtualTuple() | VirtualInstance():
                yield slot.identity
                yield from identities(slot.parts)


def is_same(b: Builder, left: Slot, right: Slot) -> Value | Const | None:
    """Whether two slots are one object, where one of them is an instance; None if that cannot be told."""
    match left, right:
        case VirtualInstance(identity=one), VirtualInstance(identity=other):
            return Const(one == other)
        case (VirtualInstance(), _) | (_, VirtualInstance()):
            return Const(False)
        case Reference(one, one_class), Reference(other, other_class):
            can_be = one_class == other_class or SOME in (one_class, other_class)
            return b.op("is_same", one, other) if can_be else Const(False)
        case Entry(), Entry():
            # Objects whose attributes are variables are not the same, if they are of different slots.
            both = b.class_of(left) is not None and b.class_of(right) is not None
            return Const(True) if left == right else Const(False) if both else None
        case (Reference() as one, Entry() as other) | (Entry() as other, Reference() as one):
            # What is met by address is none of those whose attributes are variables.
            kind = b.class_of(other)
            is_variables = kind is not None and bool(kind.fields)
            return Const(False) if is_variables else b.op("is_same", one.value, b.entry_object(other.slot))
        case (Reference(one), Const(kind=None) as constant) | (Const(kind=None) as constant, Reference(one)):
            return b.op("is_same", one, constant)
        case (Entry(number), Const(kind=None) as constant) | (Const(kind=None) as constant, Entry(number)):
            return b.op("is_same", b.entry_object(number), constant)
        case _:
            is_one = b.class_of(left) is not None or b.class_of(right) is not None
            return Const(False) if is_one else None
