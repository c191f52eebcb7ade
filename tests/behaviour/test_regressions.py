"""Programs that once crashed or gave wrong answers, grouped by what went wrong. Each says what must hold."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import types
from typing import Any

import pytest
from isolated import isolated
from sides import Sides
from twin import LOW, Twins, check, compiled_from, enabled, plain_twin

import minijit
from minijit.cpython.hooks import PLAIN_VECTORCALL, vectorcall_of
from minijit.runtime.policy import Resume

TWO_LOOPS = """
def f(n, k, *rest):
    x = "s"
    s = 0
    t = None
    for turn in range(2):
        if turn == 1 and k:
            del x
        for i in range(n):
            if i > 20:
                t = (x, i)
            s += i
    return s, t
"""
SHARED_ITERATOR = """
def f(n, *rest):
    it = iter(range(n))
    s = 0
    for k in range(30):
        for i in it:
            s = s * 3 + i & 0xFFFFFF
            if i % 5 == 4:
                break
    return s, list(it)
"""
ADDS_GLOBAL = """
G = 1
def f(n):
    s = 0
    for i in range(n):
        s += G
    return s
"""
SPIN = """
def f(n, *rest):
    s = 0
    for i in range(n):
        s = (s * 31 + i) & 0xFFFFFFFF
    return s
