"""Debuggers, profilers, coverage: they see what they see without minijit, whenever they come, and leave no trace.

In: loops, each entered on the stack and inside a function entered by a call (see `spinning`), watched in every way that
CPython has. Out: the lines, calls and events seen, and that the function is compiled once nobody watches.
"""

from __future__ import annotations

import _thread
import contextlib
import itertools
import sys
import threading
import time
from typing import Any

from isolated import isolated
from spinning import ENDLESS, SPIN, forms, hot
from twin import LOW, Patient, compiled_from, enabled

import minijit


def lines_seen(f: Any, *arguments: object) -> list[int]:
    """The lines that a trace function is told of."""
    seen: list[int] = []

    def trace(frame: Any, event: str, argument: object) -> Any:
        if frame.f_code is f.__code__ and event in ("line", "call", "return"):
            seen.append(frame.f_lineno if event == "line" else -frame.f_lineno)
        return trace

    sys.settrace(trace)
    try:
        f(*arguments)
    finally:
        sys.settrace(None)
    return seen


@isolated
def test_settrace() -> None:
    """Every line is seen while somebody traces; afterwards the function is compiled again."""
    with enabled():
        for source in forms(SPIN):
            plain = compiled_from(source)
            wanted = lines_seen(plain, 40, 3)
            before = minijit.jit(policy=Patient(LOW))(compiled_from(source))
            assert lines_seen(before, 40, 3) == wanted
            f = hot(source, 50, 3)
            for _ in range(3):
                assert lines_seen(f, 40, 3) == wanted
                entries = minijit.stats(f).entries
                results = [f(60, 3) for _ in range(40)]
                assert set(results) == {plain(60, 3)}
                assert minijit.stats(f).entries > entries, minijit.explain(f)


@isolated
def test_setprofile() -> None:
    """A profiler sees every call and return, and nothing of ours."""
    source = "def f(n):\n    s = 0\n    for i in range(n):\n        s += abs(i)\n    return [s]\n"

    def events(function: Any) -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []

        def profile(frame: Any, event: str, argument: Any) -> None:
            name = frame.f_code.co_name if event in ("call", "return") else argument.__name__
            seen.append((event, name))

        sys.setprofile(profile)
        function(12)
        sys.setprofile(None)
        return seen

    with enabled():
        plain = compiled_from(source)
        wanted = events(plain)
        f = minijit.jit(policy=Patient(LOW))(compiled_from(source))
        assert events(f) == wanted
        for _ in range(30):
            f(20)
        assert minijit.stats(f).entries
        for _ in range(3):
            assert events(f) == wanted
            entries = minijit.stats(f).entries
            for _ in range(30):
                f(20)
            assert minijit.stats(f).entries > entries


@isolated
def test_monitoring_by_another_tool() -> None:
    """Global and local events of another tool id: all are seen."""
    monitoring = sys.monitoring
    E = monitoring.events
    tool = monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "other")
    sorts = {getattr(E, name): name for name in ("LINE", "PY_START", "PY_RETURN", "JUMP", "BRANCH", "CALL")}

    def watch(f: Any, *, local: bool, which: int) -> list[tuple[object, ...]]:
        seen: list[tuple[object, ...]] = []

        def note(sort: str) -> Any:
            def callback(code: Any, *rest: Any) -> None:
                if code is f.__code__:
                    seen.append((sort, *[str(r) for r in rest]))

            return callback

        for event, sort in sorts.items():
            monitoring.register_callback(tool, event, note(sort))
        if local:
            monitoring.set_local_events(tool, f.__code__, which)
        else:
            monitoring.set_events(tool, which)
        f(40, 3)
        if local:
            monitoring.set_local_events(tool, f.__code__, 0)
        monitoring.set_events(tool, 0)
        return seen

    with enabled():
        for source in forms(SPIN):
            plain = compiled_from(source)
            f = hot(source, 50, 3)
            for which in (E.LINE, E.PY_START | E.PY_RETURN, E.JUMP | E.BRANCH, E.CALL, E.LINE | E.JUMP | E.CALL):
                for local in (True, False):
                    found, wanted = watch(f, local=local, which=which), watch(plain, local=local, which=which)
                    assert [x[0] for x in found] == [x[0] for x in wanted], (local, which)
                    assert found == wanted
                    entries = minijit.stats(f).entries
                    for _ in range(30):
                        assert f(60, 3) == plain(60, 3)
                    assert minijit.stats(f).entries > entries, (which, local, minijit.explain(f))


