"""Objects that a region meets by address: lists and their items, rows of matrices, instances in lists and in each other.

In: programs, executed twice: in one namespace the functions under test are compiled, in the other nothing is. Out: the
same outcome of each call, and afterwards the same lists and attributes, with types and bits.
"""

from __future__ import annotations

import gc
import sys
import threading

import pytest
from sides import Sides

import minijit

pytestmark = pytest.mark.usefixtures("switched_on")


LISTS = {
    "sum": "for x in xs:\n  s += x",
    "sum by index": "for i in range(len(xs)):\n  s += xs[i]",
    "from the end": "for i in range(n):\n  s += xs[-1 - i % len(xs)]",
    "constant index": "for i in range(n):\n  s += xs[0] * xs[-1]",
    "scaled in place": "for i in range(len(xs)):\n  xs[i] = xs[i] * 2 + 1",
    "augmented": "for i in range(1, len(xs)):\n  xs[i] += xs[i - 1]",
    "swapped": "for i in range(len(xs) // 2):\n  xs[i], xs[-1 - i] = xs[-1 - i], xs[i]",
    "two lists": "for i in range(min(len(xs), len(ys))):\n  ys[i] = xs[i] + ys[i]",
    "the same list twice": "zs = xs\n for i in range(len(xs)):\n  zs[i] = xs[i] + 1; xs[i] = zs[i] * 2",
    "an item kept": "for i in range(len(xs)):\n  x = xs[i]; xs[i] = s; s = x",
    "other types": "for i in range(len(xs)):\n  xs[i] = (i % 2 == 0) if i % 3 else i / 2",
    "a test of truth": "i = 0\n while xs and i < n:\n  i += 1; s += xs[i % len(xs)]",
    "rows": "for i in range(len(m)):\n  for j in range(len(m[i])):\n   s += m[i][j]; m[i][j] = s",
    "rows by items": "for row in m:\n  for x in row:\n   s += x",
    "one row": "for i in range(len(m)):\n  row = m[i]; row[0] = row[0] + i; s += row[-1]",
    "a loop that is left": "for x in xs:\n  if x == 3: break\n  s += x\n s *= 2",
    "an index that is none": "for i in range(n):\n  s += xs[i]",
    "a store that raises": "for i in range(n):\n  xs[i] = i",
    "handled": "for i in range(n):\n  try:\n   s += xs[i]\n  except IndexError:\n   s += 0.25",
    "tuples": "for i in range(n):\n  s += t[i % len(t)] + t[-1]",
    "sieve": "for i in range(2, len(flags)):\n  if flags[i]:\n   for j in range(i * i, len(flags), i):\n    flags[j] = False",
    "index by items": "for i in range(n):\n  s += xs[order[i % len(order)]]",
    "a list in the globals": "for i in range(n):\n  s += TABLE[i % 4]; TABLE[0] += 1",
    "nothing": "for x in xs:\n  pass",
    "pairs": "for x, y in pairs:\n  s += x * y",
    "nested pairs": "for (x, y), z in nested:\n  s += x * y - z[0]; z[0] = s * 0.5",
    "pairs that do not fit": "for x, y in odd:\n  s += x * y",
    "two items": "for i in range(len(xs) - 1):\n  a, b = xs[i:i + 2] if n < 0 else m[i % 3][:2] if i > 90 else (xs[i], 2); s += a * b",
    "three rows": "for i in range(n):\n  a, b, c = m; s += a[0] + b[0] + c[0]; a[0] = b[0] + 1",
    "unpacked over what is read": "for i in range(n):\n  xs[1], y, z = xs; s += y + z; xs[0], xs[1], z = xs",
    "an end that moves": "for i, _ in enumerate(xs):\n  s += i\n for x in xs:\n  s += x\n  if len(xs) < 5: xs.append(1)",
}
FILLINGS = {
    "floats": "[0.5, 1.5, -2.0, 3.0, 1e300, float('inf')]",
    "ints": "[5, -3, 2**40, 3, 0, 7]",
    "bools": "[True, False, True, True]",
    "all sorts": "[1, 2.5, True, 4, -0.0, 2**62]",
    "large ints": "[2**70, 1, 2**63 - 1, -2**63]",
    "few": "[7.25]",
    "none": "[]",
    "strange": "[1.5, None, 'x', 2]",
    "shared": "[A, A, A, A]",
}
PRELUDE = "A = 1.25 * 2\nTABLE = [1, 2, 3, 4]\n"
CALL = "f(xs, ys, m, t, flags, order, n, pairs, nested, odd)"


