"""Kinds: what machine values are, and what slots must hold for a region to be entered.

An `EntryKind` is what a region's entry looks at, and tells which machine values the region gets from the slot
(`INPUT_FIELDS`). A `FunctionKind` or a `ClassKind` says more of an object than that; the driver sees to it that no
other comes, and the region has it as any object.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import weakref
    from types import FunctionType


INT_MIN, INT_MAX = -(2**63), 2**63 - 1
SMALL = 2**61
ABSENT = object()
"""What is found where nothing is."""
_HEAP_TYPE = 1 << 9
_flags = type.__dict__["__flags__"].__get__


def is_program_made(cls: type) -> bool:
    """Whether a class was made by a program: it may change, and end."""
    return bool(_flags(cls) & _HEAP_TYPE)


class Kind(enum.Enum):
    """What a machine value is.

    `ANY` is a scalar whose kind is known only at run time: a tag that says which, beside 64 bits. It never allocates.
    `NUMBER` is the same of what is surely a number, and not None or nothing.
    `OBJECT` is the address of an object, of which a region holds no reference: something else does as long as it runs.
    """

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    ANY = "any"
    NUMBER = "number"
    OBJECT = "object"

    # Enum's own hash is Python code, and passes do little else than look values up. So in all enums that they meet.
    __hash__ = object.__hash__

    @property
    def is_tagged(self) -> bool:
        """Whether it is a tag beside 64 bits."""
        return self is Kind.ANY or self is Kind.NUMBER


class EntryKind(enum.Enum):
    """What a slot must hold for the region to be entered."""

    INT = "int"
    SMALL_INT = "small_int"  # an int of a magnitude below SMALL: far from where 64 bits end
    NATURAL = "natural"  # a small int that is not negative
    SHORT = "short"  # one below 2**31: the product of two fits 64 bits
    FLOAT = "float"
    BOOL = "bool"
    NONE = "none"
    RANGE_ITERATOR = "range_iterator"
    RANGE_UP = "range_up"  # one with a step of 1 through numbers that are short
    RANGE_DOWN = "range_down"  # one with a step of -1 through such numbers
    LIST_ITERATOR = "list_iterator"
    TUPLE_ITERATOR = "tuple_iterator"
    REFERENCE = "reference"  # an object that is no number and not None, by its address
    OBJECT = "object"  # anything at all: never looked at, only handed back
    UNBOUND = "unbound"

    __hash__ = object.__hash__

    @property
    def label(self) -> str:
        """What users are shown."""
        return GENERAL.get(self, self).value


@dataclass(frozen=True, slots=True)
class FunctionKind:
    """What a slot must hold that is called: a Python function with this code and these namespaces, all by address.

    `function` is one of those, for as long as it lives; `name` is its name.
    """

    code: int
    globals: int
    builtins: int
    name: str = field(compare=False)
    function: weakref.ref[FunctionType] = field(compare=False)

    @property
    def label(self) -> str:
        """What users are shown."""
        return f"function {self.name}"

    @property
    def value(self) -> str:
        """To the region it is any object."""
        return EntryKind.OBJECT.value


class Field(NamedTuple):
    """Where the instances of a class have an attribute: so many bytes into the object, or into its values."""

    name: str
    offset: int
    is_value: bool


def named(name: str) -> Field:
    """An attribute of which only the name is known: among the values, or in a dict of the object's own."""
    return Field(name, 0, is_value=True)


@dataclass(frozen=True, slots=True)
class ClassKind:
    """What a slot must hold whose attributes are variables of the region: an instance of just this class, whose
    attributes are of these kinds.

    `address` is that of the class, and `version` says in which state it is: no other class, and no other state of this
    one, has the same. `shared` is how many names its instances share, -1 if these have no dict. `cls` is the class, for
    as long as it lives; `name` is its name. `has_dicts`: instances were seen that have dicts of their own.
    """

    address: int
    version: int
    shared: int
    fields: tuple[tuple[Field, EntryKind], ...]
    name: str = field(compare=False)
    cls: weakref.ref[type] = field(compare=False)
    has_dicts: bool = False

    @property
    def label(self) -> str:
        """What users are shown."""
        return f"{self.name}({', '.join(f'{field.name}: {kind.label}' for field, kind in self.fields)})"

    @property
    def value(self) -> str:
        """To the region it is any object."""
        return EntryKind.OBJECT.value


