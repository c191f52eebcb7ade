"""Lists that functions search, make, lengthen and shorten; containers that are instances.

In: programs, executed twice: in one namespace the functions under test are compiled, in the other nothing is. Out: the
same outcome of each call, the same lists afterwards, and the same ends of objects at the same moments.
"""

from __future__ import annotations

import pytest
from balance import stays
from sides import Sides

import minijit

pytestmark = pytest.mark.usefixtures("switched_on")

CLASSES = """
class Cell:
    def __init__(self, x): self.x = x
class Ordered:
    __slots__ = ("x",)
    def __init__(self, x): self.x = x
    def __eq__(self, other): return isinstance(other, Ordered) and self.x == other.x
    __hash__ = None
class Board:
    def __init__(self, n): self.cells = [[k, k + 1, k + 2] for k in range(n)]; self.calls = 0
    def __getitem__(self, i): return self.cells[i]
    def __setitem__(self, i, row): self.cells[i] = row
    def __delitem__(self, i): self.cells[i] = []
    def __len__(self): return len(self.cells)
    def __contains__(self, v): return v in self.cells[0]
    def remove(self, i, v):
        if v in self.cells[i]:
            self.cells[i].remove(v)
            return True
        return False
    def keep(self, i, v):
        self.cells[i] = [v]
    def take(self, i):
        return self.cells[i].pop()
    def put(self, i, v):
        self.cells[i].insert(0, v)
        self.calls += 1
    def clone(self):
        made = Board(0)
        made.cells = [row[:] for row in self.cells]
        return made
    def sorted(self, i):
        made = []
        for v in self.cells[i]:
            k = 0
            while k < len(made) and made[k] < v: k += 1
            made.insert(k, v)
        made[0] = made[0] + 1
        return made
    def evens(self, i):
        rows = [[k, i] for k in range(i % 5)]
        rows.append([7])
        while len(rows) > 3: del rows[0]
        self.calls += 1
        return rows.pop()
    def popped(self, out, xs):
        if out:
            out.pop()
            xs[0] += 1
            return 1
        return 0
    def filled(self, row, count):
        for k in range(count): row.append(k)
        return row
    def spread(self, count):
        return self.filled([self.calls], count) + self.filled([x * 2 for x in self.cells[0]], count)
    def two_names(self, i):
        made = [5]
        outer = [made]
        outer[0].append(i)
        made.append(-1)
        t = (made, outer)
        t[1][0].insert(1, len(made))
        return made.pop() + made[0] + len(made) + (i in made) + outer[0].index(5)
    def stored_by(self, i):
        made = []
        self.extra = made
        other = self.extra
        made.append(i)
        other.append(1)
        self.extra = None
        return made[0] + len(other)
    def named_twice(self, i):
        a = b = []
        for k in range(i % 4): a.append(k); b.append(a[-1])
        outer = [0]
        outer[0] = a
        a.append(i); b.append(7); outer[0].append(8)
        return a
    def pairs(self, i):
        return [(v, i) for v in self.cells[i] if v in self]
def shown(thing):
    if isinstance(thing, (list, tuple)):
        return [type(thing).__name__, *map(shown, thing)]
    if isinstance(thing, (Cell, Ordered)):
        return type(thing).__name__, shown(thing.x)
    return shown(thing.cells) if isinstance(thing, Board) else repr(thing)
"""
BODIES = {
    "a number is in": "for i in range(n):\n  if i % 9 in xs: s += i\n  if i * 0.5 in xs: s += 1\n  if (i > 5) not in xs: s += 2",
    "any number": "for x in mixed:\n  if x in xs: s += 1\n  if x in mixed: s += 2\n  for y in mixed:\n   if y == x and y in xs: s += 3",
    "an object is in": "for i in range(n):\n  c = cells[i % len(cells)]\n  if c in cells: s += 1\n  if c in xs: s += 2\n  if None in xs: s += 3",
    "a string is in": "for i in range(n):\n  if 'b' in names: s += 1\n  if 'x' not in names: s += 2\n  s += names.index('c')",
    "whom somebody asks": "for i in range(n):\n  c = odd[i % len(odd)]\n  if c in odd: s += 1\n  s += odd.index(c)",
    "constants": "for i in range(n):\n  if i % 5 in (1, 2, 4): s += 1\n  if i * 0.5 in {0.5, 3}: s += 2\n  if i not in (): s += 3\n  if i in (1, None): s += 5",
    "a tuple": "t = tuple(xs)\n for i in range(n):\n  if i % 7 in t: s += 1",
    "a range": "for i in range(n):\n  if i % 7 in range(2, 5): s += 1\n  if i in range(n - 3): s += 2",
    "nan": "z = float('nan')\n xs.append(z)\n for i in range(n):\n  if z in xs: s += 1\n  if xs[-1] in xs: s += 2",
    "popped": "for i in range(n):\n  xs.append(i)\n  s += xs.pop(0)\n  if len(xs) > 3: s += xs.pop() + xs.pop(-2)",
    "popped objects": "for i in range(n):\n  c = cells.pop(i % len(cells)); s += c.x; cells.append(c); c.x += 1",
    "popped of several sorts": "for i in range(n):\n  c = mixed.pop(); mixed.insert(0, c)\n  s += c",
    "popped to the end": "while xs:\n  s += xs.pop()",
    "popped too often": "for i in range(n):\n  s += xs.pop()",
    "removed": "for i in range(n):\n  xs.append(i % 4); xs.append(2.5)\n  xs.remove(i % 4); xs.remove(2.5)\n  s += len(xs)",
    "removed objects": "for i in range(n):\n  c = cells[i % len(cells)]; cells.remove(c); cells.append(c); s += c.x",
    "removed what is not there": "for i in range(n):\n  try:\n   xs.remove(i)\n  except ValueError:\n   s += 1",
    "inserted": "for i in range(n):\n  xs.insert(i % 5 - 2, i); xs.insert(-1, None)\n  if len(xs) > 40: s += len(xs); del xs[10]",
    "inserted objects": "for i in range(n):\n  cells.insert(1, Cell(i)); s += cells[1].x + cells[2].x\n  del cells[-1]",
    "deleted": "for i in range(n):\n  xs.append(i * 0.5); s += xs[0]; del xs[0]; del xs[-1]; xs.append(i)",
    "deleted what is not there": "for i in range(n):\n  del xs[i]",
    "index": "for i in range(n):\n  s += xs.index(xs[i % len(xs)])",
    "made": "for i in range(n):\n  a = [i, i * 0.5, None, p]; s += a[0] + a[1] + len(a); b = a[1:]; s += b[0]; c = []; c.append(a); s += len(c[0])",
    "made of constants": "for i in range(n):\n  a = [1, 2.5, 3, 4]; a[1] = i; s += a[1] + a[-1]",
    "made and kept": "for i in range(n):\n  out.append([i, xs])\n  s += len(out[-1])",
    "slices": "for i in range(n):\n  s += len(xs[i % 3:]) + len(xs[:-1]) + len(xs[i - 7:i]) + len(xs[:]) + len(xs[5:2]) + len(xs.copy())",
    "a slice of something else": "for i in range(n):\n  s += len(names[0][1:]) + len(tuple(xs)[1:])",
    "lists added": "for i in range(n):\n  a = xs + [i]; s += len(a) + a[-1]; b = [i] * 3; s += b[2] + len(b * (i % 3)); b += xs; s += len(b)",
    "a comprehension": "for i in range(n):\n  a = [x * i for x in xs]; s += a[0] + len(a)",
    "a comprehension in a comprehension": "a = [[i * j for j in range(4)] for i in range(n)]\n for row in a:\n  for v in row: s += v",
    "a comprehension with a condition": "for i in range(n):\n  a = [x for x in xs if x > 2 and x in xs]; s += len(a)",
    "a comprehension that hides": "x = 3\n for i in range(n):\n  a = [x for x in range(5)]; s += x + len(a)",
    "a comprehension of objects": "for i in range(n):\n  a = [c for c in cells if c.x > 1]; s += len(a); b = [Cell(c.x + 1) for c in a]; s += len(b)",
    "a comprehension that raises": "try:\n  a = [10 // (x - 3) for x in xs]\n except ZeroDivisionError:\n  s = -1\n for i in range(n):\n  try:\n   a = [10 // (7 - x - i % 3) for x in range(n)]\n  except ZeroDivisionError:\n   s += 1",
    "items of instances": "for i in range(n):\n  s += board[i % 3][0]; board[i % 3] = [i, 1]; s += len(board); s += (i % 4 in board) + (i not in board)",
    "items of instances are deleted": "for i in range(n):\n  s += len(board[2]); del board[i % 2]; board[2] = [i] * (i % 3)",
    "calls that remove": "for i in range(n):\n  s += board.remove(i % 3, i % 5); board.put(i % 3, i % 5)",
    "calls that keep": "for i in range(n):\n  board.keep(i % 3, i); s += board[i % 3][0]",
    "calls that take": "for i in range(n):\n  board.put(1, i); s += board.take(1) + board.calls",
    "clones": "for i in range(n % 50):\n  b = board.clone(); b[0] = [i]; s += b[0][0] + board[0][0] + len(b)",
    "pairs": "for i in range(n % 50):\n  for a, b in board.pairs(0): s += a + b",
    "new lists that calls change": "for i in range(n % 50):\n  a = board.sorted(i % 3); s += a[0] + len(a); a.append(i); s += board.evens(i)[-1]",
    "new lists that calls pass on": "for i in range(n % 50):\n  a = board.filled([i], i % 4); s += len(a) + a[-1]; s += len(board.spread(i % 4))",
    "new lists that have two names": "for i in range(n % 50):\n  s += board.two_names(i); s += board.stored_by(i); a = board.named_twice(i); s += len(a) + a[-1]",
    "made of a number and constants": "for i in range(n):\n  a = [i, *(1, 2, 3)]; s += len(a) + a[0]; a = [*xs, 1]; s += len(a)",
    "popped by a call, and stored": "for i in range(n):\n  c = board.popped(out, xs); out.append(Cell(i)); s += c",
    "loops over what gets shorter": "for i in range(n % 40):\n  ys = xs[:]\n  for y in ys:\n   if y in ys: ys.remove(y)\n  s += len(ys)",
    "a local in each round": "for i in range(n):\n  c = Cell(i); t = (c, i); u = [c, t]; s += t[0].x + u[0].x",
}
CALL = "shown(f(xs, cells, names, odd, mixed, out, board, p, n))"
HEAP = "shown([xs, cells, names, odd, mixed, out, board])"


