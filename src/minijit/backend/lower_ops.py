"""What each op becomes: one small function an op, registered under its name in `ops.TABLE`.

A function gets the emitter and the op, defines `op.result`, and where the op may leave says under which condition it
does not (`leave_unless`). Exactness lives here: no flag that lets LLVM re-associate or contract floats, no `nsw`; C
functions are called through their addresses, so that LLVM cannot replace them by something that differs in a bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.quick_powers import EXPONENTS, is_offered, quick_power
from minijit.backend.snapshots import TAGS
from minijit.cpython import abi
from minijit.ir.ops import LIBM_1
from minijit.ir.region import Const, Kind, Operand

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.backend.lower import Emitter
    from minijit.ir.region import Op

Lowering = "Callable[[Emitter, Op], None]"
LOWER: dict[str, Callable[[Emitter, Op], None]] = {}

EXACT_FLOATS = 2**53
TWO_TO_63 = "0x43E0000000000000"
MINUS_TWO_TO_63 = "0xC3E0000000000000"
INT_MIN = "-9223372036854775808"


def lowers(name: str) -> Callable[[Callable[[Emitter, Op], None]], Callable[[Emitter, Op], None]]:
    """Registers the lowering of one op."""

    def register(function: Callable[[Emitter, Op], None]) -> Callable[[Emitter, Op], None]:
        LOWER[name] = function
        return function

    return register


def _plain(name: str, instruction: str) -> None:
    """An op that is one LLVM instruction over its operands."""

    def lowering(e: Emitter, op: Op) -> None:
        e.define(op, f"{instruction} {', '.join(e.use(a) for a in op.args)}")

    LOWER[name] = lowering


def _intrinsic(name: str, result: str, intrinsic: str, *more: str) -> None:
    """An op that is one call of an LLVM intrinsic."""

    def lowering(e: Emitter, op: Op) -> None:
        arguments = ", ".join([*(e.typed(a) for a in op.args), *more])
        e.define(op, f"call {result} @{intrinsic}({arguments})")

    LOWER[name] = lowering


def _checked(name: str, intrinsic: str) -> None:
    """An int op that leaves when it overflows."""

    def lowering(e: Emitter, op: Op) -> None:
        arguments = ", ".join(e.typed(a) for a in op.args)
        pair = e.let(f"call {{i64, i1}} @llvm.{intrinsic}.with.overflow.i64({arguments})")
        overflow = e.let(f"extractvalue {{i64, i1}} {pair}, 1")
        e.leave_unless(e.let(f"xor i1 {overflow}, true"), op)
        e.define(op, f"extractvalue {{i64, i1}} {pair}, 0")

    LOWER[name] = lowering


for _name in ("add", "sub", "mul"):
    _checked(f"int_{_name}", f"s{_name}")
    _plain(f"int_{_name}_wrap", f"{_name} i64")
    _plain(f"float_{_name}", f"f{_name} double")
for _name in ("and", "or", "xor"):
    _plain(f"int_{_name}", f"{_name} i64")
    _plain(f"bool_{_name}", f"{_name} i1")
for _name in ("lt", "le", "gt", "ge"):
    _plain(f"int_{_name}", f"icmp s{_name} i64")
    _plain(f"float_{_name}", f"fcmp o{_name} double")
_plain("int_eq", "icmp eq i64")
_plain("int_ne", "icmp ne i64")
_plain("float_eq", "fcmp oeq double")
_plain("float_ne", "fcmp une double")
_plain("float_neg", "fneg double")
_intrinsic("int_min", "i64", "llvm.smin.i64")
_intrinsic("int_max", "i64", "llvm.smax.i64")
_intrinsic("float_abs", "double", "llvm.fabs.f64")
_intrinsic("float_copysign", "double", "llvm.copysign.f64")


# Ints


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


def _division_guards(e: Emitter, op: Op) -> None:
    """Leaves on a zero divisor and on -2**63 / -1, the two cases that the instruction cannot do."""
    a, b = (e.use(x) for x in op.args)
    e.leave_unless(e.let(f"icmp ne i64 {b}, 0"), op)
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


@lowers("int_floordiv")
def _int_floordiv(e: Emitter, op: Op) -> None:
    a, b = (e.use(x) for x in op.args)
    constant = _positive_constant(op.args[1])
    if constant is not None and constant & (constant - 1) == 0:
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
    if constant is not None and constant & (constant - 1) == 0:
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
        e.leave_unless(e.let(f"icmp ne i64 {b}, 0"), op)
        e.define(op, f"{instruction} i64 {a}, {b}")

    LOWER[name] = lowering


_unsigned("int_floordiv_unsigned", "udiv")
_unsigned("int_mod_unsigned", "urem")


@lowers("int_truediv")
def _int_truediv(e: Emitter, op: Op) -> None:
    a, b = (e.use(x) for x in op.args)
    e.leave_unless(e.let(f"icmp ne i64 {b}, 0"), op)
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


LOWER["float_select"] = _int_select


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

    LOWER[f"int_float_{name}"] = lowering


for _name, _test in _ORDERS.items():
    _int_float(_name, _test)


@lowers("int_float_ge")
def _int_float_ge(e: Emitter, op: Op) -> None:
    order = _order(e, op)
    # 0 and 1, as one unsigned comparison.
    e.define(op, f"icmp ule i32 {order}, 1")


# Floats


def _float_divisor(e: Emitter, op: Op) -> None:
    e.leave_unless(e.let(f"fcmp une double {e.use(op.args[1])}, 0.0"), op)


@lowers("float_truediv")
def _float_truediv(e: Emitter, op: Op) -> None:
    _float_divisor(e, op)
    e.define(op, f"fdiv double {e.use(op.args[0])}, {e.use(op.args[1])}")


def _fmod(e: Emitter, op: Op) -> str:
    return e.let(f"call double {e.function('fmod')}({e.typed(op.args[0])}, {e.typed(op.args[1])})")


def _other_sign(e: Emitter, rest: str, divisor: str) -> str:
    """Whether a rest that is not zero has not the divisor's sign."""
    some = e.let(f"fcmp une double {rest}, 0.0")
    negative = e.let(f"fcmp olt double {rest}, 0.0")
    downward = e.let(f"fcmp olt double {divisor}, 0.0")
    differ = e.let(f"xor i1 {negative}, {downward}")
    return e.let(f"and i1 {some}, {differ}")


