"""Context managers and bound methods: `with` in compiled code, and methods that are kept before they are called.

In: programs, executed twice: in one namespace the function is compiled, in the other nothing is. Out: the same outcome
of each call, the same state; and where it says so, machine code that is not left.
"""

from __future__ import annotations

import pytest
from sides import Sides

pytestmark = pytest.mark.usefixtures("switched_on")

SOURCE = """
import sys, threading, contextlib
class M:
    def __init__(self): self.x = 0; self.y = 0
    def __enter__(self):
        self.x = self.x + 1
        return self
    def __exit__(self, kind, error, trace):
        self.x = self.x - 1
        if kind is not None: self.y = self.y + 1
        return kind is KeyError
class Quiet(M):
    def __exit__(self, *_): return True
class Asks(M):
    def __exit__(self, kind, error, trace):
        self.y = self.y + (0 if error is None else len(error.args) + trace.tb_lineno)
        return True
class Fails(M):
    def __exit__(self, kind, error, trace): return 1 // (self.x - 5)
class Late(M):
    def __enter__(self):
        if self.x % 3 == 1: raise LookupError
        return 7
class P:
    def __init__(self, x): self.x = x
    def add(self, k):
        self.x = (self.x + k) % 1000
        return self.x
    def half(self): return self.x / 2
LOCK = threading.Lock()
@contextlib.contextmanager
def made():
    yield 5
def f(n, x, m, p):
    s = 0
    {}
    return s
"""
COMPILED = {
    "nothing raised": "for i in range(n):\n  with m as q: s += i + q.x",
    "raised and held back": "for i in range(n):\n  with m:\n    if i % 3: raise KeyError(i)\n    s += x",
    "an error": "for i in range(n):\n  try:\n    with m: s += 7 // (i % 3)\n  except ZeroDivisionError: s -= 1",
    "two": "for i in range(n):\n  with m as a, M() as b:\n    s += a.x + b.x\n    if i % 2: raise KeyError",
    "around the loop": "with m as q:\n  for i in range(n): s += i * q.x + x",
    "a loop in it": "for i in range(n):\n  with m:\n    for k in range(4): s += k * x",
    "left by continue": "for i in range(n):\n  with m:\n    if i % 3: continue\n    s += x",
    "a method that is kept": "add = p.add\nfor i in range(n): s += add(i) * x",
    "a method of two": "for i in range(n):\n  do = p.add if i % 2 else P(i).add\n  s += do(i)",
    "a method of what is made": "for i in range(n):\n  q = P(i)\n  h = q.half\n  q.x = s % 7\n  s += h()",
}
"""What machine code does throughout."""
LEFT = {
    "all held back": "m = Quiet()\nfor i in range(n):\n  with m: s += 7 // (i % 3)",
    "who asks": "m = Asks()\nfor i in range(n):\n  with m: s += 7 // (i % 3)\ns += m.y",
    "a failing end": "m = Fails()\nfor i in range(n):\n  with m: s += x",
    "a failing start": "m = Late()\nfor i in range(n):\n  try:\n    with m as k: s += k\n  except LookupError: m.x = m.x + 1",
    "a lock": "for i in range(n):\n  with LOCK: s += i * x",
    "a generator": "for i in range(n):\n  with made() as k: s += i * x + k",
    "no manager": "for i in range(n):\n  with p: s += 1",
    "asked within": "for i in range(n):\n  with m: s += len(str(sys._getframe().f_locals['i']))",
    "overflow within": "for i in range(n):\n  with m as q: s += (x * 2 ** 61 >> 60) * i + q.x",
    "returned from": "for i in range(n):\n  with m:\n    if i > 20: return s, i\n    s += x",
    "a method that is given back": "h = p.add\nfor i in range(n): s += h(i)\nreturn h.__self__ is p, h.__func__ is P.add, s, h(1)",
    "two methods": "a = p.add; b = p.add; c = a\nfor i in range(n): s += (a is c) + (a is b) + (a == b) + x",
    "a method in a list": "for i in range(n):\n  q = P(i)\n  h = [q.add, q.half]\n  s += h[i % 2](*[i] * (1 - i % 2))",
    "its owner is asked": "for i in range(n):\n  h = P(i).half\n  s += h.__self__.x",
    "changed within": "for i in range(n):\n  with m:\n    if i == 20: M.__exit__ = lambda self, *_: log(self)\n    s += x",
}
"""Where something else happens; which machine code leaves to the interpreter."""


def _program(body: str) -> Sides:
    found = Sides(SOURCE.format(body.replace("\n", "\n    ")))
    found.do("m = M(); p = P(3); told = []\ndef log(thing):\n    told.append(thing.x)\n    return True")
    return found


def _try_others(found: Sides) -> None:
    for given in (
        "f(40, 0.5, m, p)",
        "f(40, 2 ** 62, m, p)",
        "f(40, 3, Quiet(), P(0.5))",
        "f(40, 3, Asks(), P(2 ** 62))",
        "f(40, 3, Fails(), P('x'))",
        "f(40, 3, Late(), p)",
        "f(40, 3, LOCK, None)",
        "f(40, 'x', m, p)",
        "f(40, 3, m, p)",
    ):
        found.times(6, given)


@pytest.mark.parametrize("name", COMPILED)
def test_in_machine_code(name: str) -> None:
    found = _program(COMPILED[name])
    found.times(40, "f(60, 3, m, p)")
    found.stays("f(6000, 3, m, p)")
    _try_others(found)


@pytest.mark.parametrize("name", LEFT)
def test_left_to_the_interpreter(name: str) -> None:
    found = _program(LEFT[name])
    found.times(60, "f(60, 3, m, p)")
    _try_others(found)


CHANGES = {
    "the end": "M.__exit__ = lambda self, *_: log(self)",
    "the start": "M.__enter__ = lambda self: P(5)",
    "no end": "del M.__exit__",
    "one for the instance": "m.__exit__ = m.__enter__ = None",
    "a method": "P.add = P.half",
    "one's own method": "p.add = lambda k: k",
    "an attribute": "P.add = property(lambda self: lambda k: k + 1)",
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes(name: str) -> None:
    found = _program("for i in range(n):\n  add = p.add\n  with m as q: s += add(i) + q.x\ns += len(told)")
    found.times(40, "f(60, 3, m, p)")
    found.do(CHANGES[name])
    found.times(40, "f(60, 3, m, p)")


def test_references_are_counted() -> None:
    """What is made where machine code is left holds what it is bound to, and lets go of it."""
    import sys

    found = _program("for i in range(n):\n  with m as q:\n    h = p.add\n    s += h(i) + q.x + (x * 2 ** 61 >> 60)")
    found.times(40, "f(60, 3, m, p)")
    scope = found.scopes[1]
    things = [scope[name] for name in ("m", "p")] + [scope["P"].add, scope["M"].__exit__]
    before = [sys.getrefcount(each) for each in things]
    for _ in range(300):
        scope["f"](60, 5, scope["m"], scope["p"])
    assert [sys.getrefcount(each) for each in things] == before
