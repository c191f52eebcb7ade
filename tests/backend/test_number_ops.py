"""The ops on numbers whose sort is known at run time only, by machine code, by the evaluator, and by Python itself."""

from __future__ import annotations

import itertools
import math
import operator
from typing import TYPE_CHECKING, Any

import pytest

from minijit.ir.eval import Left, Returned, evaluate
from minijit.ir.kinds import const_kind
from minijit.ir.text import parse_region
from minijit.oracle.compare import exact
from minijit.oracle.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.ir.region import Region

MAX, MIN = 2**63 - 1, -(2**63)
NUMBERS: list[Any] = [
    *(0, 1, -1, 7, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, MAX, MIN, True, False),
    *(0.0, -0.0, 0.5, 1.0, -1.5, 2.0**53, 2.0**63, -(2.0**63), 1e300, math.inf, -math.inf, math.nan),
]
BINARY = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv}
COMPARED = {name: getattr(operator, name) for name in ("lt", "le", "eq", "ne", "gt", "ge")}
UNARY: dict[str, Callable[[Any], object]] = {"neg": operator.neg, "to_float": float, "to_bool": bool}
EXITS = "e0: kind @0 [| entry0]\ne1: overflow @0 [| entry0]\n"


@pytest.fixture(scope="module", params=(0, 2), ids=("O0", "O2"))
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


def region_of(body: str, count: int) -> Region:
    """A region over so many objects, which are the numbers v10, v11."""
    loads = "".join(
        f"  v{k}: object = entry_object {k}\n  v1{k}: number = unbox_number v{k} | e0\n" for k in range(count)
    )
    kinds = ", ".join(["object"] * count)
    return parse_region(f"region numbers call({kinds})\nb0():\n{loads}  {body}\n{EXITS}")


def python(function: Callable[..., Any], *arguments: Any) -> object:
    """What Python makes of it; None where that is no machine value, or raises."""
    try:
        found = function(*arguments)
    except (ArithmeticError, ValueError):
        return None
    return found if const_kind(found) is not None else None


def agree(machine: Machine, region: Region, function: Callable[..., Any], choices: Any) -> None:
    with machine.compile(region) as compiled:
        for given in choices:
            ways = [compiled.run((), given), evaluate(region, (), objects=given)]
            wanted = python(function, *given)
            for found in ways:
                if isinstance(found, Left):
                    assert wanted is None or _is_large(function, given), (given, found)
                else:
                    assert isinstance(found, Returned)
                    assert exact(found.value) == exact(wanted), given
            assert type(ways[0]) is type(ways[1]), given


def _is_large(function: Callable[..., Any], given: Any) -> bool:
    """Whether ints are divided that are no floats."""
    return function is operator.truediv and max(map(abs, given)) > 2**53


@pytest.mark.parametrize("name", BINARY)
def test_arithmetic(machine: Machine, name: str) -> None:
    result = "float" if name == "truediv" else "number"
    region = region_of(f"v2: {result} = number_{name} v10, v11 | e1\n  return v2", 2)
    agree(machine, region, BINARY[name], itertools.product(NUMBERS, repeat=2))


@pytest.mark.parametrize("name", COMPARED)
def test_comparisons(machine: Machine, name: str) -> None:
    region = region_of(f"v2: bool = number_{name} v10, v11\n  return v2", 2)
    agree(machine, region, COMPARED[name], itertools.product(NUMBERS, repeat=2))


@pytest.mark.parametrize("name", UNARY)
def test_one_number(machine: Machine, name: str) -> None:
    result, exit = {"neg": ("number", " | e1"), "to_float": ("float", ""), "to_bool": ("bool", "")}[name]
    region = region_of(f"v2: {result} = number_{name} v10{exit}\n  return v2", 1)
    agree(machine, region, UNARY[name], ((each,) for each in NUMBERS))


def test_unboxed(machine: Machine) -> None:
    """What is no number, or none of 64 bits, leaves."""
    region = region_of("return v10", 1)
    agree(machine, region, lambda x: x, ((each,) for each in NUMBERS))
    with machine.compile(region) as compiled:
        for other in (None, "x", 2**63, MIN - 1, 2**200, 1j, [1]):
            assert isinstance(compiled.run((), (other,)), Left)
            assert isinstance(evaluate(region, (), objects=(other,)), Left)


@pytest.mark.parametrize("kind", ["int", "float", "bool"])
def test_made_of_others(machine: Machine, kind: str) -> None:
    text = f"b0(v0: {kind}):\n  v1: number = number_of_{kind} v0\n  v2: bool = is_{kind} v1\n  return v"
    for number in (each for each in NUMBERS if type(each).__name__ == kind):
        for result, wanted in (("1", number), ("2", True)):
            region = parse_region(f"region numbers call({kind})\n{text}{result}\n")
            with machine.compile(region) as compiled:
                found = compiled.run((number,), (number,))
                assert isinstance(found, Returned)
                assert exact(found.value) == exact(wanted)
                assert evaluate(region, (number,)) == found or math.isnan(number)


def test_stored(machine: Machine) -> None:
    """In the place of other numbers, behind a list's end, and in new tuples."""
    body = "store_item v2, 0, v10 | e1\n  append_item v2, v10 | e1\n  v3: object = new_tuple v10 | e1\n"
    text = f"v2: object = entry_object 1\n  {body}  return reference(v3, @cls)"
    loads = "  v0: object = entry_object 0\n  v10: number = unbox_number v0 | e0\n"
    region = parse_region(
        f"region numbers call(object, object)\nb0():\n{loads}  {text}\n{EXITS}", resolve=lambda _name: tuple
    )
    with machine.compile(region) as compiled:
        for number, old in itertools.product(NUMBERS, (1, 2.5, None)):
            for run in (compiled.run, lambda given, held: evaluate(region, given, objects=held)):
                held = [old]
                found = run((), (number, held))
                assert isinstance(found, Returned)
                assert exact((found.value, tuple(held))) == exact(((number,), (number, number)))