def a_program(body: str) -> Sides:
    return Sides(f"{PRELUDE}def f(xs, ys, m, t, flags, order, n, pairs, nested, odd):\n s = 0\n {body}\n return s\n")


def fill(found: Sides, filling: str) -> None:
    found.do(f"xs, ys = {filling}, {filling}; m = [{filling}, [2.5, 1], {filling}]; t = tuple({filling}); n = 40")
    found.do("pairs = [(x, 2) for x in xs] * 5; nested = [((x, 0.5), [x]) for x in xs] * 5; odd = [*pairs, (1, 2, 3)]")
    found.do("flags = [True] * 30; order = [2, 0, 1]; ys.reverse(); same = list(xs); TABLE[:] = [1, 2, 3, 4]")


@pytest.mark.parametrize("filling", FILLINGS)
@pytest.mark.parametrize("body", LISTS)
def test_lists(body: str, filling: str) -> None:
    """First for floats, then for others, and floats again."""
    found = a_program(LISTS[body])
    for each, times in (("floats", 12), (filling, 12), ("floats", 3)):
        for _ in range(times):
            fill(found, FILLINGS[each])
            found(CALL)


def test_the_lists_are_compiled() -> None:
    """What the tests above look at has machine code, and leaves it by its end."""
    slow = {"an end that moves", "nothing", "two items", "unpacked over what is read"}
    for name, body in LISTS.items():
        found = a_program(body)
        for _ in range(30):
            fill(found, FILLINGS["ints" if name == "index by items" else "floats"])
            found(CALL)
        assert found.entries or name in slow, (name, str(minijit.explain(found.function)))


def test_floats_that_others_hold_keep_their_values() -> None:
    found = Sides("def f(xs):\n for i in range(len(xs)):\n  xs[i] = xs[i] + 1.0\n")
    found.do("x = 2.5 * 2; xs = [x, x, 1.5]; kept = (x, xs[2]); box = [xs[0]]")
    for _ in range(30):
        found("f(xs)")
        found("(x, kept, box)")
    assert found.entries


def test_a_list_with_another_type() -> None:
    """Derived lists have their own ways to be read."""
    found = Sides(
        "class L(list):\n"
        " def __getitem__(self, i): return 10 * list.__getitem__(self, i)\n"
        " def __len__(self): return 2\n"
        "def f(xs):\n s = 0\n for i in range(len(xs)):\n  s += xs[i]\n return s\n"
    )
    found.do("xs = [1, 2, 3]; ls = L([4, 5, 6])")
    found.times(20, "f(xs)")
    assert found.entries
    found.times(20, "f(ls)")
    found.times(3, "f(xs)")


def test_counts_of_references() -> None:
    """Nothing is kept of what is met, nothing given back that was not taken."""
    scope: dict[str, object] = {}
    exec(
        "def f(xs, m):\n s = 0.0\n for row in m:\n  for i in range(len(row)):\n"
        "   s += row[i]; row[i] = s * 0.5; xs[i] = xs[i] + 1\n return s, row\n",
        scope,
    )
    f = minijit.jit(scope["f"])  # type: ignore[call-overload]
    xs, m = [10**6, 2], [[1.5, 2.5], [3.5, 4.5]]
    for _ in range(200):
        f(xs, m)
    assert minijit.stats(f).entries
    gc.collect()
    rows = [sys.getrefcount(row) for row in m]
    before = sys.getallocatedblocks()
    for _ in range(20_000):
        f(xs, m)
    assert sys.getallocatedblocks() - before < 200
    assert [sys.getrefcount(row) for row in m] == rows
    assert xs == [10**6 + 2 * 20_200, 2 + 2 * 20_200]


# Instances

