"""Loops: nested, left early, over ranges and iterators that are stored, shared, and used in pieces.

In: programs. Out: the same with and without minijit, at every one of many calls, in all the ways of `programs`.
"""

# Programs under test do what good code would not.
# ruff: noqa: B007, FURB136

from __future__ import annotations

from isolated import isolated
from programs import Programs

PROGRAMS = Programs(
    interpreted="iterator_in_two_places iterator_made_elsewhere iterator_used_in_pieces one_iterator_twice shared_iterator"
)
case = PROGRAMS.case


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
