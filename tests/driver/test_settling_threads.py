"""Changes made by threads, and threads that are one compiled function: what is entered next knows of every change.

In: programs, each in a process of its own: threads that race for the same name, threads without a Python frame below
the compiled function. Out: results, always those of a function that minijit does not know, and the reference counts of
what was assigned.
"""

from __future__ import annotations

from settling import passes

from conftest import RunPython

RACE = """
SOURCE = '''
def f(n, *rest):
    s, k = 0, g
    for i in range(n):
        s += i * k
    return s
'''
FORMS = (SOURCE, SOURCE.replace(", *rest", ""))

def race(form, round):
    first = 10**6 + round
    # Objects of their own, whose references can be counted.
    values = [int(str(first + n)) for n in range(21)]
    def references():
        return [sys.getrefcount(value) for value in values]
    wanted = references()
    f, plain = twins(form, g=values[0])
    warm(f, 20)
    names = f.__globals__
    running = 2
    def assign(values):
        nonlocal running
        for _ in range(3):
            for value in values:
                names["g"] = value
        running -= 1
    found = set()
    def run():
        while running:
            found.add(f(20))
    quickly(run, lambda: assign(values[1:11]), lambda: assign(values[11:]))
    assert found <= {value * 190 for value in values}, found
    assert f(20) == plain(20) == names["g"] * 190
    minijit.release(f)
    del names["g"]
    found.clear()
    gc.collect()
    assert references() == wanted, (references(), wanted)

with minijit.enable(LOW):
    for round in range(60):
        race(FORMS[round % 2], 100 * round)
    assert minijit.stats().kills >= 60
"""


def test_threads_that_race_for_a_name_that_is_relied_on(run_python: RunPython) -> None:
    """A third one runs the region. Each value is given back as often as it was taken."""
    passes(run_python, RACE)


ENTRY = """
# `f` is all that the thread runs: there is no Python frame below it.
SOURCE = '''
def f(n, k, out):
    s = 0
    for i in range(n):
        s = s + i * k * g
    out.append(s)
    return s
'''
def start(f, *args):
    "Runs `f` as a thread's own function, and waits for what it has to say."
    out = []
    _thread.start_new_thread(f, (*args, out))
    deadline = time.monotonic() + 20
    while not out and time.monotonic() < deadline:
        time.sleep(0.0005)
    return out

for form in (SOURCE, SOURCE.replace("out):", "out, *rest):")):
    with minijit.enable(LOW):
        f, plain = twins(form, g=3)
        warm(f, 30, 2, [])
        names = f.__globals__
        before = minijit.stats(f).entries
        def check(*args):
            for _ in range(10):
                out = []
                wanted = plain(*args, out)
                assert start(f, *args) == out == [wanted], args
        check(30, 2)
        assert minijit.stats(f).entries >= before + 10
        check(30, 2**62)       # an overflow: it leaves in the midst of the loop
        check(30, 2.5)         # other types: a miss
        check(True, 2)
        check(0, 2)
        for value in (4, 2**62, 0.5, 5):
            names["g"] = value # changes are due
            check(30, 2)
            check(30, 2**61)
        minijit.release(f)
        check(30, 2)           # gets hot, and is recorded and compiled, in threads alone
        del names["g"]
        unraisable = []
        sys.unraisablehook = lambda args: unraisable.append(args.exc_type)
        _thread.start_new_thread(f, (30, 2, []))
        deadline = time.monotonic() + 20
        while not unraisable and time.monotonic() < deadline:
            time.sleep(0.0005)
        assert unraisable == [NameError], unraisable
"""


def test_a_function_that_is_a_whole_thread(run_python: RunPython) -> None:
    """Entered, left, missed, and entered with changes due."""
    passes(run_python, ENTRY)
