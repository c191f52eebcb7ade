"""What floats leave when divided, without a call of the C library's `fmod` but with its result to the last bit.

In: two floats. Out: LLVM text for a candidate, and for the condition under which it is what `fmod` gives; where that is
false (huge quotients, zeros, infinities, nans) the caller calls `fmod`.

`fmod(x, y)` is exact: no rounding is left to guess. Of the magnitudes, the quotient that the hardware rounds and that
is then cut to a whole number is the true one or one more, for rounding never passes a whole number that a float can
be. With the true one, the rest is a float; with one more, it is that rest less the divisor, which is a float as well:
both are multiples of what the finer of the two operands counts in, and no larger than the divisor. So fused
multiplication and subtraction gives it exactly, and adding the divisor to what is negative does so, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minijit.backend.emitter import Emitter

WHOLE = "0x4340000000000000"
"""2.0**53: below it each whole number is a float."""
INFINITY = "0x7FF0000000000000"


def quick_rest(e: Emitter, dividend: str, divisor: str) -> tuple[str, str]:
    """The candidate for `fmod(dividend, divisor)`, and the condition (an i1) under which it is what that gives."""
    size, unit = (e.let(f"call double @llvm.fabs.f64(double {x})") for x in (dividend, divisor))
    whole = e.let(f"call double @llvm.trunc.f64(double {e.let(f'fdiv double {size}, {unit}')})")
    negated = e.let(f"fneg double {whole}")
    rest = e.let(f"call double @llvm.fma.f64(double {negated}, double {unit}, double {size})")
    too_far = e.let(f"fcmp olt double {rest}, 0.0")
    back = e.let(f"fadd double {rest}, {unit}")
    found = e.let(f"select i1 {too_far}, double {back}, double {rest}")
    result = e.let(f"call double @llvm.copysign.f64(double {found}, double {dividend})")
    # Neither holds of a nan, nor the first of what is divided by zero, or infinite.
    exact = e.let(f"fcmp olt double {whole}, {WHOLE}")
    finite = e.let(f"fcmp olt double {unit}, {INFINITY}")
    return result, e.let(f"and i1 {exact}, {finite}")
