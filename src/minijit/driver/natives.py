"""What is native and exists once a process: the engine, the stubs, the maps they look into, and the watchers.

Made when the first function that concerns us runs, since it needs LLVM; never freed while the process lives, since a
stub may be on any thread's stack.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from minijit.backend import effort
from minijit.backend.bodies import STACK_WORDS
from minijit.backend.emitter import Target
from minijit.backend.engine import Engine
from minijit.backend.entry import CallEntry, Check, LoopEntry, RegionEntry, body_prologue, call_prologue, loop_prologue
from minijit.backend.lower import lower
from minijit.backend.prelude import BUFFER_BYTES
from minijit.backend.snapshots import RAW_WORDS, Placement, make_records, raw_words
from minijit.backend.stub_tools import StubAddresses
from minijit.backend.stubs import STUBS, stub_text
from minijit.backend.watch_stubs import WatchAddresses, watcher_text
from minijit.backend.words import CHECK_WORDS, MAX_BOUND
from minijit.cpython import abi, hooks, raw, sampler
from minijit.cpython.builtin import METH_FASTCALL, MethodDef
from minijit.cpython.changes import Changes
from minijit.cpython.marks import Marks
from minijit.cpython.native_map import NativeMap
from minijit.cpython.stack import roomy_stack
from minijit.cpython.watch import CALLBACKS, Filters, Watch
from minijit.driver.crash_guard import CrashGuard
from minijit.driver.state import VERSION_WORDS, BodyState, Installed, Reach, Way, Words
from minijit.ir.kinds import Kinds
from minijit.ir.region import EntryPoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FunctionType

    from minijit.backend.emitter import Emitter
    from minijit.build.request import Build
    from minijit.config import Config
    from minijit.driver.checks import Ticket
    from minijit.driver.state import RootState
    from minijit.ir.region import Region

NEARLY = 32
"""Bytes of C stack by which a stub may be farther from the interpreter's loop than what is measured."""


class RegionTooLarge(Exception):
    """An exit of the region has more values than the raw buffer has room for, or all of them have too many."""


class Handlers(NamedTuple):
    """What machine code calls: the driver at thresholds, the recordings at their steps, who deals with changes, the
    scout, if there is one, at events of code that is not known, and who checks calls, if anybody does."""

    dispatch: Callable[[int, int, int], None]
    on_instruction: Callable[[CodeType, int], object]
    on_watch: Callable[[int, int, int, object], None]
    scout_start: Callable[[CodeType, int], object] | None
    scout_jump: Callable[[CodeType, int, int], object] | None
    check_begin: Callable[[FunctionType, int, int, tuple[str, ...] | None], Ticket | None] | None
    check_again: Callable[[Ticket, object], bool] | None
    check_verdict: Callable[[Ticket, object, object], bool] | None


