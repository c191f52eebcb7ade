"""Regions in service: compiling them, linking them into their root's chain, and taking them out again.

Decides nothing. The driver says when; this file keeps the chains, the records, the assumptions and the native memory of
all regions consistent, and emits an event for each region that comes or goes.
"""

from __future__ import annotations

import operator
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import TYPE_CHECKING

from minijit.build.request import has_plain_keys
from minijit.cpython import hooks, instances
from minijit.cpython.perf import write_perf_map_entry
from minijit.driver import compiler
from minijit.driver.attributes import is_current
from minijit.driver.building import Findings, World
from minijit.driver.natives import Natives, RegionTooLarge
from minijit.driver.state import BodyState, Failure, FunctionState, Installed, Reach, RootState, body_state, exits_of
from minijit.events import Aborted, AbortReason, Compiled, Event, GiveUpReason, Hub, Killed, KillReason
from minijit.ir.kinds import ClassKind, Kinds
from minijit.ir.region import Callee
from minijit.runtime.assume import ABSENT, Assumptions, Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType, FunctionType

    from minijit.config import Config
    from minijit.driver.compiler import Success
    from minijit.driver.hearsay import Hearsay

_NOTHING = object()
BODIES, ATTEMPTS = 4, 3
"""How many bodies a function may have, for arguments of other kinds each, and how often one is tried."""
UNSAFE = (GiveUpReason.CRASHED, GiveUpReason.DIFFERS)
"""Why a function was given up that is not to be compiled in any form."""
PLACES, SHOWN = 1000, 20
"""Of how many places there are counters, and how many are shown in the end."""


