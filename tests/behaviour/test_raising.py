"""Exceptions: raised in compiled code and by what it calls, caught and not, in every kind of handler.

In: programs. Out: the same with and without minijit, at every one of many calls, in all the ways of `programs`: what is
raised, its message, its traceback.
"""

# Programs under test do what good code would not.
# ruff: noqa: PT018, RET503

from __future__ import annotations

from isolated import isolated
from programs import Programs


def helper(x):
    return 10 // x


PROGRAMS = Programs(
    interpreted="with_statement", called="exceptions_of_called_functions overflow_in_a_try", helper=helper
)
case = PROGRAMS.case


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
