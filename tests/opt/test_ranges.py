"""`ranges` keeps what a region does; and the test that says so notices planted bugs.

The property is asked of random regions, and of the traces `traces/ranges_*.trace` with inputs that make overflows,
negative rests and zero divisors, so that each planted bug meets a region which was written to show it. The rules for
single ops have a test of their own (`test_range_rules`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from minijit.ir.check import check_region
from minijit.ir.eval import evaluate
from minijit.ir.region import INT_MAX, INT_MIN, SMALL, EntryKind, Region
from minijit.opt import ranges as module
from minijit.opt.ranges import ranges
from strategies.mutants import Pass, planted
from strategies.regions import Case, cases, random_case, reset_namespace, signature
from strategies.traces import file_cases, trace_cases, trace_files

INPUTS: dict[EntryKind, tuple[object, ...]] = {
    EntryKind.INT: (0, 1, -1, 5, 99, 100, -7, 2**62, INT_MAX, INT_MIN),
    EntryKind.SMALL_INT: (0, 3, 40, 1 - SMALL),
    EntryKind.BOOL: (False, True),
}


def outcome(region: Region, case: Case) -> object:
    reset_namespace()
    polls = iter(range(1, 10**6))
    ended = evaluate(region, case.inputs, fuel=3000, should_leave=lambda _exit: next(polls) == case.leave_at)
    return signature(region, ended)


def keeps(run_pass: Pass, case: Case) -> bool:
    after = run_pass(case.region)
    return check_region(after) == () and outcome(after, case) == outcome(case.region, case)


def seeds() -> Iterator[Case]:
    yield from trace_cases("ranges", INPUTS)
    yield from map(random_case, range(500))


@pytest.mark.parametrize("path", trace_files("ranges"), ids=lambda path: path.stem)
def test_ranges_keep_what_a_trace_does(path: Path) -> None:
    assert all(keeps(ranges, case) for case in file_cases(path, INPUTS))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_ranges_keep_what_a_region_does(case: Case) -> None:
    assert keeps(ranges, case)


MUTANTS = {
    "looks at one edge only": ("low, high = min(old[0], new[0]), max(old[1], new[1])", "low, high = old"),
    "turns branches round": (
        "self._learn(end.condition, end.then.target == number, place)",
        "self._learn(end.condition, end.then.target != number, place)",
    ),
    "learns both sides of `and`": (
        'elif op.name == ("bool_and" if truth else "bool_or"):',
        'elif op.name in ("bool_and", "bool_or"):',
    ),
    "ignores other ways in": (
        "if len(self.before[number]) != 1:",
        "if not self.before[number]:",
    ),
    "takes what wraps for what does not": (
        """        if op.name.endswith("_wrap") and (low < INT_MIN or high > INT_MAX):
            return FULL
""",
        "",
    ),
    "looks at one end only": (
        "if INT_MIN <= low and high <= INT_MAX:",
        "if high <= INT_MAX:",
    ),
    "takes more than any number for not zero": ("[0] >= 0 and self", "[1] >= 0 and self"),
    "looks at the dividend only": ("for arg in op.args):", "for arg in op.args[:1]):"),
    "compares the other way": ("return low, min(high, other[1] - 1)", "return max(low, other[0]), high"),
    "walks once": ("    while walk.once():\n        pass\n", "    walk.once()\n"),
}


def is_killed(mutant: Pass, case: Case) -> bool:
    try:
        return not keeps(mutant, case)
    except (ArithmeticError, LookupError, AssertionError):
        return True


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = planted(module, *MUTANTS[bug], monkeypatch)
    assert any(is_killed(mutant, case) for case in seeds()), "the mutant lives"
