"""What compiled code takes as given may change at any moment: the next thing that looks must see it.

A *program* here is a function that gets a decorator, builds everything it needs anew and returns what it saw; it is run
with a decorator that does nothing and with `jit`, and must have seen the same.
"""

from __future__ import annotations

import builtins
import gc
import math
import os
import signal
import threading
import time
import types
from functools import partial
from typing import TYPE_CHECKING, Any

from isolated import isolated
from twin import LOW, Patient, compiled_from, enabled, exact, outcome, together

import minijit

if TYPE_CHECKING:
    from collections.abc import Callable

Decorator = "Callable[[Any], Any]"


def same(program: Callable[[Any], list[object]], *, entered: bool = True) -> None:
    """The program sees the same plain and compiled, with a patient and with the default policy."""
    wanted = [exact(x) for x in program(lambda f: f)]
    for policy in (Patient(LOW), None):
        made: list[Any] = []

        def decorate(function: Any, policy: Any = policy, made: list[Any] = made) -> Any:
            made.append(minijit.jit(policy=policy)(function))
            return function

        found = [exact(x) for x in program(decorate)]
        if found != wanted:
            at = next(k for k, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b)
            raise AssertionError(f"{program.__name__}: at {at}: {found[at]} instead of {wanted[at]}")
        if entered and not sum(minijit.stats(f).entries for f in made) and not minijit.stats(made[-1]).kills:
            raise AssertionError(f"{program.__name__} was never entered\n{minijit.explain(made[-1])}")


LOOP = """
import math
g = 3
def f(n):
    s = 0
    for i in range(n):
        s = s * 2 % 1000003 + {}
    return s
"""


def calls(f: Any, count: int = 15, *args: object) -> list[object]:
    return [outcome(f, *(args or (30,))) for _ in range(count)]


def global_numbers(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("i * g")))
    scope = f.__globals__
    seen: list[object] = []
    for value in (3, 4, 4, 2.5, 2.5, True, 2**70, "x", None, 5, 5.0, -0.0, 0, (1,), *range(7, 17)):
        scope["g"] = value
        seen += calls(f)
    del scope["g"]
    seen += calls(f)
    scope["g"] = 5
    return seen + calls(f)


def a_global_that_is_built_in_later(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("abs(-i)")))
    scope = f.__globals__
    seen = calls(f)
    scope["abs"] = lambda x: x * 1000
    seen += calls(f)
    scope["abs"] = 5
    seen += calls(f)
    del scope["abs"]
    seen += calls(f)
    scope.update(abs=max, unrelated=1)
    seen += calls(f)
    scope.pop("abs")
    return seen + calls(f)


def builtins_replaced(decorate: Any) -> list[object]:
    # `pow`, since minijit's own code does not use it: whoever replaces `len` for all replaces it for minijit, too.
    f = decorate(compiled_from(LOOP.format("pow(i, 3)")))
    seen = calls(f)
    plain = builtins.pow
    try:
        builtins.pow = lambda x, y: plain(x, y) + 7
        seen += calls(f)
        builtins.pow = divmod
        seen += calls(f)
        builtins.pow = max
        seen += calls(f)
        del builtins.pow
        seen += calls(f)
    finally:
        builtins.pow = plain
    return seen + calls(f)


def range_replaced(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("i")))
    scope = f.__globals__
    seen = calls(f)
    scope["range"] = lambda n: [5, 6, n]
    seen += calls(f)
    scope["range"] = reversed
    seen += calls(f)
    del scope["range"]
    return seen + calls(f)


def module_attribute_replaced(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("math.sqrt(i)")))
    seen = calls(f)
    plain = math.sqrt
    try:
        math.sqrt = lambda x: x * 3.0
        seen += calls(f)
        math.sqrt = math.floor
        seen += calls(f)
        del math.sqrt
        seen += calls(f)
    finally:
        math.sqrt = plain
    return seen + calls(f)