def a_program(body: str) -> Sides:
    return Sides(f"{CLASSES}\ndef f(xs, cells, names, odd, mixed, out, board, p, n):\n s = 0\n {body}\n return s\n")


def fill(found: Sides, n: int) -> None:
    found.do(f"xs = [3, 1, 4, 1, 5]; cells = [Cell(k) for k in range(4)]; names = ['a', 'b', 'c']; n = {n}; out = []")
    found.do("odd = [Ordered(k) for k in range(3)]; mixed = [1, 2.5, True, 4]; board = Board(3); p = Cell(0)")


@pytest.mark.parametrize("body", BODIES)
def test_lists(body: str) -> None:
    """First as recorded, then with lists that hold something else."""
    found = a_program(BODIES[body])
    for times, n, other in ((16, 40, ""), (4, 41, "xs[1] = 1.5"), (4, 40, "xs[0] = None"), (3, 40, "xs.append('x')")):
        for _ in range(times):
            fill(found, n)
            found.do(other)
            found(CALL)
            found(HEAP)
    for other in ("xs[2] = Ordered(1)", "cells[1] = Ordered(2)", "xs[2] = 2**70; mixed[0] = 2**64", "xs = (1, 2, 3)"):
        for n in (40, 1500):
            fill(found, n)
            found.do(other)
            found(CALL)
            found(HEAP)