"""


class Interrupted(Exception):
    """What a signal handler raises."""


@isolated
def test_slots_of_a_loop_entry() -> None:
    """A variable that holds an object may be empty at a later entry; an iterator may have two names."""
    with enabled():
        twins = Twins(compiled_from(TWO_LOOPS))
        twins.times(8, 50, 0)
        twins.times(8, 50, 1)
        twins = Twins(compiled_from(SHARED_ITERATOR))
        for n in (500, 100, 20, 1000, 130, 140, 150):
            twins.times(3, n)


@isolated
def test_arguments_are_bound_as_the_interpreter_does() -> None:
    """A positional-only parameter is not found by name; many parameters fit the buffer or are not compiled."""
    with enabled():
        twins = Twins(compiled_from("def f(a, /, b): return a - b"))
        twins.times(20, 5, 3)
        twins(b=1, a=2)
        twins(1, b=2)
        names = [f"a{i}" for i in range(300)]
        twins = Twins(compiled_from(f"def f({', '.join(names)}, *, k=1): return a0 + a299 + k"))
        for turn in range(30):
            twins(*range(300), k=turn)
            twins(**dict.fromkeys(names, turn))


@isolated
def test_functions_that_die_early() -> None:
    """Before anything ran; or in a cycle, whose finalisers still change and call what no weak reference finds."""
    with enabled():
        for _ in range(5):
            minijit.jit(compiled_from(SPIN))
        Twins(compiled_from(SPIN)).times(5, 100)
    results: list[object] = []
    source = (
        ADDS_GLOBAL
        + "class A:\n    def __del__(self):\n        global G\n        G = 5\n        results.append(f(10))\n"
    )
    with enabled():
        f = minijit.jit(compiled_from(source, results=results))
        for _ in range(20):
            f(10)
        assert minijit.is_compiled(f)
        f.__globals__["keep"] = f.__globals__["A"]()
        del f
        gc.collect()
    assert results == [50]


@isolated
def test_keys_that_equal_a_name() -> None:
    """A namespace's entry can be changed through a key that is no plain string."""

    class Same:
        def __hash__(self) -> int:
            return hash("G")

        def __eq__(self, other: object) -> bool:
            return other == "G"

    class Text(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __str__(self) -> str:
            return "other"

    with enabled():
        for key in (Same(), Text("G")):
            f: Any = minijit.jit(compiled_from(ADDS_GLOBAL))
            for value in (1, 5, 2.5, 7):
                f.__globals__[key] = value
                assert {f(10) for _ in range(20)} == {10 * value}


@isolated
def test_a_key_of_a_namespace_is_not_asked_by_the_compiler() -> None:
    """Where a name's hash meets that of a foreign key, each look-up runs code of the program's."""
    asked = []

    class Asked:
        def __init__(self, name: str) -> None:
            self.name = name

        def __hash__(self) -> int:
            return hash(self.name)

        def __eq__(self, other: object) -> bool:
            asked.append(other)
            return False

    source = "def f(n):\n    s = 0\n    for i in range(n):\n        s += {}\n    return s\n"
    module = types.ModuleType("module")
    module.__dict__[Asked("G")] = None  # type: ignore[index]
    module.G = 1  # type: ignore[attr-defined]
    scopes = {"G": {Asked("G"): None, "G": 1}, "m.G": {"m": module}}
    with enabled():
        for text, scope in scopes.items():
            counts = []
            for decorate in (lambda f: f, minijit.jit):
                function: Any = decorate(compiled_from(source.format(text)))
                function.__globals__.clear()
                function.__globals__.update(scope)
                asked.clear()
                assert [function(n) for n in (*range(20), 500)] == [*range(20), 500]
                counts.append(len(asked))
            assert counts[0] == counts[1] > 500, (text, counts)


@isolated
def test_dicts_of_other_sorts_as_namespaces() -> None:
    """What a subclass answers cannot be assumed, and what is no dict cannot be watched."""

    class Counting(dict[str, object]):
        def __getitem__(self, key: str) -> object:
            if key == "G":
                self["count"] = dict.get(self, "count", 0) + 1  # type: ignore[operator]
                return dict.__getitem__(self, "count")
            return dict.__getitem__(self, key)

    with enabled():
        functions = []
        for _ in range(2):
            scope = Counting()
            exec(ADDS_GLOBAL, scope)
            functions.append(dict.__getitem__(scope, "f"))
        plain, f = functions
        minijit.jit(f)
        assert [plain(50) for _ in range(20)] == [f(50) for _ in range(20)]
        for kind in (Counting, types.MappingProxyType):
            f = compiled_from(ADDS_GLOBAL, __builtins__=kind({"range": range}))
            Twins(f).times(20, 50)


@isolated
def test_the_driver_is_called_in_its_own_midst() -> None:
    """Policies and subscribers that change the function, release it or switch minijit off."""

    class Swapping(minijit.Policy):
        def compile_unseen(self, root: object) -> bool:
            f.__code__ = compiled_from("def f(x): return x * 100").__code__
            return False

    with enabled():
        f = minijit.jit(policy=Swapping(LOW))(compiled_from("def f(x): return x + 1"))
        results = [f(1) for _ in range(20)]
        assert results[-1] == 100
        assert set(results) == {2, 100}

    def meddle(event: object) -> None:
        action = next(actions)
        if minijit.is_enabled():
            action()

    g = compiled_from(SPIN)
    want = plain_twin(g)(100)
    minijit.enable(LOW)
    minijit.jit(g)
    actions = iter(20 * [lambda: minijit.release(g), minijit.disable, lambda: None])
    unsubscribe = minijit.subscribe(meddle)
    for _ in range(8):
        assert {g(100) for _ in range(20)} == {want}
        if not minijit.is_enabled():
            minijit.enable(LOW)
    unsubscribe()
    minijit.disable()


@isolated
def test_threads_change_what_other_threads_run() -> None:
    """Functions are released, recoded, and minijit switched off and on, while other threads compile and run."""
    sys.setswitchinterval(1e-5)
    f = compiled_from(
        "def f(x, n):\n    s = 0\n    for i in range(n):\n        for j in range(3): s = s + x\n    return s"
    )
    codes = [plain_twin(f).__code__ for _ in range(20)]
    stop = threading.Event()
    wrong: list[object] = []

    def work(x: Any) -> None:
        while not stop.is_set():
            got = f(x, 100)
            if got != 300 * x:
                wrong.append((x, got))

    minijit.enable(LOW)
    minijit.jit(f)
    threads = [threading.Thread(target=work, args=(x,)) for x in (1, 2.5)]
    for thread in threads:
        thread.start()
    end = time.perf_counter() + 4
    turn = 0
    while time.perf_counter() < end:
        turn += 1
        if turn % 3 == 0:
            minijit.release(f)
        elif turn % 3 == 1:
            f.__code__ = codes[turn % 20]
        else:
            minijit.disable()
            minijit.enable(LOW)
        time.sleep(0.002)
    stop.set()
    for thread in threads:
        thread.join()
    minijit.disable()
    assert not wrong, wrong[:3]


@isolated
def test_handlers_that_raise_while_something_is_compiled() -> None:
    """The exception reaches the program, and nothing of the compiler is torn apart."""

    def handler(number: int, frame: object) -> None:
        raise Interrupted

    signal.signal(signal.SIGALRM, handler)
    with enabled():
        for turn in range(25):
            source = SPIN.replace("31", str(turn)) + "    for k in range(9): s ^= k\n"
            f = minijit.jit(compiled_from(source))
            end = time.perf_counter() + 5
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001 * (turn + 1))
                while time.perf_counter() < end:
                    f(100)
            except Interrupted:
                continue
            raise AssertionError("the handler's exception got lost")


