"""Every way out of compiled code: what is seen of it is what CPython does, at the 1st, 2nd and 1000th time.

Each case is an expression over `a` and `b`, ordinary operands, and operands for which the expression leaves. It is
tried in two forms: in a function entered by calls, and in a loop entered on the stack (in a function that calls cannot
enter, since it has `*rest`), where the operands become special in the middle.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from isolated import isolated
from twin import (
    LOW,
    MANY,
    SEVERAL,
    Bridging,
    Patient,
    Twins,
    check,
    compiled_from,
    enabled,
    exits_taken,
    outcome,
    together,
)

import minijit
from minijit.backend import effort
from minijit.driver import api
from minijit.events import ExitHot, ExitReason, Recorded

CALL_FORM = """
import math
def f(a, b):
    before = a
    r = {}
    return r, before
"""
LOOP_FORM = """
import math
def f(n, k, a0, b0, a1, b1, *rest):
    r = None
    for i in range(n):
        a = a0 if i < k else a1
        b = b0 if i < k else b1
        r = {}
    return r, i
"""

BIG, LEAST = 2**63 - 1, -(2**63)
NAN, INF = float("nan"), float("inf")
R = ExitReason

CASES: list[tuple[ExitReason, str, tuple[Any, Any], list[tuple[Any, Any]]]] = [
    (R.OVERFLOW, "a + b", (1, 2), [(BIG, 1), (LEAST, -1), (2**62, 2**62), (BIG, BIG)]),
    (R.OVERFLOW, "a - b", (1, 2), [(BIG, -1), (LEAST, 1), (0, LEAST)]),
    (R.OVERFLOW, "a * b", (3, 2), [(BIG, 2), (LEAST, -1), (2**32, 2**31), (-(2**32), 2**32)]),
    (R.OVERFLOW, "a << b", (3, 2), [(1, 63), (1, 64), (3, 62), (-1, 64), (1, 200), (1, -1), (-3, 62), (0, 100)]),
    (R.OVERFLOW, "a ** b", (3, 2), [(3, 40), (2, 63), (-2, 64), (2, -1), (0, -1), (-3, -3), (10, 19)]),
    (R.OVERFLOW, "a ** 2 + b", (3, 2), [(2**32, 0), (-(2**40), 1)]),
    (R.OVERFLOW, "-a + 0 * b", (3, 2), [(LEAST, 0)]),
    (R.OVERFLOW, "abs(a) + 0 * b", (-3, 2), [(LEAST, 0)]),
    (R.OVERFLOW, "math.gcd(a, b)", (12, 18), [(LEAST, LEAST), (LEAST, 0)]),
    (R.ZERO_DIVISION, "a // b", (7, 2), [(1, 0), (LEAST, -1), (0, 0)]),
    (R.ZERO_DIVISION, "a % b", (7, 2), [(1, 0), (LEAST, -1), (0, 0)]),
    (R.ZERO_DIVISION, "divmod(a, b)", (7, 2), [(1, 0), (LEAST, -1), (0, 0)]),
    (R.ZERO_DIVISION, "a / b", (7.0, 2.0), [(1.0, 0.0), (NAN, -0.0)]),
    (R.ZERO_DIVISION, "a // b", (7.0, 2.0), [(1.0, 0.0), (INF, -0.0)]),
    (R.ZERO_DIVISION, "a % b", (7.0, 2.0), [(1.0, 0.0), (INF, -0.0)]),
    (R.ZERO_DIVISION, "sum_over(range(a, 10, b))", (1, 2), [(1, 0)]),
    (R.INEXACT, "a / b", (7, 2), [(1, 0), (2**53 + 1, 3), (1, 2**60), (LEAST, BIG), (BIG, BIG - 1)]),
    (R.SHIFT, "a >> b", (700, 2), [(1, -1), (-1, LEAST), (5, -(2**40))]),
    (R.DOMAIN, "math.sqrt(a) + b", (7.0, 2.0), [(-1.0, 0.0), (NAN, 1.0), (-INF, 0.0)]),
    (R.DOMAIN, "math.log(a) + b", (7.0, 2.0), [(0.0, 0.0), (-1.0, 1.0), (NAN, 0.0)]),
    (R.DOMAIN, "math.exp(a) + b", (7.0, 2.0), [(1000.0, 0.0), (INF, 1.0), (NAN, 0.0)]),
    (R.DOMAIN, "math.pow(a, b)", (7.0, 2.0), [(0.0, -1.0), (-1.0, 0.5), (1e300, 2.0), (NAN, 0.0), (1.0, NAN)]),
    (R.DOMAIN, "math.fmod(a, b)", (7.0, 2.0), [(1.0, 0.0), (INF, 1.0), (NAN, 0.0)]),
    (R.DOMAIN, "a ** b", (7.0, 2.0), [(0.0, -1.0), (-8.0, 1 / 3), (1e300, 2.0), (NAN, 0.0), (1.0, NAN), (0.0, 0.0)]),
    (R.DOMAIN, "a ** -2 + b", (7, 2), [(0, 0)]),
    (R.DOMAIN, "math.factorial(a) + b", (7, 2), [(30, 0), (-1, 0)]),
    (R.DOMAIN, "math.comb(a, b)", (7, 2), [(200, 100), (-1, 2), (3, -1)]),
    (R.NOT_AN_INT, "int(a) + b", (7.5, 2), [(NAN, 0), (INF, 0), (-INF, 1), (1e300, 3), (2.0**63, 0), (-(2.0**64), 0)]),
    (R.NOT_AN_INT, "round(a) + b", (7.5, 2), [(NAN, 0), (INF, 0), (1e300, 3), (2.0**63, 0)]),
    (R.NOT_AN_INT, "math.floor(a) + b", (7.5, 2), [(NAN, 0), (INF, 0), (1e300, 3), (2.0**63, 0)]),
    (R.NOT_AN_INT, "math.ceil(a) + b", (7.5, 2), [(NAN, 0), (-INF, 0), (1e300, 3), (2.0**63, 0)]),
    (R.NOT_AN_INT, "math.trunc(a) + b", (7.5, 2), [(NAN, 0), (INF, 0), (1e300, 3), (-(2.0**64), 0)]),
    (R.UNSUPPORTED, "[a, b]", (7, 2), [(1, 3)]),
    (R.UNSUPPORTED, "str(a) + 'x' * b", (7, 2), [(1, 3)]),
    (R.UNSUPPORTED, "a @ b", (7.0, 2.0), [(1.0, 3.0)]),
]
"""Reason, expression, ordinary operands, special operands (of the same types: others never get in)."""


def sum_over(values: range) -> int:
    """Something that takes a range, and that is not compiled."""
    return sum(values)


def id_of(case: tuple[ExitReason, str, Any, Any]) -> str:
    return f"{case[0].name}: {case[1]}"


def by_call(reason: ExitReason, expression: str, ordinary: tuple[Any, Any], special: list[tuple[Any, Any]]) -> None:
    function = compiled_from(CALL_FORM.format(expression), sum_over=sum_over)
    can_be_entered = is_worth_a_region(expression)
    expected = reason if can_be_entered else None
    check(function, ordinary, special, times=SPECIAL_TIMES, expect=expected, entered=can_be_entered)


SPECIAL_TIMES = MANY // 8


def is_worth_a_region(expression: str) -> bool:
    """Whether compiled code can get past the expression."""
    return not any(part in expression for part in ("[", "str", "@", "sum_over"))


def by_loop(reason: ExitReason, expression: str, ordinary: tuple[Any, Any], special: list[tuple[Any, Any]]) -> None:
    function = compiled_from(LOOP_FORM.format(expression), sum_over=sum_over)
    if not is_worth_a_region(expression):
        return
    calm = (30, 30, *ordinary, *ordinary)
    check(function, calm, [(6, 3, *ordinary, *s) for s in special], times=SPECIAL_TIMES, warm=5, expect=reason)


@isolated
def test_calls_leave_exactly() -> None:
    """Each case, in a function entered by calls."""
    with enabled():
        together(partial(by_call, *case) for case in CASES)


@isolated
def test_loops_leave_exactly() -> None:
    """Each case, in a loop entered on the stack."""
    with enabled():
        together(partial(by_loop, *case) for case in CASES)


@isolated
def test_calls_leave_exactly_with_the_default_thresholds() -> None:
    """The default policy makes bridges, recompiles and gives up: none of it may be seen."""
    with minijit.enable():
        for _reason, expression, ordinary, special in CASES[::3]:
            twins = Twins(compiled_from(CALL_FORM.format(expression), sum_over=sum_over))
            for one in special:
                twins.times(100, *ordinary)
                twins.times(200, *one)


@isolated
def test_loops_leave_exactly_with_the_default_policy() -> None:
    """As above, for loops."""
    with enabled():
        for _reason, expression, ordinary, special in CASES[1::3]:
            twins = Twins(compiled_from(LOOP_FORM.format(expression), sum_over=sum_over))
            for one in special:
                twins.times(5, 30, 30, *ordinary, *ordinary)
                twins.times(60, 30, 20, *ordinary, *one)


# Reasons that need more than an expression


UNSUPPORTED_LOOP = """
def f(n, k, a, *rest):
    r = []
    for i in range(n):
        if i > k:
            {}
        a += 1
    return a, i, r
