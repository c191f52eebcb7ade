"""`polls` keeps what a region does, at the polls that are left; and the test that says so notices planted bugs.

In strips, a loop polls after so many rounds only: it must leave there as it did at that back edge before. Where each
round makes a call, it must leave at each call as it did before.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from minijit.events import ExitReason
from minijit.ir.check import check_region
from minijit.ir.eval import evaluate
from minijit.ir.kinds import INT_MIN, EntryKind
from minijit.ir.region import Region
from minijit.opt import polls as module
from minijit.opt.polls import polls
from minijit.oracle.compare import signature
from strategies.mutants import Pass, planted
from strategies.regions import Case
from strategies.traces import file_cases, trace_cases, trace_files

INPUTS: dict[EntryKind, tuple[object, ...]] = {
    EntryKind.INT: (0, 1, -1, 3, 4, 7, 20, INT_MIN),
    EntryKind.BOOL: (False, True),
}
STRIP = 3
FUEL = 3000


def outcome(region: Region, case: Case, reason: ExitReason, number: int) -> object:
    """What comes of leaving where this reason for it comes up for the n-th time; 0 for never."""
    met = 0

    def should_leave(exit: int) -> bool:
        nonlocal met
        met += region.exits[exit].reason is reason
        return region.exits[exit].reason is reason and met == number

    return signature(region, evaluate(region, case.inputs, fuel=FUEL, should_leave=should_leave))


def keeps(run_pass: Pass, case: Case) -> bool:
    after = run_pass(case.region)
    if check_region(after):
        return False
    if outcome(case.region, case, ExitReason.POLL, 0) != outcome(after, case, ExitReason.POLL, 0):
        return False
    calls = any(op.name == "room" for block in case.region.blocks for op in block.ops)
    reason, rounds = (ExitReason.ROOM, 1) if calls else (ExitReason.POLL, STRIP)
    ended = outcome(case.region, case, reason, 0)
    left = [outcome(case.region, case, reason, number) for number in range(1, 40)]
    met = left[: left.index(ended)] if ended in left else left
    wanted = met[rounds - 1 :: rounds]
    seen = [outcome(after, case, reason, number) for number in range(1, len(wanted) + 3)]
    # At the end of the last strip, too, if the loop is not left before: that may be a shorter one.
    return seen[: seen.index(ended)] in (wanted, [*wanted, *met[-1:]])


@pytest.fixture(autouse=True)
def short_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRIP", STRIP)


CUT = [path for path in trace_files("polls") if "_not_" not in path.stem and "_inner" not in path.stem]


@pytest.mark.parametrize("path", CUT, ids=lambda path: path.stem)
def test_what_is_left_is_right(path: Path) -> None:
    assert all(keeps(polls, case) for case in file_cases(path, INPUTS))


def test_strips_of_an_inner_loop() -> None:
    """Each time it begins anew: all that its polls see is among what they saw before."""
    (path,) = (path for path in trace_files("polls") if path.stem == "polls_inner")
    cut = 0
    for case in file_cases(path, {**INPUTS, EntryKind.INT: (0, 1, 3, 7)}):
        after = polls(case.region)
        ended = outcome(case.region, case, ExitReason.POLL, 0)
        assert outcome(after, case, ExitReason.POLL, 0) == ended
        before = [outcome(case.region, case, ExitReason.POLL, number) for number in range(1, 150)]
        for number in range(1, 50):
            seen = outcome(after, case, ExitReason.POLL, number)
            assert seen in before
            cut += seen != ended
    assert cut > 20


MUTANTS = {
    "cuts where something is made": ("not effects <= _ALONE or ", ""),
    "cuts other loops": ("if not any(op.name == SUB and op.args == test.args[::-step]", "if not any(op.name"),
    "has strips that are too long": ("(left, Const(STRIP)), self.rounds)", "(left, Const(STRIP + 1)), self.rounds)"),
    "goes beyond the end": ("(left, Const(STRIP)), self.rounds)", "(Const(STRIP), Const(STRIP)), self.rounds)"),
    "falls the other way": ("ADD if self.counted.step == 1 else SUB", "ADD"),
    "takes what is left for what is done": ("(end, start) if self.counted.step == 1 else (start, end)", "(start, end)"),
    "polls in each round": ('if op.name != "poll"), test)', "), test)"),
    "does not poll between strips": ("Block((), (polls_again,), Jump(edge))", "Block((), (), Jump(edge))"),
    "leaves with values of the header": ("map_exit(self.exits[exit], self.copies)", "self.exits[exit]"),
    "forgets blocks that are no part of the loop": ("self.inner:", "self.loop.body - {self.loop.header}:"),
    "leaves from there with values of the header": ("Leave(self.leaving(end.exit))", "Leave(end.exit)"),
    "mixes up what is behind a break": ("return None if any(values &", "return None if any(set() &"),
    "does not look at what is returned": ("found.update(slot_operands(value))", "pass"),
    "does not look at how it is left": ("exits.append(exit)", "pass"),
    "computes with values of the header": ("ops = tuple(map(self.within, block.ops))", "ops = block.ops"),
    "goes on with values of the header": (
        "Block(block.params, ops, leaving)",
        "Block(block.params, ops, block.end)",
    ),
    "goes to the header's values": ("Jump(map_edge(end.then, self.copies))", "Jump(end.then)"),
    "ends with the first strip": (
        "Block((), (polls_again,), Jump(edge))",
        "Block((), (polls_again,), Jump(self.header.end.otherwise))",
    ),
    "drops polls where one way makes no call": ("return False\n            continue", "break\n            continue"),
    "drops polls behind what is seen": (
        'if first.name != "room":',
        'if not any(op.name == "room" for op in block.ops):',
    ),
}


def is_killed(mutant: Pass, case: Case) -> bool:
    try:
        return mutant(case.region) != polls(case.region) and (
            polls(case.region) == case.region or not keeps(mutant, case)
        )
    except (LookupError, AssertionError, ValueError, AttributeError, TypeError):
        return True


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = planted(module, *MUTANTS[bug], monkeypatch)
    monkeypatch.setattr(__import__("sys").modules[mutant.__module__], "STRIP", STRIP, raising=False)
    assert any(is_killed(mutant, case) for case in trace_cases("polls", INPUTS))
