"""Machine code that is called with objects, and answers with them: recursions over trees and chains, methods that call
each other.

In: programs, executed twice: in one namespace all functions and methods are compiled, in the other nothing is. Out: the
same outcome of each call, the same heap afterwards, and the same ends of objects at the same moments.
"""

from __future__ import annotations

import gc
import sys
import types
from typing import Any

import pytest
from balance import stays
from sides import Sides

import minijit

pytestmark = pytest.mark.usefixtures("switched_on")

NODES = """
class {name}:
    {slots}
    def __init__(self, x, y=None, z=None):
        self.x = x
        self.y = y
        self.z = z
    def total(self, depth):
        found = self.x * depth
        if self.y is not None:
            found += self.y.total(depth + 1)
        if self.z is not None:
            found += self.z.total(depth + 1)
        return found
    def insert(self, key):
        if key < self.x:
            if self.y is None:
                self.y = {name}(key)
            else:
                self.y.insert(key)
        elif self.z is None:
            self.z = {name}(key)
        else:
            self.z.insert(key)
    def find(self, key):
        if key == self.x:
            return self
        below = self.y if key < self.x else self.z
        if below is None:
            return None
        return below.find(key)
    def mirror(self):
        self.y, self.z = self.z, self.y
        if self.y is not None:
            self.y.mirror()
        if self.z is not None:
            self.z.mirror()
    def last(self):
        if self.z is None:
            return self
        return self.z.last()
    def copy(self, more):
        y = None if self.y is None else self.y.copy(more)
        z = None if self.z is None else self.z.copy(more)
        return {name}(self.x + more, y, z)
    def extent(self):
        low, high = self.x, self.x
        if self.y is not None:
            a, b = self.y.extent()
            low = a if a < low else low
        if self.z is not None:
            a, b = self.z.extent()
            high = b if b > high else high
        return low, high
    def collect(self, out):
        if self.y is not None:
            self.y.collect(out)
        out.append(self.x)
        if self.z is not None:
            self.z.collect(out)
    def scale(self, by):
        self.x = self.x * by
        for part in (self.y, self.z):
            if part is not None:
                part.scale(by)
    def cut(self, depth):
        if depth == 0:
            self.y = None
            self.z = None
            return 1
        count = 0
        if self.y is not None:
            count += self.y.cut(depth - 1)
        if self.z is not None:
            count += self.z.cut(depth - 1)
        return count
    def kept(self, depth):
        before = self.y
        if before is not None and depth:
            lost = before.kept(depth - 1)
            self.y = None
            found = before.x + lost
            self.y = before
            return found
        return self.x
    def share(self, by):
        return (0 if self.y is None else self.y.share(by)) + self.x // (by - self.x)
    def either(self, key):
        if key <= 0:
            return None if key < -2 else self.x
        if self.y is None:
            return self
        return self.y.either(key - 1)
"""
EXPRESSIONS = """
class Number:
    def __init__(self, x): self.x = x
    def value(self, given): return self.x
class Given:
    def value(self, given): return given
class Sum:
    def __init__(self, y, z): self.y = y; self.z = z
    def value(self, given): return self.y.value(given) + self.z.value(given)
class Product(Sum):
    def value(self, given): return self.y.value(given) * self.z.value(given)
class Choice:
    def __init__(self, x, y, z): self.x = x; self.y = y; self.z = z
    def value(self, given):
        if self.x.value(given) > 0:
            return self.y.value(given)
        return self.z.value(given)
def made(depth):
    if depth == 0:
        return Given()
    if depth == 1:
        return Number(3)
    if depth % 3 == 0:
        return Choice(Sum(Given(), Number(-2)), made(depth - 1), made(depth - 2))
    return (Sum if depth % 2 else Product)(made(depth - 1), made(depth - 2))
def f(root, n):
    s = 0
    for i in range(n):
        s += root.value(i % 5)
    return s
"""
CALLS = {
    "total": ("root.total(1)", "(lambda n: n.total(1))(root)"),
    "insert": ("root.insert(i * 7919 % 101)", "root.extent()"),
    "find": ("root.find(i % 30).x if root.find(i % 30) is not None else 0", "root.find(50) is root"),
    "mirror": ("root.mirror()", "root.total(2)"),
    "last": ("root.last().x", "root.last().z"),
    "copy": ("root.copy(1).x", "root.copy(0.5).total(1)"),
    "extent": ("root.extent()[0]", "root.extent()"),
    "collect": ("root.collect(out)", "out[-5:]"),
    "scale": ("root.scale(1)", "root.x"),
    "cut": ("root.cut(9)", "root.cut(2)"),
    "kept": ("root.kept(5)", "root.y.x"),
    "share": ("root.share(1000)", "root.share(50)"),
    "either": ("1 if root.either(2) is root else 2", "[root.either(k) for k in (-3, -1, 0, 1, 9)]"),
}
SORTS = {"slotted": "__slots__ = ('x', 'y', 'z')", "plain": "'ordinary attributes'"}


