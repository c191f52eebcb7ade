"""The state machine: from a hot place to a region in service, and out of service again.

Everything comes in through three doors, each on the thread it concerns and with the GIL held: `dispatch` (the stubs, at
thresholds), `on_instruction` (a recording's steps) and `on_watch` (something changed); and through the methods that
`api` calls. One at a time gets any further (see `turn`). What to do is decided by the root's policy; this file carries
it out and emits an event for everything that happens.
"""

from __future__ import annotations

import _thread
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from minijit.backend.engine import CompileError
from minijit.backend.stubs import Call, site_key
from minijit.cpython import frames, hooks, raw
from minijit.cpython.watch import DictEvent, FunctionEvent, Watched, WatcherIdsTaken
from minijit.driver import compiler
from minijit.driver.compiler import Failure
from minijit.driver.entries import call_kinds, loop_kinds
from minijit.driver.natives import Natives
from minijit.driver.service import Service
from minijit.driver.state import CodeState, FunctionState, Installed, RootState, Words, function_state, new_site
from minijit.driver.turn import Turn
from minijit.events import (
    Aborted,
    AbortReason,
    ExitHot,
    GaveUp,
    GiveUpReason,
    Hub,
    KillReason,
    Recorded,
    Stats,
    described,
)
from minijit.ir.bytecode import decode
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Root
from minijit.record.recorder import Recording, Verdict
from minijit.runtime.assume import ABSENT
from minijit.runtime.policy import (
    Bridge,
    ExitStats,
    GiveUp,
    MissStats,
    Policy,
    Recompile,
    Record,
    Resume,
    RootStats,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FunctionType, UnionType

    from minijit.config import Config
    from minijit.cpython.abi import Interpreter
    from minijit.ir.region import EntryKind


_UNKNOWN = object()
"""What a name may stand for after its whole namespace changed: nothing that anyone assumed."""


@dataclass(slots=True)
class Driver:
    """One a process. Registers with `sys.monitoring` at once; makes anything native when the first function runs.

    `refuse` is told why that cannot be done, if it cannot; everything is as it was found then.
    """

    config: Config
    interpreter: Interpreter
    hub: Hub
    refuse: Callable[[str], None]
    turn: Turn
    codes: dict[int, CodeState] = field(default_factory=dict)
    functions: dict[int, FunctionState] = field(default_factory=dict)
    monitoring: hooks.Monitoring = field(init=False)
    _service: Service | None = None
    _is_closed: bool = False
    _loops_by_site: dict[int, RootState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.monitoring = hooks.Monitoring(self._ignite, self.on_instruction)

    @property
    def service(self) -> Service:
        """The regions in service; only once something ran."""
        assert self._service is not None
        return self._service

    @property
    def natives(self) -> Natives:
        return self.service.natives

    # ---- registering

    def add(self, function: FunctionType, policy: Policy) -> FunctionState | None:
        """Takes a function on: from now on its calls and loops are counted. A second time changes the policy only.

        None if this is called in the midst of something else, after which it is done.
        """
        self.turn.wait(partial(self._add, function, policy))
        return self.functions.get(id(function))

    def _add(self, function: FunctionType, policy: Policy) -> None:
        if self._is_closed:
            return
        known = self.functions.get(id(function))
        if known is not None and known.function is function:
            known.policy = policy
            return
        if known is not None:
            # It died before there were watchers to tell.
            self._gone(known)
        code = self._code_state(function.__code__)
        state = function_state(code, function, policy, self.config.miss_threshold)
        self.functions[id(function)] = code.functions[id(function)] = state
        self._adopt(state)
        self._update_events(code)

    def _code_state(self, code_object: CodeType) -> CodeState:
        code = self.codes.get(id(code_object))
        if code is None:
            code = CodeState(decode(code_object), new_site(self.config.call_threshold))
            self.codes[id(code_object)] = code
            if self._service is not None:
                self._adopt_code(code)
        return code

    def _loop_roots(self, code: CodeState, policy: Policy) -> None:
        """A root for each loop of the code."""
        for header in code.code.loops:
            if header in code.loops or header >= 1 << 16:
                continue
            site = new_site(self.config.loop_threshold)
            site.set("miss_hot_at", self.config.miss_threshold)
            name = code.code.code.co_qualname
            code.loops[header] = RootState(code, Root(EntryPoint.LOOP, header), name, policy, site)
            self._loops_by_site[site.address] = code.loops[header]

    def _adopt(self, state: FunctionState) -> None:
        """Makes a function known to the stubs and watchers, if they exist by now."""
        self._loop_roots(state.code, state.policy)
        if self._service is None:
            return
        function = state.function
        if function is None:
            self._gone(state)
            return
        self._adopt_code(state.code)
        self.natives.functions[state.address] = state.words.address
        self.natives.watch.watch_function(function)

    def _adopt_code(self, code: CodeState) -> None:
        self.natives.sites[site_key(code.address, 0)] = code.start.address
        for header, loop in code.loops.items():
            self.natives.sites[site_key(code.address, header)] = loop.words.address

    def _ignite(self, _code: CodeType, _offset: int) -> None:
        """The first of our functions runs."""
        if self._service is None:
            self.turn.do(self._go_native)

    def _go_native(self) -> None:
        """Makes the native part, which takes over the counting."""
        if self._service is not None or self._is_closed:
            return
        try:
            natives = Natives(self.config, self.interpreter, self.dispatch, self.on_watch)
        except (ImportError, OSError, LookupError, CompileError, WatcherIdsTaken) as error:
            self.monitoring.close()
            self.refuse(f"{type(error).__name__}: {error}")
            return
        self._service = Service(self.config, natives, self.hub)
        for state in list(self.functions.values()):
            self._adopt(state)
        self.monitoring.go_native(natives.stubs["on_start"], natives.stubs["on_jump"])

    def _update_events(self, code: CodeState) -> None:
        """Asks the interpreter for the events that the code's roots need, and for no others."""
        events = 0
        if any(not f.is_out for f in code.functions.values()):
            events |= hooks.START
        if any(not loop.is_out for loop in code.loops.values()):
            events |= hooks.JUMP
        if code.recording is not None:
            events |= hooks.INSTRUCTION
        self.monitoring.set_events(code.code.code, events)

    # ---- doors

    def dispatch(self, kind: int, a: int, b: int) -> None:
        """A stub reached a threshold."""
        try:
            self._dispatch(Call(kind), a, b)
        except KeyboardInterrupt:
            # Ctrl-C while compiling belongs to the program: it comes again at its next instruction.
            _thread.interrupt_main()

    def _dispatch(self, kind: Call, a: int, b: int) -> None:
        if kind is Call.STALE:
            self.monitoring.rearm(raw.borrow(a))
        elif not self.turn.take():
            self.turn.do(partial(self._postpone, kind, a, b))
        else:
            try:
                if not self._is_closed:
                    self._answer(kind, a, b)
            finally:
                self.turn.pass_on()

    def _answer(self, kind: Call, a: int, b: int) -> None:
        program = 3
        match kind:
            case Call.START:
                self._hot_start(self.codes.get(a), frames.current(program))
            case Call.LOOP:
                self._hot_loop(self._loops_by_site.get(b), frames.current(program))
            case Call.LOOP_MISS:
                self._missed_loop(self._loops_by_site.get(b), frames.current(program))
            case Call.EXIT:
                self._hot_exit(a)
            case Call.MISS:
                self._missed_call(self.functions.get(a))
            case Call.WATCHED:
                self._park(self.functions.get(a))
            case Call.STALE:
                raise AssertionError(kind)
            case _:
                assert_never(kind)

    def _postpone(self, kind: Call, a: int, b: int) -> None:
        """Asks again at the next occasion."""
        if self._is_closed:
            return
        match kind:
            case Call.START if a in self.codes:
                self._ask_again(self.codes[a].start, 1)
            case Call.LOOP if b in self._loops_by_site:
                self._ask_again(self._loops_by_site[b].words, 1)
            case Call.LOOP_MISS if b in self._loops_by_site:
                _miss_again(self._loops_by_site[b].words)
            case Call.MISS if a in self.functions:
                _miss_again(self.functions[a].words)
            case Call.EXIT:
                found = self.service.exit_at(a)
                if found is not None:
                    found[0].records.heat(found[1], found[0].records.count(found[1]) + 1)
            case Call.WATCHED:
                self._park(self.functions.get(a))
            case _:
                return

    def on_instruction(self, code_object: CodeType, offset: int) -> object:
        """A step of a recording, or of something that has the same code and is none of its business."""
        code = self.codes.get(id(code_object))
        if code is None or code.recording is None or offset not in code.code.instructions:
            return hooks.DISABLE
        recording, frame = code.recording, frames.current(1)
        if recording.thread != _thread.get_ident():
            return None
        if recording.frame is None and offset == recording.start:
            recording.frame = frame.address
        if recording.frame != frame.address:
            return None
        match recording.step(offset, self._top(code, frame, offset)):
            case Verdict.SILENCE:
                return hooks.DISABLE
            case Verdict.LISTEN:
                return None
            case Verdict.DONE:
                self.turn.do(partial(self._recording_ends, code, recording, None))
            case AbortReason() as reason:
                self.turn.do(partial(self._recording_ends, code, recording, reason))
        return hooks.DISABLE

    def _recording_ends(self, code: CodeState, recording: Recording, reason: AbortReason | None) -> None:
        if self._is_closed or code.recording is not recording:
            return
        if reason is None:
            self._recorded(code)
        else:
            self._drop_recording(code, reason)

    def _top(self, code: CodeState, frame: frames.Frame, offset: int) -> str:
        depth = code.code.depths.get(offset, 0)
        return frames.type_name(frame.slot(code.code.locals_count + depth - 1)) if depth else ""

    # ---- hot places

    def _hot_start(self, code: CodeState | None, frame: frames.Frame) -> None:
        state = None if code is None else code.functions.get(frame.function)
        if code is None or state is None or state.is_out:
            self._ask_again(code.start if code is not None else None, self.config.call_threshold)
            return
        if state.versions and not state.installed:
            self._unpark(state)
            return
        if code.recording is not None and not self._drop_if_dead(code):
            self._ask_again(code.start, 1)
            return
        if hooks.is_watched(code.code.code):
            self._ask_again(code.start, self.config.call_threshold)
            return
        kinds = call_kinds(code.code, frame)
        if kinds is None:
            self._give_up(state, GiveUpReason.UNSUITABLE)
            return
        if not self._is_served(state, kinds):
            self._consider(state, kinds, frame)

    def _is_served(self, state: RootState, kinds: tuple[EntryKind, ...]) -> bool:
        """Whether there is a version for these kinds.

        Misses have another cause then (a keyword that is not interned, another namespace), and are asked about when
        there are twice as many.
        """
        served = any(version.kinds == kinds for version in state.versions)
        if served:
            state.words.set("miss_hot_at", 2 * state.words.get("misses") + self.config.miss_threshold)
        return served

    def _consider(self, state: RootState, kinds: tuple[EntryKind, ...], frame: frames.Frame) -> None:
        """Asks the policy about a hot root and does what it says."""
        answer = self._ask(state, lambda policy: policy.should_record(self._stats(state)), Record | Wait | GiveUp)
        match answer:
            case Record():
                self._record(state, kinds, state.root.offset, frame.address)
            case Wait(times):
                self._ask_again(self._counter(state), times)
            case GiveUp(reason):
                self._give_up(state, reason)

    def _counter(self, state: RootState) -> Any:
        """The words of the place where a root is counted."""
        return state.code.start if isinstance(state, FunctionState) else state.words

    def _ask_again(self, site: Any, times: int) -> None:
        if site is not None:
            site.set("hot_at", site.get("count") + times)

    def _hot_loop(self, state: RootState | None, frame: frames.Frame) -> None:
        if state is None or state.is_out:
            return
        code = state.code
        self._ask_again(state.words, self.config.loop_threshold)
        if hooks.is_watched(code.code.code):
            return
        kinds = loop_kinds(code.code, state.root.offset, frame)
        if kinds is None:
            self._give_up(state, GiveUpReason.UNSUITABLE)
            return
        if code.recording is not None and not self._drop_if_dead(code):
            if state.root.offset in code.profile.seen and state is not code.recorded:
                self._compile(state, kinds)
            return
        if state.root.offset in code.profile.seen and not state.counters["aborts"]:
            self._compile(state, kinds)
            return
        self._consider(state, kinds, frame)

    def _missed_loop(self, state: RootState | None, frame: frames.Frame) -> None:
        if state is None or state.is_out:
            return
        kinds = loop_kinds(state.code.code, state.root.offset, frame)
        if kinds is not None and self._is_served(state, kinds):
            return
        answer = self._after_miss(state, state.words, compilable=kinds is not None)
        if isinstance(answer, Record) and kinds is not None:
            self._compile(state, kinds)
            state.words.set("miss_hot_at", state.words.get("misses") + self.config.miss_threshold)

    def _missed_call(self, state: FunctionState | None) -> None:
        if state is None or state.is_out:
            return
        answer = self._after_miss(state, state.words, compilable=state.last_abort is None)
        if isinstance(answer, Record):
            # This very call is interpreted now, and recorded from its start.
            self._ask_again(state.code.start, 1)
            state.words.set("miss_hot_at", state.words.get("misses") + self.config.miss_threshold)

    def _after_miss(self, state: RootState, words: Any, *, compilable: bool) -> Record | Wait | GiveUp:
        misses = words.get("misses")
        stats = MissStats(self._stats(state), misses, state.entries(), compilable)
        answer: Record | Wait | GiveUp = self._ask(
            state, lambda policy: policy.after_miss(stats), Record | Wait | GiveUp
        )
        match answer:
            case Wait(times):
                words.set("miss_hot_at", misses + times)
            case GiveUp(reason):
                self._give_up(state, reason)
            case Record():
                pass
        return answer

    def _hot_exit(self, record: int) -> None:
        found = self.service.exit_at(record)
        if found is None:
            return
        installed, index = found
        state, exit = installed.owner, installed.exits[index]
        count = installed.records.count(index)
        installed.records.heat(index, count + self.config.exit_threshold)
        since, before = installed.asked.get(index, (installed.since, 0))
        now = time.perf_counter()
        stats = ExitStats(self._stats(state), exit.reason, count, count - before, now - since, state.entries())
        installed.asked[index] = (now, count)
        answer = self._ask(state, lambda policy: policy.after_exit(stats), Resume | Bridge | Recompile | GiveUp)
        action = type(answer).__name__.lower()
        self.service.emit(
            state,
            ExitHot(
                function=state.name,
                offset=state.root.offset,
                reason=exit.reason,
                at=exit.offset,
                count=count,
                action=action,
            ),
        )
        match answer:
            case Resume(times):
                installed.records.heat(index, count + times)
            case Bridge():
                if state.code.recording is None or self._drop_if_dead(state.code):
                    self._record(state, installed.kinds, exit.offset, None, replaces=installed)
            case Recompile():
                self._compile(state, installed.kinds, replaces=installed)
            case GiveUp(reason):
                self._give_up(state, reason)

    # ---- recording

    def _record(
        self,
        state: RootState,
        kinds: tuple[EntryKind, ...],
        start: int,
        frame: int | None,
        replaces: Installed | None = None,
    ) -> None:
        code = state.code
        code.recording = Recording(
            code=code.code,
            root=state.root,
            start=start,
            entry_kinds=kinds,
            profile=code.profile,
            max_steps=self.config.trace_steps,
            rounds=self.config.trace_rounds,
            thread=_thread.get_ident(),
            frame=frame,
        )
        code.recorded, code.replaces = state, replaces
        # Should the recorded frame end by an exception, the next start notices.
        self._ask_again(code.start, self.config.call_threshold)
        self._update_events(code)
        self.monitoring.rearm(code.code.code)

    def _drop_if_dead(self, code: CodeState) -> bool:
        """Whether the recording under way had lost its frame, and was dropped."""
        recording = code.recording
        assert recording is not None
        if recording.thread == _thread.get_ident() and recording.frame is not None and frames.is_alive(recording.frame):
            return False
        if recording.thread != _thread.get_ident():
            return False
        self._drop_recording(code, AbortReason.LEFT)
        return True

    def _end_recording(self, code: CodeState) -> tuple[Recording, RootState, Installed | None]:
        recording, state, replaces = code.recording, code.recorded, code.replaces
        assert recording is not None
        assert state is not None
        code.recording = code.recorded = code.replaces = None
        self._update_events(code)
        return recording, state, replaces

    def _recorded(self, code: CodeState) -> None:
        recording, state, replaces = self._end_recording(code)
        trace = recording.trace()
        if self.config.dumps("trace"):
            compiler.show("trace", str(trace))
        self.service.emit(
            state,
            Recorded(function=state.name, offset=state.root.offset, steps=len(trace.steps), bridge=recording.is_bridge),
        )
        self._compile(state, recording.entry_kinds, replaces=replaces)

    def _drop_recording(self, code: CodeState, reason: AbortReason) -> None:
        recording, state, _ = self._end_recording(code)
        self._abort(state, reason, recording.start)

    def _abort(self, state: RootState, reason: AbortReason, at: int, detail: str = "") -> None:
        state.last_abort = reason
        self.service.emit(
            state, Aborted(function=state.name, offset=state.root.offset, reason=reason, at=at, detail=detail)
        )
        answer = self._ask(state, lambda policy: policy.after_abort(self._stats(state)), Wait | GiveUp)
        match answer:
            case Wait(times):
                self._ask_again(self._counter(state), times)
            case GiveUp(why):
                self._give_up(state, why)

    # ---- compiling

    def _compile(
        self, state: RootState, kinds: tuple[EntryKind, ...], replaces: Installed | None = None
    ) -> Installed | None:
        """Builds and installs a region for the root with these kinds; None if it came to nothing."""
        unseen = self._ask(state, lambda policy: policy.compile_unseen(self._stats(state)), bool)
        return self._compile_now(state, kinds, compile_unseen=unseen, replaces=replaces)

    def _compile_now(
        self,
        state: RootState,
        kinds: tuple[EntryKind, ...],
        *,
        compile_unseen: bool,
        replaces: Installed | None = None,
    ) -> Installed | None:
        """As above, with the policy's answer given."""
        result = self.service.compile(state, kinds, compile_unseen=compile_unseen)
        if isinstance(result, Failure):
            self._abort(state, result.reason, state.root.offset, result.detail)
            return None
        if replaces is not None:
            self.service.retire(replaces, KillReason.REPLACED)
        return result

    def compile_types(self, state: FunctionState, kinds: tuple[EntryKind, ...]) -> bool:
        """Compiles a function for arguments of these kinds, recorded or not; whether there is a region for them now."""
        self.turn.wait(partial(self._compile_types, state, kinds))
        return any(version.kinds == kinds for version in state.versions)

    def _compile_types(self, state: FunctionState, kinds: tuple[EntryKind, ...]) -> None:
        self._go_native()
        if self._service is None or self.functions.get(state.address) is not state or state.is_out:
            return
        if not any(version.kinds == kinds for version in state.versions):
            self._compile_now(state, kinds, compile_unseen=True)

    # ---- out of service

    def _retire_all(self, state: RootState, reason: KillReason) -> None:
        """Takes all regions of a root out of service, if there ever were any."""
        if self._service is not None:
            self._service.retire_all(state, reason)

    def _kill(self, installed: Installed, reason: KillReason, detail: str) -> None:
        """An assumption broke."""
        state = installed.owner
        if installed not in state.versions:
            return
        self.service.retire(installed, reason, detail)
        answer = self._ask(state, lambda policy: policy.after_kill(self._stats(state), reason), Wait | GiveUp)
        match answer:
            case Wait(times):
                self._ask_again(self._counter(state), times)
            case GiveUp(why):
                self._give_up(state, why, detail)

    def _give_up(self, state: RootState, reason: GiveUpReason, detail: str = "") -> None:
        state.given_up = reason
        self._retire_all(state, KillReason.RELEASED)
        self.service.emit(state, GaveUp(function=state.name, offset=state.root.offset, reason=reason, detail=detail))
        self._update_events(state.code)

    def _park(self, state: FunctionState | None) -> None:
        """Somebody else watches the code: the function is the interpreter's until they are gone."""
        if state is None or not state.exists:
            return
        hooks.restore_vectorcall(state.address)
        state.installed = False
        self._ask_again(state.code.start, 1)

    def _unpark(self, state: FunctionState) -> None:
        if hooks.is_watched(state.code.code.code):
            self._ask_again(state.code.start, self.config.call_threshold)
            return
        self.service.relink(state)

    def release(self, state: FunctionState) -> None:
        """Throws away all code of a function and of its code object's loops; counting starts anew."""
        self.turn.wait(partial(self._release, state))

    def _release(self, state: FunctionState) -> None:
        if self.functions.get(state.address) is not state:
            return
        for root in (state, *state.code.loops.values()):
            self._retire_all(root, KillReason.RELEASED)
            root.given_up = None
            root.last_abort = None
            root.counters.clear()
            self._ask_again(self._counter(root), self._threshold(root))
        self._update_events(state.code)

    def _threshold(self, state: RootState) -> int:
        return self.config.call_threshold if isinstance(state, FunctionState) else self.config.loop_threshold

    def suppress(self, state: FunctionState) -> None:
        """Never compiles the function again."""
        self.turn.wait(partial(self._suppress, state))

    def _suppress(self, state: FunctionState) -> None:
        if self.functions.get(state.address) is not state:
            return
        self._release(state)
        for root in (state, *state.code.loops.values()):
            root.suppressed = True
        self._update_events(state.code)

    # ---- changes

    def on_watch(self, kind: int, event: int, subject: int, key: object, new: object) -> None:
        """A watcher's filter found something that concerns us. When this returns, nothing that relied on it runs any
        more."""
        work: Callable[[], object]
        if self._service is None:
            return
        if kind == Watched.DICT and event == DictEvent.DEALLOCATED:
            regions = self.service.forget_namespace(subject)
            work, roots = partial(self._namespace_gone, regions), [region.owner for region in regions]
        elif kind == Watched.DICT:
            work = partial(self._dict_changed, DictEvent(event), subject, key, new)
            roots = [region.owner for region in self.service.assumptions.relying(subject)]
        elif kind == Watched.FUNCTION:
            work = partial(self._function_changed, FunctionEvent(event), self.functions.get(subject), new)
            roots = self._affected(FunctionEvent(event), self.functions.get(subject))
        else:
            return
        if self.turn.take():
            try:
                _uninterrupted(work)
            finally:
                self.turn.pass_on()
            return
        for root in roots:
            root.hold()
        self.turn.do(partial(self._changed_late, work, roots))

    def _affected(self, event: FunctionEvent, state: FunctionState | None) -> list[RootState]:
        """The roots that a change of a function is about. One that is being destroyed is not touched after this."""
        if state is not None and event is FunctionEvent.DESTROY:
            state.reference = None
        return [] if state is None else [state]

    def _changed_late(self, work: Callable[[], object], roots: list[RootState]) -> None:
        """A change that had to wait for its turn: what it broke has been held since."""
        if self._is_closed:
            return
        try:
            work()
        finally:
            for root in roots:
                root.is_held = False
                if root.versions:
                    self.service.relink(root)

    def _dict_changed(self, event: DictEvent, namespace: int, key: object, new: object) -> None:
        # A key that is no plain str can equal any name.
        if event in (DictEvent.ADDED, DictEvent.MODIFIED, DictEvent.DELETED) and type(key) is str:
            value = ABSENT if event is DictEvent.DELETED else new
            self._break((namespace, key), value)
            return
        for name in self.service.assumptions.keys_of(namespace):
            self._break(name, _UNKNOWN)

    def _namespace_gone(self, regions: list[Installed]) -> None:
        for installed in regions:
            self._kill(installed, KillReason.GLOBAL, "the namespace is gone")

    def _break(self, key: tuple[int, str], value: object) -> None:
        for installed in self.service.assumptions.broken_by(key, value):
            self._kill(installed, KillReason.GLOBAL, key[1])

    def _function_changed(self, event: FunctionEvent, state: FunctionState | None, new: object) -> None:
        if state is None or self.functions.get(state.address) is not state:
            return
        if event is FunctionEvent.DESTROY:
            self._gone(state)
        elif event is FunctionEvent.MODIFY_CODE:
            self._recoded(state, new)

    def _recoded(self, state: FunctionState, code_object: Any) -> None:
        """The function gets another code object: it starts anew with that."""
        self._retire_all(state, KillReason.CODE)
        function, policy = state.function, state.policy
        self._forget(state)
        if function is None:
            return
        code = self._code_state(code_object)
        fresh = function_state(code, function, policy, self.config.miss_threshold)
        fresh.history.extend(state.history)
        fresh.counters.update(state.counters)
        self.functions[fresh.address] = code.functions[fresh.address] = fresh
        self._adopt(fresh)
        self._update_events(code)

    def _gone(self, state: FunctionState) -> None:
        """A function is being destroyed."""
        state.reference = None
        self._retire_all(state, KillReason.GONE)
        self._forget(state)

    def _forget(self, state: FunctionState) -> None:
        """Nothing of the function is known any more; nor of its code object, if it was the last function of it."""
        code = state.code
        del self.functions[state.address]
        del code.functions[state.address]
        if self._service is not None and state.address in self.natives.functions:
            del self.natives.functions[state.address]
            self.natives.watch.unwatch_function(state.address)
        state.close()
        if not code.functions:
            self._forget_code(code)

    def _forget_code(self, code: CodeState) -> None:
        code.recording = None
        for header, loop in code.loops.items():
            self._retire_all(loop, KillReason.GONE)
            self._loops_by_site.pop(loop.words.address, None)
            self._forget_site(site_key(code.address, header))
            loop.close()
        self._forget_site(site_key(code.address, 0))
        code.start.close()
        self.monitoring.set_events(code.code.code, 0)
        del self.codes[code.address]

    def _forget_site(self, key: int) -> None:
        # A function that died before the native part was made has no sites.
        if self._service is not None and key in self.natives.sites:
            del self.natives.sites[key]

    # ---- small things

    def stats(self, state: FunctionState | None = None) -> Stats:
        """Counters of one function with its loops, or of everything."""
        if state is not None:
            roots: list[RootState] = [state, *state.code.loops.values()]
        else:
            roots = [*self.functions.values(), *(loop for code in self.codes.values() for loop in code.loops.values())]
        counters = self.hub.counters if state is None else sum((root.counters for root in roots), Counter())
        regions = [version for root in roots for version in root.versions]
        return Stats(
            **{name: counters[name] for name in (*Hub.NAMES.values(), "bridges")},
            live_regions=len(regions),
            code_bytes=sum(region.machine.size for region in regions),
            compile_ms=counters["compile_us"] / 1000,
            entries=sum(root.entries() for root in roots),
            exits=sum(root.exits() for root in roots),
        )

    def _ask(self, state: RootState, question: Callable[[Policy], Any], answers: type | UnionType) -> Any:
        """The policy's answer; one that raises, or says what is none of the answers, is reported and replaced by the
        default."""
        try:
            answer = question(state.policy)
            if isinstance(answer, answers):
                return answer
            found = f"{described(answer)} is no answer"
        except Exception as error:  # noqa: BLE001 - a user's policy must not break the program
            found = described(error)
        self.hub.complain(f"policy {described(state.policy)} replaced by the default: {found}")
        state.policy = Policy(self.config)
        return question(state.policy)

    def _stats(self, state: RootState) -> RootStats:
        return state.stats(self.service.compile_seconds)

    def close(self) -> None:
        """Takes everything back: code, vectorcalls, events, watchers."""
        self.turn.wait(self._close)

    def _close(self) -> None:
        self._is_closed = True
        for state in list(self.functions.values()):
            self._retire_all(state, KillReason.DISABLED)
            self._forget(state)
        self.monitoring.close()
        if self._service is not None:
            self.natives.close()
            self._service = None


def _uninterrupted(work: Callable[[], object]) -> None:
    """Does work that may be done twice but not by half: a Ctrl-C that comes in its midst comes again afterwards."""
    try:
        work()
    except KeyboardInterrupt:
        _thread.interrupt_main()
        work()


def _miss_again(words: Words) -> None:
    """Asks about misses at the next one."""
    words.set("miss_hot_at", words.get("misses") + 1)