@pytest.mark.slow  # enables and disables in a storm of signals: too slow for a loaded machine
@isolated
def test_handlers_that_meddle() -> None:
    """A signal handler switches minijit off and on, and releases the function, while its loop runs."""
    f = compiled_from(SPIN)
    want = plain_twin(f)(1_000_000)
    minijit.enable(LOW)
    minijit.jit(f)
    turn = 0

    def handler(number: int, frame: object) -> None:
        nonlocal turn
        turn += 1
        if not minijit.is_enabled():
            minijit.enable(LOW)
        elif turn % 2:
            minijit.disable()
        else:
            minijit.release(f)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    assert {f(1_000_000) for _ in range(20)} == {want}
    signal.setitimer(signal.ITIMER_REAL, 0)
    minijit.disable()


@isolated
def test_collections_in_the_midst_of_everything() -> None:
    """Namespaces and functions die while the driver is at something else, and callbacks call compiled functions."""
    with enabled():
        f = minijit.jit(compiled_from(SPIN))
        for _ in range(20):
            f(100)
        results: list[object] = []
        gc.callbacks.append(lambda phase, info: results.append(f(30)))
        gc.set_threshold(5)
        for _ in range(30):
            g = minijit.jit(compiled_from(ADDS_GLOBAL))
            for turn in range(10):
                g(30)
                g.__globals__["G"] = turn / 4
        gc.set_threshold(700)
        gc.callbacks.clear()
        assert len(set(results)) == 1


@isolated
def test_a_finaliser_at_an_exit() -> None:
    """What a loop's exit overwrites may, as it dies, take the region out of service."""

    class Keep(minijit.Policy):
        def after_exit(self, exit: Any) -> Resume:
            return Resume(1)

    class Last:
        def __del__(self) -> None:
            minijit.release(f)

    source = (
        "def f(n, o, *rest):\n    s = 0\n    for i in range(n):\n        s += i\n        if i > 20: o = s\n"
        "        if i == 40: str(s)\n    return s"
    )
    with enabled():
        f = minijit.jit(policy=Keep(LOW))(compiled_from(source))
        for _ in range(30):
            for _ in range(10):
                f(30, 1)
            assert f(60, Last()) == sum(range(60))


