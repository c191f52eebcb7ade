"""Changes of what regions rely on: noted while they are made, dealt with before anything is entered again.

In: programs, each in a process of its own, that change names in awkward ways and at awkward moments: from threads that
race for the same name, more at once than can be noted, in the midst of settling, in a finaliser at an exit, in the
`__eq__` of a key. Out: results, always those of a function that minijit does not know, and the reference counts of what
was assigned. What is said of each change is the business of `cpython/test_changes`.
"""

from __future__ import annotations

import pytest

from conftest import RunPython

COMMON = """
import _thread, gc, sys, threading, time, types
import minijit
from minijit.runtime.policy import Resume, Wait

LOW = minijit.Config(call_threshold=3, loop_threshold=10, exit_threshold=5, miss_threshold=3, compile_seconds=1e6)

class Patient(minijit.Policy):
    "Compiles every branch at once, lets all exits be taken, and never gives up."
    def compile_unseen(self, root):
        return True
    def after_exit(self, exit):
        return Resume(max(exit.count, 100))
    def after_kill(self, root, reason):
        return Wait(3)
    def after_abort(self, root):
        return Wait(10)
    def after_miss(self, miss):
        return Wait(1000)

PATIENT = Patient(LOW)

def twins(source, name="f", policy=PATIENT, **names):
    "A function that gets compiled, and one of the same namespace that does not."
    namespace = dict(names)
    exec(source, namespace)
    f = namespace[name]
    plain = types.FunctionType(f.__code__.replace(), f.__globals__, name, f.__defaults__)
    plain.__kwdefaults__ = f.__kwdefaults__
    return minijit.jit(policy=policy)(f), plain

def warm(f, *args):
    for _ in range(20):
        f(*args)
    assert minijit.is_compiled(f), minijit.explain(f)
    assert minijit.stats(f).entries, minijit.explain(f)

def quickly(*works):
    "All at once, with the interpreter changing threads as often as it can."
    failures, ready = [], threading.Barrier(len(works))
    def run(work):
        try:
            ready.wait()
            work()
        except BaseException as error:
            failures.append(error)
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    if failures:
        raise failures[0]
"""


def passes(run_python: RunPython, *parts: str) -> None:
    """The program ends well and says nothing but "done"."""
    done = run_python("\n".join((COMMON, *parts, "print('done')")))
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


# ---- threads

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


# ---- many changes

MANY = """
COUNT = 320
NAMES = [f"name{n}" for n in range(COUNT)]
def source(names):
    return f"def f(x):\\n    return x + {' + '.join(names)}"

with minijit.enable(LOW):
    scope = {name: 1000 * n for n, name in enumerate(NAMES)}
    pairs = []
    for start in range(0, COUNT, 40):
        f, plain = twins(source(NAMES[start : start + 40]))
        f, plain = (types.FunctionType(one.__code__, scope) for one in (f, plain))
        minijit.jit(policy=PATIENT)(f)
        pairs.append((f, plain))
    aside, aside_plain = twins("def f(x):\\n    return x + g", g=5)
    for f, _ in pairs:
        warm(f, 1)
    warm(aside, 1)
    def check():
        for f, plain in (*pairs, (aside, aside_plain)):
            assert f(1) == plain(1)
            assert f(2) == plain(2)
    check()
    kills = minijit.stats().kills
    for n, name in enumerate(NAMES):           # every one once, all at once
        scope[name] = -n - 1000
    check()
    assert minijit.stats().kills >= kills + len(pairs)
    for f, _ in pairs:
        warm(f, 1)
    for n in range(2000):                      # one very often, then another once
        scope["name0"] = n
    scope[NAMES[-1]] = 7
    check()
    for f, _ in pairs:
        warm(f, 1)
    for n in range(256):                       # as many as can be noted; the last is the one that counts
        scope["name0"] = n - 5000
    scope[NAMES[100]] = 8
    check()
    scope.update(dict.fromkeys(NAMES, 2))
    check()
    aside.__globals__["g"] = 6
    check()
"""


def test_more_changes_than_can_be_noted(run_python: RunPython) -> None:
    """Between two calls."""
    passes(run_python, MANY)


FULL = """
# The ring is full of what is being dealt with, when a subscriber's change comes on top.
changed = 0
def subscriber(event):
    global changed
    if type(event).__name__ == "Killed" and not changed:
        changed += 1
        b.__globals__["g"] = 1111

for count in (1, 255, 256, 257, 1000):
    changed = 0
    with minijit.enable(LOW):
        a, a_plain = twins("def f(x):\\n    return x + g", g=5)
        b, b_plain = twins("def f(x):\\n    return x * g", g=6)
        warm(a, 1)
        warm(b, 2)
        end = minijit.subscribe(subscriber)
        for n in range(count):
            a.__globals__["g"] = 1000 + n
        assert a(1) == a_plain(1) == 1000 + count
        assert changed == 1
        assert b(2) == b_plain(2) == 2222, (count, b(2))
        end()
"""


