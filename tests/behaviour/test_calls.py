"""Entering by a call: every way to pass arguments, and every way to reach the function, from whichever thread.

In: functions of many signatures, called in all manners. Out: what the interpreter gives; what a wrong call raises is
CPython's TypeError to the letter. What is passed is the business of `test_arguments`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import itertools
import operator
import pickle
import sys
import threading
from functools import partial
from typing import Any

from isolated import isolated
from twin import LOW, Patient, Twins, compiled_from, enabled, exact, outcome, together

import minijit

SIGNATURES = (
    "a, b",
    "a, b=2",
    "a=1, b=2",
    "a, /, b",
    "a, b, /",
    "a, /, b=5",
    "a=1, /, b=2",
    "a, *, b",
    "a, *, b=7",
    "*, a, b",
    "*, a=1, b",
    "a, /, *, b",
    "a=4, /, *, b=5",
    "a, b=2, *, c=3, d",
    "a, b, /, c=3, *, d=4, e=5",
)
BODY = "def f({}):\n    r = 0\n    for i in range(3):\n        r = r * 10 + i\n    return r, {}\n"


def names_of(signature: str) -> list[str]:
    parts = [part.split("=")[0].strip() for part in signature.split(",")]
    # Interned, as the keywords of a call in source text are.
    return [sys.intern(part) for part in parts if part not in ("*", "/")]


def call_styles(names: list[str]) -> list[tuple[tuple[int, ...], dict[str, int]]]:
    """Many ways, right and wrong, to pass up to all of these names."""
    styles: list[tuple[tuple[int, ...], dict[str, int]]] = []
    for count in range(len(names) + 2):
        positional = tuple(range(10, 10 + count))
        for size in range(len(names) + 1):
            for keywords in itertools.permutations(names, size):
                styles.append((positional, {name: 20 + k for k, name in enumerate(keywords)}))
        styles.append((positional, {"nope": 1}))
        styles.append((positional, {names[-1]: 3, "nope": 1}))
    return styles


def all_styles(signature: str) -> None:
    names = names_of(signature)
    styles = call_styles(names)
    if len(styles) > 300:
        styles = styles[:: len(styles) // 300]
    twins = Twins(compiled_from(BODY.format(signature, ", ".join(names))), Patient(LOW))
    for _ in range(3 if len(styles) > 100 else 12):
        for positional, named in styles:
            twins(*positional, **named)
    twins.require_compiled()
    if not twins.function.__defaults__ and not twins.function.__kwdefaults__:
        return
    # Defaults that change, also in type, and that go away.
    for defaults, keyword_defaults in (
        ((7.5, 8), {"b": 9}),
        ((None,), {"b": "x", "e": 1}),
        (None, None),
        ((1, 2, 3), {}),
    ):
        for function in (twins.function, twins.plain):
            function.__defaults__, function.__kwdefaults__ = defaults, keyword_defaults
        for positional, named in styles[::3]:
            twins(*positional, **named)


@isolated
def test_signatures() -> None:
    """Positional, keywords in any order, keyword-only, positional-only, defaults; missing, unexpected, duplicate."""
    with enabled():
        together(partial(all_styles, signature) for signature in SIGNATURES)


@isolated
def test_defaults_changed_in_place() -> None:
    """`__kwdefaults__` is a dict that anyone may change; a default may be of any type."""
    function = compiled_from(
        "def f(a, *, b=2, c=[]):\n    s = 0\n    for i in range(a):\n        s += b\n    return s, c\n"
    )
    with enabled():
        twins = Twins(function, Patient(LOW))
        twins.plain.__kwdefaults__ = function.__kwdefaults__
        twins.times(20, 5)
        twins.require_compiled()
        for value in (3, 2.5, None, True, 2**70, "x"):
            function.__kwdefaults__["b"] = value
            twins.times(10, 5)
            twins(0)
        del function.__kwdefaults__["b"]
        twins.times(10, 5)
        twins(5, b=1)


@isolated
def test_names_that_are_not_interned() -> None:
    """A keyword is compared by its text."""
    with enabled():
        twins = Twins(compiled_from("def f(alpha, beta=3):\n    return alpha * 2 + beta\n"), Patient(LOW))
        for k in range(300):
            twins(**{"".join(["al", "pha"]): k, "".join(["be", "ta"]): 2})
        assert minijit.stats(twins.function).live_regions == 1, minijit.explain(twins.function)
        twins.times(10, 5)
        twins(**{"".join(["al", "pha"]): 1, "".join(["gam", "ma"]): 2})


@isolated
def test_ways_to_call() -> None:
    """Through map, partial, sorted's key, reduce, apply-like builtins, threads, `__call__`, and unpacking."""
    with enabled():
        twins = Twins(compiled_from("def f(a, b=3):\n    return a * 2 + b\n"), Patient(LOW))
        f = twins.function
        ways: list[Any] = [
            lambda f: list(map(f, range(50))),
            lambda f: list(map(f, range(50), range(50))),
            lambda f: list(map(f, [1.5] * 10 + [True, None, "x"])),
            lambda f: functools.partial(f, b=2)(1),
            lambda f: functools.partial(f, 4)(b=1),
            lambda f: functools.partial(functools.partial(f, 4), 5)(),
            lambda f: sorted(range(10), key=f, reverse=True),
            lambda f: functools.reduce(f, range(10)),
            lambda f: list(itertools.starmap(f, [(1,), (2, 3)])),
            lambda f: list(filter(f, range(-3, 3))),
            lambda f: max(range(5), key=f),
            lambda f: f.__call__(1, b=2),
            lambda f: f(*(1, 2)),
            lambda f, named={"b": 1, "a": 2}: f(**named),
            lambda f, named={"b": 2}: f(*[1], **named),
            lambda f: operator.call(f, 3),
            lambda f: functools.lru_cache(f)(3),
            lambda f: f.__get__(5)(6),
            lambda f: f.__get__(5)(b=6),
            lambda f: [f(i) for i in range(40)],
            lambda f: dict(enumerate(map(f, range(3)))),
        ]
        for _ in range(5):
            for way in ways:
                assert outcome(way, f) == outcome(way, twins.plain)
        twins.require_compiled()


