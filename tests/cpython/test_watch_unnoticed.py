"""Watchers are not noticed: not by exceptions under way, nor by handlers, debuggers and profilers.

In: changes at awkward moments. Out: what the program sees of them, which is what it sees without watchers.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import pytest
import watching
from watching import Watching, make_function

from minijit.backend.engine import Engine
from minijit.cpython.watch import DictEvent, FunctionEvent, Watched


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def watched(engine: Engine) -> Iterator[Watching]:
    found = watching.start(engine)
    yield found
    found.close()


class Boom(Exception):
    pass


def fail() -> None:
    raise Boom


@pytest.mark.parametrize("handler_raises", [False, True])
def test_a_pending_exception_survives_a_report(
    watched: Watching, monkeypatch: pytest.MonkeyPatch, handler_raises: bool
) -> None:
    """The subjects die on the stack of a frame that is unwound, with the exception pending."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append(args.exc_type))
    reports: list[tuple[int, object]] = []

    def handler(kind: int, event: int, subject: int, new: object) -> None:
        reports.append((kind, sys.exception()))
        if kind == Watched.FUNCTION:
            watched.watch.unwatch_function(subject)
        else:
            watched.watch.unwatch_dict_key(subject, "key", dying=True)
        if handler_raises:
            raise KeyError

    def watched_function() -> types.FunctionType:
        function = make_function()
        watched.watch.watch_function(id(function))
        return function

    def watched_dict() -> dict[str, object]:
        namespace: dict[str, object] = {"key": 1}
        watched.watch.watch_dict_key(namespace, "key")
        return namespace

    watched.handle(handler)
    for make in (watched_function, watched_dict):
        with pytest.raises(Boom) as caught:
            _ = (make(), fail())  # type: ignore[func-returns-value]
        assert caught.value.__context__ is None
    assert reports == [(Watched.FUNCTION, None), (Watched.DICT, None)]
    assert unraisable == ([KeyError, KeyError] if handler_raises else [])


def test_changes_in_handlers_and_finally_clauses_are_as_usual(watched: Watching) -> None:
    namespace: dict[str, object] = {"key": 1}
    watched.watch.watch_dict_key(namespace, "key")

    def leave() -> None:
        try:
            fail()
        finally:
            del namespace["key"]

    with pytest.raises(Boom):
        leave()
    try:
        fail()
    except Boom as error:
        namespace["key"] = sys.exception(), error, error.__context__
    handled, caught, context = namespace["key"]  # type: ignore[misc]
    assert handled is caught
    assert context is None
    assert [noted.event for noted in watched.noted()] == [DictEvent.DELETED, DictEvent.ADDED]
    with pytest.raises(KeyError):
        del namespace["no key"]


def test_changes_of_functions_in_handlers_and_finally_clauses_are_as_usual(watched: Watching) -> None:
    """As above, where Python is called."""
    function = make_function()
    watched.watch.watch_function(id(function))

    def leave() -> None:
        try:
            fail()
        finally:
            function.__defaults__ = (2,)

    with pytest.raises(Boom) as left:
        leave()
    assert left.value.__context__ is None
    try:
        fail()
    except Boom as error:
        function.__defaults__ = sys.exception(), error, error.__context__
    handled, caught, context = function.__defaults__  # type: ignore[misc]
    assert handled is caught
    assert context is None
    assert [event for _, event, _, _ in watched.reports] == [FunctionEvent.MODIFY_DEFAULTS] * 2
    with pytest.raises(TypeError):
        function.__defaults__ = 5  # type: ignore[assignment]


def test_a_handler_that_raises_is_reported_and_does_no_harm(watched: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append((args.exc_type, args.object)))

    def handler(*_: object) -> None:
        raise ValueError

    function = make_function()
    watched.watch.watch_function(id(function))
    watched.handle(handler)
    function.__defaults__ = (7,)
    assert function() == 7
    assert unraisable == [(ValueError, handler)]


def test_a_noted_change_calls_nothing(watched: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours runs in the midst of it: neither the handler, nor what a debugger or profiler could see."""
    called: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: called.append(args.exc_type))
    namespace: dict[object, object] = {}
    watched.watch.watch_dict_key(namespace, "key")  # type: ignore[arg-type]
    watched.handle(lambda *report: called.append(report))
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _argument: called.append((frame.f_code.co_name, event)))
    try:
        namespace["key"] = 1
        namespace["key"] = 2
        namespace[5] = 3
        del namespace["key"]
    finally:
        sys.setprofile(before)
    assert len(watched.noted()) == 4
    # What switched it off.
    assert called == [("test_a_noted_change_calls_nothing", "c_call")]


def test_no_debugger_sees_the_handler(watched: Watching) -> None:
    """Nor does it lose sight of the program."""
    function = make_function()
    watched.watch.watch_function(id(function))
    seen: list[str] = []

    def after() -> None:
        pass

    def handler(*_: object) -> None:
        seen.append("handler")
        after()

    def program() -> None:
        for number in range(1, 4):
            function.__defaults__ = (number,)
            after()

    def trace(frame: types.FrameType, event: str, _argument: object) -> object:
        seen.append(f"{frame.f_code.co_name} {event}")
        return None

    watched.handle(handler)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        program()
    finally:
        sys.settrace(before)
    assert seen == ["program call", *["handler", "after call"] * 3]


def test_without_a_handler_nothing_is_reported(watched: Watching) -> None:
    function = make_function()
    watched.watch.watch_function(id(function))
    watched.handle(None)
    function.__defaults__ = (2,)
    assert watched.reports == []
    assert function() == 2
