"""The ops that are no function of scalars, by machine code and evaluator: values of kind `any`, globals, calls, polls.

Calls and loads touch objects, so references are counted: nothing may be kept, and nothing given back twice.
"""

from __future__ import annotations

import gc
import itertools
import math
import sys
import weakref
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

import pytest

from minijit.backend.snapshots import TAGS
from minijit.cpython import raw
from minijit.ir.eval import Left, Returned, evaluate
from minijit.ir.ops import UNBOUND
from minijit.ir.region import Callee
from minijit.ir.text import builtin_or_opaque, parse_region
from minijit.oracle.compare import exact_outcome
from minijit.oracle.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minijit.ir.eval import Outcome
    from minijit.ir.region import Region

MAX, MIN = 2**63 - 1, -(2**63)


@pytest.fixture(scope="module", params=(0, 2), ids=("O0", "O2"))
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


def agree(machine: Machine, region: Region, rows: Sequence[tuple[Any, ...]]) -> list[Outcome]:
    """Runs a region both ways on each row of inputs; the outcomes, which are the same."""
    outcomes = []
    with machine.compile(region) as compiled:
        for row in rows:
            found, wanted = compiled.run(row, row), evaluate(region, row, objects=row)
            assert exact_outcome(found) == exact_outcome(wanted), (row, found, wanted)
            outcomes.append(found)
    return outcomes


# Values of kind `any`

ANY = """
region any call(int, int, float, bool)
b0(v0: int, v1: int, v2: float, v3: bool):
  v4: any = pack_int v1
  v5: any = pack_float v2
  v6: any = pack_bool v3
  v7: any = pack_none
  v8: any = pack_unbound
  v9: bool = int_eq v0, 0
  branch v9 b4(v4) b1()
b1():
  v10: bool = int_eq v0, 1
  branch v10 b4(v5) b2()
b2():
  v11: bool = int_eq v0, 2
  branch v11 b4(v6) b3()
b3():
  v12: bool = int_eq v0, 3
  branch v12 b4(v7) b4(v8)
b4(v13: any):
  {}
e0: kind @0 [v13, v0 | v13]
"""
"""The first input is the place of the tag in this row."""
TAG_ORDER = ("int", "float", "bool", "none", "unbound")
ROWS = list(itertools.product(range(5), (0, 1, -1, MAX, MIN), (0.0, -0.0, 5e-324, -math.inf, math.nan), (False, True)))


def test_pack(machine: Machine) -> None:
    """Through the edges of a graph and an exit."""
    assert set(TAG_ORDER) == set(TAGS)
    agree(machine, parse_region(ANY.format("leave e0")), ROWS)


def test_pack_and_return(machine: Machine) -> None:
    """Such a return needs the stub, like an exit."""
    outcomes = agree(machine, parse_region(ANY.format("return v13")), ROWS)
    assert all(isinstance(found, Returned) for found in outcomes)


@pytest.mark.parametrize("tag", TAG_ORDER[:4])
def test_is(machine: Machine, tag: str) -> None:
    outcomes = agree(machine, parse_region(ANY.format(f"v14: bool = is_{tag} v13\n  return v14")), ROWS)
    said = {row[0] for row, found in zip(ROWS, outcomes, strict=True) if found == Returned(True)}
    assert said == {TAG_ORDER.index(tag)}


@pytest.mark.parametrize("tag", TAG_ORDER[:3])
def test_unpack(machine: Machine, tag: str) -> None:
    outcomes = agree(machine, parse_region(ANY.format(f"v14: {tag} = unpack_{tag} v13 | e0\n  return v14")), ROWS)
    gave = {row[0] for row, found in zip(ROWS, outcomes, strict=True) if isinstance(found, Returned)}
    assert gave == {TAG_ORDER.index(tag)}


