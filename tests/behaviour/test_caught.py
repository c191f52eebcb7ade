"""Exceptions that compiled code catches itself: what is raised, where that goes on, and what is left of it then.

In: programs, executed twice: in one namespace the function is compiled, in the other nothing is. Out: the same outcome
of each call, the same state; and where it says so, machine code that is not left when something is raised.
"""

from __future__ import annotations

import pytest
from sides import Sides

pytestmark = pytest.mark.usefixtures("switched_on")

SOURCE = """
import sys
class Stop(Exception): pass
class Late(Stop): '''of a class of its own'''
class Loud(str):
    def __format__(self, how): told.append(1); return "loud"
LOUD, told = Loud("x"), []
class Both(KeyError, OSError): pass
class Told(Exception):
    def __init__(self, x): self.x = x
class P:
    def __init__(self, x): self.x = x
    def less(self, k):
        if k % 4 == 1: raise Late
        self.x = self.x - k
        return self.x
    @property
    def half(self):
        if self.x % 2: raise ValueError(f"odd: {{self.x}}")
        return self.x // 2
def checked(x):
    if x % 5 == 0: raise Stop
    if x % 7 == 0: raise ValueError(f"bad {{x}}, {{1.5}} {{None}}", x)
    return x
def tidy(x, xs):
    try:
        return checked(x)
    finally:
        xs[0] = xs[0] + 1
def f(n, x, xs, p):
    s = 0
    for i in range(n):
        {}
    return s
"""
COMPILED = {
    "a division": "try: s += 100 // (i % 3)\nexcept ZeroDivisionError: s -= x",
    "a rest": "try: s += x % (i % 3)\nexcept (KeyError, ArithmeticError): s -= x",
    "a quotient": "try: s += x / (i % 3)\nexcept Exception: s -= x",
    "of floats": "try: s += x // (i % 3 * 0.5)\nexcept: s -= x",
    "an index": "try: s += xs[i % 9]\nexcept IndexError: continue",
    "a negative index": "try: s += xs[-i % 9 - 9]\nexcept LookupError: s += 1",
    "an item stored": "try: xs[i % 9] = i\nexcept IndexError: s += 1",
    "a raise": "try:\n  if i % 3: raise KeyError(i)\n  s += 1\nexcept KeyError: s += x",
    "a raise of a class": "try:\n  if i % 3: raise Late\n  s += 1\nexcept Stop as e: s += x",
    "a cause": "try:\n  if i % 3: raise Late from None\n  s += 1\nexcept Stop as e: s += x",
    "an assertion": "try:\n  assert i % 3, 'no'\n  assert i % 4\n  s += 1\nexcept AssertionError: s += x",
    "of an inlined function": "try: s += checked(i)\nexcept Stop: s -= 1\nexcept ValueError as error: s += 1",
    "of a method": "try: s += p.less(i)\nexcept Stop: s -= 1\np.x = i",
    "of a property": "p.x = i\ntry: s += p.half\nexcept ValueError: s -= 1",
    "through a finally": "try: s += tidy(i, xs)\nexcept Exception: s -= 1",
    "else and finally": "try: s += 5 // (i % 4)\nexcept ArithmeticError: s -= x\nelse: s += 1\nfinally: s += 2",
    "once more": "try:\n  try: s += 5 // (i % 4)\n  except ArithmeticError: s += 1; raise\nexcept Exception: s -= x",
    "another": "try:\n  try: s += 5 // (i % 4)\n  except ArithmeticError: raise Stop\nexcept Stop: s -= x",
    "another's cause": "try:\n  try: s += 5 // (i % 4)\n  except Exception as e: raise Stop from e\nexcept Stop: s -= x",
    "within a handler": "try: s += 5 // (i % 4)\nexcept Exception:\n  try: raise Stop\n  except Stop: s += 3\n  s += x",
    "stores in a handler": "try: s += 5 // (i % 4)\nexcept Exception: xs[1] = i; p.x = s % 7\ns += p.x + xs[1]",
    "out of a loop": "try:\n  for k in range(9): s += 5 // (k - i % 11)\nexcept Exception: s += 1",
    "a return": "try: s += 5 // (i % 11)\nexcept Exception:\n  if i > 40: return s, i\nfinally: s += 1",
    "a break": "while 1:\n  try: s += 5 // (i % 11); break\n  except Exception: break",
}
"""Bodies of a loop; where something is raised the machine code goes on."""
LEFT = {
    "what is caught is asked": "try: s += 5 // (i % 4)\nexcept Exception as e: s += len(e.args)",
    "its text": "try: s += checked(i)\nexcept (Stop, ValueError) as e: s += len(str(e)) + len(repr(e.args))",
    "the thread is asked": "try: s += checked(i)\nexcept Exception: s += len(str(sys.exc_info()[1]))",
    "an exception of a kind": "try:\n  if i % 3: raise Told(i)\nexcept Told as e: s += e.x",
    "kept": "try: s += checked(i)\nexcept Exception as e: last = e\ns += 1",
    "a context": "try:\n  try: s += 5 // (i % 4)\n  finally: s += checked(i + 1)\nexcept Exception as e: s += e.__context__ is None",
    "too large": "try: s += 5 // (i % 4)\nexcept Exception: s += x * 2 ** 62",
    "a loop": "try: s += 5 // (i % 4)\nexcept Exception:\n  for k in range(9): s += k * x",
    "a generator": "try: s += sum(5 // (k % 4) for k in range(i % 5))\nexcept Exception: s += 1",
    "an error in a handler": "try: s += 5 // (i % 4)\nexcept Exception: s += xs[i % 9]",
    "of no class": "try: s += checked(i)\nexcept xs: s += 1",
    "a cause that is none": "try:\n  if i % 3: raise Late from x\nexcept TypeError: s += 1\nexcept Stop: s -= 1",
    "a text that has a say": "try:\n  if i % 3: raise Late(f'{LOUD}')\nexcept Stop: s += len(told)",
    "of two sorts": "try:\n  if i % 3: raise Both(2, 'no')\nexcept OSError as e: s += e.errno\nexcept KeyError: s -= 1",
    "not caught": "s += checked(x * i + 1) if i % 3 else 5 // (i % 4 + 1)",
    "a match of nothing": "try: s += checked(i)\nexcept KeyError: s += 1",
}
"""Where something else happens; which machine code leaves to the interpreter."""


