"""Watchers: what is reported and what is not, that nothing else can be noticed of them, and that they end.

In: changes to dicts, functions, classes and code objects. Out: the reports that reach a handler. What happens at the
end of an interpreter runs in a process of its own.
"""

from __future__ import annotations

import builtins
import gc
import sys
import threading
import tracemalloc
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import watching
from watching import Watching

from conftest import ROOT, RunPython
from minijit.backend.engine import Engine
from minijit.cpython.watch import CodeEvent, DictEvent, FunctionEvent, Watched, WatcherIdsTaken

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


def test_a_watched_key_is_reported_before_it_changes(watched: Watching) -> None:
    namespace: dict[str, object] = {"key": 1}
    seen: list[object] = []
    watched.watch.watch_dict_key(namespace, "key")
    watched.handle(lambda _kind, event, subject, _key, new: seen.append((event, subject, dict(namespace), new)))
    namespace["key"] = 2
    del namespace["key"]
    namespace["key"] = 3
    address = id(namespace)
    assert seen == [
        (DictEvent.MODIFIED, address, {"key": 1}, 2),
        (DictEvent.DELETED, address, {"key": 2}, None),
        (DictEvent.ADDED, address, {}, 3),
    ]


def test_other_keys_and_other_dicts_are_not_reported(watched: Watching) -> None:
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
    namespace[another] = 2
    assert watched.taken() == [(Watched.DICT, DictEvent.MODIFIED, another, 2)]


def test_a_key_that_is_no_plain_string_is_always_reported(watched: Watching) -> None:
    class Name(str):
        __slots__ = ()

    namespace: dict[object, object] = {"key": 1}
    watched.watch.watch_dict_key(namespace, "key")  # type: ignore[arg-type]
    namespace[5] = 1
    namespace[Name("unrelated")] = 2
    namespace[Name("key")] = 3
    events = [DictEvent.ADDED, DictEvent.ADDED, DictEvent.MODIFIED]
    assert [event for _, event, _, _ in watched.taken()] == events


def test_every_way_to_change_a_key_is_reported(watched: Watching) -> None:
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
        lambda d: setattr(types.SimpleNamespace(), "key", 1) or d.update({"key": 2}),
    ]
    for number, change in enumerate(changes):
        namespace: dict[str, object] = {"key": 1}
        watched.watch.watch_dict_key(namespace, "key")
        change(namespace)
        assert watched.taken(), number
        watched.watch.unwatch_dict_key(id(namespace), "key")


def test_attributes_of_a_module_are_keys_of_its_dict(watched: Watching) -> None:
    module = types.ModuleType("module")
    module.key = 1  # type: ignore[attr-defined]
    watched.watch.watch_dict_key(vars(module), "key")
    for value in range(2, 40):  # often enough for the store to be specialised
        module.key = value  # type: ignore[attr-defined]
        assert watched.taken() == [(Watched.DICT, DictEvent.MODIFIED, "key", value)]


def test_builtins_can_be_watched(watched: Watching) -> None:
    watched.watch.watch_dict_key(vars(builtins), "a_probe_of_minijit")
    builtins.another_probe_of_minijit = 1  # type: ignore[attr-defined]
    builtins.a_probe_of_minijit = 1  # type: ignore[attr-defined]
    del builtins.a_probe_of_minijit, builtins.another_probe_of_minijit  # type: ignore[attr-defined]
    assert [event for _, event, _, _ in watched.taken()] == [DictEvent.ADDED, DictEvent.DELETED]


def test_what_befalls_the_whole_dict_is_reported(watched: Watching) -> None:
    namespace: dict[str, object] = {"other": 1}
    watched.watch.watch_dict_key(namespace, "key")
    namespace.clear()
    assert watched.taken() == [(Watched.DICT, DictEvent.CLEARED, None, None)]
    source = {"a": 1}
    namespace.update(source)
    assert watched.taken() == [(Watched.DICT, DictEvent.CLONED, source, None)]


def test_the_end_of_a_dict_is_reported_with_its_address(watched: Watching) -> None:
    namespace: dict[str, object] = {"key": 1}
    address = id(namespace)
    watched.watch.watch_dict_key(namespace, "key")
    watched.handle(
        lambda kind, event, subject, key, new: (
            watched.reports.append((kind, event, subject, key, new)),
            watched.watch.unwatch_dict_key(subject, "key", dying=True),
        )
    )
    del namespace
    assert watched.reports == [(Watched.DICT, DictEvent.DEALLOCATED, address, None, None)]
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
        (Watched.FUNCTION, FunctionEvent.MODIFY_CODE, None, code),
        (Watched.FUNCTION, FunctionEvent.MODIFY_DEFAULTS, None, defaults),
        (Watched.FUNCTION, FunctionEvent.MODIFY_KWDEFAULTS, None, keywords),
    ]
    watched.watch.unwatch_function(id(function))
    function.__defaults__ = (3,)
    assert watched.taken() == []


