"""Builtin functions made of machine code: what CPython calls without a frame.

In: the address of a function with the signature of METH_FASTCALL. Out: a callable object.
"""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False  # part of the start of every program under MINIJIT=1

if TYPE_CHECKING:
    from collections.abc import Callable

METH_FASTCALL = 0x80


class MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )

    @property
    def address(self) -> int:
        return ctypes.addressof(self)


_definitions: dict[int, MethodDef] = {}
"""By the function's address. Kept for good: a builtin that is called while it goes out of use looks into it then."""
_new_builtin = ctypes.pythonapi.PyCFunction_NewEx
_new_builtin.restype = ctypes.py_object
_new_builtin.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]


def builtin(name: bytes, address: int, owner: object = None) -> Callable[..., object]:
    """The function at an address, which gets `owner` as its first argument."""
    if address not in _definitions:
        _definitions[address] = MethodDef(name, address, METH_FASTCALL, None)
    return _new_builtin(_definitions[address].address, owner, None)  # type: ignore[no-any-return]
