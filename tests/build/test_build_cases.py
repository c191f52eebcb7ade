"""What the builder makes of small functions: the regions in `cases/*.case`, which `builder_tools.py` describes.

Besides the text, each region that is entered by a call with numbers is evaluated: what it returns is what the function
returns, and where the function raises, the region does not return.
"""

from __future__ import annotations

import itertools
from types import CodeType, FunctionType

import pytest
from builder_tools import BuildCase, all_cases, case_files, function_of, read_cases

from minijit.build import numbers
from minijit.build.bytecodes import HANDLERS
from minijit.ir.bytecode import decode
from minijit.ir.eval import Returned, evaluate
from minijit.ir.kinds import EntryKind
from minijit.ir.region import EntryPoint
from minijit.ir.text import parse_region
from strategies.regions import canonical

CASES = all_cases()
SAMPLES: dict[EntryKind, tuple[object, ...]] = {
    EntryKind.INT: (0, 1, 2, 5, 9, -3, 2**62, -(2**63)),
    EntryKind.FLOAT: (0.0, -0.0, 1.5, -2.5, 1e300),
    EntryKind.BOOL: (False, True),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_region(case: BuildCase) -> None:
    assert case.region() == case.wanted.rstrip("\n") + "\n"


def test_files_hold_what_the_script_would_write() -> None:
    for file in case_files():
        texts = [case.text().rstrip("\n") + "\n" for case in read_cases(file)]
        assert file.read_text(encoding="utf-8") == "\n".join(texts)


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert sorted(set(names)) == sorted(names)


def evaluated() -> list[BuildCase]:
    """The cases whose inputs are numbers, and whose text has no object that only the source knows."""
    chosen = []
    for case in CASES:
        region = parse_region(case.wanted)
        scalars = all(kind in SAMPLES for kind in region.entry_kinds)
        looks_outside = any(name in case.wanted for name in ("load_global", "free_variable", "store_field"))
        if region.point is EntryPoint.CALL and scalars and not looks_outside:
            chosen.append(case)
    return chosen


def first_difference(case: BuildCase) -> tuple[object, ...] | None:
    """The first inputs for which the region returns something else than the function."""
    region = case.made()
    function = function_of(case.source)
    for inputs in itertools.product(*(SAMPLES[kind] for kind in region.entry_kinds)):
        outcome = evaluate(region, inputs, fuel=1000)
        if isinstance(outcome, Returned) and canonical(outcome.value) != canonical(function(*inputs)):
            return inputs
    return None


@pytest.mark.parametrize("case", evaluated(), ids=lambda case: case.name)
def test_region_returns_what_the_function_returns(case: BuildCase) -> None:
    assert first_difference(case) is None


def test_most_evaluated_cases_return() -> None:
    """A comparison of nothing would say nothing."""
    returning = 0
    for case in evaluated():
        region = case.made()
        inputs = [SAMPLES[kind][1] for kind in region.entry_kinds]
        returning += isinstance(evaluate(region, inputs, fuel=10_000), Returned)
    assert returning > len(evaluated()) / 2


def test_wrong_operator_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: a builder that adds where it should subtract."""
    monkeypatch.setitem(numbers._INT_OPS, "-", numbers._INT_OPS["+"])
    assert any(first_difference(case) for case in evaluated())


def codes_in(function: FunctionType) -> list[CodeType]:
    """The code of a case's function, and of what is inlined: all functions and methods in its globals."""
    scopes = [vars(each) for each in function.__globals__.values() if isinstance(each, type)]
    found = [each for scope in (function.__globals__, *scopes) for each in scope.values()]
    return [function.__code__, *(each.__code__ for each in found if isinstance(each, FunctionType))]


def test_every_handler_has_a_case() -> None:
    """Operators and calls have tables of their own; here each instruction stands in some case."""
    used: set[str] = set()
    for case in CASES:
        used |= {i.name for code in codes_in(function_of(case.source)) for i in decode(code).instructions.values()}
    assert set(HANDLERS) - used == set()
