"""What changed in watched dicts, noted by machine code for Python to deal with later.

A dict's watcher is called in the midst of the change, when the interpreter has old and new value in hand. Python code
there could let another thread run, which could change the same key: the interpreter would give the old value's
reference back twice. So the callback (`backend.watch_stubs`) only notes the change here, in a ring, and whoever relies
on a namespace looks first whether anything is noted that was not dealt with: entries into regions compare the two
counts, `written` and `settled`, and have the driver deal with what lies between before they go on.

In: changes, noted in their order. Out: the same, as addresses and hashes: by the time they are looked at the objects
may be gone. Invariant: until `settle`, whoever looks sees that something is due. Where the ring has no room the oldest
entries are overwritten; anything may have changed then, and the latest changes are known.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from minijit.cpython import raw
from minijit.cpython.watch import DictEvent

CAPACITY = 256
"""How many changes can wait. A power of two."""
ENTRY = struct.Struct("<QQqQ")
HEAD = 24


@dataclass(frozen=True, slots=True)
class Change:
    """A key of a dict was given another value, or the whole dict changed.

    `hash` is that of the key, a plain str; None where any key may be meant. `new` is the new value's address, 0 where
    there is none.
    """

    event: DictEvent
    namespace: int
    hash: int | None
    new: int


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted until some moment: all of the changes, or the latest where there were more than have room."""

    until: int
    changes: tuple[Change, ...]
    are_all: bool


class Changes:
    """The ring: two counts, the countdown of a stress mode, then the entries."""

    __slots__ = ("_memory",)

    def __init__(self) -> None:
        self._memory = raw.Buffer(HEAD + CAPACITY * ENTRY.size)

    @property
    def written(self) -> int:
        """The address of the count of changes that came up."""
        return self._memory.address

    @property
    def settled(self) -> int:
        """The address of the count of changes that were dealt with."""
        return self._memory.address + 8

    @property
    def countdown(self) -> int:
        """The address of how many entries into regions there will be until one notes a change of no namespace; only
        regions that are made for it count (see `runtime.stress`)."""
        return self._memory.address + 16

    @property
    def has_struck(self) -> bool:
        """Whether that has come about. The entry that finds it due has counted, too: the count may be below zero."""
        return raw.read_i64(self.countdown) <= 0

    def strike_in(self, entries: int) -> None:
        """It is to come about at the entry of this number, from now on."""
        raw.write_u64(self.countdown, entries)

    @property
    def entries(self) -> int:
        """The address of the first entry: the event, the dict, the key's hash (0 for any), the new value."""
        return self._memory.address + HEAD

    @property
    def are_due(self) -> bool:
        """Whether anything is to be dealt with."""
        return raw.read_u64(self.written) != raw.read_u64(self.settled)

    def noted(self) -> Noted:
        """Everything that is to be dealt with. More may come up meanwhile, and stays due."""
        until, since = raw.read_u64(self.written), raw.read_u64(self.settled)
        first = max(since, until - CAPACITY)
        changes = [self._entry(number % CAPACITY) for number in range(first, until)]
        # What came up meanwhile may have overwritten what was read.
        oldest = raw.read_u64(self.written) - CAPACITY
        kept = tuple(changes[max(oldest - first, 0) :])
        return Noted(until, kept, are_all=len(kept) == until - since)

    def settle(self, until: int) -> None:
        """What was noted until then has been dealt with: no one relies on what was there before."""
        raw.write_u64(self.settled, until)

    def _entry(self, place: int) -> Change:
        words = raw.read_bytes(self.entries + place * ENTRY.size, ENTRY.size)
        event, namespace, hashed, new = ENTRY.unpack(words)
        return Change(DictEvent(event), namespace, hashed or None, new)
