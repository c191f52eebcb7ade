"""What processes have died of: regions that are not compiled again.

In: the marks that processes leave in files when they die (`cpython.marks`), in one directory. Out: a set of *keys*, one
for each root that is suspect. A key is a digest of everything that the root's code object says, of where the root is,
and of the versions of minijit and the interpreter: with any other of these it is another root, of which nothing is
known. (Constants that cannot be written down are left out.)

One file for each process that lives, with its marks, and one of suspects, a key a line. A process belongs to the
living as long as its file is locked. Whoever comes reads the files of the dead, adds to the suspects and takes those
files away; all in the lock of the directory, so that nobody sees a file that is not locked yet. What stands in the
files may be anything: what is no key is ignored. Nothing here is asked unless the setting `guard` is on.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import re
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from minijit.config import __version__
from minijit.cpython import cache_files, marks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from minijit.ir.trace import Root

_SUSPECTS = "suspects-1"
_LIVING = "marks-1-"
MOST = 1000
"""Suspects that are remembered; the oldest are forgotten first."""
PATIENCE = 2.0
"""Seconds to wait for others that are at it; each takes less than a thousandth."""
_KEY = re.compile(rb"[0-9a-f]{16}")


def key_of(code: CodeType, root: Root) -> int:
    """A number of 63 bits that stands for a root, in this and other processes; never 0."""
    place = f"{__version__} {sys.version} {root.point.name} {root.offset}"
    digest = hashlib.blake2b(place.encode(), digest_size=8, key=b"minijit")
    digest.update(_written(code))
    return int.from_bytes(digest.digest(), "little") >> 1 | 1


def _written(code: CodeType) -> bytes:
    # The format without references: in others, the bytes depend on who else uses a constant.
    try:
        return marshal.dumps(code, 2)
    except ValueError:
        return marshal.dumps(code.replace(co_consts=()), 2)


def join(directory: str, own: marks.Marks) -> tuple[frozenset[int], str]:
    """Keeps marks in a new file. The keys of all suspects, and the path of the file.

    Raises `OSError` or `ValueError` for whatever is wrong with the directory, or with the file of suspects.
    """
    cache_files.make_directory(directory)
    cache_files.require_own(os.stat(directory))
    with _alone(directory):
        suspects = _gather(directory)
        path = os.path.join(directory, _LIVING + os.urandom(8).hex())
        file = cache_files.create(path)
        try:
            own.keep_in(file)
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(file)
    return frozenset(suspects), path


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Nobody else is at the files meanwhile. Raises `TimeoutError`."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for(file)
        try:
            yield
        finally:
            # Whatever child processes were forked meanwhile by other threads.
            marks.unlock(file)
    finally:
        os.close(file)


def _wait_for(file: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            marks.lock(file)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("another process is at its files all the time") from None
            time.sleep(0.002)
        else:
            return


def _gather(directory: str) -> list[int]:
    """The keys of all suspects, with what the dead have left, whose files are removed."""
    path = os.path.join(directory, _SUSPECTS)
    known = _read(path)
    dead = dict(_dead(directory))
    fresh = {key for left in dead.values() for key in left if key}.difference(known)
    if fresh:
        known = [*known, *fresh][-MOST:]
        cache_files.put(path, b"".join(b"%016x\n" % key for key in known))
    for name in dead:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))
    return known


def _read(path: str) -> list[int]:
    try:
        file = cache_files.open_own(path)
    except FileNotFoundError:
        return []
    with open(file, "rb") as stream:
        lines = stream.read(64 * MOST).splitlines()
    return [int(line, 16) for line in lines if _KEY.fullmatch(line)]


def _dead(directory: str) -> Iterator[tuple[str, marks.Left]]:
    """The files of the dead, and what stands in them. What is not ours stays where it is."""
    for name in os.listdir(directory):
        if not name.startswith(_LIVING):
            continue
        with suppress(OSError, ValueError):
            file = cache_files.open_own(os.path.join(directory, name), os.O_RDWR)
            try:
                left = marks.left_in(file)
            finally:
                os.close(file)
            if left is not None:
                yield name, left