def nodes(sort: str, call: str = "0") -> Sides:
    """A program whose `f` makes a call again and again; all of it is compiled."""
    source = NODES.format(name="Node", slots=SORTS[sort])
    return all_of(f"{source}\ndef f(root, out, n):\n s = 0\n for i in range(n):\n  s = {call}\n return s\n")


def all_of(source: str) -> Sides:
    """A program of which all functions and methods are compiled."""
    found = Sides(source)
    for name, value in list(found.scopes[1].items()):
        if isinstance(value, types.FunctionType):
            minijit.jit(found.compiled(name))
        for own, function in vars(value).items() if isinstance(value, type) else ():
            if isinstance(function, types.FunctionType):
                minijit.jit(found.compiled(f"{name}.{own}"))
    return found


GROW = """
root, out = Node(50), []
for i in range(60):
    root.insert(i * 37 % 101)
"""


def calls_bodies(function: Any) -> bool:
    return "calls by machine code" in str(minijit.explain(function))


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", CALLS)
def test_methods_that_call_themselves(name: str, sort: str) -> None:
    often, then = CALLS[name]
    found = nodes(sort, often)
    found.do(GROW)
    for _ in range(40):
        found("f(root, out, 30)")
        found(then)
    assert calls_bodies(found.compiled(f"Node.{name}"))
    # Other numbers, other sorts, and nothing where there was something.
    for change in (
        "root.y.x = 2 ** 70",
        "root.y.x = 0.5",
        "root.z.x = True",
        "root.y.z = None",
        "root.z.z = 7",
        "root.z.z = None",
        "del root.y.y",
        "root.y.y = root.z.y",
    ):
        found.do(change)
        for _ in range(4):
            found("f(root, out, 3)")
            found(then)


@pytest.mark.parametrize("sort", SORTS)
def test_changes_are_seen_by_the_next_call(sort: str) -> None:
    for change in (
        "Node.total = lambda self, depth: depth",
        "Node.x = property(lambda self: 5)",
        "root.y.__class__ = Other",
        "root.y = Other(3)",
        "Node.extra = 1",
        "del Node.total",
        "Node.__getattribute__ = lambda self, name: 1 if name == 'x' else object.__getattribute__(self, name)",
    ):
        found = nodes(sort, "root.total(1)")
        found.do(GROW)
        found.do(NODES.format(name="Other", slots=SORTS[sort]) + "\nOther.total = lambda self, depth: -depth")
        found.times(40, "f(root, out, 20)")
        found.do(change)
        found.times(4, "f(root, out, 3)")
        found.times(4, "root.total(1)")


def test_instances_with_more_names() -> None:
    """What the class shares changes, and dicts of their own come about, while bodies rely on neither."""
    found = nodes("plain", "root.total(1)")
    found.do(GROW)
    found.times(40, "f(root, out, 20)")
    for change in (
        "root.y.more = 1",
        "vars(root.z)",
        "vars(root.y)['total'] = lambda depth: 1000",
        "root.z.total = lambda depth: depth * 100",
        "import copy; root = copy.deepcopy(root.z)",
    ):
        found.do(change)
        found.times(8, "f(root, out, 3)")


ANSWERS = """
class Thing:
    def __init__(self, x): self.x = x
thing = Thing(4)
def answer(k):
    for j in range(k % 3):
        if j > 5:
            return j
    match k % {many}:
        case 0: return k
        case 1: return k > 3
        case 2: return k / 2
        case 3: return None
        case 4: return thing
def weighed(found):
    if found is None:
        return 100
    return found.x if found is thing else found
def f(n):
    s = 0
    for i in range(n):
        found = answer(i)
        s += {used}
    return s
def g(n):
    count = 0
    for i in range(n):
        if answer(i):
            count += 1
    return count
"""


