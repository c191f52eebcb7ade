"""What happens, in closed vocabularies: reasons (each with a sentence and a hint for the user) and typed events.

Every stage that gives up, leaves or kills names a row of an enum here; the driver wraps it into an event; counters,
logs and `explain` are derived from events. Nothing here decides anything.
"""

from __future__ import annotations

import contextlib
import enum
import sys
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    ZERO_DIVISION = ("a division by zero, or of -2**63 by -1: the interpreter raises, or decides",)
    INEXACT = ("`/` of ints met a zero, or an int beyond 2**53", "keep ints below 2**53, or convert to float first")
    SHIFT = ("a shift by a negative or a very large count",)
    DOMAIN = ("a math function had no ordinary result: the interpreter raises, or decides",)
    NOT_AN_INT = ("a float has no 64-bit int for it (nan, inf, or too large)",)
    KIND = ("a value had another type than the recording saw", "keep one type a variable")
    UNSEEN = ("no recording saw what is loaded there",)
    GLOBAL = ("a global that changes often held something else than a number of the recorded type",)
    BOUNDS = ("an index was out of range: the interpreter raises",)
    ALIASED = ("an object was met under two names, of which one stands for its attributes",)
    UNTAKEN = ("a branch that no recording took",)
    RAISED = ("an exception, or what may become one, for which no recording saw the handler at work",)
    UNSUPPORTED = ("an instruction that is not compiled", "move it out of the hot loop, or what is hot away from it")
    OVERWRITTEN = (
        "a variable was overwritten that held an object whose end can be noticed",
        "use another variable for the numbers",
    )
    UNBOUND = ("a variable without a value, or perhaps without one: the interpreter looks",)
    LEFT_LOOP = ("the loop is done: the rest of the function is interpreted",)
    RETURNED = ("it is done, and attributes of objects get their values",)
    POLL = ("the interpreter has something to do: a signal, another thread, a collection",)
    WARM = ("its loops have run so often that it is worth the compiler's whole effort",)
    ROOM = ("a call was too deep, or the interpreter had something to do before it; or there was no memory",)
    CALLEE = ("a function that it calls has no machine code",)
    CALLEE_LEFT = ("the machine code of a function that it called was left, or gave what had to be made",)
    TOO_MANY_BLOCKS = ("the region reached its block budget", "split the function")

    @property
    def is_failure(self) -> bool:
        """Whether the region failed here, as opposed to being done or being asked to pause."""
        return self not in _NO_FAILURES

    @property
    def is_unknown(self) -> bool:
        """Whether a recording that begins here may find more, though it meets nothing but known places."""
        return self in (ExitReason.KIND, ExitReason.UNSEEN, ExitReason.RAISED)


_NO_FAILURES = (ExitReason.LEFT_LOOP, ExitReason.RETURNED, ExitReason.POLL, ExitReason.WARM, ExitReason.ROOM)


class AbortReason(Reason):
    """Why a recording came to nothing."""

    TOO_LONG = ("the recording reached its step budget", "split the function")
    TOO_LARGE = ("it has too many variables for so many places where it may be left", "split the function")
    LEFT = ("the recorded frame ended by an exception, or the loop after one round, each time",)
    NOTHING = (
        "machine code would get neither round the loop nor to a return",
        "move the numeric part into a function or an inner loop of its own",
    )
    STALE = ("something the recording relied on changed while it was made",)
    ENTRY = ("something else than minijit has replaced what calls of the function go to",)
    LIMIT = ("the setting `limit` leaves it out", "unset MINIJIT_LIMIT")
    COMPILER = ("the compiler failed: this is a bug in minijit", "please report it, with MINIJIT_DUMP=all")


class KillReason(Reason):
    """Which assumption broke."""

    GLOBAL = ("a global, builtin or module attribute changed", "pass it as an argument")
    CODE = ("the function's code was replaced",)
    CLASS = ("a class changed whose instances' attributes it uses",)
    GONE = ("the function was deleted",)
    RELEASED = ("the user released it",)
    DISABLED = ("minijit was disabled",)
    CALLEE = ("a function that it calls was compiled anew, and relies on more than before",)
    STRESS = ("a stress mode took it out of service, at random",)


