"""What each bytecode instruction does to an abstract frame: one small function an instruction, in a table by name.

A function reads and changes `b.state`, appends ops, and ends the block where control goes elsewhere. An instruction
that is not in the table, or meets operands it does not know, ends the region there in an exit (`b.unsupported`). The
rule for all of them: leave *before* anything is done, since the interpreter does the whole statement again.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from minijit.build import numbers
from minijit.build.calls import call
from minijit.events import ExitReason
from minijit.ir.ops import PYTHON_TYPES
from minijit.ir.region import (
    Const,
    Entry,
    EntryPoint,
    Hole,
    Jump,
    Kind,
    RangeIterator,
    Return,
    Slot,
    Value,
    VirtualRange,
    VirtualTuple,
    const_kind,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.build.builder import Builder
    from minijit.build.state import State
    from minijit.ir.bytecode import Instruction

HANDLERS: dict[str, Callable[[Builder, Instruction], None]] = {}


def handles(
    *names: str,
) -> Callable[[Callable[[Builder, Instruction], None]], Callable[[Builder, Instruction], None]]:
    """Registers what an instruction does."""

    def register(function: Callable[[Builder, Instruction], None]) -> Callable[[Builder, Instruction], None]:
        for name in names:
            HANDLERS[name] = function
        return function

    return register


# Locals, constants, the stack


@handles("RESUME", "NOP", "END_FOR")
def _nothing(b: Builder, i: Instruction) -> None:
    """RESUME's poll is the caller's, which makes one after each call."""


@handles("LOAD_CONST")
def _load_const(b: Builder, i: Instruction) -> None:
    b.state.push(Const(b.request.code.code.co_consts[i.arg]))


@handles("LOAD_FAST", "LOAD_FAST_CHECK")
def _load_fast(b: Builder, i: Instruction) -> None:
    _load_local(b, i, i.arg, b.request.code.slot_names[i.arg], is_sure=i.name == "LOAD_FAST")


def _load_local(b: Builder, i: Instruction, index: int, name: str, *, is_sure: bool) -> None:
    """`is_sure`: the compiler has seen that the local is bound."""
    slot = b.state.locals[index]
    # A loop's entry does not look into slots that hold objects: they may be empty.
    is_unchecked = isinstance(slot, Entry) and not is_sure
    if slot is Hole.UNBOUND or is_unchecked:
        b.unsupported(name, ExitReason.UNBOUND)
    elif isinstance(slot, Value) and slot.kind is Kind.ANY:
        _load_any(b, i, index, name)
    else:
        b.state.push(slot)


_ANY_KINDS = ("int", "float", "bool", "none")


def _load_any(b: Builder, i: Instruction, index: int, local: str) -> None:
    """Finds out of which kind the value is, and goes on in a version for each.

    There the local has its kind: to ask again at its next use would double the versions with each use.
    """
    value = b.state.locals[index]
    assert isinstance(value, Value)
    if b.is_full:
        b.unsupported("", ExitReason.TOO_MANY_BLOCKS)
        return
    before = b.state
    for name in _ANY_KINDS:
        yes, no = b.split(b.op(f"is_{name}", value))
        b.resume(yes)
        found = Const(None) if name == "none" else b.op(f"unpack_{name}", value, reason=ExitReason.KIND)
        state = before.copy()
        state.locals[index] = found
        state.push(found)
        b.later(yes, i.next, state)
        b.resume(no)
    b.unsupported(local, ExitReason.UNBOUND)


@handles("STORE_FAST")
def _store_fast(b: Builder, i: Instruction) -> None:
    _store_local(b, i.arg)


def _store_local(b: Builder, index: int) -> None:
    old = b.state.locals[index]
    if isinstance(old, Entry) and b.request.root.point is EntryPoint.LOOP:
        # The interpreter gives an object back when it is overwritten; a region does when it is left. (The arguments of
        # a call are its caller's as long as it runs.)
        b.effect("guard_quiet", Const(old.slot), reason=ExitReason.OVERWRITTEN)
    b.state.locals[index] = b.state.pop()


@handles("DELETE_FAST")
def _delete_fast(b: Builder, i: Instruction) -> None:
    slot = b.state.locals[i.arg]
    if slot is Hole.UNBOUND or isinstance(slot, Entry) or (isinstance(slot, Value) and slot.kind is Kind.ANY):
        b.unsupported(i.name)
        return
    b.state.locals[i.arg] = Hole.UNBOUND


@handles("PUSH_NULL")
def _push_null(b: Builder, i: Instruction) -> None:
    b.state.push(Hole.NULL)


@handles("POP_TOP")
def _pop_top(b: Builder, i: Instruction) -> None:
    b.state.pop()


@handles("COPY")
def _copy(b: Builder, i: Instruction) -> None:
    b.state.push(b.state.stack[-i.arg])


@handles("SWAP")
def _swap(b: Builder, i: Instruction) -> None:
    stack = b.state.stack
    stack[-1], stack[-i.arg] = stack[-i.arg], stack[-1]


# Arithmetic


@handles("BINARY_OP")
def _binary_op(b: Builder, i: Instruction) -> None:
    right, left = b.state.pop(), b.state.pop()
    result = numbers.binary(b, numbers.OPERATORS[i.arg], left, right)
    if result is None:
        b.unsupported(f"{i.name} {numbers.OPERATORS[i.arg]}")
        return
    b.state.push(result)


@handles("UNARY_NEGATIVE", "UNARY_INVERT")
def _unary(b: Builder, i: Instruction) -> None:
    result = numbers.unary(b, "-" if i.name == "UNARY_NEGATIVE" else "~", b.state.pop())
    _push_or_leave(b, i, result)


@handles("CALL_INTRINSIC_1")
def _intrinsic(b: Builder, i: Instruction) -> None:
    unary_positive = 5
    if i.arg != unary_positive:
        b.unsupported(i.name)
        return
    _push_or_leave(b, i, numbers.unary(b, "+", b.state.pop()))


def _push_or_leave(b: Builder, i: Instruction, result: Slot | None) -> None:
    if result is None:
        b.unsupported(i.name)
        return
    b.state.push(result)


@handles("UNARY_NOT")
def _unary_not(b: Builder, i: Instruction) -> None:
    truth = numbers.truth(b, b.state.pop())
    match truth:
        case None:
            b.unsupported(i.name)
        case Const(value):
            b.state.push(Const(not value))
        case _:
            b.state.push(b.op("bool_not", truth))


@handles("COMPARE_OP")
def _compare_op(b: Builder, i: Instruction) -> None:
    right, left = b.state.pop(), b.state.pop()
    _push_or_leave(b, i, numbers.compare(b, numbers.COMPARISONS[i.arg >> 4], left, right))


@handles("IS_OP")
def _is_op(b: Builder, i: Instruction) -> None:
    right, left = b.state.pop(), b.state.pop()
    same = _is_same(left, right)
    _push_or_leave(b, i, None if same is None else Const(same != bool(i.arg)))


def _is_same(left: Slot, right: Slot) -> bool | None:
    """Whether two slots are one object, where that is known. Numbers have no identity that compiled code keeps."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Const) and one.value is None:
            if isinstance(other, Const):
                return other.value is None
            if isinstance(other, Value) and other.kind is not Kind.ANY:
                return False
    return None


