"""Interpreters that end in every way there is, and sub-interpreters, in which minijit does nothing.

In: programs that have compiled something when they end, each in a process of its own. Out: the exit code, and nothing
on standard error that does not belong there.
"""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

HEAD = """
import minijit, sys, threading, time, atexit
def f(n):
    s = 0
    for i in range(n):
        s += i
    return s
minijit.enable(minijit.Config(call_threshold=3, loop_threshold=10))
minijit.jit(f)
for _ in range(20):
    assert f(100) == 4950
assert minijit.is_compiled(f)
"""
COMPILED_AT_EXIT = """
def g(n):
    s = 0
    for i in range(n): s += i
@atexit.register
def end():
    minijit.jit(g)
    for _ in range(20): g(100)
"""
EXIT_IN_A_LOOP = """
def g(n):
    for i in range(n):
        if i == 50: sys.exit(4)
minijit.jit(g)
for _ in range(20): g(40)
g(100)
"""
SUB_INTERPRETER = """
import _xxsubinterpreters as s
i = s.create(isolated=False)
s.run_string(i, 'x = 1')
s.destroy(i)
f(10**5)
"""
ENDS: dict[str, tuple[str, int]] = {
    "nothing": ("", 0),
    "disabled": ("minijit.disable()", 0),
    "disabled twice at exit": ("atexit.register(minijit.disable)", 0),
    "daemon thread": ("threading.Thread(target=f, args=(10**15,), daemon=True).start(); time.sleep(0.2)", 0),
    "several daemon threads": (
        "for _ in range(4): threading.Thread(target=f, args=(10**15,), daemon=True).start()\ntime.sleep(0.2)",
        0,
    ),
    "thread that goes on": ("threading.Thread(target=lambda: [time.sleep(0.2), f(10**6)]).start()", 0),
    "exit code": ("sys.exit(3)", 3),
    "exception": ("1 // 0", 1),
    "exception at exit": ("atexit.register(lambda: 1 // 0)", 0),
    "called at exit": ("atexit.register(f, 10**6)", 0),
    "called at exit, first registered": ("", 0),
    "compiled at exit": (COMPILED_AT_EXIT, 0),
    "del at shutdown": ("class C:\n    def __del__(self): f(100)\nc = C(); sys.c = c; c.me = c", 0),
    "function in a cycle": ("f.me = f; sys.f = f", 0),
    "in the middle of a loop": (EXIT_IN_A_LOOP, 4),
    "sub-interpreter": (SUB_INTERPRETER, 0),
    "sub-interpreter left": ("import _xxsubinterpreters as s\ni = s.create()\ns.run_string(i, 'x = 1')", 0),
    "os._exit": ("import os; os._exit(5)", 5),
    "tracing": ("sys.settrace(lambda *a: None); f(10)", 0),
    "enabled again": ("minijit.disable(); minijit.enable(); f(10)", 0),
}
NOISY = {"exception": "ZeroDivisionError", "exception at exit": "ZeroDivisionError"}


@pytest.mark.parametrize("how", ENDS)
def test_the_interpreter_ends(how: str, run_python: Any) -> None:
    """With the right exit code, and without a word but those that belong there."""
    if how == "called at exit, first registered":
        head = "import atexit\natexit.register(lambda: f(10**6))\n" + HEAD
    else:
        head = HEAD
    rest, code = ENDS[how]
    done = run_python(head + rest + "\n", timeout=20)
    assert done.returncode == code, done.stderr
    if how in NOISY:
        assert NOISY[how] in done.stderr
        assert "minijit" not in done.stderr
    else:
        assert done.stderr == "", done.stderr


DAEMONS = """
import random, sys, threading, time
import minijit
choice = random.Random(int(sys.argv[1]))
minijit.enable(minijit.Config(call_threshold=3, loop_threshold=10, compile_seconds=1e6))

def make():
    names = {}
    exec("def f(n, k):\\n s = k\\n for i in range(n): s = (s + i) & 255\\n return s", names)
    return minijit.jit(names["f"])

def spin(f):
    while True:
        f(10**choice.randrange(2, 9), 3)

def compile_again(f):
    while True:
        minijit.release(f)
        for _ in range(20):
            f(100, 3)

def make_more():
    while True:
        make()(1000, 3)

for target in (spin, spin, compile_again, make_more):
    threading.Thread(target=target, args=() if target is make_more else (make(),), daemon=True).start()
time.sleep(choice.random() * choice.choice((0.001, 0.1, 0.3)))
if choice.random() < 0.3:
    sys.exit(3)
"""
"""Daemon threads in compiled loops, and in the midst of compilations, when the interpreter ends."""


def ends_with_daemons(seeds: range, run_python: Any) -> None:
    """The exit code is the program's own, and nothing is said; whenever it ends."""
    codes = set()
    for seed in seeds:
        done = run_python(DAEMONS, seed, timeout=60)
        assert done.stderr == "", (seed, done.stderr)
        codes.add(done.returncode)
    assert codes == {0, 3}


def test_ends_with_daemons(run_python: Any) -> None:
    """Ten times."""
    ends_with_daemons(range(10), run_python)


@pytest.mark.slow
def test_many_ends_with_daemons(run_python: Any) -> None:
    """Two hundred times."""
    ends_with_daemons(range(100, 300), run_python)


SUB = textwrap.dedent(
    """
    import sys, warnings
    sys.path[:0] = {path!r}
    import minijit
    def f(n):
        s = 0
        for i in range(n):
            s += i
        return s
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        g = minijit.jit(f)
        minijit.jit(lambda: 0)
        minijit.jit(policy=minijit.Policy(minijit.Config()))(lambda: 0)
    [told] = caught
    assert told.category is minijit.UnsupportedWarning
    assert told.filename == "<string>"
    assert {reason!r} in str(told.message), told.message
    assert g is f
    for _ in range(300):
        assert f(100) == 4950
    assert not minijit.is_compiled(f)
    assert not minijit.compile(f, int)
    minijit.suppress(f); minijit.release(f)
    assert minijit.stats(f) == minijit.stats() == minijit.Stats()
    minijit.enable(); minijit.disable()
    assert not minijit.is_enabled()
    assert str(told.message) in str(minijit.explain(f)), minijit.explain(f)
    """
)
REASONS = {True: "does not support loading in subinterpreters", False: "it works in the main interpreter only"}


@pytest.mark.parametrize("isolation", [True, False])
@pytest.mark.parametrize("first", ["main", "sub"])
def test_in_a_sub_interpreter(isolation: bool, first: str, run_python: Any) -> None:
    """`jit` there is harmless and says why, once, whichever interpreter comes first; the main one works on."""
    main = HEAD.replace("minijit.enable", "minijit.disable(); minijit.enable") + "assert f(1000) == 499500\n"
    sub = (
        "import _xxsubinterpreters as s, sys\n"
        f"i = s.create(isolated={isolation})\n"
        f"try:\n    s.run_string(i, {SUB!r}.format(path=sys.path, reason={REASONS[isolation]!r}))\n"
        "finally:\n    s.destroy(i)\n"
    )
    program = main + sub + main if first == "main" else sub + main + sub + main
    done = run_python(program, timeout=60)
    assert done.returncode == 0, done.stderr
