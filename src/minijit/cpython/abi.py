"""The layouts of CPython 3.12 that machine code and frame surgery rely on, and the check that they hold.

Declared once: a field is an offset in bytes (`abi.FRAME.prev_instr`). The offsets are those of 3.12 on 64-bit Linux.
Before anything native is installed `supported()` compares every one of them with live objects, by means of ctypes
alone; a mismatch names the field, and minijit stays off. The interpreter state is no part of any ABI: what is needed
of it is *calibrated*, by changing a thing and looking which bytes change.
"""

from __future__ import annotations

import builtins
import collections
import ctypes
import enum
import itertools
import operator
import platform
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from minijit.cpython import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Object:
    """PyObject."""

    ob_refcnt: int = 0
    ob_type: int = 8


@dataclass(frozen=True, slots=True)
class VarObject:
    """PyVarObject."""

    ob_size: int = 16


@dataclass(frozen=True, slots=True)
class Long:
    """PyLongObject: the tag is the number of 30-bit digits times 8, plus 0, 1 or 2 for positive, zero, negative."""

    lv_tag: int = 16
    ob_digit: int = 24


@dataclass(frozen=True, slots=True)
class Float:
    """PyFloatObject."""

    ob_fval: int = 16


@dataclass(frozen=True, slots=True)
class Tuple:
    """PyTupleObject."""

    ob_item: int = 24


@dataclass(frozen=True, slots=True)
class Unicode:
    """PyASCIIObject."""

    hash: int = 24


@dataclass(frozen=True, slots=True)
class RangeIterator:
    """_PyRangeIterObject."""

    start: int = 16
    step: int = 24
    length: int = 32


@dataclass(frozen=True, slots=True)
class Function:
    """PyFunctionObject."""

    func_globals: int = 16
    func_builtins: int = 24
    func_code: int = 48
    func_defaults: int = 56
    func_kwdefaults: int = 64
    vectorcall: int = 128


@dataclass(frozen=True, slots=True)
class Code:
    """PyCodeObject."""

    co_argcount: int = 52
    co_kwonlyargcount: int = 60
    co_framesize: int = 76
    co_localsplusnames: int = 96
    instrumentation_version: int = 160
    monitoring: int = 168
    co_code_adaptive: int = 192


@dataclass(frozen=True, slots=True)
class Monitoring:
    """_PyCoMonitoringData: for each event one byte with a bit for each tool."""

    active_monitors: int = 15


@dataclass(frozen=True, slots=True)
class Frame:
    """_PyInterpreterFrame."""

    f_code: int = 0
    previous: int = 8
    f_funcobj: int = 16
    f_globals: int = 24
    f_builtins: int = 32
    f_locals: int = 40
    frame_obj: int = 48
    prev_instr: int = 56
    stacktop: int = 64
    return_offset: int = 68
    owner: int = 70
    localsplus: int = 72


@dataclass(frozen=True, slots=True)
class FrameObject:
    """PyFrameObject."""

    f_frame: int = 24


@dataclass(frozen=True, slots=True)
class Thread:
    """PyThreadState."""

    interp: int = 16
    py_recursion_remaining: int = 28
    py_recursion_limit: int = 32
    c_recursion_remaining: int = 36
    tracing: int = 44
    cframe: int = 56
    datastack_chunk: int = 232
    datastack_top: int = 240
    datastack_limit: int = 248


@dataclass(frozen=True, slots=True)
class StackChunk:
    """_PyStackChunk."""

    previous: int = 0
    size: int = 8
    top: int = 16
    data: int = 24


@dataclass(frozen=True, slots=True)
class Layouts:
    """All structs."""

    object: Object = Object()
    var_object: VarObject = VarObject()
    long: Long = Long()
    float: Float = Float()
    tuple: Tuple = Tuple()
    unicode: Unicode = Unicode()
    range_iterator: RangeIterator = RangeIterator()
    function: Function = Function()
    code: Code = Code()
    monitoring: Monitoring = Monitoring()
    frame: Frame = Frame()
    frame_object: FrameObject = FrameObject()
    thread: Thread = Thread()
    stack_chunk: StackChunk = StackChunk()


LAYOUTS = Layouts()
OBJECT, VAR_OBJECT, LONG, FLOAT, TUPLE = (
    LAYOUTS.object,
    LAYOUTS.var_object,
    LAYOUTS.long,
    LAYOUTS.float,
    LAYOUTS.tuple,
)
UNICODE, RANGE_ITERATOR, FUNCTION, CODE = LAYOUTS.unicode, LAYOUTS.range_iterator, LAYOUTS.function, LAYOUTS.code
MONITORING, FRAME, FRAME_OBJECT = LAYOUTS.monitoring, LAYOUTS.frame, LAYOUTS.frame_object
THREAD, STACK_CHUNK = LAYOUTS.thread, LAYOUTS.stack_chunk


