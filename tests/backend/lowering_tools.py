"""Regions as machine code without the driver: run, read what came out, and compare with the evaluator.

In: a region, a value for each of its inputs, an object for each of its entry slots. Out: an `Outcome` as the evaluator
gives it. A prologue loads the inputs from words behind %d and leaves the entry objects behind %b; the leave stubs do
nothing but remember the record, which here is a number; the raw buffer is decoded by `snapshots.raw_layout`, which is
what the real stubs' programs are made from. The eval breaker is a word of ours.

As a script (`lowering_tools.py MUTANT FIRST LAST [STEP]`) it compares random regions until one differs: in a process of
its own, since a crash is one of the ways to differ. `MUTANTS` has bugs that it must find.

Leaves out: how a region is entered by calls and loops, and the stubs proper.
"""

from __future__ import annotations

import ctypes
import math
import random
import struct
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strategies.regions import INTS, NAMESPACE, Case, build_case, reset_namespace

from minijit.backend import lower as lowering
from minijit.backend import lower_ops
from minijit.backend.engine import Engine
from minijit.backend.lower import Target, lower, name
from minijit.backend.prelude import COMMON, HELPERS, helper_text, prelude
from minijit.backend.snapshots import TAGS, leave_points, plain_return, raw_layout, raw_words, return_exit, stub_returns
from minijit.cpython import raw
from minijit.ir.eval import Left, OutOfFuel, Outcome, RangeState, Returned, evaluate
from minijit.ir.ops import TABLE, UNBOUND, Row
from minijit.ir.region import (
    Const,
    Entry,
    EntryKind,
    Exit,
    Hole,
    Kind,
    Operand,
    RangeIterator,
    Region,
    Slot,
    VirtualRange,
    VirtualTuple,
)
from minijit.ir.text import print_region
from minijit.opt.pipeline import optimise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from minijit.backend.engine import Code
    from minijit.backend.lower import Emitter
    from minijit.ir.region import Op

RAW_WORDS = 4096
FUEL = 20_000
"""Ops that a random region may run: the evaluator is asked first, so that machine code never hangs."""
REGION = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)


def raw_prologue(e: Emitter) -> None:
    """The prologue of a region whose inputs are words behind %d."""
    for position, (_, _, value) in enumerate(e.region.inputs()):
        place = e.let(f"getelementptr i64, ptr %d, i64 {position}")
        if value.kind is Kind.BOOL:
            e.line(f"{name(value)} = trunc i64 {e.let(f'load i64, ptr {place}')} to i1")
        else:
            e.line(f"{name(value)} = load {lowering.LLVM_TYPES[value.kind]}, ptr {place}")


def to_word(value: object) -> int:
    """A machine value as the 64 bits that it is in memory."""
    if isinstance(value, float):
        return int(struct.unpack("<q", struct.pack("<d", value))[0])
    assert isinstance(value, int)
    return int(value)


def of_word(kind: Kind, word: int) -> object:
    """The Python value of a machine value's 64 bits."""
    match kind:
        case Kind.INT:
            return word
        case Kind.FLOAT:
            return struct.unpack("<d", struct.pack("<q", word))[0]
        case _:
            assert word in (0, 1), f"a bool is {word}"
            return bool(word)


def of_any(tag: int, bits: int) -> object:
    """The Python value of a value of kind `any`."""
    kinds = {TAGS["int"]: Kind.INT, TAGS["float"]: Kind.FLOAT, TAGS["bool"]: Kind.BOOL}
    if tag in kinds:
        return of_word(kinds[tag], bits)
    return {TAGS["unbound"]: UNBOUND, TAGS["none"]: None}[tag]


@dataclass(slots=True)
class Machine:
    """An engine with stubs that remember; regions compiled by it share its buffers."""

    level: int = 2
    engine: Engine = field(init=False)
    target: Target = field(init=False)
    raw_buffer: raw.Buffer = field(default_factory=lambda: raw.Buffer(8 * RAW_WORDS))
    words: raw.Buffer = field(default_factory=lambda: raw.Buffer(24))  # raw_cell, record, eval breaker

    def __post_init__(self) -> None:
        self.engine = Engine(self.level)
        raw.write_u64(self.words.address, self.raw_buffer.address)
        stubs = self.engine.compile(self._stub_text(), name="stubs that remember")
        helpers = {helper: stubs.address(helper) for helper in HELPERS}
        self.target = Target(
            raw=self.raw_buffer.address,
            raw_cell=self.words.address,
            leave=stubs.address("leave"),
            leave_return=stubs.address("leave"),
            eval_breaker=self.words.address + 16,
            prelude=prelude(helpers),
            helpers=helpers,
            symbol=raw.symbol,
        )

    def _stub_text(self) -> str:
        leave = f"""
define ptr @leave(ptr %a, ptr %b, i64 %record, ptr %d) {{
  store i64 %record, ptr inttoptr (i64 {self.words.address + 8} to ptr)
  ret ptr null
}}
"""
        return COMMON + helper_text(raw.symbol) + leave

    def set_breaker(self, value: int) -> None:
        """What the polls see."""
        raw.write_u64(self.words.address + 16, value)

    def take_record(self) -> int:
        """The record that the last run left with, 0 if it returned."""
        record = raw.read_u64(self.words.address + 8)
        raw.write_u64(self.words.address + 8, 0)
        return record

    def compile(self, region: Region) -> Compiled:
        points = list(leave_points(region))
        assert raw_words(points) <= RAW_WORDS
        text = lower(region, self.target, range(1, len(points) + 1), raw_prologue)
        return Compiled(self, region, self.engine.compile(text, name=region.name))


