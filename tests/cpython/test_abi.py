"""Layouts and calibration: they hold here, a wrong one is found out and named, and looking leaves no trace.

In: the declared layouts, and wrong ones. Out: the checks, and what `supported` says. Whatever reads through a wrong
layout runs in a process of its own.
"""

from __future__ import annotations

import json
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from conftest import RunPython
from minijit.cpython import abi, raw
from minijit.cpython.abi import Interpreter, Unsupported, UnsupportedReason

MONITORING = sys.monitoring

SHIFT = """
import dataclasses, json, sys
from minijit.cpython import abi

def shifted(field, by):
    struct, name = field.split(".")
    old = getattr(abi.LAYOUTS, struct)
    new = dataclasses.replace(old, **{name: getattr(old, name) + by})
    return dataclasses.replace(abi.LAYOUTS, **{struct: new})
"""
SHIFTED = (
    SHIFT
    + """
found = {}
for field in abi.all_fields():
    print(field, file=sys.stderr)  # the last line, should one of them crash
    layouts = shifted(field, int(sys.argv[1]))
    found[field] = [name for check in abi.self_check(layouts) if not check.ok for name in check.fields]
    assert isinstance(abi.supported(layouts), abi.Unsupported) is bool(found[field])
print(json.dumps(found))
"""
)


def test_the_layouts_hold() -> None:
    assert [check for check in abi.self_check() if not check.ok] == []


def test_every_field_is_checked() -> None:
    covered = {field for check in abi.self_check() for field in check.fields}
    assert covered == set(abi.all_fields())


@pytest.mark.parametrize("by", [8, 4, -4, -8])
def test_every_shifted_field_is_found_and_named(run_python: RunPython, by: int) -> None:
    done = run_python(SHIFTED, by)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    assert set(found) == set(abi.all_fields())
    assert [field for field, named in found.items() if field not in named] == []


def test_a_mismatch_names_what_is_wrong(run_python: RunPython) -> None:
    program = SHIFT + "print(abi.supported(shifted('frame.stacktop', 8)))"
    said = run_python(program).stdout
    assert "LAYOUT" in said
    assert "frame.stacktop" in said


INFO = """
from minijit.__main__ import main
abi.self_check.__defaults__ = abi.supported.__defaults__ = (shifted("frame.stacktop", int(sys.argv[1])),)
sys.exit(main(["info"]))
"""


@pytest.mark.parametrize("by", [0, 8])
def test_the_command_line_shows_every_check(run_python: RunPython, by: int) -> None:
    done = run_python(SHIFT + INFO, by)
    first, *checks, last = done.stdout.splitlines()
    assert first.startswith("minijit ")
    assert "CPython 3.12" in first
    assert len(checks) == len(abi.self_check())
    assert done.returncode == (1 if by else 0), done.stderr
    assert [line for line in checks if not line.startswith("ok ")] == [
        line for line in checks if "stack depth" in line
    ][: bool(by)]
    assert last.startswith("not supported: ") if by else last == "supported"
    assert ("frame.stacktop" in last) == bool(by)


def test_the_command_line_is_a_module(run_python: RunPython) -> None:
    done = run_python("import runpy, sys; sys.argv[1:] = ['info']; runpy.run_module('minijit', run_name='__main__')")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "supported"), done.stderr


# ---- where the interpreter keeps things


def offset() -> int:
    """Where the eval breaker was found, from the beginning of the interpreter state."""
    found = abi.supported()
    assert isinstance(found, Interpreter), found
    return found.eval_breaker - found.state


@pytest.mark.skipif(sys.version_info[:3] != (3, 12, 1), reason="known from the headers of 3.12.1")
def test_the_eval_breaker_is_where_it_is_known_to_be() -> None:
    assert offset() == 368


PENDING = """
import collections, itertools, operator, struct
from minijit.cpython import abi, raw
import ctypes

SIZE = 4096
found = abi.supported()
before, after = raw.Buffer(SIZE), raw.Buffer(SIZE)
add = ctypes.pythonapi.Py_AddPendingCall
add.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
# Something to call that does nothing and is content.
harmless = raw.symbol("PyErr_CheckSignals")
# All by C functions in a row, so that nothing handles the call before it was seen.
steps = [(raw.copy, buffer.address, found.state, SIZE) for buffer in (before, after)]
steps.insert(1, (add, harmless, None))
collections.deque(itertools.starmap(operator.call, steps), maxlen=0)
words = struct.Struct(f"{SIZE // 4}i")
old, new = (words.unpack(raw.read_bytes(buffer.address, SIZE)) for buffer in (before, after))
raised = [4 * k for k, change in enumerate(zip(old, new)) if change == (0, 1)]
assert found.eval_breaker - found.state in raised, raised
assert raw.read_i32(found.eval_breaker) == 0
print(raised)
"""


