"""Calls of machine code by machine code: nothing tells them from the interpreter's calls.

In: modules whose functions call each other, or themselves, all of them compiled. Out: what both ways give, tracebacks
and frames included, while callees are left in all manners: by exceptions, ints that grow, objects, signals, changes,
tools, and calls too deep.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import types
from typing import Any

import pytest
from isolated import isolated
from twin import LOW, Patient, Twins, compiled_from, enabled, outcome, watched

import minijit
from minijit.events import ExitReason, KillReason

pytestmark = pytest.mark.usefixtures("switched_on")


FIB = """
def f(n):
    if n < 2:
        return n
    return f(n - 1) + f(n - 2)
"""
FACTORIAL = """
def f(n):
    if n <= 1:
        return 1
    return n * f(n - 1)
"""
DIVIDES = """
def f(n, d):
    if n == 0:
        return 10 // d
    here = n * 2
    return f(n - 1, d) + here
"""
TAK = """
def f(x, y, z):
    if y >= x:
        return z
    return f(f(x - 1, y, z), f(y - 1, z, x), f(z - 1, x, y))
"""
ACKERMANN = """
def f(m, n):
    if m == 0:
        return n + 1
    if n == 0:
        return f(m - 1, 1)
    return f(m - 1, f(m, n - 1))
"""
EVEN = """
def f(n):
    if n == 0:
        return True
    return odd(n - 1)
def odd(n):
    if n == 0:
        return False
    return f(n - 1)
"""
LOOPS = """
def part(n, m):
    s = 0
    for i in range(n):
        s += i % m
    return s
def f(n, m):
    t = 0
    for k in range(n):
        t += part(k, m)
    return t
"""
QUEENS = """
def f(n, row, left, down, right):
    if row == n:
        return 1
    count = 0
    free = ((1 << n) - 1) & ~(left | down | right)
    while free:
        bit = free & -free
        free ^= bit
        count += f(n, row + 1, (left | bit) << 1, down | bit, (right | bit) >> 1)
    return count
"""
OBJECTS = """
def f(n, what):
    if n <= 0:
        if what == 0:
            return None
        if what == 1:
            return "text"
        if what == 2:
            return (n, what)
        if what == 3:
            return 1.5
        if what == 4:
            return n > 0
        return 10 ** 30
    found = f(n - 1, what)
    if n == 3 and what == 3:
        return 7
    return found
"""
DEFAULTS = """
def g(a, b=3, *, c):
    s = 0
    for i in range(b):
        s += a * i - c
    return s
def f(n):
    t = 0.5
    for i in range(n):
        t += g(i, c=1) + g(c=2, a=i) + g(i, 5, c=0)
    return t
"""
HANDLED = """
def g(n, d):
    if n == 0:
        return 100 // d
    return g(n - 1, d)
def f(n, d):
    s = t = 0
    try:
        s = g(n, d) + 1
    except ZeroDivisionError as error:
        s = str(error)
    finally:
        t = n * 3
    return s, t
"""
CAUGHT_IN_A_LOOP = """
def g(k, d):
    s = 0
    for i in range(3):
        s += k // (d - k)
    return s
def f(n, d):
    s = 0
    for k in range(n):
        try:
            s += g(k, d)
        except ZeroDivisionError:
            s -= 1
    return s
