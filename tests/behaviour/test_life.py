"""Birth and death: functions that come and go, and references."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from figures import figures, grown
from isolated import isolated
from spinning import WANDERING
from twin import LOW, Patient, compiled_from, enabled

import minijit
from minijit.driver import api

if TYPE_CHECKING:
    from collections.abc import Callable

# Functions that come and go


def one_life(form: str) -> None:
    """A function is made, becomes hot, leaves in some ways, and is dropped."""
    f = minijit.jit(policy=Patient(LOW))(compiled_from(form))
    for _ in range(6):
        f(30)
    f(30, 2**62)
    f(30, 2.5)
    assert minijit.is_compiled(f)


def lives(count: int) -> None:
    """Many lives leave nothing behind."""
    driver = api._process.driver
    assert driver is not None
    forms = [WANDERING, WANDERING.replace("k=2", "k=2, *rest")]
    # The allocators take what they keep for good in the first thousand lives or so.
    for k in range(max(count // 5, min(count, 1000))):
        one_life(forms[k % 2])
    before = figures()
    for k in range(count):
        one_life(forms[k % 2])
    after = figures()
    print(before, after, sep="\n")
    assert not driver.registry.functions
    assert not driver.registry.codes
    assert not api._process.decorated
    # However many there were.
    assert grown(before, after) == []
    assert not driver.registry.service._records
    assert not driver.registry.service.assumptions.dependents
    assert not driver.registry.monitoring.active


QUICK = minijit.Config(call_threshold=3, loop_threshold=10, exit_threshold=5, compile_seconds=1e6, optimise=0)


@isolated
def test_functions_that_come_and_go() -> None:
    """Machine code, memory, maps and objects stay what they were."""
    with enabled(QUICK):
        lives(40)


@pytest.mark.slow
@isolated(timeout=1000)
def test_ten_thousand_functions_that_come_and_go() -> None:
    """The same for long."""
    with enabled(QUICK):
        lives(10_000)


@pytest.mark.slow
@isolated(timeout=1000)
def test_optimised_functions_that_come_and_go() -> None:
    """The same with LLVM's passes, of which each run would lose 1.5 KB (`backend/pass_builders`)."""
    with enabled(replace(QUICK, optimise=2)):
        lives(2000)


@isolated
def test_functions_that_die_before_anything_ran() -> None:
    """Their addresses come to stand for other functions."""
    with enabled():
        for turn in range(300):
            f = minijit.jit(compiled_from(WANDERING if turn % 2 else "def f(n):\n    return n\n"))
            del f
        kept = [minijit.jit(compiled_from(WANDERING)) for _ in range(20)]
        for f in kept:
            for _ in range(10):
                f(30)
        assert all(map(minijit.is_compiled, kept))
        driver = api._process.driver
        assert driver is not None
        gc.collect()
        assert len(driver.registry.functions) == 20, len(driver.registry.functions)


@isolated
def test_functions_that_die_before_anything_ran_and_are_compiled() -> None:
    """The same, with `compile` as the first thing that happens."""
    with enabled():
        for _ in range(50):
            f = minijit.jit(compiled_from(WANDERING))
            del f
        f = compiled_from("def f(a, b, c):\n    return a + b * c\n")
        assert minijit.compile(f, int, int, int)
        assert f(1, 2, 3) == 7
        assert minijit.stats(f).entries == 1


# References


REFERENCES = {
    "call": """
def f(a, b, c, n):
    s = 0
    t = (a, s)
    for i in range(n):
        s += 1
        t = (s, t[0])
    if n == 3:
        return [a, b, c, s, t]
    return a
""",
    "loop": """
def f(a, b, c, n, *rest):
    s = 0
    r = range(n)
    t = (a, b)
    for i in r:
        for j in range(3):
            s += j
            if i > 20:
                u = [a, c, t, r]
        t = (b, i)
    return c
""",
    "overflow": """
def f(a, b, c, n):
    s = n << 50
    for i in range(n):
        s = s + s
        t = (a, s, 0.5)
    return s, t, c
""",
    "unbound": """
def f(a, b, c, n):
    for i in range(n):
        if i == 22:
            del b
        s = (a, i)
        if i == 23:
            try:
                b
            except NameError as e:
                pass
    return a
""",
    "error": """
def f(a, b, c, n):
    s = 1
    try:
        for i in range(n):
            s = s // (24 - i)
            t = (a, c)
    except ZeroDivisionError:
        return t
    return s
""",
}
PROBES: list[Any] = [2**70, 1.25e100, "text", (1, 2), [1], object(), 2**40, 7, None, True]


