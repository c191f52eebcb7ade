"""Functions that call what they are given: compiled for what that was, and right with whatever comes else.

In: functions with a callback among their arguments or variables. Out: what both ways give, while other callbacks come,
with other code, other defaults, other globals, or none at all.
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from twin import LOW, Patient, Twins, compiled_from, watched

import minijit

if TYPE_CHECKING:
    from collections.abc import Callable

SUM = """
def f(g, n):
    s = 0.5
    for i in range(n):
        s += g(i)
    return s
"""


pytestmark = pytest.mark.usefixtures("switched_on")


def twins(source: str = SUM) -> Twins:
    return Twins(compiled_from(source), policy=Patient(LOW))


def square(x: float) -> float:
    return x * x


def is_compiled_for(found: Twins, what: str) -> bool:
    return f"function {what}" in str(minijit.explain(found.function))


def test_it_is_compiled_into_its_caller() -> None:
    found = twins()
    found.times(20, square, 30)
    assert is_compiled_for(found, "square")
    before = minijit.stats(found.function)
    found.times(5, square, 30)
    after = minijit.stats(found.function)
    assert (after.entries - before.entries, after.exits - before.exits) == (5, 0)


class Odd:
    def __call__(self, x: int) -> int:
        return x + 7


def recursive(n: int) -> int:
    return 0 if n <= 0 else recursive(n - 2) + 1


def captures(k: int) -> Callable[[int], int]:
    return lambda x: x + k


OTHERS: dict[str, Any] = {
    "lambda": lambda x: x - 1,
    "default": lambda x, y=3: x + y,
    "keyword default": lambda x, *, y=4: x + y,
    "variadic": lambda *x: x[0] + 2,
    "closure": captures(5),
    "builtin": abs,
    "type": float,
    "object": Odd(),
    "method": (3).__add__,
    "bound": Odd().__call__,
    "none": None,
    "number": 3,
    "recursive": recursive,
    "raises": lambda x: 10 // (x - 20),
    "too few": lambda: 1,
    "too many": lambda x, y: 1,
    "text": lambda x: "text",
    "generator": lambda x: (yield),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_come(name: str) -> None:
    found = twins()
    found.times(20, square, 30)
    found.times(10, OTHERS[name], 30)
    found.times(10, square, 30)
    fresh = twins()
    fresh.times(30, OTHERS[name], 30)
    fresh.times(10, square, 30)


def test_many_functions() -> None:
    found = twins()
    for k in range(12):
        function = compiled_from(f"def g(x):\n    return x * {k} + 1\n", "g")
        found.times(12, function, 30)
    versions = minijit.stats(found.function).compilations
    for k in range(50):
        found.times(2, compiled_from(f"def g(x):\n    return x + {k}\n", "g"), 30)
    assert minijit.stats(found.function).compilations - versions <= 6


def test_functions_of_one_code_object() -> None:
    """Each call makes another function, with other globals or other defaults."""
    made = compiled_from("def make():\n    return lambda x, y=1: x * 2 + y\n", "make")
    found = twins()
    for _ in range(40):
        found(made(), 30)
    odd = made()
    odd.__defaults__ = (100,)
    found.times(5, odd, 30)
    odd.__defaults__ = None
    found.times(5, odd, 30)
    plain = compiled_from("def make():\n    return lambda x: x * 2 + K\n", "make", K=1)
    found = twins()
    for _ in range(40):
        found(plain(), 30)
    other = compiled_from("def g(x):\n    return x\n", "g", K=50)
    other.__code__ = plain().__code__
    found.times(10, other, 30)
    plain.__globals__["K"] = 2.5
    found.times(10, plain(), 30)
    found.times(10, other, 30)


def test_code_that_is_replaced() -> None:
    function = compiled_from("def g(x):\n    return x * 3\n", "g")
    found = twins()
    found.times(20, function, 30)
    function.__code__ = (lambda x: x - 0.5).__code__
    found.times(10, function, 30)
    function.__code__ = captures.__code__.replace(co_name="g")
    found.times(3, function, 30)


def test_variable_that_is_called() -> None:
    source = """
def f(a, b, n):
    g, s = a, 0
    for i in range(n):
        s += g(i)
        if i == 20:
            g = b
    return s
"""
    found = twins(source)
    found.times(20, square, square, 30)
    found.times(10, square, lambda x: x + 0.25, 30)
    found.times(10, square, None, 30)


def test_it_is_handed_on() -> None:
    source = """
def twice(g, x):
    return g(g(x))
def f(g, n):
    s = 0
    for i in range(n):
        s += twice(g, i)
    return s, g
"""
    found = twins(source)
    found.times(20, square, 30)
    found.times(10, lambda x: -x, 30)


def test_it_is_not_kept() -> None:
    found = twins()
    function = compiled_from("def g(x):\n    return x + 1\n", "g")
    found.times(20, function, 30)
    gone = weakref.ref(function)
    before = sys.getrefcount(square)
    found.times(20, square, 30)
    assert sys.getrefcount(square) == before
    del function
    gc.collect()
    assert gone() is None
    found.times(5, square, 30)


def test_tool_that_watches_it_alone() -> None:
    found = twins()
    found.times(20, square, 30)
    with watched(square) as seen:
        found(square, 30)
        assert seen == [square.__code__] * 60
    found.times(5, square, 30)
    assert len(seen) == 60
