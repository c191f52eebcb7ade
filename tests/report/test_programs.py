"""What the driver hands over about real programs: marks of code that no recording saw, and states that pass."""

from __future__ import annotations

from pathlib import Path

from conftest import RunPython

UNSEEN = """
import minijit

@minijit.jit(eager=True)
def eager(a: int):
    if a > 3:
        return a * 2
    print(a)

def compiled(a):
    s = 0
    for i in range(a):
        if i & 1:
            s += i
    return s

minijit.compile(compiled, int)
for function in eager, compiled:
    found = minijit.explain(function)
    print("".join(line.mark for line in found.lines))
"""


def test_code_that_no_recording_saw_is_marked(run_python: RunPython, tmp_path: Path) -> None:
    script = tmp_path / "unseen.py"
    script.write_text(UNSEEN)
    done = run_python(script)
    assert done.stdout.splitlines() == ["  ++!", " +++++"], done.stdout + done.stderr


STATES = """
import sys
import minijit

@minijit.jit
def f(a):
    return a + 1

def told(function=f):
    print(*minijit.explain(function).summary, sep="; ")

told()
for _ in range(40): f(1)
for _ in range(8): f(1.5)
told()
sys.monitoring.use_tool_id(0, "debugger")
sys.monitoring.set_local_events(0, f.__code__, sys.monitoring.events.LINE)
f(1)
told()
sys.monitoring.set_local_events(0, f.__code__, 0)
for _ in range(40): f(1)
told()

@minijit.jit
def g(a):
    if a == 29:
        told(g)
    return a + 1
for a in range(40): g(a)
"""


def test_states_that_pass(run_python: RunPython) -> None:
    done = run_python(STATES)
    assert done.returncode == 0, done.stderr
    cold, missed, parked, back, recorded = done.stdout.splitlines()
    assert cold == "calls: not hot yet: 0 of 30 calls"
    assert "reached 8 times with types, or keywords, that it is not compiled for" in missed
    assert "parked: another tool watches the function" in parked
    assert "parked" not in back
    assert "compiled for (a: int)" in back
    assert recorded == "calls: is being recorded"
