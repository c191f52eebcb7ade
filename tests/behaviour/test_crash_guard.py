"""The crash guard: what a process died of is left alone by the next one, and nothing else is.

In: programs that die, or end (`dying`). Out: which roots the next process compiles. In the end, parts of the guard are
taken away, and the same must come out otherwise.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from dying import (
    ALL,
    COMPILED,
    ENDLESS,
    FORK,
    FUNCTIONS,
    KILLED,
    LOOK,
    NOT_F,
    NOT_G,
    NOT_SPIN,
    ON,
    SPIN,
    Processes,
    compiled,
    dies,
)

from minijit.backend.entry import RUNS


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path / "cache")


# What is suspect


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_what_a_process_died_of_is_not_compiled_again(how: str, processes: Processes) -> None:
    dies(processes, how=how)
    assert processes.files() == ["marks-1-"]
    out, err = processes.run(ON, LOOK)
    assert compiled(err) == NOT_F
    assert "given up: an earlier process died while this was compiled, or in the midst of one of its first" in out
    assert "hint: an earlier process died" in out
    assert err.count("minijit: gaveup     f@0 reason=crashed") == 1
    assert processes.files() == ["suspects"]


def test_suspicion_stays_until_the_file_is_removed(processes: Processes) -> None:
    dies(processes)
    for _ in range(2):
        assert processes.looks() == NOT_F
    (processes.cache / "minijit" / "suspects-1").unlink()
    assert processes.looks() == ALL


def test_what_was_asked_for_by_name_is_suspect_too(processes: Processes) -> None:
    dies(processes)
    out, _ = processes.run(ON, "print(minijit.compile(f, int), minijit.compile(g, int), f(111))")
    assert out == "False True 777\n"
    out, _ = processes.run(ON, "heat(f, 1); minijit.release(f); heat(f, 1); print(minijit.stats().given_up)")
    assert out == "2\n"


def test_more_than_one_death(processes: Processes) -> None:
    """A loop is compiled by itself, and as part of its function: each death takes one of them away."""
    found = []
    for _ in range(2):
        _, err = processes.run(ON, "heat(spin, 300, 1)\nspin(3, 777)", code=-signal.SIGSEGV)
        found.append(compiled(err))
    assert found == ["spin@10", "spin@0"]
    assert processes.looks() == "d@0 f@0 g@0"


def test_many_runs(processes: Processes) -> None:
    """After so many runs that were completed, it is something else that a process dies of."""
    dies(processes, runs=RUNS)
    assert processes.looks() == ALL
    dies(processes, runs=RUNS - 1)
    assert processes.looks() == NOT_F


def test_death_while_it_is_compiled(processes: Processes) -> None:
    dies(processes, fatal=COMPILED)
    assert processes.looks() == NOT_G


def test_other_code_of_the_same_name_is_not_suspect(processes: Processes) -> None:
    dies(processes)
    for other in ("return a * 7 + 0", "return 7 * a"):
        assert processes.looks(functions=FUNCTIONS.replace("return a * 7", other)) == ALL
    assert processes.looks(functions=f"\n{FUNCTIONS}") == ALL
    assert processes.looks("from minijit import config; config.__version__ = '9'") == ALL
    assert processes.looks() == NOT_F


# What is not


OUTSIDE = {
    "in a C function": ("ctypes.string_at(0)", signal.SIGSEGV),
    "abort": ("os.abort()", signal.SIGABRT),
    "after a return": (f"f(1)\n{KILLED}", signal.SIGKILL),
    "after a miss": (f"f(1.5)\n{KILLED}", signal.SIGKILL),
    "after an exit": (f"try: d(1, 0)\nexcept ZeroDivisionError: {KILLED}", signal.SIGKILL),
    "after a loop's exit": (f"spin(3, 1)\n{KILLED}", signal.SIGKILL),
}


@pytest.mark.parametrize("how", OUTSIDE)
def test_death_elsewhere(how: str, processes: Processes) -> None:
    text, number = OUTSIDE[how]
    processes.run(ON, "heat(f, 1); heat(d, 3, 2); heat(spin, 10, 1)", text, code=-number)
    assert processes.files() == ["marks-1-"]
    assert processes.looks() == ALL
    assert processes.files() == []


def killed_while_it_spins(processes: Processes, *before: str) -> None:
    process = processes.begin(*before, ON, SPIN)
    processes.until(process, "spinning")
    time.sleep(0.7)
    process.kill()
    process.communicate(timeout=60)


def test_a_long_run_is_not_suspect(processes: Processes) -> None:
    """Though it is the first: when a loop has gone on for long, it is ended, and soon entered again."""
    killed_while_it_spins(processes)
    assert processes.looks() == ALL
    killed_while_it_spins(processes, ENDLESS)
    assert processes.looks() == NOT_SPIN


ENDS = {
    "the end": ("", 0),
    "exit": ("sys.exit(3)", 3),
    "an exception": ("1 // 0", 1),
    "disabled": ("minijit.disable(); print(os.listdir('cache/minijit')); os._exit(0)", 0),
    "disabled and enabled": (f"minijit.disable(); {ON}; heat(f, 1); assert is_compiled(f)", 0),
    "nothing compiled": ("", 0),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_clean_end_leaves_nothing(how: str, processes: Processes) -> None:
    text, code = ENDS[how]
    heat = "" if how == "nothing compiled" else "heat(f, 1)\nassert len(os.listdir('cache/minijit')) == 1"
    out, _ = processes.run(ON, heat, text, code=code)
    assert processes.files() == []
    assert out == ("[]\n" if how == "disabled" else "")


def test_it_is_off_unless_asked_for(processes: Processes) -> None:
    _, err = processes.run("minijit.enable(Config(log='trace'))", LOOK)
    assert compiled(err) == ALL
    assert not processes.cache.exists()
    on, _ = processes.run("heat(f, 1)\nprint(os.listdir('cache/minijit')[0][:8])", MINIJIT_GUARD="1")
    assert on == "marks-1-\n"


def test_nothing_is_read_before_something_is_hot(processes: Processes) -> None:
    out, _ = processes.run("print('minijit.runtime.suspects' in sys.modules)", MINIJIT="1", MINIJIT_GUARD="1")
    assert out == "False\n"
    assert processes.files() == []


# That each part is needed


NEVER_TOLD = "entry.RUNS = 0"
NEVER_ENDED = """
from minijit.backend import lower, stub_tools
lower.Emitter.end_run = lambda self: None
stub_tools._end_run = lambda at: "define internal void @end_run() { ret void }"
"""
ALWAYS_NEW = "entry.RUNS = 2**62"
NOT_COMPILING = """
from minijit.driver import crash_guard
from contextlib import nullcontext
crash_guard.CrashGuard.compiling = lambda self, state: nullcontext()
"""
SHARED = """
from minijit.driver import crash_guard
crash_guard.CrashGuard.after_fork = lambda self: None
"""


@pytest.mark.parametrize(
    ("mutant", "fatal", "runs", "compiled", "otherwise"),
    [
        (NEVER_TOLD, "f(111)", 0, NOT_F, ALL),
        (NOT_COMPILING, COMPILED, 0, NOT_G, ALL),
        (ALWAYS_NEW, "f(111)", RUNS, ALL, NOT_F),
        (NEVER_ENDED, f"f(1); {KILLED}", 0, ALL, NOT_F),
        (NEVER_ENDED, f"spin(3, 1); {KILLED}", 0, ALL, NOT_SPIN),
        (SHARED, f"{FORK}if not child: f(111)\nos.wait(); f(1); {KILLED}", 0, NOT_F, ALL),
    ],
    ids=["never told", "not told while it is compiled", "always new", "return", "exit", "fork"],
)
def test_without_a_part(
    mutant: str, fatal: str, runs: int, compiled: str, otherwise: str, processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Processes(tmp_path / "other" / "cache")
    how = "SIGKILL" if KILLED in fatal else "SIGSEGV"
    dies(processes, how=how, fatal=fatal, runs=runs)
    dies(other, mutant, how=how, fatal=fatal, runs=runs)
    assert (processes.looks(), other.looks()) == (compiled, otherwise)
