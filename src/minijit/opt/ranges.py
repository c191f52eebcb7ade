"""Makes int arithmetic unchecked where the operands' ranges say that no check can fail.

    b0(v0: int):                               b0(v0: int):
      v1: int = int_and v0, 255                  v1: int = int_and v0, 255
      v2: int = int_mul v1, v1 | e0              v2: int = int_mul_wrap v1, v1
      v3: int = int_mod v2, 10 | e1              v3: int = int_mod_unsigned v2, 10 | e1
      return v3                                  return v3

Each int has a range, from what makes it, and inside of a branch's arms a narrower one, from what the branch compared.
A sum, difference, product, negation or left shift whose range fits 64 bits needs no check. A division or remainder of
a number that is not negative by one that is neither needs no correction towards the floor: it is that of unsigned
numbers, whose exit is left for the zero, and of numbers of 32 bits where neither has more. To be more than zero is to
be not zero, where nothing is less (see `iterators`).

The ranges are the least that hold: a walk over all blocks starts from none, joins what flows into each parameter, and
is done again until nothing grows. What grows is moved out to the next of some limits at once, the numbers of the
region among them, so that few walks are needed. Counters do not wrap (see `count`). The next value of an iterator goes
as far as what is left lets it go (see `rounds`); for `range(a, b)` that is the larger of the two.

A new rule must give a range that holds for *all* operands within theirs, or `FULL`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from minijit.ir.flow import dominators, predecessors, reverse_postorder, successors
from minijit.ir.kinds import INPUT_RANGES, INT_MAX, INT_MIN, Kind
from minijit.ir.region import Block, Branch, Const, Op, Operand, Region, Value, edges
from minijit.opt.count import counted_values
from minijit.opt.range_rules import FULL, RULES, Range, exact_range
from minijit.opt.rounds import find_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minijit.ir.kinds import EntryKind
    from minijit.opt.rounds import Pair

COUNTED = (-(2**62), 2**62)
"""Between what a counter stays: it starts below 2**61, and would have to move for months."""

UNCHECKED = {
    "int_add": "int_add_wrap",
    "int_sub": "int_sub_wrap",
    "int_mul": "int_mul_wrap",
    "int_neg": "int_neg_wrap",
    "int_lshift": "int_lshift_wrap",
}
UNSIGNED = {"int_floordiv": "int_floordiv_unsigned", "int_mod": "int_mod_unsigned"}
HALF = {"int_floordiv": "int_floordiv_half", "int_mod": "int_mod_half"}
HALF_MAX = 2**32 - 1
IMPROVED = {*UNCHECKED, *UNSIGNED, "int_gt"}
PATIENCE = 8
"""After so many walks, what still grows may be anything."""
NESTING = 3
"""So deep are loops looked into whose ends depend on one another's."""


def ranges(region: Region) -> Region:
    """The region without the checks that cannot fail."""
    if not any(op.name in IMPROVED for block in region.blocks for op in block.ops):
        return region
    walk = Walk(region)
    while walk.once():
        pass
    blocks = tuple(
        Block(block.params, tuple([walk.unchecked(op, place) for op in block.ops]), block.end)
        for block, place in zip(region.blocks, walk.places, strict=True)
    )
    return Region(region.name, region.point, region.entry_kinds, blocks, region.exits)


@dataclass(slots=True)
class _Place:
    """What holds in a block beyond what holds for the values everywhere."""

    known: Mapping[Value, Range] = field(default_factory=dict)