class GiveUpReason(Reason):
    """Why a root is not tried again."""

    BUDGET = ("it reached its budget of compilations", "keep types and globals as they are, or raise `compilations`")
    TIME = ("minijit reached its budget of compile time", "raise `compile_seconds`")
    MEMORY = ("minijit reached its budget of machine code", "raise `code_bytes`")
    ABORTS = ("attempts to compile it keep failing",)
    EXITS = ("its machine code was left too often to pay",)
    DIFFERS = (
        "it gave something else than the interpreter: this is a bug in minijit",
        "please report it, with what `python -m minijit bisect` says",
    )
    MISSES = ("it is called with types that are not compiled", "call it with int, float, bool or None only")
    KILLS = ("what it relies on keeps changing", "pass what changes as an argument")
    CRASHED = (
        "an earlier process died while this was compiled, or in the midst of one of its first runs",
        "please report it, with a program that dies; to try again, remove minijit/suspects-1 in your cache directory",
    )
    UNSUITABLE = (
        "the function has *args, **kwargs, too many parameters or variables of functions within it, or it suspends",
        "loops in it may be compiled all the same; move other hot code into a plain function",
    )


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
    """A trace was recorded: `steps` distinct instructions; `bridge` tells whether it starts at an exit. There are 0
    where all that an exit leads to was seen before it was hot."""

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
    detail: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Differed(Event):
    """A call that was done both ways, entered with these types, gave different results."""

    types: str
    call: str
    interpreted: str
    compiled: str


@dataclass(frozen=True, slots=True, repr=False)
class Stats:
    """Counters, derived from events; `entries` and `exits` are read from native counters when asked for.

    Those of the process count from its start, and go on where minijit is disabled and enabled again. Those of a
    function are of its start and of the loops in its code, which functions made by one `def` share; they count from
    when it was taken on, by `jit` or a later `enable`, or was last released. `live_regions` and `code_bytes` are of
    this moment. The repr leaves out what is zero.
    """

    recordings: int = 0  # traces recorded, or overheard, bridges included
    aborts: int = 0  # recordings and compilations that came to nothing
    compilations: int = 0  # regions that went into service
    bridges: int = 0  # those of them that begin at a hot exit
    hot_exits: int = 0  # times that a policy was asked about an exit
    kills: int = 0  # regions that went out of service before something better replaced them
    given_up: int = 0  # roots left to the interpreter for good
    live_regions: int = 0  # regions in service now
    code_bytes: int = 0  # the size of their machine code
    compile_ms: float = 0.0  # time spent on all compilations that gave a region
    entries: int = 0  # times that the interpreter went over into machine code
    exits: int = 0  # times that machine code was left before it was done
    checks: int = 0  # calls that were done both ways, since MINIJIT=check or `compare` asked for it
    differences: int = 0  # those whose results were different
    unchecked: int = 0  # functions whose calls cannot be done twice

    def line(self) -> str:
        """The counters as one line of the log, without what is zero."""
        counted = [f"{name}={_text(value)}" for name, value in self._counted()]
        return " ".join(["stats     ", *(counted or ["nothing was hot"])])

    def __repr__(self) -> str:
        return f"Stats({', '.join(f'{name}={value!r}' for name, value in self._counted())})"

    def _counted(self) -> Iterator[tuple[str, float]]:
        """What is not zero."""
        return ((f.name, value) for f in fields(self) if (value := getattr(self, f.name)))


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
        Differed: "differences",
    }

    log: bool = False
    counters: Counter[str] = field(default_factory=Counter)
    subscribers: list[Callable[[Event], object]] = field(default_factory=list)

    def emit(self, event: Event, *more: Counter[str]) -> None:
        """Counts the event (in `more` too), logs it and tells the subscribers."""
        for counter in (self.counters, *more):
            count(counter, event)
        if self.log:
            say(f"minijit: {event.line()}")
        for subscriber in tuple(self.subscribers):
            try:
                subscriber(event)
            except Exception as error:  # noqa: BLE001 - a user's callback must not break the program
                self.subscribers[:] = [other for other in self.subscribers if other is not subscriber]
                self.complain(f"subscriber {described(subscriber)} removed: {described(error)}")

    def complain(self, text: str) -> None:
        """Tells the user about something of theirs that failed."""
        say(f"minijit: {text}")


def say(text: str) -> None:
    """Writes a line to standard error. It is lost where there is none, and where writing fails: in the midst of our
    work that must not break the program."""
    stream = sys.stderr
    if stream is None:
        return  # as in a process without a console; `print` would take standard output
    with contextlib.suppress(Exception):  # whatever a stream of the program's may raise
        # At once: children and threads write lines, too.
        stream.write(f"{text}\n")


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
