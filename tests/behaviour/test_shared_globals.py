"""Globals that machine code stores, and that several pieces of it look at: loops of modules, functions that they call, and
what these call in turn.

In: modules, executed as programs, with minijit and without. Out: the same names with the same values in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sides import Sides

pytestmark = pytest.mark.usefixtures("switched_on")

MODULES = {
    "read by a body": "x = s = 0\ndef g(n):\n return x if n < 1 else g(n - 1) + 1\n"
    "for i in range(N):\n x = i\n s += g(3)",
    "read in a loop of a body": "x = s = i = 0\ndef g(n):\n t = 0\n for k in range(n):\n  t += x\n return t\n"
    "while i < N:\n x = i\n s += g(20)\n i += 1",
    "written by a body": "x = s = 0\ndef g(n):\n global x\n x += n\n return x if n < 1 else g(n - 1)\n"
    "for i in range(N):\n x = x // 2\n s += g(3) + x",
    "written by an inlined function": "x = s = 0\ndef g(n):\n global x\n x += n\n"
    "for i in range(N):\n x = x // 2\n g(i % 5)\n s += x",
    "read by an inlined function": "x = s = 0\ndef g(n):\n return x + n\nfor i in range(N):\n x = i\n s += g(2)",
    "written by a method": "count = s = 0\nclass C:\n def __init__(self, x): self.x = x\n"
    " def g(self, n):\n  global count\n  count += 1\n  return self.x if n < 1 else self.g(n - 1)\n"
    "c = C(2)\nfor i in range(N):\n s += c.g(2)\n if count % 7 == 0: count += 1",
    "written two calls deep": "x = s = 0\ndef h(n):\n global x\n for k in range(n): x += k\n return n\n"
    "def g(n):\n t = 0\n for k in range(n): t += h(k)\n return t\nfor i in range(N):\n s += g(4) + x\n x -= 1",
    "written in a branch": "x = s = 0\ndef g(n):\n global x\n t = 0\n for k in range(n): t += k\n"
    " if t > 1000000 or n == 77: x = 5\n return t\nfor i in range(N):\n x += 1\n s += g(77 if i % 10000 == 9999 else 3) + x",
    "an object": "last = s = None\nclass P:\n def __init__(self, x): self.x = x\ndef g(n):\n global last\n"
    " last = P(n)\n return n if n < 1 else g(n - 1)\nfor i in range(N):\n g(i % 4)\n s = last.x",
    "a list that is replaced": "xs = [0]\ns = 0\ndef g(n):\n global xs\n for k in range(n): xs[0] += k\n"
    " if xs[0] > 100: xs = [n]\n return xs[0]\nfor i in range(N):\n s += g(4)",
    "of any sort": "x = 1\ns = 0\ndef g(n):\n global x\n x = (x * 3 + n) % 1000003 if n % 3 else x + 0.5\n"
    " return x if n < 1 else g(n - 1)\nfor i in range(N):\n s += g(i % 7)",
    "until it is large": "x = 1\ns = 0\ndef g(n):\n global x\n x = x * 3\n return n if n < 1 else g(n - 1)\n"
    "for i in range(N):\n s += g(1)\n if i % 60 == 0: x = 1",
    "deleted": "x = 1\ns = 0\ndef g(n):\n global x\n x = n\n return n if n < 1 else g(n - 1)\nfor i in range(N):\n s += g(2)\n"
    " if i == N - 5:\n  del x\n",
    "through the dict": "x = 1\ns = 0\ndef g(n):\n global x\n x += n\n return x if n < 1 else g(n - 1)\n"
    "for i in range(N):\n s += g(2)\n if i % 5000 == 4999: globals()['x'] = 0",
    "a builtin's name": "s = 0\ndef g(n):\n return abs(n) if n < 1 else g(n - 1)\nfor i in range(N):\n s += g(2)\n"
    " if i == N // 2:\n  abs = lambda n: 7\n",
}


SHOW = """
print({name: value for name, value in list(globals().items()) if isinstance(value, (int, float, list))})
print(__import__('sys').modules.get('minijit') and __import__('minijit').stats().entries > 0)
"""


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str, run_python: Callable[..., Any]) -> None:
    source = f"N = 60000\n{MODULES[name]}\n{SHOW}"
    plain, compiled = (run_python(source, env={"MINIJIT": on, "MINIJIT_THRESHOLD": "500"}) for on in ("0", "1"))
    assert (compiled.returncode, compiled.stderr) == (plain.returncode, plain.stderr) == (0, "")
    assert compiled.stdout.splitlines() == [plain.stdout.splitlines()[0], "True"]


FUNCTIONS = """
import sys
count, last, total = 0, None, 0.0
class P:
    def __init__(self, x): self.x = x
def step(k):
    global count, total
    count += k
    total = total + k * 0.5
    return count
def keep(p):
    global last
    before = last
    last = p
    return before is None
def f(n):
    global count
    s = 0
    for i in range(n):
        s += step(i % 3)
        if keep(P(i)):
            count -= 1
        if last.x % 5 == 0:
            count = count % 1000
    return s + total + last.x
"""


def test_functions() -> None:
    found = Sides(FUNCTIONS, "f", "step", "keep")
    for change in (
        "",
        "count = 10 ** 20",
        "count = 0.5",
        "count = 0; total = 7",
        "last = 3",
        "total = 'x'",
        "total = 0.5",
    ):
        found.do(change)
        for _ in range(12):
            found("f(40)")
            found("count")
            found("total")
    found.do("def step(k): return k")
    found("f(40)")
    assert found.entries