@lowers("float_mod")
def _float_mod(e: Emitter, op: Op) -> None:
    """As CPython's float_rem: C's fmod, moved to the divisor's sign; a zero rest takes that sign too."""
    _float_divisor(e, op)
    divisor = e.use(op.args[1])
    rest = _fmod(e, op)
    moved = e.let(f"fadd double {rest}, {divisor}")
    adjusted = e.let(f"select i1 {_other_sign(e, rest, divisor)}, double {moved}, double {rest}")
    zero = e.let(f"call double @llvm.copysign.f64(double 0.0, double {divisor})")
    is_zero = e.let(f"fcmp oeq double {rest}, 0.0")
    e.define(op, f"select i1 {is_zero}, double {zero}, double {adjusted}")


@lowers("float_floordiv")
def _float_floordiv(e: Emitter, op: Op) -> None:
    """As CPython's _float_div_mod: the quotient of what the rest leaves, snapped to the nearest integral value."""
    _float_divisor(e, op)
    dividend, divisor = (e.use(x) for x in op.args)
    rest = _fmod(e, op)
    whole = e.let(f"fdiv double {e.let(f'fsub double {dividend}, {rest}')}, {divisor}")
    less = e.let(f"fsub double {whole}, 1.0")
    quotient = e.let(f"select i1 {_other_sign(e, rest, divisor)}, double {less}, double {whole}")
    floored = e.let(f"call double @llvm.floor.f64(double {quotient})")
    gap = e.let(f"fsub double {quotient}, {floored}")
    up = e.let(f"fcmp ogt double {gap}, 0.5")
    snapped = e.let(f"select i1 {up}, double {e.let(f'fadd double {floored}, 1.0')}, double {floored}")
    ratio = e.let(f"fdiv double {dividend}, {divisor}")
    zero = e.let(f"call double @llvm.copysign.f64(double 0.0, double {ratio})")
    is_zero = e.let(f"fcmp oeq double {quotient}, 0.0")
    e.define(op, f"select i1 {is_zero}, double {zero}, double {snapped}")