SLOW = {"whom somebody asks", "a slice of something else", "a tuple"}


def test_they_are_compiled() -> None:
    """What the test above looks at has machine code, all but what asks somebody."""
    slow: set[str] = set()
    for name, body in BODIES.items():
        found = a_program(body)
        for _ in range(40):
            fill(found, 40)
            found(CALL)
        if not found.entries:
            slow.add(name)
    assert slow <= SLOW


NOISY = """
import weakref
log = []
class Noisy:
    def __init__(self, name): self.name = name
    def __del__(self): log.append((self.name, p.count))
class Quiet:
    def __init__(self, name, part=None): self.name = name; self.part = part
class Holder:
    def __init__(self): self.count = 0; self.items = []
    def drop(self): self.items.pop()
"""
KINDS = {
    "noisy": "Noisy(i)",
    "a part that is": "Quiet(i, Noisy(i))",
    "in a list": "[1, Noisy(i)]",
    "weakly referred to": "watched(Quiet(i))",
    "deep": "Quiet(i, [(Quiet(1, [Noisy(i)]),)])",
    "shared": "Quiet(i, shared(Quiet(i, Noisy(i))))",
    "quiet": "Quiet(i, Quiet(2))",
}
ENDS = {
    "popped": "while xs:\n  xs.pop(); s += 1",
    "popped into a local": "while xs:\n  x = xs.pop(0); s += 1",
    "deleted": "while xs:\n  del xs[0]; s += 1",
    "removed": "for i in range(n):\n  x = xs[0]; xs.remove(x); x = None; s += 1",
    "by a call": "for i in range(n):\n  p.drop(); s += 1",
    "locals": "for i in range(n):\n  y = x; x = xs[i % len(xs)]; xs[i % len(xs)] = None; s += 1",
    "a local that is made": "for i in range(n):\n  x = Quiet(i); t = (x, i); u = [x, t]; s += 1",
    "a local in a local": "for i in range(n):\n  t = (x, i); x = Quiet(i, t); s += 1",
    "two locals of one": "for i in range(n):\n  u = x; x = Quiet(i); t = [i]; s += 1",
    "what a comprehension drops": "for i in range(n):\n  u = [z for z in [x, i]]; x = None; s += 1",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", ENDS)
def test_ends_come_when_they_came(body: str, kind: str) -> None:
    """Who notices the end of an object sees the program as it is in the interpreter at that moment."""
    found = Sides(
        f"{NOISY}\ndef f(xs, p, n):\n i = 6; x = make(7); t = (make(8), 1); u = [make(9), x]\n s = 0\n {ENDS[body]}\n"
        "  p.count += 1\n return s\n"
        "def shared(x):\n others.append(x)\n return x\n"
        "def watched(x):\n refs.append(weakref.ref(x, lambda r: log.append(p.count)))\n return x\n"
    )
    found.do("p = Holder(); refs = []; others = []; make = lambda i: Quiet(i, Quiet(2))")
    for k in range(25):
        if k == 12:
            found.do(f"make = lambda i: {KINDS[kind]}")
        found.do("log.clear(); refs.clear(); others = []; p.count = 0; p.items = [make(i) for i in range(10, 16)]")
        found.do("xs = [make(i) for i in range(6)]")
        found("f(xs, p, 6)")
        found("list(log)")
        found.do("log.append('then'); xs = None; p.items = []")
        found("list(log)")
    assert found.entries


HOLDERS = {
    "a slice that nobody has": (
        "def f(h, x, n):\n s = 0\n for i in range(n):\n  now[0] = i; s += len(h.x[:]); h.x = [i]\n return s",
        "[[Fin()]]",
    ),
    "one twice": (
        "def f(h, x, n):\n for i in range(n):\n  now[0] = i; h.x = [i]\n",
        "[each := [Fin()], each]",
    ),
    "a local that was overwritten": (
        """def last(c):
 try: return c
 finally: now[0] = -1
def f(h, fins, n):
 pool = [[] for _ in range(n)]; spare = [[] for _ in range(n)]
 g = H([])
 c = last(g.x)
 if fins: pool[n - 20].append(fins.pop())
 for i in range(n):
  now[0] = i
  if i >= n - 20:
   c = 0
   g.x.append(pool[i])
   pool[i] = None
   g.x = spare[i]
 return c
""",
        "[]",
    ),
}


@pytest.mark.parametrize("who", HOLDERS)
def test_who_else_holds_it(who: str) -> None:
    """What nobody would hold in the interpreter any more holds nothing here."""
    program, content = HOLDERS[who]
    found = Sides(
        "log, now = [], [0]\nclass H:\n def __init__(self, x): self.x = x\n"
        f"class Fin:\n def __del__(self): log.append(now[0])\n{program}\n",
        policy=minijit.Policy(minijit.Config()),
    )
    for k in range(40):
        is_noisy = k > 25
        fins = "[Fin()]" if is_noisy else "[]"
        found.do(f"log.clear(); h = H({content if is_noisy else '[]'}); fins = {fins}; each = None")
        found("f(h, fins, 400)")
        found("list(log)")
    assert found.entries


def test_nothing_is_leaked() -> None:
    """After a million changes of each kind there are no more objects than before, and no less references."""
    scope: dict[str, object] = {}
    exec(
        f"{CLASSES}\ndef f(xs, p, n):\n for i in range(n):\n  xs.append(p)\n  xs.insert(1, (i, p))\n  xs.append(i * 0.5)\n"
        "  xs.pop(1)\n  if p in xs: xs.remove(p)\n  a = [i * 0.25, p, None]\n  b = a[1:]\n  c = [x for x in b]\n  del xs[-1]\n",
        scope,
    )
    f = minijit.jit(scope["f"])  # type: ignore[call-overload]
    p, xs = object(), [object()]
    stays(lambda n: f(xs, p, n), 2000, 10**6, (p, xs, xs[0], None))
    assert len(xs) == 1
    assert minijit.stats(f).entries