@dataclass(slots=True)
class Machinery:
    """What stays as long as the process: engine, stubs, watcher callbacks, and the memory that they refer to. If it is
    guarded, that has the marks of the crash guard."""

    optimise: int
    interpreter: abi.Interpreter
    is_guarded: bool
    marks: Marks | None = field(init=False)
    engine: Engine = field(init=False)
    sites: NativeMap = field(default_factory=NativeMap)
    functions: NativeMap = field(default_factory=NativeMap)
    filters: Filters = field(default_factory=Filters)
    changes: Changes = field(default_factory=Changes)
    handlers: Words = field(default_factory=lambda: Words((*Handlers._fields, "raw", "near", "interpreting", "others")))
    sampling: Words = field(default_factory=lambda: Words(sampler.WORDS[:3]))
    stress: Words = field(default_factory=lambda: Words(("countdown", "asked")))
    raising: MethodDef = field(default_factory=lambda: MethodDef(b"raise", 0, METH_FASTCALL))
    stack: Words = field(default_factory=lambda: Words(STACK_WORDS))
    stubs: dict[str, int] = field(init=False)
    callbacks: dict[str, int] = field(init=False)
    target: dict[EntryPoint, Target] = field(init=False)
    _bound: raw.Buffer = field(default_factory=lambda: raw.Buffer(8 * MAX_BOUND))
    _raw: raw.Buffer = field(default_factory=lambda: raw.Buffer(8 * RAW_WORDS))
    _kept: raw.Buffer = field(default_factory=lambda: raw.Buffer(BUFFER_BYTES))

    def __post_init__(self) -> None:
        self.marks = Marks() if self.is_guarded else None
        self.engine = Engine(self.optimise)
        self.handlers.set("raw", self._raw.address)
        for word, value in zip(STACK_WORDS, roomy_stack(), strict=False):
            self.stack.set(word, value)
        stubs = self.engine.compile(stub_text(self._stub_addresses()), name="minijit stubs", simplify=False)
        self.stubs = {name: stubs.address(name) for name in STUBS}
        self.raising.point_to(self.stubs["raise_self"])
        self.handlers.set("near", hooks.reach(self.stubs["reach"]) + NEARLY)
        watchers = self.engine.compile(watcher_text(self._watch_addresses()), name="minijit watchers", simplify=False)
        self.callbacks = {name: watchers.address(name) for name in CALLBACKS}
        leaves = {
            EntryPoint.CALL: ("leave_call", "leave_waiting"),
            EntryPoint.LOOP: ("leave_loop", "leave_loop_waiting"),
            EntryPoint.BODY: ("leave_body", "leave_body"),
        }
        self.target = {
            point: Target(
                raw=self._raw.address,
                raw_cell=self.handlers.place("raw"),
                leave=self.stubs[leave],
                leave_waiting=self.stubs[leave_waiting],
                leave_return=self.stubs["leave_return"],
                eval_breaker=self.interpreter.eval_breaker,
                helpers=self.stubs,
                symbol=raw.symbol,
                stack=self.stack.address,
                running=self.running,
            )
            for point, (leave, leave_waiting) in leaves.items()
        }

    @property
    def running(self) -> int:
        """The word that names the region in one of its first runs, 0 if there is none."""
        return 0 if self.marks is None else self.marks.place("running")

    def _stub_addresses(self) -> StubAddresses:
        return StubAddresses(
            handler=self.handlers.place("dispatch"),
            on_instruction=self.handlers.place("on_instruction"),
            checks=self.handlers.place(CHECK_WORDS[0]),
            interpreting=self.handlers.place("interpreting"),
            scout_start=self.handlers.place("scout_start"),
            scout_jump=self.handlers.place("scout_jump"),
            sampling=self.sampling.address,
            sites=self.sites.address,
            functions=self.functions.address,
            bound=self._bound.address,
            raw=self._raw.address,
            kept=self._kept.address,
            relied=self.filters.dict_keys.address,
            others=self.handlers.place("others"),
            near=self.handlers.place("near"),
            monitoring_version=self.interpreter.monitoring_version,
            eval_breaker=self.interpreter.eval_breaker,
            raising=self.raising.address,
            running=self.running,
            changes=self.changes,
            symbol=raw.symbol,
        )

    def _watch_addresses(self) -> WatchAddresses:
        return WatchAddresses(
            handler=self.handlers.place("on_watch"),
            changes=self.changes,
            dict_keys=self.filters.dict_keys.address,
            functions=self.filters.functions.address,
            codes=self.filters.codes.address,
            symbol=raw.symbol,
        )


@cache
def machinery(optimise: int, interpreter: abi.Interpreter, is_guarded: bool) -> Machinery:
    """The process's machinery, made at first use."""
    return Machinery(optimise, interpreter, is_guarded)