class Walk:
    """The ranges found so far, and the places that narrow them. `kinds` asks it about wider entry kinds."""

    def __init__(self, region: Region) -> None:
        after = successors(region)
        self.region = region
        self.order = reverse_postorder(after)
        self.parent = dominators(after).parent
        self.before = predecessors(after)
        self.places = [_Place() for _ in region.blocks]
        self.found: dict[Value, Range] = _input_ranges(region)
        self.counted = counted_values(region)
        self.pairs: dict[Operand, tuple[Pair, Value]] = {}
        for number, pair in find_pairs(region).items():
            params = region.blocks[number].params
            self.pairs[params[pair.next]] = pair, params[pair.left]
        self.made = {op.result: op for block in region.blocks for op in block.ops if op.result is not None}
        self.limits = _limits(region)
        self.asked: list[Operand] = []
        self.walks = 0

    def improved(self) -> list[tuple[int, Op, str]]:
        """The ops that can be made unchecked: the block of each, and its name then."""
        found = []
        for number, place in enumerate(self.places):
            for op in self.region.blocks[number].ops:
                name = self.unchecked(op, place).name if op.name in IMPROVED else op.name
                if name != op.name:
                    found.append((number, op, name))
        return found

    def for_wider(self, kinds: tuple[EntryKind, ...], wanted: list[tuple[int, Op, str]]) -> Walk | None:
        """This walk, when done, for wider entry kinds; None if one of the wanted ops could not be made unchecked.

        What holds for the wider kinds holds for less than is known here, so the walk goes on from here.
        """
        wider = copy(self)
        wider.region = replace(self.region, entry_kinds=kinds)
        wider.found = self.found | _input_ranges(wider.region)
        wider.counted = counted_values(wider.region)
        wider.places = list(self.places)
        wider.walks = 1
        while True:
            has_grown = wider.once()
            if any(wider.unchecked(op, wider.places[number]).name != name for number, op, name in wanted):
                return None
            if not has_grown:
                return wider

    def once(self) -> bool:
        """One walk; whether the range of a parameter has grown."""
        self.walks += 1
        grown = False
        for number in self.order:
            block = self.region.blocks[number]
            place = self.places[number] = self._entered(number)
            for op in block.ops:
                if op.result is not None and op.result.kind is Kind.INT:
                    self.found[op.result] = self._result(op, place)
            for edge in edges(block.end):
                for param, operand in zip(self.region.blocks[edge.target].params, edge.args, strict=True):
                    if param.kind is Kind.INT:
                        grown |= self._flows(self.range(operand, place), param)
        return grown

    def _entered(self, number: int) -> _Place:
        """What holds in a block: what holds in its dominator, and what the only way into it says."""
        if number == 0:
            return _Place()
        above = self.places[self.parent[number]]
        if len(self.before[number]) != 1:
            return above
        end = self.region.blocks[self.before[number][0]].end
        if not isinstance(end, Branch) or not isinstance(end.condition, Value):
            return above
        place = _Place(dict(above.known))
        self._learn(end.condition, end.then.target == number, place)
        return place

    def _learn(self, condition: Value, truth: bool, place: _Place) -> None:
        """Narrows what a condition is about."""
        op = self.made.get(condition)
        if op is None:
            return
        if op.name == "bool_not" and isinstance(op.args[0], Value):
            self._learn(op.args[0], not truth, place)
        elif op.name == ("bool_and" if truth else "bool_or"):
            for part in op.args:
                if isinstance(part, Value):
                    self._learn(part, truth, place)
        elif op.name == "int_to_bool":
            self._compared("int_ne" if truth else "int_eq", op.args[0], Const(0), place)
        elif op.name in OPPOSITE:
            self._compared(op.name if truth else OPPOSITE[op.name], op.args[0], op.args[1], place)

    def _compared(self, name: str, left: Operand, right: Operand, place: _Place) -> None:
        a, b = self.range(left, place), self.range(right, place)
        for operand, own, comparison, other in ((left, a, name, b), (right, b, SWAPPED[name], a)):
            if isinstance(operand, Value):
                narrowed = _narrowed(own, comparison, other)
                # An empty range says that this is never reached; it stays what it was, which holds as well.
                if narrowed != own and narrowed[0] <= narrowed[1]:
                    assert isinstance(place.known, dict)
                    place.known[operand] = narrowed

    def range(self, operand: Operand, place: _Place) -> Range:
        """The range of an int operand at a place."""
        if isinstance(operand, Const):
            assert type(operand.value) is int
            return operand.value, operand.value
        low, high = self.found.get(operand, FULL)
        narrow = place.known.get(operand)
        if narrow is not None:
            low, high = max(low, narrow[0]), min(high, narrow[1])
        assert low <= high
        # Where two blocks are headers of the same loop, as versions of one, the end of each pair is that of the other.
        if operand in self.pairs and operand not in self.asked and len(self.asked) < NESTING:
            self.asked.append(operand)
            least, most = self._by_what_is_left(*self.pairs[operand], place)
            self.asked.pop()
            # Nothing between them: what is left is not known to be nothing yet, or this is never reached.
            if max(low, least) <= min(high, most):
                return max(low, least), min(high, most)
        return low, high

    def _by_what_is_left(self, pair: Pair, left: Value, place: _Place) -> Range:
        """The range of an iterator's next value: where the loop will end, less the steps that are left."""
        ends = [self._end(pair, edge.args, self.places[number]) for number, edge in pair.ways_in]
        before = self.range(left, place)
        moves = exact_range("int_mul", before, (pair.step, pair.step))
        least, most = exact_range("int_sub", (min(end[0] for end in ends), max(end[1] for end in ends)), moves)
        return (least, most) if least >= INT_MIN and most <= INT_MAX else FULL

    def _end(self, pair: Pair, args: tuple[Operand, ...], place: _Place) -> Range:
        """The range of where a loop ends that is entered with these arguments."""
        start, left = args[pair.next], args[pair.left]
        if pair.step in (1, -1):
            stop = self._stop(start, left, pair.step, place)
            if stop is not None:
                return exact_range("int_max" if pair.step == 1 else "int_min", self.range(start, place), stop)
        moves = exact_range("int_mul", self.range(left, place), (pair.step, pair.step))
        return exact_range("int_add", self.range(start, place), moves)

    def _stop(self, start: Operand, left: Operand, step: int, place: _Place) -> Range | None:
        """The range of b, if what is left is `max(b - start, 0)`, or `max(start - b, 0)` for a step of minus one."""
        longer = self.made.get(left) if isinstance(left, Value) else None
        if longer is None or longer.name != "int_max" or not isinstance(longer.args[0], Value):
            return None
        size = self.made.get(longer.args[0])
        if size is None or size.name not in ("int_sub", "int_sub_wrap") or self.range(longer.args[1], place) != (0, 0):
            return None
        high, low = size.args
        stop, begin = (high, low) if step == 1 else (low, high)
        least, most = exact_range("int_sub", self.range(high, place), self.range(low, place))
        fits = size.name == "int_sub" or (least >= INT_MIN and most <= INT_MAX)
        return self.range(stop, place) if begin == start and fits else None

    def _result(self, op: Op, place: _Place) -> Range:
        rule = RULES.get(op.name)
        if rule is None:
            return FULL
        low, high = rule(*[self.range(arg, place) if arg.kind is Kind.INT else FULL for arg in op.args])
        if op.name.endswith("_wrap") and op.result not in self.counted and (low < INT_MIN or high > INT_MAX):
            return FULL
        least, most = COUNTED if op.result in self.counted else FULL
        low, high = max(low, least), min(high, most)
        # What always leaves has no result, and nothing after it is reached.
        return (low, high) if low <= high else FULL

    def _flows(self, new: Range, param: Value) -> bool:
        """Joins a range to a parameter's; whether that has grown."""
        old = self.found.get(param)
        if old is None:
            self.found[param] = new
            return True
        low, high = min(old[0], new[0]), max(old[1], new[1])
        if (low, high) == old:
            return False
        if self.walks > 1:
            low, high = self._widened(old, low, high)
        self.found[param] = low, high
        return True

    def _widened(self, old: Range, low: int, high: int) -> Range:
        """The ends that have moved, at the next limits."""
        if self.walks > PATIENCE:
            return INT_MIN if low < old[0] else low, INT_MAX if high > old[1] else high
        if low < old[0]:
            low = self.limits[bisect_right(self.limits, low) - 1]
        if high > old[1]:
            high = self.limits[bisect_left(self.limits, high)]
        return low, high

    def unchecked(self, op: Op, place: _Place) -> Op:
        """The op without its check, if that cannot fail."""
        if op.name in UNCHECKED:
            low, high = exact_range(op.name, *[self.range(arg, place) for arg in op.args])
            if INT_MIN <= low and high <= INT_MAX:  # noqa: SIM300 - reads as the two ends
                return Op(UNCHECKED[op.name], op.args, op.result)
        if op.name == "int_gt" and self.range(op.args[0], place)[0] >= 0 and self.range(op.args[1], place) == (0, 0):
            return Op("int_ne", op.args, op.result)
        if op.name in UNSIGNED and all(self.range(arg, place)[0] >= 0 for arg in op.args):
            is_half = all(self.range(arg, place)[1] <= HALF_MAX for arg in op.args)
            return Op((HALF if is_half else UNSIGNED)[op.name], op.args, op.result, op.exit)
        return op


