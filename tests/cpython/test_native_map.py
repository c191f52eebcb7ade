"""The native map: what Python stores is what machine code finds, whatever comes between.

In: sequences of changes, with keys that collide and clusters that run over the table's end. Out: look-ups by machine
code, compared with a dict after every change. Mutants of the map at the end: each must be found out.
"""

from __future__ import annotations

import ctypes
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from minijit.backend.engine import Engine
from minijit.backend.map_stub import LOOKUP_IR
from minijit.cpython import native_map, raw
from minijit.cpython.native_map import NativeMap, slot_of

FIND = """
define i64 @find(ptr %header, i64 %key) {
  %found = call i64 @map_find(ptr %header, i64 %key)
  ret i64 %found
}
"""
type Find = Callable[[int, int], int]
type Change = tuple[str, int, int]


def colliding(home: int, count: int) -> list[int]:
    """Keys whose probing begins at the same place of a table of 16 entries."""
    keys = (key for key in range(1, 100_000, 16) if slot_of(key, 15) == home)
    return [next(keys) for _ in range(count)]


# 15 is the last place of the smallest table: what collides there goes on at its start.
KEYS = [*colliding(15, 6), *colliding(14, 3), *colliding(3, 4), *colliding(0, 3), 1, 2, 2**63, 2**64 - 1]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "delete", "up", "down"]),
        st.sampled_from(KEYS),
        st.integers(1, 2) | st.integers(1, 2**64 - 100),
    ),
    min_size=20,
    max_size=60,
)


@pytest.fixture(scope="module")
def find() -> Iterator[Find]:
    code = Engine().compile(LOOKUP_IR + FIND, name="find")
    # With the GIL held, as CPython calls watchers.
    prototype = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
    yield prototype(code.address("find"))
    code.close()


def apply(table: NativeMap, model: dict[int, int], change: Change) -> None:
    what, key, value = change
    if what == "set":
        table[key] = model[key] = value
    elif what == "up":
        model[key] = model.get(key, 0) + 1
        assert table.add(key, 1) == model[key]
    elif key not in model:
        return
    elif what == "delete":
        del table[key], model[key]
    else:
        model[key] -= 1
        assert table.add(key, -1) == model[key]
        if not model[key]:
            del model[key]


def agrees(find: Find, table: NativeMap, model: dict[int, int]) -> None:
    assert len(table) == len(model)
    for key in KEYS:
        assert table.get(key) == find(table.address, key) == model.get(key, 0)
        assert (key in table) == (key in model)


def follows_a_dict(find: Find, make: Callable[[], NativeMap], phases: Sequence[Phase] = tuple(Phase)) -> None:
    """The property; raises `AssertionError` with the shortest changes that break it."""

    @given(CHANGES)
    @settings(max_examples=100, deadline=None, database=None, derandomize=True, phases=phases)
    def holds(changes: list[Change]) -> None:
        model: dict[int, int] = {}
        with closing(make()) as table:
            for change in changes:
                apply(table, model, change)
                agrees(find, table, model)

    holds()


def test_machine_code_finds_what_python_stored(find: Find) -> None:
    follows_a_dict(find, NativeMap)


def test_a_large_map_and_an_emptied_one(find: Find) -> None:
    keys = [random.Random(n).getrandbits(64) | 1 for n in range(3000)]
    with closing(NativeMap()) as table:
        header = table.address
        for key in keys:
            table[key] = key >> 1 | 1
        assert all(find(header, key) == key >> 1 | 1 for key in keys)
        assert not any(find(header, key + 1) for key in keys if key + 1 not in table)
        for number, key in enumerate(keys):
            del table[key]
            assert not find(header, key)
            if number % 100 == 0:
                assert all(find(header, other) for other in keys[number + 1 :])
        assert table.address == header
        assert len(table) == 0


def test_what_cannot_be() -> None:
    table = NativeMap()
    for key in (0, -1, 2**64):
        with pytest.raises(ValueError, match="cannot be a key"):
            table[key] = 1
    with pytest.raises(KeyError):
        del table[5]
    with pytest.raises(KeyError):
        table.add(5, -1)
    assert table.add(5, 2) == 2
    assert table.add(5, -2) == 0
    assert 5 not in table
    table.close()
    table.close()


# ---- interruptions


class Interrupting:
    """`raw`, where changes come in between: at each of the calls at which the interpreter might switch or collect."""

    def __init__(self, chance: float) -> None:
        self.chance = chance
        self.random = random.Random(7)
        self.interrupt: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(raw, name)

    def read_u64(self, address: int) -> int:
        interrupt = self.interrupt
        if interrupt is not None and self.random.random() < self.chance:
            self.interrupt = None
            interrupt()
            self.interrupt = interrupt
        return raw.read_u64(address)


def survives_interruptions(find: Find, make: Callable[[], NativeMap], patch: pytest.MonkeyPatch) -> None:
    """Changes are made in the midst of changes; each key is only ever changed on one of the two levels."""
    patched = Interrupting(0.2)
    patch.setattr(native_map, "raw", patched)
    choose = random.Random(3)
    outer, inner = KEYS[::2], KEYS[1::2]
    for _ in range(60):
        model: dict[int, int] = {}
        with closing(make()) as table:

            def step(keys: list[int], table: NativeMap = table, model: dict[int, int] = model) -> None:
                change = choose.choice(["set", "set", "delete"]), choose.choice(keys), choose.randrange(1, 99)
                apply(table, model, change)

            def interrupt(step: Callable[[list[int]], None] = step) -> None:
                step(inner)

            for _ in range(40):
                patched.interrupt = interrupt
                step(outer)
                patched.interrupt = None
                agrees(find, table, model)


def test_changes_in_the_midst_of_changes_are_kept(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    survives_interruptions(find, NativeMap, monkeypatch)


def test_a_look_up_never_sees_half_a_change(find: Find) -> None:
    """A thread looks up keys that are always there, while others come and go and the table moves."""
    misses = looked = 0
    stop = False
    with closing(NativeMap()) as table:
        # Others first: what is the last to move would be missed for longest.
        for key in [*range(2**50, 2**50 + 500), *KEYS]:
            table[key] = 1

        def look() -> None:
            nonlocal misses, looked
            while not stop:
                for key in KEYS:
                    misses += find(table.address, key) != 1
                looked += 1

        thread = threading.Thread(target=look)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            thread.start()
            for key in range(2**40, 2**40 + 9000):
                table[key] = 1
            for key in range(2**40, 2**40 + 9000):
                del table[key]
        finally:
            stop = True
            thread.join()
            sys.setswitchinterval(interval)
    assert looked > 10
    assert misses == 0


# ---- mutants


class Unshifted(NativeMap):
    """Deletion empties the entry and leaves the rest of its cluster where it is."""

    __slots__ = ()

    def _plan_delete(self, key: int) -> native_map._Plan:
        entries = self._entries
        return native_map._Plan(entries.address + 16 * native_map._find(entries, key), bytes(16), entries)


class Unversioned(NativeMap):
    """Commits whatever was planned."""

    __slots__ = ()
    _version = property(lambda _self: 0, lambda _self, _version: None)  # type: ignore[assignment]


def test_the_property_finds_a_bad_deletion(find: Find) -> None:
    with pytest.raises(AssertionError):
        follows_a_dict(find, Unshifted, [Phase.generate])


def test_the_property_finds_another_hash(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_map, "SHIFT", native_map.SHIFT + 1)
    with pytest.raises(AssertionError):
        follows_a_dict(find, NativeMap, [Phase.generate])


def test_interruptions_find_a_mutant(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        survives_interruptions(find, Unversioned, monkeypatch)