class UnsupportedReason(enum.Enum):
    """Why minijit cannot work here, as a sentence."""

    IMPLEMENTATION = "it needs CPython"
    VERSION = "it needs Python 3.12"
    MACHINE = "it makes machine code for x86-64 Linux only"
    LAYOUT = "the interpreter's structures are not laid out as expected:"
    SUBINTERPRETER = "it works in the main interpreter only"

    __hash__ = object.__hash__

    @property
    def sentence(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Unsupported:
    """minijit cannot work here."""

    reason: UnsupportedReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Addresses in the main interpreter's state."""

    state: int
    eval_breaker: int
    monitoring_version: int


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison with a live object. `fields` are the fields it covers, as `struct.field`."""

    name: str
    fields: tuple[str, ...]
    ok: bool
    detail: str = ""


def supported(layouts: Layouts = LAYOUTS) -> Interpreter | Unsupported:
    """The interpreter's addresses, or why minijit cannot work here."""
    refusal = _wrong_platform()
    if refusal is not None:
        return refusal
    for check in self_check(layouts):
        if not check.ok:
            return Unsupported(UnsupportedReason.LAYOUT, f"{check.name} ({', '.join(check.fields)}): {check.detail}")
    return _calibrated()


def _wrong_platform() -> Unsupported | None:
    if platform.python_implementation() != "CPython":
        return Unsupported(UnsupportedReason.IMPLEMENTATION)
    if sys.version_info[:2] != (3, 12):
        return Unsupported(UnsupportedReason.VERSION, f"this is {platform.python_version()}")
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return Unsupported(UnsupportedReason.MACHINE)
    if _pointer("PyInterpreterState_Get") != _pointer("PyInterpreterState_Main"):
        return Unsupported(UnsupportedReason.SUBINTERPRETER)
    return None


def _pointer(name: str) -> int:
    function = ctypes.pythonapi[name]
    function.restype = ctypes.c_void_p
    return function() or 0


def self_check(layouts: Layouts = LAYOUTS) -> tuple[Check, ...]:
    """Compares every declared field with live objects. Only reads, and only memory that is the objects' own."""
    found: list[Check] = []
    for checker in (_objects, _functions, _codes, _frames, _threads):
        for name, covered, have, want in checker(layouts):
            ok = have == want
            found.append(Check(name, tuple(covered.split()), ok, "" if ok else f"found {have}, expected {want}"))
    return tuple(found)


def all_fields(layouts: Layouts = LAYOUTS) -> Iterator[str]:
    """Every declared field, as `struct.field`."""
    for struct in fields(layouts):
        for item in fields(getattr(layouts, struct.name)):
            yield f"{struct.name}.{item.name}"


Row = tuple[str, str, object, object]
"""What is checked, the fields, what was found, what is expected."""


def _objects(at: Layouts) -> Iterator[Row]:
    thing = object()
    # Two references: the name, and the argument of getrefcount.
    yield (
        "reference count",
        "object.ob_refcnt",
        raw.read_u64(id(thing) + at.object.ob_refcnt),
        sys.getrefcount(thing) - 1,
    )
    yield "type", "object.ob_type", raw.read_u64(id(thing) + at.object.ob_type), id(object)
    sizes = [raw.read_u64(id(t) + at.var_object.ob_size) for t in ((1, 2), (1, 2, 3))]
    yield "size of a tuple", "var_object.ob_size", sizes, [2, 3]
    items = (object(), object())
    yield (
        "items of a tuple",
        "tuple.ob_item",
        [raw.read_u64(id(items) + at.tuple.ob_item + 8 * k) for k in (0, 1)],
        [id(item) for item in items],
    )
    numbers = [1, -1, 12345, 2**30 + 7, -(2**60) - 3, 2**63 - 1]
    yield "ints", "long.lv_tag long.ob_digit", [_read_int(at, number) for number in numbers], numbers
    yield "tag of zero", "long.lv_tag", raw.read_u64(id(0) + at.long.lv_tag), 1
    yield "a float", "float.ob_fval", raw.read_f64(id(-1.25) + at.float.ob_fval), -1.25
    text = "a hashed string"
    yield "hash of a string", "unicode.hash", [hash(text), raw.read_i64(id(text) + at.unicode.hash)][1], hash(text)
    iterator = iter(range(5, 50, 7))
    next(iterator)
    words = [raw.read_i64(id(iterator) + x) for x in _values(at.range_iterator)]
    yield "a range iterator", "range_iterator.start range_iterator.step range_iterator.length", words, [12, 7, 6]


def _values(struct: Any) -> list[int]:
    return [getattr(struct, item.name) for item in fields(struct)]


def _read_int(at: Layouts, number: int) -> int:
    tag = raw.read_u64(id(number) + at.long.lv_tag)
    digits = min(tag >> 3, 3)
    size = sum(raw.read_u32(id(number) + at.long.ob_digit + 4 * k) << 30 * k for k in range(digits))
    return size * (1 - (tag & 3))


def _sample(a: int, b: int = 2, *, c: int = 3) -> int:
    return a + b + c


def _functions(at: Layouts) -> Iterator[Row]:
    function = _sample
    pointers = {
        "func_globals": function.__globals__,
        "func_builtins": vars(builtins),
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
    counts = [raw.read_i32(base + x) for x in (at.code.co_argcount, at.code.co_kwonlyargcount)]
    yield "a code object's parameters", "code.co_argcount code.co_kwonlyargcount", counts, [2, 1]
    words = at.frame.localsplus // 8 + code.co_nlocals + code.co_stacksize
    yield "a code object's frame size", "code.co_framesize", raw.read_i32(base + at.code.co_framesize), words
    names = raw.read_u64(base + at.code.co_localsplusnames)
    yield "names of locals", "code.co_localsplusnames", raw.read_u64(names + at.tuple.ob_item), id(code.co_varnames[0])
    start = raw.read_bytes(base + at.code.co_code_adaptive, 2)
    yield "first instruction", "code.co_code_adaptive", start, code.co_code[:2]
    yield from _instrumented(at)


def _instrumented(at: Layouts) -> Iterator[Row]:
    """A code object with an event of a tool of its own, if there is a free one."""
    covered = "code.monitoring monitoring.active_monitors code.instrumentation_version"
    tool = next((n for n in (4, 3) if sys.monitoring.get_tool(n) is None), None)
    if tool is None:
        yield "monitoring data", covered, "tool ids 3 and 4 are taken", "one of them free"
        return

    def probed() -> None:
        """Its code object is its own."""

    code = probed.__code__
    version_before = raw.read_u64(id(code) + at.code.instrumentation_version)
    sys.monitoring.use_tool_id(tool, "minijit self-check")
    sys.monitoring.set_local_events(tool, code, sys.monitoring.events.PY_START)
    data = raw.read_u64(id(code) + at.code.monitoring)
    tools = raw.read_u8(data + at.monitoring.active_monitors) if _is_pointer(data) else None
    version = raw.read_u64(id(code) + at.code.instrumentation_version)
    sys.monitoring.set_local_events(tool, code, 0)
    sys.monitoring.free_tool_id(tool)
    yield "monitoring data", covered, tools, 1 << tool
    current = raw.read_u64(_pointer("PyInterpreterState_Get") + MONITORING_VERSION)
    yield (
        "instrumentation version",
        "code.instrumentation_version",
        (version_before in (0, current), version),
        (
            True,
            current,
        ),
    )


def _is_pointer(word: int) -> bool:
    return word % 8 == 0 and 4096 < word < 2**47


def _frames(at: Layouts) -> Iterator[Row]:
    frame = sys._getframe()
    address = raw.read_u64(id(frame) + at.frame_object.f_frame)
    if not _is_pointer(address):
        yield "a frame", "frame_object.f_frame", address, "a pointer"
        return
    marker = object()
    code = frame.f_code
    slot = at.frame.localsplus + 8 * code.co_varnames.index("marker")
    yield "a local", "frame.localsplus frame_object.f_frame", raw.read_u64(address + slot), id(marker)
    pointers: dict[str, object] = {
        "f_code": code,
        "f_funcobj": _frames,
        "f_globals": frame.f_globals,
        "f_builtins": frame.f_builtins,
        "frame_obj": frame,
    }
    for name, value in pointers.items():
        yield f"a frame's {name}", f"frame.{name}", raw.read_u64(address + getattr(at.frame, name)), id(value)
    assert frame.f_back is not None
    yield "a frame's f_locals", "frame.f_locals", raw.read_u64(address + at.frame.f_locals), 0
    # This frame is a generator's: it is suspended and resumed in place, and owned by the generator.
    yield "a frame's owner", "frame.owner", raw.read_u8(address + at.frame.owner), 1
    yield "a frame's return offset", "frame.return_offset", raw.read_u16(address + at.frame.return_offset), 0
    yield from _plain_frame(at)


def _plain_frame(at: Layouts) -> list[Row]:
    """The fields of a frame that are not a generator's, of this very frame and its caller."""
    frame = sys._getframe()
    address = raw.read_u64(id(frame) + at.frame_object.f_frame)
    caller = raw.read_u64(id(frame.f_back) + at.frame_object.f_frame)
    lowest = id(frame.f_code) + at.code.co_code_adaptive
    here = raw.read_u64(address + at.frame.prev_instr) - lowest
    depth = raw.read_i32(caller + at.frame.stacktop) - len(_frames.__code__.co_varnames)
    return [
        ("the caller's frame", "frame.previous", raw.read_u64(address + at.frame.previous), caller),
        ("the current instruction", "frame.prev_instr", 0 < here < len(frame.f_code.co_code) and here % 2, 0),
        ("the caller's stack depth", "frame.stacktop", 0 <= depth <= _frames.__code__.co_stacksize, True),
    ]


def _threads(at: Layouts) -> list[Row]:
    thread = _pointer("PyThreadState_Get")
    frame = sys._getframe()
    address = raw.read_u64(id(frame) + at.frame_object.f_frame)
    cframe = raw.read_u64(thread + at.thread.cframe)
    limit = raw.read_i32(thread + at.thread.py_recursion_limit)
    depth = limit - raw.read_i32(thread + at.thread.py_recursion_remaining)
    chunk = raw.read_u64(thread + at.thread.datastack_chunk)
    # Read by ctypes itself: a function of ours would be the current frame.
    current = ctypes.c_uint64.from_address(cframe).value if _is_pointer(cframe) else None
    rows: list[Row] = [
        (
            "a thread's interpreter",
            "thread.interp",
            raw.read_u64(thread + at.thread.interp),
            _pointer("PyInterpreterState_Get"),
        ),
        ("the recursion limit", "thread.py_recursion_limit", limit, sys.getrecursionlimit()),
        ("the recursion depth", "thread.py_recursion_remaining", 0 < depth <= limit, True),
        (
            "C recursion left",
            "thread.c_recursion_remaining",
            0 < raw.read_i32(thread + at.thread.c_recursion_remaining) < 2**16,
            True,
        ),
        ("whether events are off", "thread.tracing", raw.read_i32(thread + at.thread.tracing), 0),
        ("the current frame", "thread.cframe", current, address),
    ]
    return [*rows, *_data_stack(at, thread, chunk, address, frame.f_code.co_stacksize + frame.f_code.co_nlocals)]


def _data_stack(at: Layouts, thread: int, chunk: int, frame: int, slots: int) -> list[Row]:
    """The data stack: the running frame lies in the newest chunk, and the stack's top behind it."""
    names = "thread.datastack_chunk stack_chunk.previous stack_chunk.size stack_chunk.top stack_chunk.data"
    if not _is_pointer(chunk):
        return [("the data stack", names, chunk, "a pointer")]
    top, limit = (raw.read_u64(thread + x) for x in (at.thread.datastack_top, at.thread.datastack_limit))
    size = raw.read_u64(chunk + at.stack_chunk.size)
    previous = raw.read_u64(chunk + at.stack_chunk.previous)
    saved = raw.read_u64(chunk + at.stack_chunk.top)
    after_frame = frame + at.frame.localsplus + 8 * slots
    return [
        ("the end of the data stack", "thread.datastack_limit stack_chunk.size", limit, chunk + size),
        (
            "the running frame's chunk",
            "thread.datastack_chunk stack_chunk.data",
            chunk + at.stack_chunk.data <= frame < limit,
            True,
        ),
        # Behind this frame there is at most the one of this very function.
        ("the top of the data stack", "thread.datastack_top", after_frame <= top <= after_frame + 4096, True),
        ("the chunk before", "stack_chunk.previous", previous == 0 or _is_pointer(previous), True),
        ("a chunk's saved top", "stack_chunk.top", saved < size // 8, True),
    ]


# The interpreter state

MONITORING_VERSION = 48
"""Where 3.12 keeps the version of global monitoring; checked by `_instrumented` against a code object's own."""
_SEARCHED = 4096


def _calibrated() -> Interpreter | Unsupported:
    state = _pointer("PyInterpreterState_Get")
    breaker = _eval_breaker(state)
    if breaker is None:
        return Unsupported(UnsupportedReason.LAYOUT, "the eval breaker was not found")
    return Interpreter(state, state + breaker, state + MONITORING_VERSION)


_nothing = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: 0)
"""What the pending call does."""


def _eval_breaker(state: int) -> int | None:
    """The offset of the eval breaker: the first word of the state that a pending call changes from 0 to 1.

    The interpreter clears it before its next bytecode, so the copies and the call are made by C functions in a row.
    """
    add, copy = ctypes.pythonapi.Py_AddPendingCall, ctypes.memmove
    before, after = (ctypes.create_string_buffer(_SEARCHED) for _ in range(2))
    steps: tuple[tuple[Callable[..., object], Any, Any, Any], ...] = (
        (copy, before, state, _SEARCHED),
        (add, _nothing, None, 0),
        (copy, after, state, _SEARCHED),
    )
    collections.deque(itertools.starmap(operator.call, steps), maxlen=0)
    old, new = bytes(before), bytes(after)
    for offset in range(0, _SEARCHED, 4):
        if (old[offset : offset + 4], new[offset : offset + 4]) == (bytes(4), b"\1\0\0\0"):
            return offset
    return None
