"""Machine code does what the evaluator says, for random regions; and the comparison notices planted bugs.

All of it runs in processes of its own (`lowering_tools` as a script): a crash fails the test with the region that was
running.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lowering_tools import CRASH, MUTANTS, NO_MUTANT, describe, last_example

if TYPE_CHECKING:
    from collections.abc import Callable

TOOLS = Path(__file__).parent / "lowering_tools.py"
ROOT = TOOLS.parents[2]
SLICE = 1000
"""Examples that one process compares."""

type Compare = Callable[[str, int, int], str]


@pytest.fixture
def compare(run_python: Callable[..., Any], tmp_path: Path) -> Compare:
    """Gives what differs among examples from the first number up to the last: empty if nothing does."""
    progress = tmp_path / "progress"

    def run(mutant: str, first: int, last: int) -> str:
        path = f"{ROOT / 'src'}:{ROOT / 'tests'}"
        try:
            out = run_python(TOOLS, mutant, first, last, progress, env={"PYTHONPATH": path}, timeout=600)
        except pytest.fail.Exception as crash:
            raise AssertionError(f"{describe(last_example(progress.read_text()))}{crash}") from None
        assert out.returncode in (0, 1), f"{describe(last_example(progress.read_text()))}{out.stderr}"
        return str(out.stderr)

    return run


def test_machine_code_does_what_the_evaluator_says(compare: Compare) -> None:
    assert not compare(NO_MUTANT, 0, 300)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 5 * SLICE, SLICE))
def test_machine_code_does_what_the_evaluator_says_often(compare: Compare, first: int) -> None:
    assert not compare(NO_MUTANT, first, first + SLICE)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_planted_bug_is_noticed(compare: Compare, mutant: str) -> None:
    """Among the examples of the slow test, which has them all."""
    assert "machine" in compare(mutant, 0, 5 * SLICE), "the mutant lives"


def test_crash_is_reported_with_its_region(compare: Compare) -> None:
    with pytest.raises(AssertionError, match=r"number 7, level 2, passes True\nregion random(.|\n)*Segmentation fault"):
        compare(CRASH, 7, 8)
