"""Abstract frames: what each local and stack slot holds at one point, and how a join makes a block version of it.

A block version is a basic block of the bytecode specialised to the *shape* of the state that reaches it
(Chevalier-Boisvert and Feeley, "Simple and effective type check removal through lazy basic block versioning", ECOOP
2015). `shape_of` gives a state's shape, which is the version's key; `parameters` and `arguments` are what of the state
is left beside it: block parameters, in the order of the edge's operands.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeGuard, assert_never

from minijit.ir.kinds import Kind
from minijit.ir.region import (
    Composite,
    Const,
    Entry,
    FrameState,
    Hole,
    ItemIterator,
    Moot,
    Operand,
    RangeIterator,
    Reference,
    Slot,
    Value,
    Virtual,
    VirtualInstance,
    VirtualMethod,
    VirtualRange,
    VirtualTuple,
    has_moot,
    slot_operands,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from minijit.build.request import Scope

Shape = tuple[object, ...]


class Wanted(enum.Enum):
    """What an inlined call is to give to the frame around it."""

    RESULT = "result"  # whatever it returns
    CALLED = "called"  # the same, to an instruction that calls: it may wait for it
    NONE = "none"  # it returns None, which nobody gets: a constructor's `__init__`
    OPERAND = "operand"  # anything but NotImplemented
    INVERSE = "inverse"  # the same, and the frame gets whether that is false
    TRUTH = "truth"  # a bool
    LENGTH = "length"  # an int that is not negative
    NOTHING = "nothing"  # it returns what it likes, which nobody gets

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Caller:
    """A frame that waits for the result of an inlined call: it goes on at `next`, with the result on its stack.

    `wanted` says of which sort that must be, `at` where the instruction is that called.
    """

    scope: Scope
    at: int
    next: int
    locals: tuple[Slot, ...]
    stack: tuple[Slot, ...]
    wanted: Wanted


class Pending(NamedTuple):
    """A store: the op, where it stores, and what; and a guard of what it overwrites. Those of inlined calls wait until
    the region's own frame goes on."""

    op: str
    place: tuple[Operand, ...]
    value: Slot
    guard: str