def module_replaced(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("math.sqrt(i)")))
    seen = calls(f)
    f.__globals__["math"] = types.SimpleNamespace(sqrt=lambda x: -x)
    seen += calls(f)
    module = types.ModuleType("math")
    module.sqrt = math.exp  # type: ignore[attr-defined]
    f.__globals__["math"] = module
    seen += calls(f)
    module.__getattr__ = lambda _name: math.cos  # type: ignore[method-assign]
    del module.sqrt
    seen += calls(f)
    f.__globals__["math"] = math
    return seen + calls(f)


def module_of_a_subclass(decorate: Any) -> list[object]:
    class Odd(types.ModuleType):
        count = 0

        @property
        def sqrt(self) -> Any:
            Odd.count += 1
            return math.sqrt

    f = decorate(compiled_from(LOOP.format("math.sqrt(i)")))
    f.__globals__["math"] = Odd("odd")
    return [*calls(f), Odd.count]


def module_that_changes_its_class(decorate: Any) -> list[object]:
    class Odd(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            return math.cos if name == "sqrt" else super().__getattribute__(name)

    f = decorate(compiled_from(LOOP.format("m.sqrt(i)")))
    module = f.__globals__["m"] = types.ModuleType("m")
    module.sqrt = math.sqrt  # type: ignore[attr-defined]
    seen = calls(f)
    module.__class__ = Odd
    return seen + calls(f)


def globals_cleared(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("g + abs(i)")))
    scope = f.__globals__
    kept = dict(scope)
    seen = calls(f)
    scope.clear()
    seen += calls(f)
    scope.update(kept)
    seen += calls(f)
    scope |= {"g": 8}
    seen += calls(f)
    scope["__builtins__"] = {"range": range}
    seen += calls(f)
    for name in list(scope):
        scope.pop(name)
    return seen + calls(f)


def globals_written_by_the_function(decorate: Any) -> list[object]:
    source = """
g = 1
def f(n):
    global g, h
    s = 0
    for i in range(n):
        s += g * i
        if i % 7 == 6:
            g = g + 1 if g < 50 else 0.5
        if i == 20:
            h = s
    return s, g
"""
    f = decorate(compiled_from(source))
    seen = calls(f, 40)
    seen.append(f.__globals__["h"])
    f.__globals__["g"] = 2**70
    seen += calls(f, 5)
    del f.__globals__["g"]
    return seen + calls(f, 5)


def globals_deleted_by_the_function(decorate: Any) -> list[object]:
    source = """
g = 1
def f(n):
    global g
    s = 0
    for i in range(n):
        s += g * i
    if n == 25:
        del g
    return s
"""
    f = decorate(compiled_from(source))
    return calls(f, 20) + calls(f, 1, 25) + calls(f, 10)


def a_called_function_writes(decorate: Any) -> list[object]:
    source = """
g = 1
def change(i):
    global g
    if i % 10 == 9:
        g += 1
def f(n):
    s = 0
    for i in range(n):
        s += g * i
        if i % 5 == 4:
            change(i)
        s += g
    return s
"""
    f = decorate(compiled_from(source))
    return calls(f, 60)


def an_operand_s_method_writes(decorate: Any) -> list[object]:
    source = """
g = 1
class Odd:
    def __add__(self, other):
        global g
        g += 1
        return other
    __radd__ = __add__
def f(n, odd):
    s = 0
    for i in range(n):
        s += g * i
        if i > 20:
            s = s + odd
        s += g
    return s
"""
    f = decorate(compiled_from(source))
    seen = calls(f, 20, 30, 5)
    odd = f.__globals__["Odd"]()
    return seen + calls(f, 20, 30, odd) + calls(f, 20, 30, 2.5)


def frequent_changes(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("i * g")))
    seen: list[object] = []
    for value in range(150):
        f.__globals__["g"] = value if value % 50 else value * 0.5
        seen += calls(f, 1 + value % 4)
    return seen


