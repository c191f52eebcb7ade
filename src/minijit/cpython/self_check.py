"""Every declared layout compared with live objects, by ctypes alone and without crashing on a layout that is wrong.

In: the layouts. Out: a `Check` for each comparison, with the fields that it covers; a mismatch says what was found.
What a field holds must be something that its neighbours do not hold, else a layout shifted by a word would pass: so
objects are made for the purpose, a frame too large for its chunk of the data stack among them, and a monitoring
tool is registered for a moment, if there is a free id.

Only the first step from an object that Python gave us is read directly. Whatever is reached through a pointer that was
itself found by a layout is read by `raw.word`, with the kernel's help.
"""

from __future__ import annotations

import _thread
import ctypes
import gc
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING

from minijit.cpython import raw, signals
from minijit.cpython.checked_objects import object_rows
from minijit.cpython.layouts import LAYOUTS, Layouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minijit.cpython.checked_objects import Row

MONITORING_VERSION = 48
"""Where 3.12's interpreter state keeps the version of global monitoring; checked with the layouts."""

_MONITORING = sys.monitoring
_one_at_a_time = _thread.RLock()
"""Two threads would fight for the tool id. A signal handler of this thread that asks in between is answered."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison with a live object. `fields` are the fields it covers, as `struct.field`."""

    name: str
    fields: tuple[str, ...]
    ok: bool
    detail: str = ""


def self_check(layouts: Layouts = LAYOUTS) -> tuple[Check, ...]:
    """Compares every declared field with live objects."""
    found: list[Check] = []
    with _one_at_a_time:
        for checker in (object_rows, _monitored, _frames, _threads, _collector, _data_stack):
            for name, covered, have, want in checker(layouts):
                ok = have == want
                found.append(Check(name, tuple(covered.split()), ok, "" if ok else f"found {have}, expected {want}"))
    return tuple(found)


def state_pointer(name: str) -> int:
    """What a C function without arguments returns, as an address."""
    function = ctypes.pythonapi[name]
    function.restype = ctypes.c_void_p
    return function() or 0


@contextmanager
def _tool() -> Iterator[int | None]:
    """A monitoring tool id for a while, if there is a free one."""
    tool = next((n for n in (4, 3, 5, 2, 1, 0) if _MONITORING.get_tool(n) is None), None)
    if tool is None:
        yield None
        return
    _MONITORING.use_tool_id(tool, "minijit self-check")
    try:
        yield tool
    finally:
        _MONITORING.set_events(tool, 0)
        _MONITORING.register_callback(tool, _MONITORING.events.PY_START, None)
        _MONITORING.free_tool_id(tool)


def _monitored(at: Layouts) -> Iterator[Row]:
    """What monitoring keeps: in a code object, in the thread, and in the interpreter state."""
    covered = "code.monitoring monitoring.active_monitors code.instrumentation_version thread.tracing"
    with _tool() as tool:
        if tool is None:
            yield "monitoring data", covered, "all tool ids are taken", "one of them free"
            return
        yield from _monitoring_versions(at, tool)
        yield from _local_events(at, tool)


def _monitoring_versions(at: Layouts, tool: int) -> Iterator[Row]:
    """A global event, of the rarest kind, gives the interpreter a new version, which code takes over when it runs."""
    place = state_pointer("PyInterpreterState_Get") + MONITORING_VERSION
    before = raw.read_u64(place)
    _MONITORING.set_events(tool, _MONITORING.events.RERAISE)
    now = raw.read_u64(place)
    yield "the version of monitoring", "", now, before + 1

    def sample() -> None:
        pass

    sample()
    version = raw.read_u64(id(sample.__code__) + at.code.instrumentation_version)
    yield "a code object's version", "code.instrumentation_version", version, now


