"""Loops to interrupt: one that ends, one that does not, and one whose variables change their types in the end; entered
on the stack and entered by a call.

In: a program's text. Out: its two forms, and a function that runs compiled.
"""

from __future__ import annotations

from typing import Any

from twin import LOW, Patient, compiled_from

import minijit

SPIN = """
def f(n, k, *rest):
    s = 0
    for i in range(n):
        s = (s + i * k) & 0xFFFFFF
    return s
"""
ENDLESS = """
def f(limit, *rest):
    s = 0
    while s != limit:
        s = (s + 2) & 0xFFFFFF
    return s
"""

WANDERING = """
import math
def f(n, k=2):
    s = 0
    t = 0.5
    for i in range(n):
        s += i * k
        t = math.sqrt(t + i)
        if i == 1000:
            s = [s]
    return s, t
"""


def forms(source: str) -> list[str]:
    """The program entered on the stack, and entered by a call."""
    return [source, source.replace(", *rest", "")]


def hot(source: str, *arguments: object) -> Any:
    """A function that runs compiled."""
    f = minijit.jit(policy=Patient(LOW))(compiled_from(source))
    for _ in range(8):
        f(*arguments)
    assert minijit.stats(f).entries, minijit.explain(f)
    return f
