"""Marks that outlive the process: in which region it is at this moment, if that is one of whose making little is known.

One page of words at an address that never changes, so that machine code may have it in itself. It is memory like any
other until `keep_in` puts the page of a file there: what is written from then on is in the file, however the process
ends. Nothing is written back, nothing has to be closed, and no signal handler is needed.

The file is locked (`flock`) by whoever has its page. The lock is the mapping's and not a descriptor's, which the
program might close: the kernel lets go of it with the process, whatever becomes of its number. A forked child has the
mapping as well, until it lets go.
"""

from __future__ import annotations

import fcntl
import os
from typing import NamedTuple

from minijit.cpython import pages, raw

SIZE = pages.PAGE_SIZE
FORMAT = int.from_bytes(b"minijit\x01", "little")
"""The first word of a file of marks."""
_WORDS = ("format", "running", "compiling")


class Left(NamedTuple):
    """What stood in the marks when a process ended: keys of regions, or 0."""

    running: int
    compiling: int


class Marks:
    """A page of marks. It is never freed: machine code that writes to it may be on any thread's stack."""

    def __init__(self) -> None:
        self._address = pages.map_pages(SIZE)

    def place(self, word: str) -> int:
        """The address of one word."""
        return self._address + 8 * _WORDS.index(word)

    def get(self, word: str) -> int:
        return raw.read_u64(self.place(word))

    def set(self, word: str, value: int) -> None:
        raw.write_u64(self.place(word), value)

    def keep_in(self, file: int) -> None:
        """Begins with no marks, in a new file, which may be closed. Raises `OSError`."""
        lock(file)
        # All of it is written, so that the page has its room on the disk: otherwise the first store might be the end.
        if os.pwrite(file, FORMAT.to_bytes(8, "little").ljust(SIZE, b"\0"), 0) != SIZE:
            raise OSError("there is no room on the disk")
        pages.share(self._address, SIZE, file)

    def let_go(self) -> None:
        """Begins with no marks, in memory of this process alone."""
        pages.unshare(self._address, SIZE)


def lock(file: int) -> None:
    """Locks a file for whoever has it open or mapped. Raises `BlockingIOError` if it is locked."""
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unlock(file: int) -> None:
    """Opens the lock, whoever else has the file."""
    fcntl.flock(file, fcntl.LOCK_UN)


def left_in(file: int) -> Left | None:
    """What a process has left in its file, which is locked from now on; None if it lives. Anything else than a file of
    marks has nothing in it."""
    try:
        lock(file)
    except BlockingIOError:
        return None
    words = memoryview(os.pread(file, 8 * len(_WORDS), 0).ljust(8 * len(_WORDS), b"\0")).cast("Q")
    return Left(words[1], words[2]) if words[0] == FORMAT else Left(0, 0)
