"""Pass builders, and the memory that llvmlite loses with each of them.

In: a target machine. Out: a pass builder for one run of passes, which is gone afterwards.

**One run each.** A run registers callbacks with its builder that refer to what was on the stack of that run. A second
run would call them.

**What is lost.** llvmlite allocates these callbacks apart (LLVM's `PassInstrumentationCallbacks`, 1,488 bytes in
llvmlite 0.50), gives the builder a pointer to them, and never deletes them: 15 MB in ten thousand compilations. No
function of llvmlite reaches them. So we free the block ourselves, where all of this has been seen to be so:

- among the first words of each builder, one and always the same points to something that starts as the callbacks do,
  with a small vector that is empty: a pointer to what stands behind its own header, and a length of zero;
- making a builder and closing it leaves the heap larger by the very size of the block at that pointer.

With one bit of evidence missing (another C library, an llvmlite without this fault, another thread that allocates
in this moment) nothing is freed, and the memory stays lost. What the block itself refers to needs no freeing: the
callbacks fit into it, as long as nobody has LLVM time or print its passes.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from minijit.cpython import heap, raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_TRIALS = 5
_ENOUGH = 3
"""So many trials must tell of the same loss: in the others something else may have been allocated."""
_WORDS = 32
"""How many words of a builder are looked at: all builders are several times larger."""
_VECTOR_HEADER = 16


class PassBuilders:
    """Makes pass builders for one target machine."""

    __slots__ = ("_llvm", "_machine", "_word")

    def __init__(self, llvm: ModuleType, machine: Any) -> None:
        self._llvm = llvm
        self._machine = machine
        self._word = self._find_word()

    @property
    def loses_nothing(self) -> bool:
        """Whether the callbacks are freed."""
        return self._word is not None

    @contextmanager
    def builder(self, level: int, *, vectorise: bool) -> Iterator[Any]:
        """Give a builder for one run of passes."""
        with self._llvm.create_pipeline_tuning_options(speed_level=level) as options:
            options.loop_vectorization = vectorise
            options.loop_interleaving = vectorise
            options.slp_vectorization = vectorise
            builder = self._llvm.create_pass_builder(self._machine, options)
            lost = None if self._word is None else raw.read_u64(heap.pointee(builder._as_parameter_) + 8 * self._word)
            try:
                yield builder
            finally:
                builder.close()
                if lost is not None:
                    heap.free(lost)

    def _find_word(self) -> int | None:
        """Which word of a builder points to callbacks that nobody deletes; None if that is not certain."""
        with self._llvm.create_pipeline_tuning_options() as options:
            losses = [loss for _ in range(_TRIALS) for loss in self._losses(options)]
        trials = Counter(word for word, _ in losses)
        certain = [word for word, count in trials.items() if count >= _ENOUGH]
        if len(certain) != 1:
            return None
        for address in {address for word, address in losses if word == certain[0]}:
            heap.free(address)
        return certain[0]

    def _losses(self, options: Any) -> list[tuple[int, int]]:
        """What may be lost with one builder: words that point to blocks as large as the loss, and these blocks."""
        before = heap.in_use()
        builder = self._llvm.create_pass_builder(self._machine, options)
        found = [(word, address, heap.block_size(address)) for word, address in _callbacks(builder)]
        builder.close()
        after = heap.in_use()
        if before is None or after is None or after <= before:
            return []
        return [(word, address) for word, address, size in found if size == after - before]


def _callbacks(builder: Any) -> list[tuple[int, int]]:
    """The words of a builder, with their content, that point to what looks like callbacks."""
    words = heap.peek(heap.pointee(builder._as_parameter_), _WORDS) or ()
    return [(word, address) for word, address in enumerate(words) if _starts_with_a_vector(address)]


def _starts_with_a_vector(address: int) -> bool:
    """Whether there is a small vector, empty and with room of its own."""
    content = heap.peek(address, 2) if address % 16 == 0 else None
    return content is not None and content[0] == address + _VECTOR_HEADER and content[1] & 0xFFFFFFFF == 0
