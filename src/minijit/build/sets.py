"""Sets: whether an int is among their keys, and adding one. What else they may be asked is the interpreter's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.build import numbers, references, stores
from minijit.events import ExitReason
from minijit.ir.kinds import Kind
from minijit.ir.region import Const

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction
    from minijit.ir.region import Operand, Slot, Value


def is_in(b: Builder, container: Slot, value: Slot) -> Value | None:
    """Whether a set has a number among its keys; None if it is no set, or the number no int."""
    keys, number = references.reference(container), _key(b, value)
    if keys is None or keys.cls.value not in (set, frozenset) or number is None:
        return None
    if not references.is_settled(b, keys, ("add_key",)):
        return None
    return b.op("set_has", keys.value, number, reason=ExitReason.KIND, detail="that compare")


def _key(b: Builder, value: Slot) -> Operand | None:
    number = numbers.scalar(value)
    return number if number is not None and number.kind is Kind.INT else None


def method(name: str) -> Const | None:
    """The method of a set that has this name, if calls of it are compiled."""
    return Const(set.add) if name == "add" else None


def call(b: Builder, i: Instruction, called: Const, arguments: Sequence[Slot]) -> bool:
    """Calls `set.add`, if it is that; whether it is."""
    if called.value is not set.add or len(arguments) != 2:
        return False
    keys, value = references.reference(arguments[0]), arguments[1]
    # Nobody is asked for anything when it is added, since nobody is now.
    can_be = keys is not None and keys.cls.value is set and is_in(b, arguments[0], value) is not None
    b.state.push(Const(None))
    if keys is None or not can_be or not stores.add_key(b, i, keys, value):
        b.unsupported(f"{i.name} add")
    return True