def test_a_change_in_the_midst_of_settling_many(run_python: RunPython) -> None:
    """What comes up while the ring is full is not lost."""
    passes(run_python, FULL)


# ---- calls and changes in the midst of settling

REENTRANT = """
SOURCE = '''
def f(n, *rest):
    s = 0
    for i in range(n):
        s += i * g
    return s
'''
FORMS = (SOURCE, SOURCE.replace(", *rest", ""))
calls = 0

def call_all():
    "Those that rely on what changed, those that do not, with types that miss, and such as leave."
    global calls
    for f, plain in pairs:
        for argument in (20, 300, True, 0):
            assert f(argument) == plain(argument)
            calls += 1

class Calling(Patient):
    def after_kill(self, root, reason):
        call_all()
        return super().after_kill(root, reason)

failures = []
def subscriber(event):
    "What it raises is caught by those who tell it."
    try:
        call_all()
        if change_more and type(event).__name__ == "Killed":
            # Changes what others rely on, and changes it back.
            for f, _ in pairs:
                f.__globals__["g"] += 1
                assert f(20) == f.__globals__["g"] * 190
                f.__globals__["g"] -= 1
    except BaseException as error:
        failures.append(error)

for change_more in (False, True):
    for policy in (PATIENT, Calling(LOW)):
        with minijit.enable(LOW):
            pairs = []
            pairs += [twins(form, policy=policy, g=3) for form in FORMS * 2]
            end = minijit.subscribe(subscriber)
            for round in range(8):
                for f, _ in pairs:
                    for _ in range(20):
                        f(20)
                for f, plain in pairs[:2]:
                    f.__globals__["g"] = round
                    f.__globals__["g"] = round + 5
                call_all()
            for f, _ in pairs[2:]:
                warm(f, 20)
            end()
            assert minijit.stats().kills >= 4
assert not failures, failures
assert calls > 1000
"""


def test_compiled_functions_called_in_the_midst_of_settling(run_python: RunPython) -> None:
    """By policies and subscribers, which may change more."""
    passes(run_python, REENTRANT)


FINALISER = """
class Changes:
    "Changes the global when it goes."
    def __init__(self, names, value):
        self.names, self.value = names, value
    def __del__(self):
        self.names["g"] = self.value

OVERWRITES = '''
def f(n, x, k, *rest):
    s = 0
    for i in range(n):
        if i == k:
            x = i
        s = s + i * g
    return s, g
'''
LEAVES = '''
def f(n, x, k, *rest):
    s = 0
    for i in range(n):
        s = s + i * g
        if s > k:
            x = s * k
            s = s * k * k
    return s, g
'''
ENDS = '''
def f(n, x, k):
    return inner(n, x, k), g
def inner(n, x, k):
    s = 0
    for i in range(n):
        s = s + i * g
        if s > k:
            s = s * k * k
    return s
'''
def outcomes(f, plain, *args):
    "What both give where an object goes in the midst of it, and what the name stands for then."
    names = f.__globals__
    found = []
    for function in (plain, f):
        names["g"] = 2
        result = function(args[0], Changes(names, args[1]), args[2])
        found.append((*result, names["g"]))
    names["g"] = 2
    for _ in range(3):
        f(40, object(), 10**9)
    return found

def compare(source, policy, part):
    f, plain = twins(source, policy=policy, g=2)
    names = f.__globals__
    compiled = names.get("inner", f)
    minijit.jit(policy=policy)(compiled)
    for value in (3, 4, 2.5, 2**62, 5):
        names["g"] = 2
        for _ in range(20):
            f(40, object(), 10**9)
        for k in (7, 39, 100, 2**61, 10**9):
            for n in (0, 40, 200):
                one, other = outcomes(f, plain, n, value, k)
                assert one[part] == other[part], (source, value, k, n, one, other)
    assert minijit.stats(compiled).entries > 20
"""
AFTERWARDS = """
with minijit.enable(LOW):
    for source in (OVERWRITES, LEAVES, ENDS):
        compare(source, PATIENT, slice(1, None))
"""
AT_ONCE = """
with minijit.enable(LOW):
    for source in (OVERWRITES, LEAVES, ENDS):
        compare(source, {policy}, slice(None))
"""


def test_a_finaliser_that_changes_what_the_region_relies_on(run_python: RunPython) -> None:
    """It runs at an exit; the interpreter, which goes on from there, and whoever comes next sees the change."""
    passes(run_python, FINALISER, AFTERWARDS)


