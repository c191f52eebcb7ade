"""One event in so many: machine code in front of the scout, kept on disk from process to process.

In: a file with two functions that `backend.sampling` has made, which refer to nothing by address, and the tables that
they use. Out: two callables for `sys.monitoring` that answer None to most events, in some nanoseconds, or that nothing
more is to be heard of code that does not compute, and hand one in 32 or so, at random, on to the scout; after that, the
code object has its superinstructions again. Where there is no such file, or it is none that this user has written, the
scout gets all events itself.

The file is mapped as it is: nobody but this user (or root) may be able to write it, or its directory. It is put in
place at once (`cache_files`), so what is mapped never changes. It is a matter of speed alone: it may be deleted.
"""

from __future__ import annotations

import _imp
import os

from minijit.cpython import bare, cache_files
from minijit.cpython.builtin import builtin
from minijit.cpython.scout import DISABLE

TYPE_CHECKING = False  # part of the start of every program under MINIJIT=1

if TYPE_CHECKING:
    from minijit.cpython.scout import Scout

WORDS = (
    *("left", "random", "mask", "vectorcall", "none", "code_type", "tables", "thread"),
    *("on_start", "on_jump", "disable"),
)
"""What the functions find in the bytes object that they get as their first argument."""
PAGE = 4096
_MASK = 63
SEED = 0x9E3779B97F4A7C15
"""Anything but 0."""
_READ, _EXECUTE, _PRIVATE = 1, 4, 2
_FAILED = 2**64 - 1


def mask(threshold: int) -> int:
    """How the distance from one event that is handed on to the next is drawn: 1 to mask + 1; all where the threshold is
    so low that they would be missed."""
    return _MASK if threshold >= 10 * _MASK else 0


def weight(mask: int) -> int:
    """How many events one stands for that is handed on."""
    return mask // 2 + 1


class Sampler:
    """Hands events on to a scout. Raises `OSError` or `ValueError` where there is no file that can be used."""

    def __init__(self, path: str, scout: Scout, mask: int) -> None:
        code, (tables, *offsets) = _mapped(path)
        self._handlers = scout.on_start, scout.on_jump
        values = (
            1,
            SEED ^ os.getpid(),
            mask,
            bare.address_of("PyObject_Vectorcall"),
            id(None),
            id(type(_mapped.__code__)),
            code + tables,
            bare.address_of("PyThreadState_Get"),
            *map(id, self._handlers),
            id(DISABLE),
        )
        # An object of its own, which nobody else will ever see: the functions count in it.
        self._words = bytes(8 * len(WORDS))
        bare.write(bare.content(self._words), b"".join(map(bare.word, values)))
        self.on_start, self.on_jump = (
            builtin(name, code + offset, self._words)
            for name, offset in zip((b"on_start", b"on_jump"), offsets, strict=True)
        )


def _mapped(path: str) -> tuple[int, tuple[int, ...]]:
    """Where the file's code is in memory now, and where in it the tables of `superinstructions` begin, and the two
    functions."""
    file = cache_files.open_own(path)
    try:
        size = os.fstat(file).st_size - _FOOTER
        if size <= 0 or size % PAGE:
            raise ValueError("it has another size")
        address = _mmap(0, size, _READ | _EXECUTE, _PRIVATE, file, 0)
        if address == _FAILED:
            raise OSError("it cannot be mapped")
        code, footer = os.pread(file, size, 0), os.pread(file, _FOOTER, size)
    finally:
        os.close(file)
    offsets = tuple(int.from_bytes(footer[at : at + 8], "little") for at in (0, 8, 16))
    if footer != _footer(code, offsets):
        raise ValueError("it is damaged")
    return address, offsets


_mmap = bare.function("mmap", bare.Word, bare.Word, bare.Word, bare.Int, bare.Int, bare.Int, bare.Long)
_FOOTER = 32
_SUM_KEY = 0


def _footer(code: bytes, offsets: tuple[int, ...]) -> bytes:
    """What stands behind the code: where what begins, and a sum over all of it."""
    words = b"".join(map(bare.word, offsets))
    # What tells whether a module's file is up to date; it is there at once, where a library would have to be loaded.
    return words + _imp.source_hash(_SUM_KEY, code + words)


def save(path: str, code: bytes, tables: bytes, on_start: int, on_jump: int) -> None:
    """Writes the file, for this user alone. Raises `OSError`."""
    both = code + tables
    padded = both.ljust(-(-len(both) // PAGE) * PAGE, b"\0")
    cache_files.put(path, padded + _footer(padded, (len(code), on_start, on_jump)))
