"""No Python code runs inside of a region: what a region calls does not look for signals.

A C function that computes with ints of any size looks for signals now and then, and would run their handlers, and the
collector too. A handler can do anything: break an assumption of the region that is under way, and so free its code, or
raise, which the region would take for a failure of the call. So the builder lets a region call such functions only with
arguments for which they do not come to that.

Tested by machine code that makes a signal pending and then runs the region: the handler must come after it, not inside.
"""

from __future__ import annotations

import builtins
import ctypes
import itertools
import math
import signal
from typing import TYPE_CHECKING, Any

import pytest

from minijit.backend.engine import function_at
from minijit.build.builder import Builder
from minijit.build.bytecodes import HANDLERS
from minijit.build.request import Request, Scope
from minijit.cpython import raw
from minijit.ir.bytecode import decode
from minijit.ir.kinds import EntryKind
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Profile, Root
from minijit.oracle.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minijit.ir.region import Region

EDGE = (0, 1, 2, 5, 20, 21, 66, 67, -1, -20, 2**15, 2**30 - 1, 2**30, 2**31, 2**60 + 7, 2**62, 2**63 - 1, -(2**63))
VALUES: dict[str, tuple[Any, ...]] = {"int": EDGE, "float": (0.0, -1.5, 2.675, 170.5, 1e300, math.inf, math.nan)}
SIZES = (0, 1, 2, 20, 21, 66, 67, 2000, -1)
"""For functions that take for ever with large ints."""

CALLS: list[tuple[str, str, str, tuple[Any, ...] | None]] = [
    ("math.factorial(a)", "int", "int", SIZES),
    ("math.comb(a, b)", "int int", "int", SIZES),
    ("math.perm(a, b)", "int int", "int", SIZES),
    ("math.lcm(a, b)", "int int", "int", None),
    ("math.lcm(a, b, a)", "int int", "int", None),
    ("math.gcd(a, b)", "int int", "int", None),
    ("math.gcd(a, b, 6)", "int int", "int", None),
    ("math.isqrt(a)", "int", "int", None),
    ("pow(a, b)", "int int", "int", SIZES),
    ("pow(a, b, c)", "int int int", "int", None),
    ("pow(a, b, 1000003)", "int int", "int", None),
    ("round(a, b)", "int int", "int", SIZES),
    ("round(a, -30)", "int", "int", None),
    ("round(a, b)", "float int", "float", None),
    ("divmod(a, b)[0]", "int int", "int", None),
    ("hash(a)", "int", "int", None),
    ("hash(a)", "float", "int", None),
    ("math.ldexp(a, b)", "float int", "float", None),
    ("math.gamma(a)", "float", "float", None),
    ("math.lgamma(a)", "float", "float", None),
    ("math.hypot(a, b)", "float int", "float", None),
    ("math.log(a, b)", "int float", "float", None),
    ("math.remainder(a, b)", "float float", "float", None),
    ("math.isclose(a, b)", "float int", "bool", None),
]
"""Expression, kinds of its variables, what recordings saw, values for ints where not all will do."""


def region_of(expression: str, kinds: list[str], top: str) -> Region:
    """What the builder makes of a function that returns the expression."""
    namespace: dict[str, Any] = {"math": math}
    exec(f"def f({', '.join('abc'[: len(kinds)])}):\n    return {expression}", namespace)
    code = decode(namespace["f"].__code__)
    request = Request(
        scope=Scope(code, namespace, vars(builtins)),
        profile=Profile(set(code.instructions), dict.fromkeys(code.instructions, top)),
        root=Root(EntryPoint.CALL, 0),
        entry_kinds=tuple(map(EntryKind, kinds)),
        compile_unseen=True,
        max_blocks=100,
        max_versions=4,
    )
    return Builder(request, HANDLERS).build().region


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine(2)


@pytest.fixture
def inside() -> Iterator[Any]:
    """A word that is 1 while a region runs, and SIGINT's handler, which notes what it reads there."""
    word, seen = ctypes.c_int64(0), []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(word.value))
    yield word, seen
    signal.signal(signal.SIGINT, before)


def runner(machine: Machine, region: int, word: ctypes.c_int64) -> Callable[..., Any]:
    """A function that makes SIGINT pending and calls the region."""
    place = f"inttoptr (i64 {ctypes.addressof(word)} to ptr)"
    text = f"""
define ptr @run(ptr %a, ptr %b, i64 %c, ptr %d) {{
  call void inttoptr (i64 {raw.symbol("PyErr_SetInterrupt")} to ptr)()
  store volatile i64 1, ptr {place}
  %result = call ptr inttoptr (i64 {region} to ptr)(ptr %a, ptr %b, i64 %c, ptr %d)
  store volatile i64 0, ptr {place}
  ret ptr %result
}}
"""
    code = machine.engine.compile(text, name="run with a signal pending")
    return function_at(code.address("run"))


def run_all(region: Region, rows: Iterator[tuple[Any, ...]], machine: Machine, inside: Any) -> None:
    word, seen = inside
    with machine.compile(region) as compiled:
        compiled.function = runner(machine, compiled.code.address("region"), word)
        for row in rows:
            seen.clear()
            compiled.run(row, row)
            assert seen == [0], (row, "the handler ran inside of the region")


@pytest.mark.parametrize(("expression", "kinds", "top", "ints"), CALLS)
def test_no_handler_runs_inside_of_a_region(
    machine: Machine, inside: Any, expression: str, kinds: str, top: str, ints: tuple[Any, ...] | None
) -> None:
    region = region_of(expression, kinds.split(), top)
    values = VALUES if ints is None else VALUES | {"int": ints}
    run_all(region, itertools.product(*(values[kind] for kind in kinds.split())), machine, inside)
