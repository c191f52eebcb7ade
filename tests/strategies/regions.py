"""Random regions: valid ones, over all ops of the table, and inputs to run them with.

In: bytes, each of which decides one thing, or a hypothesis strategy that makes them (and so shrinks regions). Out: a
region that passes the verifier, and a value for each of its inputs. Bytes that are used up count as zeros, and zero is
always the simplest choice, so every region comes to an end.

Regions are structured: straight lines, branches with joins, loops with a counter. What passes look for is made more
often than chance would: ops that are done again, conditions that are asked again, parameters that are always the same,
arithmetic under masks. Constants sit at boundaries. Blocks are shuffled, since no pass may rely on their order.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from minijit.events import ExitReason
from minijit.ir.eval import InstanceState, RangeState
from minijit.ir.kinds import INPUT_FIELDS, INPUT_RANGES, INT_MAX, INT_MIN, EntryKind, Kind
from minijit.ir.ops import TABLE, UNBOUND, Effect
from minijit.ir.region import (
    Block,
    Branch,
    Const,
    Edge,
    Entry,
    EntryPoint,
    Exit,
    FrameState,
    Hole,
    Jump,
    Leave,
    Op,
    Operand,
    RangeIterator,
    Reference,
    Region,
    Return,
    Slot,
    Terminator,
    Value,
    VirtualRange,
    VirtualTuple,
)

# Small numbers twice: at the boundaries most runs end early.
INTS = (
    *(0, 1, -1, 2, 3, 5, -7, 10, 4, 6, 7, 8, 9, 1, 2, 3),
    *(63, 64, 255, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**53 + 1, -(2**53) - 1, 0x5DEECE66D),
    *(2**62, -(2**62), INT_MAX, INT_MAX - 1, INT_MIN, INT_MIN + 1),
)
FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 0.1, 3.0, 0.25, 2.0, 10.0, 1.0, 0.5),
    *(1e22, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**31, 2.0**53, 2.0**62),
    *(2.0**63, -(2.0**63), math.inf, -math.inf, math.nan, math.copysign(math.nan, -1)),
)
MASKS = (255, 1, 0, 0xFFFF, 0xFFFFFFFF, 2**62, INT_MAX, -256, -1)
CONSTANTS = {
    Kind.INT: tuple(map(Const, INTS)),
    Kind.FLOAT: tuple(map(Const, FLOATS)),
    Kind.BOOL: (Const(False), Const(True)),
}
ZEROS = (Const(0.0), Const(-0.0))  # equal, and not the same
OBJECTS = (None, "text", 2**64, -(2**70), math, math.sin, abs, (), Ellipsis, object())
SCALARS = (Kind.INT, Kind.FLOAT, Kind.BOOL)
UNBOXED = ("unbox_int", "unbox_float", "unbox_bool", "unbox_number", "unbox_number")

ROWS: list[list[object]] = [[], []]
NUMBERS = (1, 2.5, True, -7), (0.0, 2**62, -0.5, False)
NAMESPACE: dict[str, object] = {}
FITTING = (("count", Kind.INT), ("ratio", Kind.FLOAT), ("flag", Kind.BOOL))
# Loads that leave are in the minority.
LOADS = (
    *FITTING * 5,
    *(("count", Kind.FLOAT), ("flag", Kind.INT), ("big", Kind.INT), ("text", Kind.INT), ("missing", Kind.INT)),
)


def reset_rows() -> None:
    """Gives the lists that are constants of regions their first items again; floats are objects of their own."""
    for row, numbers in zip(ROWS, NUMBERS, strict=True):
        row[:] = [number * 1.0 if type(number) is float else number for number in numbers]


def reset_namespace() -> None:
    """Gives the globals that `load_global` sees their first values again, and the lists their items."""
    reset_rows()
    NAMESPACE.clear()
    NAMESPACE.update(count=7, ratio=0.5, flag=True, big=2**70, text="text")


reset_namespace()

# Functions for call_pure: what they take, and the kind that the region expects of them (sometimes in vain).
CALLS: tuple[tuple[object, tuple[Kind, ...], Kind], ...] = (
    (abs, (Kind.INT,), Kind.INT),
    (abs, (Kind.FLOAT,), Kind.FLOAT),
    (round, (Kind.FLOAT,), Kind.INT),
    (math.isqrt, (Kind.INT,), Kind.INT),
    (math.lcm, (Kind.INT, Kind.INT), Kind.INT),
    (math.hypot, (Kind.FLOAT, Kind.FLOAT), Kind.FLOAT),
    (math.isclose, (Kind.FLOAT, Kind.FLOAT), Kind.BOOL),
    (max, (Kind.INT, Kind.FLOAT), Kind.INT),
    (bool, (Kind.FLOAT,), Kind.BOOL),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A region and a value for each of its inputs; `leave_at` is the number of the poll that leaves, 0 for none."""

    region: Region
    inputs: tuple[object, ...]
    leave_at: int


