"""Watchers begin and end: the ids that they take and give back, and interpreters that end with watchers registered.

In: other libraries that have taken ids, closed watchers, programs that end in several ways, each in a process of its
own. Out: errors that say what is missing, ids that are free again, and processes that end well.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import watching
from watching import Watching

from conftest import ROOT, RunPython
from minijit.backend.engine import Engine
from minijit.cpython.watch import CALLBACKS, WatcherIdsTaken

PROGRAM_PATH = {"PYTHONPATH": f"{ROOT / 'src'}:{Path(__file__).resolve().parent}"}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def watched(engine: Engine) -> Iterator[Watching]:
    found = watching.start(engine)
    yield found
    found.close()


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
        lambda: watched.watch.unwatch_function(id(clear)),
        lambda: watched.watch.unwatch_code(id(clear.__code__)),
        lambda: watched.watch.unwatch_dict_key(id(globals()), "clear"),
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
found.watch.watch_function(id(function))
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
