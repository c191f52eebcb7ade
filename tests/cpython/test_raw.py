"""Native memory: what is written by index stands at the address, and nothing is once it is closed."""

from __future__ import annotations

import pytest

from minijit.cpython import raw

MOST = 2**64 - 1


def test_words_stand_at_the_address() -> None:
    memory = raw.Buffer(16)
    memory.set(1, MOST)
    assert raw.read_u64(memory.address + 8) == memory.get(1) == MOST
    raw.write_u64(memory.address, 7)
    assert memory.get(0) == 7


def test_a_size_that_is_no_number_of_words_has_room_for_the_last() -> None:
    memory = raw.Buffer(4)
    memory.set(0, MOST)
    assert memory.size == 4
    assert memory.get(0) == MOST


def test_nobody_gets_at_memory_that_is_free() -> None:
    memory = raw.Buffer(8)
    memory.close()
    memory.close()
    with pytest.raises(raw.Closed):
        memory.set(0, 1)
    with pytest.raises(raw.Closed):
        memory.get(0)


def test_what_is_no_word_is_not_taken_for_closed_memory() -> None:
    memory = raw.Buffer(8)
    with pytest.raises(ValueError, match="format"):
        memory.set(0, MOST + 1)
