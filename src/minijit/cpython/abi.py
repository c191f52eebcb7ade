"""What machine code may rely on in this interpreter: its layouts, and where the interpreter state has what is needed.

Everything native asks here: `abi.FRAME.prev_instr` is an offset in bytes (declared in `layouts`). Before anything
native is installed `supported()` compares all layouts with live objects (`self_check`); a mismatch names the field,
and minijit stays off. The interpreter state is no part of any ABI: what is needed of it is *calibrated*, by changing a
thing and looking which bytes change.
"""

from __future__ import annotations

import _thread
import collections
import contextlib
import ctypes
import itertools
import operator
import struct
import sys
import time
from dataclasses import dataclass

from minijit.cpython import raw
from minijit.cpython.layouts import (
    CELL,
    CODE,
    DICT,
    DICT_KEYS,
    DICT_WATCHERS,
    FLOAT,
    FRAME,
    FRAME_OBJECT,
    FUNCTION,
    INSTANCE,
    INTERPRETER,
    ITEM_ITERATOR,
    LAYOUTS,
    LIST,
    LONG,
    MEMBER,
    MEMBER_DESCRIPTOR,
    MONITORING,
    OBJECT,
    RANGE_ITERATOR,
    RUNTIME,
    SET,
    STACK_CHUNK,
    THREAD,
    TUPLE,
    TYPE,
    UNICODE,
    VAR_OBJECT,
    Layouts,
    all_fields,
)
from minijit.cpython.self_check import MONITORING_VERSION, Check, self_check, state_pointer
from minijit.cpython.support import Unsupported, UnsupportedReason, wrong_platform

__all__ = [
    "CELL",
    "CODE",
    "DICT",
    "DICT_KEYS",
    "DICT_WATCHERS",
    "FLOAT",
    "FRAME",
    "FRAME_OBJECT",
    "FUNCTION",
    "INSTANCE",
    "INTERPRETER",
    "ITEM_ITERATOR",
    "LAYOUTS",
    "LIST",
    "LONG",
    "MEMBER",
    "MEMBER_DESCRIPTOR",
    "MONITORING",
    "OBJECT",
    "RANGE_ITERATOR",
    "RUNTIME",
    "SET",
    "STACK_CHUNK",
    "THREAD",
    "TUPLE",
    "TYPE",
    "UNICODE",
    "VAR_OBJECT",
    "Check",
    "Interpreter",
    "Layouts",
    "Unsupported",
    "UnsupportedReason",
    "all_fields",
    "self_check",
    "supported",
]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Addresses in the main interpreter's state."""

    state: int
    eval_breaker: int
    monitoring_version: int


def supported(layouts: Layouts = LAYOUTS) -> Interpreter | Unsupported:
    """The interpreter's addresses, or why minijit cannot work here.

    `support.find` also has an answer where this module cannot be loaded.
    """
    refusal = wrong_platform()
    if refusal is not None:
        return refusal
    if state_pointer("PyInterpreterState_Get") != state_pointer("PyInterpreterState_Main"):
        return Unsupported(UnsupportedReason.SUBINTERPRETER)
    for check in self_check(layouts):
        if not check.ok:
            return Unsupported(UnsupportedReason.LAYOUT, f"{check.name} ({', '.join(check.fields)}): {check.detail}")
    return _calibrated()


# ---- the interpreter state

_SEARCHED = 4096
_TRIES = 100
_PAUSE = 0.001
_set_async_exception = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


def _calibrated() -> Interpreter | Unsupported:
    state = state_pointer("PyInterpreterState_Get")
    breaker = _eval_breaker(state)
    if breaker is None:
        return Unsupported(UnsupportedReason.LAYOUT, "the eval breaker was not found")
    return Interpreter(state, state + breaker, state + MONITORING_VERSION)


def _eval_breaker(state: int) -> int | None:
    """The offset of the eval breaker: the word that a signal to this thread changes from 0 to 1.

    3.12 has the request to drop the GIL and the recursion limit behind it, which tells it from other flags. If another
    thread has set it before, that thread is let run, and then once more.
    """
    limit = sys.getrecursionlimit()
    for _ in range(_TRIES):
        before, after = _around_signal(state)
        for k, (was, now) in enumerate(zip(before, after, strict=True)):
            if (was, now) == (0, 1) and after[k + 1 : k + 3] in ((0, limit), (1, limit)):
                return 4 * k
        time.sleep(_PAUSE)
    return None


class _Signal(Exception):
    """Raised in this thread on its own behalf."""


def _around_signal(state: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The beginning of the interpreter state before and after this thread is signalled.

    The signal is an asynchronous exception, since a pending call signals the main thread only. The interpreter raises
    it at the first opportunity, and other threads change the state: so everything is done by C functions in a row that
    keep the GIL.
    """
    before, after = (raw.Buffer(_SEARCHED) for _ in range(2))
    steps = (
        (raw.copy, before.address, state, _SEARCHED),
        (_set_async_exception, _thread.get_ident(), _Signal),
        (raw.copy, after.address, state, _SEARCHED),
    )
    with contextlib.suppress(_Signal):
        collections.deque(itertools.starmap(operator.call, steps), maxlen=0)
    words = struct.Struct(f"{_SEARCHED // 4}i")
    old, new = (words.unpack(raw.read_bytes(buffer.address, _SEARCHED)) for buffer in (before, after))
    return old, new
