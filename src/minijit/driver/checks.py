"""Calls done both ways: which, and what comes of it. What `MINIJIT=check` and the setting `compare` are for.

In: calls of compiled functions, when the countdown of a region is at its end (`backend.entry`), and what came of each
way (`backend.check_stub`). Out: which result the program gets; an event and a few lines on standard error for each
difference, after which the function is left to the interpreter.

**Which calls.** The first of each region, then fewer and fewer, at random with the setting `seed`; of these the ones
that can be done twice (`oracle.repeatable`). The interpreter does them again where there is time for it: that has a
share of the processor's time, and is to be expected to be over soon. The clock decides nothing else, so that the same
calls come up in each run.

**What is compared.** Outcomes of the function itself, if nothing that it reads has changed meanwhile: signal handlers
and other threads run in the midst of both ways. What a handler raises goes to the program, as it would without us.

Loops that are entered in a live frame are not checked: where their code leaves the frame is not where the interpreter
is after as many instructions, so there is nothing to compare before the function returns, and that may be after
anything. Decision 0021 says more.
"""

from __future__ import annotations

import time
from _random import Random  # the program may have a module of its own that is called `random`
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from minijit.backend.words import NEVER
from minijit.cpython import raw
from minijit.events import Differed, GiveUpReason, say
from minijit.oracle.outcomes import are_same, is_from, told, written
from minijit.oracle.repeatable import Surroundings, are_plain, surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

    from minijit.driver.decisions import Decisions
    from minijit.driver.registry import Registry
    from minijit.driver.state import FunctionState, Installed
    from minijit.driver.turn import Turn

FIRST = 8
"""So many calls of a region come up in a row."""
GROWTH = 1.125
"""From one to the next after these, the calls that do not come up grow by this factor."""
SHARE = 0.1
"""Of the process's time, what checks may take, if they are not to take more than GRANTED seconds altogether."""
GRANTED = 0.2
LONGEST = 0.5
"""Seconds that the interpreter may be expected to take for one call."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One call that is done both ways."""

    state: FunctionState
    version: Installed
    surroundings: Surroundings
    function: FunctionType
    arguments: tuple[object, ...]
    names: tuple[str, ...]
    began: float
    first_took: float = 0.0
    again_at: float = 0.0


