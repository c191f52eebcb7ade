"""Instances that a region makes, and operators on instances: virtual until somebody could see them.

In: programs with classes, executed twice (see `sides`). Out: the same outcome of each call, with the classes and the
attributes of what it gives, and afterwards the same attributes of all objects.
"""

from __future__ import annotations

import gc
import sys
import weakref

import pytest
from isolated import isolated
from sides import Sides
from twin import LOW, enabled

import minijit
from minijit.events import Event, Killed, KillReason

pytestmark = pytest.mark.usefixtures("switched_on")


VECTORS = """
class Open:
    scale = 2.0
    def __init__(self, x, y=0.5):
        self.x = x
        self.y = y
    def __add__(self, other):
        if not isinstance(other, (Open, Closed)):
            return NotImplemented
        return type(self)(self.x + other.x, self.y + other.y)
    def __sub__(self, other):
        return self.__class__(self.x - other.x, self.y - other.y)
    def __mul__(self, k):
        if isinstance(k, (int, float)):
            return Open(self.x * k, self.y * k)
        return self.x * k.x + self.y * k.y
    def __rmul__(self, k):
        return Open(k * self.x, k * self.y)
    def __iadd__(self, other):
        self.x += other.x
        self.y += other.y
        return self
    def __truediv__(self, k):
        return Open(self.x / k, self.y / k)
    def __neg__(self):
        return Open(-self.x, -self.y)
    def __pos__(self):
        return self
    def __invert__(self):
        return Open(self.y, self.x)
    def __abs__(self):
        return (self.x * self.x + self.y * self.y) ** 0.5
    def __eq__(self, other):
        return isinstance(other, Open) and self.x == other.x and self.y == other.y
    def __lt__(self, other):
        return abs(self) < abs(other)
    def __le__(self, other):
        return not other < self
    def __bool__(self):
        return self.x != 0
    def __getitem__(self, i):
        return self.x if i == 0 else self.y
    def __setitem__(self, i, value):
        if i == 0:
            self.x = value
        else:
            self.y = value
    def __call__(self, k, more=1):
        return self.x * k + more
    def moved(self, dx):
        new = Open(self.x, self.y)
        new.x += dx
        return new
    @property
    def length(self):
        return abs(self)
    @length.setter
    def length(self, value):
        self.x = value
        self.y = 0.0
    @classmethod
    def unit(cls, x):
        return cls(x, 1.0)
    @staticmethod
    def origin():
        return Open(0.0, 0.0)
class Closed:
    __slots__ = ("x", "y")
    scale = 3.0
    __init__ = Open.__init__
    for name in list(vars(Open)):
        if name not in ("__module__", "__dict__", "__weakref__", "__doc__", "scale"):
            locals()[name] = vars(Open)[name]
    del name
class Derived(Open):
    def __init__(self, x, y=1.5):
        Open.__init__(self, x, y)
        self.more = 1
    def __radd__(self, other):
        return Derived(other.x, self.x)
    def __add__(self, other):
        return Open(self.x * other.x, self.more)
class Empty:
    pass
class Pair:
    def __init__(self, x, y):
        self.y = y
        self.x = x
    def swap(self):
        self.x, self.y = self.y, self.x
        return self
"""
CLASSES = ("Open", "Closed", "Derived")

