"""Entering by a call: every type of argument, more of them than fit, and functions that calls cannot enter.

In: functions called with whatever there is. Out: what the interpreter gives, the very objects where they are only
handed on. The ways to pass arguments are the business of `test_calls`.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
from isolated import isolated
from twin import LOW, Patient, Twins, compiled_from, enabled, together

import minijit


class Indexable:
    def __index__(self) -> int:
        return 5

    def __add__(self, other: object) -> str:
        return f"added {other}"

    __radd__ = __mul__ = __rmul__ = __sub__ = __add__

    def __lt__(self, other: object) -> bool:
        return True

    __gt__ = __lt__


class MyInt(int):
    def __add__(self, other: object) -> str:
        return "mine"


class MyFloat(float):
    pass


VALUES: tuple[Any, ...] = (
    *(3, 2.5, True, False, None, "text", 2**70, -(2**63), (1, 2), [1], {1: 2}, {1}, 1j, b"x", range(3), Indexable()),
    *(MyInt(5), MyFloat(1.5), int, len, Ellipsis, iter(()), object, float("nan"), -0.0),
)


TAKING_ANYTHING = """
def f(a, b):
    return a + b
----
def f(a, b):
    return a < b, a, b
----
def f(a, b):
    if a:
        return b
    return a
----
def f(a, b):
    s = 0
    for i in range(30):
        s = i * 2
    return s, a, b
----
def f(a, b):
    s = a
    for i in range(20):
        s = s + b
    return s
----
def f(a, b):
    for i in range(20):
        if a is None:
            return b
        a = None if i > 10 else a
----
def f(a, b):
    s = 0
    for i in range(a):
        s += b
    return s
""".split("----\n")


@isolated
def test_argument_types() -> None:
    """Several versions for one function, up to the limit; types that no version takes; subclasses of int and float."""

    def one(source: str, order: int) -> None:
        twins = Twins(compiled_from(source), Patient(LOW) if order else None)
        endless = "range(a)" in source
        pairs = [(a, b) for a, b in itertools.product(VALUES, VALUES) if not (endless and a == 2**70)]
        pairs = pairs[order::5] + pairs[:order:-7]
        for a, b in pairs:
            for _ in range(4):
                twins(a, b)
        for a, b in ((1, 2), (1.5, 2.5), (True, False), (None, None), (1, 2.5), ("x", "y")):
            twins.times(12, a, b)

    with enabled():
        together(partial(one, source, order) for source in TAKING_ANYTHING for order in range(2))


@isolated
def test_types_that_come_in_turn() -> None:
    """Every call has another type; all versions serve, the limit holds."""
    with enabled():
        twins = Twins(
            compiled_from("def f(a):\n    s = a\n    for i in range(12):\n        s = s * a - i\n    return s\n"),
            Patient(LOW),
        )
        for turn in range(400):
            twins((3, 2.5, True, 1)[turn % 4])
        stats = minijit.stats(twins.function)
        assert 3 <= stats.live_regions <= 2 * LOW.versions, stats
        before = stats.entries
        for turn in range(40):
            twins((3, 2.5, True)[turn % 3])
        assert minijit.stats(twins.function).entries >= before + 40


def identities(value: object) -> list[int]:
    """The ids of the objects in a value, those of tuples apart."""
    return [x for item in value for x in identities(item)] if type(value) is tuple else [id(value)]


@isolated
def test_arguments_come_back_as_they_are() -> None:
    """What goes in and comes out untouched is the same object."""
    source = "def f(a, b, c):\n    s = 0\n    for i in range(5):\n        s += i\n    return {}\n"
    with enabled():
        for result in ("a", "b", "c", "(a, b)", "(c, (b, a))", "a if s > 100 else c"):
            f = minijit.jit(policy=Patient(LOW))(compiled_from(source.format(result)))
            plain = compiled_from(source.format(result))
            a, b, c = 2**40, 1e10, [1]
            for _ in range(30):
                found, wanted = f(a, b, c), plain(a, b, c)
                assert identities(found) == identities(wanted)
            assert minijit.stats(f).entries


@isolated
def test_many_parameters() -> None:
    """As many as fit the buffers, and more."""
    with enabled():
        for count in (1, 20, 200, 255, 256, 300):
            names = [f"p{k}" for k in range(count)]
            source = f"def f({', '.join(names)}, *, last=1):\n    return p0 + {' + '.join(names)} + last\n"
            twins = Twins(compiled_from(source), Patient(LOW))
            for _ in range(12):
                twins(*range(count))
                twins(*range(count), last=3)
                twins(**dict(zip(names, range(count), strict=True)))
            twins(*range(count + 1))
            twins(*range(count - 1))
            assert twins.entries or count > 250


NOT_ENTERED_BY_CALLS = """
def f(a, *args):
    s = 0
    for i in range(a):
        s += i
    return s, args
----
def f(a, **named):
    s = 0
    for i in range(a):
        s += i
    return s, named
----
def f(a):
    s = 0
    def g():
        return s
    for i in range(a):
        s += i
    return g()
----
def f(a):
    s = 0
    t = 0
    g = lambda: t
    for i in range(a):
        s += i
        t = s if i % 9 == 0 else t
    return g()
----
def outer():
    k = 3
    def f(a):
        s = 0
        for i in range(a):
            s += i * k
            s -= 1
        return s
    return f
f = outer()
----
def outer():
    k = 3
    def f(a):
        nonlocal k
        s = 0
        for i in range(a):
            s += i
        k += 1
        return s * k
    return f
f = outer()
----
def f(a):
    s = 0
    for i in range(a):
        s += i
    return [s + j for j in range(3)], locals()['s']
----
class K:
    def __init__(self): pass
    def m(self, a):
        s = 0
        for i in range(a):
            s += i
        return super().__repr__() and __class__.__name__, s
f = K().m.__func__
""".split("----\n")


@isolated
def test_functions_that_are_not_entered_by_calls() -> None:
    """*args, **kwargs, closures, cells: whatever is compiled of them."""

    def one(source: str) -> None:
        function = compiled_from(source)
        if "nonlocal" in source:
            # A twin shares the closure; two functions of two closures do not.
            other = compiled_from(source)
            minijit.jit(policy=Patient(LOW))(function)
            for _ in range(20):
                assert function(60) == other(60)
            return
        twins = Twins(function, Patient(LOW))
        if "class K" in source:
            self = function.__closure__[0].cell_contents()
            twins.times(20, self, 60)
            return
        twins.times(20, 60)
        twins(60, 1) if "*args" in source else twins(a=30)
        if "args" in source or "named" in source:
            twins.require_compiled()

    with enabled():
        together(partial(one, source) for source in NOT_ENTERED_BY_CALLS)


def test_generators_are_refused() -> None:
    """With a TypeError that says what to do."""
    for source in ("def f():\n    yield 1\n", "async def f():\n    pass\n", "async def f():\n    yield 1\n"):
        with pytest.raises(TypeError, match=r"minijit\.jit .*generator or coroutine"):
            minijit.jit(compiled_from(source))
        with pytest.raises(TypeError, match=r"minijit\.compile .*generator or coroutine"):
            minijit.compile(compiled_from(source))
        minijit.suppress(compiled_from(source))  # which asks for what is so
