"""Which functions and code objects minijit knows, and what the interpreter and the stubs were told of them.

In: functions that come, get another code object, or end. Out: a `FunctionState` for each, a `CodeState` for each code
object, shared by its functions, with a root for each loop; the events that these need, and their entries in the maps
of the stubs. Decides nothing and compiles nothing. Nothing native is touched before `go_native`.

Functions within functions come and go, each time with the same code object. So what was compiled outlives the function,
as long as somebody else has the code object: the next function of that code gets the state of the one that has ended.
"""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.backend.words import site_key
from minijit.cpython import hooks
from minijit.cpython.scout import JUMP, START
from minijit.driver.state import CodeState, FunctionState, RootState, function_state, home_of, new_site
from minijit.events import KillReason
from minijit.ir.bytecode import decode
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Root

if TYPE_CHECKING:
    from types import CodeType, FunctionType

    from minijit.config import Config
    from minijit.driver.natives import Natives
    from minijit.driver.service import Service
    from minijit.runtime.policy import Policy


RESTING = 64
"""How many code objects without a function are remembered."""


@dataclass(slots=True)
class Registry:
    """Everything known, by address: code objects, functions, and loops by the words of their site."""

    config: Config
    monitoring: hooks.Monitoring = field(init=False)
    codes: dict[int, CodeState] = field(default_factory=dict)
    functions: dict[int, FunctionState] = field(default_factory=dict)
    loops: dict[int, RootState] = field(default_factory=dict)
    in_service: Service | None = None
    _resting: dict[int, CodeState] = field(default_factory=dict)  # those without a function, the oldest first

    @property
    def service(self) -> Service:
        """The regions in service; only once something ran."""
        assert self.in_service is not None
        return self.in_service

    @property
    def natives(self) -> Natives:
        return self.service.natives

    def go_native(self, service: Service) -> None:
        """Machine code takes over the counting of everything that is known by now."""
        self.in_service = service
        for state in list(self.functions.values()):
            self._adopt(state)
            self._catch_up(state)
        stubs = self.natives.stubs
        self.monitoring.go_native(stubs["on_start"], stubs["on_jump"], stubs["on_instruction"])

    # ---- coming

    def add(self, function: FunctionType, policy: Policy) -> None:
        """Takes a function on; a second time changes its policy only. Loops belong to the code object: of several
        functions that have it, the one taken on last decides their policy."""
        known = self.functions.get(id(function))
        if known is not None and known.function is function:
            for root in (known, *known.bodies.values()):
                root.policy = policy
            self._loop_roots(known.code, policy)
            return
        if known is not None:
            # It died before there were watchers to tell.
            self.gone(known)
        self._catch_up(self._enter(function, function.__code__, policy))

    def recode(self, state: FunctionState, code_object: CodeType) -> None:
        """The function gets another code object: it starts anew with that."""
        function = state.function
        self.forget(state, KillReason.CODE)
        if function is None:
            return
        fresh = self._enter(function, code_object, state.policy)
        fresh.history.extend(state.history)
        fresh.counters.update(state.counters)
        if state.suppressed:
            for root in (fresh, *fresh.code.loops.values()):
                root.suppressed = True
            self.update_events(fresh.code)

    def _enter(self, function: FunctionType, code_object: CodeType, policy: Policy) -> FunctionState:
        self._look_after_resting()
        code = self._code_state(code_object)
        self._resting.pop(code.address, None)
        state = _revived(code, function, policy) or function_state(code, function, policy, self.config.miss_threshold)
        self.functions[state.address] = code.functions[state.address] = state
        self._adopt(state)
        if state.versions:
            self.service.relink(state)
        self.update_events(code)
        return state

    def _catch_up(self, state: FunctionState) -> None:
        """Notices a code object that the function got before anybody was told of that, once somebody is."""
        other = state.other_code
        if self.in_service is not None and other is not None:
            self.recode(state, other)

    def _code_state(self, code_object: CodeType) -> CodeState:
        code = self.codes.get(id(code_object))
        if code is None:
            code = CodeState(decode(code_object), new_site(self.config.call_threshold))
            self.codes[id(code_object)] = code
            if self.in_service is not None:
                self._adopt_code(code)
        return code

    def _loop_roots(self, code: CodeState, policy: Policy) -> None:
        """A root for each loop of the code, with this policy."""
        for header in code.code.loops:
            if header in code.loops:
                code.loops[header].policy = policy
            if header in code.loops or header >= 1 << 16:
                continue
            site = new_site(self.config.loop_threshold)
            site.set("miss_hot_at", self.config.miss_threshold)
            name = code.code.code.co_qualname
            code.loops[header] = RootState(code, Root(EntryPoint.LOOP, header), name, policy, site)
            self.loops[site.address] = code.loops[header]

    def _adopt(self, state: FunctionState) -> None:
        """Makes a function known to the stubs and watchers, if they exist by now."""
        self._loop_roots(state.code, state.policy)
        if self.in_service is None:
            return
        function = state.function
        if function is None:
            self.gone(state)
            return
        self._adopt_code(state.code)
        self.natives.functions[state.address] = state.words.address
        self.natives.watch.watch_function(id(function))

    def _adopt_code(self, code: CodeState) -> None:
        self.natives.sites[site_key(code.address, 0)] = code.start.address
        for header, loop in code.loops.items():
            self.natives.sites[site_key(code.address, header)] = loop.words.address

    def update_events(self, code: CodeState) -> None:
        """Asks the interpreter for the events that the code's roots need, and for no others."""
        events = 0
        waits = code.spare is not None and self.monitoring.scout is not None
        if waits or any(not f.is_out for f in code.functions.values()):
            events |= START
        if any(not loop.is_out for loop in code.loops.values()):
            events |= JUMP
        is_followed = code.is_followed and not all(root.is_out for root in code.roots)
        if code.recording is not None or code.is_heard or is_followed:
            events |= hooks.INSTRUCTION
        self.monitoring.set_events(code.code.code, events)
        if self.monitoring.scout is not None:
            # All code has events: what does not want them must say so.
            code.start.set("silent", not events & START)
            for loop in code.loops.values():
                loop.words.set("silent", loop.is_out)

    def roots(self) -> list[RootState]:
        """All that are known. A finaliser that comes in between may take one out."""
        return [root for code in list(self.codes.values()) for root in code.roots]

    # ---- going

    def retire_all(self, state: RootState, reason: KillReason | None = None) -> None:
        """Takes all regions of a root out of service, if there ever were any."""
        if self.in_service is not None:
            self.in_service.retire_all(state, reason)

    def _end_bodies(self, state: FunctionState, why: KillReason) -> None:
        if self.in_service is not None:
            self.in_service.end_bodies(state, why)

    def gone(self, state: FunctionState) -> None:
        """A function is being destroyed, or has been."""
        state.reference = None
        self._end_bodies(state, KillReason.GONE)
        self._look_after_resting()
        if not _is_worth_keeping(state):
            self.forget(state, KillReason.GONE)
            return
        self._detach(state)
        code = state.code
        self._drop_spare(code, KillReason.GONE)
        code.spare = state
        if code.functions:
            return
        self._resting[code.address] = code
        # The function that is being destroyed has it still.
        if not self._is_wanted(code, others=1):
            self._forget_code(code, KillReason.GONE)
            return
        self.update_events(code)
        if len(self._resting) > RESTING:
            self._forget_code(next(iter(self._resting.values())), KillReason.GONE)

    def _look_after_resting(self) -> None:
        """Forgets code that nobody else has any more."""
        for code in list(self._resting.values()):
            if code.address in self._resting and not self._is_wanted(code):
                self._forget_code(code, KillReason.GONE)

    def forget(self, state: FunctionState, why: KillReason) -> None:
        """Nothing of the function is known any more; nor of its code object, if it was the last function of it."""
        self._end_bodies(state, why)
        self.retire_all(state, why)
        self._detach(state)
        state.close()
        if not state.code.functions:
            self._forget_code(state.code, why)

    def forget_all(self, why: KillReason) -> None:
        """Nothing is known any more."""
        for state in list(self.functions.values()):
            self.forget(state, why)
        for code in list(self._resting.values()):
            self._forget_code(code, why)

    def _detach(self, state: FunctionState) -> None:
        """Nothing of what is told of the function's address means this state any more."""
        del self.functions[state.address]
        del state.code.functions[state.address]
        if self.in_service is not None and state.address in self.natives.functions:
            del self.natives.functions[state.address]
            self.natives.watch.unwatch_function(state.address)

    def _is_wanted(self, code: CodeState, others: int = 0) -> bool:
        """Whether anybody has the code object but minijit and so many others."""
        records = sum(len(root.versions) for root in code.roots)
        # Beside these there are `Code` and the call.
        ours = 2 + records + (code.address in self.monitoring.active)
        return sys.getrefcount(code.code.code) > ours + others

    def _drop_spare(self, code: CodeState, why: KillReason) -> None:
        spare, code.spare = code.spare, None
        if spare is not None:
            self.retire_all(spare, why)
            spare.close()

    def _forget_code(self, code: CodeState, why: KillReason) -> None:
        self._resting.pop(code.address, None)
        self._drop_spare(code, why)
        code.recording = None
        for header, loop in code.loops.items():
            self.retire_all(loop, why)
            self.loops.pop(loop.words.address, None)
            self._forget_site(site_key(code.address, header))
            loop.close()
        # No cycles, which would be left to the collector.
        code.loops.clear()
        code.recorded = code.replaces = None
        self._forget_site(site_key(code.address, 0))
        code.start.close()
        self.monitoring.set_events(code.code.code, 0)
        del self.codes[code.address]

    def _forget_site(self, key: int) -> None:
        # A function that died before the native part was made has no sites.
        if self.in_service is not None and key in self.natives.sites:
            del self.natives.sites[key]


def _revived(code: CodeState, function: FunctionType, policy: Policy) -> FunctionState | None:
    """The state of a function of the same code that has ended, as that of this one, if that has the same namespaces."""
    state = code.spare
    if state is None or state.home != home_of(function) or type(state.policy) is not type(policy):
        return None
    code.spare = None
    state.reference, state.address = weakref.ref(function), id(function)
    state.entry = hooks.PLAIN_VECTORCALL
    state.name, state.policy = function.__qualname__, policy
    return state


def _is_worth_keeping(state: FunctionState) -> bool:
    """Whether the next function of this code is better off for what is known of it. Modules mostly run once."""
    code = state.code
    if code.recording is not None or state.suppressed or not code.code.is_optimized:
        return False
    return any(root.versions or root.given_up is not None for root in code.roots)
