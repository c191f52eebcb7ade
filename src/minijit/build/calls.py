"""Calls of builtin functions and of `math`, recognised by the identity of the function object.

Each rule is a small function over the argument slots that answers with the result's slot, or None where this call is
not compiled. What has no rule but is known to depend on nothing but its arguments is called through the C API
(`call_pure`), with the kind of result that recordings saw.

What is called must not look for signals: no Python code may run inside of a region, as it could break an assumption of
that very region, or raise. CPython's arithmetic on ints of several digits does look, so functions that use it are
called only where guards make sure that it does not come to that.
"""

from __future__ import annotations

import math as _math
import sys
import time as _time
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

from minijit.build import numbers, references
from minijit.build.genuine import Genuine
from minijit.build.numbers import Scalar, scalar, to_float, to_int
from minijit.events import ExitReason
from minijit.ir.kinds import Kind
from minijit.ir.ops import LIBM_1
from minijit.ir.region import Const, Slot, Value, VirtualRange, VirtualTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minijit.build.builder import Builder

math = Genuine(_math)
PI = 3.141592653589793
SMALL_INT = 2**30 - 1
"""The largest int of one digit: on these CPython computes without looking for signals."""

type Rule = Callable[[Builder, Sequence[Slot]], Slot | None]
RULES: dict[int, tuple[object, Rule]] = {}
"""By the function's id; the function itself stands beside its rule so that it stays alive."""


def rule(*functions: object) -> Callable[[Rule], Rule]:
    """Registers the rule for some functions."""

    def register(function: Rule) -> Rule:
        for called in functions:
            RULES[id(called)] = (called, function)
        return function

    return register


def call(b: Builder, function: object, arguments: Sequence[Slot], observed: Kind | None) -> Slot | None:
    """The result of calling `function`; `observed` is the kind that recordings saw. None if it is not compiled."""
    found = RULES.get(id(function))
    result = found[1](b, arguments) if found is not None else None
    if result is None and id(function) in _PURE:
        result = _call_pure(b, function, arguments, observed)
    return result


def is_known(function: object) -> bool:
    """Whether it is a function that has no effect but its result, on numbers, and raises only builtin exceptions."""
    return id(function) in RULES or id(function) in _PURE


def _call_pure(b: Builder, function: object, arguments: Sequence[Slot], observed: Kind | None) -> Slot | None:
    given = [s for s in map(scalar, arguments) if s is not None]
    if observed is None or len(given) != len(arguments):
        return None
    return _called(b, function, observed, given)


def _called(b: Builder, function: object, kind: Kind, operands: Sequence[Scalar]) -> Value:
    """A call through the C API, where the result's kind is known."""
    return b.op("call_pure", Const(function), *operands, reason=ExitReason.DOMAIN, kind=kind)


def _within(b: Builder, operand: Scalar, least: int, most: int | None) -> bool:
    """Leaves unless an int lies within bounds. False for a constant that does not."""
    for sign, bound in ((">=", least), ("<=", most)):
        inside = numbers.compare(b, sign, operand, Const(bound)) if bound is not None else Const(True)
        if isinstance(inside, Value):
            b.effect("guard_true", inside, reason=ExitReason.DOMAIN)
        elif not (isinstance(inside, Const) and inside.value):
            return False
    return True


def _ints(arguments: Sequence[Slot]) -> list[Scalar] | None:
    """The arguments, if all are ints or bools."""
    operands = [s for s in map(scalar, arguments) if s is not None and s.kind is not Kind.FLOAT]
    return operands if len(operands) == len(arguments) else None


def _one(arguments: Sequence[Slot]) -> Scalar | None:
    return scalar(arguments[0]) if len(arguments) == 1 else None


def _two(arguments: Sequence[Slot]) -> tuple[Scalar, Scalar] | None:
    if len(arguments) != 2:
        return None
    left, right = scalar(arguments[0]), scalar(arguments[1])
    return None if left is None or right is None else (left, right)


# Builtins


