"""The evaluator: what a region means, in plain Python. It is the oracle of all passes and of lowering.

In: a valid region and the values of its inputs. Out: how it ended. An op means what its row in `ops.TABLE`
says; where that raises `Leaves`, the region ends through the op's exit, with the slots of the snapshot as
Python objects: a virtual tuple or range is made, an iterator becomes a `RangeState` or an `ItemState`, a virtual
instance an `InstanceState`, what the entry found in a slot is taken from `objects`. Machine ints are Python
ints here: rows that promise 64 bits keep that promise themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from minijit.ir.ops import TABLE, UNBOUND, Effect, Leaves, result_fits
from minijit.ir.region import (
    Branch,
    Composite,
    Const,
    Edge,
    Entry,
    Hole,
    ItemIterator,
    Jump,
    Leave,
    Moot,
    Op,
    Operand,
    RangeIterator,
    Reference,
    Region,
    Return,
    Slot,
    Value,
    VirtualInstance,
    VirtualMethod,
    VirtualRange,
    VirtualTuple,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from minijit.ir.ops import Row


@dataclass(frozen=True, slots=True)
class EntryObject:
    """Stands for what the entry found in a slot, where a test does not say what that is."""

    slot: int


@dataclass(frozen=True, slots=True)
class RangeState:
    """An iterator over a range, equal to another in the same state. `home` as in `RangeIterator`."""

    start: object
    step: object
    length: object
    home: int | None = None


@dataclass(frozen=True, slots=True)
class ItemState:
    """An iterator over a list or a tuple, likewise."""

    items: object
    index: object
    home: int | None = None


@dataclass(frozen=True, slots=True)
class InstanceState:
    """An instance that was made, equal to another of the same class with the same attributes in the same order."""

    cls: object
    names: tuple[str, ...]
    attributes: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class MethodState:
    """A function bound to an object, equal to another of the same."""

    function: object
    owner: object


def made_of(slot: Composite, parts: tuple[object, ...]) -> object:
    """What becomes of a virtual object of which these are the parts."""
    match slot:
        case VirtualTuple():
            return parts
        case VirtualInstance(cls, attributes):
            return InstanceState(cls.value, tuple(field.name for field, _ in attributes), parts)
        case VirtualMethod(function):
            return MethodState(function.value, *parts)
        case _:
            assert_never(slot)


@dataclass(frozen=True, slots=True)
class Returned:
    value: object


@dataclass(frozen=True, slots=True)
class Left:
    """The region left by `exit`. Slots without an object hold `ops.UNBOUND` or `Hole.NULL`."""

    exit: int
    locals: tuple[object, ...]
    stack: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class OutOfFuel:
    """More ops than the test allowed for."""


Outcome = Returned | Left | OutOfFuel


def evaluate(
    region: Region,
    inputs: Sequence[object],
    *,
    objects: Sequence[object] | None = None,
    fuel: int = 10**6,
    should_leave: Callable[[int], bool] = lambda _exit: False,
    table: Mapping[str, Row] = TABLE,
) -> Outcome:
    """Runs a region. `inputs` are the values of the entry block's parameters.

    `fuel` is the number of ops and terminators that may run. `should_leave` is asked at each poll, with the
    number of its exit. `table` lets a test give some ops another meaning.
    """
    machine = _Machine(region, objects, fuel, should_leave, table)
    return machine.run(inputs)


@dataclass(slots=True)
class _Machine:
    """One evaluation: the values that have been defined, and the fuel that is left."""

    region: Region
    objects: Sequence[object] | None
    fuel: int
    should_leave: Callable[[int], bool]
    table: Mapping[str, Row]
    values: dict[Value, object] = field(default_factory=dict)
    virtuals: dict[Slot, object] = field(default_factory=dict)  # what is made of them where the run ends

    def run(self, inputs: Sequence[object]) -> Outcome:
        number, args = 0, inputs
        while True:
            block = self.region.blocks[number]
            self.fuel -= len(block.ops) + 1
            if self.fuel < 0:
                return OutOfFuel()
            self.values.update(zip(block.params, args, strict=True))
            for op in block.ops:
                try:
                    self.step(op)
                except Leaves:
                    assert op.exit is not None  # rows that raise have an exit: the verifier insists
                    return self.leave(op.exit)
            match block.end:
                case Jump(edge):
                    number, args = self.follow(edge)
                case Branch(condition, then, otherwise):
                    number, args = self.follow(then if self.operand(condition) else otherwise)
                case Return(value):
                    return Returned(self.slot(value))
                case Leave(exit):
                    return self.leave(exit)
                case _:
                    assert_never(block.end)

    def step(self, op: Op) -> None:
        row = self.table[op.name]
        if row.effect is Effect.POLL and op.exit is not None and self.should_leave(op.exit):
            raise Leaves
        read = self.held if row.slots else self.operand
        value = row.meaning(*[read(arg) for arg in op.args])
        if op.result is None:
            return
        if row.result is None and not result_fits(op.result.kind, value):
            raise Leaves
        self.values[op.result] = value

    def follow(self, edge: Edge) -> tuple[int, list[object]]:
        # All arguments are read before any parameter is written: a loop may swap two of its parameters.
        return edge.target, [self.operand(arg) for arg in edge.args]

    def leave(self, exit: int) -> Left:
        frame = self.region.exits[exit].frame
        return Left(exit, tuple(map(self.slot, frame.locals)), tuple(map(self.slot, frame.stack)))

    def operand(self, operand: Operand) -> object:
        return operand.value if isinstance(operand, Const) else self.values[operand]

    def held(self, number: Operand) -> object:
        """What a slot of the entry held that is numbered by a constant."""
        value = self.operand(number)
        assert isinstance(value, int), number
        return self.slot(Entry(value))

    def slot(self, slot: Slot) -> object:
        match slot:
            case Value() | Const():
                return self.operand(slot)
            case Hole.UNBOUND:
                return UNBOUND
            case Hole.NULL:
                return slot
            case Entry(number):
                return EntryObject(number) if self.objects is None else self.objects[number]
            case VirtualTuple() | VirtualInstance() | VirtualMethod():
                return self.virtuals.setdefault(slot, made_of(slot, tuple(map(self.slot, slot.parts))))
            case VirtualRange(start, stop, step):
                return self.virtuals.setdefault(slot, range(*map(self.int, (start, stop, step))))
            case RangeIterator(start, step, length, home):
                return RangeState(self.int(start), self.int(step), self.int(length), home)
            case Reference(value):
                return self.operand(value)
            case ItemIterator(items, index, _, home):
                return ItemState(self.operand(items), self.int(index), home)
            case Moot():
                raise AssertionError("no exit has it")
            case _:
                assert_never(slot)

    def int(self, operand: Operand) -> int:
        value = self.operand(operand)
        assert isinstance(value, int), operand
        return value