def test_unpack_number(machine: Machine) -> None:
    outcomes = agree(machine, parse_region(ANY.format("v14: number = unpack_number v13 | e0\n  return v14")), ROWS)
    gave = {row[0] for row, found in zip(ROWS, outcomes, strict=True) if isinstance(found, Returned)}
    assert gave == {TAG_ORDER.index(tag) for tag in ("int", "float", "bool")}


def test_unpack_object(machine: Machine) -> None:
    """None is one. What calls answer is tried in `tests/behaviour/test_object_bodies`."""
    body = "v14: object = unpack_object v13 | e0\n  v15: bool = is_same v14, None\n  return v15"
    outcomes = agree(machine, parse_region(ANY.format(body)), ROWS)
    assert {row[0] for row, found in zip(ROWS, outcomes, strict=True) if found == Returned(True)} == {3}
    assert all(isinstance(found, Left) for row, found in zip(ROWS, outcomes, strict=True) if row[0] != 3)


# Polls


@pytest.mark.parametrize("op", ["poll", "poll_strip v0"])
def test_poll(machine: Machine, op: str) -> None:
    """Any bit of the eval breaker's 32 is asked for; what stands behind it is another's."""
    region = parse_region(
        f"region poll loop(int)\nb0(v0: int):\n  {op} | e0\n  leave e1\ne0: poll @0 [v0 |]\ne1: kind @2 [1 |]"
    )
    with machine.compile(region) as compiled:
        for value, exit in ((0, 1), (1, 0), (2**31, 0), (0xFFFFFFFF, 0), (2**32, 1), (0, 1)):
            machine.set_breaker(value)
            found = compiled.run((5,), (5,))
            assert isinstance(found, Left)
            assert found.exit == exit, value
    machine.set_breaker(0)


def test_round(machine: Machine) -> None:
    """It asks nobody."""
    region = parse_region(
        "region round loop(int)\nb0(v0: int):\n  round | e0\n  leave e1\ne0: poll @0 [v0 |]\ne1: kind @2 [1 |]"
    )
    with machine.compile(region) as compiled:
        machine.set_breaker(1)
        found = compiled.run((5,), (5,))
    machine.set_breaker(0)
    assert isinstance(found, Left)
    assert found.exit == 1


@pytest.mark.parametrize("some", [1, 2, 3])
def test_count_round(machine: Machine, some: int) -> None:
    """It leaves when the count is 0 or less, which begins anew."""
    memory = raw.Buffer(8)
    memory.set(0, 3)
    region = parse_region(
        f"region round loop(int)\nb0(v0: int):\n  count_round {memory.address}, {some}, 2 | e0\n  leave e1\n"
        "e0: warm @0 [v0 |]\ne1: kind @2 [1 |]"
    )
    with machine.compile(region) as compiled:
        found = [compiled.run((5,), (5,)) for _ in range(6)]
    expected = {1: [1, 1, 0, 1, 0, 1], 2: [1, 0, 0, 0, 0, 0], 3: [0, 0, 0, 0, 0, 0]}
    assert [left.exit for left in found if isinstance(left, Left)] == expected[some]
    memory.close()


# Calls of machine code


def test_calls_have_no_room(machine: Machine) -> None:
    """Neither way calls another region; what such calls do is tried in `tests/behaviour/test_bodies`."""
    text = """region caller loop(int)
b0(v0: int):
  room | e0
  has_body @callee | e1
  v1: any = call_body @callee, v0 | e2
  v2: int = unpack_int v1 | e3
  leave e3
e0: room @0 [v0 |]
e1: callee @0 [v0 |]
e2: callee_left @2 [v0 |]
e3: kind @2 [v0 | v1]"""
    callee = Callee("callee", machine.target.eval_breaker)
    region = parse_region(text, lambda _name: callee)
    with machine.compile(region) as compiled:
        assert compiled.run((5,), (5,)) == evaluate(region, (5,), objects=(5,)) == Left(0, (5,), ())


# Objects that are overwritten


class Count(int):
    """No exact int."""


class Noticed:
    """Whose end can be noticed."""

    def __del__(self) -> None:
        pass


