"""Watchers: what is reported and what is not, that nothing else can be noticed of them, and that they end.

In: changes to dicts, functions, classes and code objects. Out: what machine code notes of them, and the reports that
reach a handler. What happens at the end of an interpreter runs in a process of its own. How notes are kept until they
are dealt with is the business of `test_changes`.
"""

from __future__ import annotations

import builtins
import ctypes
import gc
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import watching
from watching import Watching, change

from conftest import ROOT, RunPython
from minijit.backend.engine import Engine
from minijit.cpython.changes import Change, Noted
from minijit.cpython.watch import CALLBACKS, CodeEvent, DictEvent, FunctionEvent, Watched, WatcherIdsTaken

HERE = Path(__file__).resolve().parent
PROGRAM_PATH = {"PYTHONPATH": f"{ROOT / 'src'}:{HERE}"}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def watched(engine: Engine) -> Iterator[Watching]:
    found = watching.start(engine)
    yield found
    found.close()


def make_function() -> types.FunctionType:
    """A new function with a code object of its own."""
    namespace: dict[str, types.FunctionType] = {}
    exec("def made(x=1): return x", namespace)
    return namespace.pop("made")


# ---- dicts


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


# ---- functions and code objects


def test_changes_of_a_watched_function_are_reported(watched: Watching) -> None:
    function, other = make_function(), make_function()
    code, defaults, keywords = make_function().__code__, (2,), {"x": 3}
    watched.watch.watch_function(function)
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
    watched.watch.watch_function(function)
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
    watched.watch.watch_function(kept)
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
        watched.watch.watch_function(function)
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


# ---- what must not be noticed


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
        watched.watch.watch_function(function)
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
    watched.watch.watch_function(function)

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
    watched.watch.watch_function(function)
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
    watched.watch.watch_function(function)
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
    watched.watch.watch_function(function)
    watched.handle(None)
    function.__defaults__ = (2,)
    assert watched.reports == []
    assert function() == 2


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
    assert watched.changes.noted() == Noted(4 * 25_100, None)


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
            watched.watch.watch_function(function)
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
    watched.watch.watch_function(function)
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


# ---- ids


def test_ids_are_given_back(engine: Engine) -> None:
    for _ in range(20):
        found = watching.start(engine)
        found.close()
        found.close()


def test_when_ids_run_out_nothing_is_kept(engine: Engine) -> None:
    found: list[Watching] = []
    try:
        for _ in range(20):
            found.append(watching.start(engine))
    except WatcherIdsTaken as error:
        assert "AddWatcher" in str(error)  # noqa: PT017 - how many times it takes is not known
    count = len(found)
    with pytest.raises(WatcherIdsTaken):
        watching.start(engine)
    assert 0 < count < 20
    found.pop().close()
    found.append(watching.start(engine))
    for one in found:
        one.close()
    assert count == len(found)


CONTENT = "define i32 @content() {\n  ret i32 0\n}"


def count_and_give_back(prefix: str, callback: int) -> int:
    """How many ids of one sort of watcher are free."""
    taken = take_all(prefix, callback)
    for number in taken:
        assert clear(prefix)(number) == 0
    return len(taken)


def take_all(prefix: str, callback: int) -> list[int]:
    add = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)((f"{prefix}_AddWatcher", ctypes.pythonapi))
    taken: list[int] = []
    try:
        while True:
            taken.append(add(callback))
    except RuntimeError:
        return taken


def clear(prefix: str) -> Callable[[int], int]:
    return ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int)((f"{prefix}_ClearWatcher", ctypes.pythonapi))


@pytest.mark.parametrize("prefix", CALLBACKS.values())
def test_if_one_sort_has_no_id_left_the_others_are_given_back(engine: Engine, prefix: str) -> None:
    code = engine.compile(CONTENT, name="content")
    callback = code.address("content")
    before = {other: count_and_give_back(other, callback) for other in CALLBACKS.values()}
    assert all(before.values())
    taken = take_all(prefix, callback)
    try:
        with pytest.raises(WatcherIdsTaken, match=f"{prefix}_AddWatcher"):
            watching.start(engine)
        after = {other: count_and_give_back(other, callback) for other in CALLBACKS.values()}
        assert after == before | {prefix: 0}
    finally:
        for number in taken:
            clear(prefix)(number)
    watching.start(engine).close()
    code.close()


