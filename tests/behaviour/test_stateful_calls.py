"""C functions that give something else each time: generators of random numbers, clocks. Each call is done once.

In: functions that draw, with minijit and without, from generators in the same state. Out: the same results, and the same
state afterwards.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from sides import Sides

import minijit
from minijit.build.calls import stateful
from minijit.ir.kinds import Kind
from minijit.ir.region import Const

pytestmark = pytest.mark.usefixtures("switched_on")

DRAWS = {
    "in a loop": "for i in range(n):\n  s += random.random()",
    "by its own name": "for i in range(n):\n  s += draw() * i",
    "in a condition": "for i in range(n):\n  if random.random() < 0.5: s += i",
    "bits": "for i in range(n):\n  s += random.getrandbits(7) - random.getrandbits(62) % 3",
    "in inlined calls": "for i in range(n):\n  s += uniform(-1.0, 1.0)",
    "in nested calls": "for i in range(n):\n  s += both(uniform(0.0, x), i)",
    "in a recursion": "for i in range(n):\n  s += deep(i % 5)",
    "of an object's": "for i in range(n):\n  s += own.random() + own.getrandbits(3)",
    "before it is left": "for i in range(n):\n  s += random.random() + (1 if i < 25 else x)",
    "and then an exception": "for i in range(n):\n  s += random.random() + 1 // (i - 27)",
    "too many bits": "for i in range(n):\n  s += random.getrandbits(64) % 5",
    "bits as they come": "for i in range(n):\n  s += random.getrandbits(i % 9 + 1)",
}
SOURCE = """
import random
draw, own = random.random, random.Random(5)
class Loaded(random.Random):
    def random(self): return 0.25
loaded = Loaded(3)
def uniform(a, b):
    return a + (b - a) * random.random()
def both(x, i):
    return uniform(x, 1.0) if i % 2 else x + random.random()
def deep(n):
    return random.random() if n < 1 else deep(n - 1) - random.random()
def f(n, x):
    s = 0.0
    {}
    return s
"""


@pytest.mark.parametrize("name", DRAWS)
def test_each_draw_is_done_once(name: str) -> None:
    found = Sides(SOURCE.format(DRAWS[name].replace("\n", "\n   ")), "f", "uniform", "both", "deep")
    states: list[Any] = []
    for k in range(40):
        x = (0.5, 3, 10**30, "x")[0 if k < 25 else k % 4]
        for scope in found.scopes:
            random.seed(k)
            scope["own"].seed(k)
            scope["draw"] = random.random
            try:
                states.append(scope["f"](30, x))
            except (TypeError, ZeroDivisionError) as error:
                states.append(str(error))
            states.append((random.getstate(), scope["own"].getstate()))
        assert states[:2] == states[2:], (name, k)
        states.clear()
    assert found.entries or name == "bits as they come"


def test_a_method_that_is_not_of_c() -> None:
    source = SOURCE.format("for i in range(n):\n     s += loaded.random()")
    found = Sides(source)
    found.times(40, "f(30, 0.5)")


def test_clocks() -> None:
    scope: dict[str, Any] = {}
    exec(
        "import time\ndef f(n):\n first = time.perf_counter()\n for i in range(n):\n  last = time.perf_counter()\n"
        "  if last < first: return False\n  first = last\n return time.time_ns() > 10**18\n",
        scope,
    )
    f = minijit.jit(scope["f"])
    assert all(f(100) for _ in range(60))
    assert minijit.stats(f).entries


def test_what_is_known() -> None:
    class Loaded(random.Random):
        def random(self) -> float:
            return 0.25

    assert stateful(random.random, []) is Kind.FLOAT
    assert stateful(random.getrandbits, [Const(62)]) is Kind.INT
    assert stateful(time.monotonic_ns, []) is Kind.INT
    for function, *given in (
        (random.getrandbits, 63),
        (Loaded().random,),
        (random.seed, 1),
        (time.sleep, 0),
        (len, ()),
    ):
        assert stateful(function, list(map(Const, given))) is None
