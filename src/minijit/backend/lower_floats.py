"""What each op on floats becomes: arithmetic, conversions to and from them, and the C library as `math` uses it.

Exactness lives here: no flag that lets LLVM re-associate or contract; C functions are called through their addresses,
so that LLVM cannot replace them by something that differs in a bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.lower_table import Rows
from minijit.backend.quick_powers import EXPONENTS, is_offered, quick_power
from minijit.backend.quick_rests import quick_rest
from minijit.ir.ops import LIBM_1
from minijit.ir.region import Const, Operand

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op

ROWS = Rows()
lowers = ROWS.lowers

TWO_TO_63 = "0x43E0000000000000"
MINUS_TWO_TO_63 = "0xC3E0000000000000"

for _name in ("add", "sub", "mul"):
    ROWS.plain(f"float_{_name}", f"f{_name} double")
for _name in ("lt", "le", "gt", "ge"):
    ROWS.plain(f"float_{_name}", f"fcmp o{_name} double")
ROWS.plain("float_eq", "fcmp oeq double")
ROWS.plain("float_ne", "fcmp une double")
ROWS.plain("float_neg", "fneg double")
ROWS.intrinsic("float_abs", "double", "llvm.fabs.f64")
ROWS.intrinsic("float_copysign", "double", "llvm.copysign.f64")


@lowers("float_select")
def _float_select(e: Emitter, op: Op) -> None:
    e.define(op, f"select {', '.join(e.typed(a) for a in op.args)}")


def _float_divisor(e: Emitter, op: Op) -> None:
    e.leave_unless(e.let(f"fcmp une double {e.use(op.args[1])}, 0.0"), op)


@lowers("float_truediv")
def _float_truediv(e: Emitter, op: Op) -> None:
    _float_divisor(e, op)
    e.define(op, f"fdiv double {e.use(op.args[0])}, {e.use(op.args[1])}")


def _fmod(e: Emitter, op: Op) -> str:
    quick, certain = quick_rest(e, e.use(op.args[0]), e.use(op.args[1]))
    return _either(e, quick, certain, _any_fmod(op))


def _any_fmod(op: Op) -> Callable[[Emitter], str]:
    return lambda e: e.let(f"call double {e.c_function('fmod')}({e.typed(op.args[0])}, {e.typed(op.args[1])})")


def _either(e: Emitter, quick: str, certain: str, general: Callable[[Emitter], str]) -> str:
    """The quick result where it is certain, else the general one."""
    before, slow, done = e.label, e.fresh_label(), e.fresh_label()
    e.line(f"br i1 {certain}, label %{done}, label %{slow}")
    e.start(slow)
    result = general(e)
    slow = e.label
    e.line(f"br label %{done}")
    e.start(done)
    return e.let(f"phi double [ {quick}, %{before} ], [ {result}, %{slow} ]")


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
    e.define(op, f"fadd double {_either(e, quick, certain, lambda e: general(e, op))}, -0.0")


@lowers("float_pow")
def _float_pow(e: Emitter, op: Op) -> None:
    _power(e, op, _any_float_power)


def _any_float_power(e: Emitter, op: Op) -> str:
    """Ordinary operands and an ordinary result only; CPython negates the power of a negative base's magnitude."""
    base, exponent = (e.use(x) for x in op.args)
    zero = e.let(f"fcmp oeq double {base}, 0.0")
    below = e.let(f"fcmp olt double {exponent}, 0.0")
    e.leave_unless(e.let(f"xor i1 {e.let(f'and i1 {zero}, {below}')}, true"), op)
    e.leave_unless(_finite(e, base), op)
    e.leave_unless(_finite(e, exponent), op)
    negative = e.let(f"fcmp olt double {base}, 0.0")
    integral = e.let(f"fcmp oeq double {e.let(f'call double @llvm.floor.f64(double {exponent})')}, {exponent}")
    positive = e.let(f"xor i1 {negative}, true")
    e.leave_unless(e.let(f"or i1 {positive}, {integral}"), op)
    size = e.let(f"call double @llvm.fabs.f64(double {base})")
    power = e.let(f"call double {e.c_function('pow')}(double {size}, double {exponent})")
    e.leave_unless(_finite(e, power), op)
    half = e.let(f"fmul double {exponent}, 0.5")
    even = e.let(f"fcmp oeq double {e.let(f'call double @llvm.floor.f64(double {half})')}, {half}")
    odd = e.let(f"xor i1 {even}, true")
    # Zeros have a sign, too.
    signed = e.let(f"fcmp olt double {e.let(f'call double @llvm.copysign.f64(double 1.0, double {base})')}, 0.0")
    flips = e.let(f"and i1 {e.let(f'and i1 {signed}, {integral}')}, {odd}")
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

    ROWS[name] = lowering


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
        _ordinary_result(e, op, op.args, e.c_function(name))

    ROWS[f"math_{name}"] = lowering


for _name in LIBM_1:
    _libm(_name)


def _logarithm(name: str) -> None:
    def lowering(e: Emitter, op: Op) -> None:
        e.leave_unless(e.let(f"fcmp ogt double {e.use(op.args[0])}, 0.0"), op)
        _ordinary_result(e, op, op.args, e.c_function(name))

    ROWS[f"math_{name}"] = lowering


for _name in ("log", "log2", "log10"):
    _logarithm(_name)


@lowers("math_sqrt")
def _math_sqrt(e: Emitter, op: Op) -> None:
    """IEEE 754 defines it to the bit, so the instruction may stand for the function."""
    e.leave_unless(e.let(f"fcmp oge double {e.use(op.args[0])}, 0.0"), op)
    e.define(op, f"call double @llvm.sqrt.f64({e.typed(op.args[0])})")


@lowers("math_fmod")
def _math_fmod(e: Emitter, op: Op) -> None:
    rest = _fmod(e, op)
    e.leave_unless(_finite(e, rest), op)
    e.define(op, f"fadd double {rest}, -0.0")


@lowers("math_pow")
def _math_pow(e: Emitter, op: Op) -> None:
    _power(e, op, _any_math_power)


def _any_math_power(e: Emitter, op: Op) -> str:
    for operand in op.args:
        e.leave_unless(_finite(e, e.use(operand)), op)
    power = e.let(f"call double {e.c_function('pow')}({e.typed(op.args[0])}, {e.typed(op.args[1])})")
    e.leave_unless(_finite(e, power), op)
    return power


@lowers("math_atan2")
def _math_atan2(e: Emitter, op: Op) -> None:
    e.define(op, f"call double {e.c_function('atan2')}({e.typed(op.args[0])}, {e.typed(op.args[1])})")
