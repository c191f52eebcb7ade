"""The C library's heap: how much of it is in use, giving a block back, and a look at memory that may not be there.

For what another library allocated and lost (`backend/pass_builders`). Where the C library cannot say how much is in
use, as those other than glibc cannot, `in_use` is None.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from minijit.cpython import raw

_MEMORY = "/proc/self/mem"
_FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Statistics(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    # With the GIL held: no other Python thread allocates between two looks.
    function = getattr(raw.libc, name, None)
    if function is not None:
        function.restype, function.argtypes = result, arguments
    return function


_mallinfo2 = _function("mallinfo2", _Statistics)
_free = _function("free", None, ctypes.c_void_p)


def in_use() -> int | None:
    """The bytes of all blocks that are not free; None if unknown."""
    if _mallinfo2 is None:
        return None
    used: int = _mallinfo2().uordblks
    return used


def block_size(address: int) -> int | None:
    """What the block at an address takes; anything, or None, if there is none.

    Not `malloc_usable_size`, which crashes then. glibc keeps the size in front of a block, with flags in its last bits.
    """
    header = peek(address - 8, 1)
    return None if header is None else header[0] & ~7


def free(address: int) -> None:
    """Gives the block at an address back. It must be one, and nobody may use it any more."""
    _free(address)


def pointee(pointer: Any) -> int:
    """What a ctypes pointer points to."""
    return ctypes.addressof(pointer.contents)


def peek(address: int, count: int) -> tuple[int, ...] | None:
    """So many words at an address; None where there is no memory, or none that the system lets us read in this way."""
    try:
        memory = os.open(_MEMORY, os.O_RDONLY)
    except OSError:
        return None
    try:
        content = os.pread(memory, 8 * count, address)
    except (OSError, OverflowError):
        return None
    finally:
        os.close(memory)
    return tuple(memoryview(content).cast("Q")) if len(content) == 8 * count else None
