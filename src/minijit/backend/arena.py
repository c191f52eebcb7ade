"""Executable memory for pieces of code that come and go, each freed exactly.

In: sizes and bytes. Out: blocks at 64-byte boundaries in chunks of 1 MiB (one of its own, if it is larger),
always readable and executable, never writable. A free block joins its free neighbours at once; a chunk
without blocks is unmapped at once, but for one spare, so that a program that compiles and frees in turn
does not map and unmap in turn.

`install` may be called while other threads execute code of this arena, in the same pages too: see
`cpython.pages`. What must hold is that nothing executes the block that is installed or freed. Nothing here
can check it.

`free` may be called at any time and anywhere, in a finaliser that runs in the midst of `allocate` too: the
block is then put aside, and whoever is at work takes it back when done. That is why there is a lock *and* a
busy flag: the lock is for other threads, the flag for this one. `allocate` and `install` from such a
finaliser are refused.
"""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from minijit.cpython import pages

ALIGNMENT = 64
CHUNK_SIZE = 1 << 20


class ArenaBusyError(RuntimeError):
    """The arena was asked for memory from inside its own work, by a finaliser or a signal handler."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some memory of an arena; `size` is what the arena counts, at least what was asked for."""

    address: int
    size: int

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(slots=True)
class _Chunk:
    """Pages mapped together. `holes` is what is free: sorted, and no two of them touch."""

    address: int
    size: int
    holes: list[Block] = field(default_factory=list)

    def is_free(self) -> bool:
        return len(self.holes) == 1 and self.holes[0].size == self.size

    def contains(self, block: Block) -> bool:
        return self.address <= block.address < self.address + self.size

    def take(self, size: int) -> Block | None:
        """Cut a block from the first hole that is large enough."""
        for index, hole in enumerate(self.holes):
            if hole.size < size:
                continue
            rest = [Block(hole.address + size, hole.size - size)] if hole.size > size else []
            self.holes[index : index + 1] = rest
            return Block(hole.address, size)
        return None

    def give_back(self, block: Block) -> None:
        """Make a block a hole, joined with the holes that it touches."""
        index = bisect_left(self.holes, block.address, key=lambda hole: hole.address)
        before = self.holes[index - 1 : index] if index else []
        after = self.holes[index : index + 1]
        if (before and before[0].end > block.address) or (after and after[0].address < block.end):
            raise ValueError("the block is free already")
        touching = [hole for hole in before if hole.end == block.address]
        touching += [block, *(hole for hole in after if hole.address == block.end)]
        joined = Block(touching[0].address, sum(part.size for part in touching))
        first = index - (touching[0] is not block)
        self.holes[first : first + len(touching) - 1] = [joined]


class Arena:
    """Owns chunks of executable memory and hands out blocks of them."""

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self._keeps_spare = True
        self._in_use = 0
        self._lock = threading.RLock()
        self._is_busy = False
        # Blocks given back that nobody has put among the holes yet.
        self._returned: deque[Block] = deque()

    @property
    def bytes_in_use(self) -> int:
        """The sizes of all blocks that are allocated."""
        return self._in_use

    @property
    def bytes_mapped(self) -> int:
        """The memory that the arena has from the system."""
        return sum(chunk.size for chunk in self._chunks)

    def allocate(self, size: int) -> Block:
        """Give a block of at least `size` bytes, with unknown content."""
        if size <= 0:
            raise ValueError(f"a block has at least one byte, not {size}")
        size = -(-size // ALIGNMENT) * ALIGNMENT
        with self._exclusively():
            block = self._take(size)
            self._in_use += block.size
        self._sweep()
        return block

    def install(self, block: Block, data: bytes) -> None:
        """Fill a block, from its start. Nothing may execute it yet; other blocks may be executing."""
        if len(data) > block.size:
            raise ValueError(f"{len(data)} bytes do not fit into {block.size}")
        start = block.address // pages.PAGE_SIZE * pages.PAGE_SIZE
        with self._exclusively():
            # The neighbours in these pages must not change between their reading and their replacing.
            content = bytearray(pages.read(start, pages.whole_pages(block.end - start)))
            at = block.address - start
            content[at : at + len(data)] = data
            pages.replace(start, bytes(content))
        self._sweep()

    def free(self, block: Block) -> None:
        """Take a block back. Nothing may execute it any more."""
        self._returned.append(block)
        self._sweep()

    def close(self) -> None:
        """Keep no spare chunk from now on. Blocks in use stay valid until they are freed."""
        self._keeps_spare = False
        with self._exclusively():
            self._unmap_free_chunks()
        self._sweep()

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with self._lock:
            if self._is_busy:
                raise ArenaBusyError("memory for code was asked for while such memory was being handed out")
            self._is_busy = True
            try:
                yield
            finally:
                self._is_busy = False

    def _sweep(self) -> None:
        """Put returned blocks among the holes, unless somebody is at work, who will sweep afterwards."""
        while self._returned and self._lock.acquire(blocking=False):
            try:
                if self._is_busy:
                    return
                with self._exclusively():
                    while self._returned:
                        self._take_back(self._returned.popleft())
            finally:
                self._lock.release()

    def _take(self, size: int) -> Block:
        for chunk in self._chunks:
            block = chunk.take(size)
            if block is not None:
                return block
        length = max(CHUNK_SIZE, pages.whole_pages(size))
        address = pages.map_pages(length)
        pages.protect(address, length, executable=True)
        self._chunks.append(_Chunk(address, length, [Block(address + size, length - size)][: length > size]))
        return Block(address, size)

    def _take_back(self, block: Block) -> None:
        chunk = next((chunk for chunk in self._chunks if chunk.contains(block)), None)
        if chunk is None:
            raise ValueError("the block is not of this arena, or is free already")
        chunk.give_back(block)
        self._in_use -= block.size
        if chunk.is_free():
            self._unmap_free_chunks()

    def _unmap_free_chunks(self) -> None:
        """Unmap chunks without blocks, but keep one of the usual size if there is to be a spare."""
        free = [chunk for chunk in self._chunks if chunk.is_free()]
        if self._keeps_spare:
            spare = next((chunk for chunk in free if chunk.size == CHUNK_SIZE), None)
            free = [chunk for chunk in free if chunk is not spare]
        for chunk in free:
            self._chunks.remove(chunk)
            pages.unmap(chunk.address, chunk.size)
