"""The arena and its pages: blocks stay apart, what is freed is free, and code beside them is not disturbed.

In: sequences of allocations, random ones too. Out: counters, access rights as the system lists them, results
of calls through ctypes. Code that is executed while its page is replaced runs in a process of its own.
"""

import ctypes
import itertools
import mmap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import RunPython
from minijit.backend.arena import ALIGNMENT, CHUNK_SIZE, Arena, ArenaBusyError, Block
from minijit.cpython import pages

RETURN_7 = bytes.fromhex("b807000000c3")

NEIGHBOURS_PROGRAM = """
import ctypes, threading
from minijit.backend.engine import Engine

COUNT_UP = '''
define i64 @f(i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %next = add i64 %i, 1
  %seen = call i64 @step(i64 %next)
  %more = icmp slt i64 %seen, %n
  br i1 %more, label %loop, label %done
done:
  ret i64 %seen
}
define internal i64 @step(i64 %x) noinline {
  %place = alloca i64
  store volatile i64 %x, ptr %place
  %y = load volatile i64, ptr %place
  ret i64 %y
}
'''
engine = Engine()
running = engine.compile(COUNT_UP, name="running")
finished = []
def run():
    # ctypes gives up the GIL during the call: this code executes while its page is replaced.
    finished.append(ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(running.address("f"))(400_000_000))
thread = threading.Thread(target=run)
thread.start()
arena, rounds = engine._arena, 0
while thread.is_alive():
    block = arena.allocate(64)
    assert block.address // 4096 == running.address("f") // 4096
    arena.install(block, bytes.fromhex("b807000000c3"))
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(block.address)() == 7
    arena.free(block)
    rounds += 1
print(finished[0], rounds)
"""


