"""What policies decide, carried out: compiling, waiting, giving up.

In: a root about which something has to be decided. The policy is asked (one that fails is replaced by the default),
what it says is done, and an event tells of it. The other parts of the driver come here with whatever ends in a
decision; nothing here looks for occasions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minijit.backend.handler_stub import HEADROOM
from minijit.backend.words import NEVER, SHALLOW
from minijit.cpython import frames, hooks
from minijit.driver.state import Failure, FunctionState
from minijit.events import Aborted, AbortReason, GaveUp, GiveUpReason, KillReason, described
from minijit.runtime.policy import GiveUp, Policy, Wait
from minijit.runtime.stress import under_stress

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import UnionType

    from minijit.driver.hearsay import Hearsay
    from minijit.driver.registry import Registry
    from minijit.driver.state import Installed, RootState, Words
    from minijit.events import Hub
    from minijit.ir.kinds import Kinds
    from minijit.runtime.policy import RootStats


SOON = 3
"""After how many more starts or rounds a place is asked about again that only has to be seen once more."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Over the roots of a registry."""

    registry: Registry
    hearsay: Hearsay
    hub: Hub

    def ask(self, state: RootState, question: Callable[[Policy], Any], answers: type | UnionType) -> Any:
        """The policy's answer; one that raises, or says what is none of the answers, is reported and replaced by the
        default."""
        try:
            answer = question(under_stress(state.policy, self.registry.config))
            if isinstance(answer, answers):
                return answer
            found = f"{described(answer)} is no answer"
        except Exception as error:  # noqa: BLE001 - a user's policy must not break the program
            found = described(error)
        self.hub.complain(f"policy {described(state.policy)} replaced by the default: {found}")
        state.policy = Policy(self.registry.config)
        return question(under_stress(state.policy, self.registry.config))

    def stats(self, state: RootState) -> RootStats:
        """What a policy is told of a root."""
        service = self.registry.service
        return state.stats(service.compile_seconds, service.natives.code_bytes)

    # ---- waiting

    def wait(self, state: RootState, times: int) -> None:
        """The root is asked about again when its place was reached that many times more."""
        ask_again(state.site, times)

    def wait_anew(self, state: RootState) -> None:
        """The root is asked about again as if nothing were known of it."""
        config = self.registry.config
        self.wait(state, config.call_threshold if isinstance(state, FunctionState) else config.loop_threshold)

    # ---- compiling

    def compile(self, state: RootState, kinds: Kinds, replaces: Installed | None = None) -> Installed | None:
        """Builds and installs a region for the root with these kinds; None if it came to nothing."""
        unseen = self.ask(state, lambda policy: policy.compile_unseen(self.stats(state)), bool)
        return self.compile_now(state, kinds, compile_unseen=unseen, replaces=replaces)

    def compile_now(
        self,
        state: RootState,
        kinds: Kinds,
        *,
        compile_unseen: bool,
        replaces: Installed | None = None,
    ) -> Installed | None:
        """As above, with the policy's answer given."""
        if self.registry.service.natives.guard.is_suspect(state):
            self.give_up(state, GiveUpReason.CRASHED)
            return None
        result = self.registry.service.compile(state, kinds, compile_unseen=compile_unseen)
        self._kill_outdated()
        if isinstance(result, Failure):
            if self.hearsay.listen_for(state.code, result.unheard):
                # The interpreter shows the way once more.
                self.wait(state, SOON)
            else:
                self.abort(state, result.reason, result.offset_in(state.root), result.detail)
            return None
        if replaces is not None:
            self.registry.service.retire(replaces)
        return result

    def _kill_outdated(self) -> None:
        """Ends the regions that do not check what functions need by now that they call."""
        outdated = self.registry.service.outdated
        while outdated:
            region, callee = outdated.pop(0)
            self.kill(region, KillReason.CALLEE, callee)
            region.owner.holds -= 1
            if region.owner.versions:
                self.registry.service.relink(region.owner)

    def abort(self, state: RootState, reason: AbortReason, at: int, detail: str = "") -> None:
        """A recording or a compilation came to nothing."""
        state.note_abort(reason, at, detail)
        self.registry.service.emit(
            state, Aborted(function=state.name, offset=state.root.offset, reason=reason, at=at, detail=detail)
        )
        match self.ask(state, lambda policy: policy.after_abort(self.stats(state)), Wait | GiveUp):
            case Wait(times):
                self.wait(state, times)
            case GiveUp() if state.versions:
                # There will be no more versions; those that there are stay.
                state.words.set("miss_hot_at", NEVER)
            case GiveUp(why):
                self.give_up(state, why)

    # ---- out of service

    def kill(self, installed: Installed, reason: KillReason, detail: str) -> None:
        """An assumption of a region broke."""
        state = installed.owner
        if installed not in state.versions:
            return
        self.registry.service.retire(installed, reason, detail)
        match self.ask(state, lambda policy: policy.after_kill(self.stats(state), reason), Wait | GiveUp):
            case Wait(times):
                self.wait(state, times)
            case GiveUp(why):
                self.give_up(state, why, detail)

    def give_up(self, state: RootState, reason: GiveUpReason, detail: str = "") -> None:
        """Nothing is compiled for the root any more."""
        state.given_up = reason
        self.registry.retire_all(state)
        self.registry.service.emit(
            state, GaveUp(function=state.name, offset=state.root.offset, reason=reason, detail=detail)
        )
        self.registry.update_events(state.code)

    def park(self, state: FunctionState | None) -> None:
        """Somebody else watches the code, or the thread is too deep in calls: the function is the interpreter's until
        that is over."""
        if state is None or not state.exists:
            return
        state.enter_at(0)
        self.wait(state, 1)

    def unpark(self, state: FunctionState) -> None:
        """Calls go to machine code again, if nobody else watches the code any more, and there is C stack for them."""
        # The handler that we are in may go deeper than the program (see `backend.handler_stub`).
        depth = frames.depth() + HEADROOM
        if hooks.is_watched(state.code.code.code) or depth >= SHALLOW:
            self.wait_anew(state)
            return
        self.registry.service.relink(state)

    def release(self, state: FunctionState) -> None:
        """Throws away all code of a function and of its code object's loops; counting starts anew."""
        if self.registry.functions.get(state.address) is not state:
            return
        for root in state.roots:
            self.registry.retire_all(root, KillReason.RELEASED)
            root.given_up, root.is_proven = None, False
            root.forget_abort()
            root.counters.clear()
            root.asked.clear()
            self.wait_anew(root)
        state.code.is_followed = any(root.versions for root in state.code.roots)
        self.registry.update_events(state.code)
        self.registry.monitoring.hear_again()

    def suppress(self, state: FunctionState) -> None:
        """Never compiles the function again."""
        if self.registry.functions.get(state.address) is not state:
            return
        self.release(state)
        for root in state.roots:
            root.suppressed = True
        if self.registry.in_service is not None:
            for installed in self.registry.service.regions_with(state.address):
                self.kill(installed, KillReason.RELEASED, f"{state.name} is inlined")
        self.registry.update_events(state.code)


def ask_again(site: Words, times: int) -> None:
    """A place is asked about again when it was reached that many times more."""
    site.set("hot_at", min(site.get("count") + times, NEVER))


def ask_misses_again(words: Words, times: int) -> None:
    """Misses are asked about again after that many more."""
    words.set("miss_hot_at", min(words.get("misses") + times, NEVER))
