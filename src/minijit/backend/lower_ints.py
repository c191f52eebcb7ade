"""What each op on ints and truth values becomes, and comparisons of ints with floats.

Where an op cannot give Python's result (it outgrows 64 bits, divides by zero), it leaves. No `nsw`: what wraps is meant
to wrap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from minijit.backend.lower_table import Rows
from minijit.ir.region import Const, Operand

if TYPE_CHECKING:
    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op

ROWS = Rows()
lowers = ROWS.lowers

EXACT_FLOATS = 2**53
INT_MIN = "-9223372036854775808"


def _checked(name: str, intrinsic: str) -> None:
    """An int op that leaves when it overflows."""

    def lowering(e: Emitter, op: Op) -> None:
        arguments = ", ".join(e.typed(a) for a in op.args)
        pair = e.let(f"call {{i64, i1}} @llvm.{intrinsic}.with.overflow.i64({arguments})")
        overflow = e.let(f"extractvalue {{i64, i1}} {pair}, 1")
        e.leave_unless(e.let(f"xor i1 {overflow}, true"), op)
        e.define(op, f"extractvalue {{i64, i1}} {pair}, 0")

    ROWS[name] = lowering


for _name in ("add", "sub", "mul"):
    _checked(f"int_{_name}", f"s{_name}")
    ROWS.plain(f"int_{_name}_wrap", f"{_name} i64")
for _name in ("and", "or", "xor"):
    ROWS.plain(f"int_{_name}", f"{_name} i64")
    ROWS.plain(f"bool_{_name}", f"{_name} i1")
for _name in ("lt", "le", "gt", "ge"):
    ROWS.plain(f"int_{_name}", f"icmp s{_name} i64")
ROWS.plain("int_eq", "icmp eq i64")
ROWS.plain("int_ne", "icmp ne i64")
ROWS.intrinsic("int_min", "i64", "llvm.smin.i64")
ROWS.intrinsic("int_max", "i64", "llvm.smax.i64")


@lowers("int_neg")
def _int_neg(e: Emitter, op: Op) -> None:
    value = e.use(op.args[0])
    e.leave_unless(e.let(f"icmp ne i64 {value}, {INT_MIN}"), op)
    e.define(op, f"sub i64 0, {value}")


@lowers("int_neg_wrap")
def _int_neg_wrap(e: Emitter, op: Op) -> None:
    e.define(op, f"sub i64 0, {e.use(op.args[0])}")


@lowers("int_abs")
def _int_abs(e: Emitter, op: Op) -> None:
    value = e.use(op.args[0])
    e.leave_unless(e.let(f"icmp ne i64 {value}, {INT_MIN}"), op)
    e.define(op, f"call i64 @llvm.abs.i64(i64 {value}, i1 false)")


@lowers("int_invert")
def _int_invert(e: Emitter, op: Op) -> None:
    e.define(op, f"xor i64 {e.use(op.args[0])}, -1")


def _positive_constant(operand: Operand) -> int | None:
    if isinstance(operand, Const) and type(operand.value) is int and operand.value > 0:
        return operand.value
    return None


def _leave_on_zero(e: Emitter, op: Op, divisor: str) -> None:
    e.leave_unless(e.let(f"icmp ne i64 {divisor}, 0"), op)


def _division_guards(e: Emitter, op: Op) -> None:
    """Leaves on a zero divisor and on -2**63 / -1, the two cases that the instruction cannot do."""
    a, b = (e.use(x) for x in op.args)
    _leave_on_zero(e, op, b)
    least = e.let(f"icmp eq i64 {a}, {INT_MIN}")
    minus_one = e.let(f"icmp eq i64 {b}, -1")
    both = e.let(f"and i1 {least}, {minus_one}")
    e.leave_unless(e.let(f"xor i1 {both}, true"), op)


def _needs_floor(e: Emitter, op: Op, rest: str) -> str:
    """Whether truncating division was above the floor: there is a rest and it has not the divisor's sign."""
    divisor = e.use(op.args[1])
    if _positive_constant(op.args[1]) is not None:
        return e.let(f"icmp slt i64 {rest}, 0")
    some = e.let(f"icmp ne i64 {rest}, 0")
    signs = e.let(f"xor i64 {rest}, {divisor}")
    differ = e.let(f"icmp slt i64 {signs}, 0")
    return e.let(f"and i1 {some}, {differ}")


def _is_power_of_two(constant: int | None) -> TypeGuard[int]:
    return constant is not None and constant & (constant - 1) == 0


@lowers("int_floordiv")
def _int_floordiv(e: Emitter, op: Op) -> None:
    a, b = (e.use(x) for x in op.args)
    constant = _positive_constant(op.args[1])
    if _is_power_of_two(constant):
        e.define(op, f"ashr i64 {a}, {constant.bit_length() - 1}")
        return
    if constant is None:
        _division_guards(e, op)
    quotient = e.let(f"sdiv i64 {a}, {b}")
    rest = e.let(f"sub i64 {a}, {e.let(f'mul i64 {quotient}, {b}')}")
    lower = e.let(f"zext i1 {_needs_floor(e, op, rest)} to i64")
    e.define(op, f"sub i64 {quotient}, {lower}")