def _local_events(at: Layouts, tool: int) -> Iterator[Row]:
    """An event for one code object: the tool's bit appears there; during its callback events are off.

    Where they are off already, in a debugger's command line for one, no callback comes; `call_tracing` turns them on.
    """
    place = state_pointer("PyThreadState_Get") + at.thread.tracing
    seen: list[int] = []

    def probed() -> None:
        """Its code object is its own."""

    code = probed.__code__
    start = _MONITORING.events.PY_START
    _MONITORING.register_callback(tool, start, lambda *_: seen.append(raw.read_i32(place)))
    _MONITORING.set_local_events(tool, code, start)
    probed()
    monitors = raw.word(raw.read_u64(id(code) + at.code.monitoring) + at.monitoring.active_monitors)
    _MONITORING.set_local_events(tool, code, 0)
    # Other tools may have events everywhere. PY_START is the first event, PY_RESUME the next.
    tools = None if monitors is None else [(monitors >> 8 * event & 255) >> tool & 1 for event in range(4)]
    yield "monitoring data", "code.monitoring monitoring.active_monitors", tools, [1, 0, 0, 0]
    depth, on = raw.read_i32(place), raw.Buffer(4)
    # C calls C here: a debugger notices nothing of it.
    sys.call_tracing(raw.copy, (on.address, place, 4))
    depths = [*seen, depth] if seen else [depth > 0, raw.read_i32(on.address)]
    yield "whether events are off", "thread.tracing", depths, [1, 0]


# ---- frames


def _frames(at: Layouts) -> Iterator[Row]:
    frame = sys._getframe()
    address = raw.read_u64(id(frame) + at.frame_object.f_frame)
    if raw.word(address) is None:
        yield "a frame", "frame_object.f_frame", address, "a pointer"
        return
    marker = object()
    code = frame.f_code
    slot = at.frame.localsplus + 8 * code.co_varnames.index("marker")
    yield "a local", "frame.localsplus frame_object.f_frame", raw.word(address + slot), id(marker)
    pointers: dict[str, object] = {
        "f_code": code,
        "f_funcobj": _frames,
        "f_globals": frame.f_globals,
        "f_builtins": frame.f_builtins,
        "frame_obj": frame,
    }
    for name, value in pointers.items():
        yield f"a frame's {name}", f"frame.{name}", raw.word(address + getattr(at.frame, name)), id(value)
    yield "a frame's f_locals", "frame.f_locals", raw.word(address + at.frame.f_locals), 0
    # This frame is a generator's: it is suspended and resumed in place, and owned by the generator.
    yield "a frame's owner", "frame.owner", raw.read_u8(address + at.frame.owner), 1
    yield "a frame's return offset", "frame.return_offset", raw.read_u16(address + at.frame.return_offset), 0
    yield from _caller(at)


def _caller(at: Layouts) -> list[Row]:
    """The fields of a frame that waits for a call, and how the callee's leads to it."""
    frame = sys._getframe()
    waiting = frame.f_back
    assert waiting is not None
    address = raw.read_u64(id(frame) + at.frame_object.f_frame)
    caller = raw.read_u64(id(waiting) + at.frame_object.f_frame)
    code = waiting.f_code
    called_at = raw.read_u64(caller + at.frame.prev_instr) - id(code) - at.code.co_code_adaptive
    depth = raw.read_i32(caller + at.frame.stacktop) - len(code.co_varnames)
    return [
        ("the caller's frame", "frame.previous", raw.read_u64(address + at.frame.previous), caller),
        ("the caller's instruction", "frame.prev_instr", called_at, waiting.f_lasti),
        ("the caller's stack depth", "frame.stacktop", 0 <= depth <= code.co_stacksize, True),
    ]


# ---- threads


def _threads(at: Layouts) -> list[Row]:
    thread = state_pointer("PyThreadState_Get")
    frame = sys._getframe()
    address = raw.read_u64(id(frame) + at.frame_object.f_frame)
    cframe = raw.read_u64(thread + at.thread.cframe)
    # Read by ctypes itself: a function of ours would be the current frame.
    current = ctypes.c_uint64.from_address(cframe).value if raw.word(cframe) is not None else None
    limit = raw.read_i32(thread + at.thread.py_recursion_limit)
    python = _remaining(thread + at.thread.py_recursion_remaining)
    native = _remaining(thread + at.thread.c_recursion_remaining)
    main_thread = raw.word(raw.symbol("_PyRuntime") + at.runtime.main_thread)
    return [
        ("the current frame", "thread.cframe", current, address),
        ("the recursion limit", "thread.py_recursion_limit", limit, sys.getrecursionlimit()),
        # A Python function called by another costs one of the first; called by C also some of the second.
        ("Python recursion left", "thread.py_recursion_remaining", _steps(python), (1, 1)),
        ("C recursion left", "thread.c_recursion_remaining", [0 < n < 9 for n in _steps(native)], [False, True]),
        # Whoever holds signals back has seen what stood there.
        ("the main thread", "runtime.main_thread", main_thread in (signals.NOBODY, *sys._current_frames()), True),
    ]


