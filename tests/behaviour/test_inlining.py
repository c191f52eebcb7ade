"""Functions that are inlined where they are called: nothing tells them from calls.

In: modules with functions that call each other. Out: what both ways give, tracebacks included, while the functions are
changed, watched, or called too deep.
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from twin import LOW, Patient, Twins, compiled_from, watched

import minijit
from minijit.build import inline
from minijit.events import KillReason

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("switched_on")


def twins(source: str) -> Twins:
    found = Twins(compiled_from(source), policy=Patient(LOW))
    found.times(20, 30)
    found.require_compiled()
    return found


def is_inlined(found: Twins) -> bool:
    """Whether the region gets round its loop without an exit at a call."""
    before = minijit.stats(found.function).exits
    found.times(5, 30)
    return minijit.stats(found.function).exits == before


HELPED = """
def helper(x, y=2, *, z=0):
    if x > 20:
        return x * 0.5
    return x + y
def f(n):
    s = 0
    for i in range(n):
        s += helper(i) * helper(y=3, x=i){more}
    return s
"""


SAME = """
def helper(x):
    return x
def f(n):
    s = 0
    for i in range(n):
        s += helper(i)
    return s
"""


def test_loop_with_calls() -> None:
    assert not is_inlined(twins(HELPED.format(more=""))), "the default of z stands in a dict"
    assert is_inlined(twins(HELPED.format(more="").replace(", *, z=0", "")))


def test_other_globals() -> None:
    other = compiled_from("def helper(x):\n    return x * k\n", "helper", k=3)
    source = "k = 5\ndef f(n):\n    s = k\n    for i in range(n):\n        s += helper(i) + k\n    return s\n"
    found = Twins(compiled_from(source, helper=other), policy=Patient(LOW))
    found.times(20, 30)
    assert is_inlined(found)
    other.__globals__["k"] = 4
    found.times(20, 30)
    found.plain.__globals__["k"] = 0.5
    found.times(20, 30)
    assert is_inlined(found)


CHANGES: dict[str, Callable[[Any], None]] = {
    "code": lambda helper: setattr(helper, "__code__", (lambda x, y=0: x - y).__code__),
    "code that is not inlined": lambda helper: setattr(helper, "__code__", (lambda x, *y: len(y)).__code__),
    "defaults": lambda helper: setattr(helper, "__defaults__", (7,)),
    "no defaults": lambda helper: setattr(helper, "__defaults__", None),
    "global": lambda helper: helper.__globals__.update(helper=lambda x: -x),
    "no global": lambda helper: helper.__globals__.__delitem__("helper"),
    "no function": lambda helper: helper.__globals__.update(helper=3),
    "another dict of keyword defaults": lambda helper: setattr(helper, "__kwdefaults__", {"x": 3}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_is_seen_by_the_next_call(change: str) -> None:
    source = """
def helper(x, y=2):
    return x + y
def f(n):
    s = 0
    for i in range(n):
        s += helper(i)
    return s
"""
    found = twins(source)
    helper = found.function.__globals__["helper"]
    assert is_inlined(found)
    CHANGES[change](helper)
    found.times(40, 30)


def test_changes_kill_what_depends_and_nothing_else() -> None:
    source = """
def one(x):
    return x + 1
def two(x):
    return x + 2
def f(n):
    s = 0
    for i in range(n):
        s += one(i)
    return s
def g(n):
    s = 0
    for i in range(n):
        s += two(i)
    return s
"""
    f = compiled_from(source)
    g = f.__globals__["g"]
    for each in (f, g):
        minijit.jit(policy=Patient(LOW))(each)
        for _ in range(40):
            each(30)
    kills: list[tuple[str, KillReason]] = []
    minijit.subscribe(lambda event: kills.append((event.function, event.reason)) if hasattr(event, "reason") else None)
    f.__globals__["one"].__code__ = (lambda x: x - 1).__code__
    assert {name for name, _ in kills} == {"f"}
    assert {reason for _, reason in kills} == {KillReason.CODE}
    assert f(30) == 405
    assert g(30) == 495


def test_function_that_changes_on_and_on_is_not_inlined_for_ever() -> None:
    found = twins("def helper(x):\n    return x\ndef f(n):\n    return helper(n)\n")
    for k in range(1, 8):
        helper = found.function.__globals__["helper"]
        helper.__code__ = compiled_from(f"def helper(x):\n    return x + {k}\n", "helper").__code__
        found.times(20, 30)
    assert minijit.stats(found.function).kills <= 2


def test_function_that_ends_while_it_is_inlined() -> None:
    for _ in range(30):
        found = twins(SAME)
        del found.function.__globals__["helper"]
        found.times(3, 30)


RAISES = """
def inner(x):
    y = 20 - x
    return 100 // y
def middle(x):
    return inner(x) + 1
def f(n):
    s = 0
    for i in range(n):
        try:
            s += middle(i)
        except ZeroDivisionError:
            if n == 31:
                raise
    return s + middle(n - 1)
"""


def test_tracebacks_have_the_frames() -> None:
    found = twins(RAISES)
    for n in (21, 31, 5, 21, 40, 31):
        found.times(3, n)


def test_frames_are_seen_from_within() -> None:
    """What looks at frames is not compiled, and finds those that there are."""
    source = """