@pytest.mark.parametrize(
    ("many", "used"), [(2, "found"), (3, "found * 2"), (4, "weighed(found)"), (5, "weighed(found)")]
)
def test_answers_of_several_sorts(many: int, used: str) -> None:
    """Numbers of several sorts, None, and objects, from one call."""
    found = all_of(ANSWERS.format(many=many, used=used))
    for function in ("f", "g"):
        found.times(60, f"{function}(40)")
    before = minijit.stats(found.function)
    found.times(20, "f(40)")
    after = minijit.stats(found.function)
    assert after.exits - before.exits < 20, minijit.explain(found.function)


def test_expressions() -> None:
    """Trees of objects of five classes, whose methods call each other's."""
    found = all_of(EXPRESSIONS)
    found.do("root = made(9)")
    found.times(40, "f(root, 30)")
    assert any(calls_bodies(found.compiled(f"{cls}.value")) for cls in ("Sum", "Product", "Choice"))
    for change in (
        "root.y.z = Number(2.5)",
        "root.z.y = Number(2 ** 62)",
        "root.y.y = Number('x')",
        "root.y.y = None",
        "root.y.y = root",
    ):
        found.do(change)
        found.times(6, "f(root, 3)")
        found.do("root = made(9)")
        found.times(3, "f(root, 5)")


WALKS = {
    "a function over nodes": "def g(p, n):\n return 0 if p is None else p.x * n + g(p.y, n) + g(p.z, n + 1)",
    "two functions": "def g(p, n):\n return n if p is None else h(p.y, n) + p.x\n"
    "def h(p, n):\n return n if p is None else g(p.z, n + 1) - p.x",
    "constants": "def g(p, n, word='left', more=(1, 2)):\n"
    " if p is None or n > 9: return n\n return g(p.y, n + 1, 'right', (3, 4)) + (word == 'left') + more[0]",
    "a list of nodes": "def g(ps, n):\n s = 0\n for p in ps:\n  s += p.x\n if n: s += g(ps[1:], n - 1)\n return s",
    "tuples": "def g(t, n):\n a, b = t\n return a if n == 0 else g((b, a + 1), n - 1)",
    "new nodes": "def g(p, n):\n return p.x if n == 0 else g(Node(p.x + n), n - 1)",
    "nodes that are stored": "def g(p, n):\n if n == 0: return 0\n p.y = Node(n)\n return g(p.y, n - 1) + p.y.x",
    "new lists": "def g(p, n):\n if n == 0: return [p.x]\n found = g(p, n - 1)\n found.append(n)\n return found",
    "an answer that is one of two": "def g(p, n):\n return (p if n % 2 else p.y) if n < 2 else g(p, n - 2)",
    "an answer with attributes": "def g(p, n):\n if n == 0: return p\n q = g(p, n - 1)\n q.x += 1\n return q",
    "loops": "def g(p, n):\n s = 0\n for i in range(3):\n  s += p.x * i\n return s if n == 0 else s + g(p, n - 1)",
    "itself": "def g(p, n):\n p.y = p\n return p.x if n == 0 else g(p.y, n - 1)",
    "the last reference": "def g(p, n):\n q = p.y\n if n == 0 or q is None: return p.x\n p.y = None\n"
    " s = g(q, n - 1) + q.x\n p.y = q\n return s",
    "a list that is emptied": "def g(p, n):\n q = out[-1]\n del out[-1]\n s = q.x if n == 0 else g(p, n - 1) + q.x\n"
    " out.append(q)\n return s",
    "caught": "def g(p, n):\n try:\n  return p.x if n == 0 else g(p.y, n - 1)\n except AttributeError:\n  return -n",
    "raised": "def g(p, n):\n if n == 0: raise ValueError(p.x)\n return g(p, n - 1)",
}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", WALKS)
def test_functions_over_objects(name: str, sort: str) -> None:
    source = NODES.format(name="Node", slots=SORTS[sort])
    given = {"a list of nodes": "[root, root.y, root.z]", "tuples": "(i, 5)"}.get(name, "root")
    call = f"g({given}, i % 6)"
    loop = f"def f(root, n):\n found = None\n for i in range(n):\n  found = {call}\n return found\n"
    found = all_of(f"{source}\nout = []\n{WALKS[name]}\n{loop}")
    for sort_of_x in ("", "0.5 + ", "10 ** 19 + "):
        found.do(f"{GROW}\nroot.x = {sort_of_x}root.x\nout = [Node(k) for k in range(8)]")
        for _ in range(20):
            found("f(root, 30)")
            found("f(root, 1)")
            found("sum(node.x for node in out)")
    assert calls_bodies(found.compiled("g")) or name in ("caught", "raised"), str(minijit.explain(found.compiled("g")))


