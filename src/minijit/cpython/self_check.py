"""Every declared layout compared with live objects, by ctypes alone and without crashing on a layout that is wrong.

In: the layouts. Out: a `Check` for each comparison, with the fields that it covers; a mismatch says what was found.
What a field holds must be something that its neighbours do not hold, else a layout shifted by a word would pass: so
objects are made for the purpose, a frame too large for its chunk of the data stack among them, and a monitoring
tool is registered for a moment, if there is a free id.

Only the first step from an object that Python gave us is read directly. Whatever is reached through a pointer that was
itself found by a layout is read by `_word`, with the kernel's help.
"""

from __future__ import annotations

import _thread
import ctypes
import gc
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, fields
from types import FunctionType
from typing import TYPE_CHECKING, Any

from minijit.cpython import raw, signals
from minijit.cpython.layouts import LAYOUTS, Layouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MONITORING_VERSION = 48
"""Where 3.12's interpreter state keeps the version of global monitoring; checked with the layouts."""

_MONITORING = sys.monitoring
_one_at_a_time = _thread.RLock()
"""Two threads would fight for the tool id. A signal handler of this thread that asks in between is answered."""
_write = ctypes.PYFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)(("write", raw.libc))


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison with a live object. `fields` are the fields it covers, as `struct.field`."""

    name: str
    fields: tuple[str, ...]
    ok: bool
    detail: str = ""


Row = tuple[str, str, object, object]
"""What is checked, the fields, what was found, what is expected."""


def self_check(layouts: Layouts = LAYOUTS) -> tuple[Check, ...]:
    """Compares every declared field with live objects."""
    found: list[Check] = []
    with _one_at_a_time:
        objects = (_objects, _instances, _functions, _codes)
        for checker in (*objects, _monitored, _frames, _threads, _collector, _data_stack):
            for name, covered, have, want in checker(layouts):
                ok = have == want
                found.append(Check(name, tuple(covered.split()), ok, "" if ok else f"found {have}, expected {want}"))
    return tuple(found)


def state_pointer(name: str) -> int:
    """What a C function without arguments returns, as an address."""
    function = ctypes.pythonapi[name]
    function.restype = ctypes.c_void_p
    return function() or 0


def _word(address: int) -> int | None:
    """The word at an address that may be wrong: where a load would crash, the kernel refuses to write from there."""
    reading, writing = os.pipe()
    try:
        if _write(writing, address, 8) != 8:
            return None
        return int.from_bytes(os.read(reading, 8), "little")
    finally:
        os.close(reading)
        os.close(writing)


# ---- objects


def _objects(at: Layouts) -> Iterator[Row]:
    thing = object()
    # Two references: the name, and the argument of getrefcount.
    references = raw.read_u64(id(thing) + at.object.ob_refcnt)
    yield "reference count", "object.ob_refcnt", references, sys.getrefcount(thing) - 1
    yield "type", "object.ob_type", raw.read_u64(id(thing) + at.object.ob_type), id(object)
    sizes = [raw.read_u64(id(t) + at.var_object.ob_size) for t in ((1, 2), (1, 2, 3))]
    yield "size of a tuple", "var_object.ob_size", sizes, [2, 3]
    items = (object(), object())
    pointers = [raw.read_u64(id(items) + at.tuple.ob_item + 8 * k) for k in (0, 1)]
    yield "items of a tuple", "tuple.ob_item", pointers, [id(item) for item in items]
    numbers = [1, -1, 12345, 2**30 + 7, -(2**60) - 3, 2**63 - 1]
    yield "ints", "long.lv_tag long.ob_digit", [_read_int(at, number) for number in numbers], numbers
    yield "tag of zero", "long.lv_tag", raw.read_u64(id(0) + at.long.lv_tag), 1
    yield "a float", "float.ob_fval", raw.read_f64(id(-1.25) + at.float.ob_fval), -1.25
    text = "a hashed string"
    hashed = hash(text)
    yield "hash of a string", "unicode.hash", raw.read_i64(id(text) + at.unicode.hash), hashed
    yield "kinds of keys", "dict.ma_keys dict_keys.dk_kind", _kinds_of_keys(at), [1, 0, 1, 0]
    yield "versions of a dict", "dict.ma_version_tag", _versions(at), [False, True]
    iterator = iter(range(5, 50, 7))
    next(iterator)
    words = [raw.read_i64(id(iterator) + x) for x in _values(at.range_iterator)]
    yield "a range iterator", "range_iterator.start range_iterator.step range_iterator.length", words, [12, 7, 6]


def _kinds_of_keys(at: Layouts) -> list[int | None]:
    """Of dicts of one key and of many, which differ in everything else that stands beside the kind."""
    samples: list[dict[Any, int]] = [
        {"name": 1},
        {"name": 1, 2: 3},
        {str(n): n for n in range(1000)},
        {n: n for n in range(1000)},
    ]
    words = [_word(raw.read_u64(id(sample) + at.dict.ma_keys) + at.dict_keys.dk_kind) for sample in samples]
    return [None if word is None else word & 255 for word in words]


def _versions(at: Layouts) -> list[bool]:
    """Whether a dict's version moves on, by little, when nothing happens, and when a value changes."""
    sample = {"name": 1}
    place = id(sample) + at.dict.ma_version_tag
    before, again = raw.read_u64(place), raw.read_u64(place)
    sample["name"] = 2
    return [0 < later - before < 2**32 for later in (again, raw.read_u64(place))]


