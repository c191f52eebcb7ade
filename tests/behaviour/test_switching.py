"""On and off: one driver at a time whoever asks and when, nothing left behind, and clear words where it cannot be."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from isolated import isolated
from twin import LOW, Patient, compiled_from, enabled

import minijit
from minijit.events import Compiled, Killed

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = "def f(n, k=2):\n    s = 0\n    for i in range(n):\n        s += i * k\n    return s\n"
OPTIMIZER = sys.monitoring.OPTIMIZER_ID
NEVER = minijit.Config(call_threshold=10**6, loop_threshold=10**6)
"""Nothing gets hot."""


def in_threads(count: int, work: Callable[[], object]) -> list[str]:
    """Runs `work` in several threads at once; what was raised there."""
    barrier, errors = threading.Barrier(count), []

    def run() -> None:
        barrier.wait()
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the caller looks at it
            errors.append(repr(error))

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def is_compiled_when_hot(f: Any) -> bool:
    for _ in range(60):
        assert f(30) == 870
    return minijit.is_compiled(f)


# Switching


@isolated
def test_enabling_twice() -> None:
    """Is an error; disabling twice is none."""
    with minijit.enable():
        assert minijit.is_enabled()
        with pytest.raises(RuntimeError, match="enabled already"):
            minijit.enable()
        assert minijit.is_enabled()
    assert not minijit.is_enabled()
    minijit.disable()
    minijit.disable()
    with pytest.raises(KeyError), minijit.enable():
        raise KeyError(1)
    assert not minijit.is_enabled()


@isolated
def test_threads_that_decorate_first() -> None:
    """Whoever comes first starts minijit; all functions are taken on, without a warning."""
    warnings.simplefilter("error")
    sys.setswitchinterval(1e-6)
    functions = [compiled_from(SOURCE) for _ in range(8)]
    waiting = list(functions)
    assert in_threads(8, lambda: minijit.jit(policy=Patient(LOW))(waiting.pop())) == []
    sys.setswitchinterval(0.005)
    assert minijit.is_enabled()
    assert all("not hot yet" in str(minijit.explain(f)) for f in functions)


@isolated
def test_threads_that_switch() -> None:
    """One of those that enable it succeeds; each round leaves nothing behind."""
    warnings.simplefilter("error")
    sys.setswitchinterval(1e-6)
    f = compiled_from(SOURCE)
    minijit.jit(f)
    for _ in range(30):
        minijit.disable()
        errors = in_threads(4, lambda: minijit.enable(LOW))
        assert len(errors) == 3, errors
        assert all("enabled already" in error for error in errors)
        errors = in_threads(4, lambda: (minijit.disable(), minijit.enable(LOW)))
        assert all("enabled already" in error for error in errors)
    sys.setswitchinterval(0.005)
    assert is_compiled_when_hot(f)
    minijit.disable()
    assert leftovers(f) == []


def in_the_midst(action: Callable[[], None]) -> None:
    """Has a subscriber call `action` when a region goes into service, and gives minijit occasion for that."""
    done: list[object] = []

    def once(event: object) -> None:
        if isinstance(event, Compiled) and not done:
            done.append(event)
            action()

    stop = minijit.subscribe(once)
    assert not is_compiled_when_hot(minijit.jit(compiled_from(SOURCE)))
    assert done
    stop()


@isolated
def test_switching_in_the_midst_of_our_work() -> None:
    """A subscriber, or a finaliser, takes minijit out of service and back, with another configuration."""

    class Finalised:
        def __del__(self) -> None:
            again()

    def again() -> None:
        with pytest.raises(RuntimeError, match="enabled already"):
            minijit.enable()
        minijit.disable()
        assert not minijit.is_enabled()
        minijit.enable(NEVER)
        assert minijit.is_enabled()
        with pytest.raises(RuntimeError, match="enabled already"):
            minijit.enable()
        minijit.jit(late)

    warnings.simplefilter("error")
    objects = [Finalised()]
    for action in (again, objects.clear):
        late = compiled_from(SOURCE)
        with minijit.enable(LOW):
            in_the_midst(action)
            assert minijit.is_enabled()
            assert "0 of 1000000 calls" in str(minijit.explain(late)), str(minijit.explain(late))
        assert leftovers(late) == []
    with minijit.enable(LOW):
        assert is_compiled_when_hot(late)


@isolated
def test_switching_between_the_end_of_one_and_the_beginning_of_the_next() -> None:
    """What ends tells its subscribers, when what is to come next is settled already."""
    warnings.simplefilter("error")
    asked = []

    def ask_too(event: object) -> None:
        if isinstance(event, Killed) and not asked:
            asked.append(event)
            minijit.enable(LOW)

    def again() -> None:
        minijit.disable()
        minijit.enable(NEVER)

    f = compiled_from(SOURCE)
    with minijit.enable(LOW):
        minijit.jit(f)
        assert is_compiled_when_hot(f)
        minijit.subscribe(ask_too)
        in_the_midst(again)
        assert asked
        assert minijit.is_enabled()
    assert not minijit.is_enabled()
    assert leftovers(f) == []


@isolated
def test_going_off_in_the_midst_of_our_work() -> None:
    """For good, until somebody enables it."""
    with minijit.enable(LOW):
        in_the_midst(minijit.disable)
        assert not minijit.is_enabled()
    assert leftovers() == []


# Starting by itself


@isolated
def test_decorating_starts_it_once() -> None:
    """While minijit is off on purpose, `jit` and `compile` only take note of functions, which `enable` takes on."""
    f = minijit.jit(compiled_from(SOURCE))
    assert minijit.is_enabled()
    minijit.disable()
    g = minijit.jit(compiled_from(SOURCE))
    assert minijit.compile(compiled_from(SOURCE), int, int) is False
    assert not minijit.is_enabled()
    assert not is_compiled_when_hot(f)
    assert "not enabled" in str(minijit.explain(g))
    for _ in range(2):
        with minijit.enable(LOW):
            assert not minijit.is_compiled(f)
            assert is_compiled_when_hot(f)
            assert is_compiled_when_hot(g)


@isolated
def test_it_can_be_off_from_the_first() -> None:
    """`disable` before anything was decorated."""
    minijit.disable()
    assert not is_compiled_when_hot(minijit.jit(compiled_from(SOURCE)))
    assert not minijit.is_enabled()


AT_EXIT = f"""
import atexit, sys, warnings
warnings.simplefilter("always")

