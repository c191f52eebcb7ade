"""Operators on numbers: which op stands for a Python operator, given the kinds of its operands.

Every function gets slots and answers with a slot, or None where the operation is not compiled. Two constants are
computed here and now, by Python itself. The rules are those of `int`, `float` and `bool` in CPython: `True + True` is
an int, `True & True` a bool; int meets float by conversion, except in comparisons, which are exact.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, TypeGuard

from minijit.build import exceptions
from minijit.events import ExitReason
from minijit.ir.kinds import INT_MAX, INT_MIN, Kind, const_kind
from minijit.ir.region import Const, Operand, Slot, Value, VirtualTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.build.builder import Builder

OPERATORS = ("+", "&", "//", "<<", "@", "*", "%", "|", "**", ">>", "-", "/", "^") * 2
"""By the argument of BINARY_OP; the second half are the in-place forms, the same for numbers."""
COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")
"""By the upper bits of the argument of COMPARE_OP."""


def _power(base: float, exponent: float) -> object:
    """Raises where the result is known to be large: computing it might take for ever."""
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 63:
        raise OverflowError
    return base**exponent


def _shifted(value: int, count: int) -> int:
    if count > 63:
        raise OverflowError
    return value << count


_PYTHON: dict[str, Callable[..., object]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": _power,
    "<<": _shifted,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}

_INT_OPS = {
    "+": ("int_add", ExitReason.OVERFLOW),
    "-": ("int_sub", ExitReason.OVERFLOW),
    "*": ("int_mul", ExitReason.OVERFLOW),
    "/": ("int_truediv", ExitReason.INEXACT),
    "//": ("int_floordiv", ExitReason.ZERO_DIVISION),
    "%": ("int_mod", ExitReason.ZERO_DIVISION),
    "<<": ("int_lshift", ExitReason.OVERFLOW),
    ">>": ("int_rshift", ExitReason.SHIFT),
    "&": ("int_and", None),
    "|": ("int_or", None),
    "^": ("int_xor", None),
}
_FLOAT_OPS = {
    "+": ("float_add", None),
    "-": ("float_sub", None),
    "*": ("float_mul", None),
    "/": ("float_truediv", ExitReason.ZERO_DIVISION),
    "//": ("float_floordiv", ExitReason.ZERO_DIVISION),
    "%": ("float_mod", ExitReason.ZERO_DIVISION),
    "**": ("float_pow", ExitReason.DOMAIN),
}
_DIVISIONS = ("int_truediv", "int_floordiv", "int_mod", "float_truediv", "float_floordiv", "float_mod")
_BOOL_OPS = {"&": "bool_and", "|": "bool_or", "^": "bool_xor"}
COMPARE_NAMES = {"<": "lt", "<=": "le", "==": "eq", "!=": "ne", ">": "gt", ">=": "ge"}
SWAPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
"""What a comparison is with its operands the other way round."""

Scalar = Value | Const


def scalar(slot: Slot) -> Scalar | None:
    """The slot as an operand of ops: a machine value or a constant that can be one."""
    if isinstance(slot, Value | Const) and slot.kind is not None and not slot.kind.is_tagged:
        return slot
    return None


def is_number(slot: Slot) -> TypeGuard[Value]:
    """Whether it is a number whose sort is known at run time only."""
    return isinstance(slot, Value) and slot.kind is Kind.NUMBER


def number(slot: Slot) -> Scalar | None:
    """The slot as a number, of whatever sort."""
    return slot if is_number(slot) else scalar(slot)


def as_number(b: Builder, operand: Scalar) -> Value:
    """A number as one whose sort is known at run time only."""
    if is_number(operand):
        return operand
    assert operand.kind is not None
    return b.op(f"number_of_{operand.kind.value}", operand)


def fold(function: Callable[..., object], *args: Slot) -> Const | None:
    """The result for constant numbers, computed by Python; None if it raises, or is no small number."""
    values = [arg.value for arg in args if isinstance(arg, Const) and arg.kind is not None]
    if len(values) != len(args):
        return None
    try:
        result = function(*values)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return Const(result) if const_kind(result) is not None else None


def to_int(b: Builder, operand: Scalar) -> Operand:
    """An int or bool as an int."""
    if operand.kind is Kind.BOOL:
        return fold(int, operand) or b.op("bool_to_int", operand)
    return operand


def to_float(b: Builder, operand: Scalar) -> Operand:
    """A number as a float, rounded as CPython does it."""
    if operand.kind is Kind.FLOAT:
        return operand
    if operand.kind is Kind.NUMBER:
        return b.op("number_to_float", operand)
    return fold(float, operand) or b.op("int_to_float", to_int(b, operand))


def binary(b: Builder, sign: str, left_slot: Slot, right_slot: Slot) -> Slot | None:
    """`left sign right`."""
    if is_number(left_slot) or is_number(right_slot):
        return _generic(b, sign, number(left_slot), number(right_slot))
    left, right = scalar(left_slot), scalar(right_slot)
    if left is None or right is None or sign not in _PYTHON:
        return None
    folded = fold(_PYTHON[sign], left, right)
    if folded is not None:
        return folded
    if Kind.FLOAT in (left.kind, right.kind):
        return _apply(b, _FLOAT_OPS.get(sign), to_float(b, left), to_float(b, right))
    if left.kind is right.kind is Kind.BOOL and sign in _BOOL_OPS:
        return b.op(_BOOL_OPS[sign], left, right)
    ints = to_int(b, left), to_int(b, right)
    if sign == "**":
        return _int_power(b, *ints)
    return _apply(b, _INT_OPS.get(sign), *ints)


_GENERIC = {"+": "add", "-": "sub", "*": "mul"}


def _generic(b: Builder, sign: str, left: Scalar | None, right: Scalar | None) -> Slot | None:
    """The same where the sort of one is known at run time only: a float makes the other one a float."""
    if left is None or right is None:
        return None
    if Kind.FLOAT in (left.kind, right.kind):
        return _apply(b, _FLOAT_OPS.get(sign), to_float(b, left), to_float(b, right))
    if sign == "/":
        reason = ExitReason.ZERO_DIVISION
        return b.op("number_truediv", as_number(b, left), as_number(b, right), reason=reason)
    if sign not in _GENERIC:
        return None
    reason = ExitReason.OVERFLOW
    return b.op(f"number_{_GENERIC[sign]}", as_number(b, left), as_number(b, right), reason=reason)


def _apply(b: Builder, row: tuple[str, ExitReason | None] | None, left: Operand, right: Operand) -> Value | None:
    if row is None:
        return None
    name, reason = row
    if name in _DIVISIONS:
        if isinstance(right, Value) and exceptions.is_caught(b):
            is_fine = truth(b, right)
            assert isinstance(is_fine, Value)
            exceptions.raise_unless(b, is_fine, ZeroDivisionError, ExitReason.ZERO_DIVISION)
        reason = exceptions.reason(b, reason or ExitReason.ZERO_DIVISION)
    return b.op(name, left, right, reason=reason)


def _int_power(b: Builder, base: Operand, exponent: Operand) -> Slot:
    """A constant exponent tells the result's kind; another one is expected to be positive."""
    if isinstance(exponent, Const) and isinstance(exponent.value, int):
        if exponent.value < 0:
            reason = ExitReason.DOMAIN
            return b.op("float_pow", b.op("int_to_float", base), Const(float(exponent.value)), reason=reason)
        if exponent.value in (2, 3, 4):
            # No smaller power overflows where the power does not.
            square = b.op("int_mul", base, base, reason=ExitReason.OVERFLOW)
            match exponent.value:
                case 2:
                    return square
                case 3:
                    return b.op("int_mul", square, base, reason=ExitReason.OVERFLOW)
                case _:
                    return b.op("int_mul", square, square, reason=ExitReason.OVERFLOW)
    return b.op("int_pow", base, exponent, reason=ExitReason.OVERFLOW)


