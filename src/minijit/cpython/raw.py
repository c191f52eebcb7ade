"""Raw memory and references: the few ctypes primitives that the rest of `cpython/` is made of.

An address is an int. The verb says who owns: `borrow` looks, `own` takes a reference that somebody gives back with
`give_back`. A wrong address crashes the process: layouts are checked (`abi`) before anything here is used on the
interpreter's own structures.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_api = ctypes.pythonapi
_incref = _api.Py_IncRef
_incref.argtypes = [ctypes.py_object]
_incref.restype = None
_decref = _api.Py_DecRef
_decref.argtypes = [ctypes.c_void_p]
_decref.restype = None


def _reader(kind: Any) -> Callable[[int], int]:
    read = kind.from_address

    def reader(address: int) -> int:
        value: int = read(address).value
        return value

    return reader


def _writer(kind: Any) -> Callable[[int, int], None]:
    at = kind.from_address

    def writer(address: int, value: int) -> None:
        at(address).value = value

    return writer


read_u8, read_u16 = _reader(ctypes.c_uint8), _reader(ctypes.c_uint16)
read_i32, read_u32 = _reader(ctypes.c_int32), _reader(ctypes.c_uint32)
read_i64, read_u64 = _reader(ctypes.c_int64), _reader(ctypes.c_uint64)
write_u8 = _writer(ctypes.c_uint8)
write_i64, write_u64 = _writer(ctypes.c_int64), _writer(ctypes.c_uint64)


def read_f64(address: int) -> float:
    value: float = ctypes.c_double.from_address(address).value
    return value


def read_bytes(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


libc = ctypes.PyDLL(None)
"""The C library, called with the GIL held."""
copy: Callable[[int, bytes | int, int], object] = ctypes.PYFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
)(("memmove", libc))
"""`copy(target, source, size)` with the GIL held: `ctypes.memmove` lets go of it, so that others see half a copy."""


def write_bytes(address: int, content: bytes) -> None:
    copy(address, content, len(content))


def borrow(address: int) -> Any:
    """The object at an address. Python counts its own use of it; nothing is taken over."""
    return ctypes.cast(address, ctypes.py_object).value


def own(value: object) -> int:
    """Takes a reference; the object's address."""
    _incref(value)
    return id(value)


def give_back(address: int) -> None:
    """Gives back a reference that `own` took."""
    _decref(address)


@cache
def symbol(name: str) -> int:
    """The address of a C function of the interpreter, the C library or libm. Raises `LookupError`."""
    for library in _libraries():
        try:
            # The library keeps it: a function of ctypes' refers to itself, and would be garbage in a cycle.
            function = getattr(library, name)
        except AttributeError:
            continue
        return read_u64(ctypes.addressof(function))
    raise LookupError(f"no C function {name}")


@cache
def _libraries() -> tuple[ctypes.CDLL, ...]:
    """Where C functions are looked for. A C library that has no separate libm has its functions itself."""
    found = [_api, ctypes.CDLL(None)]
    with contextlib.suppress(OSError):
        found.append(ctypes.CDLL("libm.so.6"))
    return tuple(found)


class Closed(Exception):
    """Memory is asked for a word, or given one, that has been freed."""


class Buffer:
    """Zeroed native memory at a fixed address, until it is closed.

    `get` and `set` are for who may come when somebody else closes it: they never touch memory that is free.
    """

    __slots__ = ("_memory", "_words", "address", "size")

    def __init__(self, size: int) -> None:
        content = bytearray(size + -size % 8)
        # Not an array of ctypes': each length makes a type, which is garbage in cycles when it is no longer used.
        self._memory: Any = ctypes.c_char.from_buffer(content)
        self._words = memoryview(content).cast("Q")
        self.address = ctypes.addressof(self._memory)
        self.size = size

    def get(self, index: int) -> int:
        """The unsigned 64 bits that are the word of this index. Raises `Closed` once it is closed."""
        try:
            return self._words[index]
        except ValueError as error:
            raise Closed from error

    def set(self, index: int, value: int) -> None:
        """Sets one word. Raises `Closed` once it is closed, `ValueError` for what is no unsigned word."""
        try:
            self._words[index] = value
        except ValueError as error:
            if self._memory is None:
                raise Closed from error
            raise

    def close(self) -> None:
        """Frees the memory. Safe to call twice."""
        self._words.release()
        self._memory = None


_write = ctypes.PYFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)(("write", libc))


def word(address: int) -> int | None:
    """The word at an address that may be wrong: where a load would crash, the kernel refuses to write from there."""
    reading, writing = os.pipe()
    try:
        if _write(writing, address, 8) != 8:
            return None
        return int.from_bytes(os.read(reading, 8), "little")
    finally:
        os.close(reading)
        os.close(writing)