class Source:
    """Decisions from bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = iter(data)

    def below(self, limit: int) -> int:
        return next(self.data, 0) % limit

    def choose[T](self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def chance(self, percent: int) -> bool:
        """Never, once the bytes are used up."""
        return self.below(100) >= 100 - percent


def build_case(data: bytes) -> Case:
    """The region and the inputs that bytes stand for."""
    source = Source(data)
    leave_at = max(0, source.below(20) - 12)
    choices = [source.below(256) for _ in range(12)]
    region = _Maker(source).region()
    kinds = region.entry_kinds
    inputs = tuple(_input(kinds[slot], field, value.kind, choices) for slot, field, value in region.inputs())
    return Case(region, inputs, leave_at)


def _input(entry: EntryKind, field: str, kind: Kind, choices: list[int]) -> object:
    choice = choices.pop() if choices else 0
    if entry in INPUT_RANGES and field in ("value", "start", "stop", "index"):
        low, high = INPUT_RANGES[entry]
        within = [low, high, *(value for value in INTS if low <= value <= high)]
        return within[choice % len(within)]
    if field == "length":
        return choice % 5
    if field == "step":
        return (1, -1, 3, INT_MAX)[choice % 4]
    values: Sequence[object] = {Kind.INT: INTS, Kind.FLOAT: FLOATS, Kind.BOOL: (False, True), Kind.OBJECT: ROWS}[kind]
    return values[choice % len(values)]


def random_case(seed: int) -> Case:
    """The case of a seed: for loops over many, without hypothesis."""
    return build_case(random.Random(seed).randbytes(1000))


def cases() -> st.SearchStrategy[Case]:
    return st.binary(min_size=300, max_size=700).map(build_case)


def regions() -> st.SearchStrategy[Region]:
    return cases().map(lambda case: case.region)


@dataclass(slots=True)
class _Open:
    """A block that is being made."""

    params: tuple[Value, ...]
    ops: list[Op] = field(default_factory=list)
    end: Terminator | None = None


ORDINARY = tuple(
    name
    for name, row in TABLE.items()
    if row.effect in (Effect.PURE, Effect.GUARD)
    and name != "call_pure"
    and Kind.OBJECT not in (*row.params, row.result)
)
USUAL = (
    *("int_add", "int_sub", "int_mul", "int_xor", "int_lt", "int_eq", "int_select", "int_to_float"),
    *("float_add", "float_mul", "float_lt", "bool_not", "bool_and", "bool_or", "pack_int", "pack_float"),
)
CHAIN = (
    "int_add",
    "int_mul",
    "int_sub",
    "int_xor",
    "int_or",
    "int_neg",
    "int_invert",
    "int_lshift",
    "int_and",
    "int_floordiv",
)
# Most guards on random values fail, so they are not made as often as they might be.
PURE = tuple(name for name in ORDINARY if TABLE[name].effect is Effect.PURE)
QUESTIONS = tuple(name for name in PURE if TABLE[name].result is Kind.BOOL)
ASKED = ("is_int", "is_float", "bool_and", "bool_or", "is_int", "is_float", "bool_and", "bool_or", "bool_not")
DEMANDS = tuple(name for name in ORDINARY if name.startswith(("unpack_", "guard_")))


class _Maker:
    """Makes one region. `scope` has the values that are defined on every path to where the next op goes."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.blocks: list[_Open] = []
        self.exits: list[Exit] = []
        self.scope: list[Value] = []
        self.usable_exits: list[int] = []
        self.history: list[tuple[str, tuple[Operand, ...], Kind | None]] = []
        self.may_be_unbound: set[Value] = set()
        self.count = 0
        self.at = 0
        self.point = EntryPoint.LOOP if source.chance(20) else EntryPoint.CALL
        # There are several kinds of ints: the others are there more than once, so as not to be rare.
        others = (EntryKind.OBJECT, EntryKind.UNBOUND)
        kinds = (*[EntryKind.FLOAT] * 3, *[EntryKind.BOOL] * 3, *EntryKind, *others)
        self.entry_kinds = tuple(source.choose(kinds) for _ in range(source.below(5)))
        self.locals = max(len(self.entry_kinds), 1 + source.below(6))

    def region(self) -> Region:
        params: list[Value] = []
        for kind in self.entry_kinds:
            params += map(self.fresh, INPUT_FIELDS.get(kind, {}).values())
        self.open(params)
        if self.body(depth=3):
            self.finish()
        return self.shuffled()

    def shuffled(self) -> Region:
        order = list(range(1, len(self.blocks)))
        random.Random(self.source.below(256)).shuffle(order)
        order.insert(0, 0)
        place = {old: new for new, old in enumerate(order)}
        blocks = []
        for old in order:
            made = self.blocks[old]
            assert made.end is not None
            blocks.append(Block(made.params, tuple(made.ops), _moved(made.end, place)))
        return Region("random", self.point, self.entry_kinds, tuple(blocks), tuple(self.exits))

    # Blocks

    def open(self, params: Sequence[Value]) -> int:
        """Goes on in a new block."""
        self.blocks.append(_Open(tuple(params)))
        self.scope += params
        return len(self.blocks) - 1

    @property
    def block(self) -> _Open:
        return self.blocks[self.at]

    def body(self, depth: int) -> bool:
        """Some statements; whether the path goes on after them."""
        statements = 2 * depth + self.source.below(4)
        for _ in range(statements):
            choice = self.source.below(20)
            if choice < 5:
                self.op(self.source.choose(USUAL))
            elif choice < 8:
                self.op(self.source.choose(PURE if self.source.chance(60) else ORDINARY))
            elif choice < 10:
                self.op(self.source.choose(QUESTIONS if self.source.chance(80) else DEMANDS))
            elif choice < 12:
                self.again()
            elif choice < 14:
                self.chain()
            elif choice == 14:
                self.load_or_poll()
            elif choice == 15 and self.source.chance(50):
                self.heap()
            elif choice == 15:
                self.call()
            elif depth and choice < 18:
                if not self.branch(depth - 1):
                    return False
            elif depth:
                self.loop(depth - 1)
        return True

    def finish(self) -> None:
        """Ends the path: it returns, or leaves."""
        if self.point is EntryPoint.CALL and not self.source.chance(15):
            known = [value for value in self.scope if value not in self.may_be_unbound]
            show_all = VirtualTuple(tuple(map(as_slot, known[-12:])))
            self.block.end = Return(show_all if self.source.chance(60) else self.slot(depth=1, is_local=False))
        else:
            self.block.end = Leave(self.exit())

    def branch(self, depth: int) -> bool:
        """An `if` with a join; whether anything goes on after it."""
        condition = self.condition()
        before = self.block
        if self.source.chance(10):
            kinds = self.kinds()
            ways = [tuple(self.operand(kind) for kind in kinds) for _ in range(2)]
            joined = self.start([self.fresh(kind) for kind in kinds])
            before.end = Branch(condition, Edge(joined, ways[0]), Edge(joined, ways[1]))
            self.related(condition)
            return True
        # Operands are chosen before the arms begin, as choosing one may need another op here.
        ways = [tuple(map(self.operand, self.kinds())) if self.source.chance(30) else () for _ in range(2)]
        kinds = self.kinds()
        known = [self.known_before(kind) for kind in kinds]
        scope, usable = len(self.scope), len(self.usable_exits)
        heads: list[Edge] = []
        tails: list[tuple[_Open, tuple[Operand, ...]]] = []
        for arm, args in enumerate(ways):
            heads.append(Edge(self.start([self.fresh(kind_of(arg)) for arg in args]), args))
            if self.source.chance(70):
                self.related(condition)
            if self.body(depth) and not self.source.chance(20):
                passed = [both[arm] if both else self.operand(k) for k, both in zip(kinds, known, strict=True)]
                tails.append((self.block, tuple(passed)))
            elif self.block.end is None:
                self.finish()
            del self.scope[scope:], self.usable_exits[usable:]
        before.end = Branch(condition, heads[0], heads[1])
        if not tails:
            return False
        joined = self.start([self.fresh(kind) for kind in kinds])
        for tail, passed in tails:
            tail.end = Jump(Edge(joined, passed))
        return True

    def known_before(self, kind: Kind) -> tuple[Operand, Operand] | None:
        """What the two arms pass to a parameter of the join: the same, nearly the same, or what the arms have."""
        if kind is Kind.FLOAT and self.source.chance(30):
            return ZEROS
        if self.source.chance(40):
            operand = self.operand(kind)
            return operand, operand
        return None

    def loop(self, depth: int) -> None:
        """A loop with a counter, carried values, and maybe a poll."""
        kinds = [Kind.INT, *self.kinds()]
        first = [Const(0), *(self.operand(kind) for kind in kinds[1:])]
        before = self.block
        params = [self.fresh(kind) for kind in kinds]
        head = self.start(params)
        before.end = Jump(Edge(head, tuple(first)))
        if self.source.chance(60):
            self.emit("poll", ())
        for _ in range(self.source.below(3)):
            self.op(self.source.choose(USUAL))
        goes_on = self.emit("int_lt", (params[0], Const(1 + self.source.below(4))))
        top, scope, usable = self.block, len(self.scope), len(self.usable_exits)
        inside = self.start([])
        if self.body(depth):
            self.back(head, params, first)
        del self.scope[scope:], self.usable_exits[usable:]
        assert goes_on is not None
        top.end = Branch(goes_on, Edge(inside, ()), Edge(self.start([]), ()))

    def back(self, head: int, params: list[Value], first: list[Operand]) -> None:
        counter = self.emit(self.source.choose(("int_add", "int_add_wrap")), (params[0], Const(1)))
        args: list[Operand] = [counter] if counter is not None else []
        for param, start in zip(params[1:], first[1:], strict=True):
            choice = self.source.below(4)
            args.append(param if choice == 0 else start if choice == 1 else self.operand(param.kind))
        self.block.end = Jump(Edge(head, tuple(args)))

    def start(self, params: list[Value]) -> int:
        self.at = self.open(params)
        self.may_be_unbound |= {param for param in params if param.kind is Kind.ANY}
        return self.at

    def kinds(self) -> list[Kind]:
        return [self.source.choose((*SCALARS, Kind.ANY, Kind.INT)) for _ in range(self.source.below(4))]

    # Ops

    def fresh(self, kind: Kind) -> Value:
        self.count += 1
        return Value(self.count - 1, kind)

    def emit(self, name: str, args: tuple[Operand, ...], kind: Kind | None = None) -> Value | None:
        row = TABLE[name]
        exit = self.exit() if row.effect.exits else None
        kind = kind or row.result
        result = self.fresh(kind) if kind is not None else None
        self.block.ops.append(Op(name, args, result, exit))
        self.history.append((name, args, kind))
        if result is not None:
            self.scope.append(result)
        if name == "pack_unbound" and result is not None:
            self.may_be_unbound.add(result)
        return result

    def op(self, name: str) -> Value | None:
        return self.emit(name, tuple(self.operand(kind) for kind in TABLE[name].params if kind is not None))

    def again(self) -> None:
        """An op that was done before, maybe on another path."""
        known = set(self.scope)
        done = [x for x in self.history if all(isinstance(a, Const) or a in known for a in x[1])]
        if done:
            self.emit(*self.source.choose(done))

    def chain(self) -> None:
        """Int arithmetic under a mask; the steps between are hidden from what follows, or not."""
        scope, usable = len(self.scope), len(self.usable_exits)
        value: Operand = self.operand(Kind.INT)
        for _ in range(1 + self.source.below(4)):
            name = self.source.choose(CHAIN)
            args: list[Operand] = [value]
            if len(TABLE[name].params) == 2:
                large = Const(self.source.choose((0x5DEECE66D, 2**62, INT_MAX)))
                args.append(large if self.source.chance(40) else self.operand(Kind.INT))
            if name == "int_lshift" and self.source.chance(70):
                args[1] = Const(self.source.below(64))
            if self.source.chance(30) and name != "int_lshift":
                args.reverse()
            value = self.emit(name, tuple(args)) or value
        masked = [value, Const(self.source.choose(MASKS))]
        if self.source.chance(30):
            masked.reverse()
        result = self.emit("int_and", tuple(masked))
        seen = self.scope[scope + self.source.below(len(self.scope) - scope)]
        if self.source.chance(60) and result is not None:
            del self.scope[scope:], self.usable_exits[usable:]
            self.scope.append(result)
        if self.source.chance(20):
            # An edge sees one of the steps.
            before, param = self.block, self.fresh(seen.kind)
            before.end = Jump(Edge(self.start([param]), (seen,)))

    def load_or_poll(self) -> None:
        usual = self.source.choose(LOADS)
        for _ in range(1 + self.source.below(6)):
            if self.source.chance(40):
                self.emit("poll", ())
            else:
                name, kind = usual if self.source.chance(70) else self.source.choose(LOADS)
                found = self.emit("load_global", (Const(NAMESPACE), Const(name)))
                self.emit(f"unbox_{kind.value}", (found,))

    def call(self) -> None:
        function, kinds, kind = self.source.choose(CALLS)
        self.emit("call_pure", (Const(function), *(self.operand(k) for k in kinds)), kind)

    def heap(self) -> None:
        """Some loads and stores in a list of lists, whose items are numbers all the time."""
        row = self.emit("list_item", (Const(ROWS), self.within(1)))
        for _ in range(1 + self.source.below(6)):
            place = row or Const(ROWS), self.within(3)
            item = self.emit("list_item", place)
            assert item is not None
            match self.source.below(6):
                case 0 | 1:
                    self.emit("store_item", (*place, self.operand(self.source.choose((*SCALARS, Kind.NUMBER)))))
                case 2 | 3:
                    self.emit(self.source.choose(UNBOXED), (item,))
                case 4:
                    self.emit("is_of", (item, Const(self.source.choose((int, float, bool)))))
                case _:
                    self.emit("list_length", place[:1])
            # An item may be a number, which no snapshot has by its address.
            self.scope.remove(item)

    def within(self, most: int) -> Operand:
        """An index between 0 and that."""
        found = self.emit("int_and", (self.operand(Kind.INT), Const(most)))
        assert found is not None
        return found

    def condition(self) -> Operand:
        asked = [value for value in self.scope if value.kind is Kind.BOOL]
        if asked and self.source.chance(30):
            return self.source.choose(asked)
        if self.source.chance(60):
            made = self.op(self.source.choose(ASKED))
            assert made is not None
            return made
        return self.emit("int_lt", (self.operand(Kind.INT), self.operand(Kind.INT))) or Const(True)

    def related(self, condition: Operand) -> None:
        """An op on what a condition was made from: what it can tell is known here."""
        made = next((op.args for b in self.blocks for op in b.ops if op.result == condition), ())
        asked: list[Operand] = [condition, *(arg for arg in made if arg.kind is Kind.BOOL)]
        if made and made[0].kind is Kind.ANY:
            names = ("is_int", "is_float", "is_none", "unpack_int", "unpack_float", "unpack_bool")
            told = self.emit(self.source.choose(names), made)
            asked += [told] if told is not None and told.kind is Kind.BOOL else []
        if self.source.chance(60):
            self.emit(self.source.choose(("guard_true", "guard_false")), (asked[-1 - self.source.below(len(asked))],))

    def operand(self, kind: Kind) -> Operand:
        """A value in scope, more likely a late one, or a constant."""
        known = [value for value in self.scope if value.kind is kind]
        if kind is Kind.ANY:
            # Of what was packed before, all is known: parameters are the harder case.
            unknown = [value for value in known if value in self.may_be_unbound]
            if unknown and not self.source.chance(40):
                return self.source.choose(unknown)
            if known and not self.source.chance(30):
                return known[-1 - self.source.below(len(known))]
            packs = ("pack_int", "pack_float", "pack_bool", "pack_none", "pack_unbound")
            value = self.op(self.source.choose(packs))
            assert value is not None
            return value
        if kind is Kind.NUMBER and (not known or self.source.chance(40)):
            value = self.op(self.source.choose(("number_of_int", "number_of_float", "number_of_bool")))
            assert value is not None
            return value
        if known and (kind is Kind.NUMBER or not self.source.chance(25)):
            return known[-1 - min(self.source.below(len(known)), self.source.below(len(known)))]
        if kind is Kind.FLOAT and self.source.chance(30):
            return self.source.choose(ZEROS)
        return self.source.choose(CONSTANTS[kind])

    # Exits

    def exit(self) -> int:
        if self.usable_exits and self.source.chance(15):
            return self.source.choose(self.usable_exits)
        number = len(self.exits)
        frame = FrameState(
            2 * number,
            tuple(self.slot(depth=1, is_local=True) for _ in range(self.locals)),
            tuple(self.slot(depth=2, is_local=False) for _ in range(self.source.below(3))),
        )
        reason = self.source.choose(tuple(r for r in ExitReason if r is not ExitReason.RETURNED))
        self.exits.append(Exit(reason, frame, self.source.choose(("", "", 'a "detail" # é'))))
        self.usable_exits.append(number)
        return number

    def slot(self, *, depth: int, is_local: bool) -> Slot:
        choice = self.source.below(16)
        known = [value for value in self.scope if is_local or value not in self.may_be_unbound]
        if choice < 8 and known:
            return as_slot(known[-1 - self.source.below(len(known))])
        if choice < 10:
            return self.source.choose(CONSTANTS[self.source.choose(SCALARS)])
        if choice == 10 and self.entry_kinds:
            return Entry(self.source.below(len(self.entry_kinds)))
        if choice == 11 and is_local:
            return Hole.UNBOUND
        if choice == 12 and depth:
            count = self.source.below(4)
            items = tuple(self.slot(depth=depth - 1, is_local=False) for _ in range(count))
            return VirtualTuple(items, self.count % 3)
        if choice == 13:
            step = Const(self.source.choose((1, -1, 3, INT_MAX)))
            return VirtualRange(self.integer(), self.integer(), step, self.count % 3)
        if choice == 14 and depth == 2:
            return self.iterator()
        return Const(self.source.choose(OBJECTS))

    def iterator(self) -> Slot:
        homes = [n for n, kind in enumerate(self.entry_kinds) if kind.label == "range_iterator"]
        home = self.source.choose(homes) if homes and self.source.chance(60) else None
        return RangeIterator(self.integer(), self.integer(), self.integer(), home)

    def integer(self) -> Operand:
        return self.operand(Kind.INT)