CLASSES = """
class Point:
    weight = 2.5
    def __init__(self, x, y):
        self.x = x
        self.y = y
        self.z = 0
    def norm(self):
        return (self.x * self.x + self.y * self.y) ** 0.5
    @property
    def sum(self):
        return self.x + self.y
    def move(self, dx):
        self.x = self.x + dx
        self.z += 1
    def twice(self, k):
        self.z = self.z + k
        self.z = self.z * k
        return self.z
    def give(self, other, k):
        self.x -= k
        other.x += k
        self.y = other.x * self.x
    def swapped(self):
        self.x, self.y = self.y, self.x
        return self.x - self.y
    def divided(self, n):
        self.z += 1
        self.x = self.x / n
        self.z += 1
    def grow(self, n):
        self.z += 1
        self.z = self.z * (2**61 if n % 7 == 3 else 1) // (2**61 if n % 7 == 3 else 1)
    def around(self, other):
        self.move(1.0)
        other.move(0.25)
        self.give(other, 0.125)
    def either(self, n):
        if n % 2:
            self.z = self.z + 1
        else:
            self.x = self.x - 1.0
        return self.z + self.x
    @property
    def half(self):
        return self.y / 2
    @half.setter
    def half(self, value):
        self.y = value * 2
    def __add__(self, other):
        return self.x + other.x
    def __lt__(self, other):
        return self.x < other.x
class Slotted:
    __slots__ = ("x", "y", "z")
    weight = 3
    __init__, norm, sum = Point.__init__, Point.norm, Point.sum
    __add__, __lt__ = Point.__add__, Point.__lt__
    move, twice, give, swapped, half = Point.move, Point.twice, Point.give, Point.swapped, Point.half
    divided, grow, around, either = Point.divided, Point.grow, Point.around, Point.either
class Derived(Point):
    weight = 4
    def norm(self):
        return self.x
class Node:
    def __init__(self, value, next):
        self.x = value
        self.next = next
        self.items = [value, 1.5]
    def shift(self, i):
        self.items[i] += 0.5
        self.items[1 - i] = self.items[i] * 2 + self.next.x
        self.items[0], self.items[1] = self.items[1], self.items[0]
        self.next.x = self.items[-1]
        return self.items[i]
"""
INSTANCES = {
    "reads": "for p in ps:\n  s += p.x * p.y",
    "writes": "for p in ps:\n  p.x = p.x + p.y * 0.5",
    "augmented": "for p in ps:\n  p.z += 1; p.x *= 0.5",
    "methods": "for p in ps:\n  s += p.norm()",
    "properties": "for p in ps:\n  s += p.sum",
    "attributes of the class": "for p in ps:\n  s += p.weight * p.x",
    "operators": "for i in range(1, len(ps)):\n  s += ps[i] + ps[i - 1]",
    "comparisons": "for i in range(1, len(ps)):\n  if ps[i] < ps[i - 1]:\n   s += 1",
    "identity": "for p in ps:\n  if p is ps[0]:\n   s += p.x\n  elif p is not q:\n   s -= 1",
    "equality": "for p in ps:\n  if p == q:\n   s += p.x\n  if p != q:\n   s -= 1",
    "one that is a variable too": "for p in ps:\n  q.x = q.x + p.x; s += q.y",
    "the last": "for p in ps:\n  s += p.x\n s += p.y",
    "pairs": "for i in range(len(ps)):\n  for j in range(i):\n   d = ps[i].x - ps[j].x; ps[i].y += d; ps[j].y -= d",
    "a chain": "n = node\n while n is not None:\n  s += n.x; n = n.next",
    "a chain that is written": "n = node\n while n:\n  n.x = n.x + 1; n = n.next",
    "lists of attributes": "for i in range(20):\n  s += node.items[i % 2]; node.items[0] = s * 0.25",
    "attributes of attributes": "for i in range(20):\n  s += node.next.x; node.next.x = s * 0.5",
    "what is missing": "for p in ps:\n  s += p.more",
    "isinstance": "for p in ps:\n  if isinstance(p, Point):\n   s += p.x",
    "methods that write": "for p in ps:\n  p.move(0.5); s += p.x",
    "methods that write twice": "for p in ps:\n  s += p.twice(2)",
    "methods of two": "for i in range(len(ps)):\n  ps[i].give(ps[i - 1], 0.5)",
    "methods of one that is two": "for p in ps:\n  p.give(p, 0.5)",
    "methods that write and read": "for p in ps:\n  s += p.swapped()",
    "methods that raise in the midst": "for p in ps:\n  p.divided(s - 40)\n  s += p.z",
    "methods that are handled": "for p in ps:\n  try:\n   p.divided(p.z - 3)\n  except ZeroDivisionError:\n   s += 0.5",
    "methods that overflow now and then": "for p in ps:\n  p.grow(s); s += 1",
    "methods within methods": "for p in ps:\n  p.around(q)\n  s += p.x",
    "methods with lists": "for i in range(20):\n  s += node.shift(i % 2)",
    "properties that are written": "for p in ps:\n  p.half = p.x; s += p.half",
    "branches in methods": "for p in ps:\n  s += p.either(s)",
}
KINDS = {
    "points": "[Point(float(k), 2.5) for k in range(8)]",
    "ints": "[Point(k, k * k) for k in range(8)]",
    "slotted": "[Slotted(float(k), 2.5) for k in range(8)]",
    "derived": "[Derived(float(k), 2.5) for k in range(8)]",
    "two classes": "[(Point, Derived)[k % 2](float(k), 2.5) for k in range(8)]",
    "the same twice": "[q, q, Point(3.0, 1.0), q]",
    "with a dict": "[Point(1.0, 2.0), with_dict(Point(2.0, 3.0)), Point(4.0, 5.0)]",
    "with more": "[Point(1.0, 2.0), with_more(Point(2.0, 3.0))]",
    "numbers among them": "[Point(1.0, 2.0), 7, Point(4.0, 5.0)]",
    "none": "[]",
}
HELPERS = """
def with_dict(p):
    p.__dict__["x"] = 9.0
    return p
def with_more(p):
    p.more = 2.5
    return p
"""