"""


@isolated
def test_unsupported_instructions_in_a_loop() -> None:
    """UNSUPPORTED: the interpreter does the instruction, and the loop is entered again."""
    with enabled():
        for statement in "r.append(a)|r = [*r, i]|a = str(a)|r = {i: a}|raise ValueError(a)|import sys as r".split("|"):
            function = compiled_from(UNSUPPORTED_LOOP.format(statement))
            special = [(30, 12, 0), (30, 28, 2**63 - 20), (30, 20, 1.5)]
            # What raises is no part of the loop.
            expected = R.LEFT_LOOP if statement.startswith("raise") else R.UNSUPPORTED
            check(function, (30, 40, 0), special, times=SPECIAL_TIMES, warm=5, expect=expected)


class NoBridges(Patient):
    """Compiles what was seen, and leaves it at that."""

    def compile_unseen(self, _root: Any) -> bool:
        return False


def untaken(a: int, b: int) -> tuple[object, int]:
    r = 0
    for i in range(10):
        if a < b:
            r += i
        else:
            r -= a // (i - 5)
    return r, a


@isolated
def test_untaken_branches() -> None:
    """UNTAKEN: a branch that no recording took, with and without a bridge; the exception comes from the branch."""
    with enabled():
        twins = check(untaken, (1, 2), [(2, 1), (2, 2)], times=MANY, policy=NoBridges(LOW), expect=R.UNTAKEN)
        twins = check(compiled_from(UNTAKEN_ENDS), (1,), [(-1,), (-(10**30),)], policy=NoBridges(LOW), expect=R.UNTAKEN)
        bridged = compiled_from(UNTAKEN_ENDS)
        twins = check(bridged, (1,), [(-1,)], policy=Bridging(LOW))
        assert minijit.stats(bridged).bridges, minijit.explain(bridged)
        twins.times(MANY, -1)
        twins.times(MANY, 1)


UNTAKEN_ENDS = """
def f(a):
    s = 0
    for i in range(20):
        if a < 0 and i > 10:
            s -= 1
            if i > 15:
                s *= a
        s += i
    return s