METHODS = """
import functools
class C:
    scale = 3
    def __init__(self, x):
        self.x = x
    def method(self, a, b=2):
        s = 0
        for i in range(a):
            s += i * b
        return s
    @staticmethod
    def static(a, b=2):
        s = 0
        for i in range(a):
            s += i * b
        return s
    @classmethod
    def class_method(cls, a, b=2):
        s = 0
        for i in range(a):
            s += i * b
        return s
    @property
    def prop(self):
        s = 0
        for i in range(30):
            s += i
        return s
    def uses_self(self, a):
        s = 0
        for i in range(a):
            s += i
        return s + self.x * self.scale
    def __len__(self):
        n = 0
        for i in range(30):
            n += i
        return n
    def __add__(self, other):
        return other * 2
    def __eq__(self, other):
        return 1 == 1
    def __getitem__(self, k):
        if k > 20:
            raise IndexError(k)
        return k * k
def wrapper(g):
    @functools.wraps(g)
    def inner(*args, **named):
        return g(*args, **named)
    return inner
def plain(a, b=1):
    s = 0
    for i in range(a):
        s += i * b
    return s
"""


@isolated
def test_methods() -> None:
    """On a class: methods, static and class methods, properties, special methods, wrapped functions."""

    def program(decorate: Any) -> list[object]:
        scope: dict[str, Any] = {}
        exec(METHODS, scope)
        C = scope["C"]
        for name in ("method", "uses_self", "__len__", "__add__", "__eq__", "__getitem__"):
            setattr(C, name, decorate(vars(C)[name]))
        C.static = staticmethod(decorate(C.static))
        C.class_method = classmethod(decorate(C.class_method.__func__))
        C.prop = property(decorate(C.prop.fget))
        wrapped = scope["wrapper"](decorate(scope["plain"]))
        o = C(4)
        seen: list[object] = []
        for k in range(25):
            seen += [o.method(k), o.method(k, b=k), C.method(o, k), o.static(k), C.static(k, 3), o.class_method(k)]
            seen += [C.class_method(b=1, a=k), o.prop, o.uses_self(k), len(o), o + k, o == k, list(o), o[k % 20]]
            seen += [wrapped(k), wrapped(a=k, b=2), wrapped.__name__, wrapped.__wrapped__(k), C.uses_self(C(k), 2)]
            wrong = [o.method, partial(o.method, 1, 2, 3), C.method, o.static, partial(operator.getitem, o, 99)]
            seen += [outcome(call)[:3] for call in wrong]
            o.x = k * 0.5 if k % 3 else k
        return [exact(s) for s in seen]

    with enabled():
        wanted = program(lambda f: f)
        for _ in range(2):
            assert program(minijit.jit(policy=Patient(LOW))) == wanted
        assert minijit.stats().entries


