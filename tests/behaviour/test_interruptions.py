"""Whoever wants a turn while compiled code runs gets it: signals, threads, the collector, debuggers.

Each is tried with a loop that was entered on the stack and with one inside a function entered by a call.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import itertools
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from typing import Any

from isolated import isolated
from twin import LOW, Patient, compiled_from, enabled

import minijit

SPIN = """
def f(n, k, *rest):
    s = 0
    for i in range(n):
        s = (s + i * k) & 0xFFFFFF
    return s
"""
ENDLESS = """
def f(limit, *rest):
    s = 0
    while s != limit:
        s = (s + 2) & 0xFFFFFF
    return s
"""
AT_MOST = 1.0
"""Seconds from a signal to its effect; the promise is 0.1, on a machine that has nothing else to do."""


def forms(source: str) -> list[str]:
    """The program entered on the stack, and entered by a call."""
    return [source, source.replace(", *rest", "")]


def hot(source: str, *arguments: object) -> Any:
    """A function that runs compiled."""
    f = minijit.jit(policy=Patient(LOW))(compiled_from(source))
    for _ in range(8):
        f(*arguments)
    assert minijit.stats(f).entries, minijit.explain(f)
    return f


def after(seconds: float, action: Any, *arguments: object) -> threading.Timer:
    timer = threading.Timer(seconds, action, arguments)
    timer.daemon = True
    timer.start()
    return timer


def interrupted(f: Any, *arguments: object) -> None:
    """Ctrl-C ends the call, soon, in the function's loop."""
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    after(0.1, interrupt)
    entries = minijit.stats(f).entries
    try:
        f(*arguments)
    except KeyboardInterrupt as error:
        latency = time.perf_counter() - sent[0]
        last = traceback.extract_tb(error.__traceback__)[-1]
        assert last.name in ("f", "interrupt", "handler"), last
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert frames == ["interrupted", "f"], frames
        assert last.lineno in (3, 4, 5, 6), last
    else:
        raise AssertionError("nothing was raised")
    print(f"{1000 * latency:.2f} ms")
    assert latency < AT_MOST, latency
    assert minijit.stats(f).entries > entries


@isolated
def test_ctrl_c_ends_an_endless_loop() -> None:
    """With the traceback's last line in the loop."""
    with enabled():
        for source in forms(ENDLESS):
            f = hot(source, 100)
            for _ in range(3):
                interrupted(f, 1)
            assert f(100) == 100
        for source in forms(SPIN):
            f = hot(source, 50, 3)
            interrupted(f, 10**15, 3)


@isolated
def test_ctrl_c_ends_a_loop_that_calls_a_compiled_function() -> None:
    """Functions are called from an interpreted loop: their entries and exits do not hide the signal."""
    source = """
def g(i):
    return (i * 3) & 0xFF
def f(n, *rest):
    s = 0
    while s >= 0:
        s = g(s)
    return s
"""
    with enabled():
        scope = compiled_from(source).__globals__
        for name in ("g", "f"):
            minijit.jit(policy=Patient(LOW))(scope[name])
        for _ in range(50):
            scope["g"](5)
        after(0.1, _thread.interrupt_main)
        started = time.perf_counter()
        try:
            scope["f"](1)
        except KeyboardInterrupt as error:
            names = [frame.name for frame in traceback.extract_tb(error.__traceback__)][1:]
            assert names in (["f"], ["f", "g"]), names
        else:
            raise AssertionError("nothing was raised")
        assert time.perf_counter() - started < 0.1 + AT_MOST
        assert minijit.stats(scope["g"]).entries


@isolated
def test_a_handler_that_returns_lets_the_loop_go_on() -> None:
    """Many signals while the loop runs: right results, and the handler sees the loop's frame and variables."""
    seen: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if frame.f_code.co_name == "f":
            seen.append(frame.f_locals["i"])
            assert frame.f_lineno in (4, 5)

    with enabled():
        signal.signal(signal.SIGALRM, handler)
        for source in forms(SPIN):
            f = hot(source, 50, 3)
            wanted = f(3_000_000, 7)
            plain = compiled_from(source)
            assert plain(30_000, 7) == f(30_000, 7)
            seen.clear()
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            deadline = time.perf_counter() + 20
            while len(seen) < 20 and time.perf_counter() < deadline:
                assert f(3_000_000, 7) == wanted
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert len(seen) >= 20
            assert minijit.stats(f).entries > 20


