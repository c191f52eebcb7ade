"""Regions: the typed control-flow graph that one piece of machine code is made from.

A region has basic blocks whose parameters are typed (SSA with block parameters, no phi instructions). The first block
is the entry; its parameters are the region's inputs in the order in which `inputs()` lists them. Every op that may
leave names an `Exit`, whose frames say what the interpreter must see there: for each local and stack slot a machine
value, a constant, a virtual object, or what the entry found there.

Everything here is immutable. Passes make new regions; nothing in a region knows how it was recorded or will be lowered.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, assert_never

from minijit.ir.kinds import INPUT_FIELDS, const_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from minijit.events import ExitReason
    from minijit.ir.kinds import EntryKind, Field, Kind


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

    @property
    def head(self) -> object:
        """What tells it from other virtual objects with the same parts."""
        return "tuple"

    @property
    def parts(self) -> tuple[Slot, ...]:
        return self.items

    def with_parts(self, parts: tuple[Slot, ...], identity: int) -> VirtualTuple:
        """A tuple of others."""
        return VirtualTuple(parts, identity)


@dataclass(frozen=True, slots=True)
class VirtualRange:
    """A `range` object that no one has allocated yet; `identity` as above."""

    start: Operand
    stop: Operand
    step: Operand
    identity: int = 0


class Attribute(NamedTuple):
    """What a virtual instance has under a name, and where."""

    field: Field
    slot: Slot


@dataclass(frozen=True, slots=True)
class VirtualInstance:
    """An instance of a class that nobody has allocated yet: the class, and the attributes that the instance has, in the
    order in which it got them.

    `identity` as for a tuple. An instance that changes is another virtual object from then on.
    """

    cls: Const
    attributes: tuple[Attribute, ...]
    identity: int = 0

    @property
    def head(self) -> object:
        return (self.cls, *[field for field, _ in self.attributes])

    @property
    def parts(self) -> tuple[Slot, ...]:
        return tuple(slot for _, slot in self.attributes)

    def with_parts(self, parts: tuple[Slot, ...], identity: int) -> VirtualInstance:
        """An instance with other values of the same attributes."""
        fields = [field for field, _ in self.attributes]
        return VirtualInstance(self.cls, tuple(map(Attribute, fields, parts)), identity)

    def find(self, name: str) -> Slot | None:
        """What it has under a name."""
        return next((slot for field, slot in self.attributes if field.name == name), None)


@dataclass(frozen=True, slots=True)
class VirtualMethod:
    """A function bound to an object that nobody has asked for yet as an object of its own; `identity` as above."""

    function: Const
    owner: Slot
    identity: int = 0

    @property
    def head(self) -> object:
        return self.function

    @property
    def parts(self) -> tuple[Slot, ...]:
        return (self.owner,)

    def with_parts(self, parts: tuple[Slot, ...], identity: int) -> VirtualMethod:
        """The same bound to another object."""
        return VirtualMethod(self.function, parts[0], identity)


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


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that the region has by its address: no number, and not None. Its class is known, or `object` stands for
    any.

    `value` is of kind `object`, or a constant. What inlined calls under way have made themselves has an `identity`, as
    virtual objects have one: nobody else has it, and nobody will if the calls are done again.
    """

    value: Operand
    cls: Const
    identity: int = 0


@dataclass(frozen=True, slots=True)
class ItemIterator:
    """An iterator over a list or a tuple, `cls`, and the index of the next item. `home` as in `RangeIterator`."""

    items: Operand
    index: Operand
    cls: type
    home: int | None = None


@dataclass(frozen=True, slots=True)
class Moot:
    """An object of which nothing but the class is known, since only the interpreter makes it: if the statement is done
    again. An exception that compiled code catches itself, say. No exit has one."""

    cls: Const


Composite = VirtualTuple | VirtualInstance | VirtualMethod
"""Virtual objects that have other objects as parts."""
Virtual = Composite | VirtualRange
"""Objects that nobody has allocated yet."""
LoopIterator = RangeIterator | ItemIterator
"""Iterators that a region advances itself."""
Slot = Value | Const | Hole | Entry | Virtual | Reference | LoopIterator | Moot


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


def with_edges(end: Terminator, change: Callable[[Edge], Edge]) -> Terminator:
    """The terminator with other edges."""
    match end:
        case Jump(edge):
            return Jump(change(edge))
        case Branch(condition, then, otherwise):
            return Branch(condition, change(then), change(otherwise))
        case Return() | Leave():
            return end
        case _:
            assert_never(end)


def last_number(region: Region) -> int:
    """The highest number that a value has."""
    values = [value.number for block in region.blocks for value in block.params]
    values += [op.result.number for block in region.blocks for op in block.ops if op.result is not None]
    return max(values, default=0)


def has_op(region: Region, names: Container[str]) -> bool:
    """Whether a region has an op of one of these names."""
    return any(op.name in names for block in region.blocks for op in block.ops)


def slot_operands(slot: Slot) -> Iterator[Operand]:
    """The machine values and constants that a slot is made of."""
    match slot:
        case Value() | Const():
            yield slot
        case VirtualTuple() | VirtualInstance() | VirtualMethod():
            for part in slot.parts:
                yield from slot_operands(part)
        case VirtualRange(start, stop, step):
            yield from (start, stop, step)
        case RangeIterator(start, step, length, _):
            yield from (start, step, length)
        case Reference(value):
            yield value
        case ItemIterator(items, index):
            yield from (items, index)
        case Hole() | Entry() | Moot():
            return
        case _:
            assert_never(slot)


def has_moot(slot: Slot) -> bool:
    """Whether a slot, or a part of it, is moot."""
    return isinstance(slot, Moot) or (isinstance(slot, Composite) and any(map(has_moot, slot.parts)))


def exit_values(exit: Exit) -> list[Value]:
    """The machine values that an exit needs."""
    values: list[Value] = []
    for slot in exit.frame.slots():
        if isinstance(slot, Value):  # most slots, and passes look at all of them
            values.append(slot)
        else:
            values += [operand for operand in slot_operands(slot) if isinstance(operand, Value)]
    return values
