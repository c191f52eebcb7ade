"""Stress modes do what they say, and programs do under them what they do without.

In: functions whose guards, branches and rounds are known by count, and groups of `tests/behaviour`, each in a process
of its own. Out: for each mode figures that only it explains; for each mode and for combinations the outcomes of plain
twins. A planted bug is found under stress and not without; the same seed gives the same events.
"""

from __future__ import annotations

import io
import re
import sys
from collections import Counter
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "behaviour"))
from isolated import isolated
from twin import LOW, Differs, Patient, Twins, check, compiled_from, enabled, exits_taken, together

import minijit
from minijit.backend.lower_ops import LOWER
from minijit.driver import api
from minijit.events import Compiled, ExitHot, ExitReason, GaveUp, Killed, KillReason, Recorded
from minijit.ir.kinds import Kind
from minijit.ir.region import Value
from minijit.runtime.stress import COMPILATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import RunPython
    from minijit.backend.emitter import Emitter
    from minijit.driver.state import RootState
    from minijit.events import Event
    from minijit.ir.region import Op

MODES = (
    "exits:1",
    "exits:2",
    "exits:7",
    "osr",
    "hot",
    "bridges",
    "kill:0.1",
    "kill:1,hot",
    "exits:3,osr",
    "exits:5,hot,bridges",
    "exits:3,kill:0.1,hot,osr,bridges",
)


@contextmanager
def stressed(modes: str, seed: int = 0, **settings: Any) -> Iterator[list[Event]]:
    """minijit in service with these modes; the events that come up."""
    heard: list[Event] = []
    with enabled(replace(LOW, stress=modes, seed=seed, **settings)):
        unsubscribe = minijit.subscribe(heard.append)
        yield heard
        unsubscribe()


def made(source: str) -> Any:
    return minijit.jit(compiled_from(source))


def state_of(function: Any) -> RootState:
    driver = api._process.driver
    assert driver is not None
    state = driver.known(function)
    assert state is not None
    return state


# ---- guards that fail although they hold

TWO_GUARDS = "def f(a, b):\n    return a * b >> b\n"
ONE_GUARD = "def f(a, b):\n    return a * b\n"
ROUNDS = "def f(n, *rest):\n    i = 0\n    while i < n:\n        i += 1\n    return i\n"


def forced(every: int, seed: int, calls: int) -> Counter[int]:
    """At which of two guards so many calls leave."""
    left, found = 1 + seed % every, Counter[int]()
    for _ in range(calls):
        for guard in range(2):
            left -= 1
            if not left:
                left = every
                found[guard] += 1
                break
    return found


@isolated
def test_every_so_many_th_guard_leaves() -> None:
    """At each guard as often as counting says, whatever the count begins with."""
    for every in range(1, 8):
        for seed in range(every):
            with stressed(f"exits:{every}", seed):
                f = made(TWO_GUARDS)
                assert minijit.compile(f, int, int)
                assert [f(a, 3) for a in range(1000)] == [3 * a >> 3 for a in range(1000)]
                (version,) = state_of(f).versions
                taken = [version.records.count(index) for index in range(len(version.exits))]
                assert version.entries == 1000
                assert +Counter(dict(enumerate(taken))) == forced(every, seed, 1000), (every, seed)


