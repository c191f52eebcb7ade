"""What each bytecode instruction does to an abstract frame: one small function an instruction, in a table by name.

How such a function is written says `handlers`. Here are the stack, arithmetic, jumps and calls; `variables`,
`sequences`, `lists`, `attributes`, `closures`, `exceptions` and `managers` have the others.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING

from minijit.build import (
    attributes,
    closures,
    exceptions,
    lists,
    managers,
    numbers,
    operators,
    references,
    sequences,
    sets,
    variables,
)
from minijit.build.calls import call, is_known, stateful
from minijit.build.handlers import Handlers
from minijit.build.inline import call_function, call_given, call_stateful
from minijit.build.instances import construct, is_same
from minijit.build.state import Wanted
from minijit.ir.kinds import Kind
from minijit.ir.region import Const, Entry, Hole, Jump, Moot, Reference, Slot, Value, VirtualMethod

if TYPE_CHECKING:
    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction

HANDLERS = Handlers(
    variables.HANDLERS
    | sequences.HANDLERS
    | lists.HANDLERS
    | attributes.HANDLERS
    | closures.HANDLERS
    | exceptions.HANDLERS
    | managers.HANDLERS
)
"""Of all instructions that are compiled."""
handles = HANDLERS.handles


# Constants and the stack


@handles("RESUME", "NOP", "END_FOR")
def _nothing(b: Builder, i: Instruction) -> None:
    """RESUME's poll is the caller's, which makes one after each call."""


@handles("LOAD_CONST")
def _load_const(b: Builder, i: Instruction) -> None:
    b.state.push(Const(b.code.code.co_consts[i.arg]))


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
    if operators.is_instance(b, left, right):
        operators.binary(b, left, right, i)
        return
    if i.arg < len(numbers.OPERATORS) // 2 and lists.binary(b, i, numbers.OPERATORS[i.arg], left, right):
        return
    result = numbers.binary(b, numbers.OPERATORS[i.arg], left, right)
    if result is None and (numbers.is_number(left) or numbers.is_number(right)):
        b.state.stack += [left, right]
        references.tell_apart(b, i, -2 if numbers.is_number(left) else -1)
        return
    if result is None:
        b.unsupported(f"{i.name} {numbers.OPERATORS[i.arg]}")
        return
    b.state.push(result)


@handles("UNARY_NEGATIVE", "UNARY_INVERT")
def _unary(b: Builder, i: Instruction) -> None:
    _signed(b, i, "-" if i.name == "UNARY_NEGATIVE" else "~")


def _signed(b: Builder, i: Instruction, sign: str) -> None:
    operand = b.state.pop()
    if operators.is_instance(b, operand):
        operators.unary(b, sign, operand, i)
    elif numbers.is_number(operand) and sign != "-":
        b.state.push(operand)
        references.tell_apart(b, i, -1)
    else:
        _push_or_leave(b, i, numbers.unary(b, sign, operand))


@handles("CALL_INTRINSIC_1")
def _intrinsic(b: Builder, i: Instruction) -> None:
    unary_positive = 5
    if i.arg != unary_positive:
        b.unsupported(i.name)
        return
    _signed(b, i, "+")


def _push_or_leave(b: Builder, i: Instruction, result: Slot | None) -> None:
    if result is None:
        b.unsupported(i.name)
        return
    b.state.push(result)


@handles("UNARY_NOT")
def _unary_not(b: Builder, i: Instruction) -> None:
    operand = b.state.pop()
    if _asks(b, operand, i):
        return
    truth = _truth(b, operand)
    _push_or_leave(b, i, None if truth is None else numbers.inverse(b, truth))


def _asks(b: Builder, slot: Slot, i: Instruction) -> bool:
    """Whether it takes a call to find out if an instance is true; then the instruction is done again, with a bool."""
    if not (operators.is_instance(b, slot) and operators.has_truth(b, slot)):
        return False
    operators.call_special(b, slot, "__bool__", [], i, wanted=Wanted.TRUTH, next=i.offset)
    return True


def _truth(b: Builder, slot: Slot) -> Value | Const | None:
    if operators.is_instance(b, slot):
        return Const(True)
    length = references.length(b, slot)
    return numbers.truth(b, slot if length is None else length)


@handles("COMPARE_OP")
def _compare_op(b: Builder, i: Instruction) -> None:
    right, left = b.state.pop(), b.state.pop()
    if operators.is_instance(b, left, right):
        operators.compare(b, left, right, i)
        return
    _push_or_leave(b, i, numbers.compare(b, numbers.COMPARISONS[i.arg >> 4], left, right))


@handles("IS_OP")
def _is_op(b: Builder, i: Instruction) -> None:
    right, left = b.state.pop(), b.state.pop()
    same = _is_same(b, left, right)
    _push_or_leave(b, i, numbers.inverse(b, same) if same is not None and i.arg else same)


def _is_same(b: Builder, left: Slot, right: Slot) -> Value | Const | None:
    """Whether two slots are one object. Numbers have no identity that compiled code keeps, but for bools."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Const) and (one.kind is None or isinstance(one.value, bool)):
            if isinstance(other, Const):
                return Const(one.value is other.value)
            if isinstance(other, Value) and isinstance(one.value, bool) and other.kind is Kind.BOOL:
                return other if one.value else numbers.inverse(b, other)
            if _is_another(one.value, other):
                return Const(False)
    is_one = operators.is_instance(b, left, right) or isinstance(left, Reference) or isinstance(right, Reference)
    return is_same(b, left, right) if is_one else None


