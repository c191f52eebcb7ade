"""Functions of one code object that come and go: what was compiled for one serves the next."""

from __future__ import annotations

import gc
import math
import weakref
from types import FunctionType

from isolated import isolated
from spinning import WANDERING
from twin import LOW, Patient, compiled_from, enabled

import minijit
from minijit.driver import api
from minijit.driver.registry import RESTING


@isolated
def test_closures_that_are_made_again_and_again() -> None:
    """Functions of one code object: each has a life of its own, and what was compiled for one serves the next."""
    source = """
def outer(jit, k):
    @jit
    def inner(n):
        s = 0
        for i in range(n):
            s += i
        return s
    @jit
    def second(n, by=k):
        s = 0
        for i in range(n):
            s += i * by
        return s
    return inner, second
"""
    outer = compiled_from(source, "outer")
    with enabled():
        kept = []
        for k in range(25):
            inner, second = outer(minijit.jit(policy=Patient(LOW)), k)
            kept.append((inner, second))
            if len(kept) > 5:
                del kept[k % 5]
            for a, b in kept:
                assert a(30) == 435
                assert b(30) == 435 * b.__defaults__[0]
        driver = api._process.driver
        assert driver is not None
        del inner, second, a, b
        gc.collect()
        assert len(driver.registry.functions) == 2 * len(kept)
        kept.clear()
        gc.collect()
        assert not driver.registry.functions
        compilations = minijit.stats().compilations
        assert compilations
        inner, second = outer(minijit.jit(policy=Patient(LOW)), 3)
        entries = minijit.stats().entries
        assert (inner(30), second(30)) == (435, 1305)
        assert minijit.stats().entries > entries
        assert minijit.stats().compilations == compilations
        del inner, second, outer
        gc.collect()
        # Nobody can make another: that is noticed with the next function.
        minijit.jit(lambda: 0)
        gc.collect()
        assert not driver.registry.functions
        assert not driver.registry.codes
        assert not minijit.stats().live_regions


@isolated
def test_code_that_nobody_can_make_a_function_of_is_forgotten() -> None:
    """With the last function, unless somebody else has the code object; so many are remembered and no more."""
    with enabled():
        driver = api._process.driver
        assert driver is not None
        f = minijit.jit(policy=Patient(LOW))(compiled_from(WANDERING))
        for k in range(50):
            f(k, 2)
        assert minijit.stats(f).entries
        end = weakref.ref(f.__code__)
        del f
        gc.collect()
        assert end() is None
        assert not driver.registry.codes
        codes = [compiled_from(WANDERING).__code__ for _ in range(RESTING + 10)]
        gc.collect()
        for code in codes:
            f = minijit.jit(policy=Patient(LOW))(FunctionType(code, {"math": math}, None, (2,)))
            for k in range(50):
                f(k, 2)
        del f, code
        assert len(driver.registry.codes) == RESTING
        codes.clear()
        minijit.jit(lambda: 0)
        assert not driver.registry.codes


@isolated
def test_next_function_with_other_globals_starts_anew() -> None:
    source = "def f(n):\n    s = 0\n    for i in range(n):\n        s += i * k\n    return s + k\n"
    code = compiled_from(source).__code__
    with enabled():
        for k in (1, 2, 2.5, 3):
            f = minijit.jit(policy=Patient(LOW))(FunctionType(code, {"k": k}))
            for _ in range(20):
                assert f(50) == 1225 * k + k
            assert minijit.stats(f).entries
            del f
        compilations = minijit.stats().compilations
        home = {"k": 1}
        for _ in range(3):
            f = minijit.jit(policy=Patient(LOW))(FunctionType(code, home))
            for _ in range(20):
                assert f(50) == 1226
            home["k"] += 1
            for _ in range(20):
                assert f(50) == 1226 * home["k"]
            home["k"] = 1
            del f
        assert minijit.stats().compilations > compilations


@isolated
def test_each_life_goes_on_where_the_last_one_ended() -> None:
    outer = compiled_from(
        "def outer(jit):\n    @jit\n    def inner(x):\n        return x * 3 + 1\n    return inner\n", "outer"
    )
    with enabled():
        entries = []
        for _ in range(6):
            inner = outer(minijit.jit)
            before = minijit.stats().entries
            assert [inner(x) for x in range(10)] == [3 * x + 1 for x in range(10)]
            entries.append(minijit.stats().entries - before)
            del inner
        assert entries[1:] == [10] * 5


@isolated
def test_next_function_with_another_policy_starts_anew() -> None:
    class Other(Patient):
        """Another class."""

    outer = compiled_from(
        "def outer(jit):\n    @jit\n    def inner(x):\n        return x + 1\n    return inner\n", "outer"
    )
    with enabled():
        for policy in (Patient(LOW), Other(LOW)):
            inner = outer(minijit.jit(policy=policy))
            assert not minijit.is_compiled(inner)
            for x in range(10):
                inner(x)
            assert minijit.is_compiled(inner)
            del inner
