"""Removes checks that cannot fail any more, and branches whose way is known.

    b0(v0: int, v1: int):                  b0(v0: int, v1: int):
      v2: bool = int_lt v0, v1               v2: bool = int_lt v0, v1
      guard_true v2 | e0                     guard_true v2 | e0
      v3: int = int_add v0, 1 | e1           v3: int = int_add v0, 1 | e1
      v4: bool = int_lt v0, v1               jump b1()
      branch v4 b1() b2()                  b1():
    b1():                                    return v3
      v5: int = int_add v0, 1 | e2
      return v5
    b2():
      leave e0

One walk down the dominator tree with what is known so far; a fact that a block adds holds in the blocks that
it dominates and is taken back after them. Facts are: an op that may leave was done, with this result; a
condition is true, or false; a value of unknown kind has this tag. Equal operands are the same value or the
same object, so no two floats are mixed up.

Requirements on a new rule: what it puts in place of a result must be defined wherever the result was; a fact
learnt from an op holds after that op, one learnt from a branch holds in a block only if that edge is the only
way in. Loads are repeated only within a block, and not across a store, nor a poll or a call: other code may run there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.ir.flow import dominators, predecessors, successors
from minijit.ir.kinds import Kind
from minijit.ir.ops import TABLE, Effect
from minijit.ir.region import Block, Branch, Const, Jump, Op, Operand, Region, Terminator, Value
from minijit.ir.substitute import map_end, map_exit, map_op
from minijit.opt.prune import drop_unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Key = tuple[str, tuple[Operand, ...], Kind | None]


def imply(region: Region) -> Region:
    """The region without the checks and branches that are decided already."""
    after = successors(region)
    children = dominators(after).children
    walk = _Walk(predecessors(after), list(region.blocks))
    # A block is on the stack twice: to be walked, and, as its complement, to have its facts taken back.
    stack = [0]
    marks: list[tuple[int, int, int]] = []
    while stack:
        number = stack.pop()
        if number < 0:
            walk.rewind(*marks.pop())
            continue
        marks.append(walk.mark())
        walk.block(number)
        stack.append(~number)
        stack += children[number]
    return walk.result(region)


class _Scoped[K, V](dict[K, V]):
    """A dictionary that can be taken back to what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.trail: list[K] = []

    def add(self, key: K, value: V) -> None:
        if key not in self:
            self[key] = value
            self.trail.append(key)

    def rewind(self, length: int) -> None:
        while len(self.trail) > length:
            del self[self.trail.pop()]


@dataclass(slots=True)
class _Walk:
    """What is known at this point of the walk, and what has been made so far."""

    before: Sequence[Sequence[int]]
    blocks: list[Block]
    change: dict[Value, Operand] = field(default_factory=dict)
    origin: dict[Operand, Op] = field(default_factory=dict)
    done: _Scoped[Key, Value | None] = field(default_factory=_Scoped)
    truth: _Scoped[Operand, bool] = field(default_factory=_Scoped)
    tags: _Scoped[Operand, str] = field(default_factory=_Scoped)
    loads: dict[Key, Value] = field(default_factory=dict)
    has_folded: bool = False

    def mark(self) -> tuple[int, int, int]:
        return len(self.done.trail), len(self.truth.trail), len(self.tags.trail)

    def rewind(self, done: int, truth: int, tags: int) -> None:
        self.done.rewind(done)
        self.truth.rewind(truth)
        self.tags.rewind(tags)

    def block(self, number: int) -> None:
        block = self.blocks[number]
        self.learn_way_in(number)
        self.loads.clear()
        ops: list[Op] = []
        for op in block.ops:
            if self.change:
                op = map_op(op, self.change)
            rule = RULES.get(op.name)
            if rule is None or rule(self, op):
                ops.append(op)
        self.blocks[number] = Block(block.params, tuple(ops), self.end(block.end))

    def learn_way_in(self, number: int) -> None:
        """A block with one way in knows how the branch before it went."""
        if len(self.before[number]) != 1:
            return
        match self.blocks[self.before[number][0]].end:
            case Branch(condition, then, _):
                self.learn(condition, then.target == number)

    def end(self, end: Terminator) -> Terminator:
        end = map_end(end, self.change)
        match end:
            case Branch(condition, then, otherwise) if (known := self.known(condition)) is not None:
                self.has_folded = True
                return Jump(then if known else otherwise)
        return end

    def known(self, condition: Operand) -> bool | None:
        if isinstance(condition, Const):
            return condition.value is True
        return self.truth.get(condition)

    def learn(self, condition: Operand, truth: bool) -> None:
        """The condition is true or false from here on, and so is what it is made from."""
        self.truth.add(condition, truth)
        made = self.origin.get(condition)
        if made is None:
            return
        if made.name == "bool_not":
            self.learn(made.args[0], not truth)
        elif made.name == ("bool_and" if truth else "bool_or"):
            self.learn(made.args[0], truth)
            self.learn(made.args[1], truth)
        elif truth and made.name in TESTS:
            self.tags.add(made.args[0], TESTS[made.name])

    def result(self, region: Region) -> Region:
        exits = region.exits
        if self.change:
            exits = tuple([map_exit(exit, self.change) for exit in exits])
        made = Region(region.name, region.point, region.entry_kinds, tuple(self.blocks), exits)
        return drop_unreachable(made) if self.has_folded else made