"""
PROGRAMS: dict[str, tuple[str, list[tuple[object, ...]]]] = {
    "fib": (FIB, [(12,), (15,), (9.0,), (True,), ("x",), (-3,)]),
    "factorial": (FACTORIAL, [(k,) for k in (5, 20, 21, 22, 25, 40, 3.5, "y")]),
    "divides": (DIVIDES, [(9, 2), (9, 0), (0, 0), (25, 0), (9, 2.5), (9, "z"), (7, 2**70)]),
    "tak": (TAK, [(8, 4, 2), (9.0, 4, 2), (8, 4, 2.5)]),
    "ackermann": (ACKERMANN, [(2, 6), (3, 4), (0, 2**63 - 1)]),
    "even": (EVEN, [(20,), (21,), (30.0,), (0,)]),
    "loops": (LOOPS, [(30, 3), (30, 0), (30, 2.5), (0, 0), (30, 2**62), (30, True)]),
    "queens": (QUEENS, [(6, 0, 0, 0, 0), (5, 0, 0, 0, 0)]),
    "objects": (OBJECTS, [(k, what) for k in (0, 1, 5) for what in range(6)]),
    "defaults": (DEFAULTS, [(30,), (0,)]),
    "handled": (HANDLED, [(6, 3), (6, 0), (6, 2.5)]),
    "caught in a loop": (CAUGHT_IN_A_LOOP, [(20, 50), (20, 7), (20, 2.5)]),
}


def all_compiled(source: str) -> Any:
    """`f` of a module of which all functions are taken on."""
    f = compiled_from(source)
    for function in list(f.__globals__.values()):
        if isinstance(function, types.FunctionType):
            minijit.jit(policy=Patient(LOW))(function)
    return f


def twins(source: str, *warm: object) -> Twins:
    """Both ways of `f`, each in a module of its own, warmed up with these arguments."""
    found = Twins(all_compiled(source), Patient(LOW))
    found.plain = compiled_from(source)
    found.times(60, *warm)
    found.require_compiled()
    return found


def calls_bodies(function: Any) -> bool:
    return "calls by machine code" in str(minijit.explain(function))


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_and_tracebacks(name: str) -> None:
    source, arguments = PROGRAMS[name]
    found = twins(source, *arguments[0])
    callee = found.function.__globals__.get("part") or found.function.__globals__.get("g") or found.function
    assert calls_bodies(callee)
    for _ in range(4):
        for given in arguments:
            found.times(8, *given)


@pytest.mark.parametrize(("source", "arguments"), [(FIB, (15,)), (EVEN, (15,)), (TAK, (8, 4, 2)), (LOOPS, (30, 7))])
def test_no_call_is_left_to_the_interpreter(source: str, arguments: tuple[int, ...]) -> None:
    f = all_compiled(source)
    for _ in range(60):
        f(*arguments)
    before = minijit.stats()
    for _ in range(5):
        f(*arguments)
    after = minijit.stats()
    assert (after.entries - before.entries, after.exits - before.exits) == (5, 0)


FRAMES = """
import sys
def look():
    found, frame = [], sys._getframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        variables = {name: value for name, value in frame.f_locals.items() if name not in ("frame", "found")}
        found.append((frame.f_code.co_name, frame.f_lineno, variables))
        frame = frame.f_back
    return found
def g(n, here):
    if n == 0:
        if here:
            seen.append(look())
        return 1
    s = 0
    for k in range(n):
        s += k
    return g(n - 1, here) + s
def f(n, here):
    t = 0.25
    for i in range(2):
        t = t + g(n, here)
    return t
seen = []
__file__ = "<f>"
"""


def test_frames_are_seen_from_within() -> None:
    found = twins(FRAMES, 6, False)
    for depth in (6, 0, 50):
        for module in (found.plain.__globals__, found.function.__globals__):
            module["seen"].clear()
        found(depth, True)
        assert len(found.plain.__globals__["seen"]) == 2
        assert found.plain.__globals__["seen"] == found.function.__globals__["seen"]


KEPT = """
import sys
def g(n, d):
    if n == 0:
        frames.append(sys._getframe().f_back) if d else None
        return 5
    here = n * 10
    return g(n - 1, d) + here
def f(n, d):
    return g(n, d)
frames = []
"""


def test_frames_outlive_their_calls() -> None:
    found = twins(KEPT, 6, 0)
    for module in (found.plain.__globals__, found.function.__globals__):
        module["frames"].clear()
    found(6, 1)
    plain, ours = (side.__globals__["frames"].pop() for side in (found.plain, found.function))
    for _ in range(6):
        assert (plain.f_code.co_name, plain.f_lineno, plain.f_locals) == (
            ours.f_code.co_name,
            ours.f_lineno,
            ours.f_locals,
        )
        plain, ours = plain.f_back, ours.f_back
    del plain, ours
    gc.collect()
    found.times(3, 6, 0)


DOWN = """
def f(n):
    if n == 0:
        return 0
    return f(n - 1) + 1
"""


@isolated
def test_recursion_limit_is_where_it_was() -> None:
    with enabled():
        found = twins(DOWN, 20)
        for limit in (400, sys.getrecursionlimit(), 1777, 6000):
            sys.setrecursionlimit(limit)
            for depth in (limit // 2, *range(limit - 60, limit + 3)):
                found(depth)
        sys.setrecursionlimit(15_100)
        found(15_000)
        found(16_000)
        sys.setrecursionlimit(10**6)
        found(100_000)


@isolated
def test_threads_with_little_stack() -> None:
    with enabled():
        found = twins(DOWN, 20)
        sys.setrecursionlimit(20_000)
        threading.stack_size(1 << 18)
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.append(found.function(15_000)))
        thread.start()
        thread.join()
        assert results == [15_000]


CHANGES = """
def g(n, what):
    if n == 0:
        if what == 1:
            del g_[0].__globals__["scale"]
            g_[0].__globals__["scale"] = 10
        if what == 2:
            g_[0].__globals__["g"] = lambda n, what: -n
        if what == 3:
            g_[0].__code__ = (lambda n, what: n * 1000).__code__
        return 1
    return g(n - 1, what) * 2 % 1000003 + g(n - 2 if n > 1 else 0, 0) + scale
