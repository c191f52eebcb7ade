"""A hash map from 64-bit words to 64-bit words that Python changes and machine code reads.

Open addressing with linear probing, at most half full; deletion shifts entries back, so that a probe ends at the first
empty entry. The header stays at one address: the mask, then the address of the entries (pairs of key and value; key 0
is an empty entry). Machine code looks up with `backend.map_stub`, which has the same hash. Nothing is locked: the GIL
is held on both sides, so machine code is never in the midst of a look-up while Python changes the map.
"""

from __future__ import annotations

from minijit.cpython import raw

MULTIPLIER = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio (Knuth's multiplicative hashing)."""
SHIFT = 29
_SMALLEST = 16
_WORD = 2**64 - 1


def slot_of(key: int, mask: int) -> int:
    """Where the probing for a key begins."""
    mixed = ((key ^ key >> SHIFT) * MULTIPLIER) & _WORD
    return mixed >> 32 & mask


class NativeMap:
    """The map. Keys are from 1 to 2**64 - 1."""

    __slots__ = ("_entries", "_header", "_values")

    def __init__(self) -> None:
        self._values: dict[int, int] = {}
        self._header = raw.Buffer(16)
        self._entries = raw.Buffer(16 * _SMALLEST)
        self._publish(_SMALLEST)

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
        if not 0 < key <= _WORD:
            raise ValueError(f"{key} cannot be a key")
        self._values[key] = value
        if 2 * len(self._values) > self._capacity:
            self._grow(2 * self._capacity)
        else:
            self._place(self._find(key), key, value)

    def __delitem__(self, key: int) -> None:
        del self._values[key]
        hole = follower = self._find(key)
        while True:
            follower = (follower + 1) & self._mask
            moved = self._key(follower)
            if not moved:
                break
            home = slot_of(moved, self._mask)
            # The entry may fill the hole unless its home lies behind the hole, up to where it stands.
            if (follower - home) & self._mask >= (follower - hole) & self._mask:
                self._place(hole, moved, raw.read_u64(self._entry(follower) + 8))
                hole = follower
        self._place(hole, 0, 0)

    def close(self) -> None:
        """Frees the memory. Safe to call twice."""
        self._values = {}
        self._entries.close()
        self._header.close()

    @property
    def _mask(self) -> int:
        return raw.read_u64(self._header.address)

    @property
    def _capacity(self) -> int:
        return self._mask + 1

    def _publish(self, capacity: int) -> None:
        raw.write_u64(self._header.address, capacity - 1)
        raw.write_u64(self._header.address + 8, self._entries.address)

    def _grow(self, capacity: int) -> None:
        old, self._entries = self._entries, raw.Buffer(16 * capacity)
        self._publish(capacity)
        for key, value in self._values.items():
            self._place(self._find(key), key, value)
        old.close()

    def _entry(self, index: int) -> int:
        return self._entries.address + 16 * index

    def _key(self, index: int) -> int:
        return raw.read_u64(self._entry(index))

    def _find(self, key: int) -> int:
        """Where the key stands, or would."""
        index = slot_of(key, self._mask)
        while self._key(index) not in (0, key):
            index = (index + 1) & self._mask
        return index

    def _place(self, index: int, key: int, value: int) -> None:
        raw.write_u64(self._entry(index), key)
        raw.write_u64(self._entry(index) + 8, value)
