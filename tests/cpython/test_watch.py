"""Watched functions, code objects and classes: what is reported and what is not.

In: changes to them, and their ends. Out: the reports that reach a handler. Dicts are the business of
`test_watch_dicts`.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator

import pytest
import watching
from watching import Watching, make_function

from minijit.backend.engine import Engine
from minijit.cpython.watch import CodeEvent, FunctionEvent, Watched


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def watched(engine: Engine) -> Iterator[Watching]:
    found = watching.start(engine)
    yield found
    found.close()


# ---- functions and code objects


def test_changes_of_a_watched_function_are_reported(watched: Watching) -> None:
    function, other = make_function(), make_function()
    code, defaults, keywords = make_function().__code__, (2,), {"x": 3}
    watched.watch.watch_function(id(function))
    for target in (other, function):
        target.__code__ = code
        target.__defaults__ = defaults
        target.__kwdefaults__ = keywords
    assert watched.taken() == [
        (Watched.FUNCTION, FunctionEvent.MODIFY_CODE, id(function), code),
        (Watched.FUNCTION, FunctionEvent.MODIFY_DEFAULTS, id(function), defaults),
        (Watched.FUNCTION, FunctionEvent.MODIFY_KWDEFAULTS, id(function), keywords),
    ]
    watched.watch.unwatch_function(id(function))
    function.__defaults__ = (3,)
    assert watched.taken() == []


def test_the_end_of_a_function_is_reported_with_its_address(watched: Watching) -> None:
    function = make_function()
    address = id(function)
    watched.watch.watch_function(id(function))
    del function
    assert watched.reports == [(Watched.FUNCTION, FunctionEvent.DESTROY, address, None)]
    watched.watch.unwatch_function(address)


def test_new_functions_of_a_watched_code_object_are_reported(watched: Watching) -> None:
    code = make_function().__code__
    watched.watch.watch_code(code)
    kept = [types.FunctionType(code, {}) for _ in range(3)]
    make_function()
    assert watched.reports == [(Watched.FUNCTION, FunctionEvent.CREATE, id(f), None) for f in kept]


def test_what_nobody_watches_is_not_reported(watched: Watching) -> None:
    """Neither functions nor code objects nor classes; those that are watched are there all the while."""

    class Watchable:
        pass

    class Other:
        pass

    kept = make_function()
    watched.watch.watch_function(id(kept))
    watched.watch.watch_code(kept.__code__)
    watched.watch.watch_type(Watchable)
    del watched.reports[:]
    for _ in range(100):
        function = make_function()
        types.FunctionType(function.__code__, {})
        function.__defaults__ = (2,)
        function.__code__ = make_function().__code__.replace(co_name="x")
        Other.attribute = Watchable().__class__  # type: ignore[attr-defined]
        type("New", (Other,), {}).attribute = 1  # type: ignore[attr-defined]
    assert watched.reports == []


def test_a_new_code_object_is_no_report_of_an_old_one(watched: Watching) -> None:
    """Where a dead one's address is still in the filter."""
    for _ in range(20):
        watched.watch.watch_code(make_function().__code__)
    assert {(kind, event) for kind, event, _, _ in watched.reports} <= {
        (Watched.CODE, CodeEvent.DESTROY),
        (Watched.FUNCTION, FunctionEvent.CREATE),
    }


def test_functions_and_code_watched_twice_are_given_up_twice(watched: Watching) -> None:
    function = make_function()
    code = function.__code__
    for _ in range(2):
        watched.watch.watch_function(id(function))
        watched.watch.watch_code(code)
    for expected in ([FunctionEvent.MODIFY_DEFAULTS, FunctionEvent.CREATE], []):
        watched.watch.unwatch_function(id(function))
        watched.watch.unwatch_code(id(code))
        function.__defaults__ = (2,)
        kept = types.FunctionType(code, {})
        assert [event for _, event, _, _ in watched.reports] == expected
        del kept, watched.reports[:]


def test_the_end_of_a_code_object_is_reported_with_its_address(watched: Watching) -> None:
    code = make_function().__code__
    address = id(code)
    watched.watch.watch_code(code)
    del code
    assert watched.reports == [(Watched.CODE, CodeEvent.DESTROY, address, None)]
    watched.watch.unwatch_code(address)
    del watched.reports[:]
    make_function()
    assert watched.reports == []


# ---- classes


def test_a_class_reports_once_until_it_is_armed_again(watched: Watching) -> None:
    class Watchable:
        attribute = 1

    assert watched.watch.watch_type(Watchable)
    Watchable.attribute = 2
    assert watched.reports == [(Watched.TYPE, 0, id(Watchable), None)]
    Watchable.attribute = 3
    assert len(watched.reports) == 1
    assert watched.watch.rearm_type(Watchable)
    Watchable.attribute = 4
    assert len(watched.reports) == 2
    watched.watch.unwatch_type(Watchable)
    watched.watch.rearm_type(Watchable)
    Watchable.attribute = 5
    assert len(watched.reports) == 2


def test_a_class_reports_changes_of_its_bases(watched: Watching) -> None:
    class Base:
        pass

    class Derived(Base):
        pass

    watched.watch.watch_type(Derived)
    Base.attribute = 1  # type: ignore[attr-defined]
    assert [subject for _, _, subject, _ in watched.reports] == [id(Derived)]


def test_classes_that_died_are_not_touched_at_the_end(engine: Engine) -> None:
    watched = watching.start(engine)
    for _ in range(50):
        watched.watch.watch_type(type("Short", (), {}))
    gc.collect()
    memory = [bytearray(900) for _ in range(2000)]
    watched.close()
    assert not any(map(any, memory))