def _remaining(place: int) -> tuple[int, int, int]:
    """A recursion counter as seen in a Python function, in one that it calls, and in one that C calls."""
    here = ctypes.c_int32.from_address(place).value
    return here, raw.read_i32(place), next(map(raw.read_i32, [place]))


def _steps(remaining: tuple[int, int, int]) -> tuple[int, int]:
    here, called, called_by_c = remaining
    return here - called, here - called_by_c


def _collector(at: Layouts) -> list[Row]:
    interpreter = state_pointer("PyInterpreterState_Main")
    is_enabled = raw.read_i32(interpreter + at.interpreter.gc_enabled)
    threshold = raw.read_i32(interpreter + at.interpreter.gc_threshold)
    place = interpreter + at.interpreter.gc_count
    # Now and then it collects, or another thread makes objects, too.
    counts = any(_more_objects(place) in range(_MADE, _MADE + 20) for _ in range(10))
    return [
        ("the collector's switch", "interpreter.gc_enabled", is_enabled, int(gc.isenabled())),
        ("the collector's threshold", "interpreter.gc_threshold", threshold, gc.get_threshold()[0]),
        ("the youngest objects", "interpreter.gc_count", counts, True),
    ]


_MADE = 100


def _more_objects(place: int) -> int:
    """By how much the number there grows when so many objects are made."""
    before = raw.read_i32(place)
    kept: list[list[object]] = list(map(list, [()] * _MADE))
    return raw.read_i32(place) - before if kept else 0


def _data_stack(at: Layouts) -> list[Row]:
    """The data stack: where this frame ends, and a callee's that is too large for what is left of the chunk."""
    thread = state_pointer("PyThreadState_Get")
    chunk_place, top_place = thread + at.thread.datastack_chunk, thread + at.thread.datastack_top
    end = raw.read_u64(thread + at.thread.datastack_limit)
    frame = sys._getframe()
    frame_end = raw.read_u64(id(frame) + at.frame_object.f_frame) + 8 * raw.read_i32(
        id(frame.f_code) + at.code.co_framesize
    )
    # Read by ctypes itself: a function of ours would be on the stack.
    top = ctypes.c_uint64.from_address(top_place).value
    slots = (end - top) // 8 + 1
    if not 0 < slots < 2**24:
        return [("the top of the data stack", "thread.datastack_top thread.datastack_limit", (top, end), "one chunk")]
    code = _in_a_new_chunk.__code__.replace(co_stacksize=slots)
    large: Callable[[Layouts, int], tuple[int | None, int | None]] = FunctionType(code, globals())
    chunk = raw.read_u64(chunk_place)
    size = raw.word(chunk + at.stack_chunk.size)
    used = top - chunk - at.stack_chunk.data
    previous, saved = large(at, chunk_place)
    return [
        ("the top of the data stack", "thread.datastack_top", top, frame_end),
        ("a chunk's size", "thread.datastack_chunk thread.datastack_limit stack_chunk.size", size, end - chunk),
        ("the chunk before", "stack_chunk.previous thread.datastack_chunk", previous, chunk),
        ("what was used of it", "stack_chunk.top stack_chunk.data", saved and 8 * saved, used),
    ]


def _in_a_new_chunk(at: Layouts, chunk_place: int) -> tuple[int | None, int | None]:
    chunk = raw.read_u64(chunk_place)
    previous = raw.word(chunk + at.stack_chunk.previous)
    saved = None if previous is None else raw.word(previous + at.stack_chunk.top)
    return previous, saved
