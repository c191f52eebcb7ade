"""Looks at the eval breaker less often than at each back edge, where nobody can tell.

Loops over ranges are cut into strips: the inner loop runs to the end of a strip and does not poll, the outer one does.

    b1(v1: int, v2: int):                      b1(v1: int, v2: int):
      v3: bool = int_ne v1, v2                   v3: bool = int_ne v1, v2
      branch v3 b2() b3()                        branch v3 b4() b3()
    b2():                                      b2():
      v4: int = int_add_wrap v1, 1               v4: int = int_add_wrap v5, 1
      poll | e0                                  v8: bool = int_ne v4, v7
      jump b1(v4, v2)                            branch v8 b5(v4, v6, v7) b6()
                                               b4():
                                                 v9: int = int_sub_wrap v2, v1
                                                 v10: int = int_min v9, 64
                                                 v11: int = int_add_wrap v1, v10
                                                 jump b5(v1, v2, v11)
                                               b5(v5: int, v6: int, v7: int):
                                                 jump b2()
                                               b6():
                                                 poll_strip v10 | e0
                                                 jump b1(v4, v6)

What sets the eval breaker during a strip is another thread, or a signal: either may as well come a little later. That
holds only where the loop itself cannot set it, as whatever runs other code or allocates can; so such loops are left
alone, and those with loops in them. Strips are HotSpot's way to have both counted loops and safepoints.

And the poll at a back edge becomes a mere `round` if each of these makes a call of machine code before it does anything
that can be seen: there the eval breaker is looked at, too.

Runs after `iterators`, which gives loops over ranges their ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from minijit.ir.flow import UNREACHABLE, dominators, predecessors, successors
from minijit.ir.kinds import Kind
from minijit.ir.ops import TABLE, Effect
from minijit.ir.region import (
    Block,
    Branch,
    Const,
    Edge,
    Jump,
    Leave,
    Op,
    Region,
    Return,
    Value,
    edges,
    exit_values,
    last_number,
    slot_operands,
)
from minijit.ir.substitute import map_edge, map_end, map_exit, map_op
from minijit.opt.rounds import ADD, SUB, moved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minijit.ir.flow import Dominators
    from minijit.ir.region import Operand

STRIP = 64
"""How many rounds a strip has: a microsecond or so of the loops that this is about."""
_UNSEEN = frozenset({Effect.PURE, Effect.GUARD})
_ALONE = _UNSEEN | {Effect.LOAD, Effect.READ}


@dataclass(frozen=True, slots=True)
class _Loop:
    """The blocks of a loop by their numbers: the header, those that jump back to it, and all of them."""

    header: int
    latches: tuple[int, ...]
    body: frozenset[int]


def polls(region: Region) -> Region:
    """The region with fewer polls."""
    if not any(op.name == "poll" for block in region.blocks for op in block.ops):
        return region
    for loop in _loops(region):
        if _polls_once(region, loop) and _always_calls(region, loop):
            region = _uncalled_for(region, loop)
    # A loop that has been cut has another shape from then on.
    while (cut := next(filter(None, (_cut(region, loop) for loop in _loops(region))), None)) is not None:
        region = cut
    return region


def _loops(region: Region) -> Iterator[_Loop]:
    """The natural loops (Aho and others, Compilers, 9.6)."""
    after = successors(region)
    before, tree = predecessors(after), dominators(after)
    for header, sources in enumerate(before):
        latches = tuple(dict.fromkeys(each for each in sources if _is_above(tree, header, each)))
        if not latches:
            continue
        body, open_ = {header, *latches}, [each for each in latches if each != header]
        while open_:
            found = [each for each in before[open_.pop()] if tree.parent[each] != UNREACHABLE and each not in body]
            body.update(found)
            open_ += found
        yield _Loop(header, latches, frozenset(body))


def _is_above(tree: Dominators, above: int, below: int) -> bool:
    return UNREACHABLE not in (tree.parent[above], tree.parent[below]) and tree.dominates(above, below)


def _polls_once(region: Region, loop: _Loop) -> bool:
    """Whether each way back to the header ends with the only poll on it, but for what cannot be seen."""
    for number in loop.latches:
        block = region.blocks[number]
        at = [k for k, op in enumerate(block.ops) if op.name == "poll"]
        if not isinstance(block.end, Jump) or len(at) != 1:
            return False
        if any(TABLE[op.name].effect is not Effect.PURE for op in block.ops[at[0] + 1 :]):
            return False
    return True


def _uncalled_for(region: Region, loop: _Loop) -> Region:
    """The region that only counts the rounds of the loop."""
    blocks = list(region.blocks)
    for number in loop.latches:
        block = blocks[number]
        ops = (replace(op, name="round") if op.name == "poll" else op for op in block.ops)
        blocks[number] = replace(block, ops=tuple(ops))
    return replace(region, blocks=tuple(blocks))


# Loops that call


def _always_calls(region: Region, loop: _Loop) -> bool:
    """Whether all ways from the header to its polls make a call before anything that can be seen."""
    open_, seen = [loop.header], {loop.header}
    while open_:
        block = region.blocks[open_.pop()]
        first = next((op for op in block.ops if TABLE[op.name].effect not in _UNSEEN), None)
        if first is not None:
            if first.name != "room":
                return False
            continue
        found = {edge.target for edge in edges(block.end)} & loop.body - seen
        seen |= found
        open_ += found
    return True


# Strips


@dataclass(frozen=True, slots=True)
class _Counted:
    """The header of a loop over a range: the positions of its parameters with the next value and with the end, and the
    step."""

    next: int
    end: int
    step: int


def _cut(region: Region, loop: _Loop) -> Region | None:
    """The region with one loop in strips; None where it is not to be."""
    effects = {
        TABLE[op.name].effect
        for number in loop.body
        for op in region.blocks[number].ops
        if op.name != "poll" or number not in loop.latches
    }
    if not effects <= _ALONE or not _polls_once(region, loop):
        return None
    counted = _counted(region, loop)
    inner = None if counted is None else _inner(region, loop)
    return None if counted is None or inner is None else _Cut(region, loop, counted, inner).result()


def _counted(region: Region, loop: _Loop) -> _Counted | None:
    header = region.blocks[loop.header]
    end = header.end
    if not isinstance(end, Branch) or end.then.target not in loop.body or end.otherwise.target in loop.body:
        return None
    if any(TABLE[op.name].effect is not Effect.PURE for op in header.ops):
        return None
    test = next((op for op in header.ops if op.result == end.condition and op.name == "int_ne"), None)
    if test is None or not all(isinstance(each, Value) and each in header.params for each in test.args):
        return None
    following, stop = (header.params.index(each) for each in test.args if isinstance(each, Value))
    made = {op.result: op for block in region.blocks for op in block.ops if op.name in (ADD, SUB)}
    rounds = [edge for latch in loop.latches for edge in edges(region.blocks[latch].end)]
    steps = {moved(edge.args[following], header.params[following], ADD, made) for edge in rounds}
    stays = all(edge.args[stop] == header.params[stop] for edge in rounds)
    step = steps.pop()
    if steps or not stays or step not in (1, -1):
        return None
    # What a range iterator has left is never negative.
    if not any(op.name == SUB and op.args == test.args[::-step] for op in header.ops):
        return None
    return _Counted(following, stop, step)


def _inner(region: Region, loop: _Loop) -> frozenset[int] | None:
    """The blocks that have the inner loop's values: its own, and those that it is left for. None where one of these
    looks at the header's values and is come to from the header's other side, too."""
    header = region.blocks[loop.header]
    assert isinstance(header.end, Branch)
    left = _reached(region, loop.body - {loop.header}, loop.header)
    both = left & _reached(region, frozenset((header.end.otherwise.target,)), loop.header)
    values = {*header.params, *(op.result for op in header.ops)}
    return None if any(values & _used(region, region.blocks[number]) for number in both) else left - both


def _reached(region: Region, start: frozenset[int], header: int) -> frozenset[int]:
    """Blocks that are come to from some, without another round."""
    found, open_ = set(start), list(start)
    while open_:
        for edge in edges(region.blocks[open_.pop()].end):
            if edge.target != header and edge.target not in found:
                found.add(edge.target)
                open_.append(edge.target)
    return frozenset(found)


def _used(region: Region, block: Block) -> set[Operand]:
    """What a block looks at."""
    exits = [op.exit for op in block.ops if op.exit is not None]
    found: set[Operand] = {arg for op in block.ops for arg in op.args}
    match block.end:
        case Leave(exit):
            exits.append(exit)
        case Return(value):
            found.update(slot_operands(value))
        case Branch(condition):
            found.add(condition)
    found.update(arg for edge in edges(block.end) for arg in edge.args)
    return found.union(*(exit_values(region.exits[exit]) for exit in exits))


class _Cut:
    """Cuts one loop: its header stays as the outer loop's, and a copy of it begins the inner loop, whose blocks have
    the copy's values in place of the header's."""

    def __init__(self, region: Region, loop: _Loop, counted: _Counted, inner: frozenset[int]) -> None:
        self.region, self.loop, self.counted, self.inner = region, loop, counted, inner
        self.header = region.blocks[loop.header]
        self.blocks, self.exits = list(region.blocks), list(region.exits)
        self.numbers = count(1 + last_number(region))
        self.strip, self.rounds = self.new(Kind.INT), self.new(Kind.INT)
        made = [op.result for op in self.header.ops if op.result is not None]
        self.copies: dict[Value, Operand] = {value: self.new(value.kind) for value in (*self.header.params, *made)}

    def new(self, kind: Kind) -> Value:
        return Value(next(self.numbers), kind)

    def result(self) -> Region:
        inner = len(self.blocks) + 1
        for number in self.inner:
            block = self.blocks[number]
            ops = tuple(map(self.within, block.ops))
            end = block.end
            leaving = Leave(self.leaving(end.exit)) if isinstance(end, Leave) else map_end(end, self.copies)
            self.blocks[number] = Block(block.params, ops, leaving)
        end = self.header.end
        assert isinstance(end, Branch)
        outer = Block(self.header.params, self.header.ops, Branch(end.condition, Edge(inner - 1, ()), end.otherwise))
        self.blocks[self.loop.header] = outer
        self.blocks.append(self.beginning(inner))
        params = tuple(self.copied(param) for param in self.header.params)
        again = (replace(map_op(op, self.copies), result=self.copied(op.result)) for op in self.header.ops if op.result)
        self.blocks.append(Block((*params, self.strip), tuple(again), Jump(map_edge(end.then, self.copies))))
        for number in self.loop.latches:
            self.end_round(number, inner)
        return replace(self.region, blocks=tuple(self.blocks), exits=tuple(self.exits))

    def copied(self, value: Value) -> Value:
        copy = self.copies[value]
        assert isinstance(copy, Value)
        return copy

    def within(self, op: Op) -> Op:
        """An op of the inner loop."""
        exit = None if op.exit is None else self.leaving(op.exit)
        return replace(map_op(op, self.copies), exit=exit)

    def leaving(self, exit: int) -> int:
        """The exit with the inner loop's values: another one, since the outer loop may have it, too."""
        self.exits.append(map_exit(self.exits[exit], self.copies))
        return len(self.exits) - 1

    def beginning(self, inner: int) -> Block:
        """The block before a strip."""
        start, end = (self.header.params[k] for k in (self.counted.next, self.counted.end))
        left, strip = self.new(Kind.INT), self.new(Kind.INT)
        ops = (
            Op(SUB, (end, start) if self.counted.step == 1 else (start, end), left),
            Op("int_min", (left, Const(STRIP)), self.rounds),
            Op(ADD if self.counted.step == 1 else SUB, (start, self.rounds), strip),
        )
        return Block((), ops, Jump(Edge(inner, (*self.header.params, strip))))

    def end_round(self, number: int, inner: int) -> None:
        """Has a block that ended a round go on with the strip, or poll at the end of that."""
        block = self.blocks[number]
        (edge,) = edges(block.end)
        goes_on = self.new(Kind.BOOL)
        test = Op("int_ne", (edge.args[self.counted.next], self.strip), goes_on)
        ops = (*(op for op in block.ops if op.name != "poll"), test)
        (poll,) = (op for op in block.ops if op.name == "poll")
        end = Branch(goes_on, Edge(inner, (*edge.args, self.strip)), Edge(len(self.blocks), ()))
        self.blocks[number] = Block(block.params, ops, end)
        polls_again = Op("poll_strip", (self.rounds,), None, poll.exit)
        self.blocks.append(Block((), (polls_again,), Jump(edge)))