LOOPS = {
    "makes": "p = Open(i, s); s += p.x",
    "makes by another class": "p = Pair(Open(i), s); s += p.x.x if False else p.swap().y * 0.5 if False else i",
    "adds": "v = v + w",
    "subtracts": "v = v - w * 0.5",
    "number first": "v = 0.5 * v + w",
    "adds in place": "v += w; s += v.x",
    "adds new in place": "o = Open(i, 1); o += w; s += o.x * o.y",
    "dot": "s += v * w",
    "negates": "v = -v; s += v.x",
    "plus": "v = +v; s += v.x",
    "inverts": "v = ~v; s += v.x",
    "divides": "v = v / 1.5",
    "abs": "s += abs(v) + abs(Open(i, s * 0.1))",
    "equal": "s += v == w; s += v != w; s += Open(i) == Open(i, 0.5)",
    "less": "s += v < w; s += v > w; s += v <= w; s += v >= w",
    "other types": "s += v == 1; s += v != None; s += 1 == v; s += v == 'v'",
    "is": "s += v is w; s += v is v; s += v is None; s += Open(1) is v; o = Open(i); s += o is o",
    "truth": "s += 1 if v else 2; s += not v; s += not Open(0); s += 3 if Empty() else 4",
    "while": "\n        k = 0\n        while Open(k - 3.0) and k < 9:\n            k += 1\n        s += k",
    "items": "s += v[0] * v[1]; v[1] = i; o = Open(1, 2); o[0] = i; s += o[0] + o[1]",
    "calls": "s += v(i) + v(i, more=3) + Open(i)(2)",
    "method": "v = v.moved(0.5); s += v.x",
    "property": "s += v.length; o = Open(3, 4); s += o.length; o.length = i; s += o.x",
    "class method": "o = v.unit(i); s += o.x; o = Open.unit(i) ; s += o.y; s += type(v).unit(1).y",
    "static method": "s += v.origin().x + Open.origin().y",
    "constants": "s += v.scale + Open.scale + type(v).scale",
    "isinstance": "s += isinstance(v, Open) + isinstance(v, (int, Empty)) + isinstance(i, Open) + isinstance(s, object)",
    "alias": "o = Open(i, 1); u = o; u.x += 1; s += o.x; o.y = 5; s += u.y",
    "in a tuple": "o = Open(i, 1); t = (o, 2); o.x = 7; s += t[0].x + t[1]",
    "in an attribute": "o = Pair(Open(i, 1), 2); u = o.x; u.x = 3; s += o.x.x + o.y",
    "carried": "o = Open(i, s) if i == 0 else o; o.x += 1; s += o.x",
    "carried by another": "o = Pair(v, i) if i % 3 == 0 else o; s += o.y",
    "one of two": "o = Open(i) if i % 2 else Pair(i, 2); s += o.x",
    "kept": "last = Open(i, s)",
    "two names": "last = v = Open(i, s)",
    "empty": "o = Empty(); o.x = i; o.y = o.x + 1; s += o.y",
    "another order": "o = Empty(); o.y = i; o.x = 2; last = o",
    "leaves": "v = v + w; s += 2**62 if i == 17 else 0; s -= 2**62 if i == 17 else 0",
    "leaves with it": "o = Open(i, s); o.y += 1; s = s + o.y if i != 19 else (s + 2**62) - 2**62",
    "raises": "o = Open(i, 0.5); s += 1 / (i - 27)",
    "raises within": "o = Open(i, 0.5) / (27 - i); s += o.x",
}
HEAD = "def f(v, w, n):\n    s = 0\n    last = None\n    for i in range(n):\n        {body}\n    return s, last, v, w\n"


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("body", LOOPS)
def test_loops(body: str, cls: str) -> None:
    found = Sides(VECTORS + HEAD.format(body=LOOPS[body]))
    for values in ("1.5, 2.5", "1, 2.5", "0.25, 1", "True, 2**70"):
        found.do(f"v, w = {cls}({values}), {cls}(0.5, -1.25)")
        found.times(6, "f(v, w, 40)")
    assert found.entries, minijit.explain(found.function)
    found("f(v, v, 40)")
    found.do("v = Pair(1, 2)")
    found.times(3, "f(v, w, 40)")


CALLS = {
    "makes": "return Open(v.x, w.y)",
    "makes with a default": "return Open(k)",
    "keywords": "return Open(y=k, x=2)",
    "adds": "return v + w",
    "adds three": "return v + w + v",
    "expression": "return (v + w * k - w) / 2.0",
    "mixed": "return k * v + w * 2",
    "dot": "return v * w",
    "compares": "return v < w, v == w, v != w",
    "moves": "return v.moved(k)",
    "nested": "return Pair(v + w, k)",
    "twice": "o = v + w; return o, o, (o, o.x)",
    "given": "return Pair(v, w)",
    "new attribute": "o = Open(1, k); o.more = 5; return o",
    "order": "o = Empty(); o.y = k; o.x = v.x; return o",
    "adds in place": "v += w; return v",
    "stores it": "v.x = k; return Open(v.x, v.x)",
    "text": "return Pair('text', k)",
    "raises": "return (v + w) / (k - k)",
    "too many": "return Open(1, 2, 3)",
    "no attribute": "return Open(1).more",
    "returns something": "return Odd()",
    "no such operator": "return v @ w",
    "no such order": "return Pair(1, 2) < Pair(1, 2)",
    "with a number": "return v + 1",
    "by its class": "return type(v)(k)",
}
ODD = "class Odd:\n    def __init__(self):\n        return 1\n"


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("body", CALLS)
def test_calls(body: str, cls: str) -> None:
    found = Sides(f"{VECTORS}{ODD}def f(v, w, k=1.5):\n    {CALLS[body]}\n")
    for values in ("1.5, 2.5", "1, 2.5", "0.25, 1", "True, 2**70", "'text', None"):
        found.do(f"v, w = {cls}({values}), {cls}(0.5, -1.25)")
        found.times(8, "f(v, w)")
        found.times(4, "f(v, w, 3)")
    found.times(4, "f(v, v)")