NOISY = """
log = []
class Noisy:
    def __init__(self, x): self.x = x
    def __del__(self): log.append((self.x, count))
class Holder:
    def __init__(self, x, y=None): self.x = x; self.y = y
    def drop(self, n):
        global count
        if n == 0:
            self.y = None
            return 1
        found = self.drop(n - 1)
        return found + self.x
    def swap(self, other, n):
        if n == 0:
            self.y = other
            return 0
        return self.swap(other, n - 1) + 1
count = 0
def f(holders, things, n):
    s = 0
    for i in range(n):
        s += holders[i % 3].drop(2) + holders[i % 3].swap(things[i % 3], 2)
    return s
"""


@pytest.mark.parametrize("kind", ["Noisy(k)", "[Noisy(k)]", "Holder(1, Noisy(k))", "Holder(1, 2)", "(1, [2])", "k"])
def test_ends_come_when_they_came(kind: str) -> None:
    found = all_of(NOISY)
    for k in range(30):
        made = "Holder(k, Holder(2))" if k < 15 else kind
        found.do(f"log.clear(); count = {k}; holders = [Holder(k, {made}) for k in range(3)]")
        found.do(f"things = [{made} for k in range(3, 6)]")
        found("f(holders, things, 7)")
        found("list(log)")
        found.do("things = None; log.append('then'); holders = None")
        found("list(log)")


def test_no_call_is_left_to_the_interpreter() -> None:
    for name, times in (("total", 60), ("mirror", 60), ("find", 60), ("last", 60), ("extent", 60), ("scale", 60)):
        found = nodes("slotted", CALLS[name][0])
        found.do(GROW)
        found.times(times, "f(root, out, 30)")
        before = minijit.stats()
        found.times(5, "f(root, out, 30)")
        after = minijit.stats()
        assert after.exits - before.exits <= 40, (name, minijit.explain(found.compiled(f"Node.{name}")))
        assert after.entries - before.entries <= 40, name


def test_recursion_limit_is_where_it_was() -> None:
    found = nodes("slotted", "root.last().x")
    found.do("root, out = Node(0), []\nfor i in range(300): root = Node(i, None, root)")
    found.times(30, "f(root, out, 3)")
    found.do("for i in range(3000): root = Node(i, None, root)")
    found.times(3, "f(root, out, 3)")


def test_nothing_is_leaked() -> None:
    scope: dict[str, Any] = {}
    exec(NODES.format(name="Node", slots=SORTS["plain"]), scope)
    exec(
        "def f(root, n):\n for i in range(n):\n  root.copy(1); root.extent(); root.find(i % 40); root.kept(3)\n", scope
    )
    for name, function in vars(scope["Node"]).items():
        if isinstance(function, types.FunctionType):
            minijit.jit(getattr(scope["Node"], name))
    f = minijit.jit(scope["f"])
    root = scope["Node"](20)
    for key in (10, 30, 5, 15, 25, 35):
        root.insert(key)
    stays(lambda n: f(root, n), 2000, 50_000, (root, root.y, root.y.z, None))
    assert calls_bodies(scope["Node"].copy)
    gc.collect()
    count = sys.getrefcount(root.y)
    assert count == 2