class _Open:
    """A class whose instances have a dict."""

    def __init__(self) -> None:
        self.first, self.second = object(), object()


class _Closed:
    """One whose instances have none."""

    __slots__ = ("first", "second")


def _instances(at: Layouts) -> Iterator[Row]:
    yield "versions of a class", "type.tp_version_tag", _class_versions(at), [True, True, True]
    instance = _Open()
    keys = _word(id(_Open) + at.type.ht_cached_keys) or 0
    names = "type.ht_cached_keys dict_keys.dk_log2_index_bytes dict_keys.dk_nentries dict_keys.dk_indices"
    yield "names that instances share", names, _shared(at, keys), [2, id(sys.intern("first")), id(sys.intern("second"))]
    values = (_word(id(instance) + at.instance.values) or 0) + 1
    items = [id(instance.first), id(instance.second)]
    yield "values of an instance", "instance.values", [_word(values + 8 * k) for k in (0, 1)], items
    closed = _Closed()
    closed.first, closed.second = object(), object()  # type: ignore[attr-defined]
    members = [_word(id(vars(_Closed)[name]) + at.member_descriptor.d_member) or 0 for name in _Closed.__slots__]
    found = [_word(id(closed) + ((_word(member + at.member.offset) or 0) & 255)) for member in members]
    items = [id(closed.first), id(closed.second)]  # type: ignore[attr-defined]
    yield "slots of an instance", "member_descriptor.d_member member.offset", found, items
    yield "types of slots", "member.type", [_half(member + at.member.type) for member in members], [16, 16]
    # `complex.real` may not be written.
    members += [_word(id(vars(complex)["real"]) + at.member_descriptor.d_member) or 0]
    yield "flags of slots", "member.flags", [_half(member + at.member.flags) for member in members], [0, 0, 1]


def _half(address: int) -> int:
    """The half of a word at an address that may be wrong."""
    return (_word(address) or 0) & 0xFFFFFFFF


def _class_versions(at: Layouts) -> list[bool]:
    """Whether a class has a number that stays as it is, by little, and is another one when the class changes."""

    class Sample:
        pass

    place = id(Sample) + at.type.tp_version_tag
    found = []
    for value in (1, 1, 2):
        if value == 2:
            Sample.value = value  # type: ignore[attr-defined]
        getattr(Sample, "value", None)
        found.append(raw.read_u32(place))
    return [found[0] > 0, found[0] == found[1], 0 < found[2] - found[1] < 2**16]


def _shared(at: Layouts, keys: int) -> list[int | None]:
    """How many names there are at an address, which may be wrong, and the first two."""
    size = (_word(keys + at.dict_keys.dk_log2_index_bytes) or 0) & 255
    first = keys + at.dict_keys.dk_indices + (1 << min(size, 16))
    return [_word(keys + at.dict_keys.dk_nentries), _word(first), _word(first + 16)]