"""


@isolated
def test_unseen_handlers() -> None:
    """RAISED: an exception that is caught, which no recording has seen, with and without a bridge."""
    with enabled():
        check(compiled_from(CAUGHT), (3, 9), [(0, 9), (3, 40)], times=MANY, policy=NoBridges(LOW), expect=R.RAISED)
        bridged = compiled_from(CAUGHT)
        twins = check(bridged, (3, 9), [(0, 9)], policy=Bridging(LOW))
        assert minijit.stats(bridged).bridges, minijit.explain(bridged)
        twins.times(MANY, 3, 40)
        twins.times(MANY, 3, 9)


CAUGHT = """
def f(a, n):
    s = 0
    for i in range(n):
        try:
            s += 100 // a
            if i > 30:
                raise KeyError(i)
        except ZeroDivisionError:
            s -= 1
        except LookupError:
            s += 5
    return s
"""


def bound_on_some_paths(a: int, n: int) -> object:
    s = 0
    for i in range(n):
        if i > a:
            found = i * 2
        s += 1
        if i > 12:
            s += found
    return s, found


@isolated
def test_unbound_variables() -> None:
    """UNBOUND: the interpreter raises UnboundLocalError, with the name and the line."""
    with enabled():
        check(bound_on_some_paths, (5, 30), [(50, 30), (50, 5), (50, 14)], times=MANY)
        check(compiled_from(UNBOUND_CALL), (5,), [(-5,)], times=MANY, expect=R.UNBOUND)
        loop = compiled_from(UNBOUND_LOOP)
        check(loop, (30, 40), [(30, 25), (30, 1)], times=MANY, warm=5, expect=R.UNBOUND)


UNBOUND_CALL = """
def f(a):
    if a > 0:
        x = a + 1
    return x + a