@dataclass(slots=True)
class Compiled:
    """A region's machine code, until it is closed."""

    machine: Machine
    region: Region
    code: Code
    function: Any = field(init=False)
    result: Any = None  # the very object that the last run returned

    def __post_init__(self) -> None:
        self.function = REGION(self.code.address("region"))

    def __enter__(self) -> Compiled:
        return self

    def __exit__(self, *_: object) -> None:
        self.code.close()

    def run(self, inputs: Sequence[object], objects: Sequence[object] = ()) -> Outcome:
        """Runs the machine code. `objects` are those of the entry slots, UNBOUND for one that is empty."""
        words = (ctypes.c_int64 * max(len(inputs), 1))(*map(to_word, inputs))
        slots = (ctypes.c_void_p * max(len(objects), 1))(*[None if x is UNBOUND else id(x) for x in objects])
        address = self.function(None, ctypes.addressof(slots), 0, ctypes.addressof(words))
        record = self.machine.take_record()
        if not record:
            return self._returned(address)
        return _Reader(self.machine.raw_buffer.address, objects).outcome(self.region, record - 1)

    def _returned(self, address: int) -> Returned:
        self.result = raw.borrow(address)
        raw.give_back(address)
        return Returned(self.result)


@dataclass(slots=True)
class _Reader:
    """Reads the raw buffer."""

    base: int
    objects: Sequence[object]
    values: dict[Operand, object] = field(default_factory=dict)

    def outcome(self, region: Region, point: int) -> Outcome:
        """How the region ended, if it left by this leave point."""
        if point >= len(region.exits):
            block = region.blocks[list(stub_returns(region))[point - len(region.exits)]]
            value: Slot = block.end.value  # type: ignore[union-attr]
            self.decode(return_exit(value))
            return Returned(self.slot(value))
        exit = region.exits[point]
        self.decode(exit)
        return Left(point, tuple(map(self.slot, exit.frame.locals)), tuple(map(self.slot, exit.frame.stack)))

    def decode(self, exit: Exit) -> None:
        for position, operand in raw_layout(exit):
            first = raw.read_i64(self.base + 8 * position)
            assert operand.kind is not None
            if operand.kind is Kind.ANY:
                self.values[operand] = of_any(first, raw.read_i64(self.base + 8 * position + 8))
            else:
                self.values[operand] = of_word(operand.kind, first)

    def slot(self, slot: Slot) -> object:
        match slot:
            case Const(value):
                return value
            case Hole.UNBOUND:
                return UNBOUND
            case Hole.NULL:
                return slot
            case Entry(number):
                return self.objects[number]
            case VirtualTuple(items):
                return tuple(map(self.slot, items))
            case VirtualRange(start, stop, step):
                return range(*(self.values[x] for x in (start, stop, step)))  # type: ignore[call-overload]
            case RangeIterator(start, step, length, home):
                return RangeState(*(self.values[x] for x in (start, step, length)), home)
            case _:
                return self.values[slot]


# Comparing


def exact(value: object) -> object:
    """Equal exactly for values that nothing tells apart: type and bits, a nan's bits aside; other objects by
    identity."""
    match value:
        case float():
            return ("float", "nan" if math.isnan(value) else struct.pack("<d", value))
        case int():
            return (type(value), int(value))
        case tuple():
            return ("tuple", *map(exact, value))
        case range():
            return ("range", value.start, value.stop, value.step)
        case RangeState():
            return value
    return ("object", id(value))


def exact_outcome(region: Region, outcome: Outcome) -> object:
    """The outcome in a form that is equal for equal outcomes. Exits of one snapshot differ in their number alone."""
    match outcome:
        case Returned(value):
            return ("returned", exact(value))
        case Left(exit, before, stack):
            return ("left", exit, exact(before), exact(stack))
        case OutOfFuel():
            return ("out of fuel",)