@lowers("int_mod")
def _int_mod(e: Emitter, op: Op) -> None:
    a, b = (e.use(x) for x in op.args)
    constant = _positive_constant(op.args[1])
    if _is_power_of_two(constant):
        e.define(op, f"and i64 {a}, {constant - 1}")
        return
    if constant is None:
        _division_guards(e, op)
    rest = e.let(f"srem i64 {a}, {b}")
    more = e.let(f"select i1 {_needs_floor(e, op, rest)}, i64 {b}, i64 0")
    e.define(op, f"add i64 {rest}, {more}")


def _unsigned(name: str, instruction: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        a, b = (e.use(x) for x in op.args)
        _leave_on_zero(e, op, b)
        e.define(op, f"{instruction} i64 {a}, {b}")

    ROWS[name] = lowering


def _half(name: str, instruction: str) -> None:
    """As numbers of 32 bits, whose division is quicker."""

    def lowering(e: Emitter, op: Op) -> None:
        a, b = (e.let(f"trunc i64 {e.use(x)} to i32") for x in op.args)
        e.leave_unless(e.let(f"icmp ne i32 {b}, 0"), op)
        e.define(op, f"zext i32 {e.let(f'{instruction} i32 {a}, {b}')} to i64")

    ROWS[name] = lowering


_unsigned("int_floordiv_unsigned", "udiv")
_unsigned("int_mod_unsigned", "urem")
_half("int_floordiv_half", "udiv")
_half("int_mod_half", "urem")


@lowers("int_truediv")
def _int_truediv(e: Emitter, op: Op) -> None:
    a, b = (e.use(x) for x in op.args)
    _leave_on_zero(e, op, b)
    for operand in (a, b):
        # -2**53 <= x <= 2**53 as one unsigned comparison.
        moved = e.let(f"add i64 {operand}, {EXACT_FLOATS}")
        e.leave_unless(e.let(f"icmp ule i64 {moved}, {2 * EXACT_FLOATS}"), op)
    left, right = (e.let(f"sitofp i64 {x} to double") for x in (a, b))
    e.define(op, f"fdiv double {left}, {right}")


@lowers("int_pow")
def _int_pow(e: Emitter, op: Op) -> None:
    base, exponent = (e.use(x) for x in op.args)
    e.leave_unless(e.let(f"icmp sge i64 {exponent}, 0"), op)
    pair = e.let(f"call {{i64, i1}} {e.helper('int_power')}(i64 {base}, i64 {exponent})")
    e.leave_unless(e.let(f"extractvalue {{i64, i1}} {pair}, 1"), op)
    e.define(op, f"extractvalue {{i64, i1}} {pair}, 0")


@lowers("int_lshift")
def _int_lshift(e: Emitter, op: Op) -> None:
    value, count = (e.use(x) for x in op.args)
    e.leave_unless(e.let(f"icmp ult i64 {count}, 64"), op)
    shifted = e.let(f"shl i64 {value}, {count}")
    back = e.let(f"ashr i64 {shifted}, {count}")
    e.leave_unless(e.let(f"icmp eq i64 {back}, {value}"), op)
    e.define(op, f"add i64 {shifted}, 0")


@lowers("int_lshift_wrap")
def _int_lshift_wrap(e: Emitter, op: Op) -> None:
    value, count = (e.use(x) for x in op.args)
    e.define(op, f"shl i64 {value}, {e.let(f'and i64 {count}, 63')}")


@lowers("int_rshift")
def _int_rshift(e: Emitter, op: Op) -> None:
    value, count = (e.use(x) for x in op.args)
    e.leave_unless(e.let(f"icmp sge i64 {count}, 0"), op)
    # A shift by 63 leaves the sign alone, as every longer one does.
    e.define(op, f"ashr i64 {value}, {e.let(f'call i64 @llvm.smin.i64(i64 {count}, i64 63)')}")


@lowers("int_gcd")
def _int_gcd(e: Emitter, op: Op) -> None:
    result = e.let(f"call i64 {e.helper('int_gcd')}({e.typed(op.args[0])}, {e.typed(op.args[1])})")
    e.leave_unless(e.let(f"icmp sge i64 {result}, 0"), op)
    e.define(op, f"add i64 {result}, 0")


@lowers("int_select")
def _int_select(e: Emitter, op: Op) -> None:
    e.define(op, f"select {', '.join(e.typed(a) for a in op.args)}")


@lowers("bool_not")
def _bool_not(e: Emitter, op: Op) -> None:
    e.define(op, f"xor i1 {e.use(op.args[0])}, true")


# Comparisons of an int with a float: the order of the two is -1, 0, 1, or 2 for nan.

_ORDERS = {
    "lt": "icmp eq i32 {}, -1",
    "le": "icmp sle i32 {}, 0",
    "eq": "icmp eq i32 {}, 0",
    "ne": "icmp ne i32 {}, 0",
    "gt": "icmp eq i32 {}, 1",
}


def _order(e: Emitter, op: Op) -> str:
    return e.let(f"call i32 {e.helper('int_float_order')}({e.typed(op.args[0])}, {e.typed(op.args[1])})")


def _int_float(name: str, test: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        order = _order(e, op)
        e.define(op, test.format(order))

    ROWS[f"int_float_{name}"] = lowering


for _name, _test in _ORDERS.items():
    _int_float(_name, _test)


@lowers("int_float_ge")
def _int_float_ge(e: Emitter, op: Op) -> None:
    order = _order(e, op)
    # 0 and 1, as one unsigned comparison.
    e.define(op, f"icmp ule i32 {order}, 1")