"""
UNBOUND_LOOP = """
def f(n, k, *rest):
    s = 0
    x = 1.5
    for i in range(n):
        if i == k:
            del x
        s += i
        if i > k:
            s += x
    return s
"""


class Ending:
    """Notes when it ends: after how many rounds of whose loop."""

    ends: list[int] = []  # noqa: RUF012 - shared by all, which is the point

    def __del__(self) -> None:
        self.ends.append(sys._getframe(1).f_locals["i"])


OVERWRITES = """
def f(n, k, make, *rest):
    x = make()
    s = 0
    for i in range(n):
        if i >= k:
            x = (i, s)
        s += i
    return s, x, tuple(Ending.ends)
"""


@isolated
def test_objects_that_are_overwritten() -> None:
    """OVERWRITTEN: an object ends when its variable is overwritten, if that can be noticed; else the loop goes on."""
    function = compiled_from(OVERWRITES, Ending=Ending)
    quiet = [lambda: "text", lambda: ("a", 1, None), lambda: 2**100, lambda: None, lambda: range(3)]
    noisy = [Ending, lambda: (Ending(),), lambda: [Ending()]]
    with enabled():
        twins = check(function, (40, 30, quiet[0]), [(40, 25, make) for make in quiet], warm=5)
        assert not exits_taken(function)[R.OVERWRITTEN], minijit.explain(function)
        for make in noisy:
            for k in (25, 39):
                for _ in range(SEVERAL):
                    Ending.ends.clear()
                    wanted = outcome(twins.plain, 40, k, make)
                    Ending.ends.clear()
                    assert outcome(function, 40, k, make) == wanted
        assert exits_taken(function)[R.OVERWRITTEN], minijit.explain(function)


KEEPS = """
def f(n):
    pair, state, s = (0, 1), "even", 0
    for i in range(n):
        pair = (i, s)
        state = "odd" if i & 1 else "even"
        s += pair[0] - pair[1] % 7
    return s, pair, state
"""


@isolated
def test_a_loop_that_keeps_tuples_and_texts_is_entered() -> None:
    """In the first and only call of its function."""
    with minijit.enable():
        twins = Twins(compiled_from(KEEPS))
        twins(20_000)
        counters = minijit.stats(twins.function)
        assert counters.live_regions, minijit.explain(twins.function)
        assert counters.exits < 100, counters


@isolated
def test_a_global_that_changes_often() -> None:
    """GLOBAL: it is read each time, and its type is checked each time."""
    function = compiled_from("def f(a):\n    s = 0\n    for i in range(9):\n        s += a * g\n    return s\n", g=3)
    scope = function.__globals__
    with enabled():
        twins = Twins(function, Patient(LOW))
        for value in range(12):
            scope["g"] = value
            twins.times(100, 2)
        twins.require_compiled()
        for value in (1.5, True, 10**30, "x", None, 7, (1,), -0.0, 2**62):
            scope["g"] = value
            twins.times(SPECIAL_TIMES, 2)
            scope["g"] = 3
            twins(2)
        del scope["g"]
        twins.times(SPECIAL_TIMES, 2)
        assert exits_taken(function)[R.GLOBAL], minijit.explain(function)


@isolated
def test_too_many_blocks() -> None:
    """TOO_MANY_BLOCKS: the rest is interpreted."""
    body = "".join(
        f"        if i % {k} == 0:\n            s += {k}\n        else:\n            s ^= i\n" for k in range(2, 30)
    )
    source = f"def f(n):\n    s = 0\n    for i in range(n):\n{body}    return s\n"
    config = minijit.Config(call_threshold=3, loop_threshold=10, exit_threshold=5, region_blocks=12)
    with enabled(config):
        twins = Twins(compiled_from(source), Patient(config))
        for _ in range(4):
            twins(40)
        twins.times(200, 20)
        assert exits_taken(twins.function)[R.TOO_MANY_BLOCKS], minijit.explain(twins.function)


@isolated
def test_a_loop_that_is_done() -> None:
    """LEFT_LOOP: what follows the loop is the interpreter's, however the loop was left."""
    source = """
def f(n, k, *rest):
    s = 0
    for i in range(n):
        if i == k:
            break
        s += i
    else:
        s = -s
    t = [s]
    while n > 0:
        n -= 1
        if n == k:
            return "early", t
    return t, rest
"""
    with enabled():
        check(compiled_from(source), (40, 50), [(40, 39), (40, 5), (11, 11), (0, 0)], expect=R.LEFT_LOOP)


