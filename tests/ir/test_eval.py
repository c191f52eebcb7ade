"""The evaluator: what regions come to, and what an exit hands over."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from minijit.ir.eval import EntryObject, Left, OutOfFuel, RangeState, Returned, evaluate
from minijit.ir.kinds import INT_MAX, INT_MIN
from minijit.ir.ops import TABLE, UNBOUND
from minijit.ir.region import Hole, Region
from minijit.ir.text import parse_region
from strategies.regions import NAMESPACE, canonical, random_case, reset_namespace

SUM = """
region total call(int)
b0(v0: int):
  jump b1(0, 0)
b1(v1: int, v2: int):
  poll | e0
  v3: bool = int_lt v1, v0
  branch v3 b2() b3()
b2():
  v4: int = int_add v2, v1 | e1
  v5: int = int_add v1, 1 | e2
  jump b1(v5, v4)
b3():
  return v2
e0: poll @8 [v0, v2, v1 |]
e1: overflow @20 [v0, v2, v1 | v2, v1]
e2: overflow @24 [v0, v4, v1 | v1, 1]
"""


def region_of(body: str, kinds: str = "", exits: str = "") -> Region:
    return parse_region(f"region f call({kinds})\n{body}\n{exits}")


def one(op: str, *inputs: object, kind: str = "int") -> object:
    """The result of one op on inputs, or None where it leaves."""
    kinds = [type(x).__name__ for x in inputs]
    params = ", ".join(f"v{n}: {k}" for n, k in enumerate(kinds))
    args = ", ".join(f"v{n}" for n in range(len(inputs)))
    exit = " | e0" if TABLE[op].effect.exits else ""
    body = f"b0({params}):\n  v9: {kind} = {op} {args}{exit}\n  return v9"
    outcome = evaluate(region_of(body, ", ".join(kinds), "e0: kind @0 [|]"), inputs)
    return outcome.value if isinstance(outcome, Returned) else None


def test_a_loop() -> None:
    assert evaluate(parse_region(SUM), [10]) == Returned(45)


def test_fuel() -> None:
    region = parse_region(SUM)
    needed = 1 + 10 * 6 + 3 + 1
    assert evaluate(region, [10], fuel=needed) == Returned(45)
    assert evaluate(region, [10], fuel=needed - 1) == OutOfFuel()


def test_polls_leave_when_asked() -> None:
    seen: list[int] = []

    def third(exit: int) -> bool:
        seen.append(exit)
        return len(seen) == 3

    assert evaluate(parse_region(SUM), [10], should_leave=third) == Left(0, (10, 1, 2), ())
    assert seen == [0, 0, 0]


def test_a_loop_may_swap_its_parameters() -> None:
    body = "b0(v0: int, v1: int, v2: bool):\n  jump b1(v0, v1, v2)\n"
    body += "b1(v3: int, v4: int, v5: bool):\n  branch v5 b1(v4, v3, False) b2()\nb2():\n  return (v3, v4)"
    assert evaluate(region_of(body, "int, int, bool"), [1, 2, True]) == Returned((2, 1))


def test_what_an_exit_hands_over() -> None:
    body = "b0(v0: int, v1: int, v2: int, v3: int):\n  leave e0"
    stack = "range_iter(v3, 2, 3), range_iter.1(v1, v2, v3), range(v0, 9, 2), ((v0, None), 0x10000000000000000)"
    region = region_of(body, "int, range_iterator, object", f"e0: untaken @0 [v0, unbound, entry2 | null, {stack}]")
    outcome = evaluate(region, [1, 2, 3, 4], objects=["a", "b", "c"])
    assert isinstance(outcome, Left)
    assert outcome.locals == (1, UNBOUND, "c")
    assert outcome.stack == (
        Hole.NULL,
        RangeState(4, 2, 3),
        RangeState(2, 3, 4, home=1),
        range(1, 9, 2),
        ((1, None), 2**64),
    )
    assert evaluate(region, [1, 2, 3, 4]) == replace(outcome, locals=(1, UNBOUND, EntryObject(2)))


def test_equal_virtuals_are_one_object_unless_numbered_apart() -> None:
    body = "b0(v0: int):\n  leave e0"
    stack = "(v0, 1), tuple.1(v0, 1), ((v0, 1), tuple.1(v0, 1)), range(v0, 9, 2), range.2(v0, 9, 2), range(v0, 9, 2)"
    outcome = evaluate(region_of(body, "int", f"e0: untaken @0 [| {stack}]"), [5])
    assert isinstance(outcome, Left)
    one, other, both, r, s, t = outcome.stack
    assert one == other == (5, 1)
    assert isinstance(both, tuple)
    assert both[0] is one is not other
    assert both[1] is other
    assert r == s == range(5, 9, 2)
    assert r is t is not s


@pytest.mark.parametrize(
    ("op", "inputs", "result"),
    [
        ("int_add", (INT_MAX, 1), None),
        ("int_add", (INT_MAX, -1), INT_MAX - 1),
        ("int_add_wrap", (INT_MAX, 1), INT_MIN),
        ("int_mul", (2**32, 2**31), None),
        ("int_neg", (INT_MIN,), None),
        ("int_floordiv", (-7, 2), -4),
        ("int_floordiv", (INT_MIN, -1), None),
        ("int_floordiv", (1, 0), None),
        ("int_mod", (-7, 2), 1),
        ("int_lshift", (1, 62), 2**62),
        ("int_lshift", (1, 63), None),
        ("int_lshift", (1, -1), None),
        ("int_lshift_wrap", (3, 63), INT_MIN),
        ("int_rshift", (-1, 200), -1),
        ("int_rshift", (1, -1), None),
        ("int_pow", (2, 62), 2**62),
        ("int_pow", (2, 63), None),
        ("int_pow", (2, -1), None),
    ],
)
def test_ints(op: str, inputs: tuple[int, ...], result: int | None) -> None:
    assert one(op, *inputs) == result


@pytest.mark.parametrize(
    ("op", "inputs", "kind", "result"),
    [
        ("float_truediv", (1.0, 0.0), "float", None),
        ("float_mod", (-1.0, 3.0), "float", 2.0),
        ("float_mod", (-0.0, 3.0), "float", 0.0),
        ("float_pow", (-8.0, 0.5), "float", None),
        ("math_sqrt", (-1.0,), "float", None),
        ("math_log", (0.0,), "float", None),
        ("float_to_int", (math.nan,), "int", None),
        ("float_to_int", (2.0**63,), "int", None),
        ("float_round", (2.5,), "int", 2),
        ("int_truediv", (2**53 + 1, 1), "float", None),
        ("int_float_eq", (2**53 + 1, 2.0**53), "bool", False),
        ("float_eq", (math.nan, math.nan), "bool", False),
        ("int_to_float", (2**53 + 1,), "float", 2.0**53),
    ],
)
def test_floats(op: str, inputs: tuple[object, ...], kind: str, result: object) -> None:
    assert canonical(one(op, *inputs, kind=kind)) == canonical(result)


@pytest.mark.parametrize(
    ("name", "kind", "result"),
    [
        ("count", "int", 7),
        ("count", "float", None),
        ("flag", "int", None),
        ("big", "int", None),
        ("missing", "int", None),
    ],
)
def test_loads_leave_unless_the_kind_is_the_recorded_one(name: str, kind: str, result: object) -> None:
    reset_namespace()
    load = f'v0: object = load_global @space, "{name}" | e0\n  v1: {kind} = unbox_{kind} v0 | e0'
    body = f"b0():\n  {load}\n  return v1\ne0: global @0 [|]"
    region = parse_region(f"region f call()\n{body}", {"space": NAMESPACE}.__getitem__)
    outcome = evaluate(region, [])
    assert outcome == (Left(0, (), ()) if result is None else Returned(result))


def test_calls_leave_where_python_raises_or_gives_another_kind() -> None:
    text = "b0(v0: int):\n  v1: int = call_pure @math.isqrt, v0 | e0\n  return v1"
    assert evaluate(region_of(text, "int", "e0: domain @0 [|]"), [17]) == Returned(4)
    assert evaluate(region_of(text, "int", "e0: domain @0 [|]"), [-1]) == Left(0, (), ())
    text = text.replace("math.isqrt", "float")
    assert evaluate(region_of(text, "int", "e0: domain @0 [|]"), [17]) == Left(0, (), ())


def test_random_regions_end() -> None:
    for seed in range(200):
        case = random_case(seed)
        assert not isinstance(evaluate(case.region, case.inputs, fuel=100_000), OutOfFuel), seed
