"""Calls of Python functions: the callee's body in the place of its call, or a call of its machine code.

Wherever an inlined function is left, the interpreter makes the call again, and whatever of the statement came before
it: what it stores waits until it has returned (`state.Pending`). So the interpreter makes the frames of the functions
itself, and there is no other way in which they come about.

Functions that call what cannot be inlined, such as themselves, are not inlined. Of these there is a *body*, a region of
its own that takes and gives machine values (`EntryPoint.BODY`). If it is left, its caller waits at the call until the
interpreter has finished it (see `backend.waiting_stubs`): such a call is never done twice. So it is with functions that
have loops, unless they take virtual objects, which would have to be made: inlined, they are done again from their
beginning when a signal comes, or another thread wants its turn.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING

from minijit.build import references, stores
from minijit.build.closures import cells_in, cells_of
from minijit.build.numbers import scalar
from minijit.build.request import is_plain_namespace, namespaces_of
from minijit.build.state import Wanted
from minijit.events import ExitReason
from minijit.ir.kinds import ABSENT, BODY_KINDS, ClassKind, EntryKind, Kind
from minijit.ir.region import Composite, Const, Entry, FrameState, Hole, Slot, Value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from minijit.build.builder import Builder
    from minijit.build.request import Inlined, Scope
    from minijit.ir.bytecode import Code, Instruction

DEEPEST = 8
"""How many inlined calls there may be within each other."""


def call_function(
    b: Builder,
    function: FunctionType,
    arguments: list[Slot],
    keywords: tuple[str, ...],
    i: Instruction,
    wanted: Wanted = Wanted.RESULT,
    next: int | None = None,
) -> None:
    """Goes on in the body of a function that is called, or behind a call of its machine code, or leaves where neither
    can be. What is `wanted` of it is on the stack at `next`, which is behind the instruction, unless it is given."""
    if wanted is Wanted.RESULT and i.name == "CALL":
        wanted = Wanted.CALLED
    found = b.relies.as_it_is(function)
    slots = _slots(b, found, arguments, keywords)
    is_inlined = slots is not None and not _is_large(b, found, i) and _can_be_inlined(b, found, _around(b))
    if slots is not None and not is_inlined:
        # What is passed on as machine values is lost if it has to be made an object first.
        is_inlined = _can_be_inlined(b, found, _around(b), with_loops=True)
        stays_virtual = is_inlined and any(isinstance(slot, Composite) for slot in slots)
        if not stays_virtual and wanted is Wanted.CALLED and _call_body(b, found, slots, i):
            return
    if slots is None or not is_inlined:
        b.unsupported(f"CALL {function.__qualname__}")
        return
    scope = b.relies.on_function(found)
    cells = cells_of(b, function, scope.code)
    _go_into(b, scope, slots, cells, i.next if next is None else next, wanted)


def call_given(b: Builder, slot: int, arguments: list[Slot], keywords: tuple[str, ...], i: Instruction) -> None:
    """The same for a function that the entry has found in a slot."""
    found = b.relies.given_in(slot)
    slots = None if found is None else _slots(b, found, arguments, keywords)
    if found is None or slots is None or not _can_be_inlined(b, found, _around(b)):
        b.unsupported(i.name)
        return
    scope = b.relies.on_given(slot, found)
    _go_into(b, scope, slots, cells_in(b, slot, scope.code), i.next, Wanted.CALLED)


def _is_large(b: Builder, function: Inlined, i: Instruction) -> bool:
    """Whether a call may be of so many functions, or of one with so many sorts of arguments, that together they are too
    much to be inlined. Small ones are."""
    size, most = len(b.relies.decoded(function.code).instructions), b.request.max_inlined
    is_small = 2 * size <= most
    return not is_small and b.times("called", i) * size > most


def _slots(b: Builder, function: Inlined, arguments: list[Slot], keywords: tuple[str, ...]) -> list[Slot] | None:
    """The slots of the parameters in a call; None if it is not to be compiled."""
    return None if b.is_full or not _is_suitable(b, function) else _bound(function, arguments, keywords)


def _around(b: Builder) -> list[CodeType]:
    """The code whose frames are under way."""
    return [caller.scope.code.code for caller in b.state.callers] + [b.code.code]


def _go_into(b: Builder, scope: Scope, slots: list[Slot], cells: list[Slot], next: int, wanted: Wanted) -> None:
    unbound = [Hole.UNBOUND] * (scope.code.locals_count - len(slots) - len(cells))
    b.call_into(scope, [*slots, *unbound, *cells], next, wanted)


def _is_suitable(b: Builder, function: Inlined) -> bool:
    """Whether its frames are known through and through, and it may be compiled."""
    are_plain = all(map(is_plain_namespace, namespaces_of(function.function)))
    return are_plain and b.relies.decoded(function.code).is_plain and b.request.inlines(function.function)


def _can_be_inlined(b: Builder, function: Inlined, around: list[CodeType], *, with_loops: bool = False) -> bool:
    """Whether a function may be inlined within these others, as well as all that it seems to call."""
    code = b.relies.decoded(function.code)
    if function.code in around or len(around) > DEEPEST or b.request.is_apart(function.code):
        return False
    if len(code.instructions) > b.request.max_inlined or (code.loops and not with_loops):
        return False
    within = [*around, function.code]
    for called in _seem_to_be_called(code, namespaces_of(function.function)[0]):
        inner = b.relies.as_it_is(called)
        if _is_suitable(b, inner) and not _can_be_inlined(b, inner, within, with_loops=with_loops):
            return False
    return True


def _seem_to_be_called(code: Code, globals: dict[str, object]) -> Iterator[FunctionType]:
    """The functions that the code finds among its globals. The builder will look at them again, and more closely."""
    for instruction in code.instructions.values():
        if instruction.name == "LOAD_GLOBAL":
            found = globals.get(code.name(instruction))
            if type(found) is FunctionType:
                yield found


_ENTRY_KINDS = {kind: entry for entry, kind in BODY_KINDS.items()}


def _call_body(b: Builder, function: Inlined, slots: list[Slot], i: Instruction) -> bool:
    """Calls the function's machine code, if there is any for such arguments; whether there is.

    Behind the call the interpreter goes on behind it as well, whatever comes: the callee may have taken its time, or
    have been left.
    """
    kinds = tuple(kind for slot in slots if (kind := _kind_to_pass(slot)) is not None)
    if len(kinds) < len(slots) or b.is_handled(i.offset) or function.code.co_freevars:
        return False
    callee = b.request.body(function.function, kinds)
    if callee is None or not _is_possible(b):
        return False
    for slot in slots:
        if isinstance(slot, Entry) and b.class_of(slot) is None:
            b.effect("guard_object", b.entry_object(slot.slot), reason=ExitReason.KIND, detail="an object")
    passed = stores.all_made(b, [slot for slot, kind in zip(slots, kinds, strict=True) if kind is not EntryKind.NONE])
    assert passed is not None
    b.relies.on_function(function)
    b.effect("room", reason=ExitReason.ROOM)
    if not callee.is_self:
        b.effect("has_body", Const(callee), reason=ExitReason.CALLEE)
    waiting = FrameState(i.next, tuple(b.state.locals), tuple(b.state.stack))
    answer = b.call_body(callee, passed, waiting)
    b.state.push(answer)
    b.begin_statement(i.next)
    if b.code.instructions[i.next].name not in _TAKE_ANYTHING:
        _take_answer(b, answer, i)
    return True


def call_stateful(b: Builder, function: object, kind: Kind, arguments: list[Slot], i: Instruction) -> bool:
    """Calls a C function of numbers that is not to be called twice, with a result of this kind; whether that is
    compiled."""
    if b.state.is_repeatable:
        is_told_apart(b)
        return False
    operands = [operand for operand in map(scalar, arguments) if operand is not None]
    b.state.push(b.op("call_stateful", Const(function), *operands, reason=ExitReason.ROOM, kind=kind))
    b.begin_statement(i.next)
    return True


def is_told_apart(b: Builder) -> bool:
    """Tells that the functions that are inlined here should not be: they are done again where they are left, which what
    they call must not be. Whether they can be called instead: constructors, operators and properties cannot, since a
    frame waits at calls only."""
    if any(caller.wanted is not Wanted.CALLED for caller in b.state.callers):
        return False
    b.relies.apart.update(_around(b)[1:])
    return True


def _is_possible(b: Builder) -> bool:
    """Whether machine code can be called here. If that is only because of what was chosen for this region, it is told
    for the next one: what is called may look at attributes that are variables here."""
    if not is_told_apart(b):
        return False
    classes = [kind for kind in b.request.entry_kinds if isinstance(kind, ClassKind)]
    b.relies.aliased.update(kind.address for kind in classes if kind.fields)
    return not b.state.is_repeatable and not b.request.scope.fields


def _take_answer(b: Builder, answer: Value, i: Instruction) -> None:
    """Puts in the place of an answer what it was seen to be: a number, of whatever sort if it was of several, or an
    object; or goes on in a version for each."""
    classes = b.observed(i.next, ABSENT)
    sorts = [cls.__name__ for cls in classes if cls in references.UNBOXED]
    objects = tuple(cls for cls in classes if cls not in references.UNBOXED)
    kind = b.observed_kind(i.next)
    if not classes and kind is not None:
        sorts = [kind.value]
    if sorts and not objects:
        b.state.pop()
        sort = sorts[0] if len(sorts) == 1 else "number"
        b.state.push(b.op(f"unpack_{sort}", answer, reason=ExitReason.KIND, detail=references.told(classes)))
        b.begin_statement(i.next)
    elif objects:
        # Versions of straight code multiply.
        sorts = [] if b.is_full or b.times("answered", i) > references.OFTEN else sorts
        for sort in sorts:
            _in_a_version(b, answer, sort, i)
        b.state.pop()
        unpacked = b.op("unpack_object", answer, reason=ExitReason.KIND, detail=references.told(classes))
        references.push_loaded(b, i, unpacked, classes=objects, goes_on=i.next if sorts else None)
    elif b.code.instructions[i.next].name != "STORE_FAST":
        # It may be an object, which other instructions take for none.
        b.unsupported(i.name, ExitReason.UNSEEN)


def _in_a_version(b: Builder, answer: Value, sort: str, i: Instruction) -> None:
    """Goes on in a version of its own where an answer is a number of this sort."""
    before = b.state
    block, rest = b.split(b.op(f"is_{sort}", answer))
    b.resume(block)
    b.state = before.copy()
    b.state.pop()
    b.state.push(b.op(f"unpack_{sort}", answer, reason=ExitReason.KIND))
    b.later(block, i.next, b.state)
    b.resume(rest)
    b.state = before


_TAKE_ANYTHING = ("RETURN_VALUE", "POP_TOP")


def _kind_to_pass(slot: Slot) -> EntryKind | None:
    """As what a body takes an argument; None if it cannot be passed."""
    match slot:
        case Value(_, kind):
            return _ENTRY_KINDS.get(kind)
        case Const(value) if slot.kind is not None or value is None:
            return _ENTRY_KINDS[slot.kind]
        case Hole():
            return None
        case _:
            return EntryKind.REFERENCE if stores.can_be_made(slot) else None


def _bound(function: Inlined, arguments: list[Slot], keywords: tuple[str, ...]) -> list[Slot] | None:
    """The parameters' slots, in their order; None if the call would raise, or takes a default of a keyword-only
    parameter: these stand in a dict, of whose changes nobody tells."""
    code = function.code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    positional = len(arguments) - len(keywords)
    if positional > code.co_argcount:
        return None
    given: dict[str, Slot] = dict(zip(names, arguments[:positional], strict=False))
    for name, slot in zip(keywords, arguments[positional:], strict=True):
        if name in given or name not in names[code.co_posonlyargcount :]:
            return None
        given[name] = slot
    defaults = (function.defaults or ())[-code.co_argcount :] if code.co_argcount else ()
    for name, value in zip(names[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True):
        given.setdefault(name, Const(value))
    return [given[name] for name in names] if len(given) == len(names) else None