@isolated
def test_polls() -> None:
    """POLL: other threads get their turn, and the loop goes on where it was."""

    def spin(n: int) -> int:
        s = 0
        for i in range(n):
            s = (s + i) & 0xFFFF
        return s

    done = False

    def tick() -> None:
        while not done:
            time.sleep(0.0001)

    with enabled():
        twins = Twins(spin, Patient(LOW))
        twins.times(10, 100)
        thread = threading.Thread(target=tick)
        sys.setswitchinterval(1e-4)
        thread.start()
        wanted = twins.plain(300_000)
        for _ in range(20):
            assert spin(300_000) == wanted
        # One loop for long enough that somebody wants a turn.
        spin(200_000_000)
        done = True
        thread.join()
        assert exits_taken(spin)[R.POLL], minijit.explain(spin)


@isolated
def test_large_regions_become_warm() -> None:
    """WARM: what was compiled quickly counts its rounds, and is compiled anew, once, with nothing to count."""
    effort.ROUNDS = 1000

    def grid(n: int, m: int) -> float:
        s = 0.5
        for i in range(n):
            for j in range(m):
                s = s * 0.75 + i * j
        return s

    hot: list[ExitHot] = []

    def listen(event: object) -> None:
        if isinstance(event, ExitHot):
            hot.append(event)

    with enabled(replace(LOW, large=1)):
        minijit.subscribe(listen)
        twins = Twins(grid, minijit.Policy(LOW))
        twins.times(20, 5, 4)
        assert minijit.is_compiled(grid), minijit.explain(grid)
        assert R.WARM not in [event.reason for event in hot]
        hot.clear()
        twins.times(400, 5, 4)
        assert [(event.reason, event.action) for event in hot] == [(R.WARM, "recompile")], minijit.explain(grid)
        twins.times(2000, 5, 4)
        assert len(hot) == 1, minijit.explain(grid)
        assert minijit.is_compiled(grid)


@isolated
def test_what_rare_exits_lead_to_is_compiled_with_what_frequent_ones_do() -> None:
    """UNTAKEN: two branches that no recording took, of which one is hot first. Nothing is recorded for either."""

    def branches(n: int) -> int:
        s = 0
        for i in range(n):
            if i % 50 == 49:
                s += 3
            elif i % 300 == 298:
                s ^= 5
            else:
                s += 1
        return s

    told: list[object] = []

    with enabled(replace(LOW, exit_threshold=20)):
        twins = Twins(branches, minijit.Policy(replace(LOW, exit_threshold=20)))
        twins.times(10, 40)
        minijit.subscribe(told.append)
        # The loop, and then the calls.
        twins.times(30, 3000)
        hot = [event for event in told if isinstance(event, ExitHot)]
        assert [event.reason for event in hot] == [R.UNTAKEN] * 2, minijit.explain(branches)
        assert hot[0].at == hot[1].at, "that of the branch that is more frequent"
        assert [event.steps for event in told if isinstance(event, Recorded)] == [0, 0]
        before = minijit.stats(branches)
        twins.times(10, 3000)
        assert minijit.stats(branches).exits == before.exits
        code = api._process.driver.registry.codes[id(branches.__code__)]  # type: ignore[union-attr]
        assert code.is_followed
        minijit.release(branches)
        assert not code.is_followed


@isolated
def test_calls_of_machine_code() -> None:
    """ROOM where recursion is too deep; CALLEE where the callee's code is gone; CALLEE_LEFT where it was left, and KIND
    where it gave a number of another type."""
    source = """
def g(n):
    if n < 0:
        return 0.5
    if n == 0:
        return 10 // scale
    return g(n - 1) + 1
def f(n):
    return g(n) + scale
scale = 10
"""
    with enabled():
        twins = Twins(compiled_from(source), Patient(LOW))
        twins.plain = compiled_from(source)
        g = minijit.jit(policy=Bridging(LOW))(twins.function.__globals__["g"])
        for n in (6, -1, 6, -1):
            twins.times(40, n)
        twins(sys.getrecursionlimit() - 60)
        taken = exits_taken(twins.function) + exits_taken(g)
        for scale in (0, 10, 10, 10):
            for side in (twins.plain, twins.function):
                side.__globals__["scale"] = scale
            twins.times(3, 6)
        minijit.release(g)
        twins.times(3, 6)
        taken += exits_taken(twins.function)
        for reason in (R.ROOM, R.CALLEE, R.CALLEE_LEFT, R.KIND):
            assert taken[reason], (reason, minijit.explain(twins.function), minijit.explain(g))


