"""A hash map from 64-bit words to 64-bit words that Python changes and machine code reads.

Open addressing with linear probing, at most half full; deletion shifts entries back, so that a probe ends at the first
empty entry. The header stays at one address: the mask, then the address of the entries (pairs of key and value; key 0
is an empty entry). Machine code looks up with `backend.map_stub`, which has the same hash.

Nothing is locked. Machine code holds the GIL, so a look-up is never interrupted by a change; but a change is Python
code and *is* interrupted, by look-ups and by other changes: the interpreter switches threads and collects garbage when
it enters a Python function, jumps back, or comes back from a C function. Hence two rules:

- A change is planned first, without touching anything, and then committed by one copy of bytes (a stretch of entries,
  or the header, which brings a whole new table), so that machine code sees the map before it or after it.
- A commit looks whether anyone else committed since the plan was begun, and if so the plan is made anew. Between that
  look and the copy there is nothing at which the interpreter might turn to something else.
"""

from __future__ import annotations

from dataclasses import dataclass

from minijit.cpython import raw

MULTIPLIER = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio (Knuth's multiplicative hashing)."""
SHIFT = 29
_SMALLEST = 16
_WORD = 2**64 - 1
_EMPTY = bytes(16)


def slot_of(key: int, mask: int) -> int:
    """Where the probing for a key begins."""
    mixed = ((key ^ key >> SHIFT) * MULTIPLIER) & _WORD
    return mixed >> 32 & mask


@dataclass(frozen=True, slots=True)
class _Plan:
    """A change to commit: bytes for an address, and the entries that are the map's from then on."""

    target: int
    content: bytes
    entries: raw.Buffer


class NativeMap:
    """The map. Keys are from 1 to 2**64 - 1; to machine code, a value of 0 is as good as none."""

    __slots__ = ("_entries", "_header", "_values", "_version")

    def __init__(self) -> None:
        self._values: dict[int, int] = {}
        self._version = 0
        self._header = raw.Buffer(16)
        self._entries = raw.Buffer(16 * _SMALLEST)
        raw.write_bytes(self._header.address, _header_of(self._entries))

    @property
    def address(self) -> int:
        """Where the header is, for as long as the map is open."""
        return self._header.address

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: int) -> bool:
        return key in self._values

    def get(self, key: int, default: int = 0) -> int:
        return self._values.get(key, default)

    def __setitem__(self, key: int, value: int) -> None:
        while not self._set(self._version, key, value):
            pass

    def __delitem__(self, key: int) -> None:
        while not self._delete(self._version, key):
            pass

    def add(self, key: int, change: int) -> int:
        """Counts: changes a value, 0 if there is none, and forgets the key at 0. Returns what is left.

        Raises `KeyError` if that were less than 0.
        """
        while True:
            version = self._version
            count = self._values.get(key, 0) + change
            if count < 0:
                raise KeyError(key)
            done = self._set(version, key, count) if count else self._delete(version, key)
            if done:
                return count

    def close(self) -> None:
        """Frees the memory. Safe to call twice."""
        self._values = {}
        self._entries.close()
        self._header.close()

    def _set(self, version: int, key: int, value: int) -> bool:
        """Stores a value, unless the map has changed since it had that version; whether it was stored."""
        if not 0 < key <= _WORD:
            raise ValueError(f"{key} cannot be a key")
        plan = self._plan_set(key, value)
        size = len(plan.content)
        if self._version != version:
            return False
        # From here to the copy: no other call, no jump back.
        self._version = version + 1
        self._values[key] = value
        self._entries = plan.entries
        raw.copy(plan.target, plan.content, size)
        return True

    def _delete(self, version: int, key: int) -> bool:
        """Forgets a key, likewise."""
        if key not in self._values:
            raise KeyError(key)
        plan = self._plan_delete(key)
        size = len(plan.content)
        if self._version != version:
            return False
        # From here to the copy: no other call, no jump back.
        self._version = version + 1
        del self._values[key]
        self._entries = plan.entries
        raw.copy(plan.target, plan.content, size)
        return True

    def _plan_set(self, key: int, value: int) -> _Plan:
        entries = self._entries
        capacity = entries.size // 16
        if key not in self._values and 2 * (len(self._values) + 1) > capacity:
            return self._plan_table(2 * capacity, self._values | {key: value})
        return _Plan(entries.address + 16 * _find(entries, key), _entry(key, value), entries)

    def _plan_delete(self, key: int) -> _Plan:
        entries = self._entries
        mask = entries.size // 16 - 1
        hole = first = follower = _find(entries, key)
        shifted = [_EMPTY]
        while True:
            follower += 1
            moved = _key(entries, follower & mask)
            if not moved:
                break
            shifted.append(_read(entries, follower & mask))
            # The entry may fill the hole unless its home lies behind the hole, up to where it stands.
            if (follower - slot_of(moved, mask)) & mask >= follower - hole:
                shifted[hole - first] = shifted[-1]
                shifted[-1] = _EMPTY
                hole = follower
        if follower - 1 > mask:
            # The stretch goes on at the start of the table: two copies, so a table of its own instead.
            values = self._values.copy()
            values.pop(key, None)
            return self._plan_table(mask + 1, values)
        return _Plan(entries.address + 16 * first, b"".join(shifted), entries)

    def _plan_table(self, capacity: int, values: dict[int, int]) -> _Plan:
        entries = raw.Buffer(16 * capacity)
        for key, value in values.items():
            raw.write_bytes(entries.address + 16 * _find(entries, key), _entry(key, value))
        return _Plan(self._header.address, _header_of(entries), entries)


def _header_of(entries: raw.Buffer) -> bytes:
    return _entry(entries.size // 16 - 1, entries.address)


def _entry(key: int, value: int) -> bytes:
    return key.to_bytes(8, "little") + value.to_bytes(8, "little")


def _read(entries: raw.Buffer, index: int) -> bytes:
    return raw.read_bytes(entries.address + 16 * index, 16)


def _key(entries: raw.Buffer, index: int) -> int:
    return raw.read_u64(entries.address + 16 * index)


def _find(entries: raw.Buffer, key: int) -> int:
    """Where the key stands, or would."""
    mask = entries.size // 16 - 1
    index = slot_of(key, mask)
    while _key(entries, index) not in (0, key):
        index = (index + 1) & mask
    return index