SlotKind = EntryKind | FunctionKind | ClassKind
Kinds = tuple[SlotKind, ...]
"""What all slots must hold for a region to be entered, as the driver sees it."""


class HeldField(NamedTuple):
    """An attribute of the object that a slot holds."""

    holder: int
    field: Field


def held_fields(kinds: Kinds) -> tuple[HeldField, ...]:
    """The attributes that are variables of a region with these kinds, in their order."""
    return tuple(
        HeldField(slot, field)
        for slot, kind in enumerate(kinds)
        if isinstance(kind, ClassKind)
        for field, _ in kind.fields
    )


def const_kind(value: object) -> Kind | None:
    """The machine kind of a Python object: exact types only, and only ints that fit 64 bits."""
    kind = _CONST_KINDS.get(type(value))
    if kind is Kind.INT and not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
        return None
    return kind


_CONST_KINDS = {bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT}


GENERAL = {
    EntryKind.SMALL_INT: EntryKind.INT,
    EntryKind.NATURAL: EntryKind.INT,
    EntryKind.SHORT: EntryKind.INT,
    EntryKind.RANGE_UP: EntryKind.RANGE_ITERATOR,
    EntryKind.RANGE_DOWN: EntryKind.RANGE_ITERATOR,
}
"""The kinds of which others are narrower: they say of what type an object is, and no more."""

INPUT_RANGES: dict[EntryKind, tuple[int, int]] = {
    EntryKind.INT: (INT_MIN, INT_MAX),
    EntryKind.SMALL_INT: (1 - SMALL, SMALL - 1),
    EntryKind.NATURAL: (0, SMALL - 1),
    EntryKind.SHORT: (0, 2**31 - 1),
    EntryKind.RANGE_ITERATOR: (INT_MIN, INT_MAX),
    EntryKind.RANGE_UP: (0, 2**31),
    EntryKind.RANGE_DOWN: (-1, 2**31 - 1),
    EntryKind.LIST_ITERATOR: (0, INT_MAX),
    EntryKind.TUPLE_ITERATOR: (0, INT_MAX),
}
"""Between what the int inputs of a kind are, both ends inclusive; those of a range are not all its numbers: its stop is
none of them."""

ITERATED = {EntryKind.LIST_ITERATOR: list, EntryKind.TUPLE_ITERATOR: tuple}
"""What iterators of a kind run over."""

RANGE_STEPS = {EntryKind.RANGE_UP: 1, EntryKind.RANGE_DOWN: -1}

INPUT_FIELDS: dict[EntryKind, dict[str, Kind]] = {
    EntryKind.INT: {"value": Kind.INT},
    EntryKind.SMALL_INT: {"value": Kind.INT},
    EntryKind.NATURAL: {"value": Kind.INT},
    EntryKind.SHORT: {"value": Kind.INT},
    EntryKind.FLOAT: {"value": Kind.FLOAT},
    EntryKind.BOOL: {"value": Kind.BOOL},
    EntryKind.RANGE_ITERATOR: {"start": Kind.INT, "step": Kind.INT, "length": Kind.INT},
    EntryKind.RANGE_UP: {"start": Kind.INT, "stop": Kind.INT},
    EntryKind.RANGE_DOWN: {"start": Kind.INT, "stop": Kind.INT},
    EntryKind.LIST_ITERATOR: {"items": Kind.OBJECT, "index": Kind.INT},
    EntryKind.TUPLE_ITERATOR: {"items": Kind.OBJECT, "index": Kind.INT},
    EntryKind.REFERENCE: {"value": Kind.OBJECT},
}
"""The machine values that a region gets of a slot, in their order."""

BODY_KINDS = {
    EntryKind.INT: Kind.INT,
    EntryKind.FLOAT: Kind.FLOAT,
    EntryKind.BOOL: Kind.BOOL,
    EntryKind.NONE: None,
    EntryKind.REFERENCE: Kind.OBJECT,
}
"""What the arguments of a `BODY` may be, and the machine values that they are passed as."""