def entry_objects(region: Region, inputs: Sequence[object]) -> tuple[object, ...]:
    """An object for each entry slot: the inputs' own where they have one. Unbound slots get one too: random regions
    return them."""
    given = {slot: value for (slot, name, _), value in zip(region.inputs(), inputs, strict=True) if name == "value"}
    return tuple(given[slot] if slot in given else object() for slot in range(len(region.entry_kinds)))


class NanSign(Exception):
    """The sign of a nan decides: hardware and LLVM differ in that, and so may two runs."""


def _copysign(x: float, y: float) -> float:
    if math.isnan(y):
        raise NanSign
    return math.copysign(x, y)


def _with(row: Row, meaning: Callable[..., object]) -> Row:
    return Row(row.name, row.params, row.result, row.has_result, row.effect, meaning, row.variadic)


CAREFUL = TABLE | {"float_copysign": _with(TABLE["float_copysign"], _copysign)}


@dataclass(frozen=True, slots=True)
class Difference:
    """What the evaluator and machine code made of one run."""

    inputs: tuple[object, ...]
    wanted: object
    found: object


def difference(compiled: Compiled, inputs: tuple[object, ...], *, leaves: bool) -> Difference | None:
    """Runs both; `leaves` is whether polls leave."""
    region = compiled.region
    objects = entry_objects(region, inputs)
    try:
        wanted = evaluate(
            region, inputs, objects=objects, fuel=FUEL, should_leave=lambda _exit: leaves, table=CAREFUL
        )
    except NanSign:
        return None
    if isinstance(wanted, OutOfFuel):
        return None
    compiled.machine.set_breaker(int(leaves))
    found = compiled.run(inputs, objects)
    if exact_outcome(region, wanted) == exact_outcome(region, found):
        return None
    return Difference(inputs, wanted, found)


# Random regions


def case_data(seed: int) -> bytes:
    return random.Random(seed).randbytes(1000)


def input_rows(case: Case, data: bytes, count: int) -> Iterator[tuple[object, ...]]:
    """The case's inputs, and those of cases whose bytes differ where inputs are chosen."""
    yield case.inputs
    choices = random.Random(len(data))
    for _ in range(count - 1):
        yield build_case(data[:1] + choices.randbytes(12) + data[13:]).inputs


WORLDS: tuple[dict[str, object], ...] = ({}, {"count": 2**62, "ratio": -0.0, "flag": False}, {"count": 1.5, "ratio": 3})


def set_world(number: int) -> None:
    """What `load_global` sees."""
    reset_namespace()
    NAMESPACE.update(WORLDS[number % len(WORLDS)])


def first_difference(machine: Machine, data: bytes, number: int, *, passes: bool) -> Difference | None:
    """The first run of the case that these bytes stand for in which machine code differs."""
    case = build_case(data)
    region = optimise(case.region, check=True) if passes else case.region
    set_world(number)
    with machine.compile(region) as compiled:
        for inputs in input_rows(case, data, 6):
            found = difference(compiled, inputs, leaves=case.leave_at > 0)
            if found is not None:
                return found
    return None


def shrunk(data: bytes, differs: Callable[[bytes], bool]) -> bytes:
    """The shortest beginning that still differs: missing bytes are zeros, which choose what is simplest."""
    for size in range(0, len(data), 7):
        if differs(data[:size]):
            return data[:size]
    return data


def report(machine: Machine, data: bytes, number: int, *, passes: bool) -> str:
    """A difference in its smallest form."""
    small = shrunk(data, lambda d: first_difference(machine, d, number, passes=passes) is not None)
    found = first_difference(machine, small, number, passes=passes)
    region = build_case(small).region
    text = print_region(optimise(region) if passes else region)
    return f"seed {number}, level {machine.level}, passes {passes}\n{text}{found}"


def configurations(number: int) -> tuple[tuple[int, bool], ...]:
    """LLVM's level and whether our passes run, for one example: two of the four ways."""
    return ((2, False), (0, True)) if number % 2 else ((2, True), (0, False))


def compare(numbers: Sequence[int]) -> str | None:
    """Compares random regions: what differs first, or None."""
    machines = {level: Machine(level) for level in (0, 2)}
    for number in numbers:
        data = case_data(number)
        for level, passes in configurations(number):
            # For whoever reads the output of a process that crashed.
            print(f"{number} {level} {int(passes)}", flush=True)
            if first_difference(machines[level], data, number, passes=passes) is not None:
                return report(machines[level], data, number, passes=passes)
    return None