def unary(b: Builder, sign: str, slot: Slot) -> Slot | None:
    """`-x`, `+x` or `~x`."""
    if is_number(slot) and sign == "-":
        return b.op("number_neg", slot, reason=ExitReason.OVERFLOW)
    operand = scalar(slot)
    if operand is None or (sign == "~" and operand.kind is Kind.FLOAT):
        return None
    if sign == "~" and operand.kind is Kind.BOOL:
        return None  # deprecated: the interpreter warns
    if operand.kind is Kind.FLOAT:
        return b.op("float_neg", operand) if sign == "-" else operand
    whole = to_int(b, operand)
    match sign:
        case "-":
            return b.op("int_neg", whole, reason=ExitReason.OVERFLOW)
        case "~":
            return b.op("int_invert", whole)
        case _:
            return whole


def compare(b: Builder, sign: str, left_slot: Slot, right_slot: Slot) -> Slot | None:
    """`left sign right` as a bool."""
    if is_number(left_slot) or is_number(right_slot):
        one, other = number(left_slot), number(right_slot)
        if one is not None and other is not None:
            return b.op(f"number_{COMPARE_NAMES[sign]}", as_number(b, one), as_number(b, other))
    left, right = scalar(left_slot), scalar(right_slot)
    if left is None or right is None:
        return _compare_none(sign, left_slot, right_slot) or _compare_large(b, sign, left_slot, right_slot)
    folded = fold(_PYTHON[sign], left, right)
    if folded is not None:
        return folded
    name = COMPARE_NAMES[sign]
    left, right = _as_float(left, right), _as_float(right, left)
    floats = (left.kind is Kind.FLOAT, right.kind is Kind.FLOAT)
    match floats:
        case (True, True):
            return b.op(f"float_{name}", left, right)
        case (False, False):
            return b.op(f"int_{name}", to_int(b, left), to_int(b, right))
        case (False, True):
            return b.op(f"int_float_{name}", to_int(b, left), right)
        case _:
            return b.op(f"int_float_{COMPARE_NAMES[SWAPPED[sign]]}", to_int(b, right), left)


