"""What happens, in closed vocabularies: reasons (each with a sentence and a hint for the user) and typed events.

Every stage that gives up, leaves or kills names a row of an enum here; the driver wraps it into an event; counters,
logs and `explain` are derived from events. Nothing here decides anything.
"""

from __future__ import annotations

import enum
import sys
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable


class Reason(enum.Enum):
    """Base of all reasons: `sentence` says what happened, `hint` what a user can do (may be empty)."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        self.sentence = sentence
        self.hint = hint

    __hash__ = object.__hash__

    @property
    def label(self) -> str:
        """The name as it stands in logs and in the text form of regions."""
        return self.name.lower()


class ExitReason(Reason):
    """Why compiled code goes back to the interpreter."""

    OVERFLOW = ("an int left 64 bits", "keep ints below 2**63, or mask them")
    ZERO_DIVISION = ("division by zero: the interpreter raises",)
    INEXACT = ("an int beyond 2**53 met `/`", "use `//`, or convert to float first")
    SHIFT = ("a shift by a negative or a very large count",)
    DOMAIN = ("a math function had no ordinary result: the interpreter raises, or decides",)
    NOT_AN_INT = ("a float has no 64-bit int for it (nan, inf, or too large)",)
    KIND = ("a value had another type than the recording saw", "keep one type a variable")
    GLOBAL = ("a global that changes often held something else than a number of the recorded type",)
    UNTAKEN = ("a branch that no recording took",)
    UNSUPPORTED = ("an instruction that is not compiled", "move it out of the hot loop")
    UNBOUND = ("a variable without a value: the interpreter raises",)
    LEFT_LOOP = ("the loop is done: the rest of the function is interpreted",)
    POLL = ("the interpreter has something to do: a signal, another thread, a collection",)
    TOO_MANY_BLOCKS = ("the region reached its block budget", "split the function")

    @property
    def is_failure(self) -> bool:
        """Whether the region failed here, as opposed to being done or being asked to pause."""
        return self not in (ExitReason.LEFT_LOOP, ExitReason.POLL)


class AbortReason(Reason):
    """Why a recording came to nothing."""

    TOO_LONG = ("the recording reached its step budget", "split the function")
    LEFT = ("the recorded frame ended by an exception",)
    NOTHING = ("the recorded code starts with something that is not compiled", "see `explain` for the line")
    STALE = ("something the recording relied on changed while it was made",)
    COMPILER = ("the compiler failed: this is a bug in minijit", "please report it, with MINIJIT_DUMP=all")


class KillReason(Reason):
    """Which assumption broke."""

    GLOBAL = ("a global, builtin or module attribute changed", "pass it as an argument")
    CODE = ("the function's code was replaced",)
    GONE = ("the function was deleted",)
    RELEASED = ("the user released it",)
    REPLACED = ("a newer region replaces it",)
    DISABLED = ("minijit was disabled",)


class GiveUpReason(Reason):
    """Why a root is not tried again."""

    BUDGET = ("the root reached its budget of compilations",)
    TIME = ("the process reached its budget of compile time",)
    ABORTS = ("recordings of it keep failing",)
    EXITS = ("its compiled code leaves too often to pay",)
    MISSES = ("it is called with types that are not compiled", "see `explain` for the types")
    KILLS = ("what it relies on keeps changing",)
    UNSUITABLE = ("the function is of a sort that is not compiled",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to one root. `function` is the qualified name, `offset` the root's bytecode offset."""

    function: str
    offset: int

    def line(self) -> str:
        """The event as one line of the log."""
        rest = " ".join(
            f"{f.name}={_text(getattr(self, f.name))}" for f in fields(self) if f.name not in ("function", "offset")
        )
        return f"{type(self).__name__.lower():<10} {self.function}@{self.offset} {rest}"


def _text(value: object) -> str:
    if isinstance(value, Reason):
        return value.label
    return f"{value:.1f}" if isinstance(value, float) else " ".join(str(value).splitlines())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded(Event):
    """A trace was recorded: `steps` distinct instructions; `bridge` tells whether it starts at an exit."""

    steps: int
    bridge: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborted(Event):
    """A recording came to nothing."""

    reason: AbortReason
    at: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled(Event):
    """A region went into service. Times in milliseconds, `size` in bytes of machine code."""

    types: str
    blocks: int
    exits: int
    size: int
    build_ms: float
    llvm_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitHot(Event):
    """An exit was taken often and the policy was asked; `action` is what it said."""

    reason: ExitReason
    at: int
    count: int
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed(Event):
    """A region went out of service."""

    reason: KillReason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp(Event):
    """A root is left to the interpreter for good."""

    reason: GiveUpReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters, derived from events; `entries` and `exits` are read from native counters when asked for."""

    recordings: int = 0
    aborts: int = 0
    compilations: int = 0
    bridges: int = 0
    hot_exits: int = 0
    kills: int = 0
    given_up: int = 0
    live_regions: int = 0
    code_bytes: int = 0
    compile_ms: float = 0.0
    entries: int = 0
    exits: int = 0


@dataclass(slots=True)
class Hub:
    """Takes events and hands them on: to counters (a process's and each function's), a log, and subscribers.

    A subscriber that raises is removed and reported on standard error; it never breaks the program.
    """

    NAMES: ClassVar[dict[type[Event], str]] = {
        Recorded: "recordings",
        Aborted: "aborts",
        Compiled: "compilations",
        ExitHot: "hot_exits",
        Killed: "kills",
        GaveUp: "given_up",
    }

    log: bool = False
    counters: Counter[str] = field(default_factory=Counter)
    subscribers: list[Callable[[Event], object]] = field(default_factory=list)

    def emit(self, event: Event, *more: Counter[str]) -> None:
        """Counts the event (in `more` too), logs it and tells the subscribers."""
        for counter in (self.counters, *more):
            count(counter, event)
        if self.log:
            print(f"minijit: {event.line()}", file=sys.stderr)
        for subscriber in tuple(self.subscribers):
            try:
                subscriber(event)
            except Exception as error:  # noqa: BLE001 - a user's callback must not break the program
                self.subscribers[:] = [other for other in self.subscribers if other is not subscriber]
                self.complain(f"subscriber {described(subscriber)} removed: {described(error)}")

    def complain(self, text: str) -> None:
        """Tells the user about something of theirs that failed."""
        print(f"minijit: {text}", file=sys.stderr)


def described(thing: object) -> str:
    """The repr of something of the user's; a plain one where theirs fails."""
    try:
        return repr(thing)
    except Exception:  # noqa: BLE001 - whatever their code may raise
        return object.__repr__(thing)


def count(counter: Counter[str], event: Event) -> None:
    """Adds the event to the counters from which `Stats` is made."""
    counter[Hub.NAMES[type(event)]] += 1
    if isinstance(event, Recorded) and event.bridge:
        counter["bridges"] += 1
    if isinstance(event, Compiled):
        counter["compile_us"] += int(1000 * (event.build_ms + event.llvm_ms))
