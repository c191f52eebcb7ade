"""What the driver knows: of each code object, of each root in it, and of each region in service.

Native words that the stubs read belong to the state they describe and are freed with it.
"""

from __future__ import annotations

import weakref
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minijit.backend.words import CHAIN_WORDS, NEVER, SITE_WORDS
from minijit.build.request import namespaces_of
from minijit.cpython import hooks, raw
from minijit.events import AbortReason
from minijit.ir.kinds import Kinds
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Profile, Root
from minijit.runtime.policy import RootStats

if TYPE_CHECKING:
    from types import CodeType, FunctionType

    from minijit.backend.engine import Code as MachineCode
    from minijit.backend.snapshots import Records
    from minijit.events import Event, ExitReason, GiveUpReason
    from minijit.ir.bytecode import Code
    from minijit.ir.kinds import ClassKind
    from minijit.oracle.repeatable import Names
    from minijit.record.recorder import Recording
    from minijit.runtime.assume import Key
    from minijit.runtime.policy import Policy

HISTORY = 200
"""How many events `explain` remembers of one root."""


@dataclass(slots=True)
class Words:
    """A few named 64-bit words of native memory. To get or set one raises `raw.Closed` once they are closed."""

    names: tuple[str, ...]
    memory: raw.Buffer

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.memory = raw.Buffer(8 * len(names))

    @property
    def address(self) -> int:
        return self.memory.address

    def place(self, name: str) -> int:
        """The address of one word."""
        return self.memory.address + 8 * self.names.index(name)

    def get(self, name: str) -> int:
        return self.memory.get(self.names.index(name))

    def set(self, name: str, value: int) -> None:
        self.memory.set(self.names.index(name), value)

    def close(self) -> None:
        self.memory.close()


VERSION_WORDS = ("next", "entries", "check_in", "rounds")


@dataclass(frozen=True, slots=True)
class Way:
    """What is remembered of an exit of a region in service."""

    reason: ExitReason
    offset: int
    detail: str