def _as_float(operand: Scalar, other: Scalar) -> Scalar:
    """An int constant that meets a float, as a float if that loses nothing."""
    if isinstance(operand, Const) and type(operand.value) is int and other.kind is Kind.FLOAT:
        exact = float(operand.value)
        return Const(exact) if exact == operand.value else operand
    return operand


def _compare_none(sign: str, left: Slot, right: Slot) -> Slot | None:
    """Whether a number equals None: it never does."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Const) and one.value is None and number(other) is not None and sign in ("==", "!="):
            return Const(sign == "!=")
    return None


def _compare_large(b: Builder, sign: str, left: Slot, right: Slot) -> Slot | None:
    """An int of 64 bits and a constant that is larger: the comparison with the last number on that side.

    Its result is known, but not to be folded: it is true only of an int that fits, so it must be seen to use that int,
    or `wrap` would let it grow.
    """
    large = _large(right)
    if large is None:
        return None if _large(left) is None else _compare_large(b, SWAPPED[sign], right, left)
    if isinstance(left, Const) and type(left.value) in (bool, int, float):
        return Const(_PYTHON[sign](left.value, large))
    number = scalar(left)
    if number is None or number.kind is Kind.FLOAT:
        return None
    is_above = large > 0
    holds = sign == "!=" or ((sign in ("<", "<=")) == is_above and sign != "==")
    last = Const(INT_MAX if is_above else INT_MIN)
    always, never = ("int_le", "int_gt") if is_above else ("int_ge", "int_lt")
    return b.op(always if holds else never, to_int(b, number), last)


def _large(slot: Slot) -> int | None:
    """The value of a constant int that does not fit 64 bits."""
    if isinstance(slot, Const) and type(slot.value) is int and slot.kind is None:
        return slot.value
    return None


def truth(b: Builder, slot: Slot) -> Value | Const | None:
    """The slot's truth value: a bool operand."""
    if isinstance(slot, Const) and (slot.value is None or slot.kind is not None):
        return Const(bool(slot.value))
    if isinstance(slot, VirtualTuple):
        return Const(bool(slot.items))
    operand = number(slot)
    if not isinstance(operand, Value):
        return None
    match operand.kind:
        case Kind.BOOL:
            return operand
        case Kind.INT:
            return b.op("int_to_bool", operand)
        case Kind.NUMBER:
            return b.op("number_to_bool", operand)
        case _:
            return b.op("float_to_bool", operand)


def inverse(b: Builder, truth: Value | Const) -> Value | Const:
    """`not` of a bool."""
    return Const(not truth.value) if isinstance(truth, Const) else b.op("bool_not", truth)


def range_length(b: Builder, start: Operand, stop: Operand, step: Operand) -> Operand:
    """How many values a range has. A length that does not fit 64 bits leaves."""
    zero, one = Const(0), Const(1)
    overflow = ExitReason.OVERFLOW
    if not isinstance(step, Const):
        up = b.op("int_gt", step, zero)
        low, high = b.op("int_select", up, start, stop), b.op("int_select", up, stop, start)
        size: Operand = b.op("int_abs", step, reason=overflow)
    else:
        assert isinstance(step.value, int)
        low, high = (start, stop) if step.value > 0 else (stop, start)  # type: ignore[assignment]
        size = Const(abs(step.value))
    distance: Operand = b.op("int_sub", high, low, reason=overflow)
    if not isinstance(size, Const) or size.value != 1:
        rounding = b.op("int_sub", size, one, reason=overflow)
        padded = b.op("int_add", distance, rounding, reason=overflow)
        distance = b.op("int_floordiv", padded, size, reason=ExitReason.ZERO_DIVISION)
    return b.op("int_max", distance, zero)
