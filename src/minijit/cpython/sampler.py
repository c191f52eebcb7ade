"""One event in so many: machine code in front of the scout, kept on disk from process to process.

In: a file with the functions that `backend.sampling` has made, which refer to nothing by address, and the tables that
they use. Out: two callables for `sys.monitoring` that answer None to most events, in some nanoseconds, or that nothing
more is to be heard of code that does not compute, and hand one in 128 or so, at random, on to the scout; after that,
the code object has its superinstructions again. And a watcher of new code objects, most of which compute nothing and
run once: these are not instrumented at all. Where there is no such file, or it is none that this user has written, the
scout gets all events itself.

Nobody but this user (or root) may be able to write the file, or its directory; what is executed is a copy of what was
checked. It is a matter of speed alone: it may be deleted.
"""

from __future__ import annotations

import _imp
import os
import sys

from minijit.cpython import bare, cache_files
from minijit.cpython.builtin import builtin
from minijit.cpython.scout import DISABLE

TYPE_CHECKING = False  # part of the start of every program under MINIJIT=1

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minijit.cpython.scout import Scout

WORDS = (
    *("left", "random", "mask", "vectorcall", "none", "code_type", "tables", "thread"),
    *("on_start", "on_jump", "disable"),
)
"""What the functions find in the bytes object that they get as their first argument."""
PAGE = 4096
SLOT = 8
"""Bytes in front of the watcher where the address of what it needs stands."""
_BITS = 8
SEED = 0x9E3779B97F4A7C15
"""Anything but 0."""
_READ, _WRITE, _EXECUTE = 1, 2, 4
_PRIVATE, _ANONYMOUS = 0x2, 0x20
_FAILED = 2**64 - 1


def mask(threshold: int) -> int:
    """How the distance from one event that is handed on to the next is drawn: 1 to mask + 1. A place that reaches the
    threshold has been handed on some 20 times at least; all of its events where the threshold is very low."""
    return (1 << min(_BITS, max(threshold // 10, 1).bit_length() - 1)) - 1


def weight(mask: int) -> int:
    """How many events one stands for that is handed on."""
    return mask // 2 + 1


class Sampler:
    """Hands events on to a scout. Raises `OSError` or `ValueError` where there is no file that can be used."""

    def __init__(self, path: str, scout: Scout, mask: int) -> None:
        code, (tables, *offsets, self._on_code, learn) = _mapped(path)
        self._on_code += code
        self._learn = builtin(b"learn", code + learn)
        self._watcher: int | None = None
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

    def watch(self) -> None:
        """What of new code objects computes nothing is taken for instrumented from now on, as long as nobody changes
        which events all code has. Nobody but us may want any now."""
        try:
            self._watcher = _add_watcher(self._on_code)
        except RuntimeError:
            return  # All ids are taken.
        # What runs is up to date.
        self._learn(sys._getframe().f_code)

    def unwatch(self) -> None:
        """All new code is heard of."""
        if self._watcher is not None:
            number, self._watcher = self._watcher, None
            try:
                _clear_watcher(number)
            except ValueError:
                return  # Somebody else has done so.


def _mapped(path: str) -> tuple[int, tuple[int, ...]]:
    """Where a copy of the file's code is in memory now, and where in it the tables of `superinstructions` begin, and
    the functions."""
    file = cache_files.open_own(path)
    try:
        size = os.fstat(file).st_size - _FOOTER
        if size <= 0 or size % PAGE:
            raise ValueError("it has another size")
        code, footer = os.pread(file, size, 0), os.pread(file, _FOOTER, size)
    finally:
        os.close(file)
    offsets = tuple(int.from_bytes(footer[at : at + 8], "little") for at in range(0, 8 * _OFFSETS, 8))
    if footer != _footer(code, offsets):
        raise ValueError("it is damaged")
    *_, on_code, _ = offsets
    address = _mmap(0, size, _READ | _WRITE, _PRIVATE | _ANONYMOUS, -1, 0)
    if address == _FAILED:
        raise OSError("there is no memory for it")
    bare.write(address, code)
    # A word that is never freed: the watcher looks at it for as long as there are code objects.
    bare.write(address + on_code - SLOT, bare.word(_allocate(1, 8)))
    if _mprotect(address, size, _READ | _EXECUTE):
        raise OSError("it may not be executed")
    return address, offsets


_mmap = bare.function("mmap", bare.Word, bare.Word, bare.Word, bare.Int, bare.Int, bare.Int, bare.Long)
_mprotect = bare.function("mprotect", bare.Int, bare.Word, bare.Word, bare.Int)
_allocate = bare.function("PyMem_RawCalloc", bare.Word, bare.Word, bare.Word)
_add_watcher = bare.function("PyCode_AddWatcher", bare.Int, bare.Word)
_clear_watcher = bare.function("PyCode_ClearWatcher", bare.Int, bare.Int)
_OFFSETS = 5
_FOOTER = 8 * _OFFSETS + 8
_SUM_KEY = 0


def _footer(code: bytes, offsets: tuple[int, ...]) -> bytes:
    """What stands behind the code: where what begins, and a sum over all of it."""
    words = b"".join(map(bare.word, offsets))
    # What tells whether a module's file is up to date; it is there at once, where a library would have to be loaded.
    return words + _imp.source_hash(_SUM_KEY, code + words)


FUNCTIONS = "on_start", "on_jump", "on_code", "learn"


def save(path: str, code: bytes, tables: bytes, functions: Mapping[str, int]) -> None:
    """Writes the file, for this user alone; `functions` tells where in the code those of `FUNCTIONS` begin. Raises
    `OSError`."""
    both = code + tables
    padded = both.ljust(-(-len(both) // PAGE) * PAGE, b"\0")
    cache_files.put(path, padded + _footer(padded, (len(code), *(functions[name] for name in FUNCTIONS))))