@isolated
def test_polls_are_guards() -> None:
    """The poll is the only guard of a loop that counts: an entry does so many rounds, then the interpreter does one."""
    for every in range(1, 8):
        with stressed(f"exits:{every}"):
            f = made(ROUNDS)
            assert f(10_000) == 10_000
            entries, taken = minijit.stats(f).entries, exits_taken(f)
            assert abs(entries - 10_000 // (every + 1)) < 20, (every, entries)
            assert taken[ExitReason.POLL] + taken[ExitReason.LEFT_LOOP] == entries


@isolated
def test_nothing_is_counted_where_no_mode_is_on() -> None:
    """Machine code refers to the countdowns under their modes only."""
    for modes, counted in (("", set()), ("hot,osr,bridges", set()), ("exits:9", {"guards"}), ("kill:0.5", {"entries"})):
        text = io.StringIO()
        with redirect_stderr(text), stressed(modes, dump="llvm"):
            f = made("def f(n):\n    s = 0\n    for i in range(n):\n        s += i * i\n    return s\n")
            f(1000)
            assert minijit.compile(f, int)
            driver = api._process.driver
            assert driver is not None
            natives = driver.registry.natives
            places = {
                "guards": natives.machinery.stress.place("countdown"),
                "entries": natives.changes.countdown,
            }
        assert text.getvalue().count("define ptr @region") >= 2
        assert {name for name, place in places.items() if str(place) in text.getvalue()} == counted


# ---- loops that are left at each round


@isolated
def test_a_loop_is_entered_anew_at_each_back_edge() -> None:
    """Half of the rounds are compiled, one an entry: after each the interpreter does one."""
    entries = {}
    for modes in ("", "osr"):
        with stressed(modes):
            f = made(ROUNDS)
            assert f(10_000) == 10_000
            entries[modes] = minijit.stats(f).entries
            taken = exits_taken(f)
        if modes:
            assert taken[ExitReason.POLL] + taken[ExitReason.LEFT_LOOP] == entries[modes]
    assert entries[""] < 10
    assert 4900 < entries["osr"] <= 5000


# ---- regions that are killed


@isolated
def test_every_entry_kills() -> None:
    """The only region there is: so it is never entered, until it is not compiled any more."""
    with stressed("kill:1") as heard:
        f = made(ONE_GUARD)
        assert [f(a, 3) for a in range(5000)] == [3 * a for a in range(5000)]
        stats = minijit.stats(f)
        kills = [event.reason for event in heard if isinstance(event, Killed)]
        assert (stats.entries, stats.kills, stats.compilations) == (0, COMPILATIONS, COMPILATIONS)
        assert kills == [KillReason.STRESS] * COMPILATIONS
        assert re.search(r"killed \d+ times: a stress mode", str(minijit.explain(f)))
        # A compile storm ends, but nothing is given up.
        assert not stats.given_up


@isolated
def test_entries_kill_with_the_chance_that_was_asked_for() -> None:
    """Each call asks once, whether its region was killed or not."""
    for chance in (0.05, 0.2, 0.5):
        with stressed(f"kill:{chance}", seed=7):
            f = made(ONE_GUARD)
            while minijit.stats(f).kills < COMPILATIONS:
                assert f(2, 3) == 6
            stats = minijit.stats(f)
        found = stats.kills / (stats.kills + stats.entries)
        assert 0.7 * chance < found < 1.4 * chance, (chance, found)


@isolated
def test_any_region_may_be_killed() -> None:
    """Not only that which is entered: here every entry is one into a single function."""
    with stressed("kill:0.3"):
        others = [made(ONE_GUARD) for _ in range(3)]
        assert all(minijit.compile(other, int, int) for other in others)
        loop = made(ROUNDS)
        assert loop(100) == 100
        f = made(ONE_GUARD)
        for a in range(300):
            assert f(a, 3) == 3 * a
        assert [minijit.stats(other).kills for other in (*others, loop)] == [1] * 4
        assert minijit.stats(f).kills > 4


@isolated
def test_real_changes_are_dealt_with_all_the_same() -> None:
    """Strikes are noted among the changes of a global; no call sees an old value."""
    for modes in ("kill:0.5", "kill:1", "kill:0.2,exits:2,hot"):
        with stressed(modes) as heard:
            names = {"K": 0}
            f = compiled_from("def f(a):\n    return a + K\n", **names)
            minijit.jit(policy=Patient(LOW))(f)
            for k in range(400):
                f.__globals__["K"] = k // 3
                assert f(1) == 1 + k // 3, (modes, k)
            reasons = {event.reason for event in heard if isinstance(event, Killed)}
            assert KillReason.STRESS in reasons, modes


# ---- everything at its first execution, every exit at once


@isolated
def test_everything_is_compiled_at_its_first_execution() -> None:
    """A function's second call is compiled, and its loop's second round, of the very first function too."""
    for modes, compiled in (("", False), ("hot", True)):
        with stressed(modes):
            f = made("def f(n):\n    s = 0\n    for i in range(n):\n        s += i\n    return s\n")
            g = made(ONE_GUARD)
            assert f(8) == 28
            assert bool(minijit.stats(f).entries) is compiled
            assert g(2, 3) == 6
            assert minijit.is_compiled(g) is compiled
            # A recording waits while signal handlers may be waiting; that is not for ever.
            assert [g(2.0, k) for k in range(8)] == [2.0 * k for k in range(8)]
            assert len(state_of(g).versions) == 1 + compiled


BRANCHES = """
def f(a, b):
    s = a
    if b == 1: s = s + 1
    if b == 2: s = s + 2
    if b == 3: s = s + 3
    if b == 4: s = s + 4
    return s * s
"""


@isolated
def test_every_exit_is_asked_about_at_once() -> None:
    """A branch is bridged when it is first met, any other exit recompiled once, whatever region it belongs to."""
    for modes in ("", "bridges"):
        with stressed(modes) as heard:
            f = made(BRANCHES)
            for _ in range(20):
                f(2, 0)
            for b in range(1, 5):
                # The first meets the exit, the second is recorded.
                assert [f(2, b), f(2, b)] == [(2 + b) ** 2] * 2
            for _ in range(20):
                assert f(2**40, 0) == 2**80
            asked = [event for event in heard if isinstance(event, ExitHot)]
            actions = Counter((event.reason, event.action) for event in asked)
            bridges = [event for event in heard if isinstance(event, Recorded) and event.bridge]
            assert len(bridges) == (4 if modes else 0)
            assert actions[ExitReason.UNTAKEN, "bridge"] == len(bridges)
            assert actions[ExitReason.OVERFLOW, "recompile"] == (1 if modes else 0)


# ---- budgets


@isolated
def test_code_stays_in_service() -> None:
    """What ends without stress for lack of time, or since it is left too often, does not under stress."""
    for modes, given_up in (("", True), ("exits:1", False), ("hot", False)):
        for settings in ({"compile_seconds": 1e-9}, {"compilations": 1}):
            with stressed(modes, **settings) as heard:
                f = made("K = 0\ndef f(a, b):\n    return a * b + K\n")
                for k in range(4):
                    f.__globals__["K"] = k
                    assert [f(2**40, 2**40) for _ in range(50)] == [2**80 + k] * 50
                assert any(isinstance(event, GaveUp) for event in heard) is given_up, (modes, settings)
                assert (sum(isinstance(event, Compiled) for event in heard) > 1) is not given_up


@isolated
def test_a_policy_that_fails_is_replaced_under_stress_too() -> None:
    class Fails(minijit.Policy):
        def should_record(self, root: object) -> Any:
            raise ZeroDivisionError

    said = io.StringIO()
    with redirect_stderr(said), stressed("hot"):
        f = compiled_from(ONE_GUARD)
        minijit.jit(policy=Fails(LOW))(f)
        for _ in range(5):
            f(2, 3)
        assert minijit.is_compiled(f)
    assert re.fullmatch(r"minijit: policy .*Fails\(.*replaced by the default: ZeroDivisionError\(\)\n", said.getvalue())


# ---- the same results


def check_programs(modes: str) -> None:
    """Programs of several groups, as they are and with their loops only; every third with the default policy.

    Where regions are killed there is much to compile: fewer programs then, and at once.
    """
    from test_control_flow import PROGRAMS as CONTROL_FLOW
    from test_loops import PROGRAMS as LOOPS
    from test_raising import PROGRAMS as RAISING
    from test_variables import PROGRAMS as VARIABLES

    groups = LOOPS, CONTROL_FLOW, RAISING, VARIABLES
    step, times = (30, 3) if "kill" in modes else (4, 10)
    programs = [p for group in groups for p in group.programs[1::step]]
    entered = 0

    def one(index: int, program: Any) -> None:
        nonlocal entered
        for make in (program.fresh, program.with_rest):
            policy = None if index % 3 == 0 else Patient(LOW)
            twins = check(make(), program.ordinary, program.special, times=times, policy=policy, entered=False)
            entered += twins.entries

    with stressed(modes, optimise=0):
        together(partial(one, *item) for item in enumerate(programs))
    assert entered > len(programs)


@pytest.mark.parametrize("modes", MODES)
def test_programs_do_the_same(modes: str, run_python: RunPython) -> None:
    done = run_python(Path(__file__), modes)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def late(lowering: Any) -> Any:
    """A planted bug: the exit of a product shows the state after it, and the interpreter multiplies again."""

    def lower(e: Emitter, op: Op) -> None:
        first = op.args[0]
        if op.exit is not None and isinstance(first, Value):
            e.copies += 1
            after = Value(e.copies, Kind.INT)
            e.line(f"%v{after.number} = mul i64 {', '.join(map(e.use, op.args))}")
            layouts = list(e.layouts)
            layouts[op.exit] = tuple((place, after if each == first else each) for place, each in layouts[op.exit])
            e.layouts = layouts
        lowering(e, op)

    return lower


@isolated
def test_a_planted_bug_is_found_under_stress_only() -> None:
    """An exit that is wrong, but that nothing takes otherwise."""
    LOWER["int_mul"] = late(LOWER["int_mul"])
    for modes, wrong in (("", False), ("hot,osr,bridges", False), ("exits:1", True), ("exits:5,hot", True)):
        with stressed(modes):
            twins = Twins(compiled_from("def f(a, b, n):\n    while a < n:\n        a *= b * b\n    return a\n"))
            try:
                twins.times(60, 2, 3, 10**9)
            except Differs:
                assert wrong, modes
            else:
                twins.require_compiled()
                assert not wrong, modes


# ---- the same events

PROGRAM = """
import minijit
@minijit.jit
def steps(n):
    count = 0
    while n != 1:
        if n & 1:
            n = 3 * n + 1
        else:
            n >>= 1
        count += 1
    return count
@minijit.jit
def table(n):
    s = 0
    for i in range(n):
        for j in range(i):
            s += j % 7
    return s
print(sum(steps(n) for n in range(3, 60)), table(20))
"""


def events(run_python: RunPython, modes: str, seed: int) -> list[str]:
    """What is logged, without times and sizes."""
    done = run_python(PROGRAM, env={"MINIJIT_LOG": "trace", "MINIJIT_STRESS": modes, "MINIJIT_SEED": str(seed)})
    assert (done.returncode, done.stdout) == (0, "1437 489\n"), done.stderr
    return re.sub(r" (size|build_ms|llvm_ms)=[\d.]+", "", done.stderr).splitlines()


@pytest.mark.parametrize("modes", ["kill:0.2", "exits:3,kill:0.1,hot,osr,bridges"])
def test_the_same_seed_gives_the_same_events(modes: str, run_python: RunPython) -> None:
    first, again, other = (events(run_python, modes, seed) for seed in (1, 1, 2))
    assert first == again
    assert first[1:] != other[1:]
    assert first[0] == f"minijit: stress     {modes} seed=1"
    assert sum(line.startswith("minijit: stress ") for line in first) == 1
    assert sum("reason=stress" in line for line in first) > 10


def test_without_a_log_nothing_is_said(run_python: RunPython) -> None:
    done = run_python(PROGRAM, env={"MINIJIT_STRESS": "exits:3,kill:0.1,hot,osr,bridges"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "1437 489\n", "")


if __name__ == "__main__":
    check_programs(sys.argv[1])
