"""Regions as machine code without the driver: run, and read what came out.

In: a region, a value for each of its inputs, an object for each of its entry slots. Out: an `Outcome` as the evaluator
gives it. A prologue loads the inputs from words behind %d and leaves the entry objects behind %b; the leave stubs do
nothing but remember the record, which here is a number; the raw buffer is decoded by `snapshots.raw_layouts`, which is
what the real stubs' programs are made from. The eval breaker is a word of ours.

Leaves out: how a region is entered by calls and loops, and the stubs proper.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from minijit.backend.emitter import LLVM_TYPES, Target, name
from minijit.backend.engine import Engine, function_at
from minijit.backend.lower import lower
from minijit.backend.prelude import BUFFER_BYTES, HELPERS, helper_text
from minijit.backend.snapshots import (
    RAW_WORDS,
    TAGS,
    leave_points,
    raw_layouts,
    raw_words,
    stub_returns,
)
from minijit.cpython import abi, raw
from minijit.cpython.native_map import NativeMap
from minijit.ir.eval import ItemState, Left, Outcome, RangeState, Returned, made_of
from minijit.ir.kinds import Kind
from minijit.ir.ops import FREE_VARIABLES, UNBOUND
from minijit.ir.region import (
    Const,
    Entry,
    EntryPoint,
    Hole,
    ItemIterator,
    Moot,
    Operand,
    RangeIterator,
    Reference,
    Region,
    Return,
    Slot,
    VirtualInstance,
    VirtualMethod,
    VirtualRange,
    VirtualTuple,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minijit.backend.emitter import Emitter
    from minijit.backend.engine import Code
    from minijit.backend.snapshots import Layout

ANY_KINDS = {TAGS["int"]: Kind.INT, TAGS["float"]: Kind.FLOAT, TAGS["bool"]: Kind.BOOL}


def raw_prologue(e: Emitter) -> None:
    """The prologue of a region whose inputs are words behind %d. There is no room for calls, as in the evaluator."""
    e.line("%left = add i32 0, 0")
    for position, (_, _, value) in enumerate(e.region.inputs()):
        place = e.let(f"getelementptr i64, ptr %d, i64 {position}")
        if value.kind is Kind.BOOL:
            e.line(f"{name(value)} = trunc i64 {e.let(f'load i64, ptr {place}')} to i1")
        else:
            e.line(f"{name(value)} = load {LLVM_TYPES[value.kind]}, ptr {place}")


def to_word(value: object) -> int:
    """A machine value as the 64 bits that it is in memory."""
    match value:
        case float():
            return int(struct.unpack("<q", struct.pack("<d", value))[0])
        case int():
            return int(value)
        case _:
            return id(value)


def of_word(kind: Kind, word: int) -> object:
    """The Python value of a machine value's 64 bits."""
    match kind:
        case Kind.OBJECT:
            return raw.borrow(word)
        case Kind.INT:
            return word
        case Kind.FLOAT:
            return struct.unpack("<d", struct.pack("<q", word))[0]
        case _:
            assert word in (0, 1), f"a bool is {word}"
            return bool(word)


def of_any(tag: int, bits: int) -> object:
    """The Python value of a value of kind `any`."""
    if tag in ANY_KINDS:
        return of_word(ANY_KINDS[tag], bits)
    return {TAGS["unbound"]: UNBOUND, TAGS["none"]: None}[tag]


@dataclass(slots=True)
class Machine:
    """An engine with stubs that remember. Regions compiled by it share its buffers. Without `stores`, regions leave
    where they would store something."""

    level: int = 2
    stores: bool = True
    engine: Engine = field(init=False)
    target: Target = field(init=False)
    _raw: raw.Buffer = field(default_factory=lambda: raw.Buffer(8 * RAW_WORDS))
    _kept: raw.Buffer = field(default_factory=lambda: raw.Buffer(BUFFER_BYTES))
    _relied: NativeMap = field(default_factory=NativeMap)
    _words: raw.Buffer = field(default_factory=lambda: raw.Buffer(32))  # raw_cell, record, eval breaker, watchers

    def __post_init__(self) -> None:
        self.engine = Engine(self.level)
        raw.write_u64(self._words.address, self._raw.address)
        raw.write_u64(self._words.address + 24, 0xFF)
        stubs = self.engine.compile(self._stub_text(), name="stubs that remember")
        helpers = {helper: stubs.address(helper) for helper in HELPERS}
        self.target = Target(
            raw=self._raw.address,
            raw_cell=self._words.address,
            leave=stubs.address("leave"),
            leave_waiting=stubs.address("leave"),
            leave_return=stubs.address("leave"),
            eval_breaker=self._words.address + 16,
            helpers=helpers,
            symbol=raw.symbol,
            stack=0,
            sees_others=False,
            stores=self.stores,
        )

    def _stub_text(self) -> str:
        leave = f"""
define ptr @leave(ptr %a, ptr %b, i64 %record, ptr %d) {{
  store i64 %record, ptr inttoptr (i64 {self._words.address + 8} to ptr)
  ret ptr null
}}
"""
        return helper_text(raw.symbol, self._kept.address, self._relied.address, self._words.address + 24) + leave

    def let_go(self) -> None:
        """Gives back what the last run has kept."""
        function_at(self.target.helpers["let_go"])(0, 0, 0, 0)

    def set_breaker(self, value: int) -> None:
        """What the polls see."""
        raw.write_u64(self._words.address + 16, value)

    def take_record(self) -> int:
        """The record with which the last run left, 0 if it returned."""
        record = raw.read_u64(self._words.address + 8)
        raw.write_u64(self._words.address + 8, 0)
        return record

    def compile(self, region: Region) -> Compiled:
        """Compiles a region, a body as one that is called; its records are the numbers of its leave points, from 1
        on."""
        if region.point is EntryPoint.BODY:
            region = replace(region, point=EntryPoint.CALL)
        points = list(leave_points(region))
        assert raw_words(region) <= RAW_WORDS
        text = lower(region, self.target, range(1, len(points) + 1), raw_prologue)
        return Compiled(self, region, self.engine.compile(text, name=region.name))