@atexit.register
def late():
    minijit.jit(f)
    for _ in range(60): assert f(100) == 9900
    print(minijit.is_enabled(), sys.monitoring.get_tool(5))
    minijit.enable()
    print(minijit.is_enabled(), sys.monitoring.get_tool(5))
    sys.kept = [f]

import minijit
{SOURCE}
if len(sys.argv) > 1:
    minijit.jit(f)
    for _ in range(60): f(100)
minijit.is_enabled()
"""


@pytest.mark.parametrize("arguments", [(), ("decorated before",)])
def test_nothing_starts_when_the_interpreter_ends(arguments: tuple[str, ...], run_python: Any) -> None:
    """Nobody would be left to take it back."""
    done = run_python(AT_EXIT, *arguments)
    assert (done.returncode, done.stdout) == (0, "False None\nFalse None\n"), done.stderr
    assert "minijit is off: the interpreter is about to end" in done.stderr


# Taking everything back


def free_watchers() -> dict[str, int]:
    """How many of the eight watcher ids of each sort are free, by trying to take them all."""
    signatures = {
        "PyDict": ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4),
        "PyFunction": ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3),
        "PyType": ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p),
        "PyCode": ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 2),
    }
    free: dict[str, int] = {}
    for prefix, signature in signatures.items():
        callback = signature(lambda *_: 0)
        taken = all_watchers(prefix, callback)
        for number in taken:
            getattr(ctypes.pythonapi, f"{prefix}_ClearWatcher")(number)
        free[prefix] = len(taken)
    return free


def all_watchers(prefix: str, callback: Any) -> list[int]:
    """Takes all watcher ids of one sort that are free."""
    taken = []
    while True:
        try:
            taken.append(getattr(ctypes.pythonapi, f"{prefix}_AddWatcher")(callback))
        except RuntimeError:
            return taken


def leftovers(*functions: Any) -> list[str]:
    """What is left of minijit in the interpreter and in these functions: nothing, after `disable`."""
    from minijit.cpython import hooks

    left = [] if sys.monitoring.get_tool(OPTIMIZER) is None else ["the tool id"]
    for function in functions:
        if hooks.vectorcall_of(id(function)) != hooks.PLAIN_VECTORCALL:
            left.append(f"an entry of {function}")
        if sys.monitoring.get_tool(OPTIMIZER) and sys.monitoring.get_local_events(OPTIMIZER, function.__code__):
            left.append(f"events of {function}")
    return left


@isolated
def test_leftovers_are_seen() -> None:
    """The check that the other tests rely on fails while minijit is in service."""
    before = free_watchers()
    with enabled():
        f = minijit.jit(compiled_from(SOURCE))
        assert leftovers(f) == ["the tool id", f"events of {f}"]
        assert is_compiled_when_hot(f)
        assert f"an entry of {f}" in leftovers(f)
        assert free_watchers() != before


@isolated
def test_disable_restores_everything() -> None:
    """Vectorcalls, the tool id, local events, watchers; again and again, with and without compiled functions."""
    before = free_watchers()
    f = compiled_from(SOURCE)
    for turn in range(12):
        minijit.enable(LOW)
        minijit.jit(f)
        for _ in range(15 * (turn % 3)):
            assert f(30) == 870
        if turn % 3:
            assert minijit.is_compiled(f)
        minijit.disable()
        assert leftovers(f) == []
        assert free_watchers() == before
        assert f(30) == 870


@isolated
def test_importing_changes_nothing() -> None:
    """No tool, no watcher, no ctypes, no llvmlite."""
    code = (
        "import sys; before = set(sys.modules); import minijit; new = set(sys.modules) - before;"
        "print([m for m in ('ctypes', 'llvmlite', 'minijit.driver') if m in new], sys.monitoring.get_tool(5))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "[] None\n"


# Where it cannot be


def next_line() -> tuple[str, int]:
    """Where the line after the call stands."""
    frame = sys._getframe(1)
    return frame.f_code.co_filename, frame.f_lineno + 1


@isolated
def test_somebody_else_has_the_tool_id() -> None:
    """Functions come back unchanged, with one warning; everything else is harmless, and `enable` tries again."""
    sys.monitoring.use_tool_id(OPTIMIZER, "another jit")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f = compiled_from(SOURCE)
        assert minijit.jit(f) is f
        assert minijit.jit(policy=Patient(LOW))(f) is f
        assert f(30) == 870
        assert minijit.compile(f, int, int) is False
        assert not minijit.is_compiled(f)
        assert "another jit" in str(minijit.explain(f))
        minijit.release(f)
        assert minijit.stats(f) == minijit.Stats()
        minijit.jit(compiled_from(SOURCE))
        with minijit.enable():
            assert not minijit.is_enabled()
            assert not is_compiled_when_hot(f)
    assert [w.category for w in caught] == [minijit.UnsupportedWarning], [str(w.message) for w in caught]
    assert "another jit" in str(caught[0].message)
    assert sys.monitoring.get_tool(OPTIMIZER) == "another jit"
    sys.monitoring.free_tool_id(OPTIMIZER)
    with minijit.enable(LOW):
        assert is_compiled_when_hot(f)
    assert "another jit" not in str(minijit.explain(f)), "that was then"


@isolated
def test_the_warning_is_at_the_callers_line() -> None:
    """Whichever of our functions was called."""
    found: list[tuple[str, int]] = []

    def decorated() -> None:
        found.append(next_line())
        minijit.jit(compiled_from(SOURCE))

    def with_options() -> None:
        found.append(next_line())
        minijit.jit(eager=False)(compiled_from(SOURCE))

    def enabled_here() -> None:
        found.append(next_line())
        minijit.enable()

    def compiled_here() -> None:
        found.append(next_line())
        minijit.compile(compiled_from(SOURCE), int, int)

    sys.monitoring.use_tool_id(OPTIMIZER, "another jit")
    for call in (decorated, with_options, enabled_here, compiled_here):
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0, call
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        os._exit([(w.filename, w.lineno) for w in caught] != found)


@isolated
def test_somebody_else_has_all_watchers() -> None:
    """The same, found out when the first function runs; where warnings are errors, nobody is there to catch one."""
    callback = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(lambda *_: 0)
    taken = all_watchers("PyDict", callback)
    f = compiled_from(SOURCE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        minijit.jit(f)
        assert not is_compiled_when_hot(f)
        assert not minijit.is_enabled()
        assert "PyDict_AddWatcher" in str(minijit.explain(f)), str(minijit.explain(f))
        assert minijit.compile(f, int, int) is False
        eager = minijit.jit(eager=True)(compiled_from("def f(a: int):\n    return a\n"))
        minijit.enable()
        assert not minijit.is_enabled(), "because of the eager function"
    assert [w.category for w in caught] == [minijit.UnsupportedWarning], caught
    assert leftovers(f, eager) == []
    for number in taken:
        ctypes.pythonapi.PyDict_ClearWatcher(number)
    with minijit.enable(LOW):
        assert is_compiled_when_hot(f)
        assert minijit.is_compiled(eager)


NO_WATCHERS = f"""
import ctypes, sys
callback = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(lambda *_: 0)
try:
    while True: ctypes.pythonapi.PyDict_AddWatcher(callback)
except RuntimeError: pass
import minijit
{SOURCE}
minijit.jit(f)
print(f(30), minijit.is_enabled())
"""


def test_a_warning_in_the_midst_of_the_program_is_no_error(run_python: Any) -> None:
    """Where warnings are errors it is printed: a call that has nothing to do with minijit is no place to raise."""
    done = run_python("import warnings; warnings.simplefilter('error')\n" + NO_WATCHERS)
    assert (done.returncode, done.stdout) == (0, "870 False\n"), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("minijit: minijit is off: ")
    assert "PyDict_AddWatcher" in line