def f(n, what):
    return g(n, what)
scale = 3
g_ = [g]
"""


@pytest.mark.parametrize("what", [1, 2, 3])
def test_changes_are_seen_by_the_next_call(what: int) -> None:
    found = twins(CHANGES, 6, 0)
    found(6, what)
    found.times(80, 6, 0)
    found(6, what)
    found.times(20, 6, 0)


def test_function_that_is_deleted() -> None:
    found = twins("def g(n):\n    return 1 if n == 0 else g(n - 1) + 1\ndef f(n):\n    return g(n) * 2\n", 6)
    for side in (found.plain, found.function):
        del side.__globals__["g"]
    gc.collect()
    found.times(3, 6)
    for side in (found.plain, found.function):
        exec("def g(n):\n    return 2 if n == 0 else g(n - 1) + 1", side.__globals__)
    minijit.jit(policy=Patient(LOW))(found.function.__globals__["g"])
    found.times(80, 6)


def test_released_and_suppressed_functions() -> None:
    found = twins(LOOPS, 20, 3)
    part = found.function.__globals__["part"]
    minijit.release(part)
    found.times(80, 20, 3)
    minijit.suppress(part)
    found.times(80, 20, 3)
    assert not calls_bodies(part)
    minijit.disable()
    found.times(3, 20, 3)


def test_bodies_are_counted_with_their_function() -> None:
    f = compiled_from(LOOPS)
    part = f.__globals__["part"]
    for function in (part, f):
        minijit.jit(policy=Patient(LOW))(function)
    for _ in range(30):
        part(20, 3)
    before = minijit.stats(part)
    assert minijit.compile(f, int, int)
    after = minijit.stats(part)
    assert (after.compilations, after.live_regions) == (before.compilations + 1, before.live_regions + 1)
    assert after.code_bytes > before.code_bytes > 0
    minijit.release(part)
    assert not minijit.is_compiled(part)


TRACED = """
import sys
def g(n, watch):
    if n == 0:
        if watch:
            sys.settrace(trace)
            sys._getframe().f_trace = trace
        return 100 // (n + watch - 2)
    return g(n - 1, watch) + 1
def f(n, watch):
    s = 0
    for k in range(3):
        try:
            s += g(n, watch)
        except ZeroDivisionError:
            s -= 1
        watch = 0
    return s
def trace(frame, event, argument):
    seen.append((event, frame.f_code.co_name, frame.f_lineno))
    return trace
seen = []
"""


@pytest.mark.parametrize("watch", [1, 2, 3])
def test_tracing_that_begins_in_a_callee(watch: int) -> None:
    found = twins(TRACED, 5, 0)
    seen = []
    for side in (found.plain, found.function):
        try:
            side(5, watch)
        finally:
            sys.settrace(None)
        seen.append(list(side.__globals__["seen"]))
        side.__globals__["seen"].clear()
    assert seen[0] == seen[1]
    assert len(seen[0]) > 20
    found.times(20, 5, 0)


def test_tool_that_watches_a_callee_alone() -> None:
    found = twins(LOOPS, 20, 3)
    part = found.function.__globals__["part"]
    with watched(part) as seen:
        found(20, 3)
        assert seen == [part.__code__] * 20
    found.times(5, 20, 3)
    assert len(seen) == 20


class Stop(BaseException):
    pass


@isolated
def test_signals_end_recursions() -> None:
    with enabled():
        f = all_compiled(FIB)
        for _ in range(60):
            f(12)
        entries = minijit.stats(f).entries

        def stop(_number: int, frame: types.FrameType | None) -> None:
            depths.append(frame.f_locals.get("n") if frame is not None else None)
            raise Stop

        depths: list[object] = []
        signal.signal(signal.SIGALRM, stop)
        for turn in range(200):
            try:
                # On a busy machine it may come at once.
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + turn * 0.00001)
                f(60)
            except Stop as error:
                names = []
                trace = error.__traceback__
                while trace is not None:
                    names.append(trace.tb_frame.f_code.co_name)
                    numbers = trace.tb_frame.f_locals.get("n")
                    trace = trace.tb_next
                assert names[-1] == "stop"
                assert set(names[1:-1]) <= {"f"}
                assert numbers is None
            assert f(15) == 610
        assert len(depths) == 200
        assert any(depths)
        assert minijit.stats(f).entries > entries + 200


def test_signals_that_raise_nothing_change_nothing() -> None:
    f = all_compiled(FIB)
    for _ in range(60):
        f(12)
    count = [0]

    def handle(_number: int, _frame: object) -> None:
        count[0] += 1
        assert f(10) == 55

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(10):
            assert f(26) == 121393
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count[0]


LEAKS = """
def g(n, what):
    if n == 0:
        if what == 0:
            return kept
        if what == 1:
            return 2 ** 70 + n
        if what == 2:
            raise error
        if what == 3:
            return (n, 1.5)
        return n
    try:
        return g(n - 1, what)
    finally:
        n = 0
