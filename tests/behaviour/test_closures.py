"""Variables of the function around, and `super()`.

In: programs, executed twice: in one namespace the functions under test are compiled, in the other nothing is. Out: the
same outcome of each call, and afterwards the same attributes and lists.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sides import Sides

import minijit
from minijit.build import closures
from minijit.cpython import abi

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import RunPython


pytestmark = pytest.mark.usefixtures("switched_on")


def test_where_cells_are() -> None:
    """The builder's offsets are those that the self-check looks at."""
    assert closures.CONTENT.value.offset == abi.CELL.ob_ref  # type: ignore[attr-defined]
    assert closures.CLOSURE.value.offset == abi.FUNCTION.func_closure  # type: ignore[attr-defined]


MAKERS = {
    "reads": "return a * x + b",
    "counts": "nonlocal n\n  n += 1\n  return a * x + n",
    "writes a float": "nonlocal a\n  a = a + x * 0.5\n  return a",
    "writes twice": "nonlocal n\n  n += 1\n  n = n * 2 % 1000\n  return n + x",
    "writes before it raises": "nonlocal n\n  n += 1\n  return n + 1 / (n % 7)",
    "loops": "nonlocal n\n  for i in range(20):\n   n += i\n   if n > 10**6: n -= 10**6\n  return n * a",
    "reads in a loop": "s = 0\n  for i in range(20):\n   s += a * i + b\n  return s + x",
    "an object": "o.x = o.x + a\n  return o.x * x",
    "a list": "xs[0] = xs[0] + a\n  return xs[0] + xs[1] * x",
    "a function": "return double(x) + double(a)",
    "overflows": "nonlocal n\n  n = n * 3 + 1\n  return n",
    "another type": "nonlocal n\n  n = n + (0.5 if n > 50 else 1)\n  return n",
    "nothing there": "return late + x",
    "deleted": "nonlocal n\n  k = n\n  del n\n  n = k + 1\n  return n",
}
PRELUDE = """
class O:
    def __init__(self, x): self.x = x
def double(x):
    return x + x
"""


def a_maker(body: str) -> Sides:
    return Sides(
        f"{PRELUDE}def make(a, b, n, o, xs):\n def f(x):\n  {body}\n"
        " def look(): return a, b, n\n def change(*new):\n  nonlocal a, b, n\n  a, b, n = new\n"
        " if a == 77: late = 1\n return f, look, change\n"
        "f, look, change = make(2.0, 3.0, 0, O(1.5), [0.5, 2.5])\n"
    )


@pytest.mark.parametrize("body", MAKERS)
def test_variables_of_the_function_around(body: str) -> None:
    found = a_maker(MAKERS[body])
    for change in (
        "pass",
        "change(5, -1, 7)",
        "change(2.5, 1.5, 2.5)",
        "change('a', 'b', None)",
        "change(2.0, 3.0, 1)",
    ):
        found.do(f"try: {change}\nexcept Exception: pass")
        for k in range(30):
            found(f"f({k} * 0.5)")
            found("look()")
    assert found.entries or body in ("nothing there", "deleted"), minijit.explain(found.function)


LOOPS = {
    "a closure that is called": "g = make(2.0)[0]\n for i in range(n):\n  s += g(i)",
    "a new one each time": "for i in range(n):\n  s += make(i)[0](2)",
    "one of several": "gs = [make(k)[0] for k in range(3)]\n for i in range(n):\n  g = gs[i % 3]; s += g(i)",
    "one that counts": "g, c = make(1.0)\n for i in range(n):\n  g(i); s += c()",
    "its own": "k = 0.5\n def g(x): return x * k\n for i in range(n):\n  s += g(i); k = k + 0.25",
    "its own, written within": "k = 0\n def g(x):\n  nonlocal k\n  k += x\n  return k\n for i in range(n):\n  s += g(i) + k",
    "a lambda": "k = 3\n g = lambda x: x * k + s\n for i in range(n):\n  s = g(i) % 1000",
    "a default and a variable": "def g(x, y=2): return x * y + n\n for i in range(n):\n  s += g(i) + g(i, 3)",
}


@pytest.mark.parametrize("body", LOOPS)
def test_loops_with_closures(body: str) -> None:
    found = Sides(
        "def make(k):\n n = 0\n def g(x):\n  nonlocal n\n  n += 1\n  return x * k + n\n"
        f" def c(): return n\n return g, c\ndef f(n):\n s = 0\n {LOOPS[body]}\n return s\n"
    )
    found.times(6, "f(60)")
    found.times(3, "f(7)")