TAKEN = """
import ctypes, sys, warnings
import minijit

def make():
    namespace = {}
    exec("def f(n, m):\\n s = 0\\n for i in range(n): s += i * m\\n return s", namespace)
    return namespace["f"]

# As a C library would: an address of code that returns 0.
harmless = ctypes.cast(ctypes.pythonapi.PyErr_CheckSignals, ctypes.c_void_p)
taken = []
try:
    while True:
        taken.append(getattr(ctypes.pythonapi, sys.argv[1] + "_AddWatcher")(harmless))
except RuntimeError:
    pass
assert len(taken) == 8
warnings.simplefilter("always")
functions = [minijit.jit(make()) for _ in range(3)]
idle = minijit.jit(make())
with warnings.catch_warnings(record=True) as caught:
    for f in functions:
        for n in range(200):
            assert f(n, 3) == 3 * n * (n - 1) // 2
    assert minijit.jit(make())(5, 1) == 10
assert [w.category for w in caught] == [minijit.UnsupportedWarning], caught
assert sys.argv[1] + "_AddWatcher" in str(caught[0].message)
assert not minijit.is_enabled() and not minijit.is_compiled(f)
assert sys.monitoring.get_tool(sys.monitoring.OPTIMIZER_ID) is None
for cold in (idle, minijit.jit(make())):
    assert cold.__code__._co_code_adaptive == make().__code__._co_code_adaptive
print("done")
"""


@pytest.mark.parametrize("prefix", ["PyDict", "PyCode"])
def test_without_an_id_functions_run_as_they_are(run_python: RunPython, prefix: str) -> None:
    done = run_python(TAKEN, prefix)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_closing_ends_all_reports(engine: Engine) -> None:
    namespace: dict[str, object] = {"key": 1}
    watched = watching.start(engine)
    watched.watch.watch_dict_key(namespace, "key")
    watched.watch.close()
    second = watching.start(engine)
    namespace["key"] = 2
    namespace.clear()
    del namespace
    assert second.taken() == watched.taken() == []
    second.close()
    watched.close()


def test_giving_up_what_was_not_watched_is_an_error(watched: Watching) -> None:
    for give_up in (
        lambda: watched.watch.unwatch_function(id(fail)),
        lambda: watched.watch.unwatch_code(id(fail.__code__)),
        lambda: watched.watch.unwatch_dict_key(id(globals()), "fail"),
        lambda: watched.watch.unwatch_type(int),
    ):
        with pytest.raises(KeyError):
            give_up()


# ---- the end of the interpreter

EXIT = """
import atexit, sys, threading, time
import watching
from minijit.backend.engine import Engine

found = watching.start(Engine())
atexit.register(found.close)
names = dict.fromkeys("abc")
class Kept: pass
def function(): pass
found.watch.watch_dict_key(names, "a")
found.watch.watch_dict_key(globals(), "function")
found.watch.watch_dict_key(vars(sys.modules["builtins"]), "len")
found.watch.watch_type(Kept)
found.watch.watch_function(function)
found.watch.watch_code(function.__code__)
names["a"] = 1
function.__defaults__ = ()
assert found.changes.are_due
"""

DAEMON = """
def work():
    while True:
        globals()["function"] = lambda: 0
        names["a"] = object()
        Kept.x = time
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
"""

SUBINTERPRETER = """
import _xxsubinterpreters as interpreters
other = interpreters.create()
interpreters.run_string(other, "def f(): pass\\nx = {}\\nx['a'] = 1\\nclass C: pass\\nC.y = 1\\ndel f, C")
before = len(found.reports)
found.noted()
interpreters.run_string(other, "len = 5; import builtins; builtins.len = 7")
assert len(found.reports) == before and not found.changes.are_due
if __name__ == "__main__" and len(sys.argv) == 1:
    interpreters.destroy(other)
"""


@pytest.mark.parametrize(
    "extra", ["", DAEMON, SUBINTERPRETER, SUBINTERPRETER + DAEMON], ids="plain daemon sub both".split()
)
def test_the_interpreter_ends_in_peace(run_python: RunPython, extra: str) -> None:
    done = run_python(EXIT + extra + "\nassert found.reports\nprint('done')", env=PROGRAM_PATH)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