# The rules: each says whether its op stays.


def _repeated(walk: _Walk, op: Op) -> bool:
    """An op that may leave and got past that before gives what it gave before, if it gives anything."""
    key = (op.name, op.args, None if op.result is None else op.result.kind)
    if key not in walk.done:
        walk.done.add(key, op.result)
        return True
    before = walk.done[key]
    if op.result is not None and before is not None:
        walk.change[op.result] = before
    return False


def _made_condition(walk: _Walk, op: Op) -> bool:
    """As `_repeated`; and what is learnt of the result says something of the operands."""
    assert op.result is not None
    walk.origin[op.result] = op
    return _repeated(walk, op)


def _guard(walk: _Walk, op: Op) -> bool:
    condition = op.args[0]
    wanted = op.name == "guard_true"
    if walk.known(condition) is wanted:
        return False
    walk.learn(condition, wanted)
    return True


def _pack(walk: _Walk, op: Op) -> bool:
    assert op.result is not None
    walk.origin[op.result] = op
    walk.tags.add(op.result, op.name.removeprefix("pack_"))
    return True


def _test(walk: _Walk, op: Op) -> bool:
    """A tag is one of its kind: to know it is to know the answer to each test."""
    assert op.result is not None
    tag = walk.tags.get(op.args[0])
    if tag is None:
        return _made_condition(walk, op)
    walk.change[op.result] = Const(tag == TESTS[op.name])
    return False


def _unpack(walk: _Walk, op: Op) -> bool:
    assert op.result is not None
    value, tag = op.args[0], op.name.removeprefix("unpack_")
    made = walk.origin.get(value)
    if made is not None and made.name == f"pack_{tag}":
        walk.change[op.result] = made.args[0]
        return False
    walk.tags.add(value, tag)
    return _repeated(walk, op)


def _load(walk: _Walk, op: Op) -> bool:
    assert op.result is not None
    key = (op.name, op.args, op.result.kind)
    before = walk.loads.setdefault(key, op.result)
    if before is op.result:
        return True
    walk.change[op.result] = before
    return False


def _forgets(walk: _Walk, op: Op) -> bool:  # noqa: ARG001 - all rules take the op
    walk.loads.clear()
    return True


TESTS = {f"is_{tag}": tag for tag in ("int", "float", "bool", "none")}


def _rules() -> dict[str, Callable[[_Walk, Op], bool]]:
    # Pure ops are LLVM's to share, except for the conditions that facts are about.
    rules: dict[str, Callable[[_Walk, Op], bool]] = {
        name: _repeated
        for name, row in TABLE.items()
        if row.effect is Effect.GUARD or (row.effect is Effect.PURE and row.result is Kind.BOOL)
    }
    rules |= dict.fromkeys(("bool_not", "bool_and", "bool_or"), _made_condition)
    rules |= dict.fromkeys(("guard_true", "guard_false"), _guard)
    rules |= dict.fromkeys((f"pack_{tag}" for tag in ("int", "float", "bool", "none", "unbound")), _pack)
    rules |= dict.fromkeys(TESTS, _test)
    rules |= dict.fromkeys((f"unpack_{tag}" for tag in ("int", "float", "bool")), _unpack)
    rules |= {name: _forgets for name, row in TABLE.items() if row.effect in (Effect.STORE, Effect.POLL)}
    rules |= {name: _load for name, row in TABLE.items() if row.effect in (Effect.LOAD, Effect.READ) and row.has_result}
    return rules


RULES = _rules()