def test_a_pending_call_changes_the_eval_breaker(run_python: RunPython) -> None:
    done = run_python(PENDING)
    assert done.returncode == 0, done.stderr


def test_the_version_of_monitoring_is_found() -> None:
    found = abi.supported()
    assert isinstance(found, Interpreter)
    with tool() as number:
        before = raw.read_u64(found.monitoring_version)
        MONITORING.set_events(number, MONITORING.events.PY_THROW)
        assert raw.read_u64(found.monitoring_version) == before + 1


def test_any_thread_may_ask_while_others_are_busy() -> None:
    expected, answers, stop = offset(), set(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            pass

    def ask() -> None:
        answers.update(offset() for _ in range(15))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    asking = threading.Thread(target=ask)
    asking.start()
    ask()
    asking.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert answers == {expected}


def test_the_eval_breaker_is_left_alone() -> None:
    found = abi.supported()
    assert isinstance(found, Interpreter)
    flags = {raw.read_i32(found.eval_breaker) for _ in range(1000)}
    assert 0 in flags


# ---- beside other tools


@contextmanager
def tool() -> Iterator[int]:
    number = next(n for n in range(6) if MONITORING.get_tool(n) is None)
    MONITORING.use_tool_id(number, "a test")
    try:
        yield number
    finally:
        MONITORING.set_events(number, 0)
        MONITORING.free_tool_id(number)


def test_other_tools_do_not_disturb() -> None:
    expected = offset()
    events = MONITORING.events
    with tool() as first, tool() as second:
        MONITORING.set_events(first, events.PY_START | events.JUMP | events.INSTRUCTION)
        MONITORING.set_events(second, events.PY_RETURN | events.CALL)
        assert offset() == expected
        MONITORING.set_events(first, 0)
        assert offset() == expected
    assert offset() == expected


@pytest.mark.parametrize("register", [sys.setprofile, sys.settrace])
def test_profilers_and_debuggers_do_not_disturb(register: Callable[[object], None]) -> None:
    before = sys.getprofile() if register is sys.setprofile else sys.gettrace()
    register(lambda *_: None)
    try:
        found = abi.supported()
    finally:
        register(before)
    assert isinstance(found, Interpreter)


@pytest.mark.parametrize("register", [sys.setprofile, sys.settrace])
def test_it_works_where_events_are_off(register: Callable[[object], None]) -> None:
    """In a debugger's command line, say."""
    before = sys.getprofile() if register is sys.setprofile else sys.gettrace()
    found: list[object] = []

    def look(*_: object) -> None:
        register(before)
        found.append(abi.supported())

    register(look)
    len(())
    offset()
    register(before)
    assert len(found) == 1
    assert isinstance(found[0], Interpreter), found[0]


def test_it_works_in_a_callback_of_another_tool() -> None:
    found: list[object] = []

    def probe() -> None:
        pass

    with tool() as number:
        MONITORING.register_callback(number, MONITORING.events.PY_START, lambda *_: found.append(abi.supported()))
        MONITORING.set_local_events(number, probe.__code__, MONITORING.events.PY_START)
        probe()
        MONITORING.set_local_events(number, probe.__code__, 0)
        MONITORING.register_callback(number, MONITORING.events.PY_START, None)
    assert [type(one) for one in found] == [Interpreter]


def test_looking_leaves_no_trace() -> None:
    tools = [MONITORING.get_tool(n) for n in range(6)]
    abi.supported()
    assert [MONITORING.get_tool(n) for n in range(6)] == tools
    with tool() as number:
        assert MONITORING.get_events(number) == 0
        assert MONITORING.register_callback(number, MONITORING.events.PY_START, None) is None


def test_it_takes_next_to_no_time() -> None:
    def once() -> float:
        start = time.perf_counter()
        abi.supported()
        return time.perf_counter() - start

    assert min(once() for _ in range(5)) < 0.010


def test_a_check_says_what_was_found() -> None:
    for check in abi.self_check():
        assert (check.ok, check.detail) == (True, "")
        assert check.name


# ---- elsewhere


def refusal() -> UnsupportedReason:
    found = abi.supported()
    assert isinstance(found, Unsupported)
    return found.reason


def test_where_it_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(platform, "python_implementation", lambda: "PyPy")
        assert refusal() is UnsupportedReason.IMPLEMENTATION
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", (3, 13, 0))
        assert refusal() is UnsupportedReason.VERSION
    for name, value in (("platform", "darwin"), ("maxsize", 2**31 - 1)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, value)
            assert refusal() is UnsupportedReason.MACHINE
    with monkeypatch.context() as patch:
        patch.setattr(platform, "machine", lambda: "aarch64")
        assert refusal() is UnsupportedReason.MACHINE


UNSUPPORTED = """
import sys, warnings
{cause}
import minijit
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    @minijit.jit
    def f(a): return a + 1
    assert [f(a) for a in range(100)] == list(range(1, 101))
[warning] = caught
assert warning.category is minijit.UnsupportedWarning
print(warning.message)
assert str(warning.message) in str(minijit.explain(f))
assert not minijit.is_enabled()
from minijit.__main__ import main
sys.exit(main(["info"]))
"""
CAUSES = {
    # what is so in that interpreter -> what is said of it
    "sys.platform = 'darwin'; sys.modules['ctypes'] = None": "it makes machine code for x86-64 Linux only",
    "import platform; platform.machine = lambda: 'riscv64'": "it makes machine code for x86-64 Linux only",
    "import platform; platform.python_implementation = lambda: 'PyPy'; sys.modules['ctypes'] = None": "it needs CPython",
    "sys.version_info = (3, 13, 0); sys.modules['ctypes'] = None": "it needs Python 3.12 this is",
    "sys.activate_stack_trampoline('perf')": "the interpreter has functions of its own between frames, for `perf`",
    "sys.modules['ctypes'] = None": "this interpreter cannot load what it needs: import of ctypes halted",
    "import ctypes\ndef fails(*_): raise OSError('no such library')\nctypes.PyDLL = fails": (
        "this interpreter cannot load what it needs: no such library"
    ),
    "from minijit.cpython import raw\ndef symbol(name): raise LookupError(f'no C function {name}')\nraw.symbol = symbol": (
        "this interpreter cannot load what it needs: no C function "
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_where_it_cannot_work_functions_do(cause: str, run_python: RunPython) -> None:
    """With one warning; the command line says the same."""
    done = run_python(UNSUPPORTED.format(cause=cause))
    warned, _, refused = done.stdout.splitlines()
    assert warned.startswith(f"minijit is off: {CAUSES[cause]}"), done.stdout
    assert refused == warned.replace("minijit is off", "not supported")
    assert (done.returncode, done.stderr) == (1, "")


WITHOUT_LIBM = """
import ctypes
class CDLL(ctypes.CDLL):
    def __init__(self, name, *rest):
        if name is not None: raise OSError(f"{name}: cannot open shared object file")
        super().__init__(name, *rest)
ctypes.CDLL = CDLL
from minijit.cpython import abi, raw
print(type(abi.supported()).__name__)
try:
    raw.symbol("no such function")
except LookupError as error:
    print(error)
"""


def test_a_c_library_may_have_no_separate_libm(run_python: RunPython) -> None:
    done = run_python(WITHOUT_LIBM)
    assert done.stdout.splitlines() == ["Interpreter", "no C function no such function"], done.stderr


IN_BETWEEN = """
import signal
from minijit.cpython import abi, self_check
genuine, found = self_check._threads, []
def threads(layouts):
    self_check._threads = genuine
    signal.raise_signal(signal.SIGUSR1)
    return genuine(layouts)
signal.signal(signal.SIGUSR1, lambda *_: found.append(abi.supported()))
self_check._threads = threads
found.append(abi.supported())
print(*(type(one).__name__ for one in found))
"""


def test_a_signal_handler_may_ask_while_its_thread_does(run_python: RunPython) -> None:
    done = run_python(IN_BETWEEN, timeout=30)
    assert done.stdout == "Interpreter Interpreter\n", done.stderr


def test_another_interpreter_of_the_process_is_refused(run_python: RunPython) -> None:
    program = """
import _xxsubinterpreters as interpreters
other = interpreters.create(isolated=False)
interpreters.run_string(other, "from minijit.cpython import abi; print(abi.supported().reason.name)")
"""
    done = run_python(program)
    assert (done.stdout, done.returncode) == ("SUBINTERPRETER\n", 0), done.stderr