def pickled(a: int, b: float = 0.5) -> float:
    """Doc."""
    s = 0.0
    for i in range(a):
        s += i * b
    return s


@isolated
def test_the_function_stays_itself() -> None:
    """The same object: signature, pickle, copy, attributes, name, doc, annotations, weak references, equality, hash."""
    import weakref

    with enabled():
        plain = pickled
        before = (inspect.signature(plain), hash(plain), dict(vars(plain)), inspect.getsource(plain), plain.__code__)
        assert minijit.jit(plain) is plain
        assert minijit.jit(plain) is plain
        for _ in range(20):
            plain(50)
        assert minijit.is_compiled(plain)
        after = (inspect.signature(plain), hash(plain), dict(vars(plain)), inspect.getsource(plain), plain.__code__)
        assert before == after
        assert (plain.__name__, plain.__doc__, plain.__defaults__) == ("pickled", "Doc.", (0.5,))
        assert pickle.loads(pickle.dumps(plain)) is plain
        assert copy.copy(plain) is copy.deepcopy(plain) is plain
        assert weakref.ref(plain)() is plain
        assert inspect.isfunction(plain)
        assert not minijit.stats(plain).given_up


@isolated
def test_threads() -> None:
    """Several threads make one function hot and call it with several types."""
    results: list[list[object]] = []
    source = "def f(a, n):\n    s = a\n    for i in range(n):\n        s = s + i * a\n    return s\n"
    with enabled():
        twins = Twins(compiled_from(source), Patient(LOW))
        values = [3, 2.5, True, 7, -1, 2**62, 1e300]

        def work(k: int) -> None:
            found: list[object] = []
            for turn in range(150):
                found.append(exact(twins.function(values[(k + turn) % 7], 30 + turn % 5)))
            results.append(found)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wanted = [[exact(twins.plain(values[(k + turn) % 7], 30 + turn % 5)) for turn in range(150)] for k in range(6)]
        assert sorted(map(str, results)) == sorted(map(str, wanted))
        twins.require_compiled()


@isolated
def test_a_thread_whose_first_function_is_compiled() -> None:
    """No Python frame stands above the function."""
    import _thread
    import time

    source = """
def f(out, n):
    s = 0
    for i in range(n):
        s += i
    if n == 7:
        s = 1 // (s - s)
    out.append(s)
"""
    with enabled():
        f = minijit.jit(policy=Patient(LOW))(compiled_from(source))
        out: list[int] = []
        done = 0
        for n in (20, 21, 7, 22, 1.5):
            done += 30 * (n not in (7, 1.5))
            for _ in range(30):
                _thread.start_new_thread(quiet(f) if n in (7, 1.5) else f, (out, n))
            for _ in range(2000):
                time.sleep(0.005)
                if len(out) == done:
                    break
        assert out == [190] * 30 + [210] * 30 + [231] * 30, out
        assert minijit.stats(f).entries


def quiet(function: Any) -> Any:
    """A callable that is no Python function, and that swallows what the function raises."""

    class Quiet:
        def __init__(self) -> None:
            self.function = function

        def __call__(self, *arguments: object) -> None:
            with contextlib.suppress(ZeroDivisionError, TypeError):
                self.function(*arguments)

    return Quiet()