def _values(struct: Any) -> list[int]:
    return [getattr(struct, item.name) for item in fields(struct)]


def _read_int(at: Layouts, number: int) -> int:
    tag = raw.read_u64(id(number) + at.long.lv_tag)
    digits = min(tag >> 3, 3)
    size = sum(raw.read_u32(id(number) + at.long.ob_digit + 4 * k) << 30 * k for k in range(digits))
    return size * (1 - (tag & 3))


# ---- functions and their code


def _sample(a: int, b: int = 2, /, d: int = 4, *, c: int = 3) -> tuple[int, ...]:
    # Four on the stack: its size, which stands behind the numbers of parameters, is none of them.
    return (a, b, c, d)


def _functions(at: Layouts) -> Iterator[Row]:
    function = _sample
    pointers = {
        "func_globals": function.__globals__,
        "func_builtins": sys._getframe().f_builtins,  # those of this module
        "func_code": function.__code__,
        "func_defaults": function.__defaults__,
        "func_kwdefaults": function.__kwdefaults__,
    }
    for name, value in pointers.items():
        offset = getattr(at.function, name)
        yield f"a function's {name}", f"function.{name}", raw.read_u64(id(function) + offset), id(value)
    entry = raw.read_u64(id(function) + at.function.vectorcall)
    yield "a function's entry", "function.vectorcall", entry, raw.symbol("_PyFunction_Vectorcall")


def _codes(at: Layouts) -> Iterator[Row]:
    code = _sample.__code__
    base = id(code)
    kinds = ("co_argcount", "co_posonlyargcount", "co_kwonlyargcount")
    counts = [raw.read_i32(base + getattr(at.code, kind)) for kind in kinds]
    yield "a code object's parameters", " ".join(f"code.{kind}" for kind in kinds), counts, [3, 2, 1]
    # The frame's head is as many words as stand before its locals.
    words = at.frame.localsplus // 8 + code.co_nlocals + code.co_stacksize
    size = raw.read_i32(base + at.code.co_framesize)
    yield "a code object's frame size", "code.co_framesize frame.localsplus", size, words
    names = raw.read_u64(base + at.code.co_localsplusnames)
    first = _word(names + at.tuple.ob_item)
    yield "names of locals", "code.co_localsplusnames", first, id(code.co_varnames[0])
    # As it is now, instrumented instructions included.
    instructions: bytes = code._co_code_adaptive  # type: ignore[attr-defined]
    found = raw.read_bytes(base + at.code.co_code_adaptive, len(instructions))
    yield "instructions", "code.co_code_adaptive", found, instructions


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
    _sample(1)
    version = raw.read_u64(id(_sample.__code__) + at.code.instrumentation_version)
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
    monitors = _word(raw.read_u64(id(code) + at.code.monitoring) + at.monitoring.active_monitors)
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
    if _word(address) is None:
        yield "a frame", "frame_object.f_frame", address, "a pointer"
        return
    marker = object()
    code = frame.f_code
    slot = at.frame.localsplus + 8 * code.co_varnames.index("marker")
    yield "a local", "frame.localsplus frame_object.f_frame", _word(address + slot), id(marker)
    pointers: dict[str, object] = {
        "f_code": code,
        "f_funcobj": _frames,
        "f_globals": frame.f_globals,
        "f_builtins": frame.f_builtins,
        "frame_obj": frame,
    }
    for name, value in pointers.items():
        yield f"a frame's {name}", f"frame.{name}", _word(address + getattr(at.frame, name)), id(value)
    yield "a frame's f_locals", "frame.f_locals", _word(address + at.frame.f_locals), 0
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
    current = ctypes.c_uint64.from_address(cframe).value if _word(cframe) is not None else None
    limit = raw.read_i32(thread + at.thread.py_recursion_limit)
    python = _remaining(thread + at.thread.py_recursion_remaining)
    native = _remaining(thread + at.thread.c_recursion_remaining)
    main_thread = _word(raw.symbol("_PyRuntime") + at.runtime.main_thread)
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
    size = _word(chunk + at.stack_chunk.size)
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
    previous = _word(chunk + at.stack_chunk.previous)
    saved = None if previous is None else _word(previous + at.stack_chunk.top)
    return previous, saved