import sys
def look(x):
    if x == 25:
        return sys._getframe().f_back.f_locals["i"] + len(sys._getframe(1).f_code.co_name)
    return x
def f(n):
    s = 0
    for i in range(n):
        s += look(i)
    return s
"""
    twins(source).times(10, 30)


def test_recursion_limit_counts_the_frames() -> None:
    source = """
def low(x):
    return x + 1
def high(x):
    return low(x) * 2
def f(n):
    s = 0
    for i in range(n):
        s += high(i)
    return s
"""
    found = twins(source)
    assert is_inlined(found)

    def at(depth: int, function: Callable[[int], int]) -> object:
        if depth:
            return at(depth - 1, function)
        try:
            return function(30)
        except RecursionError as error:
            return str(error)

    here = 0
    frame = sys._getframe()
    while frame is not None:
        here, frame = here + 1, frame.f_back  # type: ignore[assignment]
    limit = sys.getrecursionlimit()
    for depth in range(limit - here - 8, limit - here - 1):
        results = []
        for function in (found.plain, found.function):
            try:
                results.append(at(depth, function))
            except RecursionError:
                results.append("too deep")
        assert results[0] == results[1], depth


def test_tool_that_watches_an_inlined_function_alone() -> None:
    found = twins(SAME)
    helper = found.function.__globals__["helper"]
    with watched(helper) as seen:
        assert found.function(30) == 435
        assert seen == [helper.__code__] * 30
    before = found.entries
    found.times(3, 30)
    assert found.entries > before
    assert len(seen) == 30


def test_suppressed_functions_are_called() -> None:
    f = compiled_from(SAME)
    minijit.suppress(f.__globals__["helper"])
    minijit.jit(policy=Patient(LOW))(f)
    for _ in range(40):
        assert f(30) == 435
    assert "CALL helper" in str(minijit.explain(f))


def test_inlined_function_writes_what_the_loop_reads() -> None:
    source = """
total, calls = 0, 0
def add(k):
    global calls
    if k % 5 == 4:
        calls += 1
    return total + k
def f(n):
    global total, calls
    total = calls = 0
    for i in range(n):
        total = add(i) % 1000
        if calls % 7 == 0:
            total += calls
    return total, calls
"""
    twins(source).times(10, 30)


def test_inlined_function_reads_what_the_loop_writes() -> None:
    source = """
total = 0
def add(k):
    return total + k
def f(n):
    global total
    total = 0
    for i in range(n):
        total = add(i) % 1000
    return total
"""
    assert is_inlined(twins(source))


def test_arguments_of_all_kinds() -> None:
    source = """
def same(a, b, c, d, e):
    if d is None:
        return a, c
    return (b, c, d), e
def f(n, thing="thing"):
    out = None
    for i in range(n):
        x = same(i, i * 0.5, thing, None if i & 1 else True, (i, thing))
        y, z = same(x, out, i == 3, None, 1)
        out = z
    return x, y, out
"""
    twins(source).times(10, 30)


def test_functions_of_one_code_object_have_their_own_globals() -> None:
    """What is compiled for one is not shared with the other, however deep in other calls they are."""
    source = """
import types
def scaled(x):
    y = K if x > 3 else -K
    return y + K
one = types.FunctionType(scaled.__code__, {"K": 1})
many = types.FunctionType(scaled.__code__, {"K": 1000})
def apply(c, x):
    return one(x) if c else many(x)
def f(n):
    s = 0
    for i in range(n):
        s += apply(i & 1, i) + apply(i & 2, i)
    return s
"""
    twins(source).times(5, 30)


def test_suppressed_function_is_taken_out_of_what_it_is_inlined_in() -> None:
    found = twins(SAME)
    assert minijit.is_compiled(found.function)
    helper = found.function.__globals__["helper"]
    minijit.jit(helper)
    minijit.suppress(helper)
    assert not minijit.stats(found.function).live_regions
    found.times(40, 30)
    assert "CALL helper" in str(minijit.explain(found.function))


def test_defaults_are_not_kept() -> None:
    """They may lead back to the function, which no collector would see."""

    class Thing:
        """Can be referred to weakly."""

    thing = Thing()
    source = "def helper(x, thing=thing):\n    return x\ndef f(n):\n    s = 0\n    for i in range(n):\n        s += helper(i)\n    return s\n"
    f = compiled_from(source, thing=thing)
    thing.function = f.__globals__["helper"]
    minijit.jit(policy=Patient(LOW))(f)
    for _ in range(30):
        f(30)
    assert minijit.stats(f).entries
    end = weakref.ref(thing)
    del f, thing
    gc.collect()
    assert end() is None


def test_function_that_changes_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may run between any two looks: all that is compiled is of one look."""
    source = "def helper(x, y=1):\n    return x + y\ndef f(n):\n    s = 0\n    for i in range(n):\n        s += helper(i)\n    return s\n"
    found = Twins(compiled_from(source), policy=Patient(LOW))
    helper = found.function.__globals__["helper"]
    bound = inline._bound

    def changed_then_bound(*arguments: Any) -> Any:
        helper.__defaults__ = (helper.__defaults__[0] + 1,)
        return bound(*arguments)

    monkeypatch.setattr(inline, "_bound", changed_then_bound)
    for _ in range(20):
        found.function(30)
    monkeypatch.setattr(inline, "_bound", bound)
    assert helper.__defaults__ != (1,)
    found.times(40, 30)
