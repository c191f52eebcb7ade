"""Live interpreter frames, read through their layout.

Only for frames that cannot move or go away meanwhile: those of the calling thread, inside a monitoring callback.
Everything here borrows: no reference is taken or given back.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.cpython import abi, raw

if TYPE_CHECKING:
    from types import CodeType, FrameType

_thread_state = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_Get", ctypes.pythonapi))
_NAMED: tuple[type, ...] = (int, float, bool, type(None), tuple, str, list, type(iter(range(0))), type(iter([])))
_NAMES = {id(kind): kind.__name__ for kind in _NAMED}


@dataclass(frozen=True, slots=True)
class Frame:
    """The interpreter frame at an address."""

    address: int

    @property
    def code(self) -> int:
        """The address of the code object."""
        return raw.read_u64(self.address + abi.FRAME.f_code)

    @property
    def function(self) -> int:
        """The address of the function object."""
        return raw.read_u64(self.address + abi.FRAME.f_funcobj)

    @property
    def stacktop(self) -> int:
        """How many slots are in use; meaningful only where the interpreter has written it back, as in a JUMP
        callback."""
        return raw.read_i32(self.address + abi.FRAME.stacktop)

    def slot(self, index: int) -> int:
        """The address of the object in a slot (locals first, then the stack); 0 for none."""
        return raw.read_u64(self.address + abi.FRAME.localsplus + 8 * index)

    @property
    def is_in_globals(self) -> bool:
        """Whether the locals are in a namespace, and that is the globals: a module's frame."""
        address = self.address
        return raw.read_u64(address + abi.FRAME.f_locals) == raw.read_u64(address + abi.FRAME.f_globals)

    def namespaces(self) -> tuple[dict[str, object], dict[str, object]]:
        """The globals and the builtins."""
        return (
            raw.borrow(raw.read_u64(self.address + abi.FRAME.f_globals)),
            raw.borrow(raw.read_u64(self.address + abi.FRAME.f_builtins)),
        )


def _address(frame: FrameType) -> int:
    """Where the interpreter has what a frame object is about."""
    return raw.read_u64(id(frame) + abi.FRAME_OBJECT.f_frame)


_OF_C = 3
"""The owner of a frame that only says that C code has called the interpreter."""


def _above(address: int) -> int:
    """The Python frame around another; 0 for none. No frame object is made of it, which would live as long as it does,
    and be counted by the garbage collector when it ends."""
    address = raw.read_u64(address + abi.FRAME.previous)
    while address and raw.read_bytes(address + abi.FRAME.owner, 1)[0] == _OF_C:
        address = raw.read_u64(address + abi.FRAME.previous)
    return address


def current(depth: int = 1) -> Frame:
    """The frame `depth` Python calls above the caller."""
    address = _address(sys._getframe())
    for _ in range(depth + 1):
        address = _above(address)
    assert address, "there are not so many frames"
    return Frame(address)


def running(code: CodeType) -> Frame | None:
    """The innermost frame of that code in the calling thread."""
    address = _address(sys._getframe())
    while address := _above(address):
        if Frame(address).code == id(code):
            return Frame(address)
    return None


def is_alive(address: int, code: CodeType) -> bool:
    """Whether there is a frame of that code at the address, in the calling thread."""
    found = _address(sys._getframe())
    while found := _above(found):
        if found == address:
            return Frame(found).code == id(code)
    return False


def depth() -> int:
    """How many Python calls deep the calling thread is, as the recursion limit counts them; less by what the limit was
    lifted, if it was."""
    thread = _thread_state()
    limit, left = abi.THREAD.py_recursion_limit, abi.THREAD.py_recursion_remaining
    return raw.read_i32(thread + limit) - raw.read_i32(thread + left)


def type_address(object: int) -> int:
    """The address of an object's type."""
    return raw.read_u64(object + abi.OBJECT.ob_type)


def type_name(object: int) -> str:
    """The name of the exact type, for the types that recordings tell apart; '' for no object, '?' for others."""
    if not object:
        return ""
    return _NAMES.get(type_address(object), "?")


def range_fields(address: int) -> tuple[int, int, int]:
    """The next value, the step and the number of values left of a range iterator."""
    layout = abi.RANGE_ITERATOR
    start, step, length = (raw.read_i64(address + at) for at in (layout.start, layout.step, layout.length))
    return start, step, length


def int_value(object: int) -> int:
    """The value of an exact int object."""
    value: int = raw.borrow(object)
    return value


def is_unshared(object: int) -> bool:
    """Whether one reference holds the object."""
    return raw.read_u64(object + abi.OBJECT.ob_refcnt) == 1