@dataclass(slots=True)
class Checks:
    """Of the functions of a registry. `do` has work done in the driver's turn."""

    registry: Registry
    decisions: Decisions
    turn: Turn
    do: Callable[[Callable[[], object]], None]
    _random: Random = field(init=False)
    _since: float = field(default_factory=time.process_time)
    _spent: float = 0.0

    def __post_init__(self) -> None:
        self._random = Random(self.registry.config.seed)

    # ---- what the stub asks

    def begin(self, function: FunctionType, place: int, count: int, names: tuple[str, ...] | None) -> Ticket | None:
        """A countdown is at its end, at a call with `count` positional arguments, and those that have names behind
        them. The ticket, if the call can be done twice."""
        came = time.thread_time()
        if not self.turn.take():
            self.do(partial(self._chosen, function))
            return None
        try:
            found = self._chosen(function)
        finally:
            self.turn.pass_on()
        keywords = names or ()
        addresses = (raw.read_u64(place + 8 * k) for k in range(count + len(keywords)))
        arguments = tuple(map(raw.borrow, addresses))
        if found is None or not are_plain(arguments):
            return None
        began = time.thread_time()
        self._spent += began - came
        return Ticket(*found, function, arguments, keywords, began)

    def again(self, ticket: Ticket, first: object) -> bool:
        """Whether the interpreter is to do what machine code came to the end of."""
        ticket.again_at = now = time.thread_time()
        ticket.first_took = now - ticket.began
        expected = ticket.first_took * ticket.version.sample.slower
        granted = max(GRANTED, SHARE * (time.process_time() - self._since))
        has_time = expected <= LONGEST and self._spent + expected <= granted
        return has_time and ticket.surroundings.are_as_before and is_from(ticket.surroundings.codes, first)

    def verdict(self, ticket: Ticket, first: object, second: object) -> bool:
        """Whether the program gets the first outcome."""
        took = time.thread_time() - ticket.again_at
        self._spent += took
        ticket.version.sample.slower = took / max(ticket.first_took, 1e-9)
        if not is_from(ticket.surroundings.codes, second):
            # There was no memory, or no depth, for the second time; or else a signal's exception came in it.
            return isinstance(second, MemoryError | RecursionError)
        if not ticket.surroundings.are_as_before:
            return False
        is_same = are_same(first, second)
        event = None if is_same else _difference(ticket, first, second)
        self.do(partial(self._compared, ticket, event))
        return is_same

    # ---- in the driver's turn

    def _chosen(self, function: FunctionType) -> tuple[FunctionState, Installed, Surroundings] | None:
        """The version that chose this call, which will choose another one later, and what the call reads; None if
        there is none any more, or it chose in vain."""
        state = self.registry.functions.get(id(function))
        if state is None or state.function is not function:
            return None
        due = [version for version in state.versions if not 0 < version.words.get("check_in") <= NEVER]
        if not due:
            return None
        found = surroundings(function, due[0].sample.names)
        for version in due:
            # This call comes to the entry once more.
            version.words.set("check_in", NEVER if found is None else 1 + self._calls_to_next(version))
        if found is None:
            self._count(state, "unchecked", once=True)
            return None
        return state, due[0], found

    def _calls_to_next(self, version: Installed) -> int:
        """How many calls there are to the next that comes up, which is counted."""
        version.sample.chosen += 1
        grown = GROWTH ** min(version.sample.chosen - FIRST, 200)
        return 1 if grown <= 1 else 1 + int(2 * self._random.random() * grown)

    def _compared(self, ticket: Ticket, event: Differed | None) -> None:
        """A call was done both ways; the event tells of a difference."""
        state = ticket.state
        self._count(state, "checks")
        if event is None:
            return
        for line in _report(ticket, event):
            say(f"minijit: {line}")
        self.registry.service.emit(state, event)
        if self.registry.functions.get(state.address) is not state:
            return  # it has ended, or got other code
        for root in state.roots:
            if not root.is_out:
                self.decisions.give_up(root, GiveUpReason.DIFFERS)

    def _count(self, state: FunctionState, name: str, *, once: bool = False) -> None:
        counters: tuple[Counter[str], ...] = (state.counters, self.decisions.hub.counters)
        if not (once and state.counters[name]):
            for counter in counters:
                counter[name] += 1


def _difference(ticket: Ticket, first: object, second: object) -> Differed:
    state = ticket.state
    return Differed(
        function=state.name,
        offset=state.root.offset,
        types=", ".join(kind.label for kind in ticket.version.kinds),
        call=_call(state.name, ticket.arguments, ticket.names),
        interpreted=told(second),
        compiled=told(first),
    )


def _call(name: str, arguments: tuple[Any, ...], names: tuple[str, ...]) -> str:
    """The call as an expression."""
    unnamed = [""] * (len(arguments) - len(names))
    keywords = [f"{keyword}=" for keyword in names]
    texts = map(written, arguments)
    return f"{name}({', '.join(map(''.join, zip([*unnamed, *keywords], texts, strict=True)))})"


def _report(ticket: Ticket, event: Differed) -> list[str]:
    """What whoever looks for the bug needs to know."""
    code = ticket.function.__code__
    return [
        f"difference in {event.function} ({code.co_filename}:{code.co_firstlineno}): {event.call}",
        f"  interpreted: {event.interpreted}, which the program gets",
        f"  compiled:    {event.compiled}, by {event.function}@{event.offset} for ({event.types})",
        "  This is a bug in minijit. Which stage is wrong: MINIJIT=1 python -m minijit bisect PROGRAM",
    ]
