"""Loops whose variables are names in a namespace: those of modules, and of functions with `global`.

In: the text of a module. It runs twice, by `exec` and as a function of the same code that minijit was told of, each
time in a namespace of its own. What is compared in the end is the namespace: its keys in their order, and their values
with exact type and bits; and what the text logged.
"""

from __future__ import annotations

import builtins
import signal
import sys
import threading
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest

import minijit
from behaviour.twin import LOW, Patient, enabled, exact, trace_of
from minijit.events import ExitReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUMBERS = (int, float, bool, str, tuple, type(None))


@pytest.fixture(autouse=True)
def _minijit() -> Iterator[None]:
    with enabled(LOW):
        yield


def namespace(**more: object) -> dict[str, Any]:
    logged: list[object] = []
    return {
        "__builtins__": builtins,
        "log": lambda *values: logged.extend(map(exact, values)),
        "logged": logged,
        **more,
    }


def found_in(names: dict[str, Any]) -> object:
    return names["logged"], [(name, exact(value)) for name, value in names.items() if type(value) in NUMBERS]


def module(code: CodeType, names: dict[str, Any]) -> Callable[[], None]:
    """The module as a function that minijit knows."""
    function = FunctionType(code, names)
    minijit.jit(policy=Patient(LOW))(function)
    return function


def outcome(run: Callable[[], None], names: dict[str, Any]) -> object:
    try:
        run()
    except Exception as error:  # noqa: BLE001 - whatever it raises is the outcome
        return ("raised", type(error), str(error), trace_of(error)[-1:], found_in(names))
    return found_in(names)


def check(text: str, *, expect: ExitReason | None = None, compiled: bool = True, **more: object) -> minijit.Stats:
    """Runs a text both ways; `expect` is the reason of an exit that must have been taken."""
    code = compile(text, "<module>", "exec")
    plain, ours = namespace(**more), namespace(**more)
    wanted = outcome(lambda: exec(code, plain), plain)
    function = module(code, ours)
    got = outcome(function, ours)
    facts = minijit.explain(function)
    assert got == wanted, f"\n  plain:    {wanted}\n  compiled: {got}\n{facts}"
    stats = minijit.stats(function)
    assert bool(stats.entries) == compiled, facts
    if expect is not None:
        assert expect.label in str(facts), facts
    return stats


def test_names_are_variables() -> None:
    stats = check("""
total, x, odd, none, pair, label = 0, 1.5, False, 1, (), "no"
for i in range(2000):
    total += i & 7
    x = x * 0.999 + 1
    odd = i & 1 == 1
    none = None
    pair = (i, x)
    label = "even"
    if odd:
        label = "odd"
a, b = 0, 1
while b < 10**18:
    a, b = b, a + b
""")
    assert stats.entries < 20, "the loops were left again and again"


def test_inner_loops_know_what_outer_ones_wrote() -> None:
    stats = check("""
n, total = 60, 0
for i in range(n):
    s = i * 3
    for j in range(n):
        total += s ^ j
        last = total
    if last & 1:
        n -= 1
""")
    assert not stats.kills


def test_explain_calls_them_by_name() -> None:
    function = module(compile("s = 0\nfor i in range(200):\n s += i", "<module>", "exec"), namespace())
    function()
    assert "compiled for (i: int, s: int, range_iterator)" in str(minijit.explain(function))


def test_global_statement() -> None:
    check("""
count, half = 0, 0
def f(k):
    global count, half
    for j in range(50):
        count += j * k
        half = count / 2
    return count
for k in range(30):
    log(jit(f)(k))
""", jit=minijit.jit, compiled=False)  # fmt: skip


@pytest.mark.parametrize("rare", ["if i == 900: fresh = i", "if i == 900: del total; total = 1", "total2 = i"])
def test_first_binding_has_its_place(rare: str) -> None:
    check(f"""
total = 0
for i in range(1000):
    total += i
    {rare}
    if i > 950:
        later = total
""")


def test_later_names_come_behind_earlier_ones() -> None:
    check("""
for i in range(1000):
    if i == 900: first_in_the_code = i
    if i == 800: second_in_the_code = i
""")


def test_name_that_is_deleted_is_looked_for_in_builtins() -> None:
    check("""
abs = 5
for i in range(1000):
    if i == 800:
        del abs
    if i == 900:
        log(abs(-3))
    if i < 800:
        abs += 1
""")


def test_unbound_name_raises() -> None:
    check("""
total = 0
for i in range(1000):
    total += i
    if i == 900:
        total += missing
        missing = 1
    if i > 900:
        missing = 2
""")


def test_finaliser_of_what_is_overwritten() -> None:
    check("""
class Loud:
    def __del__(self):
        log(i, total)
total = 0
for i in range(100):
    held = Loud()
    for j in range(30):
        total += j
        if j == 20:
            held = i
""", expect=ExitReason.OVERWRITTEN)  # fmt: skip


