"""`iterators` keeps what a region does; and the test that says so notices planted bugs.

Random regions have no loops over ranges, so the regions are those of the traces `traces/iterators_*.trace`, with all
inputs of a table, left at each of the first polls: what is left must be right in snapshots.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from minijit.ir.check import check_region
from minijit.ir.eval import evaluate
from minijit.ir.kinds import INT_MAX, INT_MIN, EntryKind
from minijit.ir.region import Region
from minijit.opt import iterators as module
from minijit.opt import rounds
from minijit.opt.iterators import iterators
from minijit.oracle.compare import signature
from strategies.mutants import Pass, planted
from strategies.regions import Case
from strategies.traces import file_cases, trace_cases, trace_files

INPUTS: dict[EntryKind, tuple[object, ...]] = {
    EntryKind.INT: (0, 1, -1, 5, 9, INT_MAX, INT_MIN),
    EntryKind.BOOL: (False, True),
}
POLLS = (0, 1, 2, 3, 7)


def outcome(region: Region, case: Case) -> object:
    polls = iter(range(1, 10**6))
    ended = evaluate(region, case.inputs, fuel=5000, should_leave=lambda _exit: next(polls) == case.leave_at)
    return signature(region, ended)


def keeps(run_pass: Pass, case: Case) -> bool:
    before, after = outcome(case.region, case), outcome(run_pass(case.region), case)
    return check_region(run_pass(case.region)) == () and before == after


@pytest.mark.parametrize("path", trace_files("iterators"), ids=lambda path: path.stem)
def test_iterators_keep_what_a_trace_does(path: Path) -> None:
    assert all(keeps(iterators, case) for case in file_cases(path, INPUTS, POLLS))


MUTANTS = {
    "adds the end of what falls": ("ADD if pair.step == 1 else SUB", "ADD"),
    "subtracts the other way": ("(end, following) if pair.step == 1", "(end, following) if True"),
    "takes any step": ("if pair.step in (1, -1)}", "if pair.step}"),
    "keeps the end of the round before": ("if (number, edge) in pair.ways_in:", "if False:"),
    "compares with what is left": ("(following, end), op.result)", "(following, left), op.result)"),
}


def is_killed(mutant: Pass, case: Case) -> bool:
    try:
        return not keeps(mutant, case)
    except (LookupError, AssertionError):
        return True


ROUNDS_MUTANTS = {
    "looks at one round only": ("for edge in rounds}", "for edge in rounds[:1]}"),
    "takes any start for the round before": (" or op.args[0] != value:", ":"),
    "takes rounds for ways in": ("if not moves_on]", "if moves_on]"),
    "counts what moves by anything": ("counter, SUB, made) == -1", "counter, SUB, made)"),
}


@pytest.mark.parametrize("bug", ROUNDS_MUTANTS)
def test_planted_bug_in_rounds_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the pairs that the pass works on."""
    monkeypatch.setattr(module, "find_pairs", planted(rounds, *ROUNDS_MUTANTS[bug], monkeypatch, name="find_pairs"))
    assert any(is_killed(iterators, case) for case in trace_cases("iterators", INPUTS, POLLS))


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = planted(module, *MUTANTS[bug], monkeypatch)
    assert any(is_killed(mutant, case) for case in trace_cases("iterators", INPUTS, POLLS))
