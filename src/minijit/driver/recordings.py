"""Recordings under way: begun for a root, fed by INSTRUCTION events, ended by a compilation or an abort.

One code object has at most one. It belongs to one frame of one thread; what other frames of the same code report helps
it along, but only so much. The events come in the midst of anything, so what ends a recording takes its turn (see
`turn`).
"""

from __future__ import annotations

import _thread
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from minijit.backend.words import NEVER
from minijit.cpython import frames
from minijit.cpython.scout import DISABLE
from minijit.driver.decisions import SOON, ask_again
from minijit.driver.dumps import show
from minijit.driver.hearsay import AGAIN, top
from minijit.events import AbortReason, Recorded
from minijit.record.recorder import Recording, Verdict

if TYPE_CHECKING:
    from types import CodeType

    from minijit.driver.decisions import Decisions
    from minijit.driver.hearsay import Hearsay
    from minijit.driver.registry import Registry
    from minijit.driver.state import CodeState, Installed, RootState
    from minijit.driver.turn import Turn
    from minijit.ir.kinds import Kinds

OFTEN = 4
"""So many recordings of a loop may begin in its last round, and are begun again soon."""


@dataclass(frozen=True, slots=True, repr=False)
class Recordings:
    """Of the code objects of a registry."""

    registry: Registry
    decisions: Decisions
    hearsay: Hearsay
    turn: Turn

    def begin(
        self,
        state: RootState,
        kinds: Kinds,
        start: int,
        frame: int | None,
        replaces: Installed | None = None,
        *,
        learns: bool = False,
    ) -> None:
        """Records from the instruction at `start`, in a frame or in the first that gets there; then compiles the root
        for these kinds, in place of a region it has. `learns`: of other classes at known places."""
        code, config = state.code, self.registry.config
        code.recording = Recording(
            code=code.code,
            root=state.root,
            start=start,
            entry_kinds=kinds,
            profile=code.profile,
            max_steps=config.trace_steps,
            rounds=config.trace_rounds,
            thread=_thread.get_ident(),
            frame=frame,
            learns=learns,
        )
        code.recorded, code.replaces = state, replaces
        if replaces is not None:
            # What is inlined may have been left, too.
            self.hearsay.listen(code.inlines.values(), AGAIN)
        # Should the recorded frame end by an exception, the next start notices.
        ask_again(code.start, config.call_threshold)
        self.registry.update_events(code)
        self.registry.monitoring.rearm(code.code.code)

    def is_free(self, code: CodeState, *, started: int | None = None) -> bool:
        """Whether the code can be recorded: a recording that has lost its frame is dropped.

        `started` is the address of a frame that has just begun: if it is the recorded one's, that had ended before.
        """
        recording = code.recording
        if recording is None:
            return True
        if recording.thread != _thread.get_ident():
            return False
        if recording.frame not in (None, started) and frames.is_alive(recording.frame, code.code.code):
            return False
        self._drop(code, AbortReason.LEFT)
        return True

    def look_later(self, code: CodeState) -> None:
        """The code is being recorded: its starts ask again, each time after twice as many, for the search for the frame
        takes as long as the stack is deep."""
        recording = code.recording
        assert recording is not None
        ask_again(code.start, recording.patience)
        recording.patience = min(2 * recording.patience, NEVER)

    def on_instruction(self, code_object: CodeType, offset: int) -> object:
        """A step of a recording, or of another frame that has the same code."""
        code, frame = self.registry.codes.get(id(code_object)), frames.current(1)
        if code is None or code.recording is None:
            return self.hearsay.hear(code_object, frame, offset)
        if offset not in code.code.instructions:
            return DISABLE
        recording = code.recording
        is_ours = recording.thread == _thread.get_ident()
        if is_ours and recording.frame is None and offset == recording.start:
            recording.frame = frame.address
        take = recording.step if is_ours and recording.frame == frame.address else recording.overhear
        match take(offset, *top(code.code, frame, offset)):
            case Verdict.SILENCE:
                return DISABLE
            case Verdict.LISTEN:
                return None
            case Verdict.DONE:
                self.turn.do(partial(self._ends, code, recording, None))
            case AbortReason() as reason:
                self.turn.do(partial(self._ends, code, recording, reason))
        return DISABLE

    def _ends(self, code: CodeState, recording: Recording, reason: AbortReason | None) -> None:
        if code.recording is not recording:
            return
        if reason is None:
            self._done(code)
        else:
            self._drop(code, reason)

    def _done(self, code: CodeState) -> None:
        recording, state, replaces = self._taken(code)
        trace = recording.trace()
        if self.registry.config.dumps("trace"):
            show("trace", str(trace))
        self.tell(state, len(trace.steps), bridge=recording.is_bridge)
        if recording.missed_loop:
            # It began in the loop's last round, which may be the only one each time.
            state.counters["missed"] += 1
            if state.counters["missed"] <= OFTEN:
                self.decisions.wait(state, SOON)
            else:
                self.decisions.abort(state, AbortReason.LEFT, recording.start)
            return
        self.decisions.compile(state, recording.entry_kinds, replaces=replaces)

    def tell(self, state: RootState, steps: int, *, bridge: bool) -> None:
        """There is a trace of so many steps that were new."""
        event = Recorded(function=state.name, offset=state.root.offset, steps=steps, bridge=bridge)
        self.registry.service.emit(state, event)

    def _drop(self, code: CodeState, reason: AbortReason) -> None:
        recording, state, _ = self._taken(code)
        self.decisions.abort(state, reason, recording.start)

    def _taken(self, code: CodeState) -> tuple[Recording, RootState, Installed | None]:
        """The recording, which is no longer under way."""
        recording, state, replaces = code.recording, code.recorded, code.replaces
        assert recording is not None
        assert state is not None
        code.recording = code.recorded = code.replaces = None
        self.registry.update_events(code)
        self.hearsay.silence()
        return recording, state, replaces
