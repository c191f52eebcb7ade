"""Changes of dicts, noted by machine code: everything is told once and in order, or it is told that too much changed.

In: changes of watched dicts, made by this and by other threads. Out: what `Changes` says of them, compared with a model
that keeps a list. What is noted, and what is not, is the business of `test_watch_dicts`.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import watching
from watching import Watching, change

from minijit.backend.engine import Engine
from minijit.cpython import abi, raw
from minijit.cpython.changes import CAPACITY, Change, Changes, Noted
from minijit.cpython.watch import DictEvent


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def watched(engine: Engine) -> Iterator[Watching]:
    found = watching.start(engine)
    yield found
    found.close()


class Values:
    """A dict whose one watched key gets number after number; each stays alive, so that its address is its own."""

    def __init__(self, watched: Watching) -> None:
        self.namespace: dict[str, object] = {"key": None}
        self.made: list[object] = []
        watched.watch.watch_dict_key(self.namespace, "key")

    def change(self, times: int) -> list[Change]:
        """Changes the key; what is to be noted of that."""
        for _ in range(times):
            self.made.append(object())
            self.namespace["key"] = self.made[-1]
        return self.expected(len(self.made) - times)

    def expected(self, since: int) -> list[Change]:
        return [change(DictEvent.MODIFIED, self.namespace, "key", new) for new in self.made[since:]]


def told(noted: Noted) -> list[Change]:
    assert noted.are_all
    return list(noted.changes)


# ---- one thread


def test_nothing_is_due_in_the_beginning() -> None:
    changes = Changes()
    assert not changes.are_due
    assert changes.noted() == Noted(0, (), are_all=True)
    changes.settle(0)
    assert not changes.are_due


def test_changes_are_due_until_they_are_settled(watched: Watching) -> None:
    values = Values(watched)
    expected = values.change(3)
    for _ in range(2):  # looking changes nothing
        assert watched.changes.are_due
        assert watched.changes.noted() == Noted(3, tuple(expected), are_all=True)
    watched.changes.settle(3)
    assert not watched.changes.are_due
    assert watched.changes.noted() == Noted(3, (), are_all=True)


def test_what_comes_up_meanwhile_stays_due(watched: Watching) -> None:
    values = Values(watched)
    values.change(5)
    noted = watched.changes.noted()
    later = values.change(4)
    watched.changes.settle(noted.until)
    assert watched.changes.are_due
    assert told(watched.changes.noted()) == later
    watched.changes.settle(noted.until + 2)
    assert told(watched.changes.noted()) == later[2:]


@pytest.mark.parametrize("before", [0, 1, CAPACITY - 1, CAPACITY, 3 * CAPACITY + 7])
def test_as_many_as_there_is_room_for_are_told(watched: Watching, before: int) -> None:
    """And one more is too many. Afterwards all is as before."""
    values = Values(watched)
    values.change(before)
    watched.changes.settle(before)
    for _ in range(2):
        assert watched.noted() == []
        expected = values.change(CAPACITY)
        assert told(watched.changes.noted()) == expected
        for more in (1, 2 * CAPACITY):
            values.change(more)
            noted = watched.changes.noted()
            latest = values.expected(0)[-CAPACITY:]
            assert noted == Noted(len(values.made), tuple(latest), are_all=False)
        watched.changes.settle(noted.until)
        assert not watched.changes.are_due


@pytest.mark.parametrize("waiting", [1, CAPACITY - 2, CAPACITY - 1, CAPACITY, CAPACITY + 1, 2 * CAPACITY, 700])
@pytest.mark.parametrize("late", [1, 2, CAPACITY - 1, CAPACITY, CAPACITY + 1])
def test_no_change_is_lost_where_room_runs_out_meanwhile(watched: Watching, waiting: int, late: int) -> None:
    """What comes up between looking and settling finds the ring full of what was looked at."""
    values = Values(watched)
    values.change(waiting)
    noted = watched.changes.noted()
    values.change(late)
    watched.changes.settle(noted.until)
    assert watched.changes.are_due
    second = watched.changes.noted()
    assert second.until == waiting + late
    assert list(second.changes) == values.expected(waiting)[-CAPACITY:]
    # Little that came up late is no reason to give up on everything.
    assert second.are_all or waiting + late > CAPACITY


@pytest.mark.parametrize("waiting", [1, 100, CAPACITY - 1, CAPACITY])
@pytest.mark.parametrize("late", [1, CAPACITY - 1, CAPACITY, 700])
def test_what_is_told_is_what_was_noted(
    watched: Watching, monkeypatch: pytest.MonkeyPatch, waiting: int, late: int
) -> None:
    """Though more comes up while it is being read."""
    values = Values(watched)
    values.change(waiting)
    read, left = Changes._entry, [late]

    def interrupted(changes: Changes, place: int) -> Change:
        while left:
            values.change(left.pop())
        return read(changes, place)

    monkeypatch.setattr(Changes, "_entry", interrupted)
    noted = watched.changes.noted()
    assert not left
    assert noted.until == waiting
    overwritten = max(waiting + late - CAPACITY, 0)
    assert list(noted.changes) == values.expected(0)[overwritten:waiting]
    assert noted.are_all == (not overwritten)


def test_many_rounds_of_many_sizes(watched: Watching) -> None:
    """Against a list; the ring is gone round hundreds of times."""
    choice = random.Random(5)
    values, settled, rounds = Values(watched), 0, 0
    while len(values.made) < 100 * CAPACITY:
        rounds += 1
        values.change(choice.choice([0, 1, 2, 17, 100, CAPACITY - 1, CAPACITY, 300]))
        noted = watched.changes.noted()
        assert noted.until == len(values.made)
        assert noted.are_all == (noted.until - settled <= CAPACITY)
        assert list(noted.changes) == values.expected(settled)[-CAPACITY:]
        settled = choice.randint(settled, noted.until)
        watched.changes.settle(settled)
        assert watched.changes.are_due == (settled < noted.until)
    assert rounds > 100


def test_dicts_and_keys_are_told_apart(watched: Watching) -> None:
    """Changes of several keys of several dicts come in their order."""
    choice = random.Random(7)
    names = [f"name {n}" for n in range(5)]
    namespaces: list[dict[str, object]] = [{} for _ in range(4)]
    values = [object() for _ in range(20)]
    for namespace in namespaces:
        for name in names:
            watched.watch.watch_dict_key(namespace, name)
    expected: list[Change] = []
    for step in range(3000):
        namespace, name = choice.choice(namespaces), choice.choice(names)
        old, new = namespace.get(name), choice.choice([*values, None])
        if old is new:
            continue
        if new is None:
            del namespace[name]
            expected.append(change(DictEvent.DELETED, namespace, name))
        else:
            event = DictEvent.ADDED if old is None else DictEvent.MODIFIED
            namespace[name] = new
            expected.append(change(event, namespace, name, new))
        if step % 50 == 0:
            assert watched.noted() == expected
            expected.clear()


# ---- keys


def test_a_key_without_a_hash_of_its_own_may_be_any(watched: Watching) -> None:
    """0 stands for any key, and is the hash of the empty string."""
    namespace: dict[str, object] = {}
    assert hash("") == 0
    watched.watch.watch_dict_key(namespace, "")
    namespace[""] = 1
    assert watched.noted() == [change(DictEvent.ADDED, namespace, None, 1)]


def test_a_key_whose_hash_is_not_computed_yet_may_be_any(watched: Watching) -> None:
    """As a C function may put it in that has the hash from elsewhere."""
    namespace: dict[str, object] = {}
    watched.watch.watch_dict_key(namespace, "watched")
    key = "".join(["not ", "hashed"])
    assert raw.read_i64(id(key) + abi.UNICODE.hash) == -1
    put = watching.put_known_hash
    put(namespace, key, 1, 12345)
    assert watched.noted() == [change(DictEvent.ADDED, namespace, None, 1)]
    # Once it has one, it is like any other.
    hash(key)
    put(namespace, key, 2, 12345)
    assert watched.noted() == []


class Like(str):
    """A str that is no plain one: equal to the key, or not, as it likes."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str(self) == other

    __hash__ = str.__hash__


