"""Watched dicts: which changes of which keys are noted, in what way, and which are not.

In: changes of dicts. Out: what machine code notes of them, and the report of a dict's end. How notes are kept until
they are dealt with is the business of `test_changes`.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable, Iterator

import pytest
import watching
from watching import Watching, change

from minijit.backend.engine import Engine
from minijit.cpython.changes import Change
from minijit.cpython.watch import DictEvent, Watched


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def watched(engine: Engine) -> Iterator[Watching]:
    found = watching.start(engine)
    yield found
    found.close()


def test_changes_of_a_watched_key_are_noted(watched: Watching) -> None:
    values = [object() for _ in range(3)]
    namespace: dict[str, object] = {"key": 1}
    watched.watch.watch_dict_key(namespace, "key")
    namespace["key"] = values[0]
    del namespace["key"]
    namespace["key"] = values[1]
    assert watched.taken() == [
        change(DictEvent.MODIFIED, namespace, "key", values[0]),
        change(DictEvent.DELETED, namespace, "key"),
        change(DictEvent.ADDED, namespace, "key", values[1]),
    ]


def test_a_change_is_noted_before_anything_can_run(watched: Watching) -> None:
    """What dies of the change sees it noted."""
    namespace: dict[str, object] = {}
    seen: list[object] = []

    class Old:
        def __del__(self) -> None:
            seen.append((watched.changes.are_due, namespace.get("key"), *watched.noted()))

    watched.watch.watch_dict_key(namespace, "key")
    for step, event in ((namespace.__setitem__, DictEvent.MODIFIED), (lambda *_: namespace.clear(), DictEvent.CLEARED)):
        namespace["key"] = Old()
        watched.noted()
        step("key", None)
        key, new = ("key", None) if event is DictEvent.MODIFIED else (None, watching.ABSENT)
        assert seen.pop() == (True, None, change(event, namespace, key, new))
    assert not seen


def test_other_keys_and_other_dicts_are_not_noted(watched: Watching) -> None:
    namespace: dict[str, object] = {"key": 1, "other": 1}
    watched.watch.watch_dict_key(namespace, "key")
    namespace["other"] = 2
    namespace["new"] = 2
    del namespace["other"]
    {"key": 1}["key"] = 2
    assert namespace["key"] == 1
    assert watched.taken() == []


def test_the_same_value_again_is_no_change(watched: Watching) -> None:
    value = object()
    namespace: dict[str, object] = {"key": value}
    watched.watch.watch_dict_key(namespace, "key")
    namespace["key"] = value
    assert watched.taken() == []


def test_keys_are_compared_by_value(watched: Watching) -> None:
    namespace: dict[str, object] = {"a key": 1}
    watched.watch.watch_dict_key(namespace, "a key")
    another = "".join(["a", " ", "key"])
    assert another is not next(iter(namespace))
    namespace[another] = 2
    assert watched.taken() == [change(DictEvent.MODIFIED, namespace, "a key", 2)]


def test_a_key_that_is_no_plain_string_is_always_noted(watched: Watching) -> None:
    """As one that may be any."""

    class Name(str):
        __slots__ = ()

    namespace: dict[object, object] = {"key": 1}
    watched.watch.watch_dict_key(namespace, "key")  # type: ignore[arg-type]
    namespace[5] = 1
    namespace[Name("unrelated")] = 2
    namespace[Name("key")] = 3
    del namespace[5]
    assert watched.taken() == [
        change(DictEvent.ADDED, namespace, None, 1),
        change(DictEvent.ADDED, namespace, None, 2),
        change(DictEvent.MODIFIED, namespace, None, 3),
        change(DictEvent.DELETED, namespace, None),
    ]


def test_every_way_to_change_a_key_is_noted(watched: Watching) -> None:
    changes: list[Callable[[dict[str, object]], object]] = [
        lambda d: d.update(key=2),
        lambda d: d.pop("key"),
        lambda d: d.popitem(),
        lambda d: d.setdefault("key", 5) if not d.clear() else None,
        lambda d: d.__ior__({"key": 2}),
        lambda d: exec("key = 2", {}, d),
        lambda d: exec("key = 2", d),
        lambda d: exec("global key\ndel key", d),
        lambda d: d.__init__({"key": 2}),
        lambda d: d.update({"key": 2}),
        lambda d: d.clear(),
    ]
    for number, make in enumerate(changes):
        namespace: dict[str, object] = {"key": 1}
        watched.watch.watch_dict_key(namespace, "key")
        make(namespace)
        taken = watched.taken()
        assert taken, number
        assert {noted.namespace for noted in taken if isinstance(noted, Change)} == {id(namespace)}, number
        watched.watch.unwatch_dict_key(id(namespace), "key")


def test_attributes_of_a_module_are_keys_of_its_dict(watched: Watching) -> None:
    module = types.ModuleType("module")
    module.key = 1  # type: ignore[attr-defined]
    watched.watch.watch_dict_key(vars(module), "key")
    for value in range(2, 40):  # often enough for the store to be specialised
        module.key = value  # type: ignore[attr-defined]
        assert watched.taken() == [change(DictEvent.MODIFIED, vars(module), "key", value)]


def test_builtins_can_be_watched(watched: Watching) -> None:
    watched.watch.watch_dict_key(vars(builtins), "a_probe_of_minijit")
    builtins.another_probe_of_minijit = 1  # type: ignore[attr-defined]
    builtins.a_probe_of_minijit = 1  # type: ignore[attr-defined]
    del builtins.a_probe_of_minijit, builtins.another_probe_of_minijit  # type: ignore[attr-defined]
    assert watched.taken() == [
        change(DictEvent.ADDED, vars(builtins), "a_probe_of_minijit", 1),
        change(DictEvent.DELETED, vars(builtins), "a_probe_of_minijit"),
    ]


def test_what_befalls_the_whole_dict_is_noted(watched: Watching) -> None:
    namespace: dict[str, object] = {"other": 1}
    watched.watch.watch_dict_key(namespace, "key")
    namespace.clear()
    assert watched.taken() == [change(DictEvent.CLEARED, namespace, None)]
    source = {"a": 1}
    namespace.update(source)
    assert watched.taken() == [change(DictEvent.CLONED, namespace, None)]


def test_copies_are_not_watched(watched: Watching) -> None:
    namespace: dict[str, object] = {"key": 1, **dict.fromkeys(map(str, range(50)))}
    watched.watch.watch_dict_key(namespace, "key")
    for copy in (namespace.copy(), dict(namespace), namespace | {}, {**namespace}):
        copy["key"] = 2
        copy.clear()
    assert watched.taken() == []


def test_attributes_of_an_object_are_keys_of_its_dict(watched: Watching) -> None:
    """Where code runs with the dict of an object for globals, say; stores to it have ways of their own."""

    class Thing:
        def __init__(self) -> None:
            self.key = self.other = 1

    for number in (5, 0):
        thing = Thing()
        names = vars(thing)
        watched.watch.watch_dict_key(names, "key")
        for value in range(2, 40):  # often enough for the stores to be specialised
            thing.key = value
            thing.other = value
            assert watched.taken() == [change(DictEvent.MODIFIED, names, "key", value)], number
        del thing.key
        assert watched.taken() == [change(DictEvent.DELETED, names, "key")]
        watched.watch.unwatch_dict_key(id(names), "key")


def test_the_end_of_a_dict_is_reported_with_its_address(watched: Watching) -> None:
    namespace: dict[str, object] = {"key": 1}
    address = id(namespace)
    watched.watch.watch_dict_key(namespace, "key")
    watched.handle(
        lambda kind, event, subject, new: (
            watched.reports.append((kind, event, subject, new)),
            watched.watch.unwatch_dict_key(subject, "key", dying=True),
        )
    )
    del namespace
    assert watched.taken() == [(Watched.DICT, DictEvent.DEALLOCATED, address, None)]
    assert not len(watched.filters.dict_keys)


def test_what_is_watched_twice_is_given_up_twice(watched: Watching) -> None:
    namespace: dict[str, object] = {"key": 1, "other": 1}
    for name in ("key", "key", "other"):
        watched.watch.watch_dict_key(namespace, name)
    watched.watch.unwatch_dict_key(id(namespace), "key")
    namespace["key"] = 2
    assert len(watched.taken()) == 1
    watched.watch.unwatch_dict_key(id(namespace), "key")
    namespace["key"] = 3
    assert watched.taken() == []
    namespace["other"] = 3
    assert len(watched.taken()) == 1
    watched.watch.unwatch_dict_key(id(namespace), "other")
    namespace.clear()
    assert watched.taken() == []
