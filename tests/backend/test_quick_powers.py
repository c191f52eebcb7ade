"""Quick powers give what `pow` gives, to the last bit; and the test that says so notices planted bugs.

Machine code of `float_pow` with each constant exponent that has a quick way is compared with the evaluator, that is with
Python, on random bases (among which one power in thirty is too near to the middle between two floats), on powers of
two and their neighbours, and around the ends of the ordinary magnitudes.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from minijit.backend import lower_floats, quick_powers
from minijit.backend.quick_powers import EXPONENTS, LEAST, MOST, is_offered
from minijit.ir.eval import evaluate
from minijit.ir.text import parse_region
from minijit.oracle.compare import exact_outcome
from minijit.oracle.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minijit.ir.region import Region

ROUNDS = 1500
EDGES = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, 1e-310, 1e300, -1e300, 0.1, -3.0, 1e154, 1e-154)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine(2)


def region_of(name: str, exponent: float) -> Region:
    return parse_region(f"""region f call(float)
b0(v0: float):
  v1: float = {name} v0, {exponent!r} | e0
  return v1
e0: domain @2 [v0 |]
""")


def bases(exponent: float) -> Iterator[float]:
    yield from EDGES
    chance = random.Random(exponent)
    ends = [x ** (1 / exponent) for x in (LEAST, MOST)]
    for power in range(-70, 71):
        ends.append(math.ldexp(1.0, power))
    for end in ends:
        yield from (math.nextafter(end, 0), end, math.nextafter(end, math.inf))
    for _ in range(ROUNDS):
        size = math.ldexp(1 + chance.random(), chance.randrange(-6, 6))
        yield size if chance.random() < 0.7 else -size
        # What its square loses is too small for a float.
        yield math.ldexp(1 + chance.random(), chance.randrange(-537, -508))


def differs(machine: Machine, name: str, exponent: float) -> bool:
    region = region_of(name, exponent)
    with machine.compile(region) as compiled:
        return any(
            exact_outcome(compiled.run((base,), (base,))) != exact_outcome(evaluate(region, (base,), objects=(base,)))
            for base in bases(exponent)
        )


@pytest.mark.parametrize("name", ["float_pow", "math_pow"])
@pytest.mark.parametrize("exponent", sorted(EXPONENTS))
def test_a_quick_power_is_the_power(name: str, exponent: float, machine: Machine) -> None:
    assert not differs(machine, name, exponent)


def test_the_quick_way_is_taken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a general way, only the powers near to a middle and those of odd magnitudes are wrong."""
    if not is_offered():
        pytest.skip("the C library's error is not known")
    monkeypatch.setattr(lower_floats, "_any_float_power", lambda _e, _op: "0.0")
    region = region_of("float_pow", 2.0)
    chance = random.Random(1)
    with machine.compile(region) as compiled:
        tried = [chance.uniform(0.1, 9.0) for _ in range(1000)]
        quick = [base for base in tried if exact_outcome(compiled.run((base,), (base,))) == wanted(region, base)]
    assert 930 < len(quick) < 1000


def wanted(region: Region, base: float) -> object:
    return exact_outcome(evaluate(region, (base,), objects=(base,)))


def test_another_library_has_no_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (None, "", "other 1.2"):
        monkeypatch.setattr(quick_powers.os, "confstr", lambda _name, answer=answer: answer)
        is_offered.cache_clear()
        assert not is_offered()
    monkeypatch.undo()
    is_offered.cache_clear()


MUTANTS = {
    "takes the nearest float always": ("NEAR", 0.51),
    "takes any small magnitude": ("LEAST", 5e-324),
    "takes any large magnitude": ("MOST", math.inf),
    "forgets what a product lost": (
        "_times",
        lambda e, pair, factor: (e.let(f"fmul double {pair[0]}, {factor}"), "0.0"),
    ),
    "takes a root for exact": ("_root", lambda e, base: (e.let(f"call double @llvm.sqrt.f64(double {base})"), "0.0")),
    "takes a quotient for exact": ("_reciprocal", lambda e, high, _low: (e.let(f"fdiv double 1.0, {high}"), "0.0")),
}


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_offered():
        pytest.skip("the C library's error is not known")
    monkeypatch.setattr(quick_powers, *MUTANTS[bug])
    assert any(differs(machine, "float_pow", exponent) for exponent in sorted(EXPONENTS))
