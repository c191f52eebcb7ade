"""Variables that change their type or lose their value, tuples that are never made, and which object is which.

In: programs. Out: the same with and without minijit, at every one of many calls, in all the ways of `programs`.
"""

# Programs under test do what good code would not.
# ruff: noqa: B007, F634, F821, RUF059

from __future__ import annotations

from isolated import isolated
from programs import Programs
from twin import LOW, Patient, check, compiled_from, enabled

import minijit

PROGRAMS = Programs(
    interpreted="unpacking_errors", called="divmod_pairs tuple_across_iterations tuple_escapes tuple_indices"
)
case = PROGRAMS.case


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


# In every way


@isolated
def test_entered_by_calls() -> None:
    """All branches compiled at once."""
    PROGRAMS.entered_by_calls()


@isolated
def test_entered_by_calls_with_bridges() -> None:
    """Branches compiled when they are hot."""
    PROGRAMS.entered_by_calls_with_bridges()


@isolated
def test_loops_entered_on_the_stack() -> None:
    """All branches compiled at once."""
    PROGRAMS.entered_on_the_stack()


@isolated
def test_loops_entered_on_the_stack_with_bridges() -> None:
    """Branches compiled when they are hot."""
    PROGRAMS.entered_on_the_stack_with_bridges()


@isolated
def test_the_default_policy() -> None:
    """Default thresholds and decisions."""
    PROGRAMS.by_default()


# Identities

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