def describe_crash(output: str) -> str:
    """The region that was running when the process that wrote this output died."""
    number, level, passes = map(int, output.split("\n")[-2].split())
    case = build_case(case_data(number))
    region = optimise(case.region) if passes else case.region
    return f"seed {number}, level {level}, passes {bool(passes)}\n{print_region(region)}inputs {case.inputs}"


# Bugs that comparing must find


def _no_overflow_check(e: Emitter, op: Op) -> None:
    e.define(op, f"add i64 {e.use(op.args[0])}, {e.use(op.args[1])}")


def _c_floordiv(e: Emitter, op: Op) -> None:
    lower_ops._division_guards(e, op)
    e.define(op, f"sdiv i64 {e.use(op.args[0])}, {e.use(op.args[1])}")


def _c_mod(e: Emitter, op: Op) -> None:
    lower_ops._division_guards(e, op)
    e.define(op, f"srem i64 {e.use(op.args[0])}, {e.use(op.args[1])}")


def _mod_without_zero_rule(e: Emitter, op: Op) -> None:
    lower_ops._float_divisor(e, op)
    rest, divisor = lower_ops._fmod(e, op), e.use(op.args[1])
    moved = e.let(f"fadd double {rest}, {divisor}")
    e.define(op, f"select i1 {lower_ops._other_sign(e, rest, divisor)}, double {moved}, double {rest}")


def _compare_as_doubles(e: Emitter, op: Op) -> None:
    left = e.let(f"sitofp i64 {e.use(op.args[0])} to double")
    e.define(op, f"fcmp olt double {left}, {e.use(op.args[1])}")


def _unchecked_shift(e: Emitter, op: Op) -> None:
    value, count = (e.use(x) for x in op.args)
    masked = e.let(f"and i64 {count}, 63")
    shifted = e.let(f"shl i64 {value}, {masked}")
    back = e.let(f"ashr i64 {shifted}, {masked}")
    e.leave_unless(e.let(f"icmp eq i64 {back}, {value}"), op)
    e.define(op, f"add i64 {shifted}, 0")


def _unchecked_to_int(e: Emitter, op: Op, value: str) -> None:
    e.define(op, f"call i64 @llvm.fptosi.sat.i64.f64(double {value})")


def _swapped_stores(emitter: Emitter, exit: Exit) -> None:
    layout = [(position, operand) for position, operand in raw_layout(exit) if operand.kind is not Kind.ANY]
    _STORE_RAW(emitter, exit)
    if len(layout) > 1:
        (first, one), (second, other) = layout[:2]
        base = emitter.let(f"load ptr, ptr {lowering.pointer(emitter.target.raw_cell)}")
        for position, operand in ((first, other), (second, one)):
            if operand.kind is not Kind.BOOL:
                lowering._store(emitter, base, position, emitter.typed(operand))


_STORE_RAW = lowering.store_raw


def _wrong_tag(e: Emitter, op: Op) -> None:
    lower_ops._pack(e, op, "int", f"zext i1 {e.use(op.args[0])} to i64")


def _swapped_edges(emitter: Emitter, condition: str, then: Any, otherwise: Any) -> None:
    if then.target == otherwise.target:
        then, otherwise = otherwise, then
    _BRANCH(emitter, condition, then, otherwise)


_BRANCH = lowering._branch


def _lowers(op: str, function: Callable[[Emitter, Op], None]) -> Callable[[], None]:
    return lambda: lower_ops.LOWER.update({op: function})


def _sets(module: Any, attribute: str, value: object) -> Callable[[], None]:
    return lambda: setattr(module, attribute, value)


MUTANTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "overflow check of int_add dropped": _lowers("int_add", _no_overflow_check),
    "int_floordiv truncates as C": _lowers("int_floordiv", _c_floordiv),
    "int_mod has C's sign": _lowers("int_mod", _c_mod),
    "float_mod without the rule for zeros": _lowers("float_mod", _mod_without_zero_rule),
    "int_float_lt by conversion": _lowers("int_float_lt", _compare_as_doubles),
    "shift count unchecked": _lowers("int_lshift", _unchecked_shift),
    "float to int unchecked": _sets(lower_ops, "_to_int", _unchecked_to_int),
    "tag of a packed bool wrong": _lowers("pack_bool", _wrong_tag),
    "an exit's values swapped": _sets(lowering, "store_raw", _swapped_stores),
    "arguments swapped when both edges meet": _sets(lowering, "_branch", _swapped_edges),
    "division by zero unchecked": _sets(lower_ops, "_division_guards", lambda e, op: None),
}


def main(mutant: str, first: str, last: str) -> int:
    """Exit status 1 if something differs, which is then written to standard error."""
    MUTANTS[mutant]()
    found = compare(range(int(first), int(last)))
    if found is None:
        return 0
    print(found, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