def _is_another(known: object, slot: Slot) -> bool:
    """Whether a slot is surely something else than an object that is known, which is no int or float."""
    match slot:
        case Value(kind=Kind.INT | Kind.FLOAT | Kind.BOOL):
            return True
        case Value(kind=Kind.NUMBER):
            return not isinstance(known, bool)
        case Reference() | Moot():
            return isinstance(known, bool | None)
        case _:
            return False


# Jumps


@handles("POP_JUMP_IF_TRUE", "POP_JUMP_IF_FALSE")
def _pop_jump(b: Builder, i: Instruction) -> None:
    operand = b.state.pop()
    if _asks(b, operand, i):
        return
    truth = _truth(b, operand)
    if truth is None:
        b.unsupported(i.name)
        return
    _jump_on(b, i, truth, jumps_if=i.name == "POP_JUMP_IF_TRUE")


@handles("POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE")
def _pop_jump_none(b: Builder, i: Instruction) -> None:
    same = _is_same(b, b.state.pop(), Const(None))
    if same is None:
        b.unsupported(i.name)
        return
    _jump_on(b, i, same, jumps_if=i.name == "POP_JUMP_IF_NONE")


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
    if b.state.is_repeatable and not b.state.callers:
        # Whoever wants a turn would make it begin anew each time.
        b.unsupported(i.name)
        return
    b.end(Jump(b.back_edge(i.target)))


@handles("RETURN_VALUE")
def _return_value(b: Builder, i: Instruction) -> None:
    _return(b, b.state.pop())


@handles("RETURN_CONST")
def _return_const(b: Builder, i: Instruction) -> None:
    _return(b, Const(b.code.code.co_consts[i.arg]))


def _return(b: Builder, value: Slot) -> None:
    if b.state.callers:
        b.return_from(value)
    elif b.state.is_repeatable:
        b.unsupported("return")
    else:
        b.return_value(value)


# Calls


@handles("KW_NAMES")
def _kw_names(b: Builder, i: Instruction) -> None:
    """The next instruction is CALL."""
    b.keywords = b.code.code.co_consts[i.arg]


@handles("CALL")
def _call(b: Builder, i: Instruction) -> None:
    """Beneath the arguments is what is called, or that and the first argument."""
    on_stack = b.state.pop_many(i.arg + 2)
    keywords, b.keywords = b.keywords, ()
    called, *arguments = on_stack[1:] if on_stack[0] is Hole.NULL else on_stack
    if isinstance(called, Const):
        _call_known(b, i, called, arguments, keywords, on_stack)
    elif on_stack[0] is Hole.NULL and operators.is_instance(b, called):
        operators.call_special(b, called, "__call__", arguments, i, keywords)
    elif isinstance(called, VirtualMethod):
        _call_known(b, i, called.function, [called.owner, *arguments], keywords, on_stack)
    elif on_stack[0] is Hole.NULL and isinstance(called, Entry):
        call_given(b, called.slot, arguments, keywords, i)
    else:
        b.unsupported(i.name)


def _call_known(
    b: Builder, i: Instruction, called: Const, arguments: list[Slot], keywords: tuple[str, ...], on_stack: list[Slot]
) -> None:
    function = called.value
    if closures.is_nothing(function, arguments):
        b.state.push(Const(None))
    elif isinstance(function, FunctionType):
        call_function(b, function, arguments, keywords, i)
    elif exceptions.make(b, i, called, keywords) or operators.call_builtin(b, function, arguments, keywords, i):
        return
    elif isinstance(function, type) and not is_known(function):
        construct(b, function, arguments, keywords, i)
    elif keywords or not any(call(b, i, called, arguments) for call in (lists.call, sets.call, _call_function_of_c)):
        numbers_at = [place for place, slot in enumerate(arguments) if numbers.is_number(slot)]
        if numbers_at and not keywords:
            b.state.stack += on_stack
            references.tell_apart(b, i, numbers_at[0] - len(arguments))
            return
        b.unsupported(f"{i.name} {getattr(function, '__qualname__', '')}")


def _call_function_of_c(b: Builder, i: Instruction, called: Const, arguments: list[Slot]) -> bool:
    """Calls a function that does nothing, or little, but give a number; whether it is one."""
    result = call(b, called.value, arguments, b.observed_kind(i.next))
    if result is not None:
        b.state.push(result)
        return True
    kind = stateful(called.value, arguments)
    return kind is not None and call_stateful(b, called.value, kind, arguments, i)
