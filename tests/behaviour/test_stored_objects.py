"""Objects that regions store: over numbers, None and other objects, in lists and attributes; lists that grow; instances
and tuples that are made for that.

In: programs, executed twice: in one namespace the functions under test are compiled, in the other nothing is. Out: the
same outcome of each call, the same heap afterwards, and the same ends of objects at the same moments.
"""

from __future__ import annotations

import sys

import pytest
from balance import stays
from sides import Sides

import minijit

pytestmark = pytest.mark.usefixtures("switched_on")

CLASSES = """
class Node:
    def __init__(self, value, next=None):
        self.value = value
        self.next = next
    def push(self, value):
        self.next = Node(value, self.next)
        return self.next
    def swap(self, other):
        self.next, other.next = other.next, self.next
    def count(self):
        self.value += 1
        self.last = self
        return self.value
    def renew(self, x):
        self.value = None
        self.value = x
        return self.value + (self.last is None)

class Slotted:
    __slots__ = ("value", "next", "last")
    def __init__(self, value, next=None):
        self.value = value
        self.next = next
        self.last = None
    def push(self, value):
        self.next = Slotted(value, self.next)
        return self.next
    def swap(self, other):
        self.next, other.next = other.next, self.next
    def count(self):
        self.value += 1
        self.last = self
        return self.value
    def renew(self, x):
        self.value = None
        self.value = x
        return self.value + (self.last is None)

class Stack:
    def __init__(self):
        self.items = []
        self.top = None
    def push(self, item):
        self.items.append(item)
        self.top = item
    def stored(self, items, x):
        if len(items) < 2: items.append(x)
        items[0] = x
        t = 0
        for y in items: t += y
        return t
    def appended(self, items, x):
        items.append(x)
        t = 0
        for y in items: t += y
        return t

def shape(thing, depth=6):
    if isinstance(thing, (list, tuple)):
        return [type(thing).__name__, *[shape(each, depth - 1) for each in thing]] if depth else "..."
    if isinstance(thing, (Node, Slotted)):
        if not depth:
            return "..."
        names = ("value", "next", "last")
        return [type(thing).__name__, *[(n, shape(getattr(thing, n), depth - 1)) for n in names if hasattr(thing, n)]]
    if isinstance(thing, Stack):
        return [shape(thing.items, depth - 1), shape(thing.top, depth - 1)]
    return repr(thing) if thing is None or isinstance(thing, (int, float, str)) else type(thing).__name__
"""
STORES = {
    "items": "for i in range(n):\n  xs[i % len(xs)] = ys[i % len(ys)]",
    "items to and fro": "for i in range(n):\n  x = xs[0]; xs[0] = xs[-1]; xs[-1] = x",
    "a rotation": "for i in range(n):\n  xs[0], xs[1], xs[2] = xs[1], xs[2], xs[0]",
    "nothing over something": "for i in range(n):\n  xs[i % len(xs)] = None if i % 3 else ys[0]",
    "numbers over objects": "for i in range(n):\n  xs[i % len(xs)] = i if i % 2 else ys[0]",
    "floats over nothing": "for i in range(n):\n  xs[i % len(xs)] = i * 0.5\n  if i % 5 == 0: xs[i % len(xs)] = None",
    "attributes": "for i in range(n):\n  p.next = xs[i % len(xs)]",
    "attributes of items": "for i in range(n):\n  x = xs[i % len(xs)]\n  x.next = p; s += x.value",
    "a value becomes an object": "for i in range(n):\n  p.value = xs[0] if i % 4 == 3 else i",
    "a chain turned round": "q = p\n b = None\n while q is not None:\n  a = q.next; q.next = b; b = q; q = a\n s = b",
    "a chain that grows": "q = p\n for i in range(n):\n  q = q.push(i)\n  s += q.value",
    "made over made": "for i in range(n):\n  p.next = cls(i, None)\n  s += p.next.value",
    "made within made": "for i in range(n):\n  p.next = cls(i, cls(i + 0.5, p))\n  s += p.next.next.value",
    "made once, stored twice": "for i in range(n):\n  q = cls(i); p.next = q; xs[0] = q; q.value += 0.5; s += xs[0].value",
    "made and kept for a round": "q = p\n for i in range(n):\n  r = q; q = cls(i); p.next = q; s += r.value",
    "tuples": "for i in range(n):\n  xs[i % len(xs)] = (i, i * 0.5, p)\n  s += xs[i % len(xs)][1]",
    "tuples in tuples": "for i in range(n):\n  xs[0] = ((i, p), (0.5, None))\n  (a, b), c = xs[0]; s += a",
    "appended numbers": "for i in range(n):\n  out.append(i * 1.5)\n  s += out[-1] + len(out)",
    "appended objects": "for i in range(n):\n  out.append(xs[i % len(xs)])\n  s += out[i].value",
    "appended instances": "for i in range(n):\n  out.append(cls(i))\n  out[i].value += 1",
    "appended while iterated": "out.append(1)\n for x in out:\n  s += x\n  if len(out) < n: out.append(x + 1)",
    "appended to items": "for i in range(n):\n  rows[i % 3].append(i); s += len(rows[0])",
    "an appended list": "for i in range(n):\n  out.append(rows[1]); s += len(out[-1])",
    "appended by a call": "for i in range(n):\n  stack.push(i); s += len(stack.items)",
    "objects appended by a call": "for i in range(n):\n  stack.push(xs[i % len(xs)]); s += stack.top.value",
    "calls that swap": "for i in range(n):\n  p.swap(xs[i % len(xs)])",
    "calls that count": "for i in range(n):\n  s += xs[i % len(xs)].count()",
    "None, then a number": "for i in range(n):\n  s += p.renew(i)",
    "itself": "for i in range(n):\n  p.next = p; s += p.next.next.value",
    "strings": "for i in range(n):\n  p.last = 'odd' if i % 2 else 'even'",
    "functions": "for i in range(n):\n  xs[i % len(xs)] = shape if i % 2 else len",
    "an index that is none": "for i in range(n):\n  xs[i] = p",
    "handled": "for i in range(n):\n  try:\n   xs[i] = p\n  except IndexError:\n   s += 1",
    "a local that is alone": "for i in range(n):\n  x = xs[0]; xs[0] = None; s += x.value; xs[0] = x",
    "the last of a row": "for i in range(n):\n  a = p.next; p.next = None; p.next = cls(a.value + 1); s += a.value",
    "stored, then iterated": "for i in range(n):\n  s += stack.stored(out, i % 7)",
    "appended, then iterated": "for i in range(n % 50):\n  s += stack.appended(out, i % 7) + stack.appended(rows[1], 0.5)",
    "an argument": "for i in range(n):\n  xs[i % len(xs)] = other",
}


