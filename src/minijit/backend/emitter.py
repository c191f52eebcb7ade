"""The text of one LLVM function while it grows: what lowerings and prologues write with."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.backend.snapshots import Placement
from minijit.ir.kinds import Kind, const_kind
from minijit.ir.region import Edge, Op, Operand, Region, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from minijit.backend.snapshots import Layout

LLVM_TYPES = {Kind.INT: "i64", Kind.FLOAT: "double", Kind.BOOL: "i1", Kind.OBJECT: "ptr"}
_COPIES = {
    Kind.INT: "add i64 {}, 0",
    Kind.FLOAT: "fadd double {}, -0.0",
    Kind.BOOL: "and i1 {}, true",
    Kind.OBJECT: "getelementptr i8, ptr {}, i64 0",
}
"""Instructions that give what they get: LLVM has names for nothing else."""


@dataclass(frozen=True, slots=True)
class Target:
    """Addresses that the code of every region refers to.

    `raw` is the buffer through which exits hand over machine values, `raw_cell` a word that holds its address. `leave`,
    `leave_waiting`, for a region that has called another one, and `leave_return` are stubs with the prototype of a
    region. `eval_breaker` is the interpreter's flag; `symbol` finds C functions by name; `helpers` has the addresses of
    `prelude.HELPERS`. `stack` are words about the C stack (`bodies.STACK_WORDS`). `sees_others`: an object that others
    hold does not end when a variable is overwritten; without it, that is not asked. Without `stores` a region leaves
    where it would store something, and does not ask who would notice the end of an object. Under stress, every guard
    counts down the word at `countdown`; one that makes it zero leaves, and the count begins again at `every`.
    """

    raw: int
    raw_cell: int
    leave: int
    leave_waiting: int
    leave_return: int
    eval_breaker: int
    helpers: Mapping[str, int]
    symbol: Callable[[str], int]
    stack: int
    sees_others: bool = True
    stores: bool = True
    countdown: int = 0
    every: int = 0
    running: int = 0


@dataclass(slots=True)
class Emitter:
    """The text of one function while it grows."""

    region: Region
    target: Target
    records: Sequence[int]  # the address of each exit's native record
    lines: list[str] = field(default_factory=list)
    label: str = ""  # the LLVM block being written
    incoming: dict[int, list[tuple[str, tuple[Operand, ...]]]] = field(default_factory=dict)
    layouts: Sequence[Layout] = ()  # what each leave point stores
    return_points: dict[int, int] = field(default_factory=dict)  # block -> leave point, if it returns by the stub
    args: str = "%b"  # what is handed on as the second argument; the prologue may change it
    placement: Placement = field(default_factory=Placement)  # where a loop's frame has the slots; likewise
    function: int = 0  # the function that a body is of; likewise
    stale: dict[int, str] = field(default_factory=dict)  # slot -> whether it has been overwritten; likewise
    rounds: str = ""  # a variable with the polls until the run ends, if anybody counts them; likewise
    temporaries: int = 0
    used_exits: dict[int, None] = field(default_factory=dict)
    waits: dict[int, Value] = field(default_factory=dict)  # exit of a call -> what the callee has answered
    late: Mapping[Value, Op] = field(default_factory=dict)  # ops that are left to the exits
    following: Op | None = None  # the op behind the one that is being lowered
    lowered: set[Value] = field(default_factory=set)  # results of ops that were lowered with the one before
    lists_grow: bool = False  # whether an op makes a list longer or shorter
    keeps: bool = False  # whether objects may be kept until the region is left
    ends: bool = False  # whether it is asked who holds an object that is overwritten
    fills: bool = False  # whether there may be nothing in the place of a store
    copies: int = 2**32  # numbers for the results of their copies, beyond those of all values

    # Text

    def temporary(self) -> str:
        self.temporaries += 1
        return f"%t{self.temporaries}"

    def line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def let(self, text: str) -> str:
        """A new temporary with the value of an instruction."""
        name = self.temporary()
        self.lines.append(f"  {name} = {text}")
        return name

    def define(self, op: Op, text: str) -> None:
        """The op's result is the value of an instruction."""
        assert op.result is not None
        self.lines.append(f"  {name(op.result)} = {text}")

    def define_scalar(self, value: Value, text: str) -> None:
        """The value, not of kind `any`, is what has been computed already."""
        self.line(f"{name(value)} = {_COPIES[value.kind].format(text)}")

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def fresh_label(self) -> str:
        self.temporaries += 1
        return f"c{self.temporaries}"

    # Operands

    def use(self, operand: Operand) -> str:
        """The operand without its type; not for kind `any`."""
        return name(operand) if isinstance(operand, Value) else literal(operand.value)

    def typed(self, operand: Operand) -> str:
        kind = operand.kind
        assert kind is not None
        return f"{LLVM_TYPES[kind]} {self.use(operand)}"

    def tag(self, operand: Operand) -> str:
        """The tag half of a value of kind `any`."""
        assert isinstance(operand, Value)
        return f"{name(operand)}.tag"

    def bits(self, operand: Operand) -> str:
        """The other half."""
        assert isinstance(operand, Value)
        return f"{name(operand)}.bits"

    def halves(self, *operands: Operand) -> str:
        """Values that are a tag beside 64 bits, as arguments of a helper."""
        return ", ".join(f"i64 {half}" for each in operands for half in (self.tag(each), self.bits(each)))

    def c_function(self, symbol: str) -> str:
        return pointer(self.target.symbol(symbol))

    def helper(self, name: str) -> str:
        return pointer(self.target.helpers[name])

    def incref(self, address: str) -> None:
        """A reference more to an object, unless it is immortal (PEP 683: the low 32 bits are all ones)."""
        more = self.let(f"add i32 {self.let(f'load i32, ptr {address}')}, 1")
        immortal = self.let(f"icmp eq i32 {more}, 0")
        count, done = self.fresh_label(), self.fresh_label()
        self.line(f"br i1 {immortal}, label %{done}, label %{count}")
        self.start(count)
        self.line(f"store i32 {more}, ptr {address}")
        self.line(f"br label %{done}")
        self.start(done)

    # Control

    def exit(self, number: int) -> str:
        """The LLVM block of an exit, which is written if anything asks for it."""
        self.used_exits[number] = None
        return f"x{number}"

    def leave_unless(self, condition: str, op: Op) -> None:
        """Goes on if the condition (an i1) holds, else leaves through the op's exit."""
        assert op.exit is not None
        if self.target.every:
            condition = self._unless_forced(condition)
        label = self.fresh_label()
        self.line(f"br i1 {condition}, label %{label}, label %{self.exit(op.exit)}, !prof !0")
        self.start(label)

    def leave(self, op: Op) -> None:
        """Leaves through the op's exit."""
        assert op.exit is not None
        self.line(f"br label %{self.exit(op.exit)}")

    def _unless_forced(self, condition: str) -> str:
        """The condition of a guard that fails, although it holds, when the countdown is at its end."""
        countdown = pointer(self.target.countdown)
        left = self.let(f"add i64 {self.let(f'load i64, ptr {countdown}')}, -1")
        some = self.let(f"icmp ne i64 {left}, 0")
        self.line(f"store i64 {self.let(f'select i1 {some}, i64 {left}, i64 {self.target.every}')}, ptr {countdown}")
        return self.let(f"and i1 {condition}, {some}")

    def is_calm(self) -> str:
        """Whether the interpreter is asked for nothing: no signal has come, no other thread waits for its turn."""
        return self.let(f"icmp eq i32 {self.let(f'load volatile i32, ptr {pointer(self.target.eval_breaker)}')}, 0")

    def another_round(self, condition: str) -> str:
        """The condition of a poll; of one that ends the run, if it has gone on for long enough."""
        if not self.rounds:
            return condition
        left = self.let(f"add i64 {self.let(f'load i64, ptr {self.rounds}')}, -1")
        self.line(f"store i64 {left}, ptr {self.rounds}")
        return self.let(f"and i1 {condition}, {self.let(f'icmp ne i64 {left}, 0')}")

    def end_run(self) -> None:
        """Says that the region is left, if anybody was told that it runs. (Stubs do so on the other ways out.)"""
        if not self.target.running:
            return
        running = pointer(self.target.running)
        told, done = self.fresh_label(), self.fresh_label()
        # Volatile, since nobody in this process will ever read what stands there.
        trusted = self.let(f"icmp eq i64 {self.let(f'load volatile i64, ptr {running}')}, 0")
        self.line(f"br i1 {trusted}, label %{done}, label %{told}, !prof !0")
        self.start(told)
        self.line(f"store volatile i64 0, ptr {running}")
        self.line(f"br label %{done}")
        self.start(done)

    def edge(self, edge: Edge) -> None:
        """Notes that the LLVM block being written passes the edge's arguments."""
        self.incoming.setdefault(edge.target, []).append((self.label, edge.args))


def name(value: Value) -> str:
    return f"%v{value.number}"


def literal(value: object) -> str:
    """A constant that can be a machine value as one of LLVM's; of any other, the address."""
    match const_kind(value):
        case Kind.BOOL:
            return "true" if value else "false"
        case Kind.INT:
            return str(value)
        case Kind.FLOAT:
            return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
        case _:
            return pointer(id(value))


def pointer(address: int) -> str:
    return f"inttoptr (i64 {address} to ptr)"
