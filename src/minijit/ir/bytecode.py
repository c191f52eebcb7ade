"""Decoded bytecode: what recorder and builder both know about a code object before anything ran.

In: a code object of CPython 3.12. Out: a `Code` with its instructions by offset (the offset at which execution of the
instruction starts, before any EXTENDED_ARG), the joins, the depth of the value stack at each reachable offset, the
locals that are live there, and the loops. Every instruction that an exception handler is for may lead there.
"""

from __future__ import annotations

import dis
import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from minijit.ir import codeflags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType

_EXTENDED_ARG = dis.opmap["EXTENDED_ARG"]
_CACHE = dis.opmap["CACHE"]
_BACKWARD = {"JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
_STOPS = {"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"}
_UNCONDITIONAL = {"JUMP_FORWARD", *_BACKWARD}
_READS = {"LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_AND_CLEAR", "DELETE_FAST"}
_NAME_WRITES = {"STORE_NAME", "STORE_GLOBAL", "DELETE_NAME", "DELETE_GLOBAL"}
_NAME_READS = {"LOAD_NAME", "LOAD_GLOBAL"}
_WITH_A_FLAG = {"LOAD_GLOBAL", "LOAD_ATTR"}
"""Their argument says of a name, in the lowest bit, whether it is for a call."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `target` is where a jump goes; `next` the offset of the instruction behind it."""

    offset: int
    name: str
    opcode: int
    arg: int
    next: int
    target: int | None


@dataclass(frozen=True, slots=True)
class Loop:
    """A natural loop: the offset of its header and the offsets of all its instructions."""

    header: int
    body: frozenset[int]


class Handler(NamedTuple):
    """Where what is raised goes on, with so much of the value stack (`depth`), whatever says where it was raised if it
    `has_place`, and the exception on top."""

    target: int
    depth: int
    has_place: bool


@dataclass(frozen=True)
class Code:
    """A decoded code object."""

    code: CodeType
    instructions: Mapping[int, Instruction]

    @property
    def locals_count(self) -> int:
        """How many slots stand before the value stack: locals, cells and free variables."""
        return len(self.slot_names)

    @cached_property
    def slot_names(self) -> tuple[str, ...]:
        code = self.code
        cells = tuple(name for name in code.co_cellvars if name not in code.co_varnames)
        return code.co_varnames + cells + code.co_freevars

    def name(self, instruction: Instruction) -> str:
        """The name that an instruction has to do with: in a namespace, or of an attribute that is read."""
        return self.code.co_names[instruction.arg >> (instruction.name in _WITH_A_FLAG)]

    @cached_property
    def called_locals(self) -> frozenset[int]:
        """The locals that are called somewhere as they are."""
        pairs = itertools.pairwise(self.instructions.values())
        return frozenset(load.arg for before, load in pairs if before.name == "PUSH_NULL" and load.name == "LOAD_FAST")

    @property
    def is_optimized(self) -> bool:
        """Whether the locals are slots of the frame, as a function's are; a module's stand in its namespace."""
        return bool(self.code.co_flags & codeflags.OPTIMIZED)

    @property
    def is_plain(self) -> bool:
        """A function's that takes so many arguments and no others, runs to its end at once, and makes no variables that
        functions within it share."""
        code = self.code
        unsuitable = codeflags.VARARGS | codeflags.VARKEYWORDS | codeflags.SUSPENDING
        return self.is_optimized and not (code.co_flags & unsuitable or code.co_cellvars)

    @cached_property
    def written_names(self) -> frozenset[str]:
        """The names that the code binds or deletes in a namespace."""
        return frozenset(self._names(self.instructions, _NAME_WRITES))

    def loop_names(self, header: int) -> tuple[str, ...]:
        """The names that are to a loop what locals are: those that it uses and that are written again and again.

        What is written outside of loops is written once where the code is a module's.
        """
        written = self.written_names
        if not self.is_optimized:
            around = [loop.body for loop in self.loops.values() if header in loop.body]
            written = frozenset(name for body in around for name in self._names(body, _NAME_WRITES))
        used = self._names(sorted(self.loops[header].body), _NAME_READS | _NAME_WRITES)
        return tuple(dict.fromkeys(name for name in used if name in written))

    def _names(self, offsets: Iterable[int], which: set[str]) -> Iterator[str]:
        for offset in offsets:
            if self.instructions[offset].name in which:
                yield self.name(self.instructions[offset])

    def successors(self, instruction: Instruction) -> Iterator[int]:
        """The offsets that may follow, exceptions apart."""
        if instruction.name in _STOPS:
            return
        if instruction.name not in _UNCONDITIONAL:
            yield instruction.next
        if instruction.target is not None:
            yield instruction.target

    def followers(self, offset: int) -> Iterator[int]:
        """The same of the instruction at an offset, and where a handler for it begins."""
        yield from self.successors(self.instructions[offset])
        handler = self.handler(offset)
        if handler is not None:
            yield handler.target

    @cached_property
    def depths(self) -> Mapping[int, int]:
        """The depth of the value stack before each instruction that can be reached from the start."""
        depths: dict[int, int] = {}
        work = [(0, 0)]
        while work:
            offset, depth = work.pop()
            if offset in depths:
                continue
            depths[offset] = depth
            instruction = self.instructions[offset]
            for follower in self.successors(instruction):
                jumps = follower != instruction.next
                work.append((follower, depth + _effect(instruction, jumps)))
            handler = self.handler(offset)
            if handler is not None:
                work.append((handler.target, handler.depth + handler.has_place + 1))
        return depths

    @cached_property
    def predecessors(self) -> Mapping[int, tuple[int, ...]]:
        found: dict[int, list[int]] = {offset: [] for offset in self.depths}
        for offset in self.depths:
            for follower in self.followers(offset):
                found[follower].append(offset)
        return {offset: tuple(before) for offset, before in found.items()}

    @cached_property
    def joins(self) -> frozenset[int]:
        """The offsets that are reached from more than one place, and the loop headers."""
        many = {offset for offset, before in self.predecessors.items() if len(before) > 1}
        return frozenset(many | set(self.loops))

    @cached_property
    def loops(self) -> Mapping[int, Loop]:
        """The natural loops by header offset."""
        latches: dict[int, list[int]] = {}
        for offset, header in self._back_edges():
            latches.setdefault(header, []).append(offset)
        return {header: Loop(header, self._body(header, ends)) for header, ends in sorted(latches.items())}

    def _back_edges(self) -> Iterator[tuple[int, int]]:
        """The jumps to what is under way when they are met, depth first (Tarjan, "Depth-first search and linear graph
        algorithms", SIAM J. Comput. 1972). Other jumps backward lead from a handler to what follows its `try`."""
        under_way, seen = {0}, {0}
        path = [(0, self.followers(0))]
        while path:
            offset, followers = path[-1]
            follower = next(followers, None)
            if follower is None:
                path.pop()
                under_way.remove(offset)
            elif follower in under_way and self.instructions[offset].name == "JUMP_BACKWARD":
                yield offset, follower
            elif follower not in seen:
                seen.add(follower)
                under_way.add(follower)
                path.append((follower, self.followers(follower)))

    def _body(self, header: int, latches: list[int]) -> frozenset[int]:
        body = {header}
        work = list(latches)
        while work:
            offset = work.pop()
            if offset not in body:
                body.add(offset)
                work.extend(self.predecessors[offset])
        return frozenset(body)

    @cached_property
    def live(self) -> Mapping[int, int]:
        """For each offset the locals that may be read before they are written, as a bit mask."""
        live = dict.fromkeys(self.depths, 0)
        work = sorted(self.depths)
        while work:
            offset = work.pop()
            instruction = self.instructions[offset]
            after = 0
            for follower in self.successors(instruction):
                after |= live[follower]
            # What is raised may come before the write, or behind it.
            handler = self.handler(offset)
            before = _live_before(instruction, after) | (live[handler.target] if handler is not None else 0)
            if before != live[offset]:
                live[offset] = before
                work.extend(self.predecessors[offset])
        return live

    def handler(self, offset: int) -> Handler | None:
        """The handler for what is raised at an offset, if there is one."""
        return self._handlers.get(offset)

    @cached_property
    def _handlers(self) -> Mapping[int, Handler]:
        entries = dis.Bytecode(self.code).exception_entries  # type: ignore[attr-defined]  # typeshed has no word of it
        return {
            offset: Handler(entry.target, entry.depth, entry.lasti)
            for entry in entries
            for offset in range(entry.start, entry.end, 2)
        }

    def line(self, offset: int) -> int | None:
        """The source line of the instruction at an offset."""
        return self._lines.get(offset)

    @cached_property
    def _lines(self) -> dict[int, int]:
        return {
            offset: line
            for start, end, line in self.code.co_lines()
            if line is not None
            for offset in range(start, end, 2)
        }


def _live_before(instruction: Instruction, after: int) -> int:
    bit = 1 << instruction.arg
    if instruction.name in _READS:
        return after | bit
    if instruction.name == "STORE_FAST":
        return after & ~bit
    return after


def _effect(instruction: Instruction, jumps: bool) -> int:
    if instruction.name == "FOR_ITER":
        return -1 if jumps else 1
    if instruction.name == "RETURN_GENERATOR":
        return 1  # what the generator is resumed with; `dis` has it on the stack from the start
    arg = instruction.arg if instruction.opcode >= dis.HAVE_ARGUMENT else None
    return dis.stack_effect(instruction.opcode, arg, jump=jumps)


def decode(code: CodeType) -> Code:
    """Decodes a code object."""
    return Code(code, {instruction.offset: instruction for instruction in _instructions(code.co_code)})


def _instructions(text: bytes) -> Iterator[Instruction]:
    start, arg = 0, 0
    position = 0
    while position < len(text):
        opcode, arg = text[position], (arg << 8) | text[position + 1]
        position += 2
        if opcode == _EXTENDED_ARG:
            continue
        while position < len(text) and text[position] == _CACHE:
            position += 2
        name = dis.opname[opcode]
        yield Instruction(start, name, opcode, arg, position, _target(name, opcode, arg, position))
        start, arg = position, 0


def _target(name: str, opcode: int, arg: int, following: int) -> int | None:
    if opcode not in dis.hasjrel:
        return None
    if name in _BACKWARD:
        return following - 2 * arg
    if name == "FOR_ITER":
        # An exhausted iterator also skips the END_FOR that the jump names.
        return following + 2 * arg + 2
    return following + 2 * arg
