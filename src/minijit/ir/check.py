"""The verifier: whether a region is one, by a table of rules that know nothing of whoever made it.

In: any region. Out: its problems, each with the name of the rule that it breaks. `SHAPE` comes first: what it
checks is what the other rules take for granted, so if it finds something they are not asked. A rule is a
function that yields the place and a sentence for each violation; a test has a region for every rule that
breaks only that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.events import ExitReason
from minijit.ir.flow import UNREACHABLE, Dominators, dominators, predecessors, successors
from minijit.ir.kinds import BODY_KINDS, GENERAL, INPUT_FIELDS, ITERATED, EntryKind, Kind
from minijit.ir.ops import TABLE, Row
from minijit.ir.region import (
    Branch,
    Composite,
    Const,
    Entry,
    EntryPoint,
    Hole,
    ItemIterator,
    Leave,
    LoopIterator,
    Op,
    Operand,
    RangeIterator,
    Reference,
    Region,
    Return,
    Slot,
    Value,
    VirtualInstance,
    VirtualRange,
    edges,
    exit_values,
    slot_operands,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Found = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule that a region breaks, and where."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.rule}]"


class InvalidRegion(Exception):
    """A stage made a region that breaks a rule: a bug in that stage."""

    def __init__(self, name: str, after: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(f"{name} after {after}: {'; '.join(map(str, problems))}")
        self.after = after
        self.problems = problems


def check_region(region: Region) -> tuple[Problem, ...]:
    """What is wrong with a region: nothing, if it is valid."""
    problems = [Problem(name, *found) for name, rule in SHAPE.items() for found in rule(region)]
    if not problems:
        facts = _facts(region)
        problems = [Problem(name, *found) for name, rule in RULES.items() for found in rule(facts)]
    return tuple(problems)


def require_valid(region: Region, after: str) -> None:
    """Raises `InvalidRegion` for a region that breaks a rule; `after` names the stage that made it."""
    problems = check_region(region)
    if problems:
        raise InvalidRegion(region.name, after, problems)


# What the rules look at


@dataclass(frozen=True, slots=True)
class Place:
    """A point in a block: its op `position`. Parameters are at -1, the terminator is after the last op."""

    block: int
    position: int

    def __str__(self) -> str:
        return f"b{self.block}" if self.position < 0 else f"b{self.block}.{self.position}"


@dataclass(frozen=True, slots=True)
class _Facts:
    """A region of sound shape, with what is worth computing once."""

    region: Region
    defined: dict[Value, Place]
    tree: Dominators
    before: list[list[int]]

    def ops(self) -> Iterator[tuple[Place, Op, Row]]:
        for number, block in enumerate(self.region.blocks):
            for position, op in enumerate(block.ops):
                yield Place(number, position), op, TABLE[op.name]

    def is_reachable(self, block: int) -> bool:
        return self.tree.parent[block] != UNREACHABLE

    def is_known(self, value: Value, at: Place) -> bool:
        """Whether the value has been defined on every path to this place."""
        where = self.defined.get(value)
        if where is None:
            return False
        if where.block == at.block:
            return where.position < at.position
        if not (self.is_reachable(where.block) and self.is_reachable(at.block)):
            return True  # the rule about unreachable blocks has it
        return self.tree.dominates(where.block, at.block)

    def exits(self) -> Iterator[tuple[Place, int]]:
        """Each use of an exit."""
        for place, op, _ in self.ops():
            if op.exit is not None:
                yield place, op.exit
        for number, block in enumerate(self.region.blocks):
            if isinstance(block.end, Leave):
                yield Place(number, len(block.ops)), block.end.exit

    def slots(self) -> Iterator[tuple[str, Slot]]:
        """Every slot of an exit or a return, the items of virtual tuples included."""
        for number, exit in enumerate(self.region.exits):
            for slot in exit.frame.slots():
                yield from ((f"e{number}", inner) for inner in _nested(slot))
        for number, block in enumerate(self.region.blocks):
            if isinstance(block.end, Return):
                yield from ((f"b{number}", inner) for inner in _nested(block.end.value))


def _facts(region: Region) -> _Facts:
    defined: dict[Value, Place] = {}
    for number, block in enumerate(region.blocks):
        for param in block.params:
            defined.setdefault(param, Place(number, -1))
        for position, op in enumerate(block.ops):
            if op.result is not None:
                defined.setdefault(op.result, Place(number, position))
    after = successors(region)
    return _Facts(region, defined, dominators(after), predecessors(after))


def _nested(slot: Slot) -> Iterator[Slot]:
    yield slot
    if isinstance(slot, Composite):
        for part in slot.parts:
            yield from _nested(part)


# Shape


def _blocks(region: Region) -> Found:
    if not region.blocks:
        yield "region", "there is no block"


def _targets(region: Region) -> Found:
    for number, block in enumerate(region.blocks):
        for edge in edges(block.end):
            if not 0 <= edge.target < len(region.blocks):
                yield f"b{number}", f"an edge to b{edge.target}, which does not exist"


def _known_ops(region: Region) -> Found:
    for number, block in enumerate(region.blocks):
        for op in block.ops:
            if op.name not in TABLE:
                yield f"b{number}", f"there is no op {op.name}"


def _exits(region: Region) -> Found:
    for number, block in enumerate(region.blocks):
        used = [op.exit for op in block.ops]
        if isinstance(block.end, Leave):
            used.append(block.end.exit)
        for exit in used:
            if exit is not None and not 0 <= exit < len(region.exits):
                yield f"b{number}", f"there is no exit e{exit}"


SHAPE: dict[str, Callable[[Region], Found]] = {
    "blocks": _blocks,
    "targets": _targets,
    "known_ops": _known_ops,
    "exits": _exits,
}


# Definitions and uses


def _defined_once(facts: _Facts) -> Found:
    seen: set[int] = set()
    for number, block in enumerate(facts.region.blocks):
        for value in (*block.params, *(op.result for op in block.ops)):
            if value is None:
                continue
            if value.number in seen:
                yield f"b{number}", f"v{value.number} is defined again"
            seen.add(value.number)


def _dominance(facts: _Facts) -> Found:
    for place, op, _ in facts.ops():
        yield from _unknown(facts, place, op.args)
    for number, block in enumerate(facts.region.blocks):
        place = Place(number, len(block.ops))
        if isinstance(block.end, Branch):
            yield from _unknown(facts, place, (block.end.condition,))
        if isinstance(block.end, Return):
            yield from _unknown(facts, place, slot_operands(block.end.value))
        for edge in edges(block.end):
            yield from _unknown(facts, place, edge.args)


def _unknown(facts: _Facts, place: Place, operands: Iterable[Operand]) -> Found:
    for operand in operands:
        if isinstance(operand, Value) and not facts.is_known(operand, place):
            yield str(place), f"v{operand.number} is used where it may not be defined"


def _snapshots(facts: _Facts) -> Found:
    for place, exit in facts.exits():
        for value in exit_values(facts.region.exits[exit]):
            if not facts.is_known(value, place):
                yield str(place), f"e{exit} needs v{value.number}, which may not be defined here"


# Kinds


def _operands(facts: _Facts) -> Found:
    for place, op, row in facts.ops():
        rest = len(op.args) - len(row.params)
        if rest < 0 or (rest and not row.further):
            yield str(place), f"{op.name} takes {len(row.params)} operands, not {len(op.args)}"
            continue
        for kind, arg in zip(row.params, op.args, strict=False):
            if kind is not None and not _is_of(kind, arg):
                yield str(place), f"{op.name} takes {kind.value}, not {_kind(arg)}"
        for arg in op.args[len(row.params) :]:
            if not any(_is_of(kind, arg) for kind in row.further):
                yield str(place), f"{op.name} takes numbers, not {_kind(arg)}"


def _is_of(kind: Kind, operand: Operand) -> bool:
    """Whether an op that takes this kind takes the operand: any constant is an object."""
    if kind is Kind.ANY and operand.kind is Kind.NUMBER:
        return True
    return operand.kind is kind or (kind is Kind.OBJECT and isinstance(operand, Const) and operand.kind is None)


def _objects(facts: _Facts) -> Found:
    for place, op, row in facts.ops():
        for kind, arg in zip(row.params, op.args, strict=False):
            if kind is None and not isinstance(arg, Const):
                yield str(place), f"{op.name} takes a constant"
            elif row.slots and not _is_object_slot(facts.region, arg):
                yield str(place), f"{op.name} takes the number of a slot of the frame that holds any object"


def _is_object_slot(region: Region, arg: Operand) -> bool:
    kinds = dict(enumerate(region.entry_kinds))
    is_object = isinstance(arg, Const) and type(arg.value) is int and kinds.get(arg.value) is EntryKind.OBJECT
    return is_object and region.point is not EntryPoint.BODY


def _results(facts: _Facts) -> Found:
    for place, op, row in facts.ops():
        if (op.result is not None) != row.has_result:
            yield str(place), f"{op.name} has {'a' if row.has_result else 'no'} result"
        elif op.result is not None and row.result is not None and op.result.kind is not row.result:
            yield str(place), f"{op.name} gives {row.result.value}, not {op.result.kind.value}"
        elif op.result is not None and row.result is None and op.result.kind.is_tagged:
            yield str(place), f"{op.name} must say which kind it gives"


def _op_exits(facts: _Facts) -> Found:
    for place, op, row in facts.ops():
        if (op.exit is not None) != row.effect.exits:
            yield str(place), f"{op.name} has {'an' if row.effect.exits else 'no'} exit"


def _edges(facts: _Facts) -> Found:
    for number, block in enumerate(facts.region.blocks):
        for edge in edges(block.end):
            wanted = [param.kind for param in facts.region.blocks[edge.target].params]
            given = [arg.kind for arg in edge.args]
            if len(wanted) != len(given) or not all(map(_is_of, wanted, edge.args)):
                yield f"b{number}", f"the edge to b{edge.target} does not fit its parameters"


def _conditions(facts: _Facts) -> Found:
    for number, block in enumerate(facts.region.blocks):
        if isinstance(block.end, Branch) and block.end.condition.kind is not Kind.BOOL:
            yield f"b{number}", f"a branch on {_kind(block.end.condition)}"


def _kind(operand: Operand) -> str:
    return "an object" if operand.kind is None else operand.kind.value


# Entry, exits and the graph


def _entry(facts: _Facts) -> Found:
    if facts.before[0]:
        yield "b0", "the entry has a predecessor"


def _inputs(facts: _Facts) -> Found:
    region = facts.region
    wanted = [each for kind in region.entry_kinds for each in INPUT_FIELDS.get(kind, {}).values()]
    if [param.kind for param in region.blocks[0].params] != wanted:
        yield "b0", "its parameters are not the region's inputs"


def _body(facts: _Facts) -> Found:
    if facts.region.point is EntryPoint.BODY:
        for number, kind in enumerate(facts.region.entry_kinds):
            if kind not in BODY_KINDS:
                yield f"entry{number}", f"{kind.value} is no machine value"


def _reachable(facts: _Facts) -> Found:
    for number in range(len(facts.region.blocks)):
        if not facts.is_reachable(number):
            yield f"b{number}", "nothing leads here"


def _returns(facts: _Facts) -> Found:
    for number, block in enumerate(facts.region.blocks):
        if isinstance(block.end, Return):
            if facts.region.point is EntryPoint.LOOP:
                yield f"b{number}", "only a region that is entered by a call returns"
            if isinstance(block.end.value, Hole):
                yield f"b{number}", "a return without a value"
    for number, exit in enumerate(facts.region.exits):
        if exit.reason is not ExitReason.RETURNED:
            continue
        if facts.region.point is not EntryPoint.CALL or len(exit.frame.stack) != 1:
            yield f"e{number}", "a return that is none"
        if any(op.exit == number for block in facts.region.blocks for op in block.ops):
            yield f"e{number}", "a return in the midst of a block"


def _entry_slots(facts: _Facts) -> Found:
    kinds = facts.region.entry_kinds
    for where, slot in facts.slots():
        if isinstance(slot, Entry) and not 0 <= slot.slot < len(kinds):
            yield where, f"there is no entry slot {slot.slot}"
        home = slot.home if isinstance(slot, LoopIterator) else None
        if home is not None and not (home < len(kinds) and _is_home_of(kinds[home], slot)):
            yield where, f"entry slot {home} has no such iterator"


def _is_home_of(kind: EntryKind, slot: Slot) -> bool:
    if isinstance(slot, ItemIterator):
        return ITERATED.get(kind) is slot.cls
    return GENERAL.get(kind, kind) is EntryKind.RANGE_ITERATOR


def _virtuals(facts: _Facts) -> Found:
    for where, slot in facts.slots():
        if isinstance(slot, Composite) and any(isinstance(part, Hole) for part in slot.parts):
            yield where, "a virtual object with a part that is no object"
        if isinstance(slot, VirtualInstance):
            yield from ((where, problem) for problem in _instance(slot))
        if isinstance(slot, VirtualRange | RangeIterator):
            for operand in slot_operands(slot):
                if operand.kind is not Kind.INT:
                    yield where, f"a range made from {_kind(operand)}"
        if isinstance(slot, Reference) and not _is_of(Kind.OBJECT, slot.value):
            yield where, f"a reference that is {_kind(slot.value)}"
        if isinstance(slot, ItemIterator) and not (_is_of(Kind.OBJECT, slot.items) and slot.index.kind is Kind.INT):
            yield where, "an iterator over no list or tuple"


def _instance(instance: VirtualInstance) -> Iterator[str]:
    if isinstance(instance.cls.value, int | float | str | None):
        yield "an instance of what is no class"
    places = [(field.offset, field.is_value) for field, _ in instance.attributes]
    if len(set(places)) < len(places):
        yield "an instance with two attributes in one place"


def _frames(facts: _Facts) -> Found:
    counts = {len(exit.frame.locals) for exit in facts.region.exits}
    if len(counts) > 1:
        yield "region", f"exits with {' and '.join(map(str, sorted(counts)))} locals"


RULES: dict[str, Callable[[_Facts], Found]] = {
    "defined_once": _defined_once,
    "dominance": _dominance,
    "snapshots": _snapshots,
    "operands": _operands,
    "objects": _objects,
    "results": _results,
    "op_exits": _op_exits,
    "edges": _edges,
    "conditions": _conditions,
    "entry": _entry,
    "inputs": _inputs,
    "body": _body,
    "reachable": _reachable,
    "returns": _returns,
    "entry_slots": _entry_slots,
    "virtuals": _virtuals,
    "frames": _frames,
}