@dataclass(slots=True)
class Service:
    """All regions in service.

    `inlines` tells which functions may be inlined, `known` what is known of one, and `hearsay` what was seen of code
    that is inlined. `outdated` are regions that would have
    to check more than they do, now that a function was compiled that they call, which is named. `compile_seconds` is
    what the making of regions has cost so far, `begun` how many were begun. `places` are the counters of each place in
    the source where there ever was one, if they are wanted in the end.
    """

    config: Config
    natives: Natives
    hub: Hub
    inlines: Callable[[FunctionType], bool]
    known: Callable[[FunctionType], FunctionState | None]
    hearsay: Hearsay
    assumptions: Assumptions[Installed] = field(init=False)
    inlined: Assumptions[Installed] = field(init=False)
    classes: Assumptions[Installed] = field(init=False)
    compile_seconds: float = 0.0
    begun: int = 0
    places: dict[str, Counter[str]] = field(default_factory=dict)
    outdated: list[tuple[Installed, str]] = field(default_factory=list)
    _bodies: dict[int, list[Installed]] = field(default_factory=dict)  # by their cells
    _records: dict[int, tuple[Installed, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.assumptions = Assumptions(self.config.patience)
        self.inlined = Assumptions(self.config.patience)
        self.classes = Assumptions(self.config.patience)

    def exit_at(self, record: int) -> tuple[Installed, int] | None:
        """The region and the number of the exit that a native record belongs to."""
        return self._records.get(record)

    def compile(self, state: RootState, kinds: Kinds, *, compile_unseen: bool) -> Installed | Failure:
        """Compiles a root for these entry kinds and puts the region into service, last in its chain."""
        namespaces = compiler.root_namespaces(state)
        if namespaces is None:
            return Failure(AbortReason.STALE, "the function is gone")
        obstacle = _obstacle(state, namespaces)
        if obstacle is not None:
            return obstacle
        self.begun += 1
        if self.config.limits is not None and self.begun > self.config.limits.regions:
            return Failure(AbortReason.LIMIT, f"region {self.begun}, {_place(state)}")
        started, before = time.perf_counter(), self.compile_seconds
        world = World(
            namespaces,
            inlines=self._may_inline,
            body=partial(self._callee, state),
            volatile=self.assumptions.volatile(),
            is_apart=self._is_apart,
            open=state.code.open,
            profiles=self.hearsay.profile,
        )
        state.is_under_way = True
        try:
            with self.natives.guard.compiling(state):
                result = compiler.compile_root(
                    state,
                    kinds,
                    self.natives,
                    self.config,
                    world,
                    compile_unseen=compile_unseen,
                    reach=self._reach_of,
                    findings=Findings(state.code.met, state.code.open, self._set_apart, self._touched_by),
                    number=self.begun,
                )
        except RegionTooLarge:
            return Failure(AbortReason.TOO_LARGE)
        except Exception as error:
            if self.config.stressed.check and not isinstance(error, MemoryError | RecursionError):
                from minijit.oracle.check import end_process

                end_process(error)
            if self.config.check:
                raise
            # A bug of ours must not become one of the program's: it is reported and the function stays interpreted.
            return Failure(AbortReason.COMPILER, repr(error))
        finally:
            # That of its callees included.
            self.compile_seconds = before + time.perf_counter() - started
            state.is_under_way = False
        if isinstance(result, Failure):
            return result
        installed = result.installed
        self.hearsay.listen_for(state.code, result.build.unheard)
        self.hearsay.follow(state.code)
        stale = self._put_in_service(installed, result)
        if stale is not None:
            return Failure(AbortReason.STALE, stale)
        if self.config.perf_map:
            self._name(installed)
        event = Compiled(
            function=state.name,
            offset=state.root.offset,
            types=", ".join(kind.label for kind in installed.kinds),
            blocks=installed.blocks,
            exits=len(installed.exits),
            size=installed.machine.size,
            build_ms=1000 * result.build_seconds,
            llvm_ms=1000 * result.llvm_seconds,
        )
        self.emit(state, event)
        return installed

    def _callee(self, caller: RootState, function: FunctionType, kinds: Kinds) -> Callee | None:
        """The body of a function that `caller` calls with such arguments, compiled if need be; if it cannot be yet,
        that may come."""
        state = self.known(function)
        # What the calls in it give is known only if it was recorded. That nothing is compiled for the interpreter's
        # calls may be for their sake alone.
        is_out = state is None or state.suppressed or state.given_up in UNSAFE
        if state is None or is_out or not state.exists or not state.code.profile.seen:
            return None
        body = state.bodies.get(kinds)
        if body is None:
            if len(state.bodies) >= BODIES:
                return None
            body = state.bodies[kinds] = body_state(state, kinds)
            self._bodies[body.cell] = body.versions
        callee = Callee(state.name, body.cell, is_self=body is caller)
        known = state.code.profile.news
        self.retire_outgrown(body)
        if body.versions or body.is_under_way:
            return callee
        is_spent = self.compile_seconds >= self.config.compile_seconds or body.counters["aborts"] >= ATTEMPTS
        if body.is_out or is_spent or self.natives.guard.is_suspect(body):
            return None
        if body.tried == known:
            return callee
        result = self.compile(body, kinds, compile_unseen=False)
        if isinstance(result, Failure):
            body.tried = known
            if result.reason is AbortReason.TOO_LARGE:
                body.given_up = GiveUpReason.ABORTS
            self.hearsay.listen_for(state.code, result.unheard)
            at = result.offset_in(body.root)
            self.emit(body, Aborted(function=body.name, offset=0, reason=result.reason, at=at, detail=result.detail))
        return None if body.is_out else callee

    def _reach_of(self, callees: tuple[Callee, ...]) -> Reach:
        """What their bodies must find as it was, those that there are."""
        return reduce(operator.or_, [region.reach for region in self._called(callees)], Reach())

    def _called(self, callees: tuple[Callee, ...]) -> list[Installed]:
        """The bodies among these that there are."""
        return [region for callee in callees for region in self._bodies.get(callee.cell, ())]

    def _touched_by(self, callees: Iterable[Callee]) -> frozenset[Key]:
        """The globals that bodies look at, or store, and what these call in turn."""
        return self._touched_in({callee.cell for callee in callees})

    def _touched_in(self, cells: Iterable[int]) -> frozenset[Key]:
        work, seen = list(cells), set(cells)
        found: set[Key] = set()
        while work:
            for region in self._bodies.get(work.pop(), ()):
                found |= region.touched
                work += region.callees - seen
                seen |= region.callees
        return frozenset(found)

    def _outdated_by(self, body: BodyState, installed: Installed) -> list[Installed]:
        """The regions that call a body without a look at all that it relies on now, or have names as variables that
        bodies look at now."""
        regions = [region for region in self.regions_with(body.of) if region.owner is not body]
        outdated = [r for r in regions if body.cell in r.callees and not installed.reach <= r.reach]
        with_names = [loop for root in self.hearsay.registry.roots() for loop in root.versions if loop.variables]
        shared = [loop for loop in with_names if loop.callees and loop.variables & self._touched_in(loop.callees)]
        return outdated + [loop for loop in shared if loop not in outdated]

    def _put_in_service(self, installed: Installed, result: Success) -> str | None:
        """Links a region into its root's chain; or the name of what has changed while it was compiled."""
        state = installed.owner
        state.versions.append(installed)
        self._rely(installed, result)
        for f in result.build.inlined:
            if not f.holds:
                self.inlined.count_for(installed, _key(f.function))
                self.retire(installed)
                return f.function.__qualname__
        for kind in installed.classes:
            if not is_current(kind):
                self.classes.count_for(installed, _class_key(kind))
                self.retire(installed)
                return kind.name
        for a in result.build.assumptions:
            # Compiling runs Python code, so other threads may have run as well.
            if a.namespace.get(a.name, _NOTHING) is not (_NOTHING if a.value is None else a.value.value):
                self.assumptions.count_for(installed, (id(a.namespace), a.name))
                self.retire(installed)
                return a.name
        for index, address in enumerate(installed.records.addresses[: len(installed.exits)]):
            self._records[address] = (installed, index)
        if isinstance(state, BodyState):
            self._hold_outdated(state, installed)
        self.relink(state)
        return None

    def _hold_outdated(self, body: BodyState, installed: Installed) -> None:
        """Before a body can be called: nothing enters the regions that would have to look at more, until they are
        killed. Another thread may run while the region that the body was wanted for is compiled."""
        for region in self._outdated_by(body, installed):
            region.owner.hold()
            self.outdated.append((region, body.name))

    def _name(self, installed: Installed) -> None:
        """Names a region for Linux `perf`."""
        state = installed.owner
        try:
            write_perf_map_entry(installed.address, installed.machine.size, f"minijit:{state.name}@{state.root.offset}")
        except OSError as error:
            self.hub.complain(str(error))

    def _rely(self, installed: Installed, result: Success) -> None:
        installed.inlined = tuple(_key(f.function) for f in result.build.inlined)
        for f, key in zip(result.build.inlined, installed.inlined, strict=True):
            self._rely_on_function(key, installed, id(f.code))
        known = (kind for kind in installed.kinds if isinstance(kind, ClassKind))
        installed.classes = (*known, *result.build.classes, *result.build.met)
        for kind in installed.classes:
            self._rely_on_class(kind, installed)
        installed.assumptions = tuple((id(a.namespace), a.name) for a in result.build.assumptions)
        for a in result.build.assumptions:
            assumed = ABSENT if a.value is None else id(a.value.value)
            if self.assumptions.add((id(a.namespace), a.name), installed, assumed):
                self.natives.watch.watch_dict_key(a.namespace, a.name)
        for region in self._called(result.build.callees):
            self._rely_as(region, installed)

    def _rely_as(self, other: Installed, installed: Installed) -> None:
        """A region relies on all that another one does that it calls: at its own entry it looks at the modules, the
        classes and the code of that, which must not end before it does."""
        names = [key for key in other.assumptions if key not in installed.assumptions]
        functions = [key for key in other.inlined if key not in installed.inlined]
        classes = [kind for kind in other.classes if kind not in installed.classes]
        for key in names:
            self.assumptions.add(key, installed, self.assumptions.assumed_by(key, other))
        for key in functions:
            self._rely_on_function(key, installed, self.inlined.assumed_by(key, other))
        for kind in classes:
            self._rely_on_class(kind, installed)
        installed.assumptions += tuple(names)
        installed.inlined += tuple(functions)
        installed.classes += tuple(classes)

    def _rely_on_function(self, key: Key, installed: Installed, code: int) -> None:
        self.inlined.add(key, installed, code)
        self.natives.watch.watch_function(key[0])

    def _rely_on_class(self, kind: ClassKind, installed: Installed) -> None:
        self.classes.add(_class_key(kind), installed, kind.version)
        cls = kind.cls()
        if cls is not None:
            self.natives.watch.watch_type(cls)

    def relink(self, state: RootState) -> None:
        """Makes the chain of a root's versions what the list says."""
        last = self.natives.stubs["miss"] if isinstance(state, FunctionState) else 0
        following = last
        # From the end, since other threads may run the chain meanwhile: what a version leads to leads on by then.
        for version in reversed(state.versions):
            version.words.set("next", following)
            following = version.address
        first = following if state.versions and not state.is_held else 0
        if isinstance(state, FunctionState):
            state.enter_at(first)
        else:
            state.words.set("entry", first)

    def retire(self, installed: Installed, reason: KillReason | None = None, detail: str = "") -> None:
        """Takes a region out of service and frees it; nothing happens if it is out already.

        Without a reason it is no kill: another event tells what became of the root.
        """
        state = installed.owner
        if installed not in state.versions:
            return
        state.versions.remove(installed)
        self.relink(state)
        for key in installed.assumptions:
            if self.assumptions.remove(key, installed):
                self.natives.watch.unwatch_dict_key(*key)
        for key in installed.inlined:
            self.inlined.remove(key, installed)
            self.natives.watch.unwatch_function(key[0])
        for kind in installed.classes:
            self.classes.remove(_class_key(kind), installed)
            cls = kind.cls()
            if cls is not None:
                self.natives.watch.unwatch_type(cls)
        for address in installed.records.addresses:
            self._records.pop(address, None)
        for counters in (state.counters, self.hub.counters, *self._place_counters(state)):
            counters["entries"] += installed.entries
            counters["exits"] += exits_of(installed)
        installed.close()
        if reason is not None:
            self.emit(state, Killed(function=state.name, offset=state.root.offset, reason=reason, detail=detail))

    def inlining(self, function: int, *, ends: bool) -> list[Installed]:
        """The regions that a function is inlined in, which is known by address and has changed, or `ends`."""
        if ends:
            return self.inlined.forget(function)[1]
        return self.inlined.broken_with(function)

    def using(self, cls: int) -> list[Installed]:
        """The regions that use attributes of instances of a class, which is known by address and has changed."""
        return self.classes.broken_with(cls)

    def regions_with(self, function: int) -> list[Installed]:
        """The regions that a function, known by address, is inlined in, or called from, by whatever way."""
        return [region for key in self.inlined.keys_of(function) for region in self.inlined.relying_on(key)]

    def _may_inline(self, function: FunctionType) -> bool:
        """Not what has changed too often."""
        return _key(function) not in self.inlined.volatile() and self.inlines(function)

    def _is_apart(self, code: CodeType) -> bool:
        known = self.hearsay.registry.codes.get(id(code))
        return known is not None and known.is_apart

    def _set_apart(self, codes: frozenset[CodeType]) -> bool:
        """Code that is known is not inlined any more; whether any was before."""
        known = [self.hearsay.registry.codes.get(id(code)) for code in codes]
        inlined = [state for state in known if state is not None and not state.is_apart]
        for state in inlined:
            state.is_apart = True
        return bool(inlined)

    def forget_namespace(self, namespace: int) -> list[Installed]:
        """A namespace is being destroyed: nothing refers to its address any more. The regions that relied on it."""
        keys, regions = self.assumptions.forget(namespace)
        for key in keys:
            self.natives.watch.unwatch_dict_key(*key, dying=True)
        return regions

    def end_bodies(self, state: FunctionState, reason: KillReason) -> None:
        """Forgets the bodies of a function, after all that calls them."""
        for body in list(state.bodies.values()):
            for region in self.regions_with(state.address):
                if body.cell in region.callees:
                    self.retire(region, reason)
            self.retire_all(body, reason)
            del self._bodies[body.cell]
            body.close()
        state.bodies.clear()

    def retire_outgrown(self, state: RootState) -> None:
        """Takes the regions of a root out of service that are never entered again: instances of a class share more
        names by now than they have looked for."""
        for installed in list(state.versions):
            shared = [(kind, kind.cls()) for kind in installed.classes if kind.shared >= 0]
            for kind, cls in shared:
                if cls is not None and instances.shared_names(cls).count != kind.shared:
                    self.retire(installed, KillReason.CLASS, kind.name)

    def retire_all(self, state: RootState, reason: KillReason | None = None) -> None:
        """Takes all regions of a root out of service."""
        for installed in list(state.versions):
            self.retire(installed, reason)

    def emit(self, state: RootState, event: Event) -> None:
        """Notes an event in the root's history and hands it on."""
        state.history.append(event)
        self.hub.emit(event, state.counters, *self._place_counters(state))

    def _place_counters(self, state: RootState) -> tuple[Counter[str], ...]:
        if not self.config.stats:
            return ()
        place = _named_place(state)
        if place not in self.places and len(self.places) >= PLACES:
            return ()
        return (self.places.setdefault(place, Counter()),)

    def place_lines(self, roots: Iterable[RootState]) -> Iterator[str]:
        """The places that were entered most, as lines of the log; `roots` are those that there are still."""
        # What is called here may be compiled itself, under stress, and become one place more.
        more: dict[str, int] = {}
        for state in roots:
            place = _named_place(state)
            more[place] = more.get(place, 0) + sum(version.entries for version in state.versions)
        found = [(counters["entries"] + more.get(place, 0), place) for place, counters in list(self.places.items())]
        for entries, place in sorted(found, reverse=True)[:SHOWN]:
            if entries:
                shown = ("compilations", "bridges", "kills", "given_up")
                counted = [f"{name}={self.places[place][name]}" for name in shown if self.places[place][name]]
                yield " ".join(["place     ", place, *counted, f"entries={entries}"])


def _obstacle(state: RootState, namespaces: tuple[dict[str, object], dict[str, object]]) -> Failure | None:
    """What stands in the way of any compilation of a root, if anything does."""
    if any(type(namespace) is not dict for namespace in namespaces):
        return Failure(AbortReason.NOTHING, "globals or builtins that are no plain dict")
    if not all(map(has_plain_keys, namespaces)):
        return Failure(AbortReason.NOTHING, "globals or builtins with keys that are no plain strings")
    if isinstance(state, FunctionState) and hooks.vectorcall_of(state.address) != state.entry:
        return Failure(AbortReason.ENTRY)
    if isinstance(state, FunctionState) and state.other_code is not None:
        return Failure(AbortReason.STALE, "the function has got other code")
    return None


def _key(function: FunctionType) -> Key:
    """A function that is relied on, as `Assumptions` has it."""
    return id(function), function.__qualname__


def _class_key(kind: ClassKind) -> Key:
    """The same of a class."""
    return kind.address, kind.name


def _named_place(state: RootState) -> str:
    return f"{state.name} ({_place(state)})"


def _place(state: RootState) -> str:
    """Where a root is in the source: file and line."""
    code = state.code.code
    return f"{code.code.co_filename}:{code.line(state.root.offset)}"
