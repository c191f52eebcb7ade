"""Whoever wants a turn while compiled code runs gets it: signals, threads, the collector.

In: endless and long loops, each entered on the stack and inside a function entered by a call (see `spinning`). Out: what
whoever interrupts them sees, and what they give all the same. Debuggers and the like are the business of
`test_debuggers`.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import traceback
import weakref
from typing import Any

from changing import CHANGED, change, kills_counted
from isolated import isolated
from spinning import ENDLESS, SPIN, forms, hot
from twin import LOW, Patient, compiled_from, enabled

import minijit

TRIES = 8
AS_LATE = 10
"""How many times as long as in the interpreter it may take from a signal to its effect, at best of all tries: a noisy
machine delays both, and not each time."""


def after(seconds: float, action: Any, *arguments: object) -> threading.Timer:
    timer = threading.Timer(seconds, action, arguments)
    timer.daemon = True
    timer.start()
    return timer


def interrupted(f: Any, *arguments: object) -> tuple[float, list[traceback.FrameSummary]]:
    """Ctrl-C ends the call: how many seconds after it was sent, and in which frames."""
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    after(0.03, interrupt)
    try:
        f(*arguments)
    except KeyboardInterrupt as error:
        latency = time.perf_counter() - sent[0]
        return latency, list(traceback.extract_tb(error.__traceback__))[1:]
    raise AssertionError("nothing was raised")


def interrupted_in_the_loop(f: Any, *arguments: object) -> float:
    """Ctrl-C ends the call in the function's loop: how many seconds after it was sent."""
    for _ in range(TRIES):
        latency, frames = interrupted(f, *arguments)
        # On a busy machine it may come before the loop is reached.
        if frames and frames[0].lineno > 3:
            break
    assert [(frame.name, frame.lineno in (4, 5)) for frame in frames] == [("f", True)], frames
    return latency


def as_soon_as_interpreted(f: Any, plain: Any, interrupt: Any, *arguments: object) -> None:
    """Ctrl-C is as quick as in the interpreter, the best of several tries by turns."""
    pairs = [(interrupt(plain, *arguments), interrupt(f, *arguments)) for _ in range(TRIES)]
    interpreted, compiled = map(min, zip(*pairs, strict=True))
    print(f"{1000 * interpreted:.2f} ms interpreted, {1000 * compiled:.2f} ms compiled")
    assert compiled < AS_LATE * interpreted, pairs


@isolated
def test_ctrl_c_ends_an_endless_loop() -> None:
    """With the traceback's last line in the loop, and as soon as in the interpreter."""
    with enabled():
        for program, warm, endless in ((ENDLESS, (100,), (1,)), (SPIN, (50, 3), (10**15, 3))):
            for source in forms(program):
                f, plain = hot(source, *warm), compiled_from(source)
                entries = minijit.stats(f).entries
                as_soon_as_interpreted(f, plain, interrupted_in_the_loop, *endless)
                assert minijit.stats(f).entries >= entries + TRIES
                assert f(*warm) == plain(*warm)


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

    def interrupted_somewhere(f: Any, *arguments: object) -> float:
        latency, frames = interrupted(f, *arguments)
        assert [frame.name for frame in frames] in (["f"], ["f", "g"]), frames
        return latency

    with enabled():
        plain = compiled_from(source)
        scope = compiled_from(source).__globals__
        for name in ("g", "f"):
            minijit.jit(policy=Patient(LOW))(scope[name])
        for _ in range(50):
            scope["g"](5)
        entries = minijit.stats(scope["g"]).entries
        as_soon_as_interpreted(scope["f"], plain, interrupted_somewhere, 1)
        assert minijit.stats(scope["g"]).entries > entries


@isolated
def test_a_handler_that_returns_lets_the_loop_go_on() -> None:
    """Many signals while the loop runs: right results, and the handler sees the loop's frame and variables. It may come
    between any two instructions, before the loop and behind it as well."""
    seen: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if frame is not None and frame.f_code.co_name == "f" and "i" in frame.f_locals:
            i, s = frame.f_locals["i"], frame.f_locals["s"]
            assert s == 7 * (i * (i + 1) // 2) & 0xFFFFFF
            assert frame.f_lineno in (4, 5) or (frame.f_lineno == 6 and i == 2_999_999)
            seen.append(i)

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
            try:
                while len(seen) < 20 and time.perf_counter() < deadline:
                    assert f(3_000_000, 7) == wanted
            finally:
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
    with enabled(), kills_counted() as kills:
        for form in forms(source):
            plain = compiled_from(form)
            f = minijit.jit(policy=Patient(LOW))(compiled_from(form))
            depth = [0]
            kills.clear()

            class Cycle:
                def __init__(self, i: int) -> None:
                    self.me, self.i = self, i

                def __del__(self, f: Any = f, plain: Any = plain, depth: list[int] = depth) -> None:
                    if depth[0]:
                        return
                    depth[0] += 1
                    assert f(20, one) == plain(20, one)
                    change(f)
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
            assert kills[CHANGED], kills