class Plain:
    """Whose end nobody notices, if not that of what it holds."""

    def __init__(self, held: object = None) -> None:
        self.held = held


def nested(depth: int) -> object:
    return reduce(lambda inner, _: (inner,), range(depth), cast("object", 1))


def referred() -> object:
    """Something with a weak reference, which lives as long as it."""
    made = Plain()
    made.held = [1, weakref.ref(made)]
    return made


def round_about() -> object:
    made = Plain()
    made.held = made
    return made


SHARED = Plain()
QUIET: list[object] = [
    *(0, 2**100, -0.0, math.nan, True, None, "text", b"bytes", 1j, range(3), (), UNBOUND),
    *((1, "a", None), ((1.5, (1, 2)), ((), 7)), tuple(range(1000)), [], [1, [2.5, ["a"]]], (1, ("a", [])), nested(7)),
    *(Plain(), Plain([Plain(1), (Plain(), 2)]), [SHARED, Plain(SHARED)], int, [int, Plain]),
    *({}, {1: [2]}, {1, (2, 3)}, frozenset({Plain(1)}), round_about(), nested(200)),
]
NOISY: list[object] = [
    *(
        Noticed(),
        Count(3),
        {1: Noticed()},
        {Noticed()},
        object(),
        len,
        iter(range(3)),
        bytearray(),
        (Noticed(),),
        (1, Count(2)),
    ),
    *([Noticed()] * 2, Plain(Noticed()), Plain([1, (Noticed(),)]), referred(), [1, referred()]),
    *(list(range(10_000)), nested(1500)),
]


@pytest.mark.parametrize("slot", [0, 3])
def test_guard_quiet(machine: Machine, slot: int) -> None:
    """Nobody notices the end of the object, nor of anything that can be reached from it; no reference is taken. The
    evaluator does not look."""
    kinds = ", ".join(["object"] * (slot + 1))
    region = parse_region(
        f"region f loop({kinds})\nb0():\n  guard_quiet {slot} | e0\n  leave e1\ne0: overwritten @0 [|]\ne1: kind @2 [|]"
    )
    with machine.compile(region) as compiled:
        for exit, held in [*((1, value) for value in QUIET), *((0, value) for value in NOISY)]:
            objects = [Noticed()] * slot + [held]
            before = sys.getrefcount(held)
            assert compiled.run((), objects) == Left(exit, (), ()), held
            assert evaluate(region, (), objects=objects) == Left(1, (), ())
            assert sys.getrefcount(held) == before, held


# Globals


LOAD = """
region load call()
b0():
  v0: object = load_global @namespace, "count" | e0
  v1: {0} = unbox_{0} v0 | e0
  return v1
e0: global @0 [|]
"""
HELD = [
    0,
    1,
    -1,
    255,
    2**30,
    2**60 + 1,
    MAX,
    MIN,
    MAX + 1,
    MIN - 1,
    2**200,
    True,
    False,
    1.5,
    -0.0,
    math.nan,
    None,
    "1",
    Count(3),
]


@pytest.mark.parametrize("kind", ["int", "float", "bool"])
@pytest.mark.parametrize("others", [0, 1000])
def test_load_global(machine: Machine, kind: str, others: int) -> None:
    """Whatever stands under the name, among few names or many: exact types only, and no reference is taken."""
    namespace: dict[object, object] = {f"name{k}": k for k in range(others)}
    region = parse_region(LOAD.format(kind), resolve=lambda _: namespace)
    with machine.compile(region) as compiled:
        for value in HELD:
            namespace["count"] = value
            before = sys.getrefcount(value)
            found, wanted = compiled.run(()), evaluate(region, ())
            assert exact_outcome(found) == exact_outcome(wanted), value
            del found, wanted
            assert sys.getrefcount(value) == before, value
        del namespace["count"]
        assert compiled.run(()) == Left(0, (), ())
        namespace["count"] = {"int": 8, "float": 0.5, "bool": True}[kind]
        assert compiled.run(()) == Returned(namespace["count"])
        namespace[7] = "a key that is no string: its like may have an `__eq__` in Python"
        assert compiled.run(()) == Left(0, (), ())


