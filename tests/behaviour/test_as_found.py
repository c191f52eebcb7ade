"""After `disable` the interpreter is as it was found before `enable`.

In: a session in which everything happens: functions are recorded (one of them half-way), compiled, entered, left and
killed, in threads too, exceptions come out, another tool watches. Out: a *fingerprint* of the interpreter and of the
program's functions, which is the same before and after.

What the fingerprint cannot ask the interpreter for it finds by looking: no word of the interpreter's static memory, in
which its state lies (watchers, monitoring, pending calls), is an address in memory that held our machine code.

Documented to be different: a function that was decorated has a weak reference, since a later `enable` takes it on.
"""

from __future__ import annotations

import array
import atexit
import dis
import gc
import os
import signal
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

from isolated import isolated
from test_switching import free_watchers
from twin import LOW, Patient, compiled_from, enabled, outcome

import minijit
from minijit.cpython import hooks, raw
from minijit.driver import api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MONITORING = sys.monitoring
MA_VERSION_TAG = 24
"""Where a dict has its version, whose lowest byte says which watchers it has."""
SOURCES = {
    "loops": "def f(n, k):\n    s = 0\n    for i in range(n):\n        s += i * k\n    return s\n",
    "relies": "g = 3\ndef f(n, k):\n    s = 0\n    for i in range(n):\n        s += abs(k) * g\n    return s\n",
    "raises": "def f(n, k):\n    for i in range(n):\n        k = 100 // (k - i)\n    return k\n",
    "recurses": "def f(n, k):\n    if n < 2:\n        return k\n    return f(n - 1, k) + 1\n",
    "on the stack": "def f(n, *rest):\n    s = 0.5\n    while n > 0:\n        n -= 1\n        s = s * 1.5\n    return s, rest\n",
    "half-way": "def f(n, k):\n    s = 0\n    while n:\n        n -= 1\n        s += k(n)\n    return s\n",
}


def fingerprint(functions: list[Any]) -> dict[str, object]:
    """Everything that `enable` might have left in the interpreter, by name."""
    for _ in range(3):
        gc.collect()
    return dict(_of_the_interpreter()) | {
        f"function {number}: {name}": value
        for number, function in enumerate(functions)
        for name, value in _of_a_function(function)
    }


