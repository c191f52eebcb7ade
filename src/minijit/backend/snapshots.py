"""Snapshots in memory: what the leave stubs read when compiled code goes back to the interpreter.

In: a region's exits (and returns of objects that must be made). Out: for each of them a *record*, a few words of native
memory that the stubs in `stubs` interpret:

| word | content |
| --- | --- |
| count | how often it was taken |
| hot_at | the count at which the stub calls Python |
| code | the code object |
| resume | the address of the instruction with which the interpreter goes on |
| slots | how many locals and stack slots the frame has then |
| boxes | how many objects the program below makes |
| program | address of the program: which objects to make of the raw values |
| map | address of the slot map: for each slot a box number, `NULL_SLOT` or `KEEP_SLOT` |
| stores | how many names and attributes get another value |
| places | for each of these what it is (see `Encoded`) and a box number |

A distinct machine value is boxed once, so that two names for one object stay one object; a value that the entry unboxed
goes back as the object that came in, and one that still stands in its own slot of a live frame is not touched.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from minijit.backend.words import NEVER
from minijit.cpython import raw
from minijit.events import ExitReason
from minijit.ir.kinds import HeldField, Kind
from minijit.ir.region import (
    Const,
    Entry,
    EntryPoint,
    Exit,
    FrameState,
    Hole,
    ItemIterator,
    LoopIterator,
    Moot,
    Operand,
    RangeIterator,
    Reference,
    Region,
    Return,
    Slot,
    Value,
    Virtual,
    VirtualInstance,
    VirtualMethod,
    VirtualRange,
    VirtualTuple,
    edges,
    slot_operands,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from minijit.ir.kinds import Field

RECORD_WORDS = ("count", "hot_at", "code", "resume", "slots", "boxes", "program", "map", "stores", "places")
RECORD_BYTES = 8 * len(RECORD_WORDS)
NULL_SLOT, KEEP_SLOT = -1, -2
"""In a slot map: no object, and what stands there already."""

RAW_WORDS = 4096
"""Room for the machine values of one exit; a region that needs more is not compiled."""

TAGS = {"unbound": 0, "none": 1, "int": 2, "float": 3, "bool": 4}
"""What stands in the tag of a value of kind `any`."""
REFERENCE_TAG, OBJECT_TAG, LEFT_TAG = 5, 6, 7
"""What else a body may answer (see `image_stubs`): the first is that of an object that something else holds, as long as
regions run."""


class Make(enum.IntEnum):
    """The instructions of a record's program. Each makes one object, with a reference that the stub owns.

    The words that follow: raw positions for machine values, box numbers for parts.
    """

    INT = 0  # raw
    FLOAT = 1  # raw
    BOOL = 2  # raw
    ANY = 3  # raw of the tag; the bits stand behind it. Unbound makes NULL.
    CONST = 4  # address
    ENTRY = 5  # entry slot
    TUPLE = 6  # count, boxes...
    RANGE = 7  # boxes of start, stop, step
    RANGE_ITERATOR = 8  # raws of start, step, length
    HOME = 9  # entry slot, raws of start, length: writes the live iterator back
    NAME = 10  # address of a str: what the frame's globals have under it
    FIELD = 11  # box of an object, where it has the attribute (see `where`)
    INSTANCE = 12  # address of the class, count, and for each attribute: where, box
    OBJECT = 13  # raw of its address
    ITEM_ITERATOR = 14  # box of the list or tuple, raw of the index
    ITEM_HOME = 15  # entry slot, raw of the index: writes the live iterator back
    METHOD = 16  # address of the function, box of what it is bound to


_MAKES = {
    Kind.INT: Make.INT,
    Kind.FLOAT: Make.FLOAT,
    Kind.BOOL: Make.BOOL,
    Kind.ANY: Make.ANY,
    Kind.NUMBER: Make.ANY,
    Kind.OBJECT: Make.OBJECT,
}


def return_exit(value: Slot) -> Exit:
    """The return of `value` in the form of an exit: a frame with nothing but that value."""
    return Exit(ExitReason.LEFT_LOOP, FrameState(0, (), (value,)))


def plain_return(region: Region, value: Slot) -> Slot | None:
    """The value to return if machine code can do so without the stub, as the cheapest slot that gives the same
    object."""
    entry = _entries(region).get(value) if isinstance(value, Value) else None
    if entry is not None:
        return entry
    if isinstance(value, Value) and value.kind is Kind.OBJECT:
        return Reference(value, Const(object))
    if isinstance(value, Const | Entry | Reference) or (isinstance(value, Value) and not value.kind.is_tagged):
        return value
    return None


def stub_returns(region: Region) -> Iterator[int]:
    """The blocks whose `Return` needs the stub, in order."""
    for number, block in enumerate(region.blocks):
        if isinstance(block.end, Return) and plain_return(region, block.end.value) is None:
            yield number


def leave_points(region: Region) -> Iterator[Exit]:
    """Everything that needs a record: the exits, then the returns that need the stub."""
    yield from region.exits
    for number in stub_returns(region):
        end = region.blocks[number].end
        assert isinstance(end, Return)
        yield return_exit(end.value)


type Layout = tuple[tuple[int, Operand], ...]
"""What is stored into the raw buffer: operands, each with its position in words."""


def raw_layouts(region: Region) -> list[Layout]:
    """What each leave point stores: every distinct operand once. What most exits store comes first, so that their
    layouts have as much of the beginning in common as can be."""
    stored = [list(_operands_of(point)) for point in leave_points(region)]
    common = Counter(operand for operands in stored[: len(region.exits)] for operand in operands)
    ranks = {operand: rank for rank, operand in enumerate(sorted(common, key=lambda each: -common[each]))}
    return [tuple(_placed(sorted(operands, key=lambda each: ranks.get(each, 0)))) for operands in stored]


def _operands_of(exit: Exit) -> Iterator[Operand]:
    """What an exit stores, in the order of its slots."""
    seen: set[Operand] = set()
    for slot in exit.frame.slots():
        # Most slots are plain values; a constant is no machine value, unless as part of something.
        operands = (slot,) if isinstance(slot, Value) else () if isinstance(slot, Const) else slot_operands(slot)
        for operand in operands:
            if operand not in seen and not (isinstance(operand, Const) and operand.kind is None):
                seen.add(operand)
                yield operand


def _placed(operands: Iterable[Operand]) -> Iterator[tuple[int, Operand]]:
    position = 0
    for operand in operands:
        yield position, operand
        position += 2 if isinstance(operand, Value) and operand.kind.is_tagged else 1


def raw_words(region: Region) -> int:
    """How large the raw buffer must be for a region's leave points."""
    return max((layout[-1][0] + 2 for layout in raw_layouts(region) if layout), default=0)