def test_the_end_of_a_function_is_reported_with_its_address(watched: Watching) -> None:
    function = make_function()
    address = id(function)
    watched.watch.watch_function(function)
    del function
    assert watched.reports == [(Watched.FUNCTION, FunctionEvent.DESTROY, address, None, None)]
    watched.watch.unwatch_function(address)


def test_new_functions_of_a_watched_code_object_are_reported(watched: Watching) -> None:
    code = make_function().__code__
    watched.watch.watch_code(code)
    kept = [types.FunctionType(code, {}) for _ in range(3)]
    make_function()
    assert watched.reports == [(Watched.FUNCTION, FunctionEvent.CREATE, id(f), None, None) for f in kept]


def test_the_end_of_a_code_object_is_reported_with_its_address(watched: Watching) -> None:
    code = make_function().__code__
    address = id(code)
    watched.watch.watch_code(code)
    del code
    assert watched.reports == [(Watched.CODE, CodeEvent.DESTROY, address, None, None)]
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
    assert watched.reports == [(Watched.TYPE, 0, id(Watchable), None, None)]
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
    assert [subject for _, _, subject, _, _ in watched.reports] == [id(Derived)]


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

    def handler(kind: int, event: int, subject: int, key: object, new: object) -> None:
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

    def change() -> None:
        try:
            fail()
        finally:
            del namespace["key"]

    with pytest.raises(Boom):
        change()
    try:
        fail()
    except Boom as error:
        namespace["key"] = sys.exception(), error, error.__context__
    handled, caught, context = namespace["key"]  # type: ignore[misc]
    assert handled is caught
    assert context is None
    assert [event for _, event, _, _ in watched.taken()] == [DictEvent.DELETED, DictEvent.ADDED]
    with pytest.raises(KeyError):
        del namespace["no key"]


def test_a_handler_that_raises_is_reported_and_does_no_harm(watched: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append((args.exc_type, args.object)))

    def handler(*_: object) -> None:
        raise ValueError

    namespace: dict[str, object] = {}
    watched.watch.watch_dict_key(namespace, "key")
    watched.handle(handler)
    namespace["key"] = 1
    assert namespace == {"key": 1}
    assert unraisable == [(ValueError, handler)]


def test_without_a_handler_nothing_is_reported(watched: Watching) -> None:
    namespace: dict[str, object] = {}
    watched.watch.watch_dict_key(namespace, "key")
    watched.handle(None)
    namespace["key"] = 1
    assert watched.reports == []


def test_reports_leak_nothing(watched: Watching) -> None:
    key, value, other = "a key that is no constant"[:], object(), object()
    namespace: dict[str, object] = {key: value}
    watched.watch.watch_dict_key(namespace, key)
    handler = note_nothing
    watched.handle(handler)

    def change() -> None:
        for _ in range(500):
            namespace[key] = other
            namespace[key] = value
            function = make_function()
            watched.watch.watch_function(function)
            address = id(function)
            del function
            watched.watch.unwatch_function(address)

    change()
    things = (key, value, other, handler, namespace)
    before = [sys.getrefcount(thing) for thing in things]
    tracemalloc.start()
    try:
        change()
        gc.collect()
        small = tracemalloc.get_traced_memory()[0]
        change()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - small
    finally:
        tracemalloc.stop()
    assert [sys.getrefcount(thing) for thing in things] == before
    assert grown < 4000


def note_nothing(*_: object) -> object:
    """A handler that forgets, and returns something that can be leaked."""
    return []


def test_no_report_is_missed_while_the_filter_grows(watched: Watching) -> None:
    """The filter's table moves again and again while another thread's changes are looked up in it."""
    namespace: dict[str, object] = {}
    reports = 0
    changes = 0
    stop = False

    def handler(*_: object) -> None:
        nonlocal reports
        reports += 1

    def change() -> None:
        nonlocal changes
        while not stop:
            namespace["key"] = changes = changes + 1

    for key in range(1, 1000):
        watched.filters.dict_keys[key * 1_000_003] = 1
    watched.watch.watch_dict_key(namespace, "key")
    watched.handle(handler)
    thread = threading.Thread(target=change)
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
    assert reports == changes > 100


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


def test_closing_ends_all_reports(engine: Engine) -> None:
    namespace: dict[str, object] = {"key": 1}
    watched = watching.start(engine)
    watched.watch.watch_dict_key(namespace, "key")
    watched.watch.close()
    second = watching.start(engine)
    namespace["key"] = 2
    namespace.clear()
    assert second.reports == watched.reports == []
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
interpreters.run_string(other, "len = 5; import builtins; builtins.len = 7")
assert len(found.reports) == before
if __name__ == "__main__" and len(sys.argv) == 1:
    interpreters.destroy(other)
"""


@pytest.mark.parametrize(
    "extra", ["", DAEMON, SUBINTERPRETER, SUBINTERPRETER + DAEMON], ids="plain daemon sub both".split()
)
def test_the_interpreter_ends_in_peace(run_python: RunPython, extra: str) -> None:
    done = run_python(EXIT + extra + "\nassert found.reports\nprint('done')", env=PROGRAM_PATH)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