def a_program(body: str, cls: str) -> Sides:
    """Which makes instances of a class."""
    body = body.replace("cls(", f"{cls}(")
    return Sides(f"{CLASSES}\ndef f(xs, ys, p, out, rows, stack, other, n):\n s = 0\n {body}\n return s\n")


def fill(found: Sides, cls: str, n: int = 40) -> None:
    found.do(f"cls = {cls}; p = cls(1.5, cls(2, cls(3))); p.last = p; n = {n}; out = []; rows = [[], [1.5], []]")
    found.do("xs = [cls(i) for i in range(5)]; ys = [cls(0.5 * i) for i in range(3)]; stack = Stack(); other = cls(9)")
    found.do("for x in xs: x.last = None\nfor y in ys: y.last = y")


CALL = "shape(f(xs, ys, p, out, rows, stack, other, n))"
HEAP = "shape([xs, ys, p, out, rows, stack])"


@pytest.mark.parametrize("cls", ["Node", "Slotted"])
@pytest.mark.parametrize("body", STORES)
def test_stores(body: str, cls: str) -> None:
    """First of one class, then of another; what overflows the buffer for what is kept last."""
    found = a_program(STORES[body], cls)
    second = "Slotted" if cls == "Node" else "Node"
    for each, times, n in ((cls, 14, 40), (second, 12, 40), (cls, 3, 41), (cls, 2, 3000)):
        for _ in range(times):
            fill(found, each, n)
            found(CALL)
            found(HEAP)


