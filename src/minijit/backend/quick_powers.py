"""Powers with small constant exponents, without a call of the C library's `pow` but with its result to the last bit.

In: a float and an exponent of `EXPONENTS`. Out: LLVM text for a candidate, and for the condition under which `pow` must
give the very same; where that is false the caller calls `pow`.

`x ** 2` is not `x * x` by definition: CPython calls `pow`, whose result need not be the float nearest to the exact
power. But it is near: glibc states an error below 0.511 units in the last place (ulp) for the exponential, and one that
grows with the logarithm and stays below 0.002 ulp where the result is between 2**-64 and 2**64. So where the nearest
float is no farther from the exact power than `NEAR` ulp, each other float is at least `1 - NEAR` = 0.515 ulp away, too
far for `pow`: both are that float. A random power is nearer than that in 97 cases of 100. See docs/decisions/0012.

The exact power is known to about a hundred bits, as the sum of a float and a much smaller one: fused multiplication and
addition gives a product's rounding error, and the rest of a division or root.
"""

from __future__ import annotations

import functools
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minijit.backend.emitter import Emitter

    Pair = tuple[str, str]
    """A float and what is to be added to it."""

EXPONENTS = frozenset({0.5, 1.5, 2.0, 3.0, 4.0, -0.5, -1.0, -1.5, -2.0, -3.0})
NEAR = 0.485
"""How far from the exact power the nearest float may be, in ulp."""
LEAST, MOST = 2.0**-64, 2.0**64
"""Between what magnitudes the result must be."""

_EXPONENT_BITS = 0x7FF0_0000_0000_0000


@functools.cache
def is_offered() -> bool:
    """Whether the C library is one whose error is known."""
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except ValueError:
        return False
    return version is not None and version.startswith("glibc")


def quick_power(e: Emitter, base: str, exponent: float) -> Pair:
    """The candidate for `base ** exponent`, and the condition (an i1) under which it is what `pow` gives."""
    high, low = _power(e, base, abs(exponent))
    if exponent < 0:
        high, low = _reciprocal(e, high, low)
    result = e.let(f"fadd double {high}, {low}")
    lost = e.let(f"fadd double {e.let(f'fsub double {high}, {result}')}, {low}")
    return result, _is_certain(e, result, lost)


def _power(e: Emitter, base: str, exponent: float) -> Pair:
    """A positive power: of the base, of its square, or of its root times what is missing."""
    if exponent == 1.0:
        return base, "0.0"
    if exponent in (0.5, 1.5):
        root = _root(e, base)
        return root if exponent == 0.5 else _times(e, root, base)
    square = _times(e, (base, "0.0"), base)
    match exponent:
        case 2.0:
            return square
        case 3.0:
            return _times(e, square, base)
        case _:
            # (high + low)**2, without the square of low.
            high, low = square
            whole, error = _times(e, (high, "0.0"), high)
            double = e.let(f"fadd double {high}, {high}")
            return whole, _fma(e, double, low, error)


def _times(e: Emitter, pair: Pair, factor: str) -> Pair:
    high, low = pair
    product = e.let(f"fmul double {high}, {factor}")
    error = _fma(e, high, factor, _negated(e, product))
    return product, error if low == "0.0" else _fma(e, low, factor, error)


def _root(e: Emitter, base: str) -> Pair:
    """The root, and by Newton's rule what it lacks."""
    root = e.let(f"call double @llvm.sqrt.f64(double {base})")
    rest = _fma(e, _negated(e, root), root, base)
    return root, e.let(f"fdiv double {rest}, {e.let(f'fadd double {root}, {root}')}")


def _reciprocal(e: Emitter, high: str, low: str) -> Pair:
    quotient = e.let(f"fdiv double 1.0, {high}")
    negated = _negated(e, quotient)
    rest = _fma(e, negated, low, _fma(e, negated, high, "1.0"))
    return quotient, e.let(f"fmul double {rest}, {quotient}")


def _is_certain(e: Emitter, result: str, lost: str) -> str:
    """Whether the result is of an ordinary magnitude and lost no more than `NEAR` ulp; not so for nan."""
    size = e.let(f"bitcast double {e.let(f'call double @llvm.fabs.f64(double {result})')} to i64")
    least, most = (_bits(x) for x in (LEAST, MOST))
    ordinary = e.let(f"icmp ult i64 {e.let(f'sub i64 {size}, {least}')}, {most - least}")
    # The ulp is that of the next smaller float: at a power of two it counts in the finer steps below.
    smaller = e.let(f"and i64 {e.let(f'add i64 {size}, -1')}, {_EXPONENT_BITS}")
    scale = e.let(f"bitcast i64 {smaller} to double")
    limit = e.let(f"fmul double {scale}, 0x{_bits(NEAR * 2.0**-52):016X}")
    near = e.let(f"fcmp ole double {e.let(f'call double @llvm.fabs.f64(double {lost})')}, {limit}")
    return e.let(f"and i1 {ordinary}, {near}")


def _fma(e: Emitter, a: str, b: str, c: str) -> str:
    return e.let(f"call double @llvm.fma.f64(double {a}, double {b}, double {c})")


def _negated(e: Emitter, value: str) -> str:
    return e.let(f"fneg double {value}")


def _bits(value: float) -> int:
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits
