"""Coverage.py, with each of its ways to measure: it sees the lines of a compiled function that it sees without minijit.

In: a module with functions that are hot and compiled before measuring starts, in a process of its own for each core of
coverage's (`COVERAGE_CORE`). Out: the lines (and branches, where the core can) of the module that coverage has seen, with
minijit and without, for calls that take other ways through the functions than those that made them hot; and that
machine code is entered again once coverage has stopped.

With sys.monitoring coverage 7.17 does not take its events of single code objects back when it stops, and CPython 3.12
goes on to tell it of lines: so what was measured stays in the interpreter, and coverage sees what it sees without
minijit, until somebody takes these events back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CASES = [("ctrace", False), ("ctrace", True), ("pytrace", False), ("pytrace", True), ("sysmon", False)]
"""Cores, and whether they measure branches: by sys.monitoring coverage does from Python 3.14 on."""
MODULE = """
def loops(n, k):
    s = 0
    for i in range(n):
        if i == 1000:
            s = -1
        elif i % 2:
            s += i * k
        else:
            s -= 1
    return s


def stays(n, *rest):
    s = 0
    while n:
        n -= 1
        if n == 3:
            s += 5
        s += n
    if rest:
        return s, rest
    return s


def raises(n, k):
    try:
        for i in range(n):
            k = 100 // (k - i)
    except ZeroDivisionError:
        k = -1
    else:
        k += 1
    return k


def calls(n, action):
    s = 0
    for i in range(n):
        s += i
        if i == 30:
            action()
            s += 1
        s += 2
    s += 3
    return s
"""
PROGRAM = """
import json, os, sys, threading
import coverage
import measured

mode, path = sys.argv[1:]
if mode == "overlooking":
    from minijit.backend import entry, event_stubs
    entry.FOREIGN_WORD = event_stubs.FOREIGN_WORD = 0
if mode != "plain":
    import minijit
    minijit.enable(minijit.Config(call_threshold=3, loop_threshold=10, compile_seconds=1e6))
functions = [measured.loops, measured.stays, measured.raises, measured.calls]
if mode != "plain":
    for f in functions:
        minijit.jit(f)

def nothing():
    pass

def ordinary():
    for _ in range(40):
        measured.loops(40, 3), measured.stays(40), measured.raises(20, 60), measured.calls(30, nothing)

def entries():
    return [minijit.stats(f).entries for f in functions] if mode == "compiled" else []

def seen(measure):
    found = coverage.Coverage(data_file=None, config_file=False, branch=BRANCH, include=[path])
    found.set_option("run:disable_warnings", ["no-data-collected"])
    measure(found)
    data = found.get_data()
    return sorted(data.arcs(path) or [] if BRANCH else data.lines(path) or [])

def around(action):
    def measure(found):
        found.start()
        action()
        found.stop()
    return measure

def within(found):
    # It starts in the midst of a loop, and ends in the midst of another.
    measured.calls(40, found.start)
    measured.calls(40, found.stop)

def too_late(found):
    found.start()
    measured.raises(20, 60)
    found.stop()
    measured.raises(20, 7)

def take_back():
    "The events that coverage leaves behind; whether there were any."
    monitoring = sys.monitoring
    monitoring.use_tool_id(1, "after coverage")
    left = [f for f in functions if monitoring.get_local_events(1, f.__code__)]
    for f in left:
        monitoring.set_local_events(1, f.__code__, 0)
    monitoring.free_tool_id(1)
    return bool(left)

def in_a_thread():
    thread = threading.Thread(target=measured.stays, args=(20,))
    thread.start()
    thread.join()

WAYS = {
    "ordinary": around(lambda: measured.loops(40, 3)),
    "nothing": around(nothing),
    "all": around(lambda: (measured.loops(1002, 3), measured.stays(9, 1), measured.raises(20, 7), measured.calls(40, nothing))),
    "within": within,
    "thread": around(in_a_thread),
    "too late": too_late,
    "twice": around(lambda: (measured.stays(3), measured.stays(9))),
}
found = {}
for name, measure in WAYS.items():
    ordinary()
    before = entries()
    found[name] = seen(measure)
    if name in ("ordinary", "all", "twice"):
        assert entries() == before, (name, before, entries())
    if take_back():
        assert os.environ["COVERAGE_CORE"] == "sysmon"
    # It is compiled as it was, or anew.
    ordinary()
    assert all(now > was for now, was in zip(entries(), before)), (name, before, entries())
print(json.dumps(found))
"""


def seen(mode: str, core: str, branch: bool, run_python: Any, where: Path) -> dict[str, Any]:
    """What coverage has seen, by the way it was called."""
    path = where / "measured.py"
    path.write_text(MODULE)
    program = where / "program.py"
    program.write_text(PROGRAM.replace("BRANCH", str(branch)))
    done = run_python(program, mode, path, env={"COVERAGE_CORE": core})
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("core", "branch"), CASES)
def test_coverage_sees_all_lines(core: str, branch: bool, run_python: Any, tmp_path: Path) -> None:
    """Those that it sees without minijit; and machine code is entered before and afterwards."""
    plain, compiled = (seen(mode, core, branch, run_python, tmp_path) for mode in ("plain", "compiled"))
    assert plain["all"]
    assert not plain["nothing"]
    assert plain["ordinary"] != plain["all"]
    assert compiled == plain


@pytest.mark.parametrize("core", ["ctrace", "sysmon"])
def test_lines_that_are_overlooked_are_missed(core: str, run_python: Any, tmp_path: Path) -> None:
    """Where machine code is entered though somebody watches the function, the test above fails."""
    plain, overlooking = (seen(mode, core, False, run_python, tmp_path) for mode in ("plain", "overlooking"))
    assert overlooking["ordinary"] != plain["ordinary"]
