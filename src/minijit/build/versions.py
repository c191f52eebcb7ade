"""The block versions of a region: made on demand, found again by the shape of the state that reaches an offset.

In: a state and the offset that it goes on at. Out: the version that serves it, with what an edge passes; the offsets
that are still to be interpreted are `work`. Locals that are not live at a join lose their kind there (`Kind.ANY`), so
that temporaries do not multiply versions. At an offset that has too many versions objects lose their classes; and if
there are still too many, all locals their kinds. See `state`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.build.state import Shape, State, arguments, parameters, shape_of
from minijit.events import ExitReason
from minijit.ir.kinds import Kind
from minijit.ir.region import (
    Const,
    Edge,
    FrameState,
    Hole,
    ItemIterator,
    Jump,
    Op,
    Operand,
    Reference,
    Slot,
    Value,
    slot_operands,
)

if TYPE_CHECKING:
    from minijit.build.draft import Draft
    from minijit.build.request import Request


@dataclass(frozen=True, slots=True)
class Version:
    """The number of the block that a version begins with, or of one that leads there; and the state it begins with."""

    block: int
    shape: Shape


@dataclass(slots=True)
class Versions:
    """The versions so far. `work` has what begins but has not been interpreted yet: block, offset, state. `samples` are
    of objects; a parameter has that of the first that it stands for."""

    request: Request
    draft: Draft
    samples: dict[Operand, object]
    work: list[tuple[int, int, State]] = field(default_factory=list)
    _versions: dict[tuple[object, int], dict[Shape, Version]] = field(default_factory=dict)
    _latches: dict[int, Version] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether the region has reached its block budget."""
        return len(self.draft.blocks) >= self.request.max_blocks

    def find(self, state: State, offset: int) -> Version | None:
        """The version of an offset that a state goes on in; None if that would be one too many."""
        versions = self._versions.setdefault((state.path, offset), {})
        code, count = state.scope.code, state.scope.locals_count
        # Anybody may read the names among the locals once the region is left.
        live = code.live[offset] | (1 << count) - (1 << code.locals_count)
        known, most = shape_of(state, lambda index: not live >> index & 1), self.request.max_versions
        shape = known
        if shape not in versions and len(versions) >= most:
            shape = shape_of(state, lambda index: not live >> index & 1, forgets=True)
            most *= 1 if shape == known else 2
        if shape not in versions and len(versions) >= most:
            shape = shape_of(state, lambda index: not _is_unbound_name(state, index), forgets=True)
        if shape not in versions and not self.is_full:
            params, start = self._start(state, shape)
            versions[shape] = Version(self.draft.new_block(params), shape)
            self.work.append((versions[shape].block, offset, start))
        return versions.get(shape)

    def latch(self, state: State, header: int, version: Version) -> Version:
        """The way back to a version of a loop header: a block that polls with the header's state first."""
        if version.block not in self._latches:
            params, start = self._start(state, version.shape)
            # An inlined call is done again.
            frame = start.statement or FrameState(header, tuple(start.locals), tuple(start.stack))
            exit = self.draft.new_exit(ExitReason.POLL, frame)
            number = self.draft.new_block(params)
            latch = self.draft.blocks[number]
            latch.ops.append(Op("poll", (), None, exit))
            latch.end = Jump(Edge(version.block, params))
            self._latches[version.block] = Version(number, version.shape)
        return self._latches[version.block]

    def edge(self, state: State, version: Version) -> Edge:
        """The edge from the block that grows now, which ends with a state that the version serves."""
        passed: list[Operand] = []
        for slot, shape in zip(state.slots(), version.shape, strict=True):
            passed.extend(arguments(slot, shape, self._pack))
        return Edge(version.block, tuple(passed))

    def _start(self, state: State, shape: Shape) -> tuple[tuple[Value, ...], State]:
        """Fresh block parameters for a shape of a state, and the state that is made of them."""
        params: list[Value] = []

        def fresh(kind: Kind) -> Value:
            params.append(self.draft.fresh(kind))
            return params[-1]

        made: dict[object, Slot] = {}
        slots = [parameters(slot, part, fresh, made) for slot, part in zip(state.slots(), shape, strict=True)]
        for before, after in zip(state.slots(), slots, strict=True):
            if isinstance(after, Reference | ItemIterator):
                for old, new in zip(slot_operands(before), slot_operands(after), strict=True):
                    if old in self.samples:
                        self.samples[new] = self.samples[old]
        return tuple(params), state.with_slots(slots)

    def _pack(self, slot: Slot) -> Value:
        """The slot as a value of kind `any`."""
        if isinstance(slot, Value) and slot.kind.is_tagged:
            return slot
        if slot is Hole.UNBOUND:
            return self.draft.op("pack_unbound")
        if isinstance(slot, Const) and slot.value is None:
            return self.draft.op("pack_none")
        assert isinstance(slot, Value | Const)
        assert slot.kind is not None
        return self.draft.op(f"pack_{slot.kind.value}", (slot,))


def _is_unbound_name(state: State, index: int) -> bool:
    """A name that no namespace has: it stays so while the region runs, and no exit can write it."""
    return index >= state.scope.code.locals_count and state.locals[index] is Hole.UNBOUND