def code_replaced(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("i * g")))
    other = compiled_from(LOOP.format("i - g").replace("s = 0", "s = 5"))
    third = compiled_from("def f(n, m=2, *, k=3):\n    return n * m + k\n")
    seen = calls(f)
    first = f.__code__
    for code in (other.__code__, first, third.__code__, other.__code__, first, first):
        f.__code__ = code
        seen += calls(f)
    f.__code__ = third.__code__
    f.__defaults__, f.__kwdefaults__ = (7,), {"k": 1}
    seen += calls(f)
    f.__defaults__ = None
    seen += calls(f)
    return seen


def code_shared(decorate: Any) -> list[object]:
    """Several functions of one code object, each with globals of its own."""
    made = [compiled_from(LOOP.format("i * g")) for _ in range(1)]
    code = made[0].__code__
    scopes: list[dict[str, Any]] = [{"g": k, "abs": abs} for k in (1, 2, 2.5, 2**70)]
    functions = [decorate(types.FunctionType(code, scope)) for scope in scopes]
    seen: list[object] = []
    for turn in range(20):
        for f in functions:
            seen += calls(f, 3)
        scopes[turn % 4]["g"] = turn
    return seen


def loops_of_undecorated_functions_with_the_same_code(decorate: Any) -> list[object]:
    f = decorate(compiled_from(LOOP.format("i * g")))
    other = types.FunctionType(f.__code__, {"g": 1000, "__builtins__": {"range": lambda _n: [1, 2, 3]}})
    third = types.FunctionType(f.__code__, {"g": 0.5, "math": math})
    seen: list[object] = []
    for _ in range(20):
        seen += [*calls(f, 2), *calls(other, 2), *calls(third, 2, 50)]
    return seen


def code_replaced_while_it_runs(decorate: Any) -> list[object]:
    source = """
def f(n):
    s = 0
    for i in range(n):
        s += i
        if i == 25:
            change()
    return s
"""
    f = decorate(compiled_from(source, change=lambda: None))
    seen = calls(f)
    other = compiled_from("def f(n):\n    return 'other'\n")

    def change() -> None:
        f.__code__ = other.__code__

    f.__globals__["change"] = change
    return seen + calls(f)


def function_deleted_while_it_runs(decorate: Any) -> list[object]:
    source = """
def f(n):
    s = 0
    for i in range(n):
        s += i
        if i == 25:
            forget()
        s += i
    return s
"""
    holder: list[Any] = [decorate(compiled_from(source, forget=lambda: None))]
    holder[0].__globals__.pop("f")
    seen = [holder[0](30) for _ in range(20)]

    def forget() -> None:
        holder.clear()
        gc.collect()

    holder[0].__globals__["forget"] = forget
    seen.append(holder.pop()(60))
    return seen


class Missing(dict):  # type: ignore[type-arg]
    """A namespace that makes up what it does not have."""

    def __missing__(self, name: str) -> int:
        return len(name)


def namespace_of_a_subclass(decorate: Any) -> list[object]:
    code = compiled_from(LOOP.format("i * gg")).__code__
    scope = Missing(range=range, __builtins__={"gg": 100})
    f = decorate(types.FunctionType(code, scope))
    seen = calls(f)
    scope["gg"] = 7
    seen += calls(f)
    del scope["gg"]
    return seen + calls(f)


class Counting(dict):  # type: ignore[type-arg]
    """A namespace that answers each time something else."""

    count = 0

    def __getitem__(self, name: str) -> Any:
        if name == "g":
            Counting.count += 1
            return Counting.count
        return super().__getitem__(name)


def namespace_that_counts(decorate: Any) -> list[object]:
    Counting.count = 0
    code = compiled_from(LOOP.format("i * g")).__code__
    f = decorate(types.FunctionType(code, Counting(range=range, g=5)))
    return [*calls(f), Counting.count]


PROGRAMS = [
    global_numbers,
    a_global_that_is_built_in_later,
    builtins_replaced,
    range_replaced,
    module_attribute_replaced,
    module_replaced,
    globals_cleared,
    globals_written_by_the_function,
    globals_deleted_by_the_function,
    a_called_function_writes,
    an_operand_s_method_writes,
    frequent_changes,
    code_replaced,
    code_shared,
    loops_of_undecorated_functions_with_the_same_code,
    code_replaced_while_it_runs,
    function_deleted_while_it_runs,
]
NOT_COMPILED = [module_of_a_subclass, namespace_of_a_subclass, namespace_that_counts]