MADE_AGAIN = """
import minijit
def make(k):
    @minijit.jit
    def g(x):
        return x * k + 1
    return g
assert all(make(k)(2) == 2 * k + 1 for k in range(300))
functions = [make(k) for k in range(50)]
assert [g(3) for g in functions] == [3 * k + 1 for k in range(50)]
print(minijit.stats().compilations)
"""


def test_a_closure_that_is_made_again_and_again_is_compiled_once(run_python: RunPython, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(MADE_AGAIN)
    done = run_python(program)
    assert done.stdout == "1\n", done.stderr


def test_what_is_in_a_cell_is_looked_at() -> None:
    """Whoever writes it: `__class__` is in a cell as well."""
    found = Sides(
        "class A:\n def area(self): return self.x\nclass B(A):\n def __init__(self, x): self.x = x\n"
        " def area(self): return super().area() + 1\nclass C(A):\n def area(self): return 1000\nclass D(B, C): pass\n"
        "def f(b):\n s = 0\n for i in range(20):\n  s += b.area()\n return s\n"
    )
    found.do("b = B(1.5); d = D(2.5)")
    found.times(20, "f(b)")
    assert found.entries
    found.times(20, "f(d)")
    found.do("A.area = lambda self: -self.x")
    found.times(5, "f(b)")
    found.do("B.area.__closure__[0].cell_contents = A")
    found.times(5, "f(b)")
    found.do("B.area.__closure__[0].cell_contents = B; B.__bases__ = (C,)")
    found.times(5, "f(b)")


HIERARCHY = """
class Base:
    def __init__(self, x):
        super().__init__()
        self.x = x
    def area(self):
        return self.x * 2
    def moved(self, d):
        self.x = self.x + d
        return self.x
    @property
    def half(self):
        return self.x / 2
class Middle(Base):
    def __init__(self, x, y=1.5):
        super().__init__(x)
        self.y = y
    def area(self):
        return super().area() + self.y
    def moved(self, d):
        self.y += d
        return super().moved(d * 0.5)
    @property
    def half(self):
        return super().half + self.y
class Mixin:
    def area(self):
        return super().area() * 3
class Top(Mixin, Middle):
    def __init__(self, x):
        super().__init__(x, y=x * 0.5)
        self.z = 0
    def area(self):
        self.z += 1
        return super().area() + self.z
    def moved(self, d):
        return super(Middle, self).moved(d) + Base.area(self)
"""
USES = {
    "methods": "s += o.area()",
    "methods that write": "s += o.moved(0.25)",
    "properties": "s += o.half",
    "made": "t = type(o)(i); s += t.area() + t.moved(1.0)",
    "made and kept": "t = type(o)(i * 0.5); s += t.area()\n if s > 10**6: s = t",
}


@pytest.mark.parametrize("cls", ["Base", "Middle", "Top"])
@pytest.mark.parametrize("use", USES)
def test_super(use: str, cls: str) -> None:
    found = Sides(f"{HIERARCHY}def f(o, n):\n s = 0\n for i in range(n):\n  {USES[use]}\n return s\n")
    for value in ("1.5", "3", "2**62", "True"):
        found.do(f"o = {cls}({value}); os = [{cls}({value}), {cls}(2.5)]")
        found.times(12, "f(o, 30)")
    assert found.entries, minijit.explain(found.function)


@pytest.mark.parametrize("cls", ["Base", "Middle", "Top"])
def test_super_of_what_is_met(cls: str) -> None:
    found = Sides(f"{HIERARCHY}def f(os):\n s = 0\n for o in os:\n  s += o.area() + o.moved(0.5) + o.half\n return s\n")
    found.do(f"os = [{cls}(k * 0.5) for k in range(20)]")
    found.times(30, "f(os)")
    assert found.entries
    found.do(f"os.append({cls}(3)); os.append(Middle(2.5, 1))")
    found.times(10, "f(os)")


def test_counts_of_cells() -> None:
    """No reference of a cell, or of what it holds, is kept or given back too often."""
    scope: dict[str, Any] = {}
    exec(
        "def make(a, xs):\n n = 0.5\n def f(x):\n  nonlocal n\n  n = n + a * x\n  xs[0] = n\n  return n if x else xs\n"
        " return f\n",
        scope,
    )
    xs = [1.5, object()]
    f = minijit.jit(scope["make"](2.5, xs))
    for _ in range(300):
        f(0.5)
        f(0.0)
    assert minijit.stats(f).entries
    gc.collect()
    counts = [sys.getrefcount(each) for each in (*f.__closure__, xs, xs[1])]
    before = sys.getallocatedblocks()
    for _ in range(10_000):
        f(0.5)
        f(0.0)
    assert sys.getallocatedblocks() - before < 200
    assert [sys.getrefcount(each) for each in (*f.__closure__, xs, xs[1])] == counts