@dataclass(slots=True)
class Compiled:
    """A region's machine code, until the `with` block ends."""

    machine: Machine
    region: Region
    code: Code
    function: Callable[[int, int, int, int], int] = field(init=False)

    def __post_init__(self) -> None:
        self.function = function_at(self.code.address("region"))

    def __enter__(self) -> Compiled:
        return self

    def __exit__(self, *_: object) -> None:
        self.code.close()

    def run(self, inputs: Sequence[object], objects: Sequence[object] = ()) -> Outcome:
        """Runs the machine code. `objects` are what the entry slots hold, as arguments or in a frame."""
        words = _memory(list(map(to_word, inputs)))
        slots = _memory([0 if held is UNBOUND else id(held) for held in objects])
        # As much of a function as regions look at: its cells.
        function = _memory([0] * (abi.FUNCTION.func_closure // 8) + [id(FREE_VARIABLES)])
        is_call = self.region.point is EntryPoint.CALL
        first = function.address if is_call else slots.address - abi.FRAME.localsplus
        address = self.function(first, slots.address, 0, words.address)
        record = self.machine.take_record()
        if record:
            outcome = _Reader(self.machine.target.raw, objects).outcome(self.region, record - 1)
            self.machine.let_go()
            return outcome
        result = raw.borrow(address)
        raw.give_back(address)
        return Returned(result)


def _memory(words: Sequence[int]) -> raw.Buffer:
    """Native memory that holds these 64-bit words."""
    memory = raw.Buffer(8 * max(len(words), 1))
    for position, word in enumerate(words):
        raw.write_i64(memory.address + 8 * position, word)
    return memory


@dataclass(slots=True)
class _Reader:
    """Reads the raw buffer of one exit."""

    base: int
    objects: Sequence[object]
    values: dict[Operand, object] = field(default_factory=dict)

    def outcome(self, region: Region, point: int) -> Outcome:
        """How the region ended, given the number of its leave point."""
        self._decode(raw_layouts(region)[point])
        if point >= len(region.exits):
            end = region.blocks[list(stub_returns(region))[point - len(region.exits)]].end
            assert isinstance(end, Return)
            return Returned(self._slot(end.value))
        frame = region.exits[point].frame
        return Left(point, tuple(map(self._slot, frame.locals)), tuple(map(self._slot, frame.stack)))

    def _decode(self, layout: Layout) -> None:
        for position, operand in layout:
            word = raw.read_i64(self.base + 8 * position)
            assert operand.kind is not None
            if operand.kind.is_tagged:
                self.values[operand] = of_any(word, raw.read_i64(self.base + 8 * position + 8))
            else:
                self.values[operand] = of_word(operand.kind, word)

    def _slot(self, slot: Slot) -> object:
        match slot:
            case Const(value):
                return value
            case Hole.UNBOUND:
                return UNBOUND
            case Hole.NULL:
                return slot
            case Entry(number):
                return self.objects[number]
            case VirtualTuple() | VirtualInstance() | VirtualMethod():
                return made_of(slot, tuple(map(self._slot, slot.parts)))
            case VirtualRange(start, stop, step):
                return range(*map(self._int, (start, stop, step)))
            case RangeIterator(start, step, length, home):
                return RangeState(self._int(start), self._int(step), self._int(length), home)
            case Reference(value):
                return self._operand(value)
            case ItemIterator(items, index, _, home):
                return ItemState(self._operand(items), self._int(index), home)
            case Moot():
                raise AssertionError("no exit has it")
            case _:
                return self.values[slot]

    def _operand(self, operand: Operand) -> object:
        return operand.value if isinstance(operand, Const) else self.values[operand]

    def _int(self, operand: Operand) -> int:
        value = self.values[operand]
        assert isinstance(value, int), operand
        return value