@isolated
def test_changes_are_seen_at_once() -> None:
    """Globals, builtins, modules, code objects: whatever is changed, by whatever way."""
    with enabled():
        together(partial(same, program) for program in PROGRAMS)
        together(partial(same, program, entered=False) for program in NOT_COMPILED)


@isolated
def test_changes_are_seen_with_the_default_thresholds() -> None:
    """With many more calls."""
    globals()["calls"] = lambda f, count=15, *args: [outcome(f, *(args or (300,))) for _ in range(count * 4)]
    with minijit.enable():
        together(partial(same, program, entered=False) for program in PROGRAMS + NOT_COMPILED)


@isolated
def test_a_module_that_changes_its_class() -> None:
    """`module.__class__ = ...` after the module was taken as a constant."""
    with enabled():
        same(module_that_changes_its_class)


WAITING = """
g = 1
def f(n, *rest):
    k = 0
    while g == 1:
        k += 1
        if k > n:
            return "tired", g
    return "seen", g
"""


@isolated
def test_a_change_from_another_thread_ends_the_loop() -> None:
    """A loop waits for a global that another thread changes; the thread gets its turn."""
    with enabled():
        for value in (2, 2.5, None):
            f = minijit.jit(compiled_from(WAITING))
            for _ in range(20):
                assert f(40) == ("tired", 1)
            assert minijit.stats(f).entries

            def change(f: Any = f, value: object = value) -> None:
                time.sleep(0.1)
                f.__globals__["g"] = value

            thread = threading.Thread(target=change)
            started = time.perf_counter()
            thread.start()
            assert f(10**12) == ("seen", value)
            assert time.perf_counter() - started < 5
            thread.join()


@isolated
def test_a_change_from_a_signal_handler_ends_the_loop() -> None:
    """The handler runs while the loop runs, and the loop sees what it did."""
    with enabled():
        for form in (WAITING, WAITING.replace(", *rest", "")):
            f = minijit.jit(compiled_from(form))
            for _ in range(20):
                assert f(40) == ("tired", 1)

            def handler(number: int, frame: Any, f: Any = f) -> None:
                f.__globals__["g"] = 3
                assert frame.f_code is f.__code__
                assert frame.f_locals["k"] > 40

            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            started = time.perf_counter()
            assert f(10**12) == ("seen", 3)
            assert time.perf_counter() - started < 5


@isolated
def test_a_constant_global_that_changes_type_while_the_loop_runs() -> None:
    """A handler changes what the loop adds."""
    source = """
step = 1
def f(n, *rest):
    s = 0
    while s < n:
        s += step
    return s
"""
    with enabled():
        f = minijit.jit(compiled_from(source))
        for _ in range(10):
            assert f(60) == 60
        steps = [0.5, 2**62, 3]

        def handler(number: int, frame: Any) -> None:
            f.__globals__["step"] = steps.pop(0)

        signal.signal(signal.SIGUSR1, handler)
        for wanted in (float, int, int):
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            f.__globals__["step"] = 0
            found = f(1000)
            assert type(found) is wanted, found
            timer.join()


@isolated
def test_kills_are_counted_and_volatile_names_are_read() -> None:
    """After some kills a global is no longer assumed but read: no more kills, and still compiled code."""
    with enabled():
        f = minijit.jit(policy=Patient(LOW))(compiled_from(LOOP.format("i * g")))
        for value in range(40):
            f.__globals__["g"] = value
            for _ in range(30):
                f(40)
        stats = minijit.stats(f)
        assert 1 <= stats.kills <= 8, stats
        before = stats.entries
        for value in range(40):
            f.__globals__["g"] = value
            f(40)
        assert minijit.stats(f).entries >= before + 40
        assert minijit.stats(f).kills == stats.kills
