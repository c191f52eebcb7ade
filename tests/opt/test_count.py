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
from minijit.ir.region import SMALL, Const, EntryKind, Op, Operand, Region
from minijit.ir.text import parse_region, print_region
from minijit.opt import count as module
from minijit.opt.count import STEP, count
from strategies.mutants import Pass, planted
from strategies.regions import Case, build_case, random_case, reset_namespace, signature
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


def test_only_small_inputs_are_widened() -> None:
    """Entry kinds stay but for small ints; those that stay small are the starts of counters."""
    for seed in range(200):
        before = stepping(random_case(seed)).region
        after = count(before)
        for old, new in zip(before.entry_kinds, after.entry_kinds, strict=True):
            assert new is old or (old, new) == (EntryKind.SMALL_INT, EntryKind.INT)
        assert count(after) == after or wrapping(count(after)) >= wrapping(after)


def test_count_is_done_after_one_run() -> None:
    """A second run finds no op more, except where an input was widened: then it finds the same."""
    for seed in range(100):
        once = count(stepping(random_case(seed)).region)
        assert wrapping(count(once)) == wrapping(once)


def test_a_widened_input_makes_no_difference() -> None:
    """Inputs that are no start may be any int: values beyond 2**61 give the same as before."""
    tried = 0
    for seed in range(400):
        case = stepping(random_case(seed))
        after = count(case.region)
        large = tuple(
            2**63 - 1 if (case.region.entry_kinds[slot], after.entry_kinds[slot]) == WIDENED else value
            for (slot, _, _), value in zip(case.region.inputs(), case.inputs, strict=True)
        )
        tried += large != case.inputs
        assert keeps(count, replace(case, inputs=large))
    assert tried > 50


WIDENED = (EntryKind.SMALL_INT, EntryKind.INT)

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
        "if region.entry_kinds[slot] is EntryKind.SMALL_INT}",
        "if region.entry_kinds[slot] in (EntryKind.SMALL_INT, EntryKind.INT, EntryKind.RANGE_ITERATOR)}",
    ),
    "one way in is enough": (
        "return all(self.is_start(operand) or operand in counted for operand in self.incoming[value])",
        "return any(self.is_start(operand) or operand in counted for operand in self.incoming[value])",
    ),
    "any counted value is a step": (
        "if self.is_step(step) and (self.is_start(counter) or counter in counted):",
        "if (self.is_step(step) or step in counted) and (self.is_start(counter) or counter in counted):",
    ),
    "products are counted": ('"int_sub": "int_sub_wrap"}', '"int_sub": "int_sub_wrap", "int_mul": "int_mul_wrap"}'),
    "the step must be small, not the start": ("                return counter\n", "                return step\n"),
    "values of one round are enough": ("            counted = kept\n", "            return kept\n"),
    "all inputs are widened": ("if value in starts and value not in needed:", "if value in starts:"),
    "every int is a truth value": ('if op.name == "bool_to_int" and', 'if op.name.endswith("_to_int") and'),
}


def is_killed(mutant: Pass, case: Case) -> bool:
    """By the property; or by an input that a counter starts with and that is large, where the entry lets it in."""
    try:
        after = mutant(case.region)
        large = tuple(
            2**63 - 1 if after.entry_kinds[slot] is EntryKind.INT else value
            for (slot, _, _), value in zip(case.region.inputs(), case.inputs, strict=True)
        )
        return not keeps(mutant, case) or not keeps(mutant, replace(case, inputs=large))
    except (KeyError, AssertionError, TypeError, AttributeError):
        return True


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = planted(module, *MUTANTS[bug], monkeypatch)
    assert any(is_killed(mutant, case) for case in seeds()), "the mutant lives"