@isolated
def test_what_is_met_in_the_heap() -> None:
    """ALIASED, BOUNDS, UNSEEN: an index that is none, one object under two names, a type that nobody has seen."""
    source = """
class Point:
    def __init__(self, x):
        self.x = x
    def give(self, other):
        self.x = self.x - 1
        other.x = other.x + 1
        return self.x
def make(a):
    def g(n):
        s = 0
        for k in range(n):
            s += k
        return s + a
    return g
g = make(2.5)
def f(xs, ps, i, n):
    s = xs[i]
    for k in range(n):
        s += ps[0].give(ps[1])
    return s
xs = [1, 2, 3]
p, q = Point(5), Point(7)
"""
    with enabled():
        sides = [compiled_from(source), compiled_from(source)]
        minijit.jit(policy=Patient(LOW))(sides[1])
        taken: Counter[ExitReason] = Counter()
        for ps, i, n in (("pq", 1, 9), ("pq", 1, 5), ("pp", 1, 5), ("pq", 7, 5), ("pq", -1, 9), ("pp", 0, 9)):
            for _ in range(40):
                found = []
                for side in sides:
                    scope = side.__globals__
                    given = [scope[name] for name in ps]
                    # The variables of a traceback are objects of one side.
                    found.append((outcome(side, scope["xs"], given, i, n)[:4], scope["p"].x, scope["q"].x))
                assert found[0] == found[1], (ps, i, n, found)
            taken += exits_taken(sides[1])
        g = sides[1].__globals__["g"]
        assert minijit.compile(g, int)
        assert [g(k) for k in range(3)] == [2.5, 2.5, 3.5]
        taken += exits_taken(g)
        for reason in (R.ALIASED, R.BOUNDS, R.UNSEEN):
            assert taken[reason], (reason, minijit.explain(sides[1]))


UNREACHABLE: set[ExitReason] = set()
ELSEWHERE = {
    R.UNTAKEN,
    R.RAISED,
    R.UNBOUND,
    R.OVERWRITTEN,
    R.GLOBAL,
    R.TOO_MANY_BLOCKS,
    R.LEFT_LOOP,
    R.RETURNED,
    R.POLL,
    R.WARM,
    R.ROOM,
    R.CALLEE,
    R.CALLEE_LEFT,
    R.KIND,
    R.ALIASED,
    R.BOUNDS,
    R.UNSEEN,
}
"""Reasons with a test of their own, above or in a file of their own."""


@isolated
def test_attributes_get_their_values_at_a_return() -> None:
    """RETURNED, which nobody counts: here by the stub, since the result is a tuple."""
    source = """
class Point:
    def __init__(self):
        self.x = 1.5
def f(p, a):
    p.x += a
    return p.x, a
point = Point()
"""
    with enabled():
        f = compiled_from(source)
        minijit.jit(policy=Patient(LOW))(f)
        point = f.__globals__["point"]
        for number in range(1, 30):
            assert f(point, 0.5) == (1.5 + 0.5 * number, 0.5)
        assert minijit.stats(f).entries > 10
        state = api._process.driver.registry.functions[id(f)]  # type: ignore[union-attr]
        assert [way.reason for version in state.versions for way in version.exits] == [R.RETURNED]


def test_every_reason_has_a_case() -> None:
    """Rows of `ExitReason` that no case above takes."""
    covered = {case[0] for case in CASES} | ELSEWHERE
    assert set(ExitReason) - covered == UNREACHABLE
    source = globals()
    tests = "".join(
        str(vars(value.body)) + str(value.body.__code__.co_names) for value in source.values() if hasattr(value, "body")
    )
    missing = [reason.name for reason in ELSEWHERE if reason.name not in tests]
    assert not missing
