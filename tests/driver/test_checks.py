"""Calls done both ways: which ones, and that the program does not notice.

In: programs that have `minijit.enable(Config(compare=True))`, in processes of their own. Most have more calls checked
than there would be (`ALL`): each that comes to an entry, however long it takes. What differs, and in which words it is
told, is the subject of `tests/oracle/test_both_ways.py`.
"""

from __future__ import annotations

import pytest

from conftest import RunPython

HEAD = """
import gc, math, signal, sys, threading, time, traceback
import minijit
from minijit import Config, jit
from minijit.driver import checks

def on(**settings):
    minijit.enable(Config(**{"compare": True, "call_threshold": 5, "deny": "*"} | settings))
"""
ALL = """
checks.GROWTH, checks.GRANTED, checks.LONGEST = 1.0, 1e9, 1e9
"""


def output(run_python: RunPython, program: str, *, all: bool = True) -> str:
    done = run_python(HEAD + ALL * all + program)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# Which calls


EFFECTS = """
called = []
class Number(int):
    def __add__(self, other):
        called.append(self)
        return int(self) + other
def noted(x):
    called.append(x)
    return x
@jit
def appends(x, sums):
    if x % 20 == 0: sums.append(x)
    return x + 1
@jit
def calls(x):
    return x + 1 if x % 20 else noted(x)
@jit
def writes(x):
    global last
    if x % 20 == 0: last = called.append(x)
    return x + 1
@jit
def adds(x, y):
    return x + 1 if y else x
@jit
def pure(x):
    return x + 1
on()
sums = []
for k in range(200):
    appends(k, sums), calls(k), writes(k), adds(k, 1), pure(k)
    if k > 50 and k % 2: adds(Number(k), 1)
print(len(called), len(sums))
for f in (appends, calls, writes, adds, pure):
    stats = minijit.stats(f)
    print(f.__name__, stats.entries > 100, stats.checks > 100, stats.unchecked)
print(minijit.stats().unchecked, minijit.stats().differences)
"""


def test_what_has_effects_is_done_once(run_python: RunPython) -> None:
    assert output(run_python, EFFECTS).splitlines() == [
        "95 10",
        "appends True False 1",
        "calls True False 1",
        "writes True False 1",
        "adds True True 0",
        "pure True True 0",
        "3 0",
    ]


CALLS = """
@jit
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
@jit
def step(x, y):
    return x * 3 - y if y else 1 // y
@jit
def walk(n, y=2):
    s = 0
    for k in range(n): s += step(k, y) % 7
    return s
def lines(f, *arguments):
    try: f(*arguments)
    except ZeroDivisionError: return traceback.format_exc()
wanted = [fib(15), walk(99), lines(walk, 9, 0)]
on()
for k in range(30): found = [fib(15), walk(99), lines(walk, 9, 0)]
print(found == wanted, minijit.stats().differences)
for f in (fib, walk, step): print(minijit.stats(f).checks > 10, minijit.stats(f).unchecked)
"""


def test_functions_that_call_functions(run_python: RunPython) -> None:
    assert output(run_python, CALLS) == "True 0\n" + "True 0\n" * 3


ALONE = """
from minijit.backend.lower_ops import LOWER
for name in ("int_mul", "int_mul_wrap"):
    LOWER[name] = LOWER[name.replace("mul", "add")]
checks.FIRST, checks.GROWTH = 1, 1e9
@jit
def inner(x):
    return x * 2
@jit
def outer(x, y):
    return inner(x) + y
on()
minijit.compile(inner, int), minijit.compile(outer, int, int)
print([inner(2) for _ in range(9)] == [4] * 9, minijit.is_compiled(inner), inner(5), outer(5, 1))
"""


def test_what_the_interpreter_does_is_all_its_own(run_python: RunPython) -> None:
    """Though the function that it calls has an entry, with machine code that is wrong in the same way. (Where that is
    entered first, with 2, it happens to be right.)"""
    done = run_python(HEAD + ALONE)
    assert done.stdout == "True True 7 11\n", done.stderr


def test_no_call_is_checked_unless_it_is_asked_for(run_python: RunPython) -> None:
    program = (
        "@jit\ndef f(x): return x + 1\non(compare=False)\nfor k in range(99): f(k)\nprint(minijit.stats(f).checks)"
    )
    assert output(run_python, program) == "0\n"
    assert output(run_python, program.replace("False", "True")) != "0\n"


SCHEDULE = """
begun, begin = [], checks.Checks.begin
def noting(self, function, place, count, names):
    ticket = begin(self, function, place, count, names)
    begun.append(ticket.arguments[0])
    return ticket
checks.Checks.begin = noting
@jit
def f(x): return x + 1
on(seed=int(sys.argv[1]))
for k in range(100_000): f(k)
print(*begun)
"""


