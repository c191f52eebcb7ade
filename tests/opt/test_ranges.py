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
from minijit.ir.kinds import INT_MAX, INT_MIN, SMALL, EntryKind
from minijit.ir.region import Region
from minijit.opt import ranges as module
from minijit.opt.ranges import ranges
from minijit.oracle.compare import signature
from strategies.mutants import Pass, planted
from strategies.regions import Case, cases, random_case, reset_namespace
from strategies.traces import file_cases, trace_cases, trace_files

INPUTS: dict[EntryKind, tuple[object, ...]] = {
    EntryKind.INT: (0, 1, -1, 5, 99, 100, -7, 2**62, INT_MAX, INT_MIN),
    EntryKind.SMALL_INT: (0, 3, 40, 1 - SMALL),
    EntryKind.NATURAL: (0, 3, 40, SMALL - 1),
    EntryKind.SHORT: (0, 3, 40, 2**31 - 1),
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
        "and op.result not in self.counted and (low < INT_MIN or high > INT_MAX)",
        "and False",
    ),
    "looks at one end only": (
        "if INT_MIN <= low and high <= INT_MAX:",
        "if high <= INT_MAX:",
    ),
    "takes more than any number for not zero": ("[0] >= 0 and self", "[1] >= 0 and self"),
    "looks at the dividend only": ("for arg in op.args):\n            is", "for arg in op.args[:1]):\n            is"),
    "takes all for half": ("if is_half else UNSIGNED)", "if True else UNSIGNED)"),
    "looks at half of the dividend only": ("<= HALF_MAX for arg in op.args)", "<= HALF_MAX for arg in op.args[:1])"),
    "takes more for half": ("HALF_MAX = 2**32 - 1", "HALF_MAX = 2**33"),
    "compares the other way": ("return low, min(high, other[1] - 1)", "return max(low, other[0]), high"),
    "ends where it starts": ('exact_range("int_add", self.range(start, place), moves)', "self.range(start, place)"),
    "ends at the smaller": ('"int_max" if pair.step == 1 else', '"int_min" if pair.step == 1 else'),
    "adds what is left": ('exact_range("int_sub", (min(end', 'exact_range("int_add", (min(end'),
    "starts anywhere": ("if begin == start and fits else None", "if fits else None"),
    "takes one step for any": ("(pair.step, pair.step))\n        least", "(1, 1))\n        least"),
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