@dataclass(slots=True)
class Sample:
    """The calls of a region that are checked: how many were chosen, how many times slower than the region the
    interpreter was, and what the code looks up that runs in them."""

    chosen: int = 0
    slower: float = 100.0
    names: dict[CodeType, Names | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reach:
    """What must be as it was, beside the code of the root itself, when a region is entered: modules that are plain
    modules, and code that nobody watches, of all functions that it may run; and classes whose instances share no more
    than so many names."""

    modules: frozenset[int] = frozenset()
    codes: frozenset[int] = frozenset()
    shared: frozenset[tuple[int, int]] = frozenset()

    def __or__(self, other: Reach) -> Reach:
        return Reach(self.modules | other.modules, self.codes | other.codes, self.shared | other.shared)

    def __le__(self, other: Reach) -> bool:
        return self.modules <= other.modules and self.codes <= other.codes and self.shared <= other.shared


@dataclass(slots=True, eq=False)
class Installed:
    """A region in service: its machine code, its records, and the words that link it to the next version.

    The region itself is not kept: its constants would keep alive what only the assumptions, and so the watchers,
    protect.
    """

    owner: RootState
    kinds: Kinds
    blocks: int
    offsets: frozenset[int]
    exits: tuple[Way, ...]
    machine: MachineCode
    records: Records
    words: Words
    assumptions: tuple[Key, ...]
    since: float
    inlined: tuple[Key, ...] = ()  # functions by address, with their names
    classes: tuple[ClassKind, ...] = ()
    reach: Reach = field(default_factory=Reach)
    callees: frozenset[int] = frozenset()  # the cells of the bodies that it calls
    touched: frozenset[Key] = frozenset()  # the globals that it looks at, or stores
    variables: frozenset[Key] = frozenset()  # those that it has as variables
    asked: dict[int, tuple[float, int]] = field(
        default_factory=dict
    )  # exit -> when and at which count the policy was asked
    sample: Sample = field(default_factory=Sample)

    @property
    def address(self) -> int:
        return self.machine.address("region")

    @property
    def entries(self) -> int:
        return self.words.get("entries")

    def close(self) -> None:
        """Frees everything native. No frame of the region exists while Python code runs (see `backend.lower`)."""
        self.machine.close()
        self.records.close()
        self.words.close()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is none. `at` is the offset of what was in the way, if that was an instruction; `unheard` is code of
    which nobody has seen what it loads."""

    reason: AbortReason
    detail: str = ""
    at: int | None = None
    unheard: tuple[CodeType, ...] = ()

    def offset_in(self, root: Root) -> int:
        """Where it was: at that instruction, or at the root itself."""
        return root.offset if self.at is None else self.at


@dataclass(slots=True, eq=False)
class RootState:
    """One root: its versions and its history."""

    code: CodeState
    root: Root
    name: str
    policy: Policy
    words: Words
    versions: list[Installed] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    history: deque[Event] = field(default_factory=lambda: deque(maxlen=HISTORY))
    given_up: GiveUpReason | None = None
    suppressed: bool = False
    last_abort: AbortReason | None = None
    obstacle: tuple[int, str] | None = None  # what the last attempt ran into, if it came to nothing
    is_stuck: bool = False  # whether the attempt before that had run into the same
    asked: set[Way] = field(default_factory=set)  # the exits about which the policy was asked, of whatever region
    is_under_way: bool = False  # while it is compiled
    is_proven: bool = False  # whether it has run so often that all effort is worth while (see `backend.effort`)
    holds: int = 0  # how many changes of what its code relies on are yet to be dealt with

    @property
    def is_held(self) -> bool:
        """Whether it is not to be entered."""
        return self.holds > 0

    def hold(self) -> None:
        """Nothing enters the root's code until this change is dealt with. (Who has the turn may be closing it.)"""
        self.holds += 1
        if self.versions:
            with suppress(raw.Closed):
                self.words.set("entry", 0)

    @property
    def site(self) -> Words:
        """The words of the place where the root is reached, which is counted."""
        return self.words

    @property
    def is_out(self) -> bool:
        """Whether nothing is to be compiled here any more."""
        return self.suppressed or self.given_up is not None

    def note_abort(self, reason: AbortReason, at: int, detail: str) -> None:
        """An attempt came to nothing."""
        obstacle = (at, detail) if reason is AbortReason.NOTHING else None
        self.is_stuck = obstacle is not None and obstacle == self.obstacle
        self.last_abort, self.obstacle = reason, obstacle

    def forget_abort(self) -> None:
        """As if there had been none."""
        self.last_abort, self.obstacle, self.is_stuck = None, None, False

    def stats(self, compile_seconds: float, code_bytes: int) -> RootStats:
        count = self.counters
        return RootStats(
            compilations=count["compilations"],
            bridges=count["bridges"],
            aborts=count["aborts"],
            kills=count["kills"],
            versions=len(self.versions),
            last_abort=self.last_abort,
            is_stuck=self.is_stuck,
            compile_seconds=compile_seconds,
            code_bytes=code_bytes,
        )

    def entries(self) -> int:
        """How often its regions were entered, those included that are out of service."""
        return self.counters["entries"] + sum(v.entries for v in self.versions)

    def exits(self) -> int:
        """How often its regions were left before they were done, likewise."""
        return self.counters["exits"] + sum(exits_of(v) for v in self.versions)

    def close(self) -> None:
        self.words.close()


def exits_of(installed: Installed) -> int:
    """How often the region was left before it was done."""
    return sum(installed.records.count(i) for i, way in enumerate(installed.exits) if way.reason.is_failure)


@dataclass(slots=True, eq=False)
class BodyState(RootState):
    """A function's start as other machine code enters it, with arguments of these kinds: one version at most, whose
    address stands in `cell`. `of` is the address of the function; `tried` how much was known of it when it could not be
    compiled."""

    of: int = 0
    kinds: Kinds = ()
    tried: int = -1

    @property
    def cell(self) -> int:
        return self.words.place("entry")


@dataclass(slots=True, eq=False)
class FunctionState(RootState):
    """The root at a function's start. `words` are those of the chain, `home` the addresses of the function's globals
    and builtins."""

    bodies: dict[Kinds, BodyState] = field(default_factory=dict)
    reference: weakref.ref[Any] | None = None
    home: tuple[int, int] = (0, 0)
    address: int = 0
    entry: int = hooks.PLAIN_VECTORCALL  # where calls of the function go, as far as we know

    @property
    def site(self) -> Words:
        return self.code.start

    @property
    def roots(self) -> list[RootState]:
        """This one, the function's bodies, and the loops of its code, which it shares with other functions."""
        return [self, *self.bodies.values(), *self.code.loops.values()]

    @property
    def function(self) -> Any:
        """The function; None once it is gone."""
        return None if self.reference is None else self.reference()

    @property
    def exists(self) -> bool:
        """Whether the function can still be called: one that the garbage collector is about to destroy can, though its
        weak references are gone."""
        return self.reference is not None

    @property
    def other_code(self) -> CodeType | None:
        """The code object that the function has got meanwhile; None if it has the one that this is about, or is
        gone."""
        function = self.function
        return None if function is None or function.__code__ is self.code.code.code else function.__code__

    @property
    def installed(self) -> bool:
        """Whether the function's vectorcall is ours."""
        return self.entry != hooks.PLAIN_VECTORCALL

    def enter_at(self, address: int) -> None:
        """Calls of the function go to machine code at `address` from now on, or to the interpreter if it is 0 or the
        root is held. An entry that somebody else has put there meanwhile stays."""
        wanted = address or hooks.PLAIN_VECTORCALL
        is_ours = self.exists and hooks.vectorcall_of(self.address) == self.entry
        # Another thread may hold the root, or destroy the function, at any moment, but not between these looks and the
        # store: there is no call of a Python function, no jump back, nothing at which the interpreter might turn to it.
        if is_ours and self.reference is not None:
            if self.is_held:
                wanted = hooks.PLAIN_VECTORCALL
            hooks.point_vectorcall(self.address, wanted)
        self.entry = wanted if is_ours else hooks.PLAIN_VECTORCALL

    def hold(self) -> None:
        self.holds += 1
        self.abandon()
        self.entry = hooks.PLAIN_VECTORCALL

    def abandon(self) -> None:
        """Calls go to the interpreter, whichever of our entries they go to now: who has the turn may be just about to
        note which."""
        ours = {self.entry, *(version.address for version in self.versions)}
        # As above.
        if self.exists and hooks.vectorcall_of(self.address) in ours and self.reference is not None:
            hooks.point_vectorcall(self.address, hooks.PLAIN_VECTORCALL)


@dataclass(slots=True, eq=False)
class CodeState:
    """One code object: what was decoded and recorded of it, its functions and its loops. `spare` is the state of a
    function that has ended, for the next one that has this code (see `registry`). `met` are classes, by address, whose
    instances its regions meet in the heap: their attributes are no variables; nor are `open` names of its loops, which
    others look at. `inlines` is code of which builds wanted to know what it loads; `is_heard`: so did one of this (see
    `hearsay`). `is_followed`: since there is machine code of it, what it has not been seen to execute is listened to.
    `is_apart`: it is not inlined, since it calls machine code."""

    code: Code
    start: Words
    profile: Profile = field(default_factory=Profile)
    functions: dict[int, FunctionState] = field(default_factory=dict)
    loops: dict[int, RootState] = field(default_factory=dict)
    spare: FunctionState | None = None
    recording: Recording | None = None
    recorded: RootState | None = None
    replaces: Installed | None = None
    met: set[int] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    inlines: dict[int, CodeType] = field(default_factory=dict)
    is_heard: bool = False
    is_followed: bool = False
    is_apart: bool = False

    @property
    def address(self) -> int:
        return id(self.code.code)

    @property
    def roots(self) -> list[RootState]:
        """All that are known: functions with their bodies, loops, and the function that has ended."""
        spare = [self.spare] if self.spare is not None else []
        functions = [*self.functions.values(), *spare]
        return [*functions, *(body for f in functions for body in list(f.bodies.values())), *self.loops.values()]


def new_site(hot_at: int) -> Words:
    """The words of a place that is counted."""
    words = Words(SITE_WORDS)
    words.set("hot_at", hot_at)
    words.set("miss_hot_at", NEVER)
    return words


def function_state(code: CodeState, function: FunctionType, policy: Policy, miss_hot_at: int) -> FunctionState:
    """The state of a function that nothing is known of yet."""
    words = Words(CHAIN_WORDS)
    words.set("miss_hot_at", miss_hot_at)
    return FunctionState(
        code=code,
        root=Root(EntryPoint.CALL, 0),
        name=function.__qualname__,
        policy=policy,
        words=words,
        reference=weakref.ref(function),
        home=home_of(function),
        address=id(function),
    )


def body_state(state: FunctionState, kinds: Kinds) -> BodyState:
    """The state of a body of which there is no machine code yet."""
    root = Root(EntryPoint.BODY, 0)
    return BodyState(state.code, root, state.name, state.policy, new_site(NEVER), of=state.address, kinds=kinds)


def home_of(function: Any) -> tuple[int, int]:
    """The addresses of a function's globals and builtins."""
    globals, builtins = namespaces_of(function)
    return id(globals), id(builtins)