def _entries(region: Region) -> dict[Slot, Entry]:
    """The inputs that an entry object stands for as a whole: none of those that come as machine values."""
    if region.point is EntryPoint.BODY:
        return {}
    return {value: Entry(slot) for slot, name, value in region.inputs() if name == "value"}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame has the region's slots: behind its `own_locals` come `names`, which are in its globals, and
    `fields`, which are in objects that other slots hold."""

    own_locals: int = 0
    names: tuple[str, ...] = ()
    fields: tuple[HeldField, ...] = ()

    def outer(self, slot: int) -> str | HeldField | None:
        """The name or the attribute that a slot of the region is; None for what the frame itself has."""
        place = slot - self.own_locals
        if not 0 <= place < len(self.names) + len(self.fields):
            return None
        return self.names[place] if place < len(self.names) else self.fields[place - len(self.names)]

    def slot(self, slot: int) -> int:
        """Which slot of the frame itself a slot of the region is."""
        return slot if slot < self.own_locals else slot - len(self.names) - len(self.fields)


def where(field: Field) -> int:
    """An attribute's place in one word: twice its offset, and one more if that is in the object's values."""
    return 2 * field.offset + field.is_value


@dataclass(slots=True)
class _Program:
    """The program and the slot map of one exit while they are made."""

    placement: Placement
    positions: dict[Operand, int]
    entries: dict[Slot, Entry]
    keeps: bool  # whether an entry slot that stays in its place can be left alone
    words: list[int] = field(default_factory=list)
    boxes: dict[Slot, int] = field(default_factory=dict)

    def place(self, index: int, slot: Slot) -> int:
        """What the slot map says of one slot of the frame itself."""
        slot = self.entries.get(slot, slot)
        if self.keeps and slot == Entry(index):
            return KEEP_SLOT
        if isinstance(slot, Hole):
            return NULL_SLOT
        return self.box(slot)

    def box(self, slot: Slot) -> int:
        """The number of the box that holds this slot's object."""
        slot = slot.value if isinstance(slot, Reference) else self.entries.get(slot, slot)
        if slot not in self.boxes:
            words = self._make(slot)
            self.words.extend(words)
            self.boxes[slot] = len(self.boxes)
        return self.boxes[slot]

    def _make(self, slot: Slot) -> tuple[int, ...]:
        match slot:
            case Value(_, kind):
                return (_MAKES[kind], self.positions[slot])
            case Const(value):
                return (Make.CONST, id(value))
            case Entry(entry):
                match self.placement.outer(entry):
                    case None:
                        return (Make.ENTRY, self.placement.slot(entry))
                    case HeldField(holder, field):
                        return (Make.FIELD, self.box(Entry(holder)), where(field))
                    case name:
                        return (Make.NAME, id(name))
            case VirtualTuple() | VirtualInstance() | VirtualMethod() | VirtualRange():
                return self._make_virtual(slot)
            case RangeIterator() | ItemIterator():
                return self._make_iterator(slot)
            case Hole() | Reference() | Moot():
                raise AssertionError("a part of a virtual object cannot be missing, and a reference is a value here")
            case _:
                assert_never(slot)

    def _make_virtual(self, slot: Virtual) -> tuple[int, ...]:
        match slot:
            case VirtualTuple(items):
                return (Make.TUPLE, len(items), *[self.box(item) for item in items])
            case VirtualInstance(cls, attributes):
                parts = [(where(field), self.box(part)) for field, part in attributes]
                return (Make.INSTANCE, id(cls.value), len(parts), *[word for part in parts for word in part])
            case VirtualMethod(function, owner):
                return (Make.METHOD, id(function.value), self.box(owner))
            case VirtualRange(start, stop, step):
                return (Make.RANGE, self.box(start), self.box(stop), self.box(step))
            case _:
                assert_never(slot)

    def _make_iterator(self, slot: LoopIterator) -> tuple[int, ...]:
        match slot:
            case RangeIterator(start, step, length, None):
                return (Make.RANGE_ITERATOR, *[self.positions[each] for each in (start, step, length)])
            case RangeIterator(start, _, length, int(home)):
                return (Make.HOME, self.placement.slot(home), self.positions[start], self.positions[length])
            case ItemIterator(items, index, _, None):
                return (Make.ITEM_ITERATOR, self.box(items), self.positions[index])
            case ItemIterator(_, index, _, int(home)):
                return (Make.ITEM_HOME, self.placement.slot(home), self.positions[index])
            case _:
                raise AssertionError(slot)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a record refers to: the program and how many boxes it makes, the slot map, and for each name or attribute
    that is written: the address of the str, or where it is; the box of the object that has it, -1 for a name; and the
    box of its value."""

    program: tuple[int, ...]
    boxes: int
    places: tuple[int, ...]
    stores: tuple[tuple[int, int, int], ...]

    @property
    def words(self) -> tuple[int, ...]:
        return self.program + self.places + tuple(word for store in self.stores for word in store)


def encode(region: Region, exit: Exit, layout: Layout, placement: Placement) -> Encoded:
    """An exit into a frame as the words of its record."""
    positions = {operand: position for position, operand in layout}
    program = _Program(placement, positions, _entries(region), region.point is EntryPoint.LOOP)
    places: list[int] = []
    stores: list[tuple[int, int, int]] = []
    for index, slot in enumerate(exit.frame.slots()):
        if placement.outer(index) is None:
            places.append(program.place(index, slot))
    for index, slot in writes(region, exit, placement):
        outer = placement.outer(index)
        holder = program.box(Entry(outer.holder)) if isinstance(outer, HeldField) else -1
        place = where(outer.field) if isinstance(outer, HeldField) else id(outer)
        stores.append((place, holder, program.box(slot)))
    return Encoded(tuple(program.words), len(program.boxes), tuple(places), tuple(stores))


def writes(region: Region, exit: Exit, placement: Placement) -> Iterator[tuple[int, Slot]]:
    """The slots that are names or attributes and get another value at an exit, with that."""
    entries = _entries(region)
    for index, slot in enumerate(exit.frame.slots()):
        held = entries.get(slot, slot)
        if placement.outer(index) is not None and held != Entry(index) and not isinstance(held, Hole):
            yield index, held


@dataclass(slots=True)
class Records:
    """The native records of one region's leave points, in one buffer. Owns the memory and the constants in it. To ask
    for a count, or set a threshold, raises `raw.Closed` once it is closed."""

    memory: raw.Buffer
    addresses: tuple[int, ...]
    constants: tuple[object, ...]

    def count(self, index: int) -> int:
        """How often the leave point was taken."""
        return self.memory.get(self._word(index, "count"))

    def heat(self, index: int, hot_at: int) -> None:
        """Python is called when the count reaches `hot_at`."""
        self.memory.set(self._word(index, "hot_at"), min(hot_at, NEVER))

    def _word(self, index: int, name: str) -> int:
        return (self.addresses[index] - self.memory.address) // 8 + RECORD_WORDS.index(name)

    def close(self) -> None:
        self.memory.close()


def make_records(
    region: Region, placement: Placement, kept: tuple[object, ...], code: int, first_instruction: int, hot_at: int
) -> Records:
    """The records of a region whose slots a frame has.

    `code` is the address of the code object, and `first_instruction` that of its offset 0. `kept` is whatever the
    region's names and constants are part of: the records keep it alive.
    """
    points = list(leave_points(region))
    layouts = raw_layouts(region)
    encoded = [encode(region, point, layout, placement) for point, layout in zip(points, layouts, strict=True)]
    memory = raw.Buffer(max(sum(RECORD_BYTES + 8 * len(each.words) for each in encoded), 8))
    address, addresses = memory.address, []
    for index, (point, each) in enumerate(zip(points, encoded, strict=True)):
        body = address + RECORD_BYTES
        hot = hot_at if index < len(region.exits) and point.reason.is_failure else NEVER
        hot = 1 if point.reason is ExitReason.WARM else hot
        words = (
            0,
            hot,
            code,
            first_instruction + point.frame.offset,
            len(each.places),
            each.boxes,
            body,
            body + 8 * len(each.program),
            len(each.stores),
            body + 8 * len(each.program + each.places),
        )
        for word in (*words, *each.words):
            raw.write_i64(address, word) if word < 0 else raw.write_u64(address, word)
            address += 8
        addresses.append(body - RECORD_BYTES)
    constants = tuple(operand.value for operand in _constants(region) if operand.kind is not None)
    return Records(memory, tuple(addresses), (*kept, *constants))


def _constants(region: Region) -> Iterator[Const]:
    """All constants of a region.

    The records keep the numbers among them alive. Others come from a code object, which is kept, or from a namespace,
    where the region's assumptions hold them; keeping those would make cycles through machine code.
    """
    operands: list[Operand] = [arg for block in region.blocks for op in block.ops for arg in op.args]
    for point in leave_points(region):
        operands.extend(operand for slot in point.frame.slots() for operand in slot_operands(slot))
    for block in region.blocks:
        operands.extend(argument for edge in edges(block.end) for argument in edge.args)
        if isinstance(block.end, Return):
            operands.extend(slot_operands(block.end.value))
    for operand in operands:
        if isinstance(operand, Const):
            yield operand
