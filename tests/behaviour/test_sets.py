"""Sets of ints in compiled code: asked, and given more.

In: programs, executed twice: in one namespace the function is compiled, in the other nothing is. Out: the same outcome
of each call, the same sets.
"""

from __future__ import annotations

import pytest
from sides import Sides

pytestmark = pytest.mark.usefixtures("switched_on")

SOURCE = """
class Loud:
    def __hash__(self): return 3
    def __eq__(self, other):
        told.append(other)
        return other == 3
class P:
    def __init__(self): self.items = set(); self.x = 0
    def add(self):
        self.items.add(self.x)
    def has(self): return self.x in self.items
def f(n, s, t, p):
    k = 0
    for i in range(n):
        {}
    return k, sorted(map(str, s)) if type(s) is set else s, sorted(map(str, p.items))
"""
LOOPS = {
    "asked": "k += i in s",
    "asked for what is not": "if i * 7 not in s: k += 1",
    "of a frozenset": "k += i in t",
    "a bool": "k += (i > 3) in s",
    "added": "s.add(i % 50 - 9)",
    "added and asked": "s.add(i * i)\nk += i in s",
    "of an attribute": "p.x = i % 20\np.add()\nk += p.has()",
    "asked in the call that adds": "p.x = i % 20\nif not p.has(): p.add()\nk += p.has()",
    "large": "s.add(i * 2 ** 55 % (2 ** 62 - 57))\nk += i * 2 ** 55 in s",
    "two that may be one": "s.add(i)\nk += i + 1 in p.items",
    "a float": "k += i / 2 in s",
    "a text": "k += 'x' in s",
    "a method that is kept": "add = s.add\nadd(i)",
    "what add gives": "k += s.add(i) is None",
}
LEFT = ("a bool", "a float", "a text", "a method that is kept")
"""What the interpreter does."""


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name: str) -> None:
    found = Sides(SOURCE.format(LOOPS[name].replace("\n", "\n        ")))
    found.do("told = []; s = {1, 2, 30}; t = frozenset(range(0, 90, 7)); p = P()")
    found.times(40, "f(30, s, t, p)")
    assert found.entries or name in LEFT
    for before in ("", "s.add(3.0)", "s.add(True)", "s.add('x')", "s.add(Loud())", "s.clear()", "p.items = s"):
        found.do(before)
        for given in ("f(60, s, t, p)", "f(30, t, s, p)", "f(30, [1, 2], {3: 4}, p)", "f(9, None, t, p)"):
            found.times(4, given)


def test_machine_code_goes_on() -> None:
    found = Sides(SOURCE.format("p.x = i % 20\n        if not p.has(): p.add()\n        k += i in s"))
    found.do("told = []; s = {1, 2, 30}; t = frozenset(); p = P()")
    found.times(40, "f(30, s, t, p)")
    found.stays("f(6000, s, t, p)")


def test_a_set_that_is_iterated() -> None:
    """Whoever iterates over it is told that it has grown."""
    found = Sides(SOURCE.format("s.add(i)"))
    found.do("told = []; s = set(); t = frozenset(); p = P()")
    found.times(40, "f(30, s, t, p)")
    found.do("s = {1, 2}\ndef over():\n    for each in s: f(40, s, t, p)")
    found("over()")
