"""The registry of assumptions: who relies on what, who must go when it changes, and what is not relied on any more."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from minijit.runtime.assume import ABSENT, UNKNOWN, Assumptions, Key


class Region:
    """Stands for a region in service."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


A, B, C = Region("A"), Region("B"), Region("C")
K: Key = (1000, "k")
OTHER: Key = (1000, "other")
ELSEWHERE: Key = (2000, "k")
SEVEN, EIGHT = 7, 8


PATIENCE = 3


@pytest.fixture
def registry() -> Assumptions[Region]:
    return Assumptions(PATIENCE)


def test_the_first_and_the_last_are_told_apart(registry: Assumptions[Region]) -> None:
    """The first to rely on a key has it watched, the last has that ended."""
    assert registry.add(K, A, SEVEN)
    assert not registry.add(K, B, SEVEN)
    assert registry.add(ELSEWHERE, A, SEVEN), "the same name of another namespace is another key"
    assert not registry.remove(K, A)
    assert registry.remove(K, B)
    assert registry.add(K, B, SEVEN), "nobody was left"


def test_removing_what_is_not_there_changes_nothing(registry: Assumptions[Region]) -> None:
    assert not registry.remove(K, A)
    registry.add(K, A, SEVEN)
    assert not registry.remove(K, B)
    assert registry.remove(K, A)
    assert not registry.remove(K, A)
    assert registry.dependents == {}


def test_a_region_that_relies_on_a_key_twice_is_there_once(registry: Assumptions[Region]) -> None:
    registry.add(K, A, SEVEN)
    assert not registry.add(K, A, SEVEN)
    assert registry.broken_by(K, EIGHT) == [A]
    assert registry.remove(K, A)


@pytest.mark.parametrize(
    ("assumed", "new", "breaks"),
    [
        (SEVEN, EIGHT, True),
        (SEVEN, SEVEN, False),
        (SEVEN, ABSENT, True),
        (ABSENT, SEVEN, True),
        (ABSENT, ABSENT, False),
        (SEVEN, UNKNOWN, True),
        (ABSENT, UNKNOWN, True),
    ],
)
def test_a_change_breaks_what_assumed_another_object(
    registry: Assumptions[Region], assumed: int, new: int, breaks: bool
) -> None:
    registry.add(K, A, assumed)
    assert registry.broken_by(K, new) == [A] * breaks
    assert registry.kills[K] == breaks


def test_only_regions_of_the_key_are_broken(registry: Assumptions[Region]) -> None:
    registry.add(K, A, SEVEN)
    registry.add(K, B, EIGHT)
    registry.add(OTHER, C, SEVEN)
    registry.add(ELSEWHERE, C, SEVEN)
    assert registry.broken_by(K, EIGHT) == [A]
    assert registry.broken_by(K, ABSENT) == [A, B]
    assert registry.broken_by((1, "nobody's"), SEVEN) == []


def test_breaking_does_not_remove(registry: Assumptions[Region]) -> None:
    """The driver takes the regions out, one by one, and removes each."""
    registry.add(K, A, SEVEN)
    assert registry.broken_by(K, EIGHT) == [A]
    assert registry.broken_by(K, EIGHT) == [A]
    assert registry.remove(K, A)
    assert registry.broken_by(K, SEVEN) == []


def test_a_key_that_kills_again_and_again_becomes_volatile(registry: Assumptions[Region]) -> None:
    for count in range(PATIENCE):
        assert registry.volatile() == frozenset(), count
        registry.add(K, A, SEVEN)
        registry.broken_by(K, EIGHT)
        registry.remove(K, A)
    assert registry.volatile() == {K}


def test_a_change_counts_once_however_many_it_breaks(registry: Assumptions[Region]) -> None:
    for region in (A, B, C):
        registry.add(K, region, SEVEN)
    registry.broken_by(K, EIGHT)
    assert registry.volatile() == frozenset()
    assert registry.kills == Counter({K: 1})


