"""Every pass keeps what a region does, on random regions; and the test that says so notices planted bugs.

What a pass may change, `wrap` among them, says `minijit.oracle.compare`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from minijit.ir.check import check_region
from minijit.ir.eval import Outcome, evaluate
from minijit.ir.ops import TABLE, Row
from minijit.ir.region import Branch, Jump, Region
from minijit.ir.text import print_region
from minijit.opt import imply, params, prune, wrap
from minijit.opt.pipeline import PASSES, optimise
from minijit.oracle import compare
from strategies.mutants import Pass, planted
from strategies.regions import (
    NAMESPACE,
    Case,
    cases,
    random_case,
    reset_namespace,
)
from strategies.traces import trace_cases

FUEL = 20_000
"""More than any region takes, and not much for a mutant that loops for ever."""


def run(region: Region, case: Case, table: Mapping[str, Row] = TABLE) -> Outcome:
    """Evaluates with a world that changes at polls: that is why loads may not be moved across them."""
    reset_namespace()
    polls = 0

    def poll(_exit: int) -> bool:
        nonlocal polls
        polls += 1
        NAMESPACE.update(count=7 + polls, ratio=0.5 + polls, flag=polls % 2 == 0)
        return polls == case.leave_at

    return evaluate(region, case.inputs, should_leave=poll, table=table, fuel=FUEL)


def wasteful(region: Region) -> Region:
    """The region with every third branch decided, so that blocks and exits are left over."""
    blocks = tuple(
        replace(block, end=Jump(block.end.otherwise)) if number % 3 == 0 and isinstance(block.end, Branch) else block
        for number, block in enumerate(region.blocks)
    )
    return replace(region, blocks=blocks)


def keeps(name: str, run_pass: Pass, case: Case) -> bool:
    """Whether a pass makes a valid region that does the same."""
    before = case.region if name != "prune" else wasteful(case.region)
    after = run_pass(before)
    if name == "polls":
        return not check_region(after) and compare.keeps_polls(
            before, after, lambda region, number: run(region, replace(case, leave_at=number)), case.leave_at
        )
    return not check_region(after) and compare.keeps(
        name, before, after, lambda region, table: run(region, case, table)
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_passes_keep_what_a_region_does(case: Case) -> None:
    for name, run_pass in PASSES:
        assert keeps(name, run_pass, case), name
        case = replace(case, region=run_pass(case.region))


@pytest.mark.parametrize("name", dict(PASSES))
def test_pass_keeps_what_a_region_does(name: str) -> None:
    for seed in range(150):
        assert keeps(name, dict(PASSES)[name], random_case(seed)), seed


@pytest.mark.parametrize("name", dict(PASSES))
def test_pass_keeps_what_a_trace_does(name: str) -> None:
    """All inputs, so that what only the planted bugs do with these regions is their own."""
    for case in trace_cases(name):
        assert keeps(name, dict(PASSES)[name], case), print_region(case.region)


def test_passes_find_nothing_in_their_own_result() -> None:
    """Running all of them twice gives what running them once gives."""
    for seed in range(100):
        once = optimise(random_case(seed).region, check=True)
        # A fold makes joins trivial and dead ends idle, which the passes before it see the second time.
        twice = optimise(optimise(once, check=True), check=True)
        assert print_region(optimise(twice)) == print_region(twice)


def test_passes_do_something_to_random_regions() -> None:
    """A property of passes that never find anything would say nothing."""
    changed = dict.fromkeys(dict(PASSES), 0)
    for seed in range(100):
        region = random_case(seed).region
        for name, run_pass in PASSES:
            after = run_pass(region)
            changed[name] += print_region(after) != print_region(region)
            region = after
    # Random regions have no loops over ranges, and make no calls: see test_iterators and test_polls.
    assert changed.pop("iterators") == changed.pop("polls") == 0
    assert all(count >= 10 for count in changed.values()), changed


# Mutants: (pass, what stands in its source, what stands there instead, cases that may be needed).

MUTANTS = {
    "params mixes up zeros": (
        params,
        "if only is not None and arg != only:",
        "if only is not None and arg != only and getattr(arg, 'value', arg) != getattr(only, 'value', only):",
    ),
    "params looks at one edge only": (
        params,
        "for arg in incoming[param]:",
        "for arg in incoming[param][:1]:",
    ),
    "params drops the wrong argument": (
        params,
        "[edge.args[i] for i in kept[edge.target]]",
        "[edge.args[i] for i in range(len(kept[edge.target]))]",
    ),
    "params stops at the first link of a chain": (
        params,
        "final = {n: _resolve(n, same) for n in same}",
        "final = same",
    ),
    "wrap ignores exits": (wrap, "seen.update(exit_values(region.exits[exit]))", "pass"),
    "wrap ignores edges": (wrap, "        seen.update(edge.args)\n", "        pass\n"),
    "wrap ignores returns": (wrap, "seen.update(slot_operands(block.end.value))", "pass"),
    "wrap takes negative masks": (wrap, "and arg.value >= 0 for", "for"),
    "wrap takes variable shifts": (
        wrap,
        "return isinstance(count, Const) and isinstance(count.value, int) and 0 <= count.value < 64",
        "return True",
    ),
    "wrap forgets what hands on": (wrap, "    seen.update(op.args)\n    _see_exit", "    _see_exit"),
    "wrap hands on through divisions": (
        wrap,
        '{"int_and", "int_or",',
        '{"int_floordiv", "int_and", "int_or",',
    ),
    "imply ignores dominance": (
        imply,
        "            walk.rewind(*marks.pop())\n",
        "            marks.pop()\n",
    ),
    "imply ignores other ways in": (
        imply,
        "if len(self.before[number]) != 1:",
        "if not self.before[number]:",
    ),
    "imply turns branches round": (
        imply,
        "self.learn(condition, then.target == number)",
        "self.learn(condition, then.target != number)",
    ),
    "imply takes guards that fail": (
        imply,
        "if walk.known(condition) is wanted:",
        "if walk.known(condition) is not None:",
    ),
    "imply learns both sides of `and`": (
        imply,
        'elif made.name == ("bool_and" if truth else "bool_or"):',
        'elif made.name in ("bool_and", "bool_or"):',
    ),
    "imply takes any tag for the one asked": (
        imply,
        'made.name == f"pack_{tag}":',
        'made.name.startswith("pack_"):',
    ),
    "imply takes what is not an int for a float": (
        imply,
        "elif truth and made.name in TESTS:",
        "elif made.name in TESTS:",
    ),
    "imply loads across polls": (imply, "    walk.loads.clear()\n    return True", "    return True"),
    "imply loads across blocks": (imply, "        self.loads.clear()\n", ""),
    "imply forgets the snapshots": (
        imply,
        "        if self.change:\n            exits",
        "        if not self.change:\n            exits",
    ),
    "prune drops guards": (prune, "if op.exit is not None or op.result in needed", "if op.result in needed"),
    "prune forgets the snapshots": (
        prune,
        "        needed.update(exit_values(region.exits[exit]))\n",
        "        pass\n",
    ),
    "prune forgets what ops are made from": (
        prune,
        "    needed.update(op.args)\n    return True",
        "    return True",
    ),
    "prune mixes up exits": (
        prune,
        "return Op(op.name, op.args, op.result, place[op.exit])",
        "return Op(op.name, op.args, op.result, 0)",
    ),
    "prune keeps unreachable blocks' numbers": (
        prune,
        "for position, block in enumerate(reachable)",
        "for position, block in enumerate(sorted(reachable, reverse=True))",
    ),
}


def is_killed(name: str, mutant: Pass, case: Case) -> bool:
    try:
        return not keeps(name, mutant, case)
    except Exception:  # noqa: BLE001 - a mutant that breaks in any way is noticed
        return True


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, old, new = MUTANTS[bug]
    mutant = planted(module, old, new, monkeypatch)
    name = module.__name__.rpartition(".")[2]
    seeds = itertools.chain(trace_cases(name), map(random_case, range(9000)))
    assert any(is_killed(name, mutant, case) for case in seeds), "the mutant lives"
