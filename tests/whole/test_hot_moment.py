"""The moment at which a whole program's first place is hot, and minijit is loaded in the midst of it.

In: programs in processes of their own, plain and with MINIJIT=1. Out: the same, whatever comes in between.
"""

from __future__ import annotations

import pytest
from told import SAID

from conftest import RunPython

ON = {"MINIJIT": "1"}

SIGNALS = """
import signal, sys
class Stop(Exception): pass
seen = []
def handler(number, frame):
    seen.append(frame.f_globals is globals())
    if len(seen) == 4:
        raise {raised}
signal.signal(signal.SIGALRM, handler)

def in_while():
    n = 0
    while True:
        n += 1

def in_for():
    for n in range(10**12):
        n ^= 1

def in_calls():
    def h(x): return x & 7
    while True:
        sum(map(h, range(5000)))

def guarded(loop):
    try:
        loop()
    except (Stop, KeyboardInterrupt) as error:
        return f"caught {{type(error).__name__}}"
    finally:
        print("finally")

def guarded_in(loop):
    # The loop and what catches are in one function.
    n = 0
    try:
        while True:
            n += 1
    except (Stop, KeyboardInterrupt) as error:
        return f"caught {{type(error).__name__}}"
    finally:
        print("finally")

signal.setitimer(signal.ITIMER_REAL, {first}, {step})
print({way}({loop}), all(seen))
signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.parametrize("raised", ["Stop", "KeyboardInterrupt"])
@pytest.mark.parametrize(
    ("way", "loop"), [("guarded", "in_while"), ("guarded", "in_for"), ("guarded", "in_calls"), ("guarded_in", "None")]
)
def test_signals_find_the_program(run_python: RunPython, way: str, loop: str, raised: str) -> None:
    """Handlers run before, while and after minijit is loaded; the last raises."""
    for first, step in ((0.001, 0.004), (0.005, 0.02), (0.01, 0.07), (0.05, 0.12)):
        text = SIGNALS.format(raised=raised, way=way, loop=loop, first=first, step=step)
        done = run_python(text, env=ON)
        assert done.stdout == f"finally\ncaught {raised} True\n", done.stderr
        assert done.stderr == ""


def test_minijit_is_being_imported(run_python: RunPython) -> None:
    """The hot place may be in what our own import runs."""
    for threshold in (20, 50, 100, 200):
        program = "import minijit\nfor i in range(50_000):\n    n = i & 7\nprint(n, minijit.is_enabled())\n"
        done = run_python(program, env=ON | {"MINIJIT_THRESHOLD": str(threshold), "MINIJIT_STATS": "1"})
        assert done.stdout == "7 True\n"
        assert SAID.sub("", done.stderr) == ""


AGAIN = {
    "text": """
for k in range(300):
    exec(f"def f(x): return x * {k} + 1\\nt = 0\\nfor j in range(300): t += f(j)", {})
""",
    "namespaces": """
code = compile("def h(a): return a + K\\nt = 0\\nfor i in range(300): t += h(i)", "<text>", "exec")
for k in range(300):
    exec(code, {"K": k})
""",
}


@pytest.mark.parametrize("program", AGAIN)
def test_code_that_comes_again_and_again_is_not_compiled_for_ever(run_python: RunPython, program: str) -> None:
    program = "import minijit\n" + AGAIN[program] + "print(minijit.stats().compilations)\n"
    done = run_python(program, env=ON | {"MINIJIT_THRESHOLD": "50"})
    # The function and the loop of the module, each as often as one root may be compiled.
    assert 0 < int(done.stdout) <= 2 * 24 + 2, done.stderr


def test_loops_of_one_round_are_not_recorded_for_ever(run_python: RunPython) -> None:
    """Such a recording begins where the loop ends; beginning anew took more time than the whole program."""
    program = """
import io, logging, minijit
log = logging.getLogger("one handler")
log.propagate = False
log.addHandler(logging.StreamHandler(io.StringIO()))
for _ in range(20000): log.warning("said")
print(minijit.stats().recordings)
"""
    done = run_python(program, env=ON | {"MINIJIT_THRESHOLD": "5000"})
    assert 0 < int(done.stdout) < 100, done.stderr


def test_loops_within_a_hot_one_are_heard_again(run_python: RunPython) -> None:
    """Alone, one that computes nothing is not worth counting: the scout has silenced it."""
    program = """
primes = 0
for _ in range(40):
    print(end='')
    marks = [False] * 20_000
    for number in range(2, 20_000):
        if marks[number]:
            continue
        primes += 1
        for multiple in range(number * number, 20_000, number):
            marks[multiple] = True
print(primes)
"""
    done = run_python(program, env={"MINIJIT": "1", "MINIJIT_LOG": "trace"})
    compiled = {line.split()[2] for line in done.stderr.splitlines() if "compiled" in line}
    assert done.stdout == "90480\n"
    assert len(compiled) == 2, done.stderr


def test_strings_are_nothing_to_load_minijit_for(run_python: RunPython) -> None:
    program = """
import sys
def named(text): return "is_%s" % text
def added(x): return x + 1
for k in "ab" * 1000: named(k)
print("minijit.driver" in sys.modules)
for k in (1, 2) * 1000: added(k)
print("minijit.driver" in sys.modules)
"""
    for cache in "01":
        done = run_python(program, env=ON | {"MINIJIT_THRESHOLD": "200", "MINIJIT_CACHE": cache})
        assert done.stdout == "False\nTrue\n", done.stderr


LIMITS = """
import sys
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
def f(n):
    t = 0
    for i in range(n): t += i * 3 % 7
    return t
def deep(d, n): return f(n) if d == 0 else deep(d - 1, n)
def last(function, *arguments):
    try:
        return function(*arguments)
    except RecursionError as error:
        trace = error.__traceback__
        while trace.tb_next: trace = trace.tb_next
        return trace.tb_frame.f_code.co_qualname
sys.setrecursionlimit({limit})
print({{last(depth, {limit} - 3) for _ in range(300)}}, last(depth, {limit}))
print([last(deep, d, 60000) for d in range({limit} - 3, {limit} - 20, -1)])
"""


@pytest.mark.parametrize("limit", [60, 300])
def test_hot_at_the_recursion_limit(run_python: RunPython, limit: int) -> None:
    """With the file of machine code in place, which a first process makes, no frame of ours takes one of the program's
    last."""
    program = LIMITS.format(limit=limit)
    run_python("import time\nwhile time.process_time() < 0.5: sorted(range(10**5))", env=ON)
    plain = run_python(program)
    done = run_python(program, env=ON)
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)


def test_hot_in_a_thread_with_little_stack(run_python: RunPython) -> None:
    """It takes more to load minijit; the thread goes on without, and a later one finds it."""
    program = """
import sys, threading
def f(n):
    t = 0
    for i in range(n): t += i * 3 % 7
    return t
def runs(size):
    threading.stack_size(size)
    thread = threading.Thread(target=lambda: print(f(300000)))
    thread.start()
    thread.join()
for size in (32768, 65536): runs(size)
print("minijit.driver" in sys.modules)
runs(0)
print("minijit.driver" in sys.modules)
for size in (32768, 65536, 0): runs(size)
"""
    done = run_python(program, env=ON)
    figure = "899997"
    assert done.stdout.splitlines() == [figure, figure, "False", figure, "True", figure, figure, figure], done.stderr
