"""Whole modules of random functions: interpreted and compiled, under each stress mode, they do the same.

`test_mutants` has the converse, without which that proves nothing.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from
from runs import MIXED, MODES, Case, compare, warm_up
from search import Search

from behaviour.isolated import isolated
from strategies.programs import programs

FEW, MANY = 250, 6000


@pytest.mark.timeout(600)
def test_compiled_programs_do_what_interpreted_ones_do() -> None:
    outcome = Search(MIXED, 0, FEW, jobs=1).run()
    assert outcome.findings == []
    assert outcome.programs > 0.95 * FEW, outcome
    assert outcome.sums["compilations"] > 2 * FEW, outcome.sums
    assert outcome.sums["entries"] > 100 * FEW, outcome.sums
    assert outcome.sums["exits"] > 50 * FEW, outcome.sums


@isolated
def test_programs_that_hypothesis_makes() -> None:
    @settings(max_examples=30, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(programs(), sampled_from(MODES))
    def same(text: str, stress: str) -> None:
        warm_up(stress)
        assert compare(Case(0, stress, text)).difference == ""

    same()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_programs() -> None:
    outcome = Search(MIXED, 10**6, 10**6 + MANY, jobs=os.cpu_count() or 1).run()
    assert outcome.findings == []
