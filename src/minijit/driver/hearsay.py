"""What is seen without a recording: of functions that are inlined, and of code that is left by machine code.

In: code objects of which a build would have liked to know what they load. Out: a profile of each, as soon as the
interpreter has run them: each of their instructions tells once what it found. They are listened to until the next
recording ends.

Code of which there is machine code is *followed*: what it does where that was left is known when the exit is hot, and
so is what it did at exits that are not yet. That costs one event for each instruction that was not seen before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.cpython import frames, hooks, raw
from minijit.cpython.scout import DISABLE
from minijit.driver.attributes import note_instance
from minijit.ir.bytecode import decode
from minijit.ir.trace import Profile, Step

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType

    from minijit.cpython.frames import Frame
    from minijit.driver.registry import Registry
    from minijit.driver.state import CodeState
    from minijit.ir.bytecode import Code

MOST = 256
"""How many code objects are known at once; the oldest are forgotten."""


FIRST, AGAIN = 2, 6
"""How often a code object is listened to before there is machine code of a root that inlines it, and altogether."""


@dataclass(slots=True)
class Heard:
    """One code object: what was seen of it, how often it was listened to, and whether it is now."""

    code: Code
    profile: Profile
    times: int = 0
    is_on: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Hearsay:
    """Of all code objects that somebody asked for, by address."""

    registry: Registry
    heard: dict[int, Heard] = field(default_factory=dict)

    def profile(self, code: CodeType) -> Profile | None:
        """What is known of a code object, by its own recordings or by this; None for nothing."""
        own, other = self.registry.codes.get(id(code)), self.heard.get(id(code))
        if own is not None and own.profile.classes:
            return own.profile
        return None if other is None else other.profile

    def listen_for(self, root: CodeState, codes: tuple[CodeType, ...]) -> bool:
        """Listens to code that the roots of another one inline; whether more will be known of any of it."""
        root.inlines |= {id(code): code for code in codes}
        return self.listen(codes, FIRST)

    def listen(self, codes: Iterable[CodeType], times: int) -> bool:
        """Listens to code objects, each so many times at most; whether there is any of which more will be known."""
        found = False
        for code in codes:
            own = self.registry.codes.get(id(code))
            if id(code) not in self.heard:
                self.heard[id(code)] = Heard(decode(code), Profile() if own is None else own.profile)
            heard = self.heard[id(code)]
            is_recorded = own is not None and own.recording is not None
            if heard.times < times and not is_recorded and not hooks.is_watched(code):
                heard.times += 1
                found = True
                # Once more from the start.
                self._set(heard, is_on=False)
                self._set(heard, is_on=True)
                if own is not None and own.is_followed:
                    self.registry.monitoring.rearm(code)
        while len(self.heard) > MOST:
            self._set(self.heard.pop(next(iter(self.heard))), is_on=False)
        return found

    def follow(self, code: CodeState) -> None:
        """Listens to what has not been seen of code of which there is machine code now."""
        if not code.is_followed:
            code.is_followed = True
            self.registry.update_events(code)

    def hear(self, code: CodeType, frame: Frame, offset: int) -> object:
        """Takes an instruction that is about to be executed."""
        heard, own = self.heard.get(id(code)), self.registry.codes.get(id(code))
        if own is not None and own.is_followed:
            _take(own.code, own.profile, frame, offset)
        elif heard is not None and heard.is_on:
            _take(heard.code, heard.profile, frame, offset)
        return DISABLE

    def silence(self) -> None:
        """Listens to nobody any more."""
        for heard in list(self.heard.values()):
            self._set(heard, is_on=False)

    def close(self) -> None:
        """Nothing is known of anything."""
        self.silence()
        self.heard.clear()

    def _set(self, heard: Heard, *, is_on: bool) -> None:
        if heard.is_on == is_on:
            return
        heard.is_on = is_on
        own = self.registry.codes.get(id(heard.code.code))
        if own is None:
            self.registry.monitoring.set_events(heard.code.code, hooks.INSTRUCTION if is_on else 0)
            return
        own.is_heard = is_on
        self.registry.update_events(own)


def _take(code: Code, profile: Profile, frame: Frame, offset: int) -> None:
    if offset in code.instructions:
        profile.add(Step(offset, *top(code, frame, offset)))


def top(code: Code, frame: Frame, offset: int) -> tuple[str, type | None]:
    """The type of what is on top of a frame's stack: its name, and itself."""
    depth = code.depths.get(offset, 0)
    found = frame.slot(code.locals_count + depth - 1) if depth else 0
    if not found:
        return "", None
    thing = raw.borrow(found)
    note_instance(thing)
    return frames.type_name(found), type(thing)
