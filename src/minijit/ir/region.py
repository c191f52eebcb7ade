"""Regions: the typed control-flow graph that one piece of machine code is made from.

A region has basic blocks whose parameters are typed (SSA with block parameters, no phi instructions). The first block
is the entry; its parameters are the region's inputs in the order in which `inputs()` lists them. Every op that may
leave names an `Exit`, whose frames say what the interpreter must see there: for each local and stack slot a machine
value, a constant, a virtual object, or what the entry found there.

Everything here is immutable. Passes make new regions; nothing in a region knows how it was recorded or will be lowered.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, assert_never

if TYPE_CHECKING:
    import weakref
    from collections.abc import Iterator
    from types import FunctionType

    from minijit.events import ExitReason


class Kind(enum.Enum):
    """What a machine value is.

    `ANY` is a scalar whose kind is known only at run time: a tag that says which, beside 64 bits. It never allocates.
    """

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    ANY = "any"

    # Enum's own hash is Python code, and passes do little else than look values up. So in all enums that they meet.
    __hash__ = object.__hash__


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


@dataclass(frozen=True, slots=True)
class ClassKind:
    """What a slot must hold whose attributes are variables of the region: an instance of just this class, whose
    attributes are of these kinds.

    `address` is that of the class, and `version` says in which state it is: no other class, and no other state of this
    one, has the same. `shared` is how many names its instances share, -1 if these have no dict. `cls` is the class, for
    as long as it lives; `name` is its name.
    """

    address: int
    version: int
    shared: int
    fields: tuple[tuple[Field, EntryKind], ...]
    name: str = field(compare=False)
    cls: weakref.ref[type] = field(compare=False)

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


class EntryPoint(enum.Enum):
    """Where a region is entered: at a function's start, by a call of the interpreter's (`CALL`) or by other machine
    code, with machine values (`BODY`); or at a loop header in a live frame."""

    CALL = "call"
    LOOP = "loop"
    BODY = "body"

    __hash__ = object.__hash__


class Value(NamedTuple):
    """A machine value: defined once, as a block parameter or as an op's result.

    A named tuple, since a dataclass's hash is Python code, and passes do little else than look values up.
    """

    number: int
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A Python object known when the region was built. Equal only to the very same object."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Const) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)

    @property
    def kind(self) -> Kind | None:
        """The kind of machine value that this constant can stand for; None for anything but small numbers."""
        return const_kind(self.value)


Operand = Value | Const

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
SMALL = 2**61


def const_kind(value: object) -> Kind | None:
    """The machine kind of a Python object: exact types only, and only ints that fit 64 bits."""
    kind = _CONST_KINDS.get(type(value))
    if kind is Kind.INT and not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
        return None
    return kind


_CONST_KINDS = {bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT}


class Hole(enum.Enum):
    """A slot without an object."""

    UNBOUND = "unbound"
    NULL = "null"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Entry:
    """What slot `slot` held when the region was entered, whatever it is: handed on, never looked at."""

    slot: int


@dataclass(frozen=True, slots=True)
class VirtualTuple:
    """A tuple that no one has allocated yet.

    What is equal in a snapshot is one object: `identity` tells apart what happens to have equal items.
    """

    items: tuple[Slot, ...]
    identity: int = 0


@dataclass(frozen=True, slots=True)
class VirtualRange:
    """A `range` object that no one has allocated yet; `identity` as above."""

    start: Operand
    stop: Operand
    step: Operand
    identity: int = 0


@dataclass(frozen=True, slots=True)
class RangeIterator:
    """An iterator over a range: the next value, the step and how many values are left.

    `home` is the entry slot whose live iterator object this is (it is written back at exits); None for one that is
    virtual.
    """

    start: Operand
    step: Operand
    length: Operand
    home: int | None = None


Slot = Value | Const | Hole | Entry | VirtualTuple | VirtualRange | RangeIterator


@dataclass(frozen=True, slots=True)
class FrameState:
    """One interpreter frame at an exit: it goes on with the instruction at `offset` (bytes into `co_code`).

    The locals are those of the region: behind the frame's come the names that a loop has as variables, which stand in
    the frame's namespace (`Code.loop_names`).
    """

    offset: int
    locals: tuple[Slot, ...]
    stack: tuple[Slot, ...]

    def slots(self) -> tuple[Slot, ...]:
        return self.locals + self.stack


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of the region. `frame` is the snapshot; `detail` names what was met (an opcode, say)."""

    reason: ExitReason
    frame: FrameState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. `name` is a row of `ops.TABLE`; `exit` is an index into the region's exits."""

    name: str
    args: tuple[Operand, ...]
    result: Value | None = None
    exit: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A jump to a block, with a value for each of its parameters."""

    target: int
    args: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Jump:
    edge: Edge


@dataclass(frozen=True, slots=True)
class Branch:
    condition: Operand
    then: Edge
    otherwise: Edge


@dataclass(frozen=True, slots=True)
class Return:
    """The function returns. A virtual object is made here."""

    value: Slot


@dataclass(frozen=True, slots=True)
class Leave:
    """The region ends here without a condition: it is left; or, for the reason RETURNED, its function returns what is
    on the snapshot's stack, when attributes have got the values that it has for them."""

    exit: int