def as_slot(value: Value) -> Slot:
    """A value as a snapshot has it."""
    return Reference(value, Const(list)) if value.kind is Kind.OBJECT else value


def kind_of(operand: Operand) -> Kind:
    assert operand.kind is not None
    return operand.kind


def _moved(end: Terminator, place: dict[int, int]) -> Terminator:
    match end:
        case Jump(edge):
            return Jump(Edge(place[edge.target], edge.args))
        case Branch(condition, then, otherwise):
            return Branch(condition, Edge(place[then.target], then.args), Edge(place[otherwise.target], otherwise.args))
        case Return() | Leave():
            return end


# Comparing


def canonical(value: object) -> object:
    """Something that is equal exactly for values of equal type that are equal to the last bit."""
    match value:
        case float():
            return ("float", struct.pack("d", value))
        case int():
            return (type(value).__name__, int(value))
        case str():
            return ("str", value)
        case tuple():
            return ("tuple", *map(canonical, value))
        case range():
            return ("range", value.start, value.stop, value.step)
        case RangeState(start, step, length, home):
            return ("iterator", start, step, length, home)
        case InstanceState(cls, names, attributes):
            return ("instance", getattr(cls, "__name__", cls), names, *map(canonical, attributes))
    if type(value).__module__ == "builtins" and hasattr(value, "__dict__"):
        # Of a class that a test has executed.
        return ("instance", type(value).__name__, tuple(vars(value)), *map(canonical, vars(value).values()))
    return ("object", "unbound" if value is UNBOUND else repr(value))