def test_the_stores_are_compiled() -> None:
    """What the test above looks at has machine code."""
    for name, body in STORES.items():
        found = a_program(body, "Slotted")
        for _ in range(40):
            fill(found, "Slotted")
            found(CALL)
        assert found.entries, (name, str(minijit.explain(found.function)))


ENDS = {
    "overwritten": "for i in range(n):\n  xs[i % 3] = ys[i % 3]; s += i",
    "an attribute": "for i in range(n):\n  p.next = ys[i % 3]; s += i",
    "set to None": "for i in range(n):\n  xs[i % 3] = None; s += i",
    "to a number": "for i in range(n):\n  xs[i % 3] = i",
    "shared with what has ended": "for i in range(n):\n  xs[i % 3] = None; hs[i % 3] = None; s += i",
    "two at once": "for i in range(n):\n  xs[i % 3] = xs[(i + 1) % 3]; p.both(xs[i % 3], i); p.both(None, i); s += i",
    "by a call": "for i in range(n):\n  p.put(ys[i % 3]); s += i",
}
NOISY = """
import weakref
log = []
class Noisy:
    def __init__(self, name): self.name = name
    def __del__(self): log.append((self.name, p.count))
class Quiet:
    def __init__(self, name, part=None): self.name = name; self.part = part
class Holder:
    def __init__(self): self.next = None; self.last = None; self.count = 0
    def put(self, item): self.next = item; self.count += 1
    def both(self, item, i):
        self.next = item
        self.last = item
        if i % 2: self.last = i
"""
KINDS = {
    "noisy": "Noisy(i)",
    "a part that is": "Quiet(i, Noisy(i))",
    "in a list": "[1, Noisy(i)]",
    "in a tuple": "(1, (2, Noisy(i)))",
    "deeper": "Quiet(i, [(Quiet(1, [Noisy(i)]),)])",
    "weakly referred to": "watched(Quiet(i))",
    "a part that is weakly referred to": "Quiet(i, watched(Quiet(i)))",
    "a generator": "running(i)",
    "a part that others have": "Quiet(i, shared(hs, i, Noisy(i)))",
    "twice a part": "Quiet(i, [Noisy(i)] * 2)",
    "quiet": "Quiet(i, Quiet(2))",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", ENDS)
def test_ends_come_when_they_came(body: str, kind: str) -> None:
    """Who notices the end of an object sees the heap as it is in the interpreter at that moment."""
    found = Sides(
        f"{NOISY}\ndef f(xs, ys, hs, p, n):\n s = 0\n {ENDS[body]}\n  p.count += 1\n return s\n"
        "def shared(hs, i, x):\n hs[i % 3] = x\n return x\n"
        "def watched(x):\n refs.append(weakref.ref(x, lambda r: log.append(p.count)))\n return x\n"
        "def running(i):\n def g():\n  try:\n   yield 1\n  finally:\n   log.append((i, p.count))\n"
        " made = g(); next(made)\n return made\n"
    )
    found.do("p = Holder(); refs = []; hs = [None] * 3")
    for k in range(25):
        made = "Quiet(i, Quiet(2))" if k < 12 else KINDS[kind]
        found.do(
            f"log.clear(); refs.clear(); xs = [{made} for i in range(3)]; ys = [{made} for i in range(3, 6)]; p.count = 0"
        )
        found("f(xs, ys, hs, p, 6)")
        found("list(log)")
        found.do("ys = None; log.append('then'); xs = None; p.next = None")
        found("list(log)")
    assert found.entries


def test_nothing_is_leaked() -> None:
    """After a million stores of each kind there are no more objects than before, and no less references."""
    scope: dict[str, object] = {}
    exec(
        f"{CLASSES}\ndef f(xs, ys, p, n):\n for i in range(n):\n  xs[i % 4] = ys[i % 3]\n  p.next = ys[i % 3]\n"
        "  p.next = Slotted(i * 0.5)\n  xs[0] = (i, i * 0.25)\n  p.last = None\n  p.last = p\n",
        scope,
    )
    f = minijit.jit(scope["f"])  # type: ignore[call-overload]
    slotted: type = scope["Slotted"]  # type: ignore[assignment]
    p, xs, ys = slotted(1), [None] * 4, [slotted(k) for k in range(3)]
    stays(lambda n: f(xs, ys, p, n), 2000, 10**6 + 2000 % 12, (p, *ys, slotted, None))
    assert minijit.stats(f).entries
    del p.last
    assert sys.getrefcount(p) == 2


def test_a_list_that_grew_is_given_back() -> None:
    scope: dict[str, object] = {}
    exec("def f(xs, p, n):\n for i in range(n):\n  xs.append(p)\n  xs.append(i * 0.5)\n  xs.append((i, p))\n", scope)
    f = minijit.jit(scope["f"])  # type: ignore[call-overload]
    p = object()
    for _ in range(60):
        xs: list[object] = []
        f(xs, p, 100)
        assert len(xs) == 300
        counts = sys.getrefcount(p), sys.getrefcount(xs[1])
        assert counts == (2 + 200, 2)
        del xs
        assert sys.getrefcount(p) == 2
    assert minijit.stats(f).entries


def test_a_function_that_appends_to_what_its_caller_reads() -> None:
    """One calls itself, as machine code calls it; the list's length and its items are where they are by then."""
    found = Sides(
        "xs = [1]\n"
        "def g(k):\n if k <= 0: return 0\n xs.append(k)\n return g(k - 1) + 1\n"
        "def f(n):\n s = 0\n for i in range(n):\n  s += g(i % 4) + len(xs) + xs[-1]\n return s\n",
        "f",
        "g",
    )
    for _ in range(40):
        found.do("xs[:] = [1]")
        found("f(60)")
        found("len(xs)")


def test_an_item_that_is_nothing() -> None:
    """First seen in a branch that no recording took."""
    found = Sides(
        "class A:\n def __init__(self, x): self.x = x\nclass B(A): pass\n"
        "def f(pairs):\n n = 0\n for a, b in pairs:\n  if b < 0:\n   if a is None: n += 100\n   elif a is pairs: n += 1\n"
        "   else: n += 5\n  else:\n   n += a.x\n return n\n"
    )
    found.do("good = [((A, B)[k % 2](k), k) for k in range(40)]; odd = good + [(None, -1), (A(1), -1), (2.5, -1)] * 9")
    for k in range(40):
        found(f"f({'odd' if k > 9 else 'good'})")


def test_a_function_that_fills_what_is_empty() -> None:
    """One that calls itself, as machine code calls it, and stores where others have found nothing before."""
    found = Sides(
        "class S:\n __slots__ = ('x',)\ns = S()\ns.x = 0\n"
        "def g(k):\n if k <= 0: return 0\n s.x = k\n return g(k - 1) + 1\n"
        "def f(n):\n t = 0\n for i in range(n):\n  t += g(i % 4) + s.x\n return t\n",
        "f",
        "g",
    )
    for k in range(60):
        found.do("s.x = 0" if k < 20 else "s.x = None" if k % 3 else "del s.x")
        found("f(60)")
    for _ in range(200):
        found.do("del s.x")
        found("g(3)")