def _of_the_interpreter() -> Iterator[tuple[str, object]]:
    for tool in range(6):
        name = MONITORING.get_tool(tool)
        yield f"tool {tool}", name
        yield f"events of tool {tool}", name and MONITORING.get_events(tool)
    for event in (getattr(MONITORING.events, name) for name in dir(MONITORING.events) if name.isupper()):
        if event.bit_count() == 1:
            yield f"callback {event}", MONITORING.register_callback(MONITORING.OPTIMIZER_ID, event, None)
    yield "watchers", free_watchers()
    yield "signals", {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield "blocked signals", signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield "main thread", (threading.main_thread().ident, signals_are_let_through())
    yield "tracing", (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile())
    yield "collector", (list(gc.callbacks), gc.get_threshold(), gc.isenabled(), gc.get_debug(), gc.get_freeze_count())
    yield "at exit", atexit._ncallbacks()
    hooks_ = (sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook, threading.excepthook)
    yield "hooks", (*hooks_, *sys.meta_path, *sys.path_hooks, sys.get_coroutine_origin_tracking_depth())
    yield "limits", (sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits())
    yield "environment", (dict(os.environ), os.getcwd(), list(sys.path), list(warnings.filters))
    yield "threads", len(os.listdir("/proc/self/task"))
    yield "files", len(os.listdir("/proc/self/fd"))


def _of_a_function(function: Any) -> Iterator[tuple[str, object]]:
    code, names = function.__code__, function.__globals__
    yield "vectorcall", hooks.vectorcall_of(id(function)) == hooks.PLAIN_VECTORCALL
    yield "references", [sys.getrefcount(thing) for thing in (function, code, names, names.get("g"))]
    yield "watched namespaces", [watchers_of(d) for d in (names, names["__builtins__"])]
    yield "events", [MONITORING.get_local_events(tool, code) for tool in range(6) if MONITORING.get_tool(tool)]
    yield "other tools", hooks.is_watched(code)
    yield "instrumented", instrumented(code)


def signals_are_let_through() -> bool:
    """Whether the main thread runs signal handlers."""
    from minijit.cpython import signals

    return raw.read_u64(signals.main_thread()) == threading.main_thread().ident


def watchers_of(namespace: dict[str, object]) -> int:
    """A bit for each dict watcher that is told of changes to the dict."""
    return raw.read_u64(id(namespace) + MA_VERSION_TAG) & 0xFF


def instrumented(code: Any) -> list[str]:
    """The instrumented instructions in a code object that ran before and may run again."""
    names = {number: name for name, number in dis._all_opmap.items()}  # type: ignore[attr-defined]
    # Not each pair of bytes is an instruction: there are inline caches.
    found = [names[code._co_code_adaptive[instruction.offset]] for instruction in dis.get_instructions(code)]
    return [name for name in found if name.startswith("INSTRUMENTED")]


# Machine code that something points to


def our_code() -> list[range]:
    """The memory that holds machine code of ours."""
    driver = api._process.driver
    assert driver is not None
    chunks = driver.registry.natives.machinery.engine._arena._chunks
    return [range(chunk.address, chunk.address + chunk.size) for chunk in chunks]


def pointers_into(ranges: list[range]) -> int:
    """How many words of the static memory of the interpreter are addresses in one of these ranges."""
    here = raw.symbol("_PyRuntime")
    count = 0
    for start, size in static_memory(here):
        words = array.array("Q", raw.read_bytes(start, size))
        count += sum(any(word in r for r in ranges) for word in words if word >= ranges[0].start)
    return count


def static_memory(address: int) -> list[tuple[int, int]]:
    """The writable map that the address lies in, with those that follow without a gap: `.data` and `.bss`."""
    found: list[tuple[int, int]] = []
    with open("/proc/self/maps") as file:
        for line in file:
            bounds, mode = line.split()[:2]
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            joined = found and sum(found[-1]) == start
            if mode.startswith("rw") and (start <= address < end or joined):
                found.append((start, end - start))
    return found


# The session


def session(functions: dict[str, Any], wanted: dict[str, list[tuple[object, ...]]]) -> None:
    """Everything happens."""
    for f in functions.values():
        minijit.jit(policy=Patient(LOW))(f)
    threads = [threading.Thread(target=calls, args=(functions, wanted)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls(functions, wanted)
    assert minijit.stats().entries
    assert minijit.stats().exits
    functions["relies"].__globals__["g"] = 4
    functions["relies"](30, 2)
    assert minijit.stats().kills
    functions["relies"].__globals__["g"] = 3
    MONITORING.use_tool_id(MONITORING.PROFILER_ID, "another")
    MONITORING.set_events(MONITORING.PROFILER_ID, MONITORING.events.LINE)
    calls(functions, wanted)
    MONITORING.set_events(MONITORING.PROFILER_ID, 0)
    MONITORING.free_tool_id(MONITORING.PROFILER_ID)
    calls(functions, wanted)


def arguments_of(name: str) -> list[tuple[Any, ...]]:
    if name == "half-way":
        return [(30, lambda n: n)]
    return [(30, 2), (25, 2.5), (20, 2**62), (40, None), (30, 7)]


def calls(functions: dict[str, Any], wanted: dict[str, list[tuple[object, ...]]]) -> None:
    """Calls that make everything hot."""
    for _ in range(30):
        for name, f in functions.items():
            assert [outcome(f, *a)[:2] for a in arguments_of(name)] == wanted[name], name


def recorded_midway(f: Any, action: Callable[[], object]) -> None:
    """Has `action` called while the function is being recorded."""
    driver = api._process.driver
    assert driver is not None
    minijit.release(f)
    done = []

    def look(n: int) -> int:
        state = driver.registry.functions.get(id(f))
        if state is not None and state.code.recording is not None and not done:
            done.append(action())
        return n

    for _ in range(30):
        f(30, look)
        if done:
            return
    raise AssertionError(minijit.explain(f))


@isolated
def test_as_found() -> None:
    """The interpreter and the functions are what they were, also where a recording was under way."""
    functions = {name: compiled_from(source) for name, source in SOURCES.items()}
    wanted = {name: [outcome(f, *a)[:2] for a in arguments_of(name)] for name, f in functions.items()}
    before = fingerprint(list(functions.values()))
    for turn in range(3):
        with enabled():
            session(functions, wanted)
            ranges = our_code()
            assert pointers_into(ranges)
            recorded_midway(functions["half-way"], minijit.disable)
        calls(functions, wanted)
        after = fingerprint(list(functions.values()))
        if turn == 0:
            # What is imported by then has its own to do at the end of the process, once.
            before["at exit"] = after["at exit"]
        assert {k: (before[k], v) for k, v in after.items() if v != before[k]} == {}
        assert pointers_into(ranges) == 0


@isolated
def test_the_fingerprint_differs_while_minijit_is_on() -> None:
    """It would tell: of the tool id, callbacks, watchers, namespaces, vectorcalls, events, references."""
    functions = {name: compiled_from(source) for name, source in SOURCES.items()}
    wanted = {name: [outcome(f, *a)[:2] for a in arguments_of(name)] for name, f in functions.items()}
    before = fingerprint(list(functions.values()))
    with enabled():
        session(functions, wanted)
        after = fingerprint(list(functions.values()))
        differs = {k.split(": ")[-1] for k, v in after.items() if v != before[k]}
    needed = {f"tool {MONITORING.OPTIMIZER_ID}", "watchers", "vectorcall", "watched namespaces", "references"}
    needed |= {"events", "instrumented", f"callback {MONITORING.events.JUMP}"}
    assert needed <= differs, needed - differs