@isolated
def test_a_tool_that_comes_while_the_loop_runs() -> None:
    """From another thread: the loop is interpreted as soon as its lines are wanted, and compiled again after that."""
    monitoring = sys.monitoring
    tool = monitoring.COVERAGE_ID
    monitoring.use_tool_id(tool, "coverage")
    with enabled():
        for source in forms(ENDLESS.replace("0xFFFFFF", "0xFFFFFFFF")):
            f = hot(source, 100)
            seen: list[int] = []
            state: dict[str, Any] = {"stop": False}

            def line(code: Any, number: int, f: Any = f, seen: list[int] = seen) -> object:
                if code is f.__code__:
                    seen.append(number)
                    return None
                return monitoring.DISABLE

            def come_and_go(
                f: Any = f, seen: list[int] = seen, state: dict[str, Any] = state, line: Any = line
            ) -> None:
                time.sleep(0.1)
                before = minijit.stats(f).entries
                monitoring.register_callback(tool, monitoring.events.LINE, line)
                monitoring.set_events(tool, monitoring.events.LINE)
                deadline = time.perf_counter() + 5
                while len(seen) < 1000 and time.perf_counter() < deadline:
                    time.sleep(0.005)
                monitoring.set_events(tool, 0)
                time.sleep(0.3)
                state["entered again"] = minijit.stats(f).entries > before
                state["quiet"] = len(seen)
                time.sleep(0.05)
                state["quiet"] = state["quiet"] == len(seen)
                _thread.interrupt_main()

            thread = threading.Thread(target=come_and_go)
            thread.start()
            with contextlib.suppress(KeyboardInterrupt):
                f(1)
            thread.join()
            assert len(seen) >= 1000, len(seen)
            # The condition and the body, by turns.
            pairs = set(itertools.pairwise(seen[10:900]))
            assert pairs == {(4, 5), (5, 4)}, pairs
            assert state["entered again"], minijit.explain(f)
            assert state["quiet"]


@isolated
def test_settrace_from_within_the_function() -> None:
    """A compiled function that calls something which starts to trace: its remaining lines are seen."""
    source = """
def f(n, start, *rest):
    s = 0
    for i in range(n):
        s += i
        if i == 30:
            start()
            s += 1
        s += 2
    s += 3
    return s
"""

    def run(f: Any) -> tuple[object, list[int]]:
        seen: list[int] = []

        def trace(frame: Any, event: str, argument: object) -> Any:
            seen.append(frame.f_lineno)
            return trace

        def start() -> None:
            frame = sys._getframe(1)
            frame.f_trace = trace
            sys.settrace(trace)

        result = f(35, start)
        sys.settrace(None)
        return result, [line for line in seen if line < 20]

    with enabled():
        for form in forms(source):
            wanted = run(compiled_from(form))
            f = minijit.jit(policy=Patient(LOW))(compiled_from(form))
            for _ in range(10):
                f(30, None)
            assert minijit.stats(f).entries
            for _ in range(3):
                assert run(f) == wanted


@isolated
def test_a_debugger_changes_a_variable() -> None:
    """`f_lineno` jumps and locals written by a trace function are respected after the interpreter took over."""
    source = """
def f(n, *rest):
    s = 0
    i = 0
    while i < n:
        i += 1
        s += i
    return s, i
"""

    def run(f: Any, jumps: bool) -> object:
        def trace(frame: Any, event: str, argument: object) -> Any:
            if event == "line" and frame.f_lineno == 7 and frame.f_locals["i"] == 20 and jumps:
                frame.f_lineno = 6
            return trace

        sys.settrace(trace)
        try:
            return f(40)
        finally:
            sys.settrace(None)

    with enabled():
        for form in forms(source):
            f, plain = hot(form, 50), compiled_from(form)
            for jumps in (True, False):
                for _ in range(3):
                    assert run(f, jumps) == run(plain, jumps)
                    assert f(50) == plain(50)
