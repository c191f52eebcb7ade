"""The ops that search lists, make them, and change how long they are, by machine code and evaluator."""

from __future__ import annotations

import math
import random
import sys
from typing import Any

import pytest
from test_heap_ops import MAX, MIN, NUMBERS, OBJECTS, Closed, Number, Open, agree, name_of, region_of

from minijit.ir.eval import Left, Returned
from minijit.ir.searching import find, has_plain_equality
from minijit.oracle.machine import Machine


@pytest.fixture(scope="module", params=(0, 2), ids=("O0", "O2"))
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


class Ordered:
    """Has its own opinion, though not on what is equal."""

    def __repr__(self) -> str:
        return "-"

    def __lt__(self, other: object) -> bool:
        return True


class Equal:
    def __repr__(self) -> str:
        return "-"

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Text(str):
    __slots__ = ()


PLAIN = Open(1)
AMONG: list[Any] = [
    *(0, 1, -1, 7, 2**40, MAX, MIN, MAX + 1, -(2**70), 0.0, -0.0, 0.5, 1.0, 7.0, 2.0**40, 1e300, math.inf, math.nan),
    *(True, False, None, "x", "a longer text", "é", [], (), {}, [1], PLAIN, Closed(2), int),
]
ASKED: list[Any] = [Ordered(), Equal(), Number(7.5), Text("x"), 1j, b"x", {1}, len]
"""Whose class may have its own opinion, or might."""
SOUGHT = [*AMONG, *ASKED, "y", 2.5, 3, "".join(["a longer ", "text"])]


@pytest.mark.parametrize("value", SOUGHT, ids=name_of)
@pytest.mark.parametrize("name", ["list_find", "tuple_find"])
def test_find(machine: Machine, name: str, value: Any) -> None:
    """As Python does it; left where somebody is to be asked."""
    before = sys.getrefcount(value)
    make: type = list if name == "list_find" else tuple
    is_number = type(value) in (int, float, bool) and not (type(value) is int and not MIN <= value <= MAX)
    if is_number:
        kind = type(value).__name__
        region = region_of(f"v2: number = number_of_{kind} v1\n  v3: int = {name} v0, v2 | e1\n  return v3", kind)
        inputs = (value,)
    else:
        body = f"v2: int = {name} v0, @value | e1\n  return v2"
        region, inputs = region_of(body, value=value), ()
    rows = [
        [],
        AMONG,
        AMONG[::-1],
        [*AMONG, *AMONG],
        *([item, value] for item in (*AMONG, *ASKED)),
        [value],
        [value] * 3,
    ]
    for items in rows:
        found = agree(machine, region, lambda items=items: make(items), *inputs)  # type: ignore[misc]
        if not isinstance(found, Returned):
            assert find(items, value) is None
            continue
        assert found.value == (items.index(value) if value in items else -1)
    del found, rows, items, region, inputs
    assert sys.getrefcount(value) == before


def test_what_is_compiled_is_found(machine: Machine) -> None:
    """Among plain values nothing is left to others."""
    for value in (None, "x", "y", PLAIN, Closed(3), int):
        assert find(AMONG, value) is not None
    for number in (5, 7, 0.25, True, MAX):
        assert find([item for item in AMONG if not isinstance(item, int) or MIN <= item <= MAX], number) is not None
    region = region_of("v2: int = list_find v0, @x | e1\n  return v2", x="x")
    equal = Equal()
    assert isinstance(agree(machine, region, lambda: [equal]), Left)


def test_no_class_is_asked() -> None:
    asked: list[str] = []

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

    class Plain(metaclass=Meta):
        pass

    asked.clear()
    assert has_plain_equality(Plain)
    assert find([1, Plain(), "x"], "x") == 2
    assert not has_plain_equality(Ordered)
    assert asked == []


@pytest.mark.parametrize("index", [-30, -12, -3, -1, 0, 1, 5, 11, 12, 40])
def test_insert(machine: Machine, index: int) -> None:
    for new in NUMBERS:
        region = region_of(f"insert_item v0, {index}, v1 | e1\n  return entry0", type(new).__name__)
        for size in (0, 1, 4, 11, 12):
            agree(machine, region, lambda size=size: ["x"] * size, new)  # type: ignore[misc]
    for thing in OBJECTS:
        before = sys.getrefcount(thing)
        region = region_of(f"insert_item v0, {index}, @new | e1\n  return entry0", new=thing)
        agree(machine, region, lambda: ["x", 1.5])
        del region
        assert sys.getrefcount(thing) == before


@pytest.mark.parametrize("old", [*NUMBERS, *OBJECTS], ids=name_of)
def test_delete(machine: Machine, old: Any) -> None:
    before = sys.getrefcount(old)
    for index in (0, 1, 2):
        region = region_of(f"delete_item v0, {index} | e1\n  v2: int = list_length v0\n  return v2")
        assert agree(machine, region, lambda: [old, old, "x"]) == Returned(2)
        marked = region_of(f"delete_item v0, {index}, True | e1\n  return entry0")
        agree(machine, marked, lambda: [old, 1, old])
    assert sys.getrefcount(old) == before