def test_exception_finds_the_namespace_as_it_was() -> None:
    check("""
total = 0
for i in range(1000):
    total += i
    quotient = 7 // (i - 900)
""")


def test_namespace_is_changed_between() -> None:
    check("""
def poke():
    globals()["x"] = others[i // 100]
    globals().pop("y")
    globals()["y"] = x
others = [1, 2.5, True, None, "s", 2**70, -1, (), 5, 6, 7]
x = y = 0
for i in range(1000):
    if i % 100 == 50:
        poke()
    try:
        x += 1
    except TypeError:
        log(i)
        x = 0
    y = x
""")


def test_what_is_not_written_stays_the_same_object() -> None:
    big, thing = 10**15, object()
    names = namespace(big=big, thing=thing, seen=thing, total=0)
    module(compile("for i in range(1000):\n total += big\n seen = thing", "<module>", "exec"), names)()
    assert names["big"] is big
    assert names["seen"] is thing
    assert names["total"] == 1000 * big


def test_what_others_assume_of_a_name_is_broken() -> None:
    check("""
g = 1
def f(k):
    return k * g
for k in range(50):
    log(f(k))
for i in range(300):
    g += 1
for k in range(50):
    log(f(k))
""", compiled=True)  # fmt: skip


def test_many_kinds_of_many_names() -> None:
    """More versions than there may be: names lose their kinds, those without a value too."""
    check("""
a = b = c = d = 0
for i in range(3000):
    if i % 2 == 0: a = 0.5
    else: a = i
    if i % 3 == 0: b = None
    else: b = i
    if i % 5 == 0: c = True
    else: c = 1.5
    if i % 7 == 0: d = i
    else: d = 0.5
    if i > 2990: never = i
    if b is not None and i % 11 == 0:
        a += b + c + d
""")


@pytest.mark.parametrize("runs", ["exec(code, names, {})", "exec(code, names, Names())"])
def test_locals_that_are_not_the_globals_are_left_alone(runs: str) -> None:
    stats = check(f"""
class Names(dict):
    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        if name == "t": log(value)
code = compile("for i in range(300):\\n t = i", "<inner>", "exec")
names = {{}}
{runs}
log(names.get("t"))
class Body:
    s = 0
    for i in range(500):
        s += i
log(Body.s)
""", compiled=False)  # fmt: skip
    assert not stats.compilations


def test_namespace_with_odd_keys_is_left_alone() -> None:
    class Key(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            asked.append(other)
            return str(self) == other

        __hash__ = str.__hash__

    asked: list[object] = []
    names = namespace() | {Key("x"): 1}
    module(compile("for i in range(500):\n x = i", "<module>", "exec"), names)()
    assert names["x"] == 499
    assert len(asked) >= 500, "stores in this dict run Python code"


def test_code_runs_in_several_namespaces() -> None:
    code = compile("for i in range(1000):\n s += i * k", "<module>", "exec")
    for k in (1, 2, 2.5, 3):
        names = namespace(s=0, k=k)
        module(code, names)()
        assert names["s"] == sum(i * k for i in range(1000))


def test_handlers_see_the_namespace_move() -> None:
    """Signals come in between rounds, and see what an interpreted loop would show them."""
    seen: list[tuple[int, int]] = []

    def look(_number: int, frame: Any) -> None:
        seen.append((frame.f_globals["i"], frame.f_globals["twice"]))

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        names = namespace(seen=seen)
        text = "i = twice = 0\nwhile len(seen) < 5:\n for k in range(100000):\n  i += 1\n  twice += 2"
        function = module(compile(text, "<module>", "exec"), names)
        function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert minijit.stats(function).entries
    assert seen == sorted(set(seen))
    assert all(twice in (2 * i - 2, 2 * i) for i, twice in seen)


def test_threads_see_the_namespace_move() -> None:
    names = namespace(stop=False)
    seen: set[int] = set()

    def look() -> None:
        while len(seen) < 5:
            seen.add(names.get("i", 0))
        names["stop"] = True

    thread = threading.Thread(target=look)
    thread.start()
    text = "i = 0\nwhile not stop:\n for k in range(100000):\n  i += 1"
    module(compile(text, "<module>", "exec"), names)()
    thread.join()
    assert len(seen) == 5


def test_references_are_given_back() -> None:
    word = "".join(("w", "ord"))
    code = compile("for i in range(200):\n a = word\n b = a\n c = (a, i)", "<module>", "exec")

    def run() -> int:
        names = namespace(word=word, a=0, b=0, c=0)
        function = module(code, names)
        function()
        entries = minijit.stats(function).entries
        names.clear()
        return entries

    assert run()
    before = sys.getrefcount(word)
    for _ in range(20):
        run()
    assert sys.getrefcount(word) == before