@dataclass(slots=True)
class State:
    """A frame while it is interpreted abstractly. Mutable; `copy` before branching.

    In an inlined call, `callers` are the frames around it, the region's own first, and `statement` is how that was at
    the beginning of its statement, or behind the call before this one in it: there the interpreter goes on wherever the
    call is left. So what the call stores is `pending` until it has returned. The same holds as long as the frames have
    something that is moot. `loaded` are objects that are no numbers, by the op and the place that they were loaded
    from: there they stay, until something is stored there.
    """

    scope: Scope
    locals: list[Slot]
    stack: list[Slot] = field(default_factory=list)
    callers: tuple[Caller, ...] = ()
    statement: FrameState | None = None
    pending: tuple[Pending, ...] = ()
    loaded: Mapping[tuple[object, ...], Slot] = field(default_factory=dict)

    def copy(self) -> State:
        return replace(self, locals=list(self.locals), stack=list(self.stack))

    @property
    def path(self) -> tuple[object, ...]:
        """Where the frame is among those around it: states are compared only if this is the same."""
        offset = self.statement.offset if self.statement is not None else None
        callers = [(caller.scope.identity, caller.at, caller.next, caller.wanted) for caller in self.callers]
        pending = tuple((each.op, len(each.place), each.guard) for each in self.pending)
        return (offset, self.scope.identity, pending, *callers)

    def slots(self) -> list[Slot]:
        """All slots, those of the frame first."""
        found = self.locals + self.stack
        for caller in self.callers:
            found += caller.locals + caller.stack
        if self.statement is not None:
            found += self.statement.slots()
        for each in self.pending:
            found += (*each.place, each.value)
        return found

    def with_slots(self, slots: list[Slot]) -> State:
        """The same with other slots, in the order of `slots()`."""
        rest = iter(slots)

        def take(part: list[Slot] | tuple[Slot, ...]) -> list[Slot]:
            return [next(rest) for _ in part]

        own = take(self.locals), take(self.stack)
        callers = tuple(replace(c, locals=tuple(take(c.locals)), stack=tuple(take(c.stack))) for c in self.callers)
        old = self.statement
        new = old and FrameState(old.offset, tuple(take(old.locals)), tuple(take(old.stack)))
        pending = tuple(
            Pending(each.op, tuple(map(_operand, take(each.place))), next(rest), each.guard) for each in self.pending
        )
        return State(self.scope, *own, callers, new, pending)

    @property
    def is_repeatable(self) -> bool:
        """Whether what the frames do now may be done again, from the beginning of the statement."""
        return self.statement is not None

    @property
    def has_moot(self) -> bool:
        """Whether something is moot that a frame has."""
        frames = ((self.locals, self.stack), *((caller.locals, caller.stack) for caller in self.callers))
        return any(has_moot(slot) for frame in frames for part in frame for slot in part)

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

    def change(self, changes: Mapping[int, Slot], identity: Callable[[], int]) -> None:
        """Virtual objects, by identity, become others, wherever the frames have them. What has them as parts becomes
        another, too, with a new `identity`. At the beginning of the statement they were as they were."""
        changed = dict(changes)

        def renewed(slots: Iterable[Slot]) -> list[Slot]:
            return [_renewed(slot, changed, identity) for slot in slots]

        self.locals, self.stack = renewed(self.locals), renewed(self.stack)
        self.callers = tuple(
            replace(c, locals=tuple(renewed(c.locals)), stack=tuple(renewed(c.stack))) for c in self.callers
        )
        self.pending = tuple(each._replace(value=_renewed(each.value, changed, identity)) for each in self.pending)

    def settle(self, which: Iterable[Slot] | None = None) -> None:
        """What inlined calls have made is as all other objects from now on: all of it, since they have returned; or
        what is among some slots, since somebody else may find that now."""
        gone = None if which is None else {each for slot in which for each in _new_among(slot)}
        made: dict[int, Slot] = {}

        def settled(slots: Iterable[Slot]) -> list[Slot]:
            return [_settled(slot, gone, made) for slot in slots]

        if gone is not None and not gone:
            return
        self.locals, self.stack = settled(self.locals), settled(self.stack)
        self.callers = tuple(
            replace(c, locals=tuple(settled(c.locals)), stack=tuple(settled(c.stack))) for c in self.callers
        )
        self.pending = tuple(each._replace(value=_settled(each.value, gone, made)) for each in self.pending)
        self.loaded = dict(zip(self.loaded, settled(self.loaded.values()), strict=True))

    def learn(self, known: Reference) -> None:
        """What an object is of whose class nothing was known, wherever the frames have it."""

        def learnt(slots: Iterable[Slot]) -> list[Slot]:
            return [known if slot == unknown else slot for slot in slots]

        unknown = Reference(known.value, SOME)
        self.locals, self.stack = learnt(self.locals), learnt(self.stack)
        self.callers = tuple(
            replace(c, locals=tuple(learnt(c.locals)), stack=tuple(learnt(c.stack))) for c in self.callers
        )

    def push(self, slot: Slot) -> None:
        self.stack.append(slot)

    def pop(self) -> Slot:
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Slot]:
        """The `count` topmost slots, the deepest first."""
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken


def _operand(slot: Slot) -> Operand:
    assert isinstance(slot, Value | Const)
    return slot


def _settled(slot: Slot, gone: set[int] | None, made: dict[int, Slot]) -> Slot:
    """A slot in which these are not new any more, or nothing; `made` has the virtual objects that came before."""
    if isinstance(slot, Composite):
        if slot.identity not in made:
            parts = tuple(_settled(part, gone, made) for part in slot.parts)
            made[slot.identity] = slot.with_parts(parts, slot.identity)
        return made[slot.identity]
    is_gone = isinstance(slot, Reference) and (gone is None or slot.identity in gone)
    return replace(slot, identity=0) if isinstance(slot, Reference) and is_gone else slot


def _new_among(slot: Slot) -> Iterator[int]:
    """The identities of what is new in a slot."""
    if isinstance(slot, Composite):
        for part in slot.parts:
            yield from _new_among(part)
    elif isinstance(slot, Reference) and slot.identity:
        yield slot.identity