WAYS = """
class N:
    def __init__(self, x, y=None): self.x = x; self.y = y
    @property
    def deep(self):
        return 100 // self.x if self.y is None else self.y.deep + 1
    def __getitem__(self, i):
        return 100 // self.x if i == 0 else self.y[i - 1]
    def __neg__(self):
        return 100 // self.x if self.y is None else -self.y
    def __add__(self, n):
        return 100 // self.x if self.y is None else self.y + (n + 1)
    def __call__(self, n):
        return 100 // self.x if self.y is None else self.y(n + 1)
    def __len__(self):
        return 100 // self.x if self.y is None else len(self.y)
    def __eq__(self, n):
        return 100 // self.x == n if self.y is None else self.y == n
    def plain(self, *, n=1):
        return 100 // self.x if self.y is None else self.y.plain(n=n + 1)
def f(c):
    return {}
"""


@pytest.mark.parametrize("way", ["c.deep", "c[2]", "-c", "c + 1", "c(1)", "len(c)", "c == 50", "c.plain(n=2)"])
def test_what_raises_is_raised_where_it_was(way: str) -> None:
    """Not all calls are made by instructions that call."""
    found = all_of(WAYS.format(way))
    found.do("good = N(1, N(2, N(3)))")
    found.times(300, "f(good)")
    for last in ("0", "None", "5", "'x'", "0.0"):
        found.times(3, f"f(N(1, N(2, N({last}))))")


def test_names_that_are_new_while_others_rely_on_what_there_is() -> None:
    """A callee that has met instances with dicts gives one without a name more; its caller has met none."""
    source = """
class N:
    def __init__(self, x): self.x = x; self.y = x + 1
    def m(self): return 1
def own(): return 777
def g(p, n, mode):
    if n > 0: return g(p, n - 1, mode)
    if mode == 1: p.late = n; p.y = 1000
    if mode == 2: p.m = own
    return p.x
def f(p, mode):
    s = p.x
    g(p, 2, mode)
    return p.y, p.m(), s
def use(p, mode): return g(p, 2, mode)
def with_dict(k):
    p = N(k); p.__dict__ = {"x": k, "y": 2}
    return p
"""
    for mode in (1, 2):
        found = all_of(source)
        found.do("keep = [N(k) for k in range(200)]")
        found.do("for k in range(60):\n for p in keep[:20]: f(p, 0)")
        found.do("for k in range(600): use(with_dict(k), 0)")
        found.do(f"for k in range(600): use(with_dict(k), {mode})")
        for k in range(6):
            found(f"f(N({k}), {mode})")


def test_an_answer_that_nobody_has_seen() -> None:
    source = """
class P:
    def __init__(self, x): self.x = x
def g(p, n):
    if n < 0: raise ValueError(n)
    return p if n == 0 else g(p, n - 1)
def f(p, n):
    try:
        return USE
    except ValueError as error:
        return str(error)
"""
    uses = (
        "g(p, n) is p",
        "p is g(p, n)",
        "p == g(p, n)",
        "g(p, n) != p",
        "not g(p, n)",
        "(g(p, n), 1)",
        "[g(p, n)][0].x",
    )
    for use in uses:
        found = all_of(source.replace("USE", use))
        found.do("p = P(3)")
        found.times(200, "g(p, 3)")
        found.times(80, "f(p, -1)")
        found.times(6, "f(p, 3)")


def test_a_local_that_is_set_back_again_and_again() -> None:
    """It is stale once: what its slot has held is kept once, however long the loop."""
    source = """
KEEP = [None]
def g(n): return n if n < 2 else g(n - 1) + g(n - 2)
def f(a, b, n, stores):
    x = a
    s = 0
    for i in range(n):
        x = a
        if stores and i % 500 == 499: KEEP[0] = [i]
        s += i if stores else g(3)
        x = b
        y = x; x = a; a = b; b = y
    return s
"""
    found = all_of(source)
    for made in ("{}, {}", "[1], (2,)", "KEEP, 5"):
        for stores in (0, 1):
            found.times(3, f"f({made}, 3000, {stores})")
            found(f"f({made}, 60000, {stores})")


def test_more_shared_names_are_looked_for_by_what_is_compiled_next() -> None:
    """What looks for fewer is never entered again: it does not stay in the way."""
    found = nodes("plain", "root.total(1)")
    found.do(GROW)
    found.times(40, "f(root, out, 20)")
    found.do("root.y.extra = 1")
    found.times(80, "f(root, out, 20)")
    entries = minijit.stats(found.function).entries
    found.times(10, "f(root, out, 20)")
    assert minijit.stats(found.function).entries >= entries + 10
