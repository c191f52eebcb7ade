"""Attributes of instances that have dicts of their own: copied ones, looked at by `vars`, or with names that come late.

In: programs, executed twice: in one namespace the functions under test are compiled, in the other nothing is. Out: the
same outcome of each call, and the same attributes afterwards, in the same order.
"""

from __future__ import annotations

import pytest
from sides import Sides

import minijit

pytestmark = pytest.mark.usefixtures("switched_on")

CLASSES = """
import copy
class Part:
    def __init__(self, x): self.x = x
class Point:
    kind = 3
    part = Part(4)
    scale = 2
    def __init__(self, x):
        self.x = x
        self.y = 0.5
    def step(self, d):
        self.x += d
        return self.x
    def moved(self, d):
        self.late = self.x
        self.step(d)
        return self.late
    @property
    def double(self): return self.x * 2
    @double.setter
    def double(self, value): self.x = value / 2
class Derived(Point):
    def step(self, d):
        return super().step(d) + self.kind
class Slotted(Point):
    __slots__ = ("z",)
    def __init__(self, x):
        super().__init__(x)
        self.z = x
def add(p, d): return p.x + d
"""
STATES = {
    "values": "cls(k)",
    "looked at": "seen(cls(k))",
    "copied": "copy.copy(cls(k))",
    "with a late name": "named(cls(k), 'extra')",
    "with many names": "named(cls(k), *[f'n{j}' for j in range(40)])",
    "with a dict of others": "given(cls(k))",
    "some of each": "[cls(k), copy.copy(cls(k)), named(cls(k), 'extra')][k % 3]",
}
MAKERS = """
def seen(p):
    vars(p)
    return p
def named(p, *names):
    for name in names: p.__dict__[name] = 1
    return p
def given(p):
    p.__dict__ = dict(reversed(vars(p).items()))
    return p
"""
BODIES = {
    "loads": "for p in ps:\n  s += p.x + p.y",
    "stores": "for p in ps:\n  p.y = s; s += 1; p.x = p.y",
    "in place": "for i in range(n):\n  p = ps[i % len(ps)]; p.x += i; s += p.x",
    "objects": "for p in ps:\n  p.y = ps[0]; s += p.y.x; p.y = None; p.y = 1.5",
    "methods": "for p in ps:\n  s += p.step(1) + p.moved(2)",
    "constants": "for p in ps:\n  s += p.kind * p.scale",
    "objects of the class": "for p in ps:\n  s += p.part.x",
    "methods of them": "for p in ps:\n  s += p.kind + p.part.x; p.part.x += 0",
    "properties": "for p in ps:\n  s += p.double; p.double = s % 7",
    "new names": "for p in ps:\n  p.fresh = s; s += 1; s += p.fresh",
    "a name that is not there": "for p in ps:\n  try:\n   s += p.nothing\n  except AttributeError as error:\n   s += len(str(error))",
    "a name that some have": "for p in ps:\n  try:\n   s += p.extra\n  except AttributeError:\n   s += 100",
    "passed on": "for p in ps:\n  s += add(p, 1)",
    "slots": "for p in ps:\n  if hasattr(p, 'z'): s += p.z; p.z += 1",
    "numbers of all sorts": "for i in range(n):\n  p = ps[i % len(ps)]; s += p.x; p.x = [i, i * 0.5, True, None, 2**40][i % 5] or 1",
    "two names of one": "for i in range(n):\n  p = ps[i % len(ps)]; q = ps[0]; p.x = i; s += q.x; q.x = -i; s += p.x",
}
CHANGES = [
    "ps[1].x = 'text'",
    "ps[2].step = lambda d: 1000",
    "ps[0].kind = 7; ps[1].kind = None",
    "ps[0].part = Part(50)",
    "Point.part = Part(60)",
    "Point.scale = 5",
    "Point.step = lambda self, d: 5",
    "Point.y = property(lambda self: 9, lambda self, value: None)",
    "del ps[0].x",
    "ps[1].__dict__ = {}",
    "if cls is not Slotted: ps[3].__class__ = Derived",
    "ps[3].__dict__[(1,)] = 2",
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("body", BODIES)
def test_attributes(body: str, state: str) -> None:
    for cls in ("Point", "Derived", "Slotted"):
        if cls == "Slotted" and state == "with a dict of others":
            continue
        found = Sides(f"{CLASSES}{MAKERS}\ndef f(ps, n):\n s = 0\n {BODIES[body]}\n return s\n")
        make = f"cls = {cls}; ps = [{STATES[state]} for k in range(6)]"
        for _ in range(25):
            found.do(make)
            found("f(ps, 20)")
            found("[list(vars(p).items()) for p in ps if all(type(v) in (int, float, bool) for v in vars(p).values())]")
        for change in CHANGES:
            found.do(make)
            found.do(change)
            found("f(ps, 20)")
            found("[list(vars(p)) for p in ps]")


def test_two_instances_with_one_dict() -> None:
    """One of them the namespace of the function."""
    found = Sides(
        "class A:\n def __init__(self): self.x = 0\n def swap(self, o):\n  self.x = 1; o.x = 2\n  return self.x\n"
        " def put(self, v):\n  self.x = v\n  return x\nx = 0\n"
        "def f(a, b, n):\n s = 0\n for i in range(n):\n  s += a.swap(b); a.x = i; s += b.x + x + a.put(i)\n return s\n"
    )
    for k in range(60):
        found.do("a, b = A(), A(); vars(a); vars(b); a.x = b.x = 5")
        if k % 4 == 3:
            found.do("a.__dict__ = b.__dict__" if k % 8 == 3 else "x = 0; a.__dict__ = globals()")
        found("f(a, b, 30)")


def test_they_are_compiled() -> None:
    """After what a copy leaves behind, as well as before."""
    for state, made in STATES.items():
        for body in ("loads", "stores", "in place", "constants", "passed on"):
            found = Sides(f"{CLASSES}{MAKERS}\ndef f(ps, n):\n s = 0\n {BODIES[body]}\n return s\n")
            for _ in range(60):
                found.do(f"cls = Point; ps = [{made} for k in range(20)]")
                found("f(ps, 20)")
            exits, entries = minijit.stats(found.function).exits, found.entries
            for _ in range(20):
                found.do(f"cls = Point; ps = [{made} for k in range(20)]")
                found("f(ps, 20)")
            assert found.entries > entries, (state, body, minijit.explain(found.function))
            assert minijit.stats(found.function).exits <= exits + 20, (state, body, minijit.explain(found.function))