# Calls

CALLS: list[tuple[str, str, str, list[tuple[Any, ...]]]] = [
    # Results that fit, that are bignums, and exceptions.
    ("math.factorial", "int", "int", [(0,), (5,), (20,), (21,), (2000,), (-1,), (MIN,)]),
    ("math.isqrt", "int", "int", [(0,), (MAX,), (-1,), (99,)]),
    ("math.comb", "int int", "int", [(5, 2), (66, 33), (67, 33), (200, 100), (-1, 2), (2, -1), (2, 5)]),
    ("math.perm", "int int", "int", [(5, 2), (30, 25), (-1, 2)]),
    ("math.lcm", "int int", "int", [(4, 6), (MAX, MAX - 1), (MIN, 1), (0, 5), (MIN, MIN)]),
    ("math.ldexp", "float int", "float", [(1.0, 10), (1.0, 2000), (1.0, -2000), (math.nan, 1), (0.0, MAX), (1.0, MIN)]),
    ("math.gamma", "float", "float", [(5.0,), (-1.0,), (171.7,), (0.0,), (math.inf,), (math.nan,), (-0.5,)]),
    ("math.lgamma", "float", "float", [(5.0,), (-1.0,), (1e308,), (-math.inf,)]),
    ("math.hypot", "float float", "float", [(3.0, 4.0), (math.inf, math.nan), (1e200, 1e200), (-0.0, -0.0)]),
    ("math.isclose", "float float", "bool", [(1.0, 1.0), (1.0, 2.0), (math.nan, math.nan)]),
    ("math.remainder", "float float", "float", [(5.0, 3.0), (1.0, 0.0), (math.inf, 1.0), (-0.0, 1.0)]),
    ("math.nextafter", "float float", "float", [(0.0, 1.0), (-0.0, -0.0), (math.nan, 1.0)]),
    ("math.fsum", "float", "float", [(1.0,)]),
    ("math.ldexp", "float float", "float", [(1.0, 2.0)]),
    # Other types than expected.
    ("math.hypot", "float float", "int", [(3.0, 4.0)]),
    ("max", "int float", "int", [(2, 1.0), (1, 2.0), (1, 1.0), (1, math.nan)]),
    ("max", "int float", "float", [(2, 1.0), (1, 2.0), (0, -0.0)]),
    ("bool", "int", "int", [(0,), (5,)]),
    ("bool", "float", "bool", [(0.0,), (-0.0,), (math.nan,), (5e-324,)]),
    ("abs", "bool", "int", [(True,), (False,)]),
    ("abs", "bool", "bool", [(True,)]),
    ("divmod", "int int", "int", [(7, 2), (1, 0)]),
    ("str", "int", "int", [(7,)]),
    ("round", "float int", "float", [(2.675, 2), (1e300, -1), (math.nan, 3), (-0.4, 0), (0.5, MIN), (0.5, MAX)]),
    ("round", "int int", "int", [(12345, -2), (MAX, -1), (MIN, -18), (7, 3)]),
    ("pow", "int int int", "int", [(7, 5, 13), (7, -1, 13), (2, -1, 4), (3, 5, 0), (MAX, MAX, MAX - 1), (7, 5, -13)]),
    ("hash", "float", "int", [(0.5,), (-0.0,), (math.inf,), (1e300,)]),
    ("hash", "int", "int", [(-1,), (MAX,), (MIN,), (2**61 - 1,)]),
]
"""Function, parameters, expected kind, arguments."""


def call_region(function: str, parameters: str, kind: str) -> Region:
    kinds = parameters.split()
    values = [f"v{number}" for number in range(len(kinds))]
    typed = ", ".join(f"{value}: {k}" for value, k in zip(values, kinds, strict=True))
    return parse_region(
        f"region call call({', '.join(kinds)})\n"
        f"b0({typed}):\n"
        f"  v9: {kind} = call_pure @{function}, {', '.join(values)} | e0\n"
        f"  return v9\n"
        f"e0: domain @0 [{', '.join(values)} |]\n"
    )


