"""Variables: locals, names in a namespace that a loop has as locals, and names that are assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.build import stores
from minijit.build.handlers import Handlers
from minijit.build.references import known_constant, known_entry, load_global
from minijit.events import ExitReason
from minijit.ir.kinds import ABSENT, Kind
from minijit.ir.region import Const, Entry, EntryPoint, Hole, Slot, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.build.builder import Builder
    from minijit.build.state import State
    from minijit.ir.bytecode import Instruction

HANDLERS = Handlers()
handles = HANDLERS.handles


@handles("LOAD_FAST", "LOAD_FAST_CHECK")
def _load_fast(b: Builder, i: Instruction) -> None:
    _load_local(b, i, i.arg, b.code.slot_names[i.arg], is_sure=i.name == "LOAD_FAST")


def _load_local(b: Builder, i: Instruction, index: int, name: str, *, is_sure: bool) -> None:
    """`is_sure`: the compiler has seen that the local is bound."""
    slot = b.state.locals[index]
    # A loop's entry does not look into slots that hold objects: they may be empty.
    is_unchecked = isinstance(slot, Entry) and not is_sure
    if slot is Hole.UNBOUND or is_unchecked:
        b.unsupported(name, ExitReason.UNBOUND)
    elif isinstance(slot, Value) and slot.kind is Kind.ANY:
        _load_any(b, i, slot, name, lambda state, found: state.locals.__setitem__(index, found))
    elif not known_entry(b, i, slot):
        b.state.push(slot)


def load_own(b: Builder, i: Instruction, index: int, name: str) -> None:
    """Pushes what an attribute, or another local of the region's own frame, has by now. It is bound."""
    slot = b.state.own(index)
    if isinstance(slot, Value) and slot.kind is Kind.ANY:
        _load_any(b, i, slot, name, lambda state, found: state.set_own(index, found))
    elif not known_entry(b, i, slot):
        b.state.push(slot)


_ANY_KINDS = ("int", "float", "bool", "none")


def _load_any(b: Builder, i: Instruction, value: Value, local: str, put: Callable[[State, Slot], None]) -> None:
    """Finds out of which kind the value is, and goes on in a version for each.

    There the local has its kind (which is `put` there): to ask again at its next use would double the versions with
    each use.
    """
    if b.is_full:
        b.unsupported("", ExitReason.TOO_MANY_BLOCKS)
        return
    before = b.state
    for name in _ANY_KINDS:
        yes, no = b.split(b.op(f"is_{name}", value))
        b.resume(yes)
        found = Const(None) if name == "none" else b.op(f"unpack_{name}", value, reason=ExitReason.KIND)
        state = before.copy()
        put(state, found)
        state.push(found)
        b.later(yes, i.next, state)
        b.resume(no)
    b.unsupported(local, ExitReason.UNBOUND)


@handles("STORE_FAST")
def _store_fast(b: Builder, i: Instruction) -> None:
    _store_local(b, i.arg)


def _store_local(b: Builder, index: int) -> None:
    old = b.state.locals[index]
    is_own = old == Entry(index) and b.request.root.point is EntryPoint.LOOP and not b.state.callers
    if is_own:
        # The interpreter gives an object back when it is overwritten; a region does when it is left. (The arguments of
        # a call are its caller's as long as it runs, inlined or not.)
        b.effect("guard_quiet", Const(index), reason=ExitReason.OVERWRITTEN)
    b.state.locals[index] = b.state.pop()


@handles("DELETE_FAST")
def _delete_fast(b: Builder, i: Instruction) -> None:
    slot = b.state.locals[i.arg]
    if slot is Hole.UNBOUND or isinstance(slot, Entry) or (isinstance(slot, Value) and slot.kind is Kind.ANY):
        b.unsupported(i.name)
        return
    b.state.locals[i.arg] = Hole.UNBOUND


@handles("LOAD_GLOBAL", "LOAD_NAME")
def _load_name(b: Builder, i: Instruction) -> None:
    """Code whose locals are in a namespace runs compiled only where that is the globals."""
    name = b.code.name(i)
    if i.name == "LOAD_GLOBAL" and i.arg & 1:
        b.state.push(Hole.NULL)
    variable = b.state.scope.variable(name)
    if variable is not None:
        _load_local(b, i, variable, name, is_sure=True)
        return
    if _is_volatile(b, name):
        _load_volatile(b, i, name)
        return
    slot = _global(b, name)
    if slot is None:
        b.unsupported(f"{i.name} {name}")
        return
    b.state.push(known_constant(b, slot))


@handles("STORE_GLOBAL", "STORE_NAME")
def _store_name(b: Builder, i: Instruction) -> None:
    """A name that is bound already: a new key has its place among the others, which the order of stores decides."""
    name = b.code.name(i)
    variable = b.state.scope.variable(name)
    if variable is None:
        if not _is_volatile(b, name) or not stores.store_global(b, i, name, b.state.pop()):
            # If it is a variable of the loop around, it should be none.
            b.relies.looked_up.add((id(b.state.scope.globals), name))
            b.unsupported(f"{i.name} {name}")
    elif b.state.locals[variable] is Hole.UNBOUND:
        b.unsupported(name, ExitReason.UNBOUND)
    else:
        _store_local(b, variable)


def _global(b: Builder, name: str) -> Slot | None:
    scope = b.state.scope
    if b.state.callers and scope.globals is b.request.scope.globals:
        variable = b.request.scope.variable(name)
        if variable is not None:
            return _outer_variable(b, variable)
    found = b.relies.on_name(scope.globals, name)
    return found if found is not None else b.relies.on_name(scope.builtins, name)


def _outer_variable(b: Builder, index: int) -> Slot | None:
    """A global that the loop has as a local, read in a function that it calls: the namespace is behind."""
    slot = b.state.callers[0].locals[index]
    is_unknown = slot is Hole.UNBOUND or (isinstance(slot, Value) and slot.kind is Kind.ANY)
    return None if is_unknown else slot


def _is_volatile(b: Builder, name: str) -> bool:
    """Whether a global changes too often to be assumed: it is looked up each time."""
    scope = b.state.scope
    if not b.state.callers:
        return (id(scope.globals), name) in b.request.volatile
    # What the loop around has as a variable is none here.
    is_outer = scope.globals is b.request.scope.globals and b.request.scope.variable(name) is not None
    is_often = (id(scope.globals), name) in b.request.volatile or name in scope.code.written_names
    return is_often and not is_outer


def _load_volatile(b: Builder, i: Instruction, name: str) -> None:
    """Pushes what a global is now."""
    namespace = b.state.scope.globals
    b.relies.looked_up.add((id(namespace), name))
    sample = namespace.get(name, ABSENT)
    if sample is ABSENT:
        b.unsupported(f"{i.name} {name}")
        return
    load_global(b, i, Const(namespace), name, sample)
