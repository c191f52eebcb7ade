"""Quick rests give what `fmod` gives, to the last bit; and the test that says so notices planted bugs.

Machine code of `%`, `//` and `math.fmod` on floats is compared with the evaluator, that is with Python: on random
operands of all magnitudes, on multiples of the divisor and their neighbours, where a quotient rounds up to a whole
number, and where it is about 2**53.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from minijit.backend import lower_floats, quick_rests
from minijit.ir.eval import evaluate
from minijit.ir.text import parse_region
from minijit.oracle.compare import exact_outcome
from minijit.oracle.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Region

ROUNDS = 1500
OPS = ("float_mod", "float_floordiv", "math_fmod")
EDGES = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 2.2e-308, 1e300, -1e300, 0.1, -3.0)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine(2)


def region_of(name: str) -> Region:
    return parse_region(f"""region f call(float, float)
b0(v0: float, v1: float):
  v2: float = {name} v0, v1 | e0
  return v2
e0: domain @2 [v0, v1 |]
""")


def pairs() -> Iterator[tuple[float, float]]:
    yield from ((x, y) for x in EDGES for y in EDGES)
    chance = random.Random(5)
    for _ in range(ROUNDS):
        y = math.ldexp(chance.uniform(-2, 2), chance.choice((0, 1, -3, 40, -1040, 1000)))
        yield math.ldexp(chance.uniform(-2, 2), chance.randrange(-1060, 1020)), y
        whole = chance.randrange(1 << chance.choice((1, 3, 10, 30, 52, 53, 54, 60)))
        near = whole * y
        yield from ((x, y) for x in (near, math.nextafter(near, 0), math.nextafter(near, math.inf), near + y / 2))
        yield y, near
        yield math.nextafter(y, 0), y


def differs(machine: Machine, name: str) -> bool:
    region = region_of(name)
    with machine.compile(region) as compiled:
        return any(
            exact_outcome(compiled.run(pair, pair)) != exact_outcome(evaluate(region, pair, objects=pair))
            for pair in pairs()
        )


@pytest.mark.parametrize("name", OPS)
def test_a_quick_rest_is_the_rest(name: str, machine: Machine) -> None:
    assert not differs(machine, name)


def test_the_quick_way_is_taken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the function, ordinary rests are right."""
    monkeypatch.setattr(lower_floats, "_any_fmod", lambda _op: lambda _e: "0.0")
    chance = random.Random(1)
    region = region_of("math_fmod")
    with machine.compile(region) as compiled:
        for _ in range(300):
            pair = (chance.uniform(-1e9, 1e9), chance.uniform(0.001, 50.0))
            assert exact_outcome(compiled.run(pair, pair)) == exact_outcome(evaluate(region, pair, objects=pair))
        huge = (1e300, 7.0)
        assert exact_outcome(compiled.run(huge, huge)) != exact_outcome(evaluate(region, huge, objects=huge))


def always(quick: Callable[[Emitter, str, str], tuple[str, str]]) -> Callable[[Emitter, str, str], tuple[str, str]]:
    return lambda e, dividend, divisor: (quick(e, dividend, divisor)[0], "true")


def plain_product(e: Emitter, dividend: str, divisor: str) -> tuple[str, str]:
    """The rest without fused multiplication."""
    whole = e.let(f"call double @llvm.trunc.f64(double {e.let(f'fdiv double {dividend}, {divisor}')})")
    rest = e.let(f"fsub double {dividend}, {e.let(f'fmul double {whole}, {divisor}')}")
    result = e.let(f"call double @llvm.copysign.f64(double {rest}, double {dividend})")
    return result, quick_rests.quick_rest(e, dividend, divisor)[1]


def any_divisor(e: Emitter, dividend: str, divisor: str) -> tuple[str, str]:
    quotient = e.let(f"fdiv double {dividend}, {divisor}")
    size = e.let(f"call double @llvm.fabs.f64(double {quotient})")
    return quick_rests.quick_rest(e, dividend, divisor)[0], e.let(f"fcmp olt double {size}, {quick_rests.WHOLE}")


MUTANTS = {
    "is always certain": ("lower_floats.quick_rest", always(quick_rests.quick_rest)),
    "takes any quotient": ("quick_rests.WHOLE", "0x4370000000000000"),
    "takes infinite divisors": ("lower_floats.quick_rest", any_divisor),
    "rounds the product": ("lower_floats.quick_rest", plain_product),
}
HOMES = {"lower_floats": lower_floats, "quick_rests": quick_rests}


@pytest.mark.parametrize("bug", MUTANTS)
def test_planted_bug_is_noticed(bug: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    place, other = MUTANTS[bug]
    home, _, name = place.partition(".")
    monkeypatch.setattr(HOMES[home], name, other)
    assert any(differs(machine, op) for op in OPS), "the mutant lives"