def _renewed(slot: Slot, changed: dict[int, Slot], identity: Callable[[], int]) -> Slot:
    """What a slot is after some virtual objects have become others; `changed` gets what has these as parts."""
    if not isinstance(slot, Composite):
        return slot
    if slot.identity not in changed:
        parts = tuple(_renewed(part, changed, identity) for part in slot.parts)
        changed[slot.identity] = slot if parts == slot.parts else slot.with_parts(parts, identity())
    return changed[slot.identity]


SOME = Const(object)
"""In a reference: nothing is known of the class, until it is loaded."""
ANY = Kind.ANY
"""In a shape: a scalar, None or nothing, of a kind that is known at run time only."""


UNASKED = ("unasked", None)
"""In a shape: an object of which nobody asks anything, not even whether it is another."""


@dataclass(frozen=True, slots=True)
class Same:
    """In a shape: the object with this number, counted from the start of the state, once more: a virtual one, or the
    address of one. What is the same in a state is the same in its version."""

    number: int


def is_scalar(slot: Slot) -> bool:
    """Whether the slot can be a machine value."""
    return isinstance(slot, Value | Const) and slot.kind is not None


def can_be_any(slot: Slot) -> bool:
    """Whether the slot can become a value of kind `any`."""
    return is_scalar(slot) or slot is Hole.UNBOUND or (isinstance(slot, Const) and slot.value is None)


def shape_of(state: State, widens: Callable[[int], bool], *, forgets: bool = False) -> Shape:
    """The key under which a state's version is kept. `widens(index)` tells which locals lose their kind; if it
    `forgets`, all objects lose their class."""
    parts: list[object] = []
    seen: dict[object, tuple[Slot, Same]] = {}
    own = len(state.locals)
    for index, slot in enumerate(state.slots()):
        if index < own and widens(index):
            parts.append(ANY if can_be_any(slot) else UNASKED if _is_forgettable(slot) else _shape(slot, seen))
        else:
            parts.append(_shape(_forgotten(slot) if forgets else slot, seen))
    return tuple(parts)


def _is_forgettable(slot: Slot) -> TypeGuard[Reference]:
    """Whether it can be an object of which nothing is known."""
    return isinstance(slot, Reference) and isinstance(slot.value, Value) and not slot.identity


def _forgotten(slot: Slot) -> Slot:
    """A slot whose class nobody asks for any more."""
    return Reference(slot.value, SOME) if _is_forgettable(slot) else slot


def _shape(slot: Slot, seen: dict[object, tuple[Slot, Same]]) -> object:
    """`seen` has the objects that came before: virtual ones by their identity, addresses by themselves."""
    if isinstance(slot, Virtual) or (isinstance(slot, Reference) and slot.identity):
        if slot.identity in seen:
            known, same = seen[slot.identity]
            assert known == slot, "an object was made without an identity of its own"
            return same
        seen[slot.identity] = slot, Same(len(seen))
    match slot:
        case Value(_, kind):
            return _address(slot, seen) or kind if kind is Kind.OBJECT else kind
        case Const():
            # Numbers that differ from path to path become parameters; other constants are part of the version.
            return slot.kind or slot
        case Hole() | Entry() | Moot():
            return slot
        case VirtualTuple() | VirtualInstance() | VirtualMethod():
            return (slot.head, *[_shape(part, seen) for part in slot.parts])
        case VirtualRange():
            return "range"
        case RangeIterator(_, _, _, home):
            return ("range_iterator", home)
        case Reference(value, cls, identity):
            return ("reference", _address(value, seen), cls, bool(identity))
        case ItemIterator(items, _, cls, home):
            return ("iterator", _address(items, seen), cls, home)
        case _:
            assert_never(slot)


def _address(operand: Operand, seen: dict[object, tuple[Slot, Same]]) -> Const | Same | None:
    """What of an object's address is part of the version: a constant, or that it is one which came before; None for a
    parameter."""
    if isinstance(operand, Const):
        return operand
    if operand in seen:
        return seen[operand][1]
    seen[operand] = operand, Same(len(seen))
    return None