def a_program_of_instances(body: str) -> Sides:
    return Sides(f"{CLASSES}{HELPERS}def f(ps, q, node):\n s = 0\n {body}\n return s\n")


def make(found: Sides, kind: str) -> None:
    found.do(f"q = Point(0.5, 1.5); ps = {kind}; node = Node(1.0, Node(2.5, Node(3.5, None)))")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", INSTANCES)
def test_instances(body: str, kind: str) -> None:
    found = a_program_of_instances(INSTANCES[body])
    for each, times in (("points", 12), (kind, 12), ("points", 3)):
        for _ in range(times):
            make(found, KINDS[each])
            found("f(ps, q, node)")
            found("(ps, node)")


def test_the_instances_are_compiled() -> None:
    for name, body in INSTANCES.items():
        found = a_program_of_instances(body)
        for _ in range(40):
            make(found, KINDS["with more" if name == "what is missing" else "points"])
            found("f(ps, q, node)")
        assert found.entries or name == "what is missing", (name, str(minijit.explain(found.function)))


CHANGES = {
    "a method": "Point.norm = lambda self: -1.0",
    "an attribute of the class": "Point.weight = 100",
    "a property in place of an attribute": "Point.x = property(lambda self: 5.0)",
    "a method that goes before": "ps[1].norm = lambda: 77.0",
    "an attribute that goes before": "ps[1].weight = 77.0",
    "another class": "ps[1].__class__ = Derived",
    "another base": "Derived.__bases__ = (Slow,)",
    "a way to read attributes": "Point.__getattribute__ = lambda self, name: 3.0",
    "a way to read what is missing": "Point.__getattr__ = lambda self, name: 3.0",
    "a dict": "ps[1].__dict__['x'] = 4.5",
    "deleted": "del ps[2].x",
    "a way to write attributes": "Point.__setattr__ = lambda self, name, value: None",
    "a slot": "ps[0] = Slotted(1.0, 2.0)",
}
USES = "for p in ps:\n  s += p.norm() * p.weight + p.x\n  p.x = p.x + 0.5"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cls", ["Point", "Derived"])
def test_the_next_operation_sees_a_change(change: str, cls: str) -> None:
    found = Sides(f"{CLASSES}class Slow(Point):\n weight = 1000\ndef f(ps):\n s = 0\n {USES}\n return s\n")
    found.do(f"ps = [{cls}(float(k), 2.5) for k in range(6)]")
    found.times(30, "f(ps)")
    assert found.entries
    found.do(CHANGES[change])
    found.times(20, "f(ps)")


def test_a_change_in_the_midst_of_a_loop() -> None:
    """Another thread changes a class and a list while a loop is under way: it ends, and with the new numbers."""
    scope: dict[str, object] = {}
    exec(
        f"{CLASSES}\nimport time\ndef f(ps, stop):\n n = 0\n while stop[0] > 0:\n  for p in ps:\n   n += 1\n"
        "  if p.norm() < 0:\n   break\n return n\n",
        scope,
    )
    f = minijit.jit(scope["f"])  # type: ignore[call-overload]
    point: type = scope["Point"]  # type: ignore[assignment]
    ps = [point(1.0, 2.0) for _ in range(5)]

    def change() -> None:
        point.norm = lambda _self: -1.0  # type: ignore[attr-defined]

    timer = threading.Timer(0.3, change)
    guard = threading.Timer(20, lambda: stop.__setitem__(0, 0))
    stop = [1]
    timer.start()
    guard.start()
    assert f(ps, stop) > 0
    assert stop == [1], "the change was not seen"
    guard.cancel()
    timer.join()