def f(n, what):
    s = 0
    for k in range(n):
        g(k % 4, what)
        s += k
    return s
kept = object()
error = ValueError("there")
"""


@pytest.mark.parametrize("what", range(5))
def test_nothing_is_kept(what: int) -> None:
    f = all_compiled(LEAKS)
    names = f.__globals__
    watched = [names["kept"], names["error"], names["g"], names["f"], None, names["g"].__code__]

    def some(times: int) -> None:
        for _ in range(times):
            outcome(f, 8, what if what != 2 else 4)
            outcome(names["g"], 3, what)
            names["error"].__traceback__ = None

    some(100)
    gc.collect()
    before, blocks = list(map(sys.getrefcount, watched)), sys.getallocatedblocks()
    some(300)
    gc.collect()
    assert [now - then for now, then in zip(map(sys.getrefcount, watched), before, strict=True)] == [0] * len(watched)
    assert sys.getallocatedblocks() - blocks < 100


def test_threads_call_each_their_own() -> None:
    f = all_compiled(FIB)
    for _ in range(60):
        f(12)
    wrong: list[object] = []

    def work(n: int, wanted: int) -> None:
        wrong.extend(found for _ in range(15) if (found := f(n)) != wanted)

    threads = [threading.Thread(target=work, args=given) for given in ((20, 6765), (21, 10946), (22, 17711))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bodies_that_are_compiled_anew_are_looked_at() -> None:
    """A body that comes to rely on a module makes those that call it look at the module too."""
    source = """
import math
def g(n, deep):
    if n > 3:
        s = 0.0
        for i in range(n):
            s += math.sqrt(i)
        return s
    if deep:
        return g(n + 1, deep) + 1.0
    return 0.5
def f(n, deep):
    s = 0.0
    for i in range(n):
        s += g(i % 5, deep)
    return s
"""
    found = twins(source, 3, False)
    found.times(60, 3, True)
    found.times(60, 9, True)

    class Odd(types.ModuleType):
        def __getattribute__(self, name: str) -> object:
            return abs if name == "sqrt" else super().__getattribute__(name)

    fakes = [types.ModuleType("math"), types.ModuleType("math")]
    for side, fake in zip((found.plain, found.function), fakes, strict=True):
        fake.sqrt = side.__globals__["math"].sqrt  # type: ignore[attr-defined]
        side.__globals__["math"] = fake
    found.times(80, 9, True)
    for fake in fakes:
        fake.__class__ = Odd
    found.times(3, 9, True)


def test_what_a_callee_relies_on_ends_with_its_callers() -> None:
    """They look at its classes, its modules and the code of its functions themselves."""
    source = """
class Pair:
    def __init__(self, x, y):
        self.x = x
        self.y = y
def part(n, m):
    s = 0
    for i in range(n):
        s += Pair(i, m).x
    return s
def f(n, m):
    t = 0
    for k in range(n):
        t += part(k, m)
    return t
"""
    f = all_compiled(source)
    for _ in range(60):
        f(20, 3)
    assert calls_bodies(f.__globals__["part"])
    told: list[Any] = []
    stop = minijit.subscribe(told.append)
    del f.__globals__["Pair"]
    gc.collect()
    with pytest.raises(NameError):
        f(20, 3)
    stop()
    assert {event.function for event in told if type(event).__name__ == "Killed"} == {"f", "part"}


def test_what_is_told() -> None:
    told: list[object] = []
    stop = minijit.subscribe(told.append)
    f = all_compiled(LOOPS)
    for _ in range(60):
        f(20, 3)
    f.__globals__["part"].__code__ = (lambda n, m: n).__code__
    stop()
    assert f(20, 3) == sum(range(20))
    killed = [event for event in told if getattr(event, "reason", None) is KillReason.CODE]
    assert {event.function for event in killed} >= {"f", "part"}  # type: ignore[attr-defined]
    assert ExitReason.CALLEE_LEFT.is_failure
    assert not ExitReason.ROOM.is_failure
