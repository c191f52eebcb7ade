"""Functions of all sorts, arguments for them, and what they give.

In: nothing. Out: functions that loop, recurse, raise, make objects, rely on a global and leave compiled code in some
ways, with arguments of several types; and the table of what their plain twins give, to compare with whatever the
functions give while everything else goes on.
"""

from __future__ import annotations

from typing import Any

from twin import compiled_from, outcome

PROGRAM = "<f>"
"""The file name of the programs' code."""
PROGRAMS = """
def f(n, k):
    s = 0
    for i in range(n):
        s += i * k
        if s > 10**6:
            s -= 10**6
    return s
----
def f(n, k):
    s = k
    for i in range(n):
        s = s * 3 + i
    return s
----
import math
def f(n, k):
    t = 0.0
    i = 0
    while i < n:
        i += 1
        t += math.sqrt(i) if i % 3 else math.sqrt(k - i)
    return t, i
----
def f(n, k, *rest):
    a, b = 0, k
    for i in range(n):
        for j in range(i % 4):
            a, b = b, a + j
        b = b % 1000
    return a, b, rest
----
def f(n, k):
    try:
        for i in range(n):
            k = 100 // (k - i)
    except ZeroDivisionError:
        return i, k
    return k
----
def f(n, k):
    if n < 2:
        return k
    return f(n - 1, k) + (f(n // 2, k) if n % 5 == 0 else 1)
----
g = 1
def f(n, k):
    s = 0
    for i in range(n):
        s += abs(i - k) * g
    return [s]
----
def f(n, k):
    out = []
    for i in range(n):
        if i % 7 == 6:
            out.append(i * k)
        k = k + 1 if i & 1 else k * 2
    return out
""".split("----")
RELYING = next(p for p, program in enumerate(PROGRAMS) if "* g" in program)
"""The program that relies on a global."""
ARGUMENTS = [(30, 2), (25, 5), (40, 2.5), (3, 2**62), (20, True), (35, 0), (17, 11), (26, None)]

Table = dict[tuple[int, int], object]
"""What the function of a program gives for the arguments with a number."""


def fresh_functions() -> tuple[list[Any], list[Any]]:
    """The programs' functions, and plain twins of them with globals of their own."""
    plain = [compiled_from(program) for program in PROGRAMS]
    return [compiled_from(program) for program in PROGRAMS], plain


def table_of(plain: list[Any]) -> Table:
    """What each function gives for each of the arguments."""
    return {
        (p, a): visible(outcome(function, *arguments))
        for p, function in enumerate(plain)
        for a, arguments in enumerate(ARGUMENTS)
    }


def visible(result: tuple[object, ...]) -> object:
    """The outcome without locals, which differ while several calls are under way."""
    return result[:4] if result[0] == "raised" else result