ODDITIES = """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return True
    def __gt__(self, other): return 'any'
    def __lt__(self, other): return 'any'
    def __getattr__(self, name): raise AttributeError(name)
ANY = Any()
class Plain:
    def __init__(self, x): self.x = x
class Own(Plain):
    def __eq__(self, other): return False
    def __lt__(self, other): return 'own'
    def __gt__(self, other): return 'own'
class Number(int):
    __slots__ = ()
    def __radd__(self, other): return 'number'
    def __eq__(self, other): return 'number'
    def __gt__(self, other): return 'number'
class Counts:
    def __init__(self, x):
        object.__setattr__(self, 'x', x)
    def __setattr__(self, name, value):
        object.__setattr__(self, 'x', self.x + 1)
    @property
    def y(self): return self.x
    @y.setter
    def y(self, value): value + 1
def f(p, u, n):
    {}
"""


@pytest.mark.parametrize(
    "body",
    [
        "return Plain(p.x) == u, u == Plain(p.x), Plain(1) != u",
        "return Own(p.x) < u, u < Own(p.x), u == Own(1), Own(1) > u",
        "return Plain(p.x) == ANY, ANY == Plain(p.x), p == ANY, ANY == p, p != ANY",
        "return p == None, None == p, p == 'a', 'a' == p, p == (1, p.x), (1,) != p, range(3) == p, 1.5 == p",
        "return 1.5 + n, 1 + n, 1.5 == n, 2 == n, 1.5 < n, n > 1, n == 1",
        "u = Counts(1); u.y = 3; return u.x",
    ],
)
def test_who_is_asked(body: str) -> None:
    """Operands of classes that nobody knows, or that are derived from numbers; stores that a class has its own way of."""
    found = Sides(ODDITIES.format(body))
    found.do("p, u, n = Plain(1.5), Any(), Number(2)")
    found.times(30, "f(p, u, n)")


def test_a_class_with_its_own_way_of_writing_is_asked_before_a_property() -> None:
    found = Sides(ODDITIES.format("p.y = n\n    return p.x"))
    found.do("p = Counts(1)")
    found.times(30, "f(p, 0, 2.5)")


def test_the_order_of_attributes() -> None:
    found = Sides(
        "class Any: pass\ndef f(n):\n    o = Any()\n    if n % 2:\n        o.x = n\n        o.y = 2\n    else:\n"
        "        o.y = n\n        o.x = 3\n    return o\n"
    )
    for n in range(20):
        found.do(f"names = list(vars(f({n})))")
        assert found.scopes[0]["names"] == found.scopes[1]["names"] == (["x", "y"] if n % 2 else ["y", "x"])
    assert found.entries


def test_what_is_made_is_like_any_other() -> None:
    """The collector knows it; weak references, dicts, new attributes and pickles of it are as of others."""
    found = Sides("class Any:\n    def __init__(self, x):\n        self.x = x\ndef f(x):\n    return Any(x)\n")
    found.times(20, "f(2.5)")
    assert found.entries
    for scope in found.scopes:
        thing = scope["f"](3)
        assert gc.is_tracked(thing)
        assert sys.getrefcount(thing) == 2
        reference = weakref.ref(thing)
        thing.more = 4
        assert vars(thing) == {"x": 3, "more": 4}
        thing.me = thing
        del thing
        gc.collect()
        assert reference() is None