def test_what_is_deleted_is_kept(machine: Machine) -> None:
    """The region may have it still."""
    body = "v2: object = list_item v0, 0\n  delete_item v0, 0 | e1\n  v3: object = list_item v2, 1\n  v4: int = unbox_int v3 | e1"
    with machine.compile(region_of(f"{body}\n  return v4")) as compiled:
        for round in range(2000):
            assert compiled.run((), ([[1, 2**40], 3],)) == Returned(2**40)
            if round == 1000:
                before = sys.getallocatedblocks()
        assert abs(sys.getallocatedblocks() - before) < 100


def test_new_lists(machine: Machine) -> None:
    part = object()
    before, blocks = sys.getrefcount(part), 0
    for round in range(4):
        for number in NUMBERS:
            region = region_of(
                "v2: object = new_list v1, v0, @part, v1 | e1\n  return v2", type(number).__name__, part=part
            )
            agree(machine, region, lambda: part, number)
        agree(machine, region_of("v2: object = new_list | e1\n  return v2"), lambda: part)
        for start, stop in ((0, 0), (0, 2), (1, 3), (-5, 2), (2, 1), (0, 40), (50, 60), (-3, -1)):
            body = f"v2: object = list_slice v0, {start}, {stop} | e1\n  return v2"
            found = agree(machine, region_of(body), lambda: [1, part, 2.5])
            assert isinstance(found, Returned)
            assert found.value == [1, part, 2.5][max(start, 0) : max(stop, 0)]
        for times in (-1, 0, 1, 3):
            agree(machine, region_of(f"v2: object = list_repeat v0, {times} | e1\n  return v2"), lambda: [part, 1])
        agree(machine, region_of("v2: object = list_concat v0, v0 | e1\n  return v2"), lambda: [part, 1])
        if round == 1:
            blocks = sys.getallocatedblocks()
    del found, region
    assert sys.getrefcount(part) == before
    assert abs(sys.getallocatedblocks() - blocks) < 400


def test_a_list_for_which_there_is_no_memory(machine: Machine) -> None:
    with machine.compile(region_of(f"v2: object = list_repeat v0, {2**62} | e0\n  return v2")) as compiled:
        assert isinstance(compiled.run((), ([1],)), Left)


# Sets

KEYS = [
    0,
    1,
    -1,
    -2,
    7,
    2**31,
    2**40,
    MAX,
    MIN,
    2**61 - 1,
    2**61 - 2,
    2**61,
    -(2**61) + 1,
    1 - 2**61,
    2 - 2**61,
    3 * 2**61,
]
"""Some with the same hash."""


def sets() -> list[set[Any]]:
    """Of all sizes, with keys that were, and places that many keys want."""
    source = random.Random(5)
    found: list[set[Any]] = [set(), {0}, set(KEYS), set(range(100)), {k << 20 for k in range(40)}]
    for size in (1, 4, 5, 30, 200):
        keys = {source.choice((source.randrange(MIN, MAX), source.randrange(-9, 99))) for _ in range(size)}
        keys -= set(source.sample(sorted(keys), len(keys) // 3))
        keys |= {source.randrange(50) for _ in range(size // 5)}
        found.append(keys)
    return found


@pytest.mark.parametrize("value", KEYS, ids=name_of)
def test_sets(machine: Machine, value: int) -> None:
    has = region_of("v2: bool = set_has v0, v1 | e1\n  return v2", "int")
    add = region_of("add_key v0, v1 | e1\n  add_key v0, v1, True | e1\n  return entry0", "int")
    if not MIN <= value <= MAX:
        return
    for keys in sets():
        for each in (keys, keys | {value}, keys - {value}, frozenset(keys)):
            assert agree(machine, has, lambda each=each: each, value) == Returned(value in each)  # type: ignore[misc]
        with machine.compile(add) as compiled:
            grown = set(keys)
            assert compiled.run((value,), (grown, value)) == Returned(grown)
            assert grown == keys | {value}


def test_keys_that_have_to_be_asked(machine: Machine) -> None:
    """Of the same hash, and no ints."""
    region = region_of("v2: bool = set_has v0, v1 | e1\n  return v2", "int")
    with machine.compile(region) as compiled:
        for key in (True, 1.0, Number(1)):
            keys = {key} if not isinstance(key, Number) else {WithHash(1)}
            assert isinstance(compiled.run((1,), (keys, 1)), Left)
            assert compiled.run((2,), (keys, 2)) == Returned(False)


class WithHash:
    def __init__(self, hash: int) -> None:
        self.hash = hash

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        raise AssertionError("asked")


def test_what_is_added_is_counted(machine: Machine) -> None:
    region = region_of("add_key v0, v1 | e1\n  return 1", "int")
    with machine.compile(region) as compiled:
        grown = []
        for _ in range(5):
            before = sys.getallocatedblocks()
            for number in range(2**40, 2**40 + 500):
                keys: set[int] = set()
                assert compiled.run((number,), (keys, number)) == Returned(1)
                assert compiled.run((number,), (keys, number)) == Returned(1)
                (key,) = keys
                assert sys.getrefcount(key) == 3
            grown.append(sys.getallocatedblocks() - before)
        # Others allocate as well, now and then.
        assert min(grown) < 50