def test_ends_are_where_they_were() -> None:
    """An object that the interpreter has dropped ends, whatever a region has met before."""
    found = Sides(
        "class Noisy:\n def __init__(self, x): self.x = x\n def __del__(self): log.append(self.x)\nlog = []\n"
        "def f(ps):\n s = 0\n for p in ps:\n  s += p.x\n return s\n"
    )
    for k in range(40):
        found.do(f"ps = [Noisy({k}.5), Noisy({k}.25)]")
        found("f(ps)")
        found.do("ps = None")
        found("tuple(log)")
    assert found.entries


SHAPES = """
class Shape:
    def __init__(self, size, n): self.size, self.n, self.parts, self.inner = size, n, [size, n, 0.5], self
    def area(self): return self.size * self.n
    def total(self):
        s = 0
        for x in self.parts:
            s += x
        return s
    def first_above(self, limit):
        i = 0
        while i < len(self.parts) and self.parts[i] < limit:
            i += 1
        return i
    def deepest(self):
        inner = self
        for _ in range(3): inner = inner.inner
        return inner
    def put(self, x):
        self.parts[0] = x
        for k in range(len(self.parts)): x += self.parts[k]
        self.size = x * 0.5
class Round(Shape):
    def area(self): return self.size * self.size * 3
class Square(Shape):
    __slots__ = ("other",)
    def area(self): return self.size ** 2
UNIT = Round(1, 2.5)
class Limits:
    low, high, unit = 0.25, 3, UNIT
"""
WAYS = {
    "methods with loops": "for a in shapes:\n  s += a.total() + a.first_above(2)",
    "a method with a loop and stores": "for a in shapes:\n  a.put(i % 3)\n  s += a.size; i += 1",
    "what a method returns": "for a in shapes:\n  s += a.deepest().size\n  a.deepest().n += 1",
    "a global instance": "for a in shapes:\n  UNIT.size += 1; s += UNIT.area() + a.area()",
    "an instance that a class has": "for a in shapes:\n  s += Limits.unit.n * Limits.low; Limits.unit.n = i % 2; i += 1",
    "mixed pairs": "for a, b in pairs:\n  s += a.area() - b.area()",
    "mixed triples": "for a, (b, c) in triples:\n  s += a.area() * b.size + c",
    "sorts of numbers": "for a in shapes:\n  s += a.size * a.n - a.n / (a.size or 1)\n  if a.size < a.n: s -= -a.size\n  t += a.size",
    "sorts of numbers in math": "for a in shapes:\n  s += math.sqrt(abs(a.size)) + math.hypot(a.n, a.size) + a.n // 2 + a.size % 3",
    "sorts of numbers stored": "for a in shapes:\n  a.n = a.size - a.n; a.parts[1] = a.n * 2; s += (a.n, a.size)[0]",
    "sorts of numbers compared": "for a in shapes:\n  s += (a.n < a.size) + (a.n == 2) + (a.size >= 0.5) + (a.n != a.size) + bool(a.n)",
    "a sum of all": "for a in shapes:\n  t = t + a.n\n  s = max(s, t) if t > 3 else t",
    "kept in a variable": "last = shapes[0]\n for a in shapes:\n  if a.area() > last.area(): last = a\n  s += last.n\n s = (s, last.size)",
}


@pytest.mark.parametrize("way", WAYS)
def test_shapes(way: str) -> None:
    """Of one class, then of several; of one sort of numbers, then of several; large ones last."""
    found = Sides(
        f"import math\n{SHAPES}\ndef f(shapes, pairs, triples):\n s = t = i = 0\n {WAYS[way]}\n return s, t\n"
    )
    fillings = (
        ("[Round(0.5 * k, 1.5) for k in range(6)]", 12),
        ("[(Round, Square, Shape)[k % 3](k * 0.25, 2.0) for k in range(9)]", 12),
        ("[(Round, Square)[k % 2]((k, k * 0.5, True)[k % 3], (1, 2.5)[k // 2 % 2]) for k in range(12)]", 16),
        ("[Round(2**61 + k, 2**40) for k in range(4)] + [Square(float('nan'), -0.0)]", 5),
        ("[Shape(2**70, 1), Round(1, 2)]", 4),
        ("[Round(0.5 * k, 1.5) for k in range(6)]", 3),
    )
    for filling, times in fillings:
        for _ in range(times):
            found.do(f"shapes = {filling}; UNIT.size, UNIT.n = 1, 2.5")
            found.do("pairs = list(zip(shapes, shapes[1:])); triples = [(a, (b, 0.5)) for a, b in pairs]")
            found("f(shapes, pairs, triples)")
            found("[(a.size, a.n, a.parts) for a in shapes]")
    assert found.entries