@isolated
def test_a_child_whose_parent_was_at_work_is_the_interpreters() -> None:
    """With nothing of ours in the way, for ever, and `explain` says why."""
    inside, let_go = threading.Event(), threading.Event()

    def wait(_event: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            let_go.wait()

    with enabled():
        f: Any = minijit.jit(compiled_from(ADDS_GLOBAL))
        for _ in range(20):
            f(10)
        assert minijit.is_compiled(f)
        minijit.subscribe(wait)
        g: Any = minijit.jit(compiled_from(ADDS_GLOBAL))
        thread = threading.Thread(target=lambda: [g(30) for _ in range(20)])
        thread.start()
        inside.wait()
        child = os.fork()
        if not child:
            f.__globals__["G"] = 7
            assert [f(10) for _ in range(300)] == [70] * 300
            minijit.jit(compiled_from(SPIN))(500)
            with pytest.warns(minijit.UnsupportedWarning, match="forked while another thread"):
                minijit.enable()
            assert "forked while another thread" in str(minijit.explain(f))
            assert vectorcall_of(id(f)) == PLAIN_VECTORCALL
            assert sys.monitoring.get_tool(sys.monitoring.OPTIMIZER_ID) is None
            assert not minijit.is_enabled()
            os._exit(7)
        let_go.set()
        thread.join()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert f(10) == 10


@isolated
def test_a_fork_while_another_thread_compiles() -> None:
    """The child runs and ends as it should."""
    f = compiled_from(SPIN)
    want = plain_twin(f)(100)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            g = minijit.jit(compiled_from(ADDS_GLOBAL))
            for _ in range(10):
                g(30)

    with enabled():
        minijit.jit(f)
        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(10):
            child = os.fork()
            if not child:
                right = {f(100) for _ in range(30)} == {want}
                sys.exit(7 if right else 8)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        stop.set()
        thread.join()


@isolated
def test_a_large_constant_and_a_mask() -> None:
    """That a product is below 2**64 is true of one that fits 64 bits: so it must not be left to wrap."""
    source = "def f(x, y):\n    t = x * y\n    return t {} {}, t & 255\n"
    with enabled():
        for sign in ("<", "<=", "==", "!=", ">", ">="):
            for large in ("2**64", "2**63", "-2**63 - 1", "-10**30"):
                special = [(2**40, 2**40), (-(2**40), 2**40), (2**32, 2**31), (10**15, 10**15)]
                check(compiled_from(source.format(sign, large)), (2**35, 3), special, times=3)


@isolated
def test_constants_that_meet_large_constants() -> None:
    """Neither side is an int of 64 bits, or both are known: the compiler once turned them round for ever."""
    pairs = [(2**63 + 1, 2**63 + 1), (-(10**30), 2**64), (2**64, 1.5), (True, 2**64), (7, -(2**70)), (2**64, 0)]
    signs = ("<", "<=", "==", "!=", ">", ">=")
    tests = ", ".join(f"a {sign} b" for sign in signs)
    with enabled():
        for left, right in [*pairs, *(pair[::-1] for pair in pairs)]:
            check(
                compiled_from(f"def f(x):\n    a = {left}\n    b = {right}\n    return x, {tests}\n"),
                (1,),
                [(5,)],
                times=3,
            )


# Which of two things are one: programs of classes, both ways

SAME_OR_NOT = {
    "one index from two sums of constants": (
        (
            "N = 500\ndef bump(xs):\n xs[N + 500] = xs[N + 500] + 1\n xs[N + 500] = xs[N + 500] + 1\n return xs[N + 500]\n"
            "def f(xs, k):\n t = 0\n for i in range(k):\n  t += bump(xs)\n return t, xs[1000]\n"
        ),
        "f([0] * 1001, 200)",
    ),
    "an object and a global": (
        (
            "class V:\n def __init__(self): self.v = 0\nH, G = V(), V()\n"
            "def f(x, k):\n n = 0\n for i in range(k):\n  x.v += 1\n  if x is H: n += 1\n  elif x is not G: n += 5\n return n\n"
        ),
        "(f(H, 100), f(G, 100), f(V(), 100))",
    ),
    "the end of a chain": (
        (
            "class Node:\n def __init__(self, v, next): self.v, self.next = v, next\n"
            "NIL = Node(0, None)\nNIL.next = NIL\nn = NIL\nfor i in range(200): n = Node(i, n)\n"
            "def f(n):\n t = k = 0\n while n is not NIL and k < 1000:\n  t += n.v; n = n.next; k += 1\n return t, k\n"
        ),
        "f(n)",
    ),
    "items and a global": (
        (
            "class V:\n def __init__(self): self.v = 0\nH = V()\nxs = [V(), H, V()] * 30\n"
            "def f(xs):\n n = 0\n for y in xs:\n  y.v += 1\n  if y is H: n += 1\n return n\n"
        ),
        "f(xs)",
    ),
    "an item and an argument without attributes": (
        (
            "class E:\n __slots__ = ()\n def m(self): return 1\nx, z = E(), E()\n"
            "def f(x, xs):\n n = c = 0\n for y in xs:\n  c += x.m()\n  if y is x: n += 1\n return n, c\n"
        ),
        "(f(x, [x] * 100), f(z, [x] * 100))",
    ),
    "a slot of another class": (
        (
            "class B: __slots__ = ('a', 'b')\n"
            "class C:\n __slots__ = ('n', 'm')\n def __init__(self): self.n = 7; self.m = 8\n"
            "C.p = B.__dict__['b']\n"
            "def f(cs, k):\n t = 0\n for i in range(k):\n  t += i * 3\n  try: cs[0].p = i\n  except TypeError: t += 1\n"
            " for c in cs:\n  try: t += c.p\n  except TypeError: t += 1\n return t, cs[0].n, cs[0].m\n"
        ),
        "f([C()], 100)",
    ),
    "a slot with two names": (
        (
            "class A:\n __slots__ = ('x',)\n def __init__(self): self.x = 0\nA.y = A.x\n"
            "def g(v):\n a = A(); a.x = v; a.y = v + 1\n return a.x + a.y\n"
            "def f(a, n):\n t = 0\n for i in range(n):\n  a.x += 1; a.y += 2; t += g(i)\n return a.x, a.y, t\n"
        ),
        "f(A(), 100)",
    ),
    "an operator that gives NotImplemented": (
        (
            "class B:\n def __init__(self, r): self.r = r; self.n = 0\n"
            " def __add__(self, o):\n  self.n += 1\n  return self.r[0]\n"
            "def f(xs, k):\n ok = bad = 0\n for i in range(k):\n  for a in xs:\n"
            "   try: a + i; ok += 1\n   except TypeError: bad += 1\n return ok, bad\n"
        ),
        "f([B([NotImplemented])], 100)",
    ),
}


@pytest.mark.parametrize("what", SAME_OR_NOT)
def test_what_is_the_same(what: str) -> None:
    source, call = SAME_OR_NOT[what]
    minijit.enable()
    try:
        found = Sides(source)
        found.times(30, call)
    finally:
        minijit.disable()