def _finite(e: Emitter, value: str) -> str:
    size = e.let(f"call double @llvm.fabs.f64(double {value})")
    return e.let(f"fcmp one double {size}, 0x7FF0000000000000")


def _constant_exponent(op: Op) -> float | None:
    """The exponent, if it is one for which there is a quick way."""
    exponent = op.args[1]
    if isinstance(exponent, Const) and isinstance(exponent.value, float) and exponent.value in EXPONENTS:
        return exponent.value if is_offered() else None
    return None


def _power(e: Emitter, op: Op, general: Callable[[Emitter, Op], str]) -> None:
    """The quick way where the result is certain, else the general one."""
    exponent = _constant_exponent(op)
    if exponent is None:
        e.define(op, f"fadd double {general(e, op)}, -0.0")
        return
    quick, certain = quick_power(e, e.use(op.args[0]), exponent)
    before, slow, done = e.label, e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {certain}, label %{done}, label %{slow}")
    e.start(slow)
    power = general(e, op)
    slow = e.label
    e.line(f"br label %{done}")
    e.start(done)
    e.define(op, f"phi double [ {quick}, %{before} ], [ {power}, %{slow} ]")


@lowers("float_pow")
def _float_pow(e: Emitter, op: Op) -> None:
    _power(e, op, _any_float_power)


def _any_float_power(e: Emitter, op: Op) -> str:
    """Ordinary operands and an ordinary result only; CPython negates the power of a negative base's magnitude."""
    base, exponent = (e.use(x) for x in op.args)
    zero = e.let(f"fcmp oeq double {base}, 0.0")
    e.leave_unless(e.let(f"xor i1 {zero}, true"), op)
    e.leave_unless(_finite(e, base), op)
    e.leave_unless(_finite(e, exponent), op)
    negative = e.let(f"fcmp olt double {base}, 0.0")
    integral = e.let(f"fcmp oeq double {e.let(f'call double @llvm.floor.f64(double {exponent})')}, {exponent}")
    positive = e.let(f"xor i1 {negative}, true")
    e.leave_unless(e.let(f"or i1 {positive}, {integral}"), op)
    size = e.let(f"call double @llvm.fabs.f64(double {base})")
    power = e.let(f"call double {e.function('pow')}(double {size}, double {exponent})")
    e.leave_unless(_finite(e, power), op)
    half = e.let(f"fmul double {exponent}, 0.5")
    even = e.let(f"fcmp oeq double {e.let(f'call double @llvm.floor.f64(double {half})')}, {half}")
    odd = e.let(f"xor i1 {even}, true")
    flips = e.let(f"and i1 {negative}, {odd}")
    return e.let(f"select i1 {flips}, double {e.let(f'fneg double {power}')}, double {power}")


# Conversions


@lowers("int_to_float")
def _int_to_float(e: Emitter, op: Op) -> None:
    e.define(op, f"sitofp i64 {e.use(op.args[0])} to double")


def _to_int(e: Emitter, op: Op, value: str) -> None:
    e.leave_unless(e.let(f"fcmp oge double {value}, {MINUS_TWO_TO_63}"), op)
    e.leave_unless(e.let(f"fcmp olt double {value}, {TWO_TO_63}"), op)
    e.define(op, f"fptosi double {value} to i64")


@lowers("float_to_int")
def _float_to_int(e: Emitter, op: Op) -> None:
    _to_int(e, op, e.use(op.args[0]))


