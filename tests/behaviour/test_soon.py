"""Machine code comes soon: a function that is called once reaches it within its loop's first thousand rounds.

In: functions with one long loop or a nest, each called once, with the default thresholds; each counts its rounds. Out:
how far it was, twice: by its own count when a region went into service, and by the counters of its loops, which are the
back edges that the interpreter took. No clock is read.
"""

from __future__ import annotations

import sys
from typing import Any

from isolated import isolated
from twin import compiled_from

import minijit
from minijit.driver import api
from minijit.events import Compiled

ROUNDS = 300_000
SOON = 1000
PROGRAMS = {
    "for": """
def f(n):
    k = 0
    for i in range(n):
        k += 1
    return k
""",
    "while": """
def f(n):
    k, x = 0, 0.5
    while k < n:
        k += 1
        x = x * 0.75 + k
    return k
""",
    "branches": """
def f(n):
    k = s = 0
    for i in range(n):
        k += 1
        if i % 3 == 0:
            s += i
        elif i % 3 == 1:
            s -= 1
        else:
            s ^= k
    return k
""",
    "a branch that comes late": """
def f(n):
    k = s = 0
    while k < n:
        k += 1
        if k > 500:
            s += k
    return k
""",
    "a short loop in a long one": """
def f(n):
    k = 0
    for i in range(n // 5):
        for j in range(5):
            k += 1
    return k
""",
    "a long loop in a short one": """
def f(n):
    k = 0
    for i in range(3):
        for j in range(n // 3):
            k += 1
    return k
""",
}


class Reached:
    """How far a function was, by its own count, when its first region went into service."""

    def __init__(self, function: Any) -> None:
        self.code = function.__code__
        self.rounds: int | None = None

    def __call__(self, event: object) -> None:
        if self.rounds is not None or not isinstance(event, Compiled):
            return
        frame = sys._getframe()
        while frame is not None and frame.f_code is not self.code:
            frame = frame.f_back
        assert frame is not None
        self.rounds = frame.f_locals["k"]


def interpreted_rounds(function: Any) -> int:
    """How many back edges the interpreter counted in the function's loops."""
    driver = api._process.driver
    assert driver is not None
    loops = driver.registry.functions[id(function)].code.loops
    return sum(loop.site.get("count") for loop in loops.values())


def called_once(source: str, config: minijit.Config) -> tuple[int, int]:
    """How far the function was when it was compiled, and how many rounds were interpreted and counted in all."""
    f = compiled_from(source)
    with minijit.enable(config):
        minijit.jit(f)
        reached = Reached(f)
        unsubscribe = minijit.subscribe(reached)
        assert f(ROUNDS) == ROUNDS
        unsubscribe()
        assert minijit.stats(f).entries, minijit.explain(f)
        assert reached.rounds is not None
        return reached.rounds, interpreted_rounds(f)


@isolated
def test_a_function_that_is_called_once() -> None:
    """Its first region comes within the first thousand rounds, and what is counted of it by then is all that is."""
    for name, source in PROGRAMS.items():
        reached, counted = called_once(source, minijit.Config())
        print(name, reached, counted)
        assert 0 < reached < SOON, name
        assert 0 < counted < SOON, name


@isolated
def test_it_would_be_seen() -> None:
    """Of a higher threshold both figures tell."""
    for name, source in PROGRAMS.items():
        reached, counted = called_once(source, minijit.Config(loop_threshold=4 * SOON))
        assert reached > 2 * SOON, name
        assert counted > 2 * SOON, name
