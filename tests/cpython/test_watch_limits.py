"""Watchers at limits: nothing is kept alive or leaks, there is room at the end of the stack, filters may grow meanwhile.

In: very many changes, and changes where hardly anything can be called any more. Out: notes, reports, and counts of
references and of memory.
"""

from __future__ import annotations

import gc
import sys
import threading
import types
import weakref
from collections.abc import Iterator

import pytest
import watching
from watching import Watching, make_function

from minijit.backend.engine import Engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def watched(engine: Engine) -> Iterator[Watching]:
    found = watching.start(engine)
    yield found
    found.close()


def test_what_is_noted_keeps_nothing_alive(watched: Watching) -> None:
    """Neither the old value nor the new, nor the key, nor the dict; and none is given back once too often."""

    class Value:
        pass

    namespace: dict[object, object] = {}
    watched.watch.watch_dict_key(namespace, "key")  # type: ignore[arg-type]
    old, new, other = Value(), Value(), Value()
    references = [weakref.ref(value) for value in (old, new, other)]
    namespace["key"], namespace[other] = old, None
    before = [sys.getrefcount(value) for value in (old, new, other, namespace)]
    namespace["key"] = new
    namespace["key"] = old
    assert [sys.getrefcount(value) for value in (old, new, other, namespace)] == before
    namespace["key"] = new
    del old
    assert references[0]() is None
    namespace.pop("key")
    del new
    assert references[1]() is None
    del namespace[other], other
    assert references[2]() is None
    assert len(watched.noted()) == 7
    # Refused before it is one: the watcher is not even asked.
    with pytest.raises(KeyError):
        del namespace["key"]
    assert not watched.changes.are_due


def test_notes_leak_nothing(watched: Watching) -> None:
    """10**5 of them, while as many of what nobody watches go by, and many more than can be kept."""
    key, value, other = "a key that is no constant"[:], object(), object()
    namespace: dict[str, object] = {key: value}
    watched.watch.watch_dict_key(namespace, key)

    def work(times: int) -> None:
        for _ in range(times):
            namespace[key] = other
            namespace["another"] = other
            namespace[key] = value
            namespace["another"] = value
            del namespace[key]
            namespace[key] = value

    work(100)
    things = (key, value, other, namespace)
    before = [sys.getrefcount(thing) for thing in things]
    gc.collect()
    blocks = sys.getallocatedblocks()
    work(25_000)
    gc.collect()
    grown = sys.getallocatedblocks() - blocks
    assert [sys.getrefcount(thing) for thing in things] == before
    assert grown < 100
    noted = watched.changes.noted()
    assert (noted.until, noted.are_all) == (4 * 25_100, False)


def test_reports_leak_nothing(watched: Watching) -> None:
    """10**5 of them: changes of functions, their ends, and those of dicts."""
    first, second = (1,), (2,)
    code = make_function().__code__
    namespace: dict[str, object] = {}
    watched.watch.watch_code(code)
    watched.handle(note_nothing)

    def work(times: int) -> None:
        for _ in range(times):
            function = types.FunctionType(code, namespace)
            watched.watch.watch_function(id(function))
            function.__defaults__ = first
            function.__defaults__ = second
            short = {"key": first}
            watched.watch.watch_dict_key(short, "key")
            addresses = id(function), id(short)
            del function, short
            watched.watch.unwatch_function(addresses[0])
            watched.watch.unwatch_dict_key(addresses[1], "key", dying=True)

    work(100)
    things = (first, second, note_nothing, namespace, code)
    before = [sys.getrefcount(thing) for thing in things]
    gc.collect()
    blocks = sys.getallocatedblocks()
    work(20_000)
    gc.collect()
    grown = sys.getallocatedblocks() - blocks
    assert [sys.getrefcount(thing) for thing in things] == before
    assert grown < 100


def test_the_handler_has_room_at_the_limits_of_recursion(watched: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is reported even where the program itself could not call anything any more."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append(args.exc_type))
    function = make_function()
    watched.watch.watch_function(id(function))
    answered = 0

    def deeper(depth: int) -> object:
        """Goes on in Python and in C."""
        return list(map(deeper, [depth - 1])) if depth else None

    def handler(*_: object) -> None:
        nonlocal answered
        deeper(20)
        answered += 1

    class Deep:
        def __getattr__(self, name: str) -> object:
            function.__defaults__ = (object(),)
            return getattr(self, name + "x"[: len(name) < 5])

    def sink() -> None:
        function.__defaults__ = (object(),)
        sink()

    watched.handle(handler)
    for sinking in (sink, lambda: Deep().attribute):
        before = answered
        with pytest.raises(RecursionError):
            sinking()
        assert answered > before + 100
    changes = answered
    function.__defaults__ = (1,)
    assert answered == changes + 1
    assert unraisable == []


def test_the_end_of_a_dict_is_reported_at_the_limits_of_recursion(watched: Watching) -> None:
    dicts: list[dict[str, object]] = [{} for _ in range(sys.getrecursionlimit())]
    for namespace in dicts:
        watched.watch.watch_dict_key(namespace, "key")
    del namespace
    left = len(dicts)

    def handler(_kind: int, _event: int, subject: int, _new: object) -> None:
        nonlocal left
        watched.watch.unwatch_dict_key(subject, "key", dying=True)
        left -= 1

    def sink() -> None:
        dicts.pop()
        sink()

    watched.handle(handler)
    with pytest.raises(RecursionError):
        sink()
    assert left == len(dicts) < sys.getrecursionlimit() - 100
    dicts.clear()
    assert not len(watched.filters.dict_keys)


def note_nothing(*_: object) -> object:
    """A handler that forgets, and returns something that can be leaked."""
    return []


def test_no_change_is_missed_while_the_filter_grows(watched: Watching) -> None:
    """The filter's table moves again and again while another thread's changes are looked up in it."""
    namespace: dict[str, object] = {}
    changes = 0
    stop = False

    def work() -> None:
        nonlocal changes
        while not stop:
            namespace["key"] = changes = changes + 1

    for key in range(1, 1000):
        watched.filters.dict_keys[key * 1_000_003] = 1
    watched.watch.watch_dict_key(namespace, "key")
    thread = threading.Thread(target=work)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        for key in range(1000, 9000):
            watched.filters.dict_keys[key * 1_000_003] = 1
    finally:
        stop = True
        thread.join()
        sys.setswitchinterval(interval)
    assert watched.changes.noted().until == changes > 100