class TestArena:
    def test_installed_code_runs(self) -> None:
        arena = Arena()
        blocks = [arena.allocate(size) for size in (64, 6, 5000)]
        for block in blocks:
            arena.install(block, RETURN_7)
        assert [ctypes.CFUNCTYPE(ctypes.c_int)(block.address)() for block in blocks] == [7, 7, 7]
        for block in blocks:
            arena.free(block)
        arena.close()
        assert (arena.bytes_in_use, arena.bytes_mapped) == (0, 0)

    def test_block_over_several_pages(self) -> None:
        arena = Arena()
        first, block, last = arena.allocate(100), arena.allocate(9000), arena.allocate(100)
        arena.install(first, b"\x11" * 128)
        arena.install(last, b"\x33" * 128)
        arena.install(block, b"\x22" * 9000)
        assert pages.read(first.address, 128) == b"\x11" * 128
        assert pages.read(block.address, 9000) == b"\x22" * 9000
        assert pages.read(last.address, 128) == b"\x33" * 128
        for each in (first, block, last):
            arena.free(each)
        arena.close()

    def test_pages_are_never_writable(self) -> None:
        arena = Arena()
        block = arena.allocate(64)
        assert access_of(block.address) == "r-xp"
        arena.install(block, RETURN_7)
        assert access_of(block.address) == "r-xp"
        arena.free(block)
        arena.close()

    def test_neighbours_go_on_running(self, run_python: RunPython) -> None:
        done = run_python(NEIGHBOURS_PROGRAM)
        assert done.returncode == 0, done.stderr
        result, rounds = map(int, done.stdout.split())
        assert result == 400_000_000
        assert rounds > 100

    def test_large_block_has_its_own_chunk(self) -> None:
        arena = Arena()
        small, large = arena.allocate(64), arena.allocate(3 * CHUNK_SIZE + 1)
        assert arena.bytes_mapped == CHUNK_SIZE + pages.whole_pages(3 * CHUNK_SIZE + ALIGNMENT)
        arena.free(large)
        assert arena.bytes_mapped == CHUNK_SIZE
        arena.free(small)
        arena.close()

    def test_one_spare_chunk_is_kept(self) -> None:
        arena = Arena()
        blocks = [arena.allocate(CHUNK_SIZE) for _ in range(3)]
        assert arena.bytes_mapped == 3 * CHUNK_SIZE
        for block in blocks:
            arena.free(block)
        assert arena.bytes_mapped == CHUNK_SIZE
        arena.close()

    def test_freed_neighbours_become_one_hole(self) -> None:
        arena = Arena()
        blocks = [arena.allocate(CHUNK_SIZE // 4) for _ in range(4)]
        for index in (0, 2, 1):
            arena.free(blocks[index])
        joined = arena.allocate(3 * CHUNK_SIZE // 4)
        assert joined.address == blocks[0].address
        assert arena.bytes_mapped == CHUNK_SIZE
        arena.free(joined)
        arena.free(blocks[3])
        arena.close()

    def test_misuse(self) -> None:
        arena = Arena()
        keep, block = arena.allocate(64), arena.allocate(64)
        with pytest.raises(ValueError, match="do not fit"):
            arena.install(block, bytes(65))
        with pytest.raises(ValueError, match="at least one byte"):
            arena.allocate(0)
        arena.free(block)
        with pytest.raises(ValueError, match="free already"):
            arena.free(block)
        with pytest.raises(ValueError, match="not of this arena"):
            arena.free(Block(64, 64))
        assert arena.bytes_in_use == 64
        arena.free(keep)
        arena.close()

    def test_work_from_inside_its_own_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a finaliser may do that runs while a page is prepared: frees wait, allocations are refused."""
        arena = Arena()
        old, new = arena.allocate(64), arena.allocate(64)
        replace, refused = pages.replace, []

        def interrupted(address: int, content: bytes) -> None:
            arena.free(old)
            try:
                arena.allocate(64)
            except ArenaBusyError as error:
                refused.append(error)
            replace(address, content)

        monkeypatch.setattr(pages, "replace", interrupted)
        arena.install(new, RETURN_7)
        assert len(refused) == 1
        assert arena.bytes_in_use == 64
        arena.free(new)
        arena.close()

    # Many sizes near the chunk's, so that chunks fill, empty and are unmapped within one example.
    SIZES = st.one_of(st.integers(1, 300), st.integers(1, CHUNK_SIZE * 5 // 4))

    @given(st.lists(st.one_of(SIZES, st.floats(0, 1, exclude_max=True)), max_size=60))
    @settings(max_examples=150, deadline=None)
    def test_any_sequence(self, steps: list[int | float]) -> None:
        """An int allocates so much, a float frees the block at that part of the live ones."""
        arena, live = Arena(), []
        for step in steps:
            if isinstance(step, int):
                live.append((arena.allocate(step), step))
            elif live:
                arena.free(live.pop(int(step * len(live)))[0])
            check_blocks(arena, live)
        for block, _ in live:
            arena.free(block)
        assert arena.bytes_in_use == 0
        assert arena.bytes_mapped in (0, CHUNK_SIZE)
        arena.close()
        assert arena.bytes_mapped == 0


def check_blocks(arena: Arena, live: list[tuple[Block, int]]) -> None:
    """Blocks are aligned, large enough, apart from each other, and counted."""
    assert all(block.address % ALIGNMENT == 0 and block.size >= size for block, size in live)
    ordered = sorted((block for block, _ in live), key=lambda block: block.address)
    assert all(left.end <= right.address for left, right in itertools.pairwise(ordered))
    assert arena.bytes_in_use == sum(block.size for block in ordered) <= arena.bytes_mapped


def test_overlapping_blocks_would_be_found() -> None:
    """The mutant for the property test: an arena that hands out one block twice."""
    arena = Arena()
    block = arena.allocate(64)
    arena._in_use += 64
    with pytest.raises(AssertionError):
        check_blocks(arena, [(block, 64), (block, 64)])


def access_of(address: int) -> str:
    """Give the access rights of the page, as the system lists them."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[1]
    return "unmapped"


def mapped_bytes() -> int:
    """Give how much address space the process has, whatever it is for."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * mmap.PAGESIZE


class TestPages:
    def test_errors_have_the_systems_text(self) -> None:
        with pytest.raises(OSError, match=r"mprotect of 4096 bytes: Invalid argument"):
            pages.protect(1, 4096, executable=True)
        with pytest.raises(OSError, match="mmap of 0 bytes: Invalid argument"):
            pages.map_pages(0)
        with pytest.raises(OSError, match="munmap"):
            pages.unmap(1, 4096)

    def test_failed_replacement_leaves_all_as_it_was(self) -> None:
        """The copies are so large that whatever else is mapped meanwhile, by the interpreter, does not count."""
        size, times = 2**24, 16
        address = pages.map_pages(size)
        before = mapped_bytes()
        for _ in range(times):
            with pytest.raises(OSError, match=f"mremap of {size} bytes: Invalid argument"):
                pages.replace(address + 1, bytes(size))
        assert mapped_bytes() - before < 4 * size
        assert access_of(address) == "rw-p"
        pages.unmap(address, size)

    def test_either_writable_or_executable(self) -> None:
        address = pages.map_pages(4096)
        assert access_of(address) == "rw-p"
        pages.write(address, b"abc")
        pages.protect(address, 4096, executable=True)
        assert access_of(address) == "r-xp"
        assert pages.read(address, 4) == b"abc\0"
        pages.protect(address, 4096, executable=False)
        assert access_of(address) == "rw-p"
        pages.unmap(address, 4096)
