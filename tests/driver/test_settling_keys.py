"""Keys that run code when they are met: in the globals that a region reads, and in its function's keyword defaults.

In: programs, each in a process of its own, that put a key with an `__eq__` of its own where whoever looks for a name
comes by first; it calls, changes, or throws away what is being entered. Out: results, always those of a function that
minijit does not know.
"""

from __future__ import annotations

import pytest
from settling import passes

from conftest import RunPython

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
