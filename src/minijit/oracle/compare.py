"""When two runs of a region, or of a region and of what was made of it, count as the same.

In: regions and outcomes, as the evaluator gives them. Out: forms that are equal for what nothing tells apart, and
whether a pass has kept what a region does (`keeps`).

    Returned        the value, with exact type and bits
    Left            reason and offset of the exit, and all slots: passes number exits anew, and drop impossible ones
    OutOfFuel       nothing

A pass may change nothing else, but for two. `polls` leaves out polls (`keeps_polls`). After `wrap`, where the region
left since an int outgrew 64 bits, it goes on, and must come to what the interpreter would have come to. So what it
makes is compared with the region before, evaluated with unbounded arithmetic in just those ops that it changed. The
bits of a nan do not count: where two come together, either may come out.
"""

from __future__ import annotations

import math
import operator
import struct
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from minijit.ir.eval import (
    EntryObject,
    InstanceState,
    ItemState,
    Left,
    MethodState,
    Outcome,
    OutOfFuel,
    RangeState,
    Returned,
)
from minijit.ir.ops import TABLE, Effect
from minijit.ir.region import Op, Region

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from minijit.ir.ops import Row

    Run = Callable[[Region, Mapping[str, Row]], Outcome]


ITEMS, DEPTH = 64, 4
"""How many items of a list are compared, and how deep in each other: lists may be large, and in themselves."""


def exact(value: object, depth: int = DEPTH) -> object:
    """Equal exactly for values that nothing tells apart: type and bits, a nan's bits aside; lists by their items, since
    each run of a region makes its own; other objects by identity."""
    match value:
        case list() if type(value) is list:
            return ("list", len(value), *(exact(item, depth - 1) for item in value[:ITEMS] if depth))
        case float():
            return ("float", "nan" if math.isnan(value) else struct.pack("<d", value))
        case int():
            return (type(value), int(value))
        case tuple():
            return ("tuple", *map(exact, value))
        case range():
            return ("range", value.start, value.stop, value.step)
        case InstanceState(cls, names, attributes):
            return ("instance", exact(cls), names, exact(attributes))
        case MethodState(function, owner):
            return ("method", id(function), exact(owner))
        case ItemState(items, index, home):
            return ("list iterator", exact(items, depth - 1), index, home)
        case RangeState() | EntryObject():
            return value
    return ("object", id(value))


def exact_outcome(outcome: Outcome) -> object:
    """The outcome in a form that is equal for outcomes of one region that nothing tells apart."""
    match outcome:
        case Returned(value):
            return ("returned", exact(value))
        case Left(exit, before, stack):
            return ("left", exit, exact(before), exact(stack))
        case _:
            return ("out of fuel",)


def signature(region: Region, outcome: Outcome) -> object:
    """The same for comparison with another region: an exit counts by what it says."""
    if isinstance(outcome, Left):
        exit = region.exits[outcome.exit]
        return ("left", exit.reason, exit.frame.offset, exact(outcome.locals), exact(outcome.stack))
    return exact_outcome(outcome)


def same_runs(before: Region, after: Region, run: Run, table: Mapping[str, Row] = TABLE) -> bool:
    """Whether two regions end in the same way; `table` is for the first."""
    return signature(before, run(before, table)) == signature(after, run(after, TABLE))


def keeps(name: str, before: Region, after: Region, run: Run) -> bool:
    """Whether a run of what the pass called `name` made is that of the region before."""
    if name != "wrap":
        return same_runs(before, after, run)
    if not same_runs(unbounded(before, after), after, run, WIDE_TABLE):
        return False
    # Runs that nothing outgrew are the same run.
    outcome = run(before, TABLE)
    grown = {op.exit for block in before.blocks for op in block.ops if op.name in UNBOUNDED}
    has_outgrown = isinstance(outcome, Left) and outcome.exit in grown
    return has_outgrown or same_runs(before, after, run)


def keeps_polls(before: Region, after: Region, run_to: Callable[[Region, int], Outcome], number: int) -> bool:
    """The same for the pass `polls`, after which fewer polls are left; `run_to(region, n)` leaves at the n-th, 0 for
    none. Where the region leaves at a poll, it must have left like that before, then or later."""
    ended = run_to(after, number)
    if isinstance(ended, OutOfFuel):
        return True
    wanted = signature(after, ended)
    if not number or not _is_polled(after, ended):
        return signature(before, run_to(before, 0)) == wanted
    for later in count(number):
        found = run_to(before, later)
        if signature(before, found) == wanted:
            return True
        if not _is_polled(before, found):
            return False
    raise AssertionError("there are always more numbers")


def _is_polled(region: Region, outcome: Outcome) -> bool:
    """Whether the outcome is that of a poll that leaves."""
    polls = {op.exit for block in region.blocks for op in block.ops if TABLE[op.name].effect is Effect.POLL}
    return isinstance(outcome, Left) and outcome.exit in polls


# What `wrap` means


class TooWide(Exception):
    """An int has more bits than any that a mask will cut: what was to wrap grows from round to round."""


WIDEST = 2**16
"""Bits of an int that is to be cut. Without a limit, a wrong pass would have squares of squares computed."""


def _wide(function: Callable[..., int]) -> Callable[..., int]:
    def meaning(*args: int) -> int:
        value = function(*args)
        if value.bit_length() > WIDEST:
            raise TooWide
        return value

    return meaning


def _shift_left(value: int, count: int) -> int:
    if not 0 <= count < 64:
        raise TooWide  # of which no pass may make a wrapping shift
    return value << count


UNBOUNDED: Mapping[str, Callable[..., int]] = {
    "int_add": _wide(operator.add),
    "int_sub": _wide(operator.sub),
    "int_mul": _wide(operator.mul),
    "int_neg": _wide(operator.neg),
    "int_lshift": _wide(_shift_left),
}
"""The ops of which `wrap` makes wrapping ones, as Python has them."""
WIDE_TABLE: Mapping[str, Row] = TABLE | {
    f"{name}_unbounded": replace(TABLE[name], name=f"{name}_unbounded", effect=Effect.PURE, meaning=meaning)
    for name, meaning in UNBOUNDED.items()
}


def unbounded(before: Region, after: Region) -> Region:
    """The region before, with unbounded ops in place of those that became wrapping."""
    wrapping = {op.result for block in after.blocks for op in block.ops if op.name.endswith("_wrap")}

    def changed(op: Op) -> Op:
        if op.name in UNBOUNDED and op.result in wrapping:
            return Op(f"{op.name}_unbounded", op.args, op.result)
        return op

    blocks = tuple(replace(block, ops=tuple(map(changed, block.ops))) for block in before.blocks)
    return replace(before, blocks=blocks)


# Where machine code may differ


class NanSign(Exception):
    """The sign of a nan decides: LLVM may choose another than the evaluator's hardware."""


def _copysign(x: float, y: float) -> float:
    if math.isnan(y):
        raise NanSign
    return math.copysign(x, y)


CAREFUL: Mapping[str, Row] = TABLE | {"float_copysign": replace(TABLE["float_copysign"], meaning=_copysign)}
"""Raises `NanSign` where a run is not to be compared with machine code."""
