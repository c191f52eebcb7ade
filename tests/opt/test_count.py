"""`count` keeps what a region does, as long as small inputs are small and nothing runs for a year.

The random regions are those of all passes, with every input that can be small taken as small, and their ints moved by
steps much of the time. The cases that read as text are `traces/count_*.trace`; the property is asked of these too, with
inputs that make overflows, so that each planted bug meets a region which was written to show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minijit.ir.check import check_region
from minijit.ir.eval import Left, evaluate
from minijit.ir.kinds import SMALL, EntryKind
from minijit.ir.region import Const, Op, Operand, Region
from minijit.ir.text import parse_region, print_region
from minijit.opt import count as module
from minijit.opt.count import STEP, count
from minijit.oracle.compare import signature
from strategies.mutants import Pass, planted
from strategies.regions import Case, build_case, random_case, reset_namespace
from strategies.traces import trace_cases

EDGES = (0, 1, -1, 7, STEP, SMALL - 1, 1 - SMALL, SMALL - STEP, 2**60, -(2**53))
"""Small ints, and the last ones that are."""


def stepping(case: Case) -> Case:
    """The case with small inputs, and with steps for most of what is added."""
    region = case.region
    kinds = tuple(EntryKind.SMALL_INT if kind is EntryKind.INT else kind for kind in region.entry_kinds)
    blocks = tuple(replace(block, ops=tuple(map(step, block.ops))) for block in region.blocks)
    inputs = tuple(
        EDGES[hash(value) % len(EDGES)] if kinds[slot] is EntryKind.SMALL_INT else value
        for (slot, _, _), value in zip(region.inputs(), case.inputs, strict=True)
    )
    return replace(case, region=replace(region, entry_kinds=kinds, blocks=blocks), inputs=inputs)


def step(op: Op) -> Op:
    """Every other addition moves its first operand by a step."""
    if op.name not in ("int_add", "int_sub") or op.result is None or op.result.number % 2:
        return op
    first, second = op.args
    sizes = (1, -1, STEP, -STEP, STEP + 1)
    small: Operand = Const(sizes[op.result.number // 2 % len(sizes)])
    return replace(op, args=(first, small) if isinstance(first, Const) is False else (small, second))


def outcome(region: Region, case: Case) -> object:
    reset_namespace()
    polls = iter(range(1, 10**6))
    ended = evaluate(region, case.inputs, fuel=3000, should_leave=lambda _exit: next(polls) == case.leave_at)
    return signature(region, ended)


def keeps(run_pass: Pass, case: Case) -> bool:
    after = run_pass(case.region)
    return check_region(after) == () and outcome(after, case) == outcome(case.region, case)


def seeds() -> Iterator[Case]:
    yield from trace_cases("count")
    yield from map(stepping, map(random_case, range(300)))


def test_count_keeps_what_a_trace_does() -> None:
    for case in trace_cases("count"):
        assert keeps(count, case), print_region(case.region)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(min_size=300, max_size=700))
def test_count_keeps_what_a_region_does(data: bytes) -> None:
    assert keeps(count, stepping(build_case(data)))


def test_count_finds_something_to_do() -> None:
    cases = [stepping(random_case(seed)) for seed in range(200)]
    changed = [case for case in cases if wrapping(count(case.region)) > wrapping(case.region)]
    assert len(changed) > 40
    for case in changed:
        assert keeps(count, case)


def wrapping(region: Region) -> int:
    return sum(op.name.endswith("_wrap") for block in region.blocks for op in block.ops)


def test_count_is_done_after_one_run() -> None:
    """A second run finds no op more."""
    for seed in range(100):
        once = count(stepping(random_case(seed)).region)
        assert wrapping(count(once)) == wrapping(once)


# How far a counter comes

COUNTER = """region f call(small_int)
b0(v0: int):
  jump b1(v0)
b1(v1: int):
  v2: int = int_add v1, 16 | e0
  poll | e1
  jump b1(v2)
e0: overflow @4 [v1 |]
e1: poll @8 [v2 |]
"""


def test_a_counter_leaves_long_before_it_could_wrap() -> None:
    """What the pass rests on: from the largest start it takes more than 2**58 rounds, each with a poll."""
    assert (2**63 - SMALL) // STEP > 2**58
    region = count(parse_region(COUNTER))
    polls = iter(range(10**6))
    ended = evaluate(region, (SMALL - 1,), should_leave=lambda _exit: next(polls) == 1000)
    assert isinstance(ended, Left)
    assert ended.locals == (SMALL - 1 + 1001 * STEP,)


# Planted bugs. A step minus a counter is not among them: it would hold, as its magnitude too grows by a step only. That
# it is not done says `count_not_subtracted.trace`.

MUTANTS = {
    "steps of any size": ("abs(operand.value) <= STEP", "True"),
    "starts of any size": ("abs(operand.value) < SMALL", "True"),
    "inputs of any size": (
        "return ends is not None and ends[0] > -SMALL and ends[1] < SMALL",
        "return ends is not None",
    ),
    "one way in is enough": (
        "return all(self.is_start(operand) or operand in counted for operand in self.incoming[value])",
        "return any(self.is_start(operand) or operand in counted for operand in self.incoming[value])",
    ),
    "any counted value is a step": (
        "any(self.is_step(step) and (",
        "any((self.is_step(step) or step in counted) and (",
    ),
    "products are counted": ('"int_sub": "int_sub_wrap"}', '"int_sub": "int_sub_wrap", "int_mul": "int_mul_wrap"}'),
    "the start may be anything": ("(self.is_start(counter) or counter in counted)", "True"),
    "values of one round are enough": ("            counted = kept\n", "            return kept\n"),
    "every int is a truth value": ('if op.name == "bool_to_int" and', 'if op.name.endswith("_to_int") and'),
}


def is_killed(mutant: Pass, case: Case) -> bool:
    try:
        return not keeps(mutant, case)
    except (KeyError, AssertionError, TypeError, AttributeError):
        return True


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = planted(module, *MUTANTS[bug], monkeypatch)
    assert any(is_killed(mutant, case) for case in seeds()), "the mutant lives"
