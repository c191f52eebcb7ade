"""Recursion: RecursionError comes at the same depth, and deep recursion does not hurt the C stack."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import pytest
from isolated import isolated
from twin import LOW, Bridging, Patient, compiled_from, enabled, exits_taken

import minijit

FIB = "def f(n):\n    if n < 2:\n        return n\n    return f(n - 1) + f(n - 2)\n"
HOT_LOOP = """
def f(n):
    s = 0
    for i in range(12):
        s += i * n
    if n > 0:
        s += f(n - 1)
    return s
"""
LOOP_THAT_RECURSES = """
def f(n):
    s = 1
    for i in range(n):
        s += i
        if i % 3 == 2:
            s += f(i // 2)
    return s
"""
DEEP = """
def f(n):
    depth[0] += 1
    s = 0
    for i in range(4):
        s += i
    f(n + 1)
    return s
"""
LEAF = """
def leaf(n):
    s = 0
    for i in range(4):
        s += i
    return s
def f(n):
    depth[0] += 1
    leaf(n)
    f(n + 1)
"""
THROUGH_C = """
def f(n):
    depth[0] += 1
    s = 0
    for i in range(4):
        s += i
    return list(map(f, [n + 1]))
"""
MUTUAL = """
def g(n):
    depth[0] += 1
    if n % 2:
        return f(n + 1)
    s = n * 2
    return f(n + 1)
def f(n):
    depth[0] += 1
    t = n + 1
    return g(t)
"""
SHALLOW = """
def f(n):
    s = 0
    for i in range(4):
        s += i
    if n > 0:
        s += f(n - 1)
    return s
"""
OPTION = """
def f(n, *, step=1):
    depth[0] += 1
    s = n * 3
    return f(n=n + step, step=step) + s
"""


def decorated(source: str, policy: Any) -> Any:
    """The program's functions under minijit."""
    f = compiled_from(source, depth=[0])
    for name in ("g", "leaf", "f"):
        if name in f.__globals__:
            minijit.jit(policy=policy)(f.__globals__[name])
    return f


def depth_reached(f: Any, limit: int) -> tuple[int, str, int]:
    """How deep it gets, the message, and the length of the traceback."""
    depth = f.__globals__["depth"]
    depth[0] = 0
    sys.setrecursionlimit(limit)
    try:
        f(0)
    except RecursionError as error:
        length = 0
        tb = error.__traceback__
        while tb is not None:
            length += 1
            tb = tb.tb_next
        return depth[0], str(error), length
    finally:
        sys.setrecursionlimit(10_000)
    raise AssertionError("it came back")


@isolated
def test_recursive_functions() -> None:
    """Right results, natively entered at many depths."""
    with enabled():
        for source, arguments in ((FIB, range(18)), (HOT_LOOP, range(60)), (LOOP_THAT_RECURSES, range(40))):
            for policy in (Patient(LOW), Bridging(LOW), None):
                plain, f = compiled_from(source), decorated(source, policy)
                for n in arguments:
                    assert f(n) == plain(n)
                    assert f(n) == plain(n)
                if policy is not None:
                    assert minijit.stats(f).entries, minijit.explain(f)


@isolated
def test_recursion_errors_come_at_the_same_depth() -> None:
    """Python to Python, through a compiled leaf, in mutual recursion, with keywords."""
    wrong = []
    with enabled():
        for name, source in {"deep": DEEP, "leaf": LEAF, "mutual": MUTUAL, "option": OPTION}.items():
            plain, f = compiled_from(source, depth=[0]), decorated(source, Patient(LOW))
            for limit in (200, 200, 1000, 201):
                wanted, found = depth_reached(plain, limit), depth_reached(f, limit)
                if wanted != found:
                    wrong.append((name, limit, wanted, found))
            # What calls before it does anything else is not worth a region.
            assert minijit.stats(f).entries or name != "deep", name
    assert not wrong, wrong


@isolated
def test_recursion_through_c_code() -> None:
    """`map` in between: the C stack's limit ends it; minijit may take no more of it than CPython does."""
    with enabled():
        plain, f = compiled_from(THROUGH_C, depth=[0]), decorated(THROUGH_C, Patient(LOW))
        for limit in (200, 200, 400, 400):
            assert depth_reached(plain, limit)[:2] == depth_reached(f, limit)[:2]
        wanted, found = depth_reached(plain, 100_000), depth_reached(f, 100_000)
        print(wanted, found)
        assert found[0] >= wanted[0] * 0.9, (wanted, found)


@pytest.mark.xfail(reason="below a native frame every call takes C stack, of which CPython allows little")
@isolated
def test_deep_recursion() -> None:
    """15,000 deep, in functions entered natively."""
    with enabled():
        for policy in (Patient(LOW), None):
            f = decorated(SHALLOW, policy)
            for n in range(40):
                assert f(n) == 6 * (n + 1)
            sys.setrecursionlimit(15_100)
            for _ in range(5):
                assert f(15_000) == 6 * 15_001
        assert exits_taken(f)


@isolated
def test_recursion_as_deep_as_compiled_code_may_go() -> None:
    """3,000 deep, in functions entered natively."""
    with enabled():
        for policy in (Patient(LOW), None):
            f = decorated(SHALLOW, policy)
            for n in range(40):
                assert f(n) == 6 * (n + 1)
            sys.setrecursionlimit(3_500)
            for _ in range(5):
                assert f(2_900) == 6 * 2_901


@isolated
def test_deep_recursion_in_a_thread() -> None:
    """Where the C stack is another one."""
    import threading

    source = "def f(n):\n    s = n * 2\n    if n > 0:\n        s += f(n - 1)\n    return s\n"
    with enabled():
        f = decorated(source, Patient(LOW))
        for n in range(40):
            f(n)
        sys.setrecursionlimit(3000)
        found: list[int] = []
        for _ in range(3):
            thread = threading.Thread(target=lambda: found.append(f(2500)))
            thread.start()
            thread.join()
        assert found == [2500 * 2501] * 3


@isolated
def test_the_depth_is_given_back() -> None:
    """After errors at any depth the whole depth is there again."""
    source = "def f(n, bad):\n    s = n * 2\n    if n == 0:\n        return 1 // bad\n    return f(n - 1, bad) + s\n"
    with enabled():
        f = decorated(source, Patient(LOW))
        for k in range(200):
            for bad in (1, 0):
                try:
                    f(k, bad)
                except ZeroDivisionError:
                    assert not bad
        deep = decorated(DEEP, Patient(LOW))
        plain = compiled_from(DEEP, depth=[0])
        assert depth_reached(deep, 500) == depth_reached(plain, 500)
        for _ in range(3000):
            with contextlib.suppress(ZeroDivisionError):
                f(20, 0)
        assert depth_reached(deep, 500) == depth_reached(plain, 500)
        assert f(900, 1) == 900 * 901 + 1
