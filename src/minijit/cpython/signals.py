"""Signal handlers held back for a while, so that none of the program's runs in the midst of our work.

A handler that raises would tear that work apart; LLVM's objects do not survive it. Blocking the signals in the thread
is no remedy: the system gives them to another thread then, for which the main thread runs the handler all the same. So
while our work is under way in the main thread, the interpreter is told that no thread is the main one
(`_PyRuntime.main_thread`): signals are noted as ever, and their handlers wait until the word is back. The machine code
that calls our handler does the same (`backend.handler_stub`).
"""

from __future__ import annotations

import _thread
import ctypes
from functools import cache
from typing import TYPE_CHECKING

from minijit.cpython import raw
from minijit.cpython.layouts import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 0
"""No thread's identity."""


@cache
def main_thread() -> int:
    """The address of the word that says which thread runs signal handlers."""
    return raw.symbol("_PyRuntime") + RUNTIME.main_thread


def hold_back() -> bool:
    """Lets no handler run until `let_through`; whether there is anything to let through then: not where this thread
    runs no handlers, or holds them back already."""
    if raw.read_u64(main_thread()) != _thread.get_ident():
        return False
    raw.write_u64(main_thread(), NOBODY)
    return True


def let_through_with(release: int) -> object:
    """An object with whose end handlers run again in this thread: when C code drops it, in which none can run.

    `release` is the address of the stub of that name (see `backend.handler_stub`).
    """
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    capsule: object = new(("PyCapsule_New", ctypes.pythonapi))(_thread.get_ident(), None, release)
    return capsule


def let_through() -> None:
    """Lets handlers run again, in this thread, and looks at once which are due."""
    raw.write_u64(main_thread(), _thread.get_ident())
    # Whatever looked meanwhile found nothing to do and may have said so.
    _signal_received()(_main_interpreter()())


@cache
def _main_interpreter() -> Callable[[], int]:
    return ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyInterpreterState_Main", ctypes.pythonapi))


@cache
def _signal_received() -> Callable[[int], None]:
    return ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("_PyEval_SignalReceived", ctypes.pythonapi))
