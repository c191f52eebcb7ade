"""A region while it grows: blocks that get ops one after the other, and exits.

In: what the builder appends; it knows of bytecode, and this does not. Out: blocks and exits, numbered in the order in
which they were begun.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.build.identity import few_identities, with_few_identities
from minijit.ir.kinds import Kind
from minijit.ir.ops import TABLE
from minijit.ir.region import Block, Exit, Op, Return, Value, has_moot

if TYPE_CHECKING:
    from minijit.events import ExitReason
    from minijit.ir.region import FrameState, Operand, Terminator


@dataclass(slots=True)
class BlockDraft:
    """A block while it grows; `end` is None until it is ended."""

    params: tuple[Value, ...]
    ops: list[Op] = field(default_factory=list)
    end: Terminator | None = None

    def finished(self) -> Block:
        end = self.end
        assert end is not None
        if isinstance(end, Return):
            (value,) = few_identities((end.value,))
            end = Return(value)
        return Block(self.params, tuple(self.ops), end)


@dataclass(slots=True)
class Draft:
    """Blocks and exits so far. `at` is the number of the block that grows now."""

    blocks: list[BlockDraft] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    at: int = 0
    _values: int = 0
    _identities: int = 0

    @property
    def block(self) -> BlockDraft:
        """The block that grows now."""
        return self.blocks[self.at]

    def new_block(self, params: tuple[Value, ...]) -> int:
        """The number of a new block."""
        self.blocks.append(BlockDraft(params))
        return len(self.blocks) - 1

    def new_exit(self, reason: ExitReason, frame: FrameState, detail: str = "") -> int:
        """The number of a new exit."""
        assert not any(map(has_moot, frame.slots())), "the interpreter could not go on there"
        self.exits.append(Exit(reason, frame, detail))
        return len(self.exits) - 1

    def op(self, name: str, args: tuple[Operand, ...] = (), exit: int | None = None, kind: Kind | None = None) -> Value:
        """Appends an op and gives its result, whose kind is `kind` where the op's row leaves it open."""
        result = self.fresh(kind or TABLE[name].result or Kind.INT)
        self.block.ops.append(Op(name, args, result, exit))
        return result

    def fresh(self, kind: Kind) -> Value:
        """A new machine value."""
        self._values += 1
        return Value(self._values - 1, kind)

    def identity(self) -> int:
        """The identity of a new virtual object."""
        self._identities += 1
        return self._identities

    def finished(self) -> tuple[tuple[Block, ...], tuple[Exit, ...]]:
        """All blocks, which have ended, and all exits."""
        return tuple(block.finished() for block in self.blocks), tuple(map(with_few_identities, self.exits))