def probe_counts() -> list[int]:
    return [sys.getrefcount(probe) for probe in PROBES]


def references(count: int, policy: Any) -> None:
    """Exits and returns give back what they took: probes' counts and the number of blocks stay."""
    for name, source in REFERENCES.items():
        f = minijit.jit(policy=policy)(compiled_from(source))

        def work(rounds: int, f: Any = f) -> None:
            for k in range(rounds):
                a, b, c = PROBES[k % 10], PROBES[(k + 3) % 10], PROBES[(k // 10) % 10]
                with contextlib.suppress(TypeError):
                    f(a, b, c, 3 if k % 7 == 0 else 30)

        work(200)
        before = probe_counts()
        growth = []
        for _ in range(3):
            noted = history(f)
            growth.append(blocks_left_by(work, count) - BLOCKS_AN_EVENT * (history(f) - noted))
        after = probe_counts()
        assert minijit.stats(f).entries, minijit.explain(f)
        assert [x for x, p in zip(after, PROBES, strict=True) if p not in (None, True, 7)] == [
            x for x, p in zip(before, PROBES, strict=True) if p not in (None, True, 7)
        ], (name, before, after)
        # A compilation leaves some hundred blocks, once; a leak leaves some in each period.
        assert min(growth) < 10, (name, growth)


BLOCKS_AN_EVENT = 6
"""What an event takes that `explain` remembers. Of each root it remembers so many only."""


def history(function: Any) -> int:
    """How many events are remembered of a function and its loops."""
    driver = api._process.driver
    assert driver is not None
    state = driver.registry.functions[id(function)]
    return sum(len(root.history) for root in state.roots)


def blocks_left_by(work: Callable[[int], None], rounds: int) -> int:
    """How many more blocks of memory are in use after so many rounds."""
    gc.collect()
    before = sys.getallocatedblocks()
    work(rounds)
    gc.collect()
    return sys.getallocatedblocks() - before


@isolated
def test_references() -> None:
    """A thousand exits of all sorts."""
    with enabled():
        references(250, Patient(LOW))


@isolated
def test_references_with_the_default_policy() -> None:
    """The same where code is thrown away meanwhile."""
    with enabled():
        references(300, None)


@pytest.mark.slow
@isolated(timeout=1000)
def test_references_for_long() -> None:
    """A million exits."""
    with enabled():
        references(100_000, Patient(LOW))


RELYING = """
def f(a, n):
    s = 0
    for i in range(n):
        s += 1
        if i > 50:
            s += g()
    return a, s
"""


@isolated
def test_the_function_holds_what_it_should() -> None:
    """Compiled code keeps neither arguments nor globals alive, nor the function itself."""

    class Thing:
        def __call__(self) -> int:
            return 1

    with enabled():
        f = minijit.jit(policy=Patient(LOW))(compiled_from(RELYING))
        thing = f.__globals__["g"] = Thing()
        known = weakref.ref(thing)
        for _ in range(20):
            f(thing, 60)
        assert minijit.stats(f).entries
        f.__globals__["g"] = None
        del thing
        assert known() is None
        for _ in range(20):
            f(1, 30)
        dead = weakref.ref(f)
        globals_ = f.__globals__
        globals_.clear()
        del f
        gc.collect()
        assert dead() is None
        gone: list[int] = []
        for _ in range(20):
            scope: dict[str, Any] = {"g": Thing()}
            exec(RELYING, scope)
            weakref.finalize(scope["g"], gone.append, 1).atexit = False
            minijit.jit(scope["f"])
            for _ in range(10):
                scope["f"](1, 60)
            del scope
            gc.collect()
        assert len(gone) == 20, len(gone)
