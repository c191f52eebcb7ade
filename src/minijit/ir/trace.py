"""What recording yields: traces, and the profile of a code object that is the sum of its traces.

The recorder makes traces; the builder reads the profile. A step is a bytecode offset with the type of the value that
was on top of the stack when it was reached, which is the result of the instruction before.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minijit.ir.kinds import Kinds
    from minijit.ir.region import EntryPoint


@dataclass(frozen=True, slots=True)
class Root:
    """Where compiled code can be entered: a function's start (offset 0) or a loop header."""

    point: EntryPoint
    offset: int


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction that was executed, and what was on top of the stack before it: the name of its type ('' for an
    empty stack), and its class."""

    offset: int
    top: str
    cls: type | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Trace:
    """What the recorder saw from a root, or from an exit at `start`, until it came back to known ground."""

    root: Root
    start: int
    entry_kinds: Kinds
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        kinds = ", ".join(kind.value for kind in self.entry_kinds)
        head = f"trace {self.root.point.value}@{self.root.offset} from {self.start} ({kinds})"
        return "\n".join([head, *(f"  {step.offset:>5} {step.top}" for step in self.steps)])


@dataclass(slots=True)
class Profile:
    """What was seen of one code object, by recordings or without: the offsets that were executed, the type last seen on
    top of the stack, and the classes seen there, the latest `MOST_CLASSES` of them; and what exits have told: the
    statements that store something over what is no number, or nothing. `news` counts what was new of all that."""

    seen: set[int] = field(default_factory=set)
    tops: dict[int, str] = field(default_factory=dict)
    classes: dict[int, tuple[weakref.ref[type], ...]] = field(default_factory=dict)
    overwritten: set[int] = field(default_factory=set)
    news: int = 0

    def add(self, step: Step) -> bool:
        """Takes a step in; whether it was new."""
        new = self.tops.get(step.offset) != step.top
        self.seen.add(step.offset)
        self.tops[step.offset] = step.top
        if step.cls is not None and step.cls not in (known := self.classes_at(step.offset)):
            new = True
            self.classes[step.offset] = tuple(map(weakref.ref, (*known, step.cls)[-MOST_CLASSES:]))
        self.news += new
        return new

    def copy(self) -> Profile:
        """What is known at this moment: what other threads see meanwhile is not in it."""
        return Profile(set(self.seen), dict(self.tops), dict(self.classes), set(self.overwritten), self.news)

    def classes_at(self, offset: int) -> tuple[type, ...]:
        """The classes seen on top of the stack there, the latest last."""
        return tuple(cls for each in self.classes.get(offset, ()) if (cls := each()) is not None)


MOST_CLASSES = 8
"""For how many classes of what it loads an instruction has versions."""