def _rounded(name: str, intrinsic: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        _to_int(e, op, e.let(f"call double @llvm.{intrinsic}.f64({e.typed(op.args[0])})"))

    LOWER[name] = lowering


_rounded("float_floor", "floor")
_rounded("float_ceil", "ceil")
_rounded("float_round", "roundeven")


@lowers("bool_to_int")
def _bool_to_int(e: Emitter, op: Op) -> None:
    e.define(op, f"zext i1 {e.use(op.args[0])} to i64")


@lowers("int_to_bool")
def _int_to_bool(e: Emitter, op: Op) -> None:
    e.define(op, f"icmp ne i64 {e.use(op.args[0])}, 0")


@lowers("float_to_bool")
def _float_to_bool(e: Emitter, op: Op) -> None:
    e.define(op, f"fcmp une double {e.use(op.args[0])}, 0.0")


@lowers("float_is_nan")
def _float_is_nan(e: Emitter, op: Op) -> None:
    e.define(op, f"fcmp uno double {e.use(op.args[0])}, 0.0")


@lowers("float_is_inf")
def _float_is_inf(e: Emitter, op: Op) -> None:
    size = e.let(f"call double @llvm.fabs.f64({e.typed(op.args[0])})")
    e.define(op, f"fcmp oeq double {size}, 0x7FF0000000000000")


@lowers("float_is_finite")
def _float_is_finite(e: Emitter, op: Op) -> None:
    size = e.let(f"call double @llvm.fabs.f64({e.typed(op.args[0])})")
    e.define(op, f"fcmp one double {size}, 0x7FF0000000000000")


# The C library, as the math module uses it


def _ordinary_result(e: Emitter, op: Op, arguments: tuple[Operand, ...], function: str) -> None:
    """Calls a C function and leaves when the result is nan or infinite: the interpreter raises, or knows better."""
    result = e.let(f"call double {function}({', '.join(e.typed(a) for a in arguments)})")
    e.leave_unless(_finite(e, result), op)
    e.define(op, f"fadd double {result}, -0.0")


def _libm(name: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        _ordinary_result(e, op, op.args, e.function(name))

    LOWER[f"math_{name}"] = lowering


for _name in LIBM_1:
    _libm(_name)


def _logarithm(name: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        e.leave_unless(e.let(f"fcmp ogt double {e.use(op.args[0])}, 0.0"), op)
        _ordinary_result(e, op, op.args, e.function(name))

    LOWER[f"math_{name}"] = lowering


for _name in ("log", "log2", "log10"):
    _logarithm(_name)


@lowers("math_sqrt")
def _math_sqrt(e: Emitter, op: Op) -> None:
    """IEEE 754 defines it to the bit, so the instruction may stand for the function."""
    e.leave_unless(e.let(f"fcmp oge double {e.use(op.args[0])}, 0.0"), op)
    e.define(op, f"call double @llvm.sqrt.f64({e.typed(op.args[0])})")


@lowers("math_fmod")
def _math_fmod(e: Emitter, op: Op) -> None:
    _ordinary_result(e, op, op.args, e.function("fmod"))


@lowers("math_pow")
def _math_pow(e: Emitter, op: Op) -> None:
    _power(e, op, _any_math_power)


def _any_math_power(e: Emitter, op: Op) -> str:
    for operand in op.args:
        e.leave_unless(_finite(e, e.use(operand)), op)
    power = e.let(f"call double {e.function('pow')}({e.typed(op.args[0])}, {e.typed(op.args[1])})")
    e.leave_unless(_finite(e, power), op)
    return power


@lowers("math_atan2")
def _math_atan2(e: Emitter, op: Op) -> None:
    e.define(op, f"call double {e.function('atan2')}({e.typed(op.args[0])}, {e.typed(op.args[1])})")


# Values of a kind known at run time only: a tag and 64 bits


def _pack(e: Emitter, op: Op, tag: str, bits: str) -> None:
    assert op.result is not None
    # Constants are named by an instruction too, so that every value has its two names.
    e.line(f"%v{op.result.number}.tag = add i64 {TAGS[tag]}, 0")
    e.line(f"%v{op.result.number}.bits = {bits}")


@lowers("pack_int")
def _pack_int(e: Emitter, op: Op) -> None:
    _pack(e, op, "int", f"add i64 {e.use(op.args[0])}, 0")


@lowers("pack_float")
def _pack_float(e: Emitter, op: Op) -> None:
    _pack(e, op, "float", f"bitcast double {e.use(op.args[0])} to i64")


@lowers("pack_bool")
def _pack_bool(e: Emitter, op: Op) -> None:
    _pack(e, op, "bool", f"zext i1 {e.use(op.args[0])} to i64")


@lowers("pack_none")
def _pack_none(e: Emitter, op: Op) -> None:
    _pack(e, op, "none", "add i64 0, 0")


@lowers("pack_unbound")
def _pack_unbound(e: Emitter, op: Op) -> None:
    _pack(e, op, "unbound", "add i64 0, 0")


def _is(kind: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        e.define(op, f"icmp eq i64 {e.tag(op.args[0])}, {TAGS[kind]}")

    LOWER[f"is_{kind}"] = lowering


for _name in ("int", "float", "bool", "none"):
    _is(_name)


def _unpack(kind: str, convert: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        e.leave_unless(e.let(f"icmp eq i64 {e.tag(op.args[0])}, {TAGS[kind]}"), op)
        e.define(op, convert.format(e.bits(op.args[0])))

    LOWER[f"unpack_{kind}"] = lowering


_unpack("int", "add i64 {}, 0")
_unpack("float", "bitcast i64 {} to double")
_unpack("bool", "trunc i64 {} to i1")


# Guards, reads, calls


@lowers("guard_true")
def _guard_true(e: Emitter, op: Op) -> None:
    e.leave_unless(e.use(op.args[0]), op)


@lowers("guard_false")
def _guard_false(e: Emitter, op: Op) -> None:
    e.leave_unless(e.let(f"xor i1 {e.use(op.args[0])}, true"), op)


@lowers("poll")
def _poll(e: Emitter, op: Op) -> None:
    flag = e.let(f"load volatile i32, ptr {e.constant_pointer(e.target.eval_breaker)}")
    e.leave_unless(e.let(f"icmp eq i32 {flag}, 0"), op)


def _unbox_int(e: Emitter, address: str, fail: Callable[[str], None]) -> str:
    """The value of an exact int: one digit here, more of them by a helper."""
    tag = e.let(f"load i64, ptr {e.let(f'getelementptr i8, ptr {address}, i64 {abi.LONG.lv_tag}')}")
    digits = e.let(f"getelementptr i8, ptr {address}, i64 {abi.LONG.ob_digit}")
    digit = e.let(f"zext i32 {e.let(f'load i32, ptr {digits}')} to i64")
    sign = e.let(f"sub i64 1, {e.let(f'and i64 {tag}, 3')}")
    compact = e.let(f"icmp ult i64 {tag}, 16")
    one, more, joined = e.fresh_label(), e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {compact}, label %{one}, label %{more}")
    e.start(one)
    small = e.let(f"mul i64 {digit}, {sign}")
    e.line(f"br label %{joined}")
    e.start(more)
    pair = e.let(f"call {{i64, i1}} {e.helper('unbox_large')}(ptr {digits}, i64 {tag}, i64 {digit}, i64 {sign})")
    fail(e.let(f"extractvalue {{i64, i1}} {pair}, 1"))
    large = e.let(f"extractvalue {{i64, i1}} {pair}, 0")
    more = e.label
    e.line(f"br label %{joined}")
    e.start(joined)
    return e.let(f"phi i64 [ {small}, %{one} ], [ {large}, %{more} ]")


def unbox(e: Emitter, kind: Kind, address: str, fail: Callable[[str], None]) -> str:
    """The machine value of an object; `fail` is told the conditions under which it is one."""
    type_place = e.let(f"getelementptr i8, ptr {address}, i64 {abi.OBJECT.ob_type}")
    type_ = e.let(f"load i64, ptr {type_place}")
    python_type = {Kind.INT: int, Kind.FLOAT: float, Kind.BOOL: bool}[kind]
    fail(e.let(f"icmp eq i64 {type_}, {id(python_type)}"))
    match kind:
        case Kind.FLOAT:
            place = e.let(f"getelementptr i8, ptr {address}, i64 {abi.FLOAT.ob_fval}")
            return e.let(f"load double, ptr {place}")
        case Kind.BOOL:
            return e.let(f"icmp eq ptr {address}, {e.constant_pointer(id(True))}")
        case _:
            return _unbox_int(e, address, fail)


@lowers("load_global")
def _load_global(e: Emitter, op: Op) -> None:
    """A lookup in the namespace's dict at each execution: for globals that change too often to be assumed.

    Leaves where a key is no plain str: its `__eq__` may be Python code, which must not run inside of a region.
    """
    namespace, key = (a.value for a in op.args if isinstance(a, Const))
    keys = e.let(f"load ptr, ptr {e.constant_pointer(id(namespace) + abi.DICT.ma_keys)}")
    kind = e.let(f"load i8, ptr {e.let(f'getelementptr i8, ptr {keys}, i64 {abi.DICT_KEYS.dk_kind}')}")
    e.leave_unless(e.let(f"icmp ne i8 {kind}, 0"), op)
    find = e.function("_PyDict_GetItem_KnownHash")
    found = e.let(
        f"call ptr {find}(ptr {e.constant_pointer(id(namespace))}, ptr {e.constant_pointer(id(key))}, i64 {hash(key)})"
    )
    e.leave_unless(e.let(f"icmp ne ptr {found}, null"), op)
    assert op.result is not None
    value = unbox(e, op.result.kind, found, lambda condition: e.leave_unless(condition, op))
    _name_result(e, op, value)


def _name_result(e: Emitter, op: Op, value: str) -> None:
    assert op.result is not None
    match op.result.kind:
        case Kind.INT:
            e.define(op, f"add i64 {value}, 0")
        case Kind.FLOAT:
            e.define(op, f"fadd double {value}, -0.0")
        case Kind.BOOL:
            e.define(op, f"and i1 {value}, true")
        case Kind.ANY:
            raise AssertionError(op)


@lowers("call_pure")
def _call_pure(e: Emitter, op: Op) -> None:
    """A call of a builtin function whose only effect is its result, by the C API: boxed, called, unboxed.

    Whatever goes wrong is forgotten, and the interpreter calls again: calling twice cannot be told from calling once.
    The argument array is the raw buffer, which nothing uses meanwhile.
    """
    function, *arguments = op.args
    assert isinstance(function, Const)
    assert op.result is not None
    boxes = [_boxed(e, argument) for argument in arguments]
    for position, box in enumerate(boxes):
        e.line(f"store ptr {box}, ptr {e.constant_pointer(e.target.raw + 8 * position)}")
    array = e.constant_pointer(e.target.raw)
    call = f"{e.function('PyObject_Vectorcall')}(ptr {e.constant_pointer(id(function.value))}, ptr {array}"
    result = e.let(f"call ptr {call}, i64 {len(boxes)}, ptr null)")
    for box in boxes:
        e.line(f"call void {e.function('Py_DecRef')}(ptr {box})")
    kind = op.result.kind
    pair_type = {Kind.INT: "{i64, i1}", Kind.FLOAT: "{double, i1}", Kind.BOOL: "{i1, i1}"}[kind]
    pair = e.let(f"call {pair_type} {e.helper(f'take_{kind.value}')}(ptr {result})")
    e.leave_unless(e.let(f"extractvalue {pair_type} {pair}, 1"), op)
    e.define(op, f"extractvalue {pair_type} {pair}, 0")


def _boxed(e: Emitter, operand: Operand) -> str:
    """A new reference to the operand as an object."""
    if isinstance(operand, Const):
        address = e.constant_pointer(id(operand.value))
        e.incref(address)
        return address
    match operand.kind:
        case Kind.INT:
            return e.let(f"call ptr {e.function('PyLong_FromLongLong')}({e.typed(operand)})")
        case Kind.FLOAT:
            return e.let(f"call ptr {e.function('PyFloat_FromDouble')}({e.typed(operand)})")
        case Kind.BOOL:
            true, false = (e.constant_pointer(id(x)) for x in (True, False))
            return e.let(f"select i1 {e.use(operand)}, ptr {true}, ptr {false}")
        case _:
            raise AssertionError(operand)