def test_changes_that_break_nothing_do_not_count(registry: Assumptions[Region]) -> None:
    registry.add(K, A, SEVEN)
    for _ in range(10):
        registry.broken_by(K, SEVEN)
        registry.broken_by(OTHER, SEVEN)
    assert registry.volatile() == frozenset()


def test_a_change_that_comes_before_the_region_counts_once(registry: Assumptions[Region]) -> None:
    """If others relied on the key already, it is told of those."""
    registry.add(K, A, SEVEN)
    registry.count_for(A, K)
    assert registry.kills == Counter({K: 1})
    registry.add(K, B, EIGHT)
    registry.count_for(B, K)
    registry.broken_by(K, EIGHT)
    assert registry.kills == Counter({K: 2})


def test_keys_of_a_namespace(registry: Assumptions[Region]) -> None:
    registry.add(K, A, SEVEN)
    registry.add(OTHER, B, SEVEN)
    registry.add(ELSEWHERE, C, SEVEN)
    assert registry.keys_of(1000) == [K, OTHER]
    assert registry.keys_of(2000) == [ELSEWHERE]
    assert registry.keys_of(3000) == []


def test_a_namespace_that_is_gone_is_forgotten(registry: Assumptions[Region]) -> None:
    """Another dict at the same address starts with nothing: no dependents, and no bad name."""
    for key, region in ((K, A), (OTHER, A), (OTHER, B), (ELSEWHERE, C)):
        registry.add(key, region, SEVEN)
    for _ in range(PATIENCE):
        registry.broken_by(K, EIGHT)
        registry.broken_by(ELSEWHERE, EIGHT)
    assert registry.volatile() == {K, ELSEWHERE}
    keys, regions = registry.forget(1000)
    assert keys == [K, OTHER]
    assert regions == [A, A, B]
    assert registry.volatile() == {ELSEWHERE}
    assert registry.keys_of(1000) == []
    assert registry.broken_by(ELSEWHERE, EIGHT) == [C]
    assert registry.forget(1000) == ([], [])
    assert not registry.remove(K, A), "the watch ended with the namespace"
    assert registry.add(K, A, SEVEN)


def test_regions_are_known_by_identity(registry: Assumptions[Region]) -> None:
    """Regions need be neither hashable nor comparable."""

    class Odd(Region):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError

    first, second = Odd("first"), Odd("second")
    registry.add(K, first, SEVEN)
    registry.add(K, second, SEVEN)
    assert [region.name for region in registry.broken_by(K, EIGHT)] == ["first", "second"]
    assert not registry.remove(K, first)
    assert registry.remove(K, second)


class Model:
    """The same in the plainest way: a list of who relies on what."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Key, Region], int] = {}

    def regions(self, key: Key) -> list[Region]:
        return [region for k, region in self.rows if k == key]

    def add(self, key: Key, region: Region, assumed: int) -> bool:
        first = not self.regions(key)
        self.rows[key, region] = assumed
        return first

    def remove(self, key: Key, region: Region) -> bool:
        had = self.rows.pop((key, region), None) is not None
        return had and not self.regions(key)

    def broken_by(self, key: Key, new: int) -> list[Region]:
        return [region for (k, region), assumed in self.rows.items() if k == key and assumed != new]


@pytest.mark.parametrize("seed", range(20))
def test_registry_and_model_agree(seed: int) -> None:
    choices = random.Random(seed)
    registry: Assumptions[Region] = Assumptions(PATIENCE)
    model = Model()
    for _ in range(200):
        key, region = choices.choice((K, OTHER, ELSEWHERE)), choices.choice((A, B, C))
        value = choices.choice((SEVEN, EIGHT, ABSENT))
        match choices.randrange(3):
            case 0:
                assert registry.add(key, region, value) == model.add(key, region, value)
            case 1:
                assert registry.remove(key, region) == model.remove(key, region)
            case _:
                assert set(registry.broken_by(key, value)) == set(model.broken_by(key, value))
