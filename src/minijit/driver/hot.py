"""Hot places: what the stubs report when a count reaches its threshold.

In: a code object's start, a loop header, an exit or a miss, in the frame that was there. Out: a recording begun, a
region compiled, or a later threshold, as the policy says.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.backend.words import NEVER, Call
from minijit.cpython import hooks, raw
from minijit.driver.decisions import ask_again, ask_misses_again
from minijit.driver.entries import (
    as_wide_as_needed,
    call_kinds,
    loop_kinds,
    same_types,
    with_few_objects,
    without_classes,
)
from minijit.events import ExitHot, ExitReason, GiveUpReason
from minijit.runtime.policy import Bridge, ExitStats, GiveUp, MissStats, Recompile, Record, Resume, Wait

if TYPE_CHECKING:
    from minijit.cpython.frames import Frame
    from minijit.driver.decisions import Decisions
    from minijit.driver.offers import Offers
    from minijit.driver.recordings import Recordings
    from minijit.driver.registry import Registry
    from minijit.driver.state import CodeState, FunctionState, Installed, RootState, Words
    from minijit.ir.kinds import Kinds


@dataclass(frozen=True, slots=True)
class HotPlaces:
    """Of the roots of a registry."""

    registry: Registry
    decisions: Decisions
    recordings: Recordings
    offers: Offers | None

    def start(self, code: CodeState | None, frame: Frame) -> None:
        """A code object was started often; `frame` is that of the latest start."""
        if code is None:
            return
        state = code.functions.get(frame.function)
        if state is None or state.is_out:
            ask_again(code.start, self.registry.config.call_threshold)
            if state is None and self.offers is not None:
                self.offers.take_on(frame)
            return
        if state.versions and not state.installed:
            self.decisions.unpark(state)
            return
        if not self.recordings.is_free(code, started=frame.address):
            self.recordings.look_later(code)
            return
        if hooks.is_watched(code.code.code):
            ask_again(code.start, self.registry.config.call_threshold)
            return
        kinds = call_kinds(code.code, frame)
        if kinds is None:
            self.decisions.give_up(state, GiveUpReason.UNSUITABLE)
            return
        kinds = _wide_enough(state, kinds)
        if not self._is_served(state, kinds):
            # Of these types there was a recording: only the ints are of another sort.
            is_known = any(same_types(version.kinds, kinds) for version in state.versions)
            self._consider(state, kinds, frame, is_known=is_known)

    def loop(self, state: RootState | None, frame: Frame) -> None:
        """A loop header was reached often by back edges, the latest of them in `frame`."""
        if state is None or state.is_out:
            return
        code = state.code
        ask_again(state.words, self.registry.config.loop_threshold)
        if not self._has_function(code, frame):
            return
        if hooks.is_watched(code.code.code):
            return
        kinds = loop_kinds(code.code, state.root.offset, frame)
        if kinds is None:
            self.decisions.give_up(state, GiveUpReason.UNSUITABLE)
            return
        kinds = _wide_enough(state, kinds)
        # More of it than its header.
        is_known = len(code.profile.seen & code.code.loops[state.root.offset].body) > 1
        if self.recordings.is_free(code):
            self._consider(state, kinds, frame, is_known=is_known and not state.counters["aborts"])
        elif is_known and state is not code.recorded:
            self._consider(state, kinds, frame, is_known=True)

    def missed_loop(self, state: RootState | None, frame: Frame) -> None:
        """A loop was often reached with types that no version takes."""
        if state is None or state.is_out or not self._has_function(state.code, frame):
            return
        self.registry.service.retire_outgrown(state)
        kinds = loop_kinds(state.code.code, state.root.offset, frame)
        if kinds is not None:
            kinds = _wide_enough(state, kinds)
            if self._is_served(state, kinds):
                return
        if self._wants_version(state, compilable=kinds is not None) and kinds is not None:
            misses = state.words.get("misses")
            done = self.decisions.compile(state, kinds)
            # What cannot be compiled once will hardly be the next time.
            ask_misses_again(state.words, self.registry.config.miss_threshold + (0 if done else misses))

    def missed_call(self, state: FunctionState | None) -> None:
        """A function was often called with types that no version takes."""
        if state is None or state.is_out:
            return
        self.registry.service.retire_outgrown(state)
        if self._wants_version(state, compilable=state.last_abort is None):
            # This very call is interpreted now, and recorded from its start.
            ask_again(state.code.start, 1)
            ask_misses_again(state.words, self.registry.config.miss_threshold)

    def exit(self, record: int) -> None:
        """A region was often left by the exit that has this record."""
        found = self.registry.service.exit_at(record)
        if found is None:
            return
        installed, index = found
        count = installed.records.count(index)
        installed.records.heat(index, count + self.registry.config.exit_threshold)
        stats = self._exit_stats(installed, index, count)
        state = installed.owner
        answer = self.decisions.ask(
            state, lambda policy: policy.after_exit(stats), Resume | Bridge | Recompile | GiveUp
        )
        exit = installed.exits[index]
        event = ExitHot(
            function=state.name,
            offset=state.root.offset,
            reason=exit.reason,
            at=exit.offset,
            count=count,
            action=type(answer).__name__.lower(),
            detail=exit.detail,
        )
        self.registry.service.emit(state, event)
        self._carry_out(answer, installed, index)

    def silence(self, kind: Call, a: int, b: int) -> None:
        """Hears nothing more of a place, since somebody else has the turn, until it is asked about again."""
        words, name = self._asking(kind, a, b)
        service = self.registry.in_service
        found = service.exit_at(a) if kind is Call.EXIT and service is not None else None
        # Who has the turn may have closed everything by now.
        with suppress(raw.Closed):
            if words is not None:
                words.set(name, NEVER)
            elif found is not None:
                found[0].records.heat(found[1], NEVER)

    def postpone(self, kind: Call, a: int, b: int) -> None:
        """Asks again about what was silenced, at the next occasion."""
        words, _ = self._asking(kind, a, b)
        match kind:
            case Call.START | Call.LOOP if words is not None:
                ask_again(words, 1)
            case Call.LOOP_MISS | Call.MISS if words is not None:
                ask_misses_again(words, 1)
            case Call.EXIT:
                found = self.registry.service.exit_at(a)
                if found is not None:
                    found[0].records.heat(found[1], found[0].records.count(found[1]) + 1)
            case Call.WATCHED | Call.DEEP:
                self.decisions.park(self.registry.functions.get(a))
            case _:
                return

    def _asking(self, kind: Call, a: int, b: int) -> tuple[Words | None, str]:
        """The words of the place that a stub tells of, and the name of the one that says when it does."""
        registry = self.registry
        match kind:
            case Call.START:
                state = registry.codes.get(a)
                return (None if state is None else state.start), "hot_at"
            case Call.LOOP | Call.LOOP_MISS:
                loop = registry.loops.get(b)
                return (None if loop is None else loop.words), "hot_at" if kind is Call.LOOP else "miss_hot_at"
            case Call.MISS:
                function = registry.functions.get(a)
                return (None if function is None else function.words), "miss_hot_at"
            case _:
                return None, ""

    # ---- asking

    def _has_function(self, code: CodeState, frame: Frame) -> bool:
        """Whether a function of the code is known. Of one that rests, the frame's may be taken on."""
        if not code.functions and self.offers is not None:
            self.offers.take_on(frame)
        return bool(code.functions)

    def _is_served(self, state: RootState, kinds: Kinds) -> bool:
        """Whether there is a version for these kinds.

        Misses have another cause then (a keyword that is not interned, another namespace), and are asked about when
        there are twice as many.
        """
        served = any(version.kinds == kinds for version in state.versions)
        if served:
            ask_misses_again(state.words, state.words.get("misses") + self.registry.config.miss_threshold)
        return served

    def _consider(self, state: RootState, kinds: Kinds, frame: Frame, *, is_known: bool = False) -> None:
        """Asks the policy about a hot root and does what it says; what another root's recording saw is not recorded
        again."""
        stats = self.decisions.stats(state)
        match self.decisions.ask(state, lambda policy: policy.should_record(stats), Record | Wait | GiveUp):
            case Record() if is_known:
                self.decisions.compile(state, kinds)
            case Record():
                self.recordings.begin(state, kinds, state.root.offset, frame.address)
            case Wait(times):
                self.decisions.wait(state, times)
            case GiveUp(reason):
                self.decisions.give_up(state, reason)

    def _wants_version(self, state: RootState, *, compilable: bool) -> bool:
        """Whether there is to be one more version for what was missed; if not, the policy's answer is carried out."""
        misses = state.words.get("misses")
        stats = MissStats(self.decisions.stats(state), misses, state.entries(), compilable)
        match self.decisions.ask(state, lambda policy: policy.after_miss(stats), Record | Wait | GiveUp):
            case Wait(times):
                ask_misses_again(state.words, times)
            case GiveUp(reason):
                self.decisions.give_up(state, reason)
            case Record():
                return True
        return False

    def _exit_stats(self, installed: Installed, index: int, count: int) -> ExitStats:
        """What the policy is told of an exit; from now on it counts as asked about."""
        state = installed.owner
        since, before = installed.asked.get(index, (installed.since, 0))
        now = time.perf_counter()
        installed.asked[index] = (now, count)
        way = installed.exits[index]
        is_new = way not in state.asked
        state.asked.add(way)
        root, entries = self.decisions.stats(state), state.entries()
        return ExitStats(root, way.reason, count, count - before, now - since, entries, is_new)

    def _carry_out(self, answer: Resume | Bridge | Recompile | GiveUp, installed: Installed, index: int) -> None:
        state, way = installed.owner, installed.exits[index]
        match answer:
            case Resume(times):
                installed.records.heat(index, installed.records.count(index) + times)
            case Bridge():
                learns = way.reason.is_unknown
                if not learns and way.offset in state.code.profile.seen:
                    # Where it leads has been followed.
                    self.recordings.tell(state, 0, bridge=True)
                    self.decisions.compile(state, installed.kinds, replaces=installed)
                elif self.recordings.is_free(state.code):
                    self.recordings.begin(state, installed.kinds, way.offset, None, replaces=installed, learns=learns)
            case Recompile():
                if way.reason is ExitReason.OVERWRITTEN:
                    state.code.profile.overwritten.add(way.offset)
                elif way.reason is ExitReason.UNBOUND:
                    # What one attribute of a new object lacks, the others do too.
                    is_new = state.code.code.code.co_name == "__init__"
                    others = [other for other in installed.exits if is_new and other.reason is ExitReason.UNBOUND]
                    state.code.profile.overwritten.update(each.offset for each in (way, *others))
                state.is_proven |= way.reason is ExitReason.WARM
                self.decisions.compile(state, installed.kinds, replaces=installed)
            case GiveUp(reason):
                self.decisions.give_up(state, reason)


def _wide_enough(state: RootState, kinds: Kinds) -> Kinds:
    served = [version.kinds for version in state.versions]
    kinds = without_classes(kinds, state.code.met)
    return with_few_objects(as_wide_as_needed(kinds, served), served)
