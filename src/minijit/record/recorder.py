"""One recording: takes the steps that INSTRUCTION events report and says when to stop.

In: a root, the offset where the recording starts, and the profile so far. A step tells the offset about to be executed
and the type on top of the stack. Out: a `Trace`, or an abort with its reason. CPython does the executing, so a
recording changes nothing and can be dropped at any step.

A recording ends

- from a function's start: at the return;
- from a loop header: after `rounds` times round the loop without anything new, or when the loop is left;
- from an exit (a bridge): at the first offset that an earlier recording has seen, at a back edge, or at the return;
  one that is to learn of other classes at known places goes on past these.

Other frames of the same code report their steps as well: a recursive function's, those of other threads, and all that
come after a recorded frame that ended by an exception. What they saw counts, since a profile is that of a code object
whoever runs it, and so each place falls silent after one report from anyone. They end nothing; but places where the
recording could end go on reporting, which costs every frame that passes. So after `OVERHEARD` such reports the
recording is done with what it has.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.events import AbortReason
from minijit.ir.kinds import Kinds
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Step, Trace

if TYPE_CHECKING:
    from minijit.ir.bytecode import Code
    from minijit.ir.trace import Profile, Root


class Verdict(enum.Enum):
    """What to do after a step."""

    SILENCE = "silence"  # go on; this offset has told what it has to tell
    LISTEN = "listen"  # go on, and report this offset again
    DONE = "done"


_RETURNS = {"RETURN_VALUE", "RETURN_CONST"}
OVERHEARD = 1000
"""How many steps of other frames a recording listens to: about two milliseconds of them."""


@dataclass(slots=True)
class Recording:
    """A recording under way, of one frame of one thread.

    `frame` is the address of the recorded frame; None until the first step of a bridge, whose frame is made by the
    exit. `patience` is how many starts of the code are to pass before the frame is looked for again.
    """

    code: Code
    root: Root
    start: int
    entry_kinds: Kinds
    profile: Profile
    max_steps: int
    rounds: int
    thread: int
    frame: int | None
    learns: bool = False
    steps: list[Step] = field(default_factory=list)
    known: frozenset[int] = field(init=False)
    quiet_rounds: int = 0
    news: bool = False
    overheard: int = 0
    patience: int = 1

    def __post_init__(self) -> None:
        self.known = frozenset(self.profile.seen) if self.is_bridge and not self.learns else frozenset()

    @property
    def is_bridge(self) -> bool:
        return self.start != self.root.offset

    def step(self, offset: int, top: str, cls: type | None = None) -> Verdict | AbortReason:
        """Takes the instruction that is about to be executed."""
        if self._is_back(offset):
            return Verdict.DONE
        return self._take(Step(offset, top, cls)) or self._verdict(offset)

    def overhear(self, offset: int, top: str, cls: type | None = None) -> Verdict | AbortReason:
        """Takes the instruction that another frame of the same code is about to execute."""
        self.overheard += 1
        if self.overheard >= OVERHEARD:
            return Verdict.DONE
        if self._is_back(offset):
            return Verdict.LISTEN
        listens = offset == self.start or self._can_end_at(offset)
        return self._take(Step(offset, top, cls)) or (Verdict.LISTEN if listens else Verdict.SILENCE)

    def _take(self, step: Step) -> AbortReason | None:
        """Takes a step into the profile; an abort if that was one too many."""
        if self.profile.add(step):
            if len(self.steps) >= self.max_steps:
                return AbortReason.TOO_LONG
            self.steps.append(step)
            self.news = True
        return None

    def _is_back(self, offset: int) -> bool:
        """Whether this offset is beyond what is to be recorded."""
        if self.is_bridge and offset in self.known and offset != self.start:
            return True
        loop = self.code.loops.get(self.root.offset)
        return self.root.point is EntryPoint.LOOP and loop is not None and offset not in loop.body

    def _verdict(self, offset: int) -> Verdict:
        if not self._can_end_at(offset):
            return Verdict.SILENCE
        if not self._is_header(offset):
            return Verdict.DONE
        self.quiet_rounds = 0 if self.news else self.quiet_rounds + 1
        self.news = False
        return Verdict.DONE if self.quiet_rounds >= self.rounds else Verdict.LISTEN

    def _can_end_at(self, offset: int) -> bool:
        """Whether the recording ends with this instruction, or may end there."""
        name = self.code.instructions[offset].name
        return name in _RETURNS or (self.is_bridge and name == "JUMP_BACKWARD") or self._is_header(offset)

    def _is_header(self, offset: int) -> bool:
        return offset == self.root.offset and self.root.point is EntryPoint.LOOP

    @property
    def missed_loop(self) -> bool:
        """Whether nothing of the loop that is the root has been seen but its header."""
        loop = self.code.loops.get(self.root.offset) if self.root.point is EntryPoint.LOOP else None
        return loop is not None and len(self.profile.seen & loop.body) <= 1

    def trace(self) -> Trace:
        """What was recorded."""
        return Trace(self.root, self.start, self.entry_kinds, tuple(self.steps))
