"""C functions at the start of a process: what `ctypes` gives, from the module that it is made of.

To load `ctypes` takes longer than all else that a program pays for under MINIJIT=1 before anything in it is hot. What
is needed until then are three functions.
"""

from __future__ import annotations

import _ctypes

TYPE_CHECKING = False  # part of the start of every program under MINIJIT=1

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_GIL_HELD_C_CALL = 1 | 4
"""Of `_flags_`: C's calling convention, and an exception that is set is raised."""
_library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
_Simple: Any = _ctypes._SimpleCData

CONTENT = bytes.__basicsize__ - 1
"""Where the bytes of a bytes object begin, from its address on."""


class Int(_Simple):  # type: ignore[misc]
    """A C int."""

    _type_ = "i"


class Long(_Simple):  # type: ignore[misc]
    """A C long."""

    _type_ = "l"


class Word(_Simple):  # type: ignore[misc]
    """A pointer, or a size, as an int: 0 for NULL."""

    _type_ = "L"


class Object(_Simple):  # type: ignore[misc]
    """A Python object."""

    _type_ = "O"


def address_of(name: str) -> int:
    """The address of a function of the process. Raises `OSError` if there is none of that name."""
    return _ctypes.dlsym(_library, name)


def function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A C function of the process, called with the GIL held."""
    kind = type(name, (_ctypes.CFuncPtr,), {"_flags_": _GIL_HELD_C_CALL, "_restype_": result, "_argtypes_": arguments})
    return kind(address_of(name))  # type: ignore[no-any-return]


def content(of: bytes) -> int:
    """The address of the bytes of a bytes object, for as long as that lives."""
    return id(of) + CONTENT


_copy = function("memmove", Word, Word, Word, Word)


def write(address: int, content_of: bytes) -> None:
    """Writes bytes to an address."""
    _copy(address, content(content_of), len(content_of))


def word(value: int) -> bytes:
    """The bytes of a word in memory."""
    return value.to_bytes(8, "little")