@dataclass(slots=True)
class Natives:
    """The machinery in use by one driver: its handlers are called, its watchers are registered."""

    config: Config
    interpreter: abi.Interpreter
    handlers: Handlers
    machinery: Machinery = field(init=False)
    watch: Watch = field(init=False)
    guard: CrashGuard = field(init=False)
    target: dict[EntryPoint, Target] = field(init=False)

    def __post_init__(self) -> None:
        self.machinery = machinery(self.config.optimise, self.interpreter, self.config.guard)
        self.target = {point: self._under_stress(target) for point, target in self.machinery.target.items()}
        self.watch = Watch(self.machinery.filters, self.machinery.callbacks)
        self.machinery.handlers.set("others", self.watch.other_dict_watchers)
        self.connect()
        # The last that could fail, since it leaves something behind.
        self.guard = CrashGuard(self.machinery.marks)
        self.guard.open()

    def _under_stress(self, target: Target) -> Target:
        """What regions refer to, with what the stress modes want: guards that are counted, and polls that see a word
        in place of the interpreter's, which always asks for something."""
        stress, words = self.config.stressed, self.machinery.stress
        if stress.exits:
            words.set("countdown", 1 + self.config.seed % stress.exits)
            target = replace(target, countdown=words.place("countdown"), every=stress.exits)
        if stress.osr:
            words.set("asked", 1)
            target = replace(target, eval_breaker=words.place("asked"))
        return target

    @property
    def code_bytes(self) -> int:
        """The size of all machine code, the stubs included."""
        return self.machinery.engine.bytes_in_use

    @property
    def stubs(self) -> dict[str, int]:
        return self.machinery.stubs

    @property
    def sites(self) -> NativeMap:
        return self.machinery.sites

    @property
    def functions(self) -> NativeMap:
        return self.machinery.functions

    @property
    def changes(self) -> Changes:
        return self.machinery.changes

    def connect(self) -> None:
        """Lets the stubs and the watchers call the handlers. Nothing that changed before concerns anyone."""
        self.changes.settle(self.changes.noted().until)
        for word, value in (("left", 1), ("random", sampler.SEED), ("mask", sampler.mask(self.config.threshold))):
            self.machinery.sampling.set(word, value)
        for word, handler in self.handlers._asdict().items():
            self.machinery.handlers.set(word, 0 if handler is None else raw.own(handler))

    def install(
        self,
        owner: RootState,
        kinds: Kinds,
        build: Build,
        region: Region,
        namespaces: tuple[dict[str, object], dict[str, object]],
        reach: Reach,
        dump: Callable[[str, str], None] | None,
    ) -> Installed:
        """Lowers a region, which is what was made of a build, and loads its machine code. Raises `RegionTooLarge`.

        `reach` is that of what it calls.
        """
        if raw_words(region) > RAW_WORDS:
            raise RegionTooLarge
        code = owner.code.code.code
        words = Words(VERSION_WORDS)
        words.set("check_in", 1)
        is_quick = bool(self.config.optimise) and not owner.is_proven and effort.lines(region) >= self.config.large
        if is_quick:
            words.set("rounds", effort.ROUNDS)
            region = effort.counting(region, words.place("rounds"))
        placement = Placement(owner.code.code.locals_count, build.names, build.fields)
        start = id(code) + abi.CODE.co_code_adaptive
        # Not the defaults, which may lead back to the function.
        kept = code, *(each.code for each in build.inlined), *(each.code for each in build.given)
        records = make_records(region, placement, kept, id(code), start, self.config.exit_threshold)
        shared = frozenset((kind.address, kind.shared) for kind in build.met if kind.shared >= 0)
        reach |= Reach(frozenset(map(id, build.modules)), frozenset(map(id, kept[1:])), shared)
        prologue = self._prologue(owner, placement, words, namespaces, build, reach)
        text = lower(region, self.target[region.point], records.addresses, prologue)
        machine = self.machinery.engine.compile(text, name=f"minijit:{owner.name}", quick=is_quick, dump=dump)
        return Installed(
            owner=owner,
            kinds=kinds,
            blocks=len(region.blocks),
            offsets=build.offsets,
            exits=tuple(Way(e.reason, e.frame.offset, e.detail) for e in region.exits),
            machine=machine,
            records=records,
            words=words,
            assumptions=(),
            since=time.perf_counter(),
            reach=reach,
            callees=frozenset(callee.cell for callee in build.callees),
            touched=build.touched,
            variables=frozenset((id(namespaces[0]), name) for name in build.names if name not in owner.code.open),
        )

    def _prologue(
        self,
        owner: RootState,
        placement: Placement,
        words: Words,
        namespaces: tuple[dict[str, object], dict[str, object]],
        build: Build,
        reach: Reach,
    ) -> Callable[[Emitter], None]:
        code, trial = owner.code.code.code, self.guard.trial(owner)
        if isinstance(owner, BodyState):
            return body_prologue(owner.of)
        entry = RegionEntry(
            next=words.place("next"),
            entries=words.place("entries"),
            modules=tuple(sorted(reach.modules)),
            codes=tuple(sorted(reach.codes)),
            depth=build.depth,
            calls=bool(build.callees),
            given=tuple((each.slot, each.kind) for each in build.given),
            instances=build.instances,
            shared=tuple(sorted(reach.shared)),
            placement=placement,
            changes=self.changes,
            strikes=self.config.stressed.kill > 0,
            trial=trial,
        )
        if owner.root.point is EntryPoint.LOOP:
            in_namespace = not owner.code.code.is_optimized
            return loop_prologue(entry, LoopEntry(id(namespaces[0]), id(namespaces[1]), in_namespace))
        call = CallEntry(
            code=id(code),
            positional=code.co_argcount,
            simple=not code.co_kwonlyargcount,
            bind=self.stubs["bind"],
            watched=self.stubs["watched"],
            changed=self.stubs["changed"],
            monitoring_version=self.interpreter.monitoring_version,
            check=self._check(words),
        )
        return call_prologue(entry, call)

    def _check(self, words: Words) -> Check | None:
        if not self.config.compare:
            return None
        interpreting = self.machinery.handlers.place("interpreting")
        return Check(words.place("check_in"), self.stubs["checked"], interpreting, self.stubs["plainly"])

    def silence(self) -> None:
        """No machine code calls Python any more."""
        for word in Handlers._fields:
            self.machinery.handlers.set(word, 0)

    def close(self) -> None:
        """Cuts all ties; the stubs themselves stay, since a thread may be in one."""
        self.guard.close()
        # While its handler is there to be told which dicts and classes have ended.
        self.watch.close()
        for word in Handlers._fields:
            handler = self.machinery.handlers.get(word)
            self.machinery.handlers.set(word, 0)
            if handler:
                raw.give_back(handler)