def chosen(run_python: RunPython, seed: int) -> list[int]:
    done = run_python(HEAD + SCHEDULE, seed)
    assert done.stderr == ""
    return [int(word) for word in done.stdout.split()]


def test_which_calls_come_up(run_python: RunPython) -> None:
    """The first, then fewer and fewer; the same with the same seed."""
    one, again, other = (chosen(run_python, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    for calls in (one, other):
        assert calls[:8] == list(range(calls[0], calls[0] + 8))
        assert 30 < len(calls) < 150
        assert any(call > 30_000 for call in calls)


LONG = """
checks.GRANTED = 1e9
@jit
def f(n):
    s = 0
    for i in range(n): s += i * i % 7
    return s
on()
minijit.compile(f, int)
for k in range(5): f(60_000_000)
print(minijit.stats(f).checks)
f(1000)
print(minijit.stats(f).checks)
"""


def test_long_calls_are_not_done_twice(run_python: RunPython) -> None:
    assert output(run_python, LONG, all=False) == "0\n1\n"


SHARE = """
all = []
create = checks.Checks.__post_init__
checks.Checks.__post_init__ = lambda self: (create(self), all.append(self))
checks.GROWTH = 1.02
@jit
def f(n):
    s = 0
    for i in range(n): s += i * i % 7
    return s
on()
begin = time.process_time()
# On a machine that is busy, the first of two seconds may be gone before anything is compiled.
while time.process_time() < begin + 2 or (all[0]._spent <= 0.01 and time.process_time() < begin + 30): f(20_000)
[found] = all
took = time.process_time() - begin
print(0.01 < found._spent < max(checks.GRANTED, checks.SHARE * took) + 0.3, found._spent, took, file=sys.stdout)
"""


def test_checks_take_a_share_of_the_time(run_python: RunPython) -> None:
    """Though thousands of calls come up, each of which takes the interpreter a millisecond."""
    assert output(run_python, SHARE, all=False).split()[0] == "True"


# The program does not notice


UNNOTICED = """
@jit
def f(x, *, y=2):
    if x % 10 == 7:
        raise ValueError(f"not {x}")
    return x // (x % 5) + y, None, x
def main():
    told = []
    for k in range(200):
        try:
            told.append(f(k, y=k / 3) if k % 3 else f(k))
        except (ValueError, ZeroDivisionError) as error:
            try:
                f(10)
            except ZeroDivisionError as second:
                told.append(traceback.format_exception(second))
    return told, f.__code__.co_consts
class Seen: pass
HUGE, TEXT = 10**50, "".join(["a", "b"])
def references():
    return sys.getrefcount(HUGE), sys.getrefcount(TEXT)
@jit
def through(x, a, b):
    return x + 1, a, b
def loop():
    for k in range(2000): through(k, HUGE, TEXT)
wanted = main()
on()
first = [main() for _ in range(3)]
print(all(found == wanted for found in first), minijit.stats(f).checks > 300)
loop()
before, blocks = references(), sys.getallocatedblocks()
loop(), loop()
print(references() == before, sys.getallocatedblocks() - blocks < 100, minijit.stats(through).checks > 5000)
print(minijit.stats().differences)
"""


def test_results_tracebacks_and_references(run_python: RunPython) -> None:
    assert output(run_python, UNNOTICED) == "True True\nTrue True True\n0\n"


DEPTHS = """
@jit
def f(x):
    return 1000 // x
def deep(n):
    global depth
    f(n % 3 + 1)
    try:
        f(0)
    except ZeroDivisionError:
        depth = n
    return deep(n + 1)
def nested(n):
    global depth
    depth = n
    f(n % 3 + 1)
    return list(map(nested, [n + 1]))
def depths():
    for start in (deep, nested):
        try:
            start(0)
        except RecursionError:
            yield depth
wanted = list(depths())
on()
for k in range(30): f(k + 1)
print(list(depths()) == wanted, minijit.stats(f).checks > 500, minijit.stats(f).differences)
"""


def test_as_deep_as_ever(run_python: RunPython) -> None:
    assert output(run_python, DEPTHS) == "True True 0\n"


SIGNALS = """
class Alarm(Exception): pass
limit = 400
class seen:  # what the handler writes is no global of f's
    ran = raised = caught = 0
    armed = False
def handler(*_):
    seen.ran += 1
    if seen.armed and seen.ran % 4:
        seen.armed = False
        seen.raised += 1
        raise Alarm if seen.ran % 2 else ValueError("from a handler")
    if seen.ran % 4 == 0:
        global limit
        limit = 900 - limit
signal.signal(signal.SIGALRM, handler)
@jit
def f(x):
    s = 0
    for i in range(2000):
        s += x * i % 7
        if i > limit: s -= 1
    return s
on()
for k in range(20): f(k)
wanted = [f(k) for k in range(10)]
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.monotonic() + 3
while time.monotonic() < end:
    try:
        seen.armed = True
        list(map(f, range(10)))
        seen.armed = False
    except (Alarm, ValueError):
        seen.caught += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(seen.raised > 100, seen.raised == seen.caught, minijit.stats().checks > 100, minijit.stats().differences)
limit = 400
print([f(k) for k in range(10)] == wanted)
"""


def test_signal_handlers_in_the_midst_of_it(run_python: RunPython) -> None:
    """What they raise goes to the program, and what they change is no difference."""
    assert output(run_python, SIGNALS) == "True True True 0\nTrue\n"


THREADS = """
sys.setswitchinterval(1e-5)
flag, over = 1, False
@jit
def f(x):
    s = 0
    for i in range(100): s += x * i + flag
    return s
def toggle():
    global flag
    while not over: flag = 3 - flag
def work():
    for k in range(20_000):
        assert f(k) - k * 4950 in range(100, 201), k
def both(*targets):
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads: thread.start()
    return threads
on()
for k in range(50): f(k)
[toggling] = both(toggle)
for thread in both(work, work, work): thread.join()
over = True
toggling.join()
for thread in both(work, work, work): thread.join()
print(minijit.stats(f).checks > 1000, minijit.stats(f).differences, gc.isenabled())
"""


def test_threads(run_python: RunPython) -> None:
    """A global that changes meanwhile is no difference; and garbage is collected as before in the end."""
    assert output(run_python, THREADS) == "True 0 True\n"


SWITCHED = """
@jit
def f(x):
    s = 0
    for i in range(300): s += x * i % 7
    return s
def handler(*_):
    global turns
    turns += 1
    minijit.release(f) if turns % 3 else minijit.disable() if minijit.is_enabled() else on()
turns = 0
signal.signal(signal.SIGALRM, handler)
on()
wanted = [f(k) for k in range(10)]
signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
while turns < 90:
    assert [f(k) for k in range(10)] == wanted
signal.setitimer(signal.ITIMER_REAL, 0)
minijit.is_enabled() or on()
print(minijit.stats().checks > 100, minijit.stats().differences, gc.isenabled())
"""


def test_minijit_is_switched_off_and_on_in_the_midst_of_it(run_python: RunPython) -> None:
    assert output(run_python, SWITCHED) == "True 0 True\n"


# What comes of a difference

WRONG = """
from minijit.backend.lower_ops import LOWER
for name in ("int_add", "int_add_wrap"):
    LOWER[name] = LOWER[name.replace("add", "sub")]
heard = []
minijit.subscribe(heard.append)
@jit
def f(a, b=2):
    return a + b
on()
print([f(k, b=1) for k in range(40)] == list(range(1, 41)))
[told] = [event for event in heard if type(event).__name__ == "Differed"]
print(told.call, told.compiled, told.interpreted, minijit.is_compiled(f))
print(minijit.stats(f).checks, minijit.stats(f).differences)
"""


def test_what_comes_of_a_difference(run_python: RunPython) -> None:
    program = HEAD + ALL + WRONG
    line = program.partition("@jit")[0].count("\n") + 1
    done = run_python(program)
    same, event, counts = done.stdout.splitlines()
    assert same == "True"
    first = int(event.split("f(")[1].split(",")[0])
    assert event == f"f({first}, b=1) {first - 1} (int) {first + 1} (int) False"
    assert counts == "1 1"
    assert done.stderr.count("\n") == 4
    assert done.stderr.startswith(f"minijit: difference in f (<string>:{line}): f({first}, b=1)\n")


@pytest.mark.parametrize(
    ("environment", "is_on"),
    [
        ({"MINIJIT": "check"}, True),
        ({"MINIJIT": "check", "MINIJIT_COMPARE": "0"}, False),
        ({"MINIJIT": "1", "MINIJIT_COMPARE": "1"}, True),
        ({"MINIJIT": "1"}, False),
        ({"MINIJIT_COMPARE": "1"}, True),
        ({}, False),
    ],
)
def test_the_environment(environment: dict[str, str], is_on: bool, run_python: RunPython) -> None:
    program = "import minijit\n@minijit.jit\ndef f(x): return x + 1\nfor k in range(60): f(k)\nprint(minijit.stats().checks > 0)"
    done = run_python(program, env=environment)
    assert (done.stdout, done.stderr) == (f"{is_on}\n", "")