@pytest.mark.parametrize(("function", "parameters", "kind", "rows"), CALLS)
def test_call_pure(machine: Machine, function: str, parameters: str, kind: str, rows: list[tuple[Any, ...]]) -> None:
    agree(machine, call_region(function, parameters, kind), rows)


def test_call_pure_on_constants(machine: Machine) -> None:
    """Constants are handed on as the objects that they are."""
    given: list[object] = []

    def spy(*values: object) -> int:
        given.extend(values)
        return 1

    text = "region f call(int)\nb0(v0: int):\n  v1: int = call_pure @spy, 123456789, 2.5, True, v0, 0 | e0\n  return v1\ne0: domain @0 [|]"
    region = parse_region(text, resolve=lambda _: spy)
    constants = [arg.value for arg in region.blocks[0].ops[0].args[1:] if hasattr(arg, "value")]
    before = [sys.getrefcount(value) for value in constants]
    with machine.compile(region) as compiled:
        assert compiled.run((10**12,), (10**12,)) == Returned(1)
    assert given == [123456789, 2.5, True, 10**12, 0]
    assert [type(value) for value in given] == [int, float, bool, int, int]
    assert given[0] is constants[0]
    given.clear()
    assert [sys.getrefcount(value) for value in constants] == before


TIMES = 10**5
LEAKS = """
region f call(int, int)
b0(v0: int, v1: int):
  jump b1(0, 0)
b1(v2: int, v3: int):
  v4: bool = int_lt v2, v0
  branch v4 b2() b3()
b2():
  v5: int = call_pure @function, v1, 1000000007 | e0
  v6: int = int_xor v3, v5
  v7: int = int_add v2, 1 | e0
  jump b1(v7, v6)
b3():
  return v3
e0: domain @0 [v2 |]
"""


def leaked(machine: Machine, function: object, runs: int, times: int, argument: int) -> int:
    """How many blocks of memory and references more there are after some runs of the loop above."""
    region = parse_region(LEAKS, resolve=lambda _: function)
    constant = next(a.value for a in region.blocks[2].ops[0].args if getattr(a, "value", None) == 1000000007)
    with machine.compile(region) as compiled:
        compiled.run((1, argument), (1, argument))
        references = sys.getrefcount(function) + sys.getrefcount(constant)
        gc.collect()
        blocks = sys.getallocatedblocks()
        for _ in range(runs):
            compiled.run((times, argument), (times, argument))
        gc.collect()
        more = sys.getallocatedblocks() - blocks
        return abs(sys.getrefcount(function) + sys.getrefcount(constant) - references) + max(0, more)


def test_calls_leak_nothing(machine: Machine) -> None:
    assert leaked(machine, math.lcm, 1, TIMES, 3 * 10**8) < 50


def test_calls_that_raise_leak_nothing(machine: Machine) -> None:
    assert leaked(machine, math.comb, TIMES, 1, -5) < 50


def test_calls_with_bignums_leak_nothing(machine: Machine) -> None:
    assert leaked(machine, math.lcm, TIMES, 1, MAX) < 50


def test_calls_with_other_types_leak_nothing(machine: Machine) -> None:
    assert leaked(machine, math.hypot, TIMES, 1, 3) < 50


def test_calls_of_python_functions_that_return_one_object(machine: Machine) -> None:
    """The result's reference is given back, of fitting results and of others."""
    for value in (10**15, 2**80, "text", 10.5):
        before = sys.getrefcount(value)
        assert leaked(machine, lambda *_, value=value: value, 10, 1000, 1) < 50
        assert sys.getrefcount(value) <= before + 1, value


def test_names_of_functions_are_found() -> None:
    """What the tests above rely on."""
    assert builtin_or_opaque("math.comb") is math.comb
