"""Recursion: RecursionError comes at the same depth, and deep recursion does not hurt the C stack."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from isolated import isolated
from twin import LOW, Bridging, Patient, compiled_from, enabled, exits_taken

import minijit
from minijit.cpython import frames
from minijit.runtime.policy import Wait

FIB = "def f(n):\n    if n < 2:\n        return n\n    return f(n - 1) + f(n - 2)\n"
HOT_LOOP = """
def f(n):
    s = 0
    for i in range(12):
        s += i * n
    if n > 0:
        s += f(n - 1)
    return s
"""
LOOP_THAT_RECURSES = """
def f(n):
    s = 1
    for i in range(n):
        s += i
        if i % 3 == 2:
            s += f(i // 2)
    return s
"""
DEEP = """
def f(n):
    depth[0] += 1
    s = 0
    for i in range(4):
        s += i
    f(n + 1)
    return s
"""
LEAF = """
def leaf(n):
    s = 0
    for i in range(4):
        s += i
    return s
def f(n):
    depth[0] += 1
    leaf(n)
    f(n + 1)
"""
MUTUAL = """
def g(n):
    depth[0] += 1
    if n % 2:
        return f(n + 1)
    s = n * 2
    return f(n + 1)
def f(n):
    depth[0] += 1
    t = n + 1
    return g(t)
"""
SHALLOW = """
def f(n):
    s = 0
    for i in range(4):
        s += i
    if n > 0:
        s += f(n - 1)
    return s
"""
OPTION = """
def f(n, *, step=1):
    depth[0] += 1
    s = n * 3
    return f(n=n + step, step=step) + s
"""


ONWARD = """
from functools import reduce
def g(a, b):
    return f(b)
def f(n):
    s = 0
    for i in range(4):
        s += i
    if n == 0:
        return s
    depth[0] += 1
    ONWARD
"""
WAYS = {
    "itself": "return f(n - 1)",
    "by keyword": "return f(n=n - 1)",
    "unpacked": "return f(*(n - 1,))",
    "unpacked keywords": "return f(**{'n': n - 1})",
    "map": "return list(map(f, [n - 1]))[0]",
    "sorted": "return sorted([n - 1], key=f)[0]",
    "max": "return max([n - 1], key=f)",
    "reduce": "return reduce(g, [n, n - 1])",
    "sorted and map": "return sorted([n - 1], key=f)[0] if n & 1 else list(map(f, [n - 1]))[0]",
    "all of them": """
    if n % 5 == 0:
        return sorted([n - 1], key=f)[0]
    if n % 5 == 1:
        return list(map(f, [n - 1]))[0]
    if n % 5 == 2:
        return reduce(g, [n, n - 1])
    if n % 5 == 3:
        return max([n - 1], key=f)
    return f(n - 1)
""".strip(),
}
"""How a function that is entered natively comes to call itself: from the interpreter's loop, or from C code."""
ATTRIBUTE = """
class Node:
    def __init__(self, n):
        object.__setattr__(self, "n", n)
def f(SELF):
    s = 0
    for i in range(4):
        s += i
    n = own(self, "n")
    if n == 0:
        return s
    depth[0] += 1
    m = Node(n - 1)
    return HOW
own = object.__getattribute__
Node.NAME = f
"""
HOOKS = {
    "value": ("self", "property(f)", "m.value"),
    "__getitem__": ("self, k", "f", "m[0]"),
    "method": ("self, k", "f", "m.method(0)"),
    "__getattribute__": ("self, k", "f", "m.anything"),
}
"""Whatever else the interpreter's loop runs without taking C stack: what a class has, and how that is come by."""
LOCALS = 400
WIDE = "\n".join(
    (
        "def f(n, what=1):",
        *(f"    a{k} = n * {k + 3}.5" for k in range(LOCALS)),
        "    if n == 0:",
        "        return 0",
        f"    return f(n - 1, what) + {' + '.join(f'a{k}' for k in range(LOCALS))}",
    )
)
"""A function with many numbers to hand over where it is left."""


class Sparing(Patient):
    """Compiles for the first types only."""

    def after_miss(self, miss: Any) -> Wait:
        return Wait(10 * miss.misses)


def decorated(source: str, policy: Any) -> Any:
    """The program's functions under minijit."""
    f = compiled_from(source, depth=[0])
    for name in ("g", "leaf", "f"):
        if name in f.__globals__:
            minijit.jit(policy=policy)(f.__globals__[name])
    return f


def depth_reached(f: Any, limit: int, *start: object) -> tuple[int, str, int]:
    """How deep it gets from the first arguments, the message, and the length of the traceback."""
    depth = f.__globals__["depth"]
    depth[0] = 0
    sys.setrecursionlimit(limit)
    try:
        f(*start or (0,))
    except RecursionError as error:
        length = 0
        tb = error.__traceback__
        while tb is not None:
            length += 1
            tb = tb.tb_next
        return depth[0], str(error), length
    finally:
        sys.setrecursionlimit(10_000)
    raise AssertionError("it came back")


@isolated
def test_recursive_functions() -> None:
    """Right results, natively entered at many depths."""
    with enabled():
        for source, arguments in ((FIB, range(18)), (HOT_LOOP, range(60)), (LOOP_THAT_RECURSES, range(40))):
            for policy in (Patient(LOW), Bridging(LOW), None):
                plain, f = compiled_from(source), decorated(source, policy)
                for n in arguments:
                    assert f(n) == plain(n)
                    assert f(n) == plain(n)
                if policy is not None:
                    assert minijit.stats(f).entries, minijit.explain(f)


@isolated
def test_recursion_errors_come_at_the_same_depth() -> None:
    """Python to Python, through a compiled leaf, in mutual recursion, with keywords."""
    wrong = []
    with enabled():
        for name, source in {"deep": DEEP, "leaf": LEAF, "mutual": MUTUAL, "option": OPTION}.items():
            plain, f = compiled_from(source, depth=[0]), decorated(source, Patient(LOW))
            for limit in (200, 200, 1000, 201):
                wanted, found = depth_reached(plain, limit), depth_reached(f, limit)
                if wanted != found:
                    wrong.append((name, limit, wanted, found))
            # What calls before it does anything else is not worth a region.
            assert minijit.stats(f).entries or name != "deep", name
    assert not wrong, wrong


@isolated
def test_recursion_through_c_code() -> None:
    """Whoever calls the function, and whichever of CPython's two limits ends it: at the same depth, and without a crash
    where the program allows any depth of Python calls."""
    wrong = []
    with enabled():
        for name, way in WAYS.items():
            source = ONWARD.replace("ONWARD", way)
            plain, f = compiled_from(source, depth=[0]), decorated(source, Patient(LOW))
            for n in range(60):
                assert f(n % 4) == plain(n % 4)
            for limit in (200, 1000, 2900, 50_000, 200):
                entries = minijit.stats(f).entries
                wanted, found = depth_reached(plain, limit, 10**6), depth_reached(f, limit, 10**6)
                # Where machine code calls machine code (`g` does), that is no entry.
                least = 1 if "return f(" in way or "reduce" in way else 50
                assert minijit.stats(f).entries >= entries + least, (name, minijit.explain(f))
                # `reduce` takes no more C stack than an attribute that calls (see README), and `g` is compiled.
                if wanted != found and not ("reduce" in way and wanted[0] < found[0]):
                    wrong.append((name, limit, wanted, found))
    assert not wrong, wrong


@isolated
def test_recursion_through_attributes() -> None:
    """Likewise where it is not a call that calls."""
    with enabled():
        for name, (parameters, value, how) in HOOKS.items():
            source = ATTRIBUTE.replace("HOW", how).replace("NAME = f", f"{name} = {value}").replace("SELF", parameters)
            rest = (0,) * parameters.count(",")
            plain, f = compiled_from(source, depth=[0]), decorated(source, Patient(LOW))
            for n in range(60):
                f(f.__globals__["Node"](n % 4), *rest)
            for limit in (200, 1000, 2900):
                entries = minijit.stats(f).entries
                nodes = [g.__globals__["Node"](10**6) for g in (plain, f)]
                assert depth_reached(plain, limit, nodes[0], *rest) == depth_reached(f, limit, nodes[1], *rest), (
                    name,
                    limit,
                )
                assert minijit.stats(f).entries > entries + 50, (name, minijit.explain(f))


@isolated
def test_recursion_with_many_variables() -> None:
    """What is handed over where machine code is left takes no C stack for as long as the call lasts."""
    with enabled():
        plain, f = compiled_from(WIDE), decorated(WIDE, Patient(LOW))
        for n in range(40):
            f(n % 4)
        sys.setrecursionlimit(3_500)
        entries = minijit.stats(f).entries
        assert f(2_900) == plain(2_900)
        assert minijit.stats(f).entries > entries
        # With an argument that is no number each call is the interpreter's.
        for n in range(40):
            f(n % 4, "text")
        entries = minijit.stats(f).entries
        assert f(2_900, "text") == plain(2_900, "text")
        assert minijit.stats(f).entries > entries + 2_000


@isolated
def test_deep_recursion() -> None:
    """15,000 deep, in functions entered natively; afterwards they are entered natively again."""
    with enabled():
        for policy in (Patient(LOW), None):
            f = decorated(SHALLOW, policy)
            for n in range(40):
                assert f(n) == 6 * (n + 1)
            sys.setrecursionlimit(15_100)
            for _ in range(5):
                entries = minijit.stats(f).entries
                assert f(15_000) == 6 * 15_001
                assert minijit.stats(f).entries > entries
                assert minijit.is_compiled(f)
        assert exits_taken(f)


@isolated
def test_a_deep_recursion_is_left_to_the_interpreter_once() -> None:
    """Not again and again on the way down: it asks for the true depth."""
    from minijit.driver.decisions import Decisions

    parked: list[object] = []
    park = Decisions.park
    Decisions.park = lambda self, state: (parked.append(state), park(self, state))[1]  # type: ignore[method-assign]
    with enabled():
        # An argument with which machine code is not called by machine code.
        f = decorated(SHALLOW.replace("f(n", "f(what, n"), Patient(LOW))
        for n in range(40):
            f(10**30, n)
        sys.setrecursionlimit(6_000)
        f(10**30, 4_000)
    assert len(parked) == 1


@isolated
def test_deep_recursion_with_types_that_are_not_compiled() -> None:
    """Calls that go on to the interpreter from where no version takes them."""
    source = "def f(n, x):\n    s = x * 2\n    if n == 0:\n        return x\n    return f(n - 1, x)\n"
    with enabled():
        f = decorated(source, Sparing(LOW))
        for n in range(40):
            f(n, 1)
        sys.setrecursionlimit(15_100)
        for _ in range(3):
            entries = minijit.stats(f).entries
            assert f(15_000, "text") == "text"
            assert minijit.stats(f).entries == entries
            for n in range(40):
                assert f(n, 1) == 1
            assert minijit.stats(f).entries > entries


@isolated
def test_recursion_as_deep_as_compiled_code_may_go() -> None:
    """3,000 deep, in functions entered natively."""
    with enabled():
        for policy in (Patient(LOW), None):
            f = decorated(SHALLOW, policy)
            for n in range(40):
                assert f(n) == 6 * (n + 1)
            sys.setrecursionlimit(3_500)
            for _ in range(5):
                assert f(2_900) == 6 * 2_901


@isolated
def test_deep_recursion_in_a_thread() -> None:
    """Where the C stack is another one."""
    import threading

    source = "def f(n):\n    s = n * 2\n    if n > 0:\n        s += f(n - 1)\n    return s\n"
    with enabled():
        f = decorated(source, Patient(LOW))
        for n in range(40):
            f(n)
        sys.setrecursionlimit(3000)
        found: list[int] = []
        for _ in range(3):
            thread = threading.Thread(target=lambda: found.append(f(2500)))
            thread.start()
            thread.join()
        assert found == [2500 * 2501] * 3


@isolated
def test_the_depth_is_given_back() -> None:
    """After errors at any depth the whole depth is there again."""
    source = "def f(n, bad):\n    s = n * 2\n    if n == 0:\n        return 1 // bad\n    return f(n - 1, bad) + s\n"
    with enabled():
        f = decorated(source, Patient(LOW))
        for k in range(200):
            for bad in (1, 0):
                try:
                    f(k, bad)
                except ZeroDivisionError:
                    assert not bad
        deep = decorated(DEEP, Patient(LOW))
        plain = compiled_from(DEEP, depth=[0])
        assert depth_reached(deep, 500) == depth_reached(plain, 500)
        for _ in range(3000):
            with contextlib.suppress(ZeroDivisionError):
                f(20, 0)
        assert depth_reached(deep, 500) == depth_reached(plain, 500)
        assert f(900, 1) == 900 * 901 + 1


@isolated
def test_the_recorded_frame_is_not_looked_for_at_each_call() -> None:
    """The search walks the whole stack: at each call of a deep recursion it would take time as the depth squared."""
    is_alive, looks = frames.is_alive, []

    def counted(*arguments: Any) -> bool:
        looks.append(arguments)
        return is_alive(*arguments)

    frames.is_alive = counted
    sys.setrecursionlimit(10**5)
    with enabled():
        f = minijit.jit(compiled_from("def f(n):\n    return f(n - 1) + 1 if n else 0\n"))
        assert f(5000) == 5000
        assert 1 < len(looks) < 100
        assert f(100) == 100


@isolated
def test_last_call_before_the_limit_is_a_compiled_one() -> None:
    """It needs no frame, and raises where the interpreter's frame would be one too many."""
    source = "def leaf(x):\n    return x + 1\ndef f(n):\n    return f(n - 1) if n else leaf(n)\n"
    plain = compiled_from(source)
    f = compiled_from(source)
    leaf = f.__globals__["leaf"]
    with enabled():
        minijit.jit(policy=Patient(LOW))(leaf)
        for x in range(20):
            leaf(x)
        assert minijit.stats(leaf).entries

        def ends(function: Any, n: int) -> bool:
            try:
                function(n)
            except RecursionError:
                return False
            return True

        limit = sys.getrecursionlimit()
        depths = range(limit - 60, limit)
        assert [ends(f, n) for n in depths] == [ends(plain, n) for n in depths]


@isolated
def test_frames_that_wait_take_no_recursion() -> None:
    """Of two methods that call each other, one by way of a builtin function: both are the interpreter's by then."""
    source = """
class N:
    def __init__(self, x, y=None): self.x = x; self.y = y
    def c(self, n):
        if self.y is None: return 1
        if n % 3 == 0: return max([self.y.d(n + 1)])
        return self.y.c(n + 1) + 1
    def d(self, n):
        if self.y is None: return 1
        if n % 7 == 0: str(n)
        return self.y.c(n + 1) + 1
def chain(n):
    found = None
    for k in range(n): found = N(k, found)
    return found
"""
    with enabled():
        scope: dict[str, Any] = {}
        exec(source, scope)
        for name in "cd":
            minijit.jit(getattr(scope["N"], name))
        short = scope["chain"](40)
        for _ in range(200):
            short.c(0)
        sys.setrecursionlimit(60_000)
        for length, wanted in ((15_000, 10_000), (30_000, 20_000)):
            assert scope["chain"](length).c(0) == wanted