def _program(body: str) -> Sides:
    found = Sides(SOURCE.format(body.replace("\n", "\n        ")))
    found.do("xs = [1, 2, 3, 4, 5]; p = P(3)")
    return found


def _try_others(found: Sides) -> None:
    for given in (
        "f(60, 0.5, xs, p)",
        "f(60, 0, xs, p)",
        "f(60, 2 ** 62, xs, p)",
        "f(60, 3, [], p)",
        "f(60, 3, [1.5] * 9, P(2.5))",
        "f(60, 3, [None, 1], p)",
        "f(60, 'x', xs, P('x'))",
        "f(60, 3, None, None)",
        "f(60, 3, xs, p)",
    ):
        found.times(6, given)


@pytest.mark.parametrize("name", COMPILED)
def test_caught_in_machine_code(name: str) -> None:
    found = _program(COMPILED[name])
    found.times(40, "f(60, 3, xs, p)")
    found.stays("f(6000, 3, xs, p)")
    _try_others(found)


@pytest.mark.parametrize("name", LEFT)
def test_caught_and_looked_at(name: str) -> None:
    found = _program(LEFT[name])
    found.times(60, "f(60, 3, xs, p)")
    _try_others(found)


def test_a_handler_that_nobody_has_seen() -> None:
    found = _program("try: s += xs[i % 9]\nexcept IndexError: s += 1")
    found.do("ys = list(range(9))")
    found.times(60, "f(60, 3, ys, p)")
    found.times(60, "f(60, 3, xs, p)")
    found.stays("f(6000, 3, xs, p)")


CHANGES = {
    "a constructor": "Late.__init__ = lambda self: T.append(self)",
    "a base": "Late.__bases__ = (type('Value', (Exception,), {}),)",
    "a class": "class Late(KeyError): pass",
    "a name": "ValueError = KeyError",
    "a maker": "Stop.__new__ = lambda cls: KeyError.__new__(KeyError)",
    "an end": "Late.__del__ = lambda self: T.append(1)",
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes(name: str) -> None:
    body = "try:\n  try: s += p.less(i)\n  except ValueError: s += 5\nexcept Stop: s -= 1\nexcept KeyError: s += 7\np.x = i"
    found = _program(body)
    found.do("T = []")
    found.times(40, "f(60, 3, xs, p)")
    found.do(CHANGES[name])
    found.times(9, "(f(60, 3, xs, p), len(T))")
    found.times(40, "f(60, 3, xs, p)")


def test_a_local_is_what_it_was_when_it_was_raised() -> None:
    found = _program(
        "k = i\ntry:\n  k = i * x\n  s += 7 // (i % 3)\n  k = 0.5\nexcept ZeroDivisionError: s += k\ns += k"
    )
    found.times(40, "f(60, 3, xs, p)")
    _try_others(found)


def test_a_signal_while_it_is_handled() -> None:
    """A loop that raises in each round is stopped all the same."""
    import signal

    found = _program("try: raise Stop\nexcept Stop: s += 1")
    found.times(40, "f(60, 3, xs, p)")
    asked = []
    before = signal.signal(signal.SIGALRM, lambda *_: asked.append(found.compiled("sys").exc_info()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        while not asked:
            found.compiled("f")(200_000, 3, [1], None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(each == (None, None, None) for each in asked)
