"""Changes of what regions rely on: noted while they are made, dealt with before anything is entered again.

In: programs, each in a process of its own, that change names in awkward ways and at awkward moments: more at once than
can be noted, in the midst of settling, in a finaliser at an exit. Out: results, always those of a function that minijit
does not know. What is said of each change is the business of `cpython/test_changes`.
"""

from __future__ import annotations

import pytest
from settling import passes

from conftest import RunPython

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


STORMS = """
FORM = "def f(x):\\n    s = 0\\n    for i in range(x): s += i * flag + abs(x)\\n    return s"
with minijit.enable(LOW):
    shared = {"flag": 0, "other": 1}
    functions = []
    for form in (FORM, FORM.replace("flag", "other")):
        exec(form, shared)
        functions.append(minijit.jit(shared["f"]))
    f, aside = functions
    for storm in range(8):
        for n in range(1, 1000):
            shared["flag"] = n * (storm + 1) % 7
        for _ in range(40):
            f(20)
            aside(20)
        assert f(20) == sum(i * shared["flag"] + 20 for i in range(20))
        assert aside(20) == sum(i + 20 for i in range(20))
    for one in functions:
        stats = minijit.stats(one)
        assert stats.live_regions and not stats.given_up, minijit.explain(one)
        assert stats.kills <= 4, stats
"""


def test_storms_of_changes_leave_other_names_as_reliable_as_before(run_python: RunPython) -> None:
    """Only the name that changes is read each time from then on; nothing is given up for it."""
    passes(run_python, STORMS)


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
