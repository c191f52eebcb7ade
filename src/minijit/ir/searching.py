"""What is found in a list or tuple without asking anybody: comparisons that run no code of a program's.

As `PyObject_RichCompareBool` finds it: what is identical is equal, then `item == value` decides. Numbers have no
identity here. Machine code does the same (`backend.list_helpers`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from minijit.ir.kinds import INT_MAX, INT_MIN

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS = (int, float, bool)
SINGLE = (str, type(None))
"""Types of the interpreter's of which an object may be looked for."""
APART = (*SINGLE, list, tuple, dict)
"""Those whose values equal none of any other type that is looked for."""
_mro = type.__dict__["__mro__"].__get__
_namespace = type.__dict__["__dict__"].__get__
_COMPARISONS = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")


def find(items: Sequence[object], value: object) -> int | None:
    """The index of the first item that equals a value, -1 if none does; None where it would take more to find out: a
    class of which one of the two is may have its own opinion, or it may be about the identity of a NaN. An int that is
    looked for has 64 bits."""
    cls = type(value)
    if cls not in NUMBERS and not is_sought(cls):
        return None
    if _is_large(value) or (cls is float and math.isnan(value)):  # type: ignore[arg-type]
        return None
    for index, item in enumerate(items):
        same = _is_same(item, value)
        if same is None:
            return None
        if same:
            return index
    return -1


def is_sought(cls: type) -> bool:
    """Whether an object of this class, which is no number, may be looked for."""
    return cls in SINGLE or has_plain_equality(cls)


def has_plain_equality(cls: type) -> bool:
    """Whether objects of a class equal nothing but themselves, as far as that class has a say. Nothing of the class's
    own is asked for that."""
    bases = _mro(cls)[:-1]
    return not any(name in _namespace(base) for base in bases for name in _COMPARISONS)


def _is_large(value: object) -> bool:
    return type(value) is int and not INT_MIN <= value <= INT_MAX


def _is_same(item: object, value: object) -> bool | None:
    cls = type(item)
    if cls in NUMBERS:
        return None if _is_large(item) and type(value) is float else type(value) in NUMBERS and item == value
    if item is value:
        return True
    if cls is str and type(value) is str:
        return item == value
    return False if cls in APART or has_plain_equality(cls) else None
