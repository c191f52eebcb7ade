"""Recordings that meet other frames of the same code: they end, and soon, whatever becomes of the recorded frame.

In: functions whose recorded call ends by an exception, waits in another thread, or calls itself. Out: code, or a
decision, after a number of calls that does not depend on the recorded frame. A recording that goes on costs the program
Python code at each instruction.
"""

from __future__ import annotations

import pytest

from conftest import RunPython

HEAD = """
import sys, threading
import minijit
from minijit.events import Recorded

at = []
def note(event):
    if isinstance(event, Recorded):
        frame, names = sys._getframe(), []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        at.append(names)
minijit.subscribe(note)
START = minijit.Config().call_threshold
"""
RAISES = """
@minijit.jit
def f(x, bad):
    y = x * 2
    if bad:
        raise ValueError
    return y * 3 + y

def raising():
    for _ in range(START - 1):
        f(1, False)
    try:
        f(1, True)  # this call is recorded
    except ValueError:
        pass
"""
IN_A_HELPER = """
# Whose frame has the place that the recorded one had.
def helper(call, count):
    for _ in range(count):
        call(1, False)
raising()
helper(f, 3000)
assert at, minijit.explain(f)
"""
IN_A_THREAD = """
# Which is still there, and in no call of it.
let_go = threading.Event()
def work():
    raising()
    ready.set()
    let_go.wait()
ready = threading.Event()
thread = threading.Thread(target=work)
thread.start()
ready.wait()
for _ in range(3000):
    f(1, False)
compiled = minijit.is_compiled(f)
let_go.set()
thread.join()
assert at and compiled, minijit.explain(f)
"""
WAITS = """
let_go, ready = threading.Event(), threading.Event()
@minijit.jit
def f(x, event):
    y = x * 2
    if event is not None:
        ready.set()
        event.wait()
    return y * 3 + y
def work():
    for _ in range(START - 1):
        f(1, None)
    f(1, let_go)
thread = threading.Thread(target=work)
thread.start()
ready.wait()
for _ in range(3000):
    f(1, None)
recorded = bool(at)
let_go.set()
thread.join()
assert recorded, minijit.explain(f)
"""
CALLS_ITSELF = """
@minijit.jit
def f(n):
    if n == 0:
        return 1
    return f(n - 1) + f(n - 1)
for _ in range(START - 1):
    f(0)
f(12)  # the outermost call is recorded
assert at[0].count("f") > 1, at
"""


@pytest.mark.parametrize(
    "program",
    [RAISES + IN_A_HELPER, RAISES + IN_A_THREAD, WAITS, CALLS_ITSELF],
    ids=["raised, then called in a helper", "raised in a thread", "waits", "calls itself"],
)
def test_a_recording_ends_without_its_frame(run_python: RunPython, program: str) -> None:
    done = run_python(HEAD + program)
    assert (done.returncode, done.stderr) == (0, "")
