"""The driver: from a hot place to a region in service, and out of service again.

Everything comes in through three doors, each on the thread it concerns and with the GIL held: `dispatch` (the stubs, at
thresholds), `Recordings.on_instruction` (a recording's steps) and `Broken.on_watch` (something changed); and through
the methods that `api` calls. One at a time gets any further (see `turn`). What to do is decided by the root's policy
and carried out by `Decisions`; an event tells of everything that happens.

| part | knows |
| --- | --- |
| `registry` | functions, code objects, loops, and what the interpreter was told of them |
| `service` | regions, their chains and assumptions |
| `decisions` | policies' answers, and how to carry them out |
| `recordings` | recordings under way |
| `hot` | what thresholds mean |
| `offers` | what of a whole program is taken on |
| `broken` | what changes mean |
| `checks` | which calls are done both ways, and what comes of it |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from minijit.backend.words import Call
from minijit.cpython import frames, hooks, raw, sampler, signals, stack_sizes
from minijit.cpython.scout import DISABLE, Scout, is_importing
from minijit.driver.broken import Broken
from minijit.driver.decisions import Decisions, ask_again
from minijit.driver.hearsay import Hearsay
from minijit.driver.hot import HotPlaces
from minijit.driver.offers import Offers, is_ours
from minijit.driver.recordings import Recordings
from minijit.driver.registry import Registry
from minijit.driver.state import exits_of
from minijit.driver.turn import report_bug
from minijit.events import Hub, KillReason, Stats
from minijit.runtime.stress import Strikes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FunctionType

    from minijit.config import Config
    from minijit.cpython.abi import Interpreter
    from minijit.driver.state import FunctionState, RootState, Words
    from minijit.driver.turn import Turn
    from minijit.ir.kinds import Kinds
    from minijit.runtime.policy import Policy

_IN_FRAMES = {Call.START, Call.LOOP, Call.LOOP_MISS}
"""What is reported in the midst of a frame."""


@dataclass(slots=True, repr=False)
class Driver:
    """One a process. Registers with `sys.monitoring` at once; makes anything native when the first function runs.

    `refuse` is told why that cannot be done, if it cannot; everything is as it was found then. `is_whole`: functions
    are taken on that nobody has added, where they are hot.
    """

    config: Config
    interpreter: Interpreter
    hub: Hub
    refuse: Callable[[str], None]
    turn: Turn
    is_whole: bool = False
    registry: Registry = field(init=False)
    _hearsay: Hearsay = field(init=False)
    _decisions: Decisions = field(init=False)
    _recordings: Recordings = field(init=False)
    _hot: HotPlaces = field(init=False)
    _broken: Broken = field(init=False)
    _offers: Offers | None = None
    _scout: Scout | None = None
    _is_closed: bool = False

    def __post_init__(self) -> None:
        self.registry = Registry(self.config)
        self._hearsay = Hearsay(self.registry)
        self._decisions = Decisions(self.registry, self._hearsay, self.hub)
        self._recordings = Recordings(self.registry, self._decisions, self._hearsay, self.turn)
        if self.is_whole:
            self._offers = Offers(self.registry)
        self._hot = HotPlaces(self.registry, self._decisions, self._recordings, self._offers)
        self._broken = Broken(self.registry, self._decisions, self.turn, self._strikes())
        self._scout = Scout(self.config.threshold, self.found) if self.is_whole else None
        self.registry.monitoring = hooks.Monitoring(self._ignite, self._scout)

    def _strikes(self) -> Strikes | None:
        chance = self.config.stressed.kill
        return Strikes(chance, self.config.seed) if chance else None

    @property
    def is_native(self) -> bool:
        """Whether machine code has taken over."""
        return self.registry.in_service is not None

    # ---- what `api` calls

    def known(self, function: FunctionType) -> FunctionState | None:
        """What is known of a function; None if it was never added."""
        state = self.registry.functions.get(id(function))
        # Before there are watchers, a function that died leaves its address behind.
        return state if state is not None and state.function is function else None

    def add(self, function: FunctionType, policy: Policy) -> FunctionState | None:
        """Takes a function on: from now on its calls and loops are counted. A second time changes the policy only.

        None if this is called in the midst of something else, after which it is done.
        """
        self._wait(partial(self.registry.add, function, policy))
        return self.known(function)

    def compile_types(self, state: FunctionState, kinds: Kinds) -> bool:
        """Compiles a function for arguments of these kinds, recorded or not; whether there is a region for them now."""
        self._wait(partial(self._compile_types, state, kinds))
        return any(version.kinds == kinds for version in state.versions)

    def _compile_types(self, state: FunctionState, kinds: Kinds) -> None:
        self._go_native()
        is_known = self.registry.functions.get(state.address) is state
        if self.registry.in_service is None or not is_known or state.is_out:
            return
        if not any(version.kinds == kinds for version in state.versions):
            self._decisions.compile_now(state, kinds, compile_unseen=True)

    def release(self, state: FunctionState) -> None:
        """Throws away all code of a function and of its code object's loops; counting starts anew."""
        self._wait(partial(self._decisions.release, state))

    def suppress(self, state: FunctionState) -> None:
        """Never compiles the function again."""
        self._wait(partial(self._decisions.suppress, state))

    def ignite(self) -> None:
        """Makes anything native now, so that the first execution of a function is counted."""
        self._wait(self._go_native)

    def settle(self) -> None:
        """Deals with changes that regions could not run with, so that what is told of them is true."""
        self._wait(_nothing)

    def stats(self, state: FunctionState | None = None) -> Stats:
        """Counters of one function with its loops, or of everything."""
        return self.turn.read(partial(self._stats, state))

    def _stats(self, state: FunctionState | None) -> Stats:
        roots: list[RootState]
        if state is not None:
            roots = state.roots
            counters = sum((root.counters for root in roots), Counter())
        else:
            roots, counters = self.registry.roots(), self.hub.counters
        regions = [version for root in roots for version in root.versions]
        return Stats(
            **{name: counters[name] for name in (*Hub.NAMES.values(), "bridges", "checks", "unchecked")},
            live_regions=len(regions),
            code_bytes=sum(region.machine.size for region in regions),
            compile_ms=counters["compile_us"] / 1000,
            entries=counters["entries"] + sum(region.entries for region in regions),
            exits=counters["exits"] + sum(map(exits_of, regions)),
        )

    def told(self) -> list[str]:
        """What is said of everything in the end, as lines of the log."""
        service = self.registry.in_service
        return [self.stats().line(), *(service.place_lines(self.registry.roots()) if service is not None else ())]

    def close(self) -> None:
        """Takes everything back: code, vectorcalls, events, watchers. To be called in the driver's turn."""
        self._is_closed = True
        self._hearsay.close()
        self.registry.forget_all(KillReason.DISABLED)
        self.registry.monitoring.close()
        self._scout = None
        if self.registry.in_service is not None:
            self.registry.natives.close()
            self.registry.in_service = None

    def abandon(self) -> None:
        """Cuts all ties with the program though anything of ours may be half done: everything goes to the interpreter.
        Nothing is freed, and nothing is asked of locks."""
        self._is_closed = True
        self.registry.monitoring.close()
        for state in list(self.registry.functions.values()):
            state.abandon()
        if self.registry.in_service is not None:
            self.registry.natives.silence()
            self.registry.natives.guard.let_go()

    def after_fork(self) -> None:
        """In a child process, in which minijit stays in service."""
        if self.registry.in_service is not None:
            self.registry.natives.guard.after_fork()

    # ---- turns

    def _wait(self, work: Callable[[], object]) -> None:
        """Does the work in its turn, after what is due, unless the driver is closed by then."""
        self.turn.wait(partial(self._if_open, work))

    def _do(self, work: Callable[[], object]) -> None:
        """Does the work, or lets whoever has the turn do it."""
        self.turn.do(partial(self._if_open, work))

    def _if_open(self, work: Callable[[], object]) -> None:
        if not self._is_closed:
            self._broken.settle()
            work()

    # ---- doors

    def _ignite(self) -> None:
        """The first of our functions runs."""
        self._do(self._go_native)

    def _go_native(self) -> None:
        """Makes the native part, which takes over the counting."""
        if self.registry.in_service is not None:
            return
        # What compiles takes its time to import: not before something runs.
        from minijit.driver.natives import Handlers, Natives
        from minijit.driver.service import Service

        try:
            natives = Natives(
                self.config,
                self.interpreter,
                Handlers(
                    self.dispatch,
                    self._recordings.on_instruction,
                    self._broken.on_watch,
                    None if self._scout is None else self._scout.on_start,
                    None if self._scout is None else self._scout.on_jump,
                    *self._checks(),
                ),
            )
        except Exception as error:  # noqa: BLE001 - whatever is missing: it is said once, and the program goes on
            self._is_closed = True
            self.registry.monitoring.close()
            self.refuse(f"{type(error).__name__}: {error}")
            return
        if self._scout is not None:
            self._scout.weight = sampler.weight(sampler.mask(self.config.threshold))
        self.registry.go_native(Service(self.config, natives, self.hub, self._may_inline, self.known, self._hearsay))
        self._broken.begin()

    def _may_inline(self, function: FunctionType) -> bool:
        """Not what is never to be compiled."""
        known = self.known(function)
        if known is not None and known.suppressed:
            return False
        return self._offers.allows(function) if self._offers is not None else not is_ours(function)

    def _checks(self) -> tuple[Callable[..., Any] | None, ...]:
        """Who checks calls, if anybody is to."""
        if not self.config.compare:
            return None, None, None
        from minijit.driver.checks import Checks

        checks = Checks(self.registry, self._decisions, self.turn, self._do)
        return checks.begin, checks.again, checks.verdict

    def found(self, code: CodeType, header: int | None) -> object:
        """The scout has found a place that is hot; the answer to its event: nothing of it is heard again if nothing is
        to be made of it."""
        frame = frames.running(code)
        if (self.registry.in_service is None and is_importing()) or frame is None or not self.turn.take():
            return None
        try:
            self._answer_or_abandon(partial(self._try, frame, code, header))
        finally:
            self.turn.pass_on()
        return DISABLE if self._site(id(code), header) is None else None

    def let_through(self) -> object:
        """What lets signal handlers through that are held back, when the interpreter drops it."""
        return signals.let_through_with(self.registry.natives.stubs["release"])

    def _try(self, frame: frames.Frame, code: CodeType, header: int | None) -> None:
        """Takes on what could be worth compiling; the first without a question, as counting is slow until then."""
        if self.registry.in_service is None:
            self.offer(frame, header)
            return
        from minijit.driver.building import gets_anywhere

        try:
            is_hopeless = not gets_anywhere(frame, code, header, self.config)
        except Exception:  # noqa: BLE001 - where it is compiled, a bug of ours is told
            is_hopeless = False
        if not is_hopeless:
            self.offer(frame, header)

    def offer(self, frame: frames.Frame, header: int | None) -> None:
        """Takes on the function of a frame that is at a hot place, a loop's header or the start, if it may be; the next
        time it comes there, it is hot."""
        if self._offers is None or not self._offers.take_on(frame):
            return
        self._go_native()
        site = self._site(frame.code, header)
        if site is not None:
            ask_again(site, 1)

    def _site(self, code: int, header: int | None) -> Words | None:
        """The words of a place, if there is a root: what the scout takes for a loop may be none."""
        state = self.registry.codes.get(code)
        if state is None or header is None:
            return None if state is None else state.start
        return state.loops[header].words if header in state.loops else None

    def dispatch(self, number: int, a: int, b: int) -> None:
        """A stub reached a threshold, or found something to be done first."""
        kind = Call(number)
        frame = frames.current(1) if kind in _IN_FRAMES else None
        if kind is Call.STALE:
            self.registry.monitoring.rearm(raw.borrow(a))
        elif not stack_sizes.is_little() and self.turn.take():
            try:
                self._answer_or_abandon(partial(self._answer, kind, a, b, frame))
            finally:
                self.turn.pass_on()
        else:
            # Until then the place is silent: other threads may come there thousands of times meanwhile.
            self._hot.silence(kind, a, b)
            self._do(partial(self._hot.postpone, kind, a, b))

    def _answer_or_abandon(self, work: Callable[[], object]) -> None:
        """Does what a hot place asks for. What fails there is a bug of ours and would fail at each round of a loop: the
        program goes on without us."""
        try:
            self._if_open(work)
        except Exception as error:  # noqa: BLE001 - see above
            self.abandon()
            report_bug(error)
            self.refuse("it has failed")

    def _answer(self, kind: Call, a: int, b: int, frame: frames.Frame | None) -> None:
        registry = self.registry
        match kind:
            case Call.START if frame is not None:
                self._hot.start(registry.codes.get(a), frame)
            case Call.LOOP if frame is not None:
                self._hot.loop(registry.loops.get(b), frame)
            case Call.LOOP_MISS if frame is not None:
                self._hot.missed_loop(registry.loops.get(b), frame)
            case Call.EXIT:
                self._hot.exit(a)
            case Call.MISS:
                self._hot.missed_call(registry.functions.get(a))
            case Call.WATCHED | Call.DEEP:
                self._decisions.park(registry.functions.get(a))
            case Call.CHANGED:
                return
            case _:
                raise AssertionError(kind)


def _nothing() -> None:
    """No work of one's own."""
