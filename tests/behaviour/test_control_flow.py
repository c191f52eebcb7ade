"""Control flow: each function below does with and without minijit the same, at every one of many calls.

A case is a function, ordinary arguments and other arguments. Each is tried as it is, and in a second form with `*rest`
added to its parameters, in which only its loops are compiled, entered on the stack.
"""

# Programs under test do what good code would not.
# ruff: noqa: B007, C416, F634, F821, FURB136, PLR0124, PT018, RET503, RUF021, RUF059, SIM202, SIM300

from __future__ import annotations

import inspect
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

from isolated import isolated
from twin import LOW, Bridging, Patient, Twins, check, compiled_from, enabled, together

import minijit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CASES: list[tuple[Any, tuple[Any, ...], list[tuple[Any, ...]]]] = []


def case(ordinary: tuple[Any, ...], *special: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Adds a function to the cases."""

    def register(function: Any) -> Any:
        CASES.append((function, ordinary, list(special)))
        return function

    return register


# Loops


@case((12, 7), (0, 0), (1, 5), (30, 2))
def nested(n, m):
    s = 0
    for i in range(n):
        for j in range(m):
            for k in range(i, j):
                s += i * j - k
            s ^= j
        s -= i
    return s, i, j


@case((20, 50), (20, 5), (0, 3), (5, 5), (6, 5))
def breaking(n, stop):
    s = 0
    for i in range(n):
        if i % 3 == 1:
            continue
        if i > stop:
            break
        s += i
    else:
        s = -s
    return s, i


@case((20, 50), (20, 5), (0, 3), (-3, -5), (6, 5))
def while_else(n, stop):
    s = 0
    while n > 0:
        n -= 1
        if n == stop:
            break
        if n & 1:
            continue
        s += n
    else:
        return "else", s
    return s, n


@case((15, 200), (15, 30), (15, 3), (4, 0))
def early_return(n, limit):
    s = 0
    for i in range(n):
        for j in range(i):
            s += j
            if s > limit:
                return i, j, s
    return None


@case((9,), (0,), (1,), (40,))
def same_ranges(n):
    """Iterators of several loops over equal ranges are several iterators."""
    s = 0
    for i in range(n):
        for j in range(n):
            for k in range(n):
                if k > 5 and j > 3 and i > 2:
                    s += str(k) == "x"
                    break
                s += i + 2 * j + 3 * k
    return s, i, j, k


@case((30, 3), (30, -3), (0, 1), (7, 8), (5, -1), (3, 0))
def steps(n, step):
    s = 0
    for i in range(n, -n, -2):
        s += i
    for i in range(0, n, step):
        s += 3 * i
    for i in range(n, 0, -step):
        s -= i
    return s, i


@case((10,), (0,), (1,), (25,))
def stored_range(n):
    r = range(1, n, 2)
    q = range(n)
    s = 0
    for i in r:
        for j in r:
            s += i * j
        for k in q:
            s -= k
    return s, r, q


@case((10, 40), (0, 40), (25, 3))
def range_that_escapes(n, stop):
    r = range(n)
    s = 0
    for i in r:
        r2 = range(i, n)
        for j in r2:
            s += j
            if s > stop:
                return r2, r, len(r2), i, j
    return r


@case((40,), (0,), (3,), (100,))
def shared_iterator(n):
    it = iter(range(n))
    other = it
    s = 0
    for i in it:
        s = s * 3 + i
        for j in other:
            s += j
            if j % 5 == 4:
                break
    return s & 0xFFFFFF, list(it)


@case((40,), (0,), (3,), (100,))
def iterator_used_in_pieces(n):
    it = iter(range(n))
    k = 0
    s = 0
    while k < 20:
        k += 1
        for x in it:
            s = s * 3 + x
            break
    return s & 0xFFFFFF, k, list(it)


@case((40,), (0,), (3,), (100,))
def iterator_made_elsewhere(n):
    it = iter(range(n))
    s = 0
    for _ in range(6):
        for x in it:
            s += x
            if x % 7 == 6:
                break
        s *= 2
    return s, it


@case((40,), (0,), (3,), (100,))
def one_iterator_twice(n):
    it = iter(range(n))
    s = 0
    for i in it:
        s += i
        if i > n // 2:
            break
    for i in it:
        s -= 2 * i
    for i in it:
        s += 1000
    return s


@case((40, 7), (40, 100), (0, 1))
def iterator_in_two_places(n, k):
    it = iter(range(n))
    pair = (it, k)
    s = 0
    for i in it:
        s += i
        if i == k:
            s += next(pair[0])
    return s


@case((40,), (0,), (3,), (100,))
def loop_variable_is_changed(n):
    s = 0
    for i in range(n):
        s += i
        i = i * 2 + 1
        if i > 20:
            i = -i
        s ^= i
    return s, n


@case((25,), (1,), (0,), (60,))
def range_of_changing_bounds(n):
    s = 0
    m = n
    for i in range(m):
        m = i // 2
        for j in range(m, i):
            m += 1
            s += j
    return s, m


@case((50,), (1,), (3,), (97,))
def collatz(n):
    longest = 0
    for start in range(1, n):
        x = start
        k = 0
        while x != 1:
            x = x // 2 if x % 2 == 0 else 3 * x + 1
            k += 1
        longest = k if k > longest else longest
    return longest


@case((5, 3), (0, 0), (2, 9), (30, 1))
def loop_within_while_true(n, m):
    s = 0
    while True:
        n -= 1
        if n < 0:
            break
        i = 0
        while True:
            i += 1
            if i > m:
                break
            if i == 2:
                continue
            s += i * n
    return s


# Conditions


@case((20, 3), (20, 30), (20, -1), (0, 0), (20, 3.5), (20, True))
def chained(n, b):
    s = 0
    for i in range(n):
        if 0 < i < b <= 10:
            s += 1
        if i != 3 != b:
            s += 100
        if b == i == 3 or not (1 <= i):
            s += 10000
        t = 2 < i < b
        s += t
    return s


@case((20, 0, 5), (20, 5, 0), (20, 0.0, -0.0), (20, None, 3), (20, (), 3), (20, True, False), (9, "", "x"))
def and_or_values(n, a, b):
    found = None
    for i in range(n):
        x = a and b
        if i > n - 2:
            found = (x, a and b and i)
    return found


@case((20, 0, 5), (20, 5, 0), (20, 0.0, -0.0), (20, None, 3), (20, True, False))
def not_and_or_values(n, a, b):
    x = 7
    for i in range(n):
        x = not a or b and i
    return x, (n and a) or (b and n) or None, a or b or n


@case((20, 5), (20, -5), (20, 0), (20, 5.5), (20, None))
def conditional_expressions(n, a):
    s = 0
    for i in range(n):
        s += (i if i % 2 else -i) if a else (1 if i > 5 else 2)
        s = s if s < 100 else s - 100
    return s, "yes" if a else "no"


@case((20, 5), (20, 500), (0, 0))
def nan_conditions(n, a):
    x = float("inf") - float("inf")
    s = 0
    y = 0.5
    for i in range(n):
        y = x if i == a else y * 1.5
        if y < 3.0:
            s += 1
        elif y >= 3.0:
            s += 100
        else:
            s += 10000
        if not y != y:
            s += 1000000
        if y:
            s += 2
    return s


# Variables


@case((20,), (0,), (3,), (60,))
def changing_type(n):
    x = 0
    for i in range(n):
        if i == 7:
            x = x + 0.5
        elif i == 11:
            x = int(x)
        elif i == 14:
            x = x > 3
        elif i == 16:
            x = None
        elif i == 17:
            x = i
        if x is None:
            x = None
        else:
            x = x + 1
    return x


@case((20, 1), (20, 1.0), (20, True), (20, None), (20, "s"), (3, 1), (20, 2**70))
def argument_changes_type(n, x):
    y = x
    for i in range(n):
        y = i if i & 1 else i * 0.5
        if i == n - 2:
            y = x
            break
    return y, x


@case((30, 10), (30, 29), (30, 40), (0, 0))
def maybe_unbound(n, k):
    for i in range(n):
        if i == k:
            x = i * 2
        if i > k:
            i = i + x
    return i, x


@case((30, 100), (30, 10), (30, 29), (0, 0))
def deleted(n, k):
    x = 1
    y = 2.5
    for i in range(n):
        x = i
        if i == k:
            del x, y
        if i > 3:
            y = y + x
    del i
    return y, x


@case((30, 100), (30, 10), (30, 29))
def deleted_and_made_again(n, k):
    s = 0
    for i in range(n):
        t = i * 2
        s += t
        del t
        if i == k:
            s += t
    return s


@case((20,), (1,), (0,))
def unused_and_unbound(n):
    for i in range(n):
        pass
    try:
        return i
    except NameError as error:
        return str(error)


# Exceptions


@case((20, 30), (20, 7), (20, 0), (20, 19))
def caught_in_the_loop(n, zero):
    s = 0
    for i in range(n):
        try:
            s += 100 // (i - zero)
        except ZeroDivisionError as error:
            s += len(str(error))
        else:
            s += 1
        finally:
            s += 3
    return s


@case((20, 30), (20, 7), (20, 0), (20, 19))
def caught_around_the_loop(n, zero):
    s = 0
    i = -1
    try:
        for i in range(n):
            s += 100 % (zero - i)
        s += 1000
    except ZeroDivisionError:
        return "caught", s, i
    finally:
        s += 5
        if s > 10**9:
            s = 0
    return s, i


@case((20, 30), (20, 7), (20, 0), (20, 19))
def finally_and_not_caught(n, zero):
    log = []
    s = 1
    try:
        for i in range(n):
            s = s * 2 + 7 // (i - zero)
    finally:
        log.append(s)
    return log


@case((20, 30), (20, 7), (20, 0))
def finally_returns(n, zero):
    s = 1
    for _ in range(3):
        try:
            for i in range(n):
                s = s + 7 // (i - zero)
        finally:
            return s  # noqa: B012


@case((70,), (10,), (64,), (63,), (62,), (200,))
def overflow_in_a_try(n):
    s = 1
    t = 0
    for i in range(n):
        try:
            s = s * 2 + i
            t = 1.0 * s
            t = int(t * 1e290)
        except OverflowError:
            t = -1
        s ^= i
    return s, t


@case((20, 5), (20, 0), (3, 100))
def asserting(n, a):
    s = 0
    for i in range(n):
        assert s >= 0, s
        assert i < n and a, (i, "no a")
        s += i
    return s


@case((20, 30), (20, 10), (20, 0))
def raising(n, k):
    for i in range(n):
        if i == k:
            raise ValueError(f"at {i}", n)
    return i


@case((20, 30), (20, 10), (20, 0))
def raising_from(n, k):
    s = 0
    for i in range(n):
        try:
            s += 1 // (k - i)
        except ZeroDivisionError as error:
            raise KeyError(s, i) from error
    return s


def helper(x):
    return 10 // x


@case((20, 30), (20, 7), (20, 0))
def exceptions_of_called_functions(n, zero):
    s = 0
    for i in range(n):
        s += helper(i - zero)
        s += i
    return s


@case((20, 30), (20, 7), (20, 0))
def exceptions_of_called_functions_caught(n, zero):
    s = 0
    for i in range(n):
        for j in range(3):
            try:
                s += helper(i - zero - j)
            except ZeroDivisionError:
                s += 1000
                continue
            s += j
    return s


@case((20, 0), (20, 1), (20, 2), (20, 3))
def nested_handlers(n, how):
    s = 0
    for i in range(n):
        try:
            try:
                s += 6 // (i % 5 - how)
            except ZeroDivisionError:
                if how == 2:
                    raise
                s += [1, 2, 3][i % 4]
        except IndexError:
            s += 50
        except ZeroDivisionError:
            s += 70
            break
    return s


@case((20, 3), (20, 30))
def with_statement(n, k):
    from contextlib import suppress

    s = 0
    for i in range(n):
        with suppress(ZeroDivisionError):
            s += 12 // (i - k)
            s += 1
    return s


# Tuples


@case((20, 1, 2), (20, 1.5, 2), (20, None, 3), (0, 1, 2), (20, "a", "b"), (20, 2**62, -5))
def swap(n, a, b):
    for _ in range(n):
        a, b = b, a
    return a, b


@case((20,), (0,), (90,), (200,))
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


@case((20, 1, 2), (20, 1.5, 2), (3, True, 2))
def nested_unpacking(n, a, b):
    s = 0
    for i in range(n):
        (x, y), (z, (w,)) = (a, i), (b, (i * 2,))
        x, y, z = z, x, y
        s += x - y + z * w
    return s, x, y, z, w


@case((20, 3), (0, 3), (20, 2**62))
def tuple_across_iterations(n, a):
    t = (a, 0)
    for i in range(n):
        p, q = t
        t = (p + i, q + p)
    return t


@case((20, 7), (20, 30), (20, 19), (20, 0))
def tuple_escapes(n, k):
    t = (k, 0.5)
    u = (t, k)
    for i in range(n):
        t = (i, i * 0.5, t[0])
        u = (t, u[1])
        if i == k:
            u = [t, u, t is u[0]]
            break
    return u, t


@case((20, 7), (20, 0))
def tuple_indices(n, a):
    t = (a, a + 1, a * 0.5)
    c = (1, 2.5, 30)
    s = 0.0
    for i in range(n):
        s += t[0] - t[-1] + t[1] * c[2] + c[i % 3]
        if (a, i):
            s += len((i, a, s))
    return s


@case((20, 7), (20, 7.5), (20, None))
def unpacking_errors(n, a):
    s = 0
    for i in range(n):
        t = (a, i)
        if i == n - 3:
            t = (*t, i)
        x, y = t
        s += y
    return s


@case((20,), (0,), (1,))
def divmod_pairs(n):
    s = 0
    for i in range(-n, n):
        q, r = divmod(i, 7)
        s = s * 3 + q - r
        q, r = divmod(i * 0.5, -1.5)
        s += int(q + r)
        t = divmod(s, 1000003)
        s = t[1] + t[0] % 3
    return s


# Odd code


@case((20, 3), (0, 3))
def assignment_expressions(n, a):
    s = 0
    i = 0
    while (j := i * a) < n:
        i += 1
        if (k := j % 4) and k > 1:
            s += k
    return s, j, i


@case((20, 3), (20, 30))
def many_exits_in_a_row(n, k):
    s = 0
    out = []
    for i in range(n):
        out.append(s)
        s += i
        out.append(-s)
        s -= k
        if i == k:
            out.clear()
    return out


@case((20,), (5,))
def comprehension_inside(n):
    s = 0
    for i in range(n):
        s += sum([j * i for j in range(5)])
        x = [i for i in range(3)]
        s += i + len(x)
    return s, i


@case((20,), (5,))
def matching(n):
    s = 0
    for i in range(n):
        match i % 5:
            case 0:
                s += 1
            case 1 | 2:
                s += i
            case x if x > 3:
                s -= x
            case _:
                s *= 2
    return s


@case((20, 5), (20, 1), (0, 0))
def formatted(n, k):
    text = ""
    for i in range(n):
        if i % k == 0:
            text += f"{i:>3}{i * 0.5!r}"
    return text


@case((200,), (3,))
def long_jumps(n):
    """Enough code between the loop's ends for EXTENDED_ARG."""
    s = 0
    for i in range(n):
        if i % 2:
            s = (s + i * 3) % 1000
            s = (s + i * 5) % 1000
            s = (s + i * 7) % 1000
            s = (s + i * 9) % 1000
            s = (s + i * 3) % 1000
            s = (s + i * 5) % 1000
            s = (s + i * 7) % 1000
            s = (s + i * 9) % 1000
            s = (s + i * 3) % 1000
            s = (s + i * 5) % 1000
            s = (s + i * 7) % 1000
            s = (s + i * 9) % 1000
            s = (s + i * 3) % 1000
            s = (s + i * 5) % 1000
            s = (s + i * 7) % 1000
            s = (s + i * 9) % 1000
            s = (s + i * 3) % 1000
            s = (s + i * 5) % 1000
            s = (s + i * 7) % 1000
            s = (s + i * 9) % 1000
            s = (s + i * 3) % 1000
            s = (s + i * 5) % 1000
            s = (s + i * 7) % 1000
            s = (s + i * 9) % 1000
            s = (s + i * 3) % 1000
            s = (s + i * 5) % 1000
            s = (s + i * 7) % 1000
            s = (s + i * 9) % 1000
        else:
            s = (s - i * 3) % 1000
            s = (s - i * 5) % 1000
            s = (s - i * 7) % 1000
            s = (s - i * 9) % 1000
            s = (s - i * 3) % 1000
            s = (s - i * 5) % 1000
            s = (s - i * 7) % 1000
            s = (s - i * 9) % 1000
            s = (s - i * 3) % 1000
            s = (s - i * 5) % 1000
            s = (s - i * 7) % 1000
            s = (s - i * 9) % 1000
        if i == 150:
            s = [s][0]
    return s


def with_rest(function: Any) -> Any:
    """The function with `*rest` as its last parameter: calls cannot enter it, loops can."""
    head, *body = lines_of(function)
    return compiled_from("\n".join((head.replace("):", ", *rest):"), *body)), function.__name__, helper=helper)


def lines_of(function: Any) -> list[str]:
    """The function's source without its decorator."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    return lines[next(k for k, line in enumerate(lines) if line.startswith("def ")) :]


def fresh(function: Any) -> Any:
    """The function made anew, since minijit knows functions for good."""
    return compiled_from("\n".join(lines_of(function)), function.__name__, helper=helper)


ALL_UNSUPPORTED = {"with_statement", "formatted", "unpacking_errors"}


def run_all(
    make: Callable[[Any], Any], policy: minijit.Policy | None, *, cases: slice = slice(None), times: int = 10
) -> dict[str, int]:
    """Checks all cases, or some; how often each was entered."""
    entered: dict[str, int] = {}

    def one(function: Any, ordinary: tuple[Any, ...], special: Iterable[tuple[Any, ...]]) -> None:
        twins = check(make(function), ordinary, special, times=times, policy=policy, entered=False)
        entered[function.__name__] = twins.entries

    together(partial(one, *row) for row in CASES[cases])
    return entered


@isolated
def test_entered_by_calls() -> None:
    """All branches compiled at once."""
    with enabled():
        entered = run_all(fresh, Patient(LOW))
    assert sum(map(bool, entered.values())) > 0.7 * len(entered), entered


@isolated
def test_entered_by_calls_with_bridges() -> None:
    """Branches compiled when they are hot."""
    with enabled():
        run_all(fresh, Bridging(LOW), cases=slice(0, None, 2), times=20)


@isolated
def test_loops_entered_on_the_stack() -> None:
    """All branches compiled at once."""
    with enabled():
        entered = run_all(with_rest, Patient(LOW))
    assert sum(map(bool, entered.values())) > 0.7 * len(entered), entered


@isolated
def test_loops_entered_on_the_stack_with_bridges() -> None:
    """Branches compiled when they are hot."""
    with enabled():
        run_all(with_rest, Bridging(LOW), cases=slice(1, None, 2), times=20)


@isolated
def test_the_default_policy() -> None:
    """Default thresholds and decisions."""
    with minijit.enable():
        together(partial(default, *row) for row in CASES)


def default(function: Any, ordinary: tuple[Any, ...], special: list[tuple[Any, ...]]) -> None:
    twins = Twins(fresh(function))
    for arguments in [ordinary, *special, ordinary]:
        twins.times(60, *arguments)


IDENTITIES = {
    "two displays": """
def f(n, a):
    found = 0
    for i in range(n):
        t = (a, i)
        u = (a, i)
        v = t
        if i == n - 1:
            found = [t is u, t is v, u is v, t == u]
    return found
""",
    "two ranges": """
def f(n, a):
    r = range(n)
    for i in r:
        s = range(n)
        t = s
        if i == n - 1:
            return [r is s, s is t]
""",
    "one inside of another": """
def f(n, a):
    for i in range(n):
        t = (a, i)
        u = (t, t)
        v = (t, (a, i))
        if i == n - 1:
            return [u[0] is u[1], v[0] is v[1], u[0] is v[0], v[0] is t, u is v, u == v]
""",
    "one or the other": """
def f(n, a):
    for i in range(n):
        t = (a, i)
        u = (a, i)
        v = t if i & 1 else u
        if a > 1:
            w = v
        else:
            w = t
        if i == n - 1:
            return [v is t, v is u, w is v, w is t, t is u]
""",
    "from round to round": """
def f(n, a):
    last = kept = (a, 1)
    for i in range(n):
        before = last
        last = (a, 1)
        if i % 3 == 0:
            kept = last
        if i == n - 1:
            return [before is last, kept is last, kept is before, before == last]
""",
    "results": """
def f(n, a):
    for i in range(n):
        p = divmod(i, a)
        q = divmod(i, a)
        if i == n - 1:
            return [p is q, p == q, p[0] is q[0]]
""",
}


@isolated
def test_identities() -> None:
    """Two displays make two tuples, two names for one tuple stay one, whatever way they went to the exit."""
    with enabled():
        for policy in (None, Patient(LOW)):
            for source in IDENTITIES.values():
                check(compiled_from(source), (20, 7), [(20, 3), (21, 3), (22, 1), (24, 7)], policy=policy)


RETURNED = """
def f(a, b):
    t = (a, b)
    u = (a, b)
    v = t
    r = range(a)
    return t, u, (v, t), range(a), r, r
"""


@isolated
def test_identities_of_what_is_returned() -> None:
    """The same without an exit."""
    with enabled():
        f = minijit.jit(compiled_from(RETURNED))
        for k in range(40):
            t, u, (v, w), r, s, x = f(k, 0.5)
            assert t == u == (k, 0.5)
            assert t is v is w is not u
            assert r == s == range(k)
            assert r is not s is x
        assert minijit.stats(f).entries
        assert not minijit.stats(f).exits, minijit.explain(f)
