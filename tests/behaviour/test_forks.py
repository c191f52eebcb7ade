"""Child processes that are forked in the middle: they compute the same, compile, switch minijit off and on, end cleanly.

In: forks by the main thread, a thread, a signal handler and a subscriber, while loops run compiled and while functions
are being compiled. Out: what the child does afterwards, all in all (`lives_on`), and that the parent goes on. Forks
while *another* thread compiles, after which minijit is off in the child for good, are the business of `test_regressions`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from isolated import isolated
from spinning import SPIN, WANDERING, forms, hot
from twin import LOW, Patient, compiled_from, enabled

import minijit
from minijit.events import Compiled

if TYPE_CHECKING:
    from collections.abc import Callable


def in_a_child(action: Callable[[], object]) -> None:
    """Does something in a child process, which must end well."""
    child = os.fork()
    if not child:
        os._exit(ends_well(action))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def ends_well(action: Callable[[], object]) -> int:
    """The exit code of a child process, which says what went wrong."""
    try:
        action()
    except BaseException:  # noqa: BLE001 - whatever it is, the child ends here
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


def lives_on(f: Any) -> None:
    """What was compiled runs, more is compiled, and minijit goes and comes back."""
    plain = compiled_from(SPIN)
    for _ in range(3):
        entries = minijit.stats(f).entries
        assert f(60, 3) == plain(60, 3)
        assert f(60, 2**62) == plain(60, 2**62)
        assert minijit.stats(f).entries > entries
        for source in forms(SPIN):
            g = hot(source, 50, 3)
            assert g(60, 3) == plain(60, 3)
        minijit.disable()
        assert not minijit.is_compiled(f)
        assert f(60, 3) == plain(60, 3)
        minijit.enable(LOW)
        for _ in range(10):
            assert f(60, 3) == plain(60, 3)


@isolated
def test_fork() -> None:
    """The child computes the same, compiles more, and ends cleanly; so does the parent."""
    with enabled():
        f = minijit.jit(policy=Patient(LOW))(compiled_from(WANDERING))
        for _ in range(10):
            f(30)
        wanted = f(30), f(30, 2**62)
        for action in range(4):
            child = os.fork()
            if not child:
                ok = (f(30), f(30, 2**62)) == wanted
                g = minijit.jit(policy=Patient(LOW))(compiled_from(WANDERING))
                for _ in range(10):
                    ok &= g(30) == wanted[0]
                ok &= minijit.is_compiled(g)
                if action == 1:
                    minijit.disable()
                    ok &= f(30) == wanted[0]
                if action == 2:
                    sys.exit(0 if ok else 1)
                os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0, action
            assert (f(30), f(30, 2**62)) == wanted


@isolated
def test_fork_in_the_middle_of_a_loop() -> None:
    """A compiled loop calls fork: both sides go on."""
    source = """
def f(n, fork, *rest):
    s = 0
    for i in range(n):
        s += i
        if i == 25:
            s += fork()
        s += 1
    return s
"""
    with enabled():
        for form in (source, source.replace(", *rest", "")):
            f = minijit.jit(policy=Patient(LOW))(compiled_from(form))
            for _ in range(10):
                assert f(60, lambda: 0) == 1830
            children: list[int] = []

            def fork(children: list[int] = children) -> int:
                children.append(os.fork())
                return 0 if children[0] else 1000

            found = f(60, fork)
            if not children[0]:
                os._exit(0 if found == 2830 and f(60, lambda: 0) == 1830 else 1)
            assert found == 1830
            assert os.waitpid(children[0], 0)[1] == 0


@isolated
def test_fork_by_a_thread_in_a_compiled_loop() -> None:
    """While the main thread is in one, too."""
    warnings.simplefilter("ignore", DeprecationWarning)
    source = SPIN.replace("& 0xFFFFFF", "& 0xFFFFFF\n        if i == 100_000:\n            fork()")
    with enabled():
        f, main = hot(SPIN, 50, 3), hot(SPIN.replace("range(n)", "range(n + 1)"), 50, 3)
        for form in forms(source):
            forking = minijit.jit(policy=Patient(LOW))(
                compiled_from(form, fork=lambda: in_a_child(lambda: lives_on(f)))
            )
            for _ in range(10):
                forking(50, 3)
            assert minijit.is_compiled(forking)
            found: list[object] = []
            wanted = compiled_from(form, fork=lambda: None)(200_000, 3)
            thread = threading.Thread(target=lambda forking=forking, found=found: found.append(forking(200_000, 3)))
            thread.start()
            while thread.is_alive():
                main(1_000_000, 3)
            thread.join()
            assert found == [wanted]
            lives_on(f)


@isolated
def test_fork_by_a_signal_handler() -> None:
    """Which came in a compiled loop: the loop goes on in both processes."""
    source = "def f(n, *rest):\n    i = 0\n    while i < n:\n        i += 1\n    return i\n"
    parent = os.getpid()
    codes: list[int] = []

    def handler(_number: int, _frame: Any) -> None:
        child = os.fork()
        if child:
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    with enabled():
        signal.signal(signal.SIGALRM, handler)
        f = hot(SPIN, 50, 3)
        for form in forms(source):
            g = hot(form, 100)
            entries = minijit.stats(g).entries
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            deadline = time.perf_counter() + 20
            while not codes and os.getpid() == parent and time.perf_counter() < deadline:
                assert g(3_000_000) == 3_000_000
            assert minijit.stats(g).entries > entries
            if os.getpid() != parent:
                os._exit(ends_well(lambda: lives_on(f)))
            assert codes == [0]
            codes.clear()
            lives_on(f)


@isolated
def test_fork_in_the_midst_of_our_work() -> None:
    """By a subscriber, who is told of a compilation: the child is in the midst of it, too, and ends it."""
    parent = os.getpid()
    children: list[int] = []

    def fork(event: object) -> None:
        if isinstance(event, Compiled) and os.getpid() == parent:
            children.append(os.fork())

    with enabled():
        f = hot(SPIN, 50, 3)
        unsubscribe = minijit.subscribe(fork)
        g = minijit.jit(policy=Patient(LOW))(compiled_from(WANDERING))
        results = {g(30) for _ in range(10)}
        if os.getpid() != parent:
            os._exit(ends_well(lambda: lives_on(f)) or len(results) != 1)
        unsubscribe()
        assert children
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * len(children)
        assert len(results) == 1
        lives_on(f)