OPPOSITE = {
    "int_lt": "int_ge",
    "int_le": "int_gt",
    "int_eq": "int_ne",
    "int_ne": "int_eq",
    "int_gt": "int_le",
    "int_ge": "int_lt",
}
SWAPPED = {
    "int_lt": "int_gt",
    "int_le": "int_ge",
    "int_eq": "int_eq",
    "int_ne": "int_ne",
    "int_gt": "int_lt",
    "int_ge": "int_le",
}


def _narrowed(own: Range, comparison: str, other: Range) -> Range:
    """The part of a range that compares like this to something in the other; it may be empty."""
    low, high = own
    match comparison:
        case "int_lt":
            return low, min(high, other[1] - 1)
        case "int_le":
            return low, min(high, other[1])
        case "int_gt":
            return max(low, other[0] + 1), high
        case "int_ge":
            return max(low, other[0]), high
        case "int_eq":
            return max(low, other[0]), min(high, other[1])
        case _:
            # Only a single number can be left out, and only at an end.
            if other[0] != other[1]:
                return own
            return low + (low == other[0]), high - (high == other[0])


def _input_ranges(region: Region) -> dict[Value, Range]:
    kinds = region.entry_kinds
    return {value: INPUT_RANGES[kinds[slot]] for slot, _, value in region.inputs() if value.kind is Kind.INT}


def _limits(region: Region) -> list[int]:
    """Where ranges are likely to end: at numbers of the region, and where kinds of numbers do."""
    limits = {INT_MIN, COUNTED[0], -(2**31), -1, 0, 1, 2**31 - 1, 2**32 - 1, 2**53, COUNTED[1], INT_MAX}
    for block in region.blocks:
        for op in block.ops:
            limits.update(
                arg.value + step
                for arg in op.args
                if isinstance(arg, Const) and type(arg.value) is int
                for step in (-1, 0, 1)
            )
    return sorted(limit for limit in limits if INT_MIN <= limit <= INT_MAX)
