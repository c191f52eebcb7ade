"""Whole modules of random functions: interpreted and compiled, under each stress mode, they do the same.

`test_mutants` has the converse, without which that proves nothing.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import integers, sampled_from
from runs import BUDGET, MIXED, MODES, Case, compare, warm_up
from search import Search

from behaviour.isolated import isolated
from strategies.programs import programs

MANY = 6000


@pytest.mark.timeout(600)
def test_compiled_programs_do_what_interpreted_ones_do() -> None:
    outcome = Search(MIXED, 0, BUDGET, jobs=1).run()
    assert outcome.findings == []
    assert outcome.programs > 0.95 * BUDGET, outcome
    assert outcome.sums["compilations"] > 2 * BUDGET, outcome.sums
    assert outcome.sums["entries"] > 100 * BUDGET, outcome.sums
    assert outcome.sums["exits"] > 50 * BUDGET, outcome.sums


@isolated
def test_programs_that_hypothesis_makes() -> None:
    @settings(max_examples=30, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(programs(), integers(0, 10**6), sampled_from(MODES))
    def same(text: str, seed: int, stress: str) -> None:
        warm_up(stress)
        assert compare(Case(seed, stress, text)).difference == ""

    same()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_programs() -> None:
    outcome = Search(MIXED, 10**6, 10**6 + MANY, jobs=os.cpu_count() or 1).run()
    assert outcome.findings == []