# Jumps


@handles("POP_JUMP_IF_TRUE", "POP_JUMP_IF_FALSE")
def _pop_jump(b: Builder, i: Instruction) -> None:
    truth = numbers.truth(b, b.state.pop())
    if truth is None:
        b.unsupported(i.name)
        return
    _jump_on(b, i, truth, jumps_if=i.name == "POP_JUMP_IF_TRUE")


@handles("POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE")
def _pop_jump_none(b: Builder, i: Instruction) -> None:
    same = _is_same(b.state.pop(), Const(None))
    if same is None:
        b.unsupported(i.name)
        return
    _jump_on(b, i, Const(same), jumps_if=i.name == "POP_JUMP_IF_NONE")


def _jump_on(b: Builder, i: Instruction, truth: Value | Const, *, jumps_if: bool) -> None:
    assert i.target is not None
    if isinstance(truth, Const):
        b.end(Jump(b.edge(i.target if truth.value == jumps_if else i.next)))
        return
    jump, stay = (i.target, b.state.copy()), (i.next, b.state.copy())
    b.branch(truth, *((jump, stay) if jumps_if else (stay, jump)))


@handles("JUMP_FORWARD")
def _jump_forward(b: Builder, i: Instruction) -> None:
    assert i.target is not None
    b.end(Jump(b.edge(i.target)))


@handles("JUMP_BACKWARD")
def _jump_backward(b: Builder, i: Instruction) -> None:
    assert i.target is not None
    b.end(Jump(b.back_edge(i.target)))


@handles("RETURN_VALUE")
def _return_value(b: Builder, i: Instruction) -> None:
    b.end(Return(b.state.pop()))


@handles("RETURN_CONST")
def _return_const(b: Builder, i: Instruction) -> None:
    b.end(Return(Const(b.request.code.code.co_consts[i.arg])))


# Iteration


@handles("GET_ITER")
def _get_iter(b: Builder, i: Instruction) -> None:
    slot = b.state.pop()
    match slot:
        case RangeIterator():
            b.state.push(slot)
        case VirtualRange(start, stop, step):
            b.state.push(RangeIterator(start, step, numbers.range_length(b, start, stop, step)))
        case _:
            b.unsupported(i.name)


@handles("FOR_ITER")
def _for_iter(b: Builder, i: Instruction) -> None:
    iterator = b.state.stack[-1]
    if not isinstance(iterator, RangeIterator):
        b.unsupported(i.name)
        return
    assert i.target is not None
    some = b.op("int_gt", iterator.length, Const(0))
    done = b.state.copy()
    done.pop()
    yes, no = b.split(some)
    b.resume(no)
    b.state = done
    b.end(Jump(b.edge(i.target, conditional=True)))
    b.resume(yes)
    body = _next_value(b, iterator, done)
    b.later(yes, i.next, body)