@rule(abs)
def _abs(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    operand = _one(arguments)
    if operand is None:
        return None
    if operand.kind is Kind.FLOAT:
        return b.op("float_abs", operand)
    return b.op("int_abs", to_int(b, operand), reason=ExitReason.OVERFLOW)


def _extreme(better: str, int_op: str) -> Callable[[Builder, Sequence[Slot]], Slot | None]:
    """`min` or `max` of several numbers of one kind: the first of equal ones, as CPython keeps it."""

    def extreme(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
        operands = [s for a in arguments if (s := scalar(a)) is not None]
        kinds = {o.kind for o in operands}
        # One argument alone is an iterable.
        if len(operands) < max(len(arguments), 2) or len(kinds) > 1 or kinds - {Kind.INT, Kind.FLOAT}:
            return None
        best = operands[0]
        for operand in operands[1:]:
            if operand.kind is Kind.INT:
                best = b.op(int_op, best, operand)
            else:
                replaces = b.op(f"float_{better}", operand, best)
                best = b.op("float_select", replaces, operand, best)
        return best

    return extreme


rule(min)(_extreme("lt", "int_min"))
rule(max)(_extreme("gt", "int_max"))


@rule(int)
def _int(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    if not arguments:
        return Const(0)
    operand = _one(arguments)
    if operand is None:
        return None
    if operand.kind is Kind.FLOAT:
        return b.op("float_to_int", operand, reason=ExitReason.NOT_AN_INT)
    return to_int(b, operand)


@rule(float)
def _float(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    if not arguments:
        return Const(0.0)
    operand = _one(arguments)
    return None if operand is None else to_float(b, operand)


@rule(bool)
def _bool(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    if not arguments:
        return Const(False)
    return numbers.truth(b, arguments[0]) if len(arguments) == 1 else None


@rule(round)
def _round(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    if len(arguments) == 2:
        return _round_to(b, arguments)
    operand = _one(arguments)
    if operand is None:
        return None
    if operand.kind is Kind.FLOAT:
        return b.op("float_round", operand, reason=ExitReason.NOT_AN_INT)
    return to_int(b, operand)


def _round_to(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    """Rounding to a number of digits: an int to 10**9 at most, which is still small."""
    pair = _two(arguments)
    if pair is None or pair[1].kind is Kind.FLOAT:
        return None
    if pair[0].kind is Kind.FLOAT:
        return _called(b, round, Kind.FLOAT, pair)
    return _called(b, round, Kind.INT, pair) if _within(b, pair[1], -9, None) else None


@rule(pow)
def _pow(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    if len(arguments) == 3:
        return _power_modulo(b, arguments)
    pair = _two(arguments)
    return None if pair is None else numbers.binary(b, "**", *pair)


def _power_modulo(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    operands = _ints(arguments)
    if operands is None or not (_within(b, operands[1], 0, None) and _within(b, operands[2], 1, SMALL_INT)):
        return None
    return _called(b, pow, Kind.INT, operands)


@rule(divmod)
def _divmod(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    pair = _two(arguments)
    if pair is None:
        return None
    quotient, rest = numbers.binary(b, "//", *pair), numbers.binary(b, "%", *pair)
    return None if quotient is None or rest is None else VirtualTuple((quotient, rest), b.identity())


@rule(range)
def _range(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    operands = [scalar(a) for a in arguments]
    if not 1 <= len(operands) <= 3 or any(o is None or o.kind is not Kind.INT for o in operands):
        return None
    ints = [o for o in operands if o is not None]
    if len(ints) == 1:
        return VirtualRange(Const(0), ints[0], Const(1), b.identity())
    step = ints[2] if len(ints) == 3 else Const(1)
    if isinstance(step, Const):
        return VirtualRange(ints[0], ints[1], step, b.identity()) if step.value else None
    b.effect("guard_true", b.op("int_to_bool", step), reason=ExitReason.ZERO_DIVISION)
    return VirtualRange(ints[0], ints[1], step, b.identity())


@rule(len)
def _len(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    if len(arguments) != 1:
        return None
    if isinstance(arguments[0], VirtualTuple):
        return Const(len(arguments[0].items))
    return references.length(b, arguments[0])


# math


def _float_function(name: str, reason: ExitReason | None) -> Callable[[Builder, Sequence[Slot]], Slot | None]:
    """A function of one float."""

    def function(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
        operand = numbers.number(arguments[0]) if len(arguments) == 1 else None
        return None if operand is None else b.op(name, to_float(b, operand), reason=reason)

    return function


def _float_function_2(name: str, reason: ExitReason | None) -> Callable[[Builder, Sequence[Slot]], Slot | None]:
    """A function of two floats."""

    def function(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
        pair = _two(arguments)
        return None if pair is None else b.op(name, *(to_float(b, x) for x in pair), reason=reason)

    return function


for _name in (*LIBM_1, "log", "log2", "log10"):
    rule(getattr(math, _name))(_float_function(f"math_{_name}", ExitReason.DOMAIN))
rule(math.fabs)(_float_function("float_abs", None))
rule(math.isnan)(_float_function("float_is_nan", None))
rule(math.isinf)(_float_function("float_is_inf", None))
rule(math.isfinite)(_float_function("float_is_finite", None))
rule(math.copysign)(_float_function_2("float_copysign", None))
rule(math.fmod)(_float_function_2("math_fmod", ExitReason.DOMAIN))
rule(math.pow)(_float_function_2("math_pow", ExitReason.DOMAIN))
rule(math.atan2)(_float_function_2("math_atan2", None))


def _to_integral(name: str) -> Callable[[Builder, Sequence[Slot]], Slot | None]:
    """A function from a number to an int that leaves ints as they are."""

    def function(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
        operand = _one(arguments)
        if operand is None:
            return None
        if operand.kind is Kind.FLOAT:
            return b.op(name, operand, reason=ExitReason.NOT_AN_INT)
        return to_int(b, operand)

    return function


rule(math.floor)(_to_integral("float_floor"))
rule(math.ceil)(_to_integral("float_ceil"))
rule(math.trunc)(_to_integral("float_to_int"))


def _scaled(factor: float) -> Callable[[Builder, Sequence[Slot]], Slot | None]:
    def function(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
        operand = _one(arguments)
        return None if operand is None else b.op("float_mul", to_float(b, operand), Const(factor))

    return function


rule(math.degrees)(_scaled(180.0 / PI))
rule(math.radians)(_scaled(PI / 180.0))


@rule(math.gcd)
def _gcd(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    operands = _ints(arguments)
    if operands is None or len(operands) < 2:
        return None
    result, *rest = (to_int(b, x) for x in operands)
    for operand in rest:
        result = b.op("int_gcd", result, operand, reason=ExitReason.OVERFLOW)
    return result


@rule(math.lcm)
def _lcm(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
    operands = _ints(arguments)
    if operands is None or len(operands) < 2:
        return None
    result, *rest = (to_int(b, x) for x in operands)
    for operand in rest:
        divisor = b.op("int_gcd", result, operand, reason=ExitReason.OVERFLOW)
        part = b.op("int_floordiv", result, divisor, reason=ExitReason.ZERO_DIVISION)
        product = b.op("int_mul", part, operand, reason=ExitReason.OVERFLOW)
        result = b.op("int_abs", product, reason=ExitReason.OVERFLOW)
    return result


def _bounded(function: Callable[..., int], arity: int, most: int) -> None:
    """A function whose result fits 64 bits, and is computed in 64 bits, if its first argument is at most `most`."""

    @rule(function)
    def bounded(b: Builder, arguments: Sequence[Slot]) -> Slot | None:
        operands = _ints(arguments)
        if operands is None or len(operands) != arity or not _within(b, operands[0], 0, most):
            return None
        return _called(b, function, Kind.INT, operands)


_bounded(math.factorial, 1, 20)
_bounded(math.comb, 2, 66)
_bounded(math.perm, 2, 20)

_CLOCKS = {
    **dict.fromkeys(("perf_counter", "time", "monotonic", "process_time"), Kind.FLOAT),
    **dict.fromkeys(("perf_counter_ns", "time_ns", "monotonic_ns", "process_time_ns"), Kind.INT),
}


def stateful(function: object, arguments: Sequence[Slot]) -> Kind | None:
    """What a call gives that gives something else each time, and is done by the C API, in which no Python code runs;
    None for all others. Clocks, and the methods of generators of random numbers that C has."""
    if type(function) is not BuiltinFunctionType:
        return None
    owner, operands = function.__self__, _ints(arguments)
    if owner is _time and not arguments:
        return _CLOCKS.get(function.__name__)
    if "_random" not in sys.modules or operands is None:
        return None
    methods = vars(sys.modules["_random"].Random)
    if not operands and _is_bound(methods["random"], owner, function):
        return Kind.FLOAT
    few = len(operands) == 1 and isinstance(operands[0], Const) and operands[0].value in range(63)
    return Kind.INT if few and _is_bound(methods["getrandbits"], owner, function) else None


def _is_bound(method: Any, owner: object, function: object) -> bool:
    """Whether a builtin function is a method of C's, bound to its owner."""
    try:
        return bool(method.__get__(owner) == function)
    except TypeError:
        return False  # its owner is none of that class


_PURE: dict[int, object] = {
    id(function): function
    for function in (
        *(math.gamma, math.hypot, math.isclose, math.isqrt, math.ldexp, math.lgamma, math.log, math.nextafter),
        *(math.remainder, math.ulp),
    )
}
"""Builtin functions whose only effect on numbers is their result, and which compute in 64 bits."""
