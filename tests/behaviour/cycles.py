"""Compilations and kills without end, and what they leave behind: nothing.

    python tests/behaviour/cycles.py CYCLES

In: how many cycles. In each a function is compiled, entered, and taken out of service in one of the ways of `WAYS`, by
turns: a global is bound anew, the user releases it, it gets another code object, it dies, another tool wants its
events, its counters make it hot and it is released, or minijit is disabled. Out: a line of figures (see `figures`) at
each tenth of the way, and exit code 1 if they have grown since the first, which is when everything has happened often
enough for the allocators to have what they keep.

The functions are tiny, and LLVM's passes are left out, so that a cycle takes a few milliseconds.
"""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from figures import Figures, figures, grown
from twin import Patient, compiled_from

import minijit
from minijit.events import Compiled, Killed, KillReason
from minijit.runtime.policy import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = minijit.Config(
    call_threshold=3, loop_threshold=10, exit_threshold=5, compile_seconds=1e9, patience=10**9, optimise=0
)
WARM = 3_000
"""After so many cycles nothing is met for the first time any more: of each root 200 events are remembered, say."""
SOURCE = """
def f(a, n):
    s = a
    for i in range(n):
        s += g
    return s
"""
G = 2**70
"""The other value of the global: an object of its own, whose references are counted."""
TOOL = sys.monitoring.PROFILER_ID


class Lasting(Patient):
    """Never gives up after a kill."""

    def after_kill(self, root: Any, reason: Any) -> Wait:
        return Wait(3)


class NotCompiled(AssertionError):
    """A function was not compiled, or not killed, when it should have been."""


@dataclass(slots=True)
class Cycles:
    """A function that goes in and out of service, and counts of its kills by their reasons."""

    function: Any = field(init=False)
    kills: dict[KillReason, int] = field(default_factory=dict)
    compiled: int = 0
    events_seen: int = 0

    def __post_init__(self) -> None:
        minijit.subscribe(self.note)
        self.function = fresh()

    def note(self, event: object) -> None:
        if isinstance(event, Compiled):
            self.compiled += 1
        elif isinstance(event, Killed):
            self.kills[event.reason] = self.kills.get(event.reason, 0) + 1

    def cycle(self, number: int) -> None:
        """One compilation and one kill."""
        way, reason = WAYS[number % len(WAYS)]
        if number % DISABLED_EVERY == DISABLED_EVERY - 1:
            way, reason = disabled, KillReason.DISABLED
        before = self.kills.get(reason, 0)
        way(self)
        # What is hot may have two regions: of its calls and of its loop.
        if self.kills.get(reason, 0) == before:
            raise NotCompiled(f"cycle {number}, {way.__name__}: {self.kills}\n{minijit.explain(self.function)}")

    def enter(self, function: Any) -> None:
        """Compiles the function, if need be, and enters it."""
        if not minijit.is_compiled(function) and not minijit.compile(function, int, int):
            raise NotCompiled(str(minijit.explain(function)))
        check(function)


def fresh() -> Any:
    """A function of its own code object in a namespace of its own."""
    return minijit.jit(policy=Lasting(QUICK))(compiled_from(SOURCE, g=1))


def check(function: Any) -> None:
    """Three rounds: of small ints, or into bignums, which leave by an exit."""
    assert function(5, 3) == 5 + 3 * function.__globals__["g"]


def rebound(cycles: Cycles) -> None:
    """The global gets another value: the next entry finds out."""
    cycles.enter(cycles.function)
    names = cycles.function.__globals__
    names["g"] = G
    check(cycles.function)
    names["g"] = 1
    check(cycles.function)


def released(cycles: Cycles) -> None:
    """The user throws the code away."""
    cycles.enter(cycles.function)
    minijit.release(cycles.function)
    check(cycles.function)


def recoded(cycles: Cycles) -> None:
    """The function gets another code object."""
    cycles.enter(cycles.function)
    cycles.function.__code__ = cycles.function.__code__.replace()
    check(cycles.function)


def dead(cycles: Cycles) -> None:
    """The function goes, and its code and globals with it."""
    function = fresh()
    cycles.enter(function)
    namespace = function.__globals__
    del function
    # The namespace refers to the function, which refers to the namespace.
    namespace.clear()


def watched(cycles: Cycles) -> None:
    """Another tool wants the function's events for a while, sees them, and then the user throws the code away."""
    monitoring = sys.monitoring
    cycles.enter(cycles.function)
    seen: list[int] = []
    code = cycles.function.__code__
    monitoring.register_callback(TOOL, monitoring.events.PY_START, lambda _code, offset: seen.append(offset))
    monitoring.set_local_events(TOOL, code, monitoring.events.PY_START)
    check(cycles.function)
    monitoring.set_local_events(TOOL, code, 0)
    monitoring.register_callback(TOOL, monitoring.events.PY_START, None)
    assert len(seen) == 1, seen
    check(cycles.function)
    minijit.release(cycles.function)


def hot(cycles: Cycles) -> None:
    """The function is not compiled because it is asked for but because it is called often."""
    for _ in range(20):
        check(cycles.function)
        if minijit.is_compiled(cycles.function):
            break
    check(cycles.function)
    minijit.release(cycles.function)


def disabled(cycles: Cycles) -> None:
    """minijit goes and comes back."""
    cycles.enter(cycles.function)
    minijit.disable()
    check(cycles.function)
    minijit.enable(QUICK)
    check(cycles.function)


WAYS: tuple[tuple[Callable[[Cycles], None], KillReason], ...] = (
    (rebound, KillReason.GLOBAL),
    (released, KillReason.RELEASED),
    (recoded, KillReason.CODE),
    (dead, KillReason.GONE),
    (watched, KillReason.RELEASED),
    (hot, KillReason.RELEASED),
)
DISABLED_EVERY = 29
"""No multiple of how many other ways there are."""


def run(count: int, warm: int = WARM, say: Callable[[str], object] = print) -> list[str]:
    """So many cycles after the first ones; what has grown meanwhile, in words."""
    sys.monitoring.use_tool_id(TOOL, "cycles")
    minijit.enable(QUICK)
    cycles = Cycles()
    for number in range(warm):
        cycles.cycle(number)
    first = last = now(cycles)
    say(f"{warm} cycles before: {first}")
    compiled, started = cycles.compiled, time.perf_counter()
    for number in range(count):
        cycles.cycle(number)
        if (number + 1) % max(count // 10, 1) == 0:
            last = now(cycles)
            each = 1000 * (time.perf_counter() - started) / (number + 1)
            say(f"{number + 1} cycles of {each:.2f} ms: {last}")
    say(f"{cycles.compiled - compiled} compilations; kills: { ({r.label: n for r, n in cycles.kills.items()}) }")
    minijit.disable()
    sys.monitoring.free_tool_id(TOOL)
    # Which events are remembered depends on the ways that came last.
    return grown(first, last, objects=100)


def now(cycles: Cycles) -> Figures:
    """The figures, with references to whatever regions might keep."""
    gc.collect()
    return figures((G, cycles.function, cycles.function.__globals__, check))


if __name__ == "__main__":
    found = run(int(sys.argv[1]))
    sys.exit("\n".join(["has grown:", *found]) if found else 0)
