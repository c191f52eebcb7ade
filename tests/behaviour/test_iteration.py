"""Loops over tuples and ranges that a region meets, of any age: entered in their midst, left in their midst.

In: programs, executed twice: in one namespace the function is compiled, in the other nothing is. Out: the same outcome
of each call.
"""

from __future__ import annotations

import pytest
from sides import Sides

pytestmark = pytest.mark.usefixtures("switched_on")

LOOPS = {
    "a constant": "for i in range(n):\n  for d in (-1, 0, 1):\n   s += i * d + x",
    "constants within": "for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):\n  s += dx * n + dy * x",
    "mixed": "for i in range(n):\n  for d in (1, 0.5, True):\n   s += d * x",
    "an argument": "for v in t:\n  s += v * x",
    "an argument, again and again": "for i in range(n):\n  for v in t:\n   s += v * i + x",
    "a global": "for i in range(n):\n  for v in DIRECTIONS:\n   s += v[0] * i + v[1] * x",
    "a global range": "for i in range(n):\n  for k in SPAN:\n   s += k * x + i",
    "made on the way": "for i in range(n):\n  for v in (i, x, s):\n   s = s + v if v is not s else 1",
    "an item": "for i in range(n):\n  for v in rows[i % len(rows)]:\n   s += v * x",
    "left in the midst": "for i in range(n):\n  for v in t:\n   if v == i: break\n   s += v * x\n  else: s += 1",
    "given back": "for v in t:\n  s += v\n  if s > 1000: return s, v",
    "instances": "for i in range(n):\n  for p in ps:\n   s += p.x\n   p.x = s % 7 + x",
    "one in the other": "for v in t:\n  for w in t:\n   s += v * w + x",
    "strings": "for i in range(n):\n  for w in ('a', 'b', name):\n   if w == 'b': s += x",
}
SOURCE = """
DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))
SPAN = range(2, 11, 3)
class P:
    def __init__(self, x): self.x = x
def f(n, x, t, rows, ps, name):
    s = 0
    {}
    return s
"""


@pytest.mark.parametrize("name", LOOPS)
def test_loops_over_tuples(name: str) -> None:
    found = Sides(SOURCE.format(LOOPS[name].replace("\n", "\n   ")))
    found.do("rows = [(1, 2, 3), (), (4,), (5, 6)]; ps = (P(1), P(2), P(3)); t = tuple(range(9))")
    found.times(40, "f(30, 3, t, rows, ps, 'b')")
    assert found.entries
    for given in (
        "f(500, 3, t, rows, ps, 'b')",
        "f(30, 0.5, t, rows, ps, 'c')",
        "f(30, 3, (), rows, ps, '')",
        "f(30, 3, (1.5, 2), [(0.5,), (2 ** 62,)], ps, 'b')",
        "f(30, 3, (2 ** 63, 'x'), [()], ps, None)",
        "f(30, 3, list(t), [[1], (2,)], list(ps), 'b')",
        "f(30, 3, range(5), rows, iter(ps), 'b')",
        "f(30, 2 ** 62, t, rows, ps, 'b')",
        "f(3, 3, t * 200, rows, ps, 'b')",
        "f(3, 3, None, None, None, 'b')",
    ):
        found.times(6, given)