Terminator = Jump | Branch | Return | Leave


@dataclass(frozen=True, slots=True)
class Block:
    params: tuple[Value, ...]
    ops: tuple[Op, ...]
    end: Terminator


@dataclass(frozen=True, slots=True)
class Region:
    """A control-flow graph: block 0 is the entry and has no predecessor.

    `entry_kinds` has one row for each slot that the entry looks at: the parameters for `CALL` and `BODY`, all locals
    (see `FrameState`) and the stack for `LOOP`.
    """

    name: str
    point: EntryPoint
    entry_kinds: tuple[EntryKind, ...]
    blocks: tuple[Block, ...]
    exits: tuple[Exit, ...]

    def inputs(self) -> Iterator[tuple[int, str, Value]]:
        """(slot, field, value) for each parameter of the entry block, in order."""
        params = iter(self.blocks[0].params)
        for slot, kind in enumerate(self.entry_kinds):
            for name in INPUT_FIELDS.get(kind, ()):
                yield slot, name, next(params)


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
}
"""Between what the int inputs of a kind are, both ends inclusive; those of a range are not all its numbers: its stop is
none of them."""

RANGE_STEPS = {EntryKind.RANGE_UP: 1, EntryKind.RANGE_DOWN: -1}

INPUT_FIELDS: dict[EntryKind, tuple[str, ...]] = {
    EntryKind.INT: ("value",),
    EntryKind.SMALL_INT: ("value",),
    EntryKind.NATURAL: ("value",),
    EntryKind.SHORT: ("value",),
    EntryKind.FLOAT: ("value",),
    EntryKind.BOOL: ("value",),
    EntryKind.RANGE_ITERATOR: ("start", "step", "length"),
    EntryKind.RANGE_UP: ("start", "stop"),
    EntryKind.RANGE_DOWN: ("start", "stop"),
}


BODY_KINDS = {
    EntryKind.INT: Kind.INT,
    EntryKind.FLOAT: Kind.FLOAT,
    EntryKind.BOOL: Kind.BOOL,
    EntryKind.NONE: None,
}
"""What the arguments of a `BODY` may be, and the machine values that they are passed as."""


@dataclass(frozen=True, slots=True, eq=False)
class Callee:
    """A function's body as other machine code calls it: `cell` is the address of the word that has its entry, 0 while
    there is none. One that `is_self` is the body that the call stands in."""

    name: str
    cell: int
    is_self: bool = False


def edges(end: Terminator) -> tuple[Edge, ...]:
    """The edges that leave a block by this terminator."""
    match end:
        case Jump(edge):
            return (edge,)
        case Branch(_, then, otherwise):
            return (then, otherwise)
        case Return() | Leave():
            return ()
        case _:
            assert_never(end)


def slot_operands(slot: Slot) -> Iterator[Operand]:
    """The machine values and constants that a slot is made of."""
    match slot:
        case Value() | Const():
            yield slot
        case VirtualTuple(items):
            for item in items:
                yield from slot_operands(item)
        case VirtualRange(start, stop, step):
            yield from (start, stop, step)
        case RangeIterator(start, step, length, _):
            yield from (start, step, length)
        case Hole() | Entry():
            return
        case _:
            assert_never(slot)


def exit_values(exit: Exit) -> list[Value]:
    """The machine values that an exit needs."""
    values: list[Value] = []
    for slot in exit.frame.slots():
        if isinstance(slot, Value):  # most slots, and passes look at all of them
            values.append(slot)
        else:
            values += [operand for operand in slot_operands(slot) if isinstance(operand, Value)]
    return values