class Hashed:
    """Equal to the key, with a hash that the ring has a meaning for."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __hash__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return other == "key"


@pytest.mark.parametrize(
    "key", [Like("key"), Like("other"), Hashed(0), Hashed(-1), Hashed(hash("key")), 0, -1, -2, None, 1.5, (), b"key"]
)
def test_a_key_that_is_no_plain_str_may_be_any(watched: Watching, key: object) -> None:
    namespace: dict[object, object] = {}
    watched.watch.watch_dict_key(namespace, "key")  # type: ignore[arg-type]
    for event, act in (
        (DictEvent.ADDED, lambda: namespace.__setitem__(key, 1)),
        (DictEvent.MODIFIED, lambda: namespace.__setitem__(key, 2)),
    ):
        act()
        assert watched.noted() == [change(event, namespace, None, namespace[key])]
    del namespace[key]
    assert watched.noted() == [change(DictEvent.DELETED, namespace, None)]


def test_a_plain_key_that_meets_a_foreign_one_is_told_as_itself(watched: Watching) -> None:
    """The dict keeps the foreign key; what the store was asked for is the plain one."""
    namespace: dict[object, object] = {Hashed(hash("key")): 1}
    watched.watch.watch_dict_key(namespace, "key")  # type: ignore[arg-type]
    namespace["key"] = 2
    assert len(namespace) == 1
    assert watched.noted() == [change(DictEvent.MODIFIED, namespace, "key", 2)]


def test_hashes_may_be_negative(watched: Watching) -> None:
    names = [f"name {n}" for n in range(40)]
    assert {hash(name) < 0 for name in names} == {True, False}
    namespace: dict[str, object] = {}
    for name in names:
        watched.watch.watch_dict_key(namespace, name)
        namespace[name] = name
    assert watched.noted() == [change(DictEvent.ADDED, namespace, name, name) for name in names]


# ---- threads


def quickly(*works: Callable[[], None]) -> None:
    """Runs all at once, with the interpreter changing threads as often as it can."""
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if failures:
        raise failures[0]


@pytest.mark.parametrize("pause", [0, 40])
def test_nothing_is_lost_while_others_change_keys(watched: Watching, pause: int) -> None:
    """Each thread's changes of its own key are told once and in its order, but for those of which it is told that there
    were too many. `pause` is for how long whoever settles is at it, so that there are."""
    names = [f"name {n}" for n in range(3)]
    times = 4000
    namespace: dict[str, object] = dict.fromkeys(names)
    for name in names:
        watched.watch.watch_dict_key(namespace, name)
    values = {name: [object() for _ in range(times)] for name in names}
    running = len(names)
    found: list[tuple[int, Noted]] = []

    def work(name: str) -> None:
        nonlocal running
        for value in values[name]:
            namespace[name] = value
        running -= 1

    def settle() -> None:
        before = 0
        while running or watched.changes.are_due:
            noted = watched.changes.noted()
            sum(range(1000 * pause))
            found.append((noted.until - before, noted))
            before = noted.until
            watched.changes.settle(noted.until)

    quickly(settle, *(lambda name=name: work(name) for name in names))  # type: ignore[misc]
    assert sum(count for count, _ in found) == len(names) * times
    order = {id(value): (name, n) for name in names for n, value in enumerate(values[name])}
    last = dict.fromkeys(names, -1)
    unknown = 0
    for count, noted in found:
        unknown += count - len(noted.changes)
        assert noted.are_all == (len(noted.changes) == count)
        for one in noted.changes:
            name, number = order[one.new]
            assert one == change(DictEvent.MODIFIED, namespace, name, values[name][number])
            assert last[name] < number
            # What is left out was among those that could not be told.
            unknown -= number - last[name] - 1
            last[name] = number
    assert unknown == sum(times - 1 - number for number in last.values())


def test_whoever_looks_sees_what_changed_before(watched: Watching) -> None:
    """As entries into regions do: if nothing is due, what was changed last was dealt with."""
    namespace: dict[str, object] = {"key": 0}
    watched.watch.watch_dict_key(namespace, "key")
    changed = settled = looks = 0
    running = True

    def work() -> None:
        nonlocal changed, running
        # Until the other thread has had its turns, however busy the machine is.
        for number in range(1, 5_000_000):
            namespace["key"] = number
            changed = number
            if number > 20_000 and looks > 10:
                break
        running = False

    def settle() -> None:
        nonlocal settled, looks
        while running or watched.changes.are_due:
            noted = watched.changes.noted()
            settled = noted.until
            watched.changes.settle(noted.until)
            before = changed
            if not watched.changes.are_due:
                looks += 1
                assert settled >= before

    quickly(settle, work)
    assert settled == changed
    assert looks > 10
