"""Which calls can be done twice: a table of functions, and of arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from minijit.oracle.repeatable import MOST, Surroundings, are_plain
from minijit.oracle.repeatable import surroundings as surroundings_of

HEAD = """
import math, random
K, WORD, PAIR, LIST = 3, "word", (1, (2.5, None)), []
class Number(int): pass
ODD = Number(3)
def other(x, *, y=1): return third(x, 1) + y
def third(x, *rest): return x + len(rest) + K
def noisy(x): return loud(x)
def loud(x): print(x)
def with_default(x, y=[]): return x
def with_keywords(x, **rest): return x
"""
REPEATABLE = {
    "arithmetic": "return -x * 2 + x // 3 - (x ** 2 % 7) ^ ~1",
    "a loop": "s = 0\n    for i in range(x):\n        if i & 1 and s < 9: s += i\n    return s",
    "while": "while x > 3: x -= 1\n    return x",
    "builtins": "return abs(x) + max(x, 2) + int(2.5) + len((x, x)) + round(x, 2) + pow(x, 2, 5) + divmod(x, 3)[0]",
    "math": "return math.sqrt(x) + math.pi",
    "globals": "return x + K + len(PAIR)",
    "tuples": "a, b = x, 2\n    a, b = b, a\n    return a, (b, None)",
    "what it raises": "if x: raise ValueError(f'no {x!r}')\n    assert x == 0, 'zero'\n    return +x",
    "comparisons": "return x < 3 or x in (1, 2) or (2 if x is None else not x)",
    "a default": "return x + y",
    "calls of Python functions": "return other(x, y=2)",
    "itself": "return f(x - 1) if x else 0",
    "a keyword": "return round(x, ndigits=1)",
}
NOT_REPEATABLE = {
    "a global that is written": "global K\n    K = x",
    "an attribute that is written": "other.x = x",
    "an item that is written": "LIST[0] = x",
    "an attribute of an object": "return x.real",
    "a method": "return WORD.upper()",
    "a list": "return [x]",
    "output": "print(x)",
    "output, far away": "return noisy(x)",
    "a default of a function that is called": "return with_default(x)",
    "a dict of keywords": "return with_keywords(x)",
    "a function with a state": "return random.random()",
    "a name that nobody knows": "return unknown + x",
    "an attribute that nobody knows": "return math.unknown",
    "a global list": "return len(LIST) + x",
    "an object that is no plain int": "return ODD + x",
    "a class of the program's": "return Number(x)",
    "a handler": "try: return 1 // x\n    except ZeroDivisionError: return 0",
    "finally": "try: return 1 // x\n    finally: x = 0",
    "is": "return x is K",
    "is not": "return x is not None",
    "the sign of a nan": "return math.copysign(1, x)",
    "an import": "import sys\n    return x",
    "an inner function": "return (lambda: 3)()",
}


def function(body: str) -> tuple[FunctionType, dict[str, Any]]:
    namespace: dict[str, Any] = {}
    exec(f"{HEAD}\ndef f(x, y=1):\n    {body}\n", namespace)
    return namespace["f"], namespace


def surroundings(f: FunctionType) -> Surroundings | None:
    return surroundings_of(f, {})


@pytest.mark.parametrize("body", REPEATABLE.values(), ids=REPEATABLE)
def test_what_can_be_done_twice(body: str) -> None:
    f, _ = function(body)
    assert surroundings(f) is not None


@pytest.mark.parametrize("body", NOT_REPEATABLE.values(), ids=NOT_REPEATABLE)
def test_what_cannot_be(body: str) -> None:
    f, _ = function(body)
    assert surroundings(f) is None


class Str(str):
    __slots__ = ()


class Pair(tuple[int, int]):
    __slots__ = ()


PLAIN = [1, 2**80, -0.0, True, None, "text", (), (1, ("a", (2.5, None)))]
NOT_PLAIN: list[object] = [[], {}, Str("a"), Pair((1, 2)), (1, [2]), 1j, b"", object(), math, len, range(3)]


def test_arguments() -> None:
    for value in PLAIN:
        assert are_plain((1, value)), value
    for value in [*NOT_PLAIN, tuple(range(MOST + 1)), ((1,) * 60, (1,) * 60)]:
        assert not are_plain((1, value)), value


def test_defaults_are_arguments() -> None:
    f, _ = function("return x + y")
    f.__defaults__ = ([],)
    assert surroundings(f) is None
    f.__defaults__ = (1,)
    assert surroundings(f) is not None
    f.__kwdefaults__ = {"z": []}
    assert surroundings(f) is None


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a global": lambda namespace: namespace.update(K=4),
    "a global, to and fro": lambda namespace: namespace.update(K=4) or namespace.update(K=3),
    "a name that was a builtin": lambda namespace: namespace.update(abs=abs),
    "another global": lambda namespace: namespace.update(L=4),
    "a function that is called": lambda namespace: namespace.update(third=namespace["other"]),
    "its default": lambda namespace: namespace["other"].__kwdefaults__.update(y=2),
    "its code": lambda namespace: setattr(namespace["third"], "__code__", namespace["third"].__code__.replace()),
    "the module": lambda _: vars(math).update(new=1) or vars(math).pop("new"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_of_what_is_read_are_seen(change: Callable[[dict[str, Any]], object]) -> None:
    f, namespace = function("return K + abs(x) + math.pi + other(x)")
    found = surroundings(f)
    assert found is not None
    assert found.are_as_before
    change(namespace)
    assert not found.are_as_before


def test_changes_of_the_function_are_seen() -> None:
    f, _ = function("return x")
    f.__kwdefaults__ = {"z": 1}
    for change in (
        lambda: setattr(f, "__code__", f.__code__.replace(co_name="g")),
        lambda: setattr(f, "__defaults__", (2,)),
        lambda: setattr(f, "__kwdefaults__", {"z": 1}),
        lambda: f.__kwdefaults__.update(z=2),
    ):
        found = surroundings(f)
        assert found is not None
        assert found.are_as_before
        change()
        assert not found.are_as_before


def test_names_that_stand_for_something_else() -> None:
    for stands_for in (print, Str, [], object()):
        f, namespace = function("return abs(x)")
        assert surroundings(f) is not None
        namespace["abs"] = stands_for
        assert surroundings(f) is None, stands_for


def test_namespaces_that_may_run_code() -> None:
    f, namespace = function("return K + x")
    namespace[Str("Q")] = 3
    assert surroundings(f) is None