CHANGES = {
    "constructor": "Open.__init__ = lambda self, x, y=9: setattr(self, 'x', 1) or setattr(self, 'y', x)",
    "operator": "Open.__add__ = lambda self, other: Open(7, 8)",
    "operator of a base": "Base.__sub__ = lambda self, other: 'base'",
    "operator is gone": "del Open.__add__",
    "class": "Open = Pair",
    "new": "Open.__new__ = lambda cls, *args: object.__new__(Pair)",
    "finaliser": "Open.__del__ = lambda self: None",
    "descriptor": "Open.x = property(lambda self: 5, lambda self, value: None)",
    "setattr": "Open.__setattr__ = lambda self, name, value: object.__setattr__(self, name, 3)",
    "slots": "Open.__slots__ = ('x',)",
    "bases": "Open.__bases__ = (Other,)",
    "comparison": "Open.__eq__ = lambda self, other: 'equal'",
    "truth": "Open.__bool__ = lambda self: False",
    "scale": "Open.scale = 11",
}
CHANGED = """
class Base:
    def __sub__(self, other):
        return Open(self.x - other.x, 1)
class Other:
    def __sub__(self, other):
        return 'other'
class Pair:
    def __init__(self, x, y=0):
        self.x, self.y = y, x
    def __add__(self, other):
        return Pair(self.x, other.y)
class Open(Base):
    scale = 2
    def __init__(self, x, y=1):
        self.x = x
        self.y = y
    def __add__(self, other):
        return Open(self.x + other.x, self.y + other.y)
def f(v, w):
    u = v + w
    t = (u - v) if isinstance(u, Open) else u
    return u, t, Open(1) == u, 3 if Open(2) else 4, type(u).scale if isinstance(u, Open) else 0, Open(3)
"""


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_by_the_next_operation(change: str) -> None:
    found = Sides(CHANGED)
    found.do("v, w = Open(1.5, 2), Open(2.5, 3)")
    found.times(30, "f(v, w)")
    assert found.entries, minijit.explain(found.function)
    found.do(CHANGES[change])
    found.times(30, "f(v, w)")


def test_a_change_of_the_class_kills() -> None:
    found = Sides(CHANGED)
    found.do("v, w = Open(1.5, 2), Open(2.5, 3)")
    found.times(30, "f(v, w)")
    seen: list[Event] = []
    end = minijit.subscribe(seen.append)
    found.do("Pair.scale = 3")
    found("f(v, w)")
    assert not seen
    found.do("Open.scale = 3")
    found("f(v, w)")
    end()
    assert {event.reason for event in seen if isinstance(event, Killed)} == {KillReason.CLASS}


WATCHES = """
import sys, weakref
keep = []
def plain(p, told):
    pass
def weak(p, told):
    keep.append(weakref.ref(p, lambda _: told.append(sys._getframe(1).f_locals['i'])))
class Weakling:
    def __del__(self):
        keep.append(sys._getframe(1).f_locals['i'])
def held(p, told):
    p.extra = Weakling()
"""


def test_the_end_of_an_object_that_is_overwritten() -> None:
    """Where somebody could notice it, it comes when it comes."""
    source = (
        "class Any:\n    def __init__(self, x):\n        self.x = x\n"
        "    def __add__(self, other):\n        return Any(self.x + other.x)\n"
        "def f(n, watch):\n    p, q = Any(0), Any(1)\n    told = []\n    watch(p, told)\n    s = 0\n"
        "    for i in range(n):\n        p = p + q\n        s = i\n    return p.x, s, told\n"
    )
    found = Sides(source)
    found.do(WATCHES)
    for watch in ("plain", "weak", "held"):
        found.times(12, f"f(50, {watch})")
        found.do("told = [each if isinstance(each, int) else 'ref' for each in keep]")
        assert found.scopes[0]["told"] == found.scopes[1]["told"]


@isolated
def test_nothing_leaks() -> None:
    found = Sides(VECTORS + HEAD.format(body="v = v + w; last = Pair(v, i); o = Open(i, s); s += o.x * 0.5 + abs(v)"))
    with enabled():
        found.do("v, w = Open(1.5, 2.5), Open(0.5, -1.25)")
        found.times(20, "f(v, w, 40)")
        assert found.entries
        counts = []
        for _ in range(3):
            for _ in range(2000):
                found.scopes[1]["f"](found.scopes[1]["v"], found.scopes[1]["w"], 40)
            gc.collect()
            counts.append(sys.getallocatedblocks())
        assert counts[2] - counts[1] < 100, counts


def test_the_policy_of_users() -> None:
    found = Sides(VECTORS + HEAD.format(body="v = v + w * 0.5"), policy=minijit.Policy(LOW))
    found.do("v, w = Open(1.5, 2.5), Open(0.5, -1.25)")
    found.times(30, "f(v, w, 400)")
    assert found.entries, minijit.explain(found.function)
