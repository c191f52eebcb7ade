"""`kinds` lets more ints in, and never more than the passes after it can stand.

Two things are asked, of random regions with the narrowest kinds and of the traces `traces/kinds_*.trace`: all passes
make the same of the region as they would for the kinds that it had, and what they make does the same as the region
itself, for ints at the ends of the kinds that remain. The planted bugs are in how kinds are compared and tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from minijit.ir.check import check_region
from minijit.ir.eval import evaluate
from minijit.ir.kinds import INPUT_RANGES, EntryKind, Kind
from minijit.ir.region import Region
from minijit.ir.text import parse_region
from minijit.opt import kinds as module
from minijit.opt import ranges as ranges_module
from minijit.opt.count import count
from minijit.opt.kinds import WIDEST_FIRST, kinds
from minijit.opt.ranges import ranges
from minijit.oracle.compare import signature
from strategies.mutants import Pass, planted
from strategies.regions import Case, random_case, reset_namespace
from strategies.traces import trace_cases


def narrow(region: Region) -> Region:
    """The region with the narrowest kinds for its ints."""
    wanted = tuple(EntryKind.SHORT if kind in WIDEST_FIRST else kind for kind in region.entry_kinds)
    return replace(region, entry_kinds=wanted)


def regions() -> Iterator[Region]:
    yield from {id(case.region): case.region for case in trace_cases("kinds")}.values()
    yield from (narrow(random_case(seed).region) for seed in range(300))


def improved(region: Region) -> Region:
    return ranges(count(region))


def checks(region: Region) -> int:
    """How many ops may leave, or divide with a sign."""
    signed = ("int_floordiv", "int_mod")
    return sum((op.exit is not None) + (op.name in signed) for block in region.blocks for op in block.ops)


def with_edges(region: Region, after: Region, case: Case, pick: int) -> Case:
    """The case with ints at the ends of the kinds that the region has after the pass."""
    inputs = tuple(
        INPUT_RANGES[after.entry_kinds[slot]][(pick >> position) % 2]
        if after.entry_kinds[slot] in WIDEST_FIRST
        else old
        for position, ((slot, _, _), old) in enumerate(zip(region.inputs(), case.inputs, strict=True))
    )
    return replace(case, region=region, inputs=inputs)


def outcome(region: Region, case: Case) -> object:
    reset_namespace()
    polls = iter(range(1, 10**6))
    ended = evaluate(region, case.inputs, fuel=3000, should_leave=lambda _exit: next(polls) == case.leave_at)
    return signature(region, ended)


def keeps(run_pass: Pass, case: Case) -> bool:
    """Whether the passes leave no more checks, and what they give does the same for all that may come in."""
    before = narrow(case.region)
    after = run_pass(before)
    if check_region(after) or checks(improved(after)) > checks(improved(before)):
        return False
    made = improved(after)
    edges = [with_edges(before, after, case, pick) for pick in (0, 1, 2, 3, 5, 255)]
    return all(outcome(made, edge) == outcome(before, edge) for edge in edges)


def is_widest(run_pass: Pass, region: Region) -> bool:
    """Whether no kind of one input alone could be wider."""
    after = run_pass(region)
    wanted = improved(after).blocks
    for slot, kind in enumerate(after.entry_kinds):
        for wider in WIDEST_FIRST[: WIDEST_FIRST.index(kind)] if kind in WIDEST_FIRST else ():
            changed = (*after.entry_kinds[:slot], wider, *after.entry_kinds[slot + 1 :])
            if improved(replace(after, entry_kinds=changed)).blocks == wanted:
                return False
    return True


def cases() -> Iterator[Case]:
    yield from trace_cases("kinds")
    yield from map(random_case, range(300))


def test_kinds_keep_what_a_region_does() -> None:
    assert all(keeps(kinds, case) for case in cases())


def are_widest(run_pass: Pass) -> bool:
    """Of nearly all regions: the walk for wider kinds goes on from another, and may end a little beyond its own end."""
    found = [is_widest(run_pass, region) for region in regions()]
    return found.count(False) <= len(found) // 50


def test_kinds_are_as_wide_as_can_be() -> None:
    assert are_widest(kinds)


def test_all_kinds_remain_for_some_region() -> None:
    """A pass that always gave one kind would keep all the above."""
    left = {kind for region in regions() for kind in kinds(region).entry_kinds if kind in WIDEST_FIRST}
    assert left == set(WIDEST_FIRST)


def test_each_kind_is_within_the_wider_ones() -> None:
    ends = [INPUT_RANGES[kind] for kind in WIDEST_FIRST]
    for (low, high), (lower, higher) in zip(ends[1:], ends, strict=False):
        assert lower <= low <= high <= higher
        assert (lower, higher) != (low, high)
    assert all(value.kind is Kind.INT for _, _, value in parse_region(UP).inputs())


UP = """region f loop(range_up, natural)
b0(v0: int, v1: int, v2: int):
  leave e0
e0: untaken @2 [v0, v2 |]
"""

MUTANTS = {
    "all kinds are any int": ("if not wanted or walk.for_wider(wide, wanted) is not None:", "if True:"),
    "nothing is wanted": ("    wanted = walk.improved()\n", "    wanted = walk.improved()[:0]\n"),
    "one of what is wanted is enough": ("    wanted = walk.improved()\n", "    wanted = walk.improved()[:1]\n"),
    "each slot for itself": ("                walk = wider\n", "                region = wider.region\n"),
    "any int is not tried": ("in WIDEST_FIRST[: WIDEST", "in WIDEST_FIRST[1 : WIDEST"),
}
WALK_MUTANTS = {
    "asked too soon": ("            if not has_grown:\n                return wider", "            return wider"),
    "the kinds that were": ("self.found | _input_ranges(wider.region)", "dict(self.found)"),
    "the counters that were": ("        wider.counted = counted_values(wider.region)\n", ""),
}


@pytest.mark.parametrize("bug", WALK_MUTANTS)
def test_planted_bug_in_the_walk_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Walk", planted(ranges_module, *WALK_MUTANTS[bug], monkeypatch, name="Walk"))
    assert not all(keeps(kinds, case) for case in cases()), "the mutant lives"


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = planted(module, *MUTANTS[bug], monkeypatch)
    assert not (all(keeps(mutant, case) for case in cases()) and are_widest(mutant)), "the mutant lives"