@pytest.mark.parametrize("policy", ["minijit.Policy(LOW)", "PATIENT"], ids=["seen", "unseen"])
def test_a_finaliser_runs_where_its_object_is_overwritten(run_python: RunPython, policy: str) -> None:
    """And not at the next exit."""
    passes(run_python, FINALISER, AT_ONCE.format(policy=policy))


# ---- keys that run code

KEYS = """
class Key:
    "Meets the name in the dict, is not equal to it, and does something when asked."
    def __init__(self, name):
        self.hash = hash(name)
    def __hash__(self):
        return self.hash
    def __eq__(self, other):
        global asked
        asked += 1
        act(f)
        return False

asked = 0
def nothing(f): pass
def release(f): minijit.release(f)
def suppress(f): minijit.suppress(f)
def disable(f): minijit.disable()
def change(f): f.__globals__["another"] = asked
def again(f):
    "Runs what is being entered, with other arguments."
    global act
    act = nothing
    f(3, 7)
    act = again
def replace(f):
    "Gives the region's memory to others."
    minijit.release(f)
    if asked % 50 == 1:
        for number in range(20):
            assert minijit.compile(twins(f"def f(n):\\n    return n * {number}")[0], int)
def look(f):
    "Whoever asks is where it should be: in the function's own frame, or about to make one."
    assert sys._getframe(2).f_code.co_name == where, sys._getframe(2)
ACTIONS = (nothing, release, change, again, replace, look, suppress, disable)

def meet(names, name):
    "Puts a key where whoever looks for the name comes by first."
    global act
    before, act = act, nothing
    value = names.pop(name)
    names[Key(name)] = "foreign"
    names[name] = value
    act = before
act = nothing
"""
VOLATILE = """
where = "f"
# Relies on nothing, so that a key that may be any leaves it in service.
SOURCE = '''
def f(n, k, *rest):
    s = i = 0
    while i < n:
        s = s + i * g * k
        if s > 10**12:
            s = s - 10**12
        i = i + 1
    return s
'''
for form in (SOURCE, SOURCE.replace(", *rest", "")):
    for action in ACTIONS:
        act = nothing
        minijit.enable(LOW)
        f, plain = twins(form, g=1, another=0)
        names = f.__globals__
        for value in range(8):  # until it is read each time
            names["g"] = value
            for _ in range(20):
                assert f(30, 2) == plain(30, 2)
        warm(f, 30, 2)
        kills = minijit.stats(f).kills
        names["g"] = 9
        assert f(30, 2) == plain(30, 2)
        assert minijit.stats(f).kills == kills, "it is not volatile"
        meet(names, "g")
        assert minijit.is_compiled(f)
        asked = 0
        for value in (11, 12, 2**62, 2.5, 13):
            act = nothing
            names["g"] = value
            act = action
            for k in (2, 3.5, 2**40, True):
                for n in (0, 1, 30):
                    assert f(n, k) == plain(n, k), (action, value, k, n)
        assert asked, "no key was met"
        act = nothing
        del names["g"]
        for function in (f, plain):
            try:
                function(5, 1)
            except NameError as error:
                assert "'g' is not defined" in str(error)
            else:
                assert False
        minijit.disable()
"""
DEFAULTS = """
where = "<module>"
SOURCE = '''
def f(n, k=2, *, step=3, more=5):
    s = 0
    for i in range(n):
        s = s + i * step * k - more
    return s
'''
for action in ACTIONS:
    act = nothing
    minijit.enable(LOW)
    f, plain = twins(SOURCE)
    assert f.__kwdefaults__ is plain.__kwdefaults__
    warm(f, 30)
    defaults = f.__kwdefaults__
    before = minijit.stats(f).entries
    defaults["step"] = 4     # in place: nobody is told
    assert f(30) == plain(30) and f(30, 7) == plain(30, 7)
    assert f(30, step=9) == plain(30, step=9) and f(n=30, more=1) == plain(n=30, more=1)
    assert minijit.stats(f).entries >= before + 4
    meet(defaults, "step")
    meet(defaults, "more")
    asked, act = 0, action
    for value in (11, 2**62, 2.5, 13):
        defaults["step"] = value
        for n in (0, 1, 30):
            assert f(n) == plain(n), (action, value, n)
            assert f(n, 5) == plain(n, 5)
            assert f(n, more=6) == plain(n, more=6)
            assert f(n, step=6, more=7) == plain(n, step=6, more=7)
    assert asked, "no key was met"
    del defaults["step"]
    for function in (f, plain):
        try:
            function(5)
        except TypeError as error:
            assert "'step'" in str(error), error
        else:
            assert False
    minijit.disable()
"""


@pytest.mark.parametrize("program", [VOLATILE, DEFAULTS], ids=["globals", "defaults"])
def test_keys_that_run_code_when_they_are_met(run_python: RunPython, program: str) -> None:
    """The region's lookups go round them, whatever their `__eq__` does to the region."""
    passes(run_python, KEYS, program)
