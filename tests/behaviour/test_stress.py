"""Everything at once: threads, signals, Ctrl-C, collections, changes and releases while functions get hot, are recorded,
compiled, entered, left and killed. What comes out is right, and nothing is reported to standard error.

Deterministic up to the timing of threads and signals; `SECONDS` each. What comes of all of it together, and for long, is
the business of `storm`.
"""

from __future__ import annotations

import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from changing import CHANGED, change, kills_counted
from isolated import isolated
from mixture import ARGUMENTS, PROGRAM, PROGRAMS, RELYING, fresh_functions, table_of, visible
from twin import enabled, outcome, plain_twin

import minijit

OURS = Path(minijit.__file__).parent
SECONDS = 1.5
LONG = 30.0


def work(functions: list[Any], table: dict[tuple[int, int], object], seed: int, until: float) -> int:
    """Calls functions at random and compares; how many calls there were."""
    choice = random.Random(seed)
    for count in itertools.count():
        if time.perf_counter() > until:
            return count
        p, a = choice.randrange(len(functions)), choice.randrange(len(ARGUMENTS))
        found = visible(outcome(functions[p], *ARGUMENTS[a]))
        assert found == table[p, a], (PROGRAMS[p], ARGUMENTS[a], found, table[p, a])
    raise AssertionError


def threads(seconds: float) -> None:
    with enabled(), kills_counted() as kills:
        # On a loaded machine with threads that switch this often, compiled code may be long in coming.
        for _ in range(10):
            threads_for(seconds)
            if minijit.stats().entries and kills[CHANGED]:
                break
        print(kills)
        assert minijit.stats().entries
        assert kills[CHANGED]


def threads_for(seconds: float) -> None:
    functions, plain = fresh_functions()
    table = table_of(plain)
    failures: list[BaseException] = []
    until = time.perf_counter() + seconds

    def run(action: Any, *arguments: Any) -> None:
        try:
            action(*arguments)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it fails the test
            failures.append(error)

    def meddle() -> None:
        choice = random.Random(99)
        while time.perf_counter() < until:
            f = choice.choice(functions)
            match choice.randrange(6):
                case 0:
                    minijit.release(f)
                case 1:
                    change(functions[RELYING])
                    f.__globals__[f"other{choice.randrange(100)}"] = 1
                case 2:
                    f.__code__ = f.__code__.replace()
                case 3:
                    minijit.stats(f)
                    str(minijit.explain(f))
                case 4:
                    gc.collect(0)
                case 5:
                    outcome(minijit.jit(plain_twin(f)), *ARGUMENTS[0])
            time.sleep(0.002)

    for f in functions:
        minijit.jit(f)
    sys.setswitchinterval(5e-5)
    running = [threading.Thread(target=run, args=(work, functions, table, seed, until)) for seed in range(4)]
    running.append(threading.Thread(target=run, args=(meddle,)))
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    sys.setswitchinterval(5e-3)
    assert not failures, failures


@isolated
def test_threads() -> None:
    """Four threads call everything, a fifth releases, replaces, changes and asks."""
    threads(SECONDS)


def signals(seconds: float) -> None:
    functions, plain = fresh_functions()
    table = table_of(plain)
    count = 0

    def handler(_number: int, _frame: Any) -> None:
        nonlocal count
        count += 1
        p, a = count % len(functions), count // 3 % len(ARGUMENTS)
        assert visible(outcome(functions[p], *ARGUMENTS[a])) == table[p, a]
        if count % 10 == 0:
            minijit.release(functions[p])
        if count % 7 == 0:
            change(functions[RELYING])

    with enabled(), kills_counted() as kills:
        for f in functions:
            minijit.jit(f)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
        # Compiled code may be long in coming here, too.
        for seed in range(10):
            work(functions, table, seed, time.perf_counter() + seconds)
            if count > 20 and minijit.stats().entries and kills[CHANGED]:
                break
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(count, kills)
        assert count > 20
        assert minijit.stats().entries
        assert kills[CHANGED]


@isolated
def test_signals() -> None:
    """A handler that calls the same functions runs again and again, in whatever is going on."""
    signals(SECONDS)


def interrupts(seconds: float) -> None:
    functions, plain = fresh_functions()
    table = table_of(plain)
    until = time.perf_counter() + seconds
    armed = False

    def interrupt() -> None:
        choice = random.Random(3)
        while time.perf_counter() < until:
            time.sleep(choice.random() * 0.004)
            if armed:
                os.kill(os.getpid(), signal.SIGINT)

    def handler(*_: object) -> None:
        """Raises once for each time that it is asked to."""
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    came = 0
    signal.signal(signal.SIGINT, handler)
    with enabled():
        for f in functions:
            minijit.jit(f)
        thread = threading.Thread(target=interrupt)
        thread.start()
        seed = 0
        while time.perf_counter() < until:
            seed += 1
            try:
                armed = True
                work(functions, table, seed, time.perf_counter() + 0.02)
                armed = False
            except KeyboardInterrupt:
                came += 1
            if seed % 5 == 0:
                for f in functions:
                    minijit.release(f)
        thread.join()
        print(came)
        assert came > 5
        work(functions, table, 0, time.perf_counter() + 0.3)
        assert minijit.stats().entries


@isolated
def test_interrupts() -> None:
    """Ctrl-C again and again: each comes out as KeyboardInterrupt, and everything works on."""
    interrupts(SECONDS)


@pytest.mark.slow
@isolated(timeout=300)
def test_interrupts_for_long() -> None:
    """The same for half a minute."""
    interrupts(LONG)


def tracing(seconds: float) -> None:
    functions, plain = fresh_functions()
    table = table_of(plain)
    until = time.perf_counter() + seconds
    lines = 0

    def trace(frame: Any, _event: str, _argument: object) -> Any:
        nonlocal lines
        assert not Path(frame.f_code.co_filename).is_relative_to(OURS), frame
        lines += frame.f_code.co_filename == PROGRAM
        return trace

    with enabled():
        for f in functions:
            minijit.jit(f)
        seed = 0
        while time.perf_counter() < until:
            seed += 1
            choice = random.Random(seed)
            for _ in range(40):
                p, a = choice.randrange(len(functions)), choice.randrange(len(ARGUMENTS))
                traced = choice.random() < 0.2
                before = lines
                if traced:
                    sys.settrace(trace)
                found = visible(outcome(functions[p], *ARGUMENTS[a]))
                sys.settrace(None)
                assert table[p, a] == visible(outcome(plain[p], *ARGUMENTS[a]))
                assert found == table[p, a], (PROGRAMS[p], ARGUMENTS[a], found, table[p, a])
                assert (lines > before) == traced
        assert minijit.stats().entries


@isolated
def test_tracing() -> None:
    """A debugger comes and goes at random; it never sees anything of ours."""
    tracing(SECONDS)
