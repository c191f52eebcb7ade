"""Signals kept away from a thread for a while, so that no handler of the program runs in the midst of our work.

A handler that raises would tear that work apart: LLVM's objects do not survive it. In a process with several threads
the system may give a signal to another thread, for which the main thread then runs the handler all the same.
"""

from __future__ import annotations

import ctypes
import signal

_KEPT = (
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS),
    signal.SIGPROF,
)
"""Faults, which must stay visible, and what profilers live on."""
BLOCKED = sum(1 << (number - 1) for number in range(1, 65) if number not in _KEPT) - 2**64
"""The signals that are kept away, as the first 64-bit word of a signal set."""
_BYTES = 128
_SIG_SETMASK = 2
_set_mask = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)(
    ("pthread_sigmask", ctypes.PyDLL(None))
)
"""Not `signal.pthread_sigmask`, which runs handlers."""
_set = BLOCKED.to_bytes(8, "little", signed=True) + bytes(_BYTES - 8)


def blocked() -> bytes:
    """Which signals are kept away from this thread now."""
    now = ctypes.create_string_buffer(_BYTES)
    _set_mask(_SIG_SETMASK, None, now)
    return now.raw


def block() -> None:
    """Keeps signals away from this thread."""
    _set_mask(_SIG_SETMASK, _set, None)


def restore(before: bytes) -> None:
    """Keeps away what `blocked` said, and lets the others through."""
    _set_mask(_SIG_SETMASK, before, None)