def _next_value(b: Builder, iterator: RangeIterator, done: State) -> State:
    """The state in which the loop's body begins. CPython lets the start wrap behind the last value, too."""
    following = b.op("int_add_wrap", iterator.start, iterator.step)
    left = b.op("int_sub_wrap", iterator.length, Const(1))
    body = done.copy()
    body.push(RangeIterator(following, iterator.step, left, iterator.home))
    body.push(iterator.start)
    return body


# Tuples


@handles("BUILD_TUPLE")
def _build_tuple(b: Builder, i: Instruction) -> None:
    items = b.state.pop_many(i.arg)
    if any(_depth(item) >= MAX_TUPLE_DEPTH for item in items):
        b.unsupported(f"{i.name}: nested too deeply")
        return
    b.state.push(VirtualTuple(tuple(items), b.identity()) if items else Const(()))


MAX_TUPLE_DEPTH = 4
"""How deep virtual tuples nest: one that grows round a loop would make a version for each depth."""


def _depth(slot: Slot) -> int:
    return 1 + max(map(_depth, slot.items)) if isinstance(slot, VirtualTuple) else 0


@handles("UNPACK_SEQUENCE")
def _unpack_sequence(b: Builder, i: Instruction) -> None:
    items = tuple_items(b.state.pop())
    if items is None or len(items) != i.arg:
        b.unsupported(i.name)
        return
    for item in reversed(items):
        b.state.push(item)


@handles("BINARY_SUBSCR")
def _binary_subscr(b: Builder, i: Instruction) -> None:
    index, items = b.state.pop(), tuple_items(b.state.pop())
    if items is None or not isinstance(index, Const) or type(index.value) is not int:
        b.unsupported(i.name)
        return
    if not -len(items) <= index.value < len(items):
        b.unsupported(i.name)
        return
    b.state.push(items[index.value])


def tuple_items(slot: Slot) -> tuple[Slot, ...] | None:
    """The items of a tuple that is virtual or constant."""
    if isinstance(slot, VirtualTuple):
        return slot.items
    if isinstance(slot, Const) and type(slot.value) is tuple:
        return tuple(Const(item) for item in slot.value)
    return None


# Names and calls


@handles("LOAD_GLOBAL", "LOAD_NAME")
def _load_name(b: Builder, i: Instruction) -> None:
    """Code whose locals are in a namespace runs compiled only where that is the globals."""
    name = b.request.code.name(i)
    if i.name == "LOAD_GLOBAL" and i.arg & 1:
        b.state.push(Hole.NULL)
    variable = b.request.variable(name)
    if variable is not None:
        _load_local(b, i, variable, name, is_sure=True)
        return
    slot = _global(b, name)
    if slot is None:
        b.unsupported(f"{i.name} {name}")
        return
    b.state.push(slot)


@handles("STORE_GLOBAL", "STORE_NAME")
def _store_name(b: Builder, i: Instruction) -> None:
    """A name that is bound already: a new key has its place among the others, which the order of stores decides."""
    name = b.request.code.name(i)
    variable = b.request.variable(name)
    if variable is None:
        b.unsupported(f"{i.name} {name}")
    elif b.state.locals[variable] is Hole.UNBOUND:
        b.unsupported(name, ExitReason.UNBOUND)
    else:
        _store_local(b, variable)


def _global(b: Builder, name: str) -> Slot | None:
    request = b.request
    if (id(request.globals), name) in request.volatile:
        return _volatile_global(b, name)
    found = b.assume(request.globals, name)
    return found if found is not None else b.assume(request.builtins, name)


def _volatile_global(b: Builder, name: str) -> Slot | None:
    """A global that changes often: looked up each time, and of the kind that it has now."""
    kind = const_kind(b.request.globals.get(name))
    if kind is None:
        return None
    return b.op("load_global", Const(b.request.globals), Const(name), reason=ExitReason.GLOBAL, kind=kind)


@handles("LOAD_ATTR")
def _load_attr(b: Builder, i: Instruction) -> None:
    owner = b.state.pop()
    name = b.request.code.code.co_names[i.arg >> 1]
    found = None
    if isinstance(owner, Const) and type(owner.value) is ModuleType:
        found = b.assume_attribute(owner.value, name)
    if found is None:
        b.unsupported(f"{i.name} {name}")
        return
    if i.arg & 1:
        b.state.push(Hole.NULL)
    b.state.push(found)


@handles("CALL")
def _call(b: Builder, i: Instruction) -> None:
    arguments = b.state.pop_many(i.arg)
    receiver, method = b.state.pop(), b.state.pop()
    if method is not Hole.NULL or not isinstance(receiver, Const):
        b.unsupported(i.name)
        return
    result = call(b, receiver.value, arguments, observed_kind(b, i.next))
    if result is None:
        b.unsupported(f"{i.name} {getattr(receiver.value, '__qualname__', '')}")
        return
    b.state.push(result)


_OBSERVED = {python_type.__name__: kind for kind, python_type in PYTHON_TYPES.items()}


def observed_kind(b: Builder, offset: int) -> Kind | None:
    """The kind that recordings saw on top of the stack at an offset."""
    return _OBSERVED.get(b.request.profile.tops.get(offset, ""))
