"""The C heap: what is in use, blocks and their sizes, memory that is there and memory that is not."""

from __future__ import annotations

import ctypes

import pytest

from minijit.cpython import heap, raw

_allocate = ctypes.PyDLL(None).malloc
_allocate.restype, _allocate.argtypes = ctypes.c_size_t, [ctypes.c_size_t]

SIZE = 100_000
"""Small enough for the heap proper, large enough for no cache of blocks."""


def in_use() -> int:
    used = heap.in_use()
    if used is None:
        pytest.skip("this C library does not tell")
    return used


def size_and_growths() -> tuple[int, int, int]:
    """A block's size, how much more is in use while it is there, and afterwards."""
    before = in_use()
    block = _allocate(SIZE)
    size = heap.block_size(block)
    there = in_use() - before
    heap.free(block)
    return size or 0, there, in_use() - before


def test_a_block() -> None:
    seen = [size_and_growths() for _ in range(9)]
    # Other threads of the process allocate too, but not each time.
    size, there, after = max(set(seen), key=seen.count)
    assert SIZE < size < SIZE + 64
    assert (there, after) == (size, 0)


def test_no_block() -> None:
    for address in (0, 8, 2**47, 2**63 + 16, 2**64 - 16):
        assert heap.block_size(address) is None


def test_peek() -> None:
    words = raw.Buffer(24)
    for k in range(3):
        raw.write_u64(words.address + 8 * k, 2**64 - 1 - k)
    assert heap.peek(words.address, 3) == (2**64 - 1, 2**64 - 2, 2**64 - 3)
    for address in (0, 4096, 2**47, 2**63, 2**64 - 8):
        assert heap.peek(address, 1) is None


def test_pointee() -> None:
    word = ctypes.c_int64(5)
    assert heap.pointee(ctypes.pointer(word)) == ctypes.addressof(word)
