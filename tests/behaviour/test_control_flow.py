"""Conditions, and odd code: what else a compiled loop has inside.

In: programs. Out: the same with and without minijit, at every one of many calls, in all the ways of `programs`.
"""

# Programs under test do what good code would not.
# ruff: noqa: PLR0124, RUF021, SIM202, SIM300, C416

from __future__ import annotations

from isolated import isolated
from programs import Programs

PROGRAMS = Programs(interpreted="comprehension_inside many_exits_in_a_row")
case = PROGRAMS.case


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


def long_jumps() -> str:
    """A program with enough code between the loop's ends for EXTENDED_ARG."""

    def steps(sign: str, count: int) -> list[str]:
        return [f"            s = (s {sign} i * {3 + 2 * (k % 4)}) % 1000" for k in range(count)]

    return "\n".join(
        (
            "def long_jumps(n):",
            "    s = 0",
            "    for i in range(n):",
            "        if i % 2:",
            *steps("+", 28),
            "        else:",
            *steps("-", 12),
            "        if i == 150:",
            "            s = [s][0]",
            "    return s",
        )
    )


PROGRAMS.add("long_jumps", long_jumps(), (200,), (3,))


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
