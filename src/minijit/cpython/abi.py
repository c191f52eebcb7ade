"""What machine code may rely on in this interpreter: its layouts, and where the interpreter state has what is needed.

Everything native asks here: `abi.FRAME.prev_instr` is an offset in bytes (declared in `layouts`). Before anything
native is installed `supported()` compares all layouts with live objects (`self_check`); a mismatch names the field,
and minijit stays off. The interpreter state is no part of any ABI: what is needed of it is *calibrated*, by changing a
thing and looking which bytes change.
"""

from __future__ import annotations

import collections
import ctypes
import enum
import itertools
import operator
import platform
import struct
import sys
from dataclasses import dataclass

from minijit.cpython import raw
from minijit.cpython.layouts import (
    CODE,
    FLOAT,
    FRAME,
    FRAME_OBJECT,
    FUNCTION,
    LAYOUTS,
    LONG,
    MONITORING,
    OBJECT,
    RANGE_ITERATOR,
    STACK_CHUNK,
    THREAD,
    TUPLE,
    UNICODE,
    VAR_OBJECT,
    Layouts,
    all_fields,
)
from minijit.cpython.self_check import MONITORING_VERSION, Check, self_check, state_pointer

__all__ = [
    "CODE",
    "FLOAT",
    "FRAME",
    "FRAME_OBJECT",
    "FUNCTION",
    "LAYOUTS",
    "LONG",
    "MONITORING",
    "OBJECT",
    "RANGE_ITERATOR",
    "STACK_CHUNK",
    "THREAD",
    "TUPLE",
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
    if state_pointer("PyInterpreterState_Get") != state_pointer("PyInterpreterState_Main"):
        return Unsupported(UnsupportedReason.SUBINTERPRETER)
    return None


# ---- the interpreter state

_SEARCHED = 4096
_TRIES = 20
_add_pending_call = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(
    ("Py_AddPendingCall", ctypes.pythonapi)
)


def _calibrated() -> Interpreter | Unsupported:
    state = state_pointer("PyInterpreterState_Get")
    breaker = _eval_breaker(state)
    if breaker is None:
        return Unsupported(UnsupportedReason.LAYOUT, "the eval breaker was not found")
    return Interpreter(state, state + breaker, state + MONITORING_VERSION)


def _eval_breaker(state: int) -> int | None:
    """The offset of the eval breaker: the word that a pending call changes from 0 to 1.

    3.12 has the request to drop the GIL and the recursion limit behind it, which tells it from other flags. It may be
    set already, by a thread that waits or by a call that the main thread has not come to: then the neighbours alone
    have to do.
    """
    candidates: list[int] = []
    for _ in range(_TRIES):
        before, after = _around_pending_call(state)
        candidates = [k for k in range(len(after) - 2) if _is_breaker(*after[k : k + 3])]
        if len(candidates) == 1 and not before[candidates[0]]:
            break
    return 4 * candidates[0] if len(candidates) == 1 else None


def _is_breaker(flag: int, drop_request: int, limit: int) -> bool:
    return flag == 1 and drop_request in (0, 1) and limit == sys.getrecursionlimit()


def _around_pending_call(state: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The beginning of the interpreter state before and after a pending call was asked for.

    The interpreter clears the flag before its next bytecode, and other threads change it: so the copies and the call
    are made by C functions in a row that keep the GIL. The call is one that does nothing and returns 0.
    """
    before, after = (raw.Buffer(_SEARCHED) for _ in range(2))
    steps = (
        (raw.copy, before.address, state, _SEARCHED),
        (_add_pending_call, raw.symbol("PyErr_Occurred"), None),
        (raw.copy, after.address, state, _SEARCHED),
    )
    collections.deque(itertools.starmap(operator.call, steps), maxlen=0)
    words = struct.Struct(f"{_SEARCHED // 4}i")
    old, new = (words.unpack(raw.read_bytes(buffer.address, _SEARCHED)) for buffer in (before, after))
    return old, new