def parameters(slot: Slot, shape: object, fresh: Callable[[Kind], Value], made: dict[object, Slot]) -> Slot:
    """The slot as a version sees it: machine values replaced by fresh block parameters.

    `made` has the objects that the version's state has so far: virtual ones by their identity, addresses by what they
    were before.
    """
    if shape is ANY:
        return fresh(ANY)
    if shape is UNASKED:
        return Reference(fresh(Kind.OBJECT), SOME)
    if isinstance(slot, Virtual) or (isinstance(slot, Reference) and slot.identity):
        if not isinstance(shape, Same):
            made[slot.identity] = _with_identity(slot, shape, fresh, made)
        return made[slot.identity]
    match slot:
        case Value(_, kind):
            return _address_parameter(slot, fresh, made) if kind is Kind.OBJECT else fresh(kind)
        case Const():
            return slot if slot.kind is None else fresh(slot.kind)
        case Hole() | Entry() | Moot():
            return slot
        case RangeIterator(_, _, _, home):
            return RangeIterator(fresh(Kind.INT), fresh(Kind.INT), fresh(Kind.INT), home)
        case Reference(value):
            assert isinstance(shape, tuple)
            return Reference(_address_parameter(value, fresh, made), shape[2])
        case ItemIterator(items, _, cls, home):
            return ItemIterator(_address_parameter(items, fresh, made), fresh(Kind.INT), cls, home)
        case _:
            assert_never(slot)


def _address_parameter(operand: Operand, fresh: Callable[[Kind], Value], made: dict[object, Slot]) -> Operand:
    """An object's address as a version sees it: constants stay, and the same address is the same parameter."""
    if isinstance(operand, Const):
        return operand
    if operand not in made:
        made[operand] = fresh(Kind.OBJECT)
    return _operand(made[operand])


def _with_identity(
    slot: Virtual | Reference, shape: object, fresh: Callable[[Kind], Value], made: dict[object, Slot]
) -> Slot:
    # It keeps its identity from version to version: nothing else in the region ever gets the same.
    if isinstance(slot, Reference):
        return replace(slot, value=_address_parameter(slot.value, fresh, made))
    if isinstance(slot, VirtualRange):
        return VirtualRange(fresh(Kind.INT), fresh(Kind.INT), fresh(Kind.INT), slot.identity)
    assert isinstance(shape, tuple)
    parts = tuple(parameters(part, s, fresh, made) for part, s in zip(slot.parts, shape[1:], strict=True))
    return slot.with_parts(parts, slot.identity)


def arguments(slot: Slot, shape: object, pack: Callable[[Slot], Value]) -> Iterator[Operand]:
    """What an edge passes for the slot, in the order of `parameters`."""
    if shape is ANY:
        yield pack(slot)
        return
    if isinstance(shape, Same):
        return
    match slot:
        case Value() | Const() if slot.kind is not None:
            yield slot
        case Const() | Hole() | Entry() | Moot():
            return
        case VirtualTuple() | VirtualInstance() | VirtualMethod():
            assert isinstance(shape, tuple)
            for part, part_shape in zip(slot.parts, shape[1:], strict=True):
                yield from arguments(part, part_shape, pack)
        case Reference(value):
            yield from _passed(value, shape)
        case ItemIterator(items, index):
            yield from _passed(items, shape)
            yield index
        case VirtualRange() | RangeIterator():
            yield from slot_operands(slot)
        case _:
            assert_never(slot)


def _passed(address: Operand, shape: object) -> Iterator[Operand]:
    """An address, if it is a parameter of its own."""
    assert isinstance(shape, tuple)
    if shape[1] is None:
        yield address


MAX_DEPTH = 4
"""How deep virtual objects nest: one that grows round a loop would make a version for each depth."""


def depth(slot: Slot) -> int:
    """How deep virtual objects nest in a slot."""
    return 1 + max(map(depth, slot.parts), default=0) if isinstance(slot, Composite) else 0


def tuple_items(slot: Slot) -> tuple[Slot, ...] | None:
    """The items of a tuple that is virtual or constant."""
    if isinstance(slot, VirtualTuple):
        return slot.items
    if isinstance(slot, Const) and type(slot.value) is tuple:
        return tuple(Const(item) for item in slot.value)
    return None