@isolated
def test_a_handler_that_raises() -> None:
    """The exception comes out of the loop; a handler around the loop catches it, and the loop may be run again."""

    class Stop(Exception):
        pass

    def handler(number: int, frame: Any) -> None:
        raise Stop

    source = """
def f(n, stop, *rest):
    caught = 0
    for _ in range(2):
        i = 0
        try:
            while i < n:
                i += 1
        except stop:
            caught += 1
    return caught, i > 0
"""
    with enabled():
        signal.signal(signal.SIGALRM, handler)
        for form in forms(source):
            f = hot(form, 50, Stop)
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            found = f(10**15, Stop)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert found == (2, True)


@isolated
def test_several_threads_in_compiled_loops() -> None:
    """All make progress, and a thread that only sleeps gets its turn on time."""
    with enabled():
        f = hot(SPIN, 50, 3)
        g = hot(SPIN.replace(", *rest", ""), 50, 3)
        wanted = [g(400_000, k) for k in range(4)]
        rounds = [0] * 4
        late: list[float] = []
        done = threading.Event()

        def work(k: int) -> None:
            function = f if k % 2 else g
            while not done.is_set():
                assert function(400_000, k) == wanted[k]
                rounds[k] += 1

        def sleeper() -> None:
            while not done.is_set():
                before = time.perf_counter()
                time.sleep(0.01)
                late.append(time.perf_counter() - before)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)] + [threading.Thread(target=sleeper)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        done.set()
        for thread in threads:
            thread.join()
        print(rounds, len(late), max(late))
        assert min(rounds) >= 3, rounds
        # Each of the others has the interpreter for 5 ms at a time.
        assert len(late) >= 10, late


@isolated
def test_the_collector_runs() -> None:
    """Cyclic garbage of other threads is collected while a compiled loop runs, and its callbacks are called."""
    collected: list[str] = []

    class Cycle:
        def __init__(self) -> None:
            self.me = self

    def make() -> None:
        while not done.is_set():
            for _ in range(300):
                weakref.finalize(Cycle(), collected.append, threading.current_thread().name).atexit = False
            time.sleep(0.001)

    done = threading.Event()
    with enabled():
        f = hot(SPIN, 50, 3)
        gc.set_threshold(500)
        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        deadline = time.perf_counter() + 10
        while not collected and time.perf_counter() < deadline:
            f(20_000_000, 3)
        done.set()
        thread.join()
        assert collected


def one(_i: int) -> int:
    return 1


@isolated
def test_a_collection_runs_our_callbacks_at_an_exit() -> None:
    """A finaliser that calls the very function, changes its globals, releases it: nothing of it hurts."""
    source = """
g = 1
def f(n, make, *rest):
    s = 0
    for i in range(n):
        s += i * g
        if i % 10 == 9:
            s += make(i)
        s += 1
    return s
"""
    with enabled():
        for form in forms(source):
            plain = compiled_from(form)
            f = minijit.jit(policy=Patient(LOW))(compiled_from(form))
            depth = [0]

            class Cycle:
                def __init__(self, i: int) -> None:
                    self.me, self.i = self, i

                def __del__(self, f: Any = f, plain: Any = plain, depth: list[int] = depth) -> None:
                    if depth[0]:
                        return
                    depth[0] += 1
                    assert f(20, one) == plain(20, one)
                    f.__globals__["g"] = 1 + 0
                    if self.i % 3 == 0:
                        minijit.release(f)
                    depth[0] -= 1

            gc.set_threshold(5)

            def make(i: int, Cycle: Any = Cycle) -> int:
                Cycle(i)
                return 1

            for _ in range(20):
                assert f(100, make) == plain(100, one)
            gc.set_threshold(700)
            gc.collect()


# Debuggers, profilers, coverage


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
