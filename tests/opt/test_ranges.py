"""`ranges` keeps what a region does; and the test that says so notices planted bugs.

The property is asked of random regions, and of the traces `traces/ranges_*.trace` with inputs that make overflows,
negative rests and zero divisors, so that each planted bug meets a region which was written to show it. The rules for
single ops have a test of their own (`test_range_rules`).
"""

from __future__ import annotations

import inspect
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from minijit.ir.check import check_region
from minijit.ir.eval import evaluate
from minijit.ir.region import INT_MAX, INT_MIN, SMALL, EntryKind, Region
from minijit.ir.text import parse_region
from minijit.opt import ranges as module
from minijit.opt.ranges import ranges
from minijit.opt.tracefile import read_trace
from strategies.regions import Case, cases, random_case, reset_namespace, signature

type Pass = Callable[[Region], Region]

TRACES = sorted((Path(__file__).parent / "traces").glob("ranges_*.trace"))
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


def trace_cases(path: Path) -> Iterator[Case]:
    """The region of a trace with all inputs of the table."""
    region = parse_region(read_trace(path.read_text(encoding="utf-8")).before)
    kinds = [region.entry_kinds[slot] for slot, _, _ in region.inputs()]
    for inputs in itertools.product(*(INPUTS[kind] for kind in kinds)):
        yield Case(region, inputs, 0)


def seeds() -> Iterator[Case]:
    yield from itertools.chain.from_iterable(map(trace_cases, TRACES))
    yield from map(random_case, range(500))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_ranges_keep_what_a_trace_does(path: Path) -> None:
    assert all(keeps(ranges, case) for case in trace_cases(path))


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


def planted(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> Pass:
    """The pass with a bug in it."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"the mutant has lost its place: {old}"
    mutant = types.ModuleType("ranges_mutant")
    monkeypatch.setitem(sys.modules, mutant.__name__, mutant)
    exec(compile(source.replace(old, new), mutant.__name__, "exec"), vars(mutant))
    made: Pass = vars(mutant)["ranges"]
    return made


def is_killed(mutant: Pass, case: Case) -> bool:
    try:
        return not keeps(mutant, case)
    except (ArithmeticError, LookupError, AssertionError):
        return True


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = planted(*MUTANTS[bug], monkeypatch)
    assert any(is_killed(mutant, case) for case in seeds()), "the mutant lives"
