"""Abstract frames: what each local and stack slot holds at one point, and how a join makes a block version of it.

A block version is a basic block of the bytecode specialised to the *shape* of the state that reaches it
(Chevalier-Boisvert and Feeley, "Simple and effective type check removal through lazy basic block versioning", ECOOP
2015). `shape_of` gives a state's shape, which is the version's key; `parameters` and `arguments` are what of the state
is left beside it: block parameters, in the order of the edge's operands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

from minijit.ir.kinds import Kind
from minijit.ir.region import (
    Const,
    Entry,
    FrameState,
    Hole,
    Operand,
    RangeIterator,
    Slot,
    Value,
    VirtualRange,
    VirtualTuple,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minijit.build.request import Scope

Shape = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """A frame that waits for the result of an inlined call: it goes on at `next`, with the result on its stack."""

    scope: Scope
    next: int
    locals: tuple[Slot, ...]
    stack: tuple[Slot, ...]


@dataclass(slots=True)
class State:
    """A frame while it is interpreted abstractly. Mutable; `copy` before branching.

    In an inlined call, `callers` are the frames around it, the region's own first, and `statement` is how that was at
    the beginning of its statement, or behind the call before this one in it: there the interpreter goes on wherever the
    call is left.
    """

    scope: Scope
    locals: list[Slot]
    stack: list[Slot] = field(default_factory=list)
    callers: tuple[Caller, ...] = ()
    statement: FrameState | None = None

    def copy(self) -> State:
        return State(self.scope, list(self.locals), list(self.stack), self.callers, self.statement)

    @property
    def path(self) -> tuple[object, ...]:
        """Where the frame is among those around it: states are compared only if this is the same."""
        offset = self.statement.offset if self.statement is not None else None
        return (offset, self.scope.identity, *[(caller.scope.identity, caller.next) for caller in self.callers])

    def slots(self) -> list[Slot]:
        """All slots, those of the frame first."""
        found = self.locals + self.stack
        for caller in self.callers:
            found += caller.locals + caller.stack
        if self.statement is not None:
            found += self.statement.slots()
        return found

    def with_slots(self, slots: list[Slot]) -> State:
        """The same with other slots, in the order of `slots()`."""
        rest = iter(slots)

        def take(part: list[Slot] | tuple[Slot, ...]) -> list[Slot]:
            return [next(rest) for _ in part]

        own = take(self.locals), take(self.stack)
        callers = tuple(Caller(c.scope, c.next, tuple(take(c.locals)), tuple(take(c.stack))) for c in self.callers)
        old = self.statement
        new = old and FrameState(old.offset, tuple(take(old.locals)), tuple(take(old.stack)))
        return State(self.scope, *own, callers, new)

    def own(self, index: int) -> Slot:
        """A local of the region's own frame."""
        return self.callers[0].locals[index] if self.callers else self.locals[index]

    def set_own(self, index: int, slot: Slot) -> None:
        """Gives it another value."""
        if not self.callers:
            self.locals[index] = slot
            return
        first, *rest = self.callers
        locals = (*first.locals[:index], slot, *first.locals[index + 1 :])
        self.callers = (replace(first, locals=locals), *rest)

    def push(self, slot: Slot) -> None:
        self.stack.append(slot)

    def pop(self) -> Slot:
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Slot]:
        """The `count` topmost slots, the deepest first."""
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken


ANY = Kind.ANY
"""In a shape: a scalar, None or nothing, of a kind that is known at run time only."""


@dataclass(frozen=True, slots=True)
class Same:
    """In a shape: the virtual object with this number, counted from the start of the state, once more."""

    number: int


def is_scalar(slot: Slot) -> bool:
    """Whether the slot can be a machine value."""
    return isinstance(slot, Value | Const) and slot.kind is not None


def can_be_any(slot: Slot) -> bool:
    """Whether the slot can become a value of kind `any`."""
    return is_scalar(slot) or slot is Hole.UNBOUND or (isinstance(slot, Const) and slot.value is None)


def shape_of(state: State, widens: Callable[[int], bool]) -> Shape:
    """The key under which a state's version is kept. `widens(index)` tells which locals lose their kind."""
    parts: list[object] = []
    seen: dict[int, tuple[Slot, Same]] = {}
    own = len(state.locals)
    for index, slot in enumerate(state.slots()):
        parts.append(ANY if index < own and widens(index) and can_be_any(slot) else _shape(slot, seen))
    return tuple(parts)


def _shape(slot: Slot, seen: dict[int, tuple[Slot, Same]]) -> object:
    """`seen` has the virtual objects that came before, by identity."""
    if isinstance(slot, VirtualTuple | VirtualRange):
        if slot.identity in seen:
            known, same = seen[slot.identity]
            assert known == slot, "a virtual object was made without an identity of its own"
            return same
        seen[slot.identity] = slot, Same(len(seen))
    match slot:
        case Value(_, kind):
            return kind
        case Const():
            # Numbers that differ from path to path become parameters; other constants are part of the version.
            return slot.kind or slot
        case Hole() | Entry():
            return slot
        case VirtualTuple(items):
            return ("tuple", *[_shape(item, seen) for item in items])
        case VirtualRange():
            return "range"
        case RangeIterator(_, _, _, home):
            return ("range_iterator", home)
        case _:
            assert_never(slot)


def parameters(slot: Slot, shape: object, fresh: Callable[[Kind], Value], made: dict[int, Slot]) -> Slot:
    """The slot as a version sees it: machine values replaced by fresh block parameters.

    `made` has the virtual objects that the version's state has so far, by identity.
    """
    if shape is ANY:
        return fresh(ANY)
    if isinstance(slot, VirtualTuple | VirtualRange):
        if not isinstance(shape, Same):
            made[slot.identity] = _virtual(slot, shape, fresh, made)
        return made[slot.identity]
    match slot:
        case Value(_, kind):
            return fresh(kind)
        case Const():
            return slot if slot.kind is None else fresh(slot.kind)
        case Hole() | Entry():
            return slot
        case RangeIterator(_, _, _, home):
            return RangeIterator(fresh(Kind.INT), fresh(Kind.INT), fresh(Kind.INT), home)
        case _:
            assert_never(slot)


def _virtual(
    slot: VirtualTuple | VirtualRange, shape: object, fresh: Callable[[Kind], Value], made: dict[int, Slot]
) -> Slot:
    # A virtual object keeps its identity from version to version: nothing else in the region ever gets the same.
    if isinstance(slot, VirtualRange):
        return VirtualRange(fresh(Kind.INT), fresh(Kind.INT), fresh(Kind.INT), slot.identity)
    assert isinstance(shape, tuple)
    items = tuple(parameters(i, s, fresh, made) for i, s in zip(slot.items, shape[1:], strict=True))
    return VirtualTuple(items, slot.identity)


def arguments(slot: Slot, shape: object, pack: Callable[[Slot], Value]) -> Iterator[Operand]:
    """What an edge passes for the slot, in the order of `parameters`."""
    if shape is ANY:
        yield pack(slot)
        return
    if isinstance(shape, Same):
        return
    match slot:
        case Value():
            yield slot
        case Const():
            if slot.kind is not None:
                yield slot
        case Hole() | Entry():
            return
        case VirtualTuple(items):
            assert isinstance(shape, tuple)
            for item, part in zip(items, shape[1:], strict=True):
                yield from arguments(item, part, pack)
        case VirtualRange(start, stop, step):
            yield from (start, stop, step)
        case RangeIterator(start, step, length, _):
            yield from (start, step, length)
        case _:
            assert_never(slot)
