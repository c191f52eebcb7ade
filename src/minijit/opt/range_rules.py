"""The range of each int op's result, from the ranges of its operands: one small function an op.

In: a (low, high) for each operand, both ends inclusive; for a bool operand anything. Out: the range of the result as
an unbounded number, which may be outside of 64 bits: the caller knows whether the op leaves there, or wraps. What is
not in `RULES` may be any int.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.ir.kinds import INT_MAX, INT_MIN

if TYPE_CHECKING:
    from collections.abc import Callable

Range = tuple[int, int]
FULL: Range = (INT_MIN, INT_MAX)
LONGEST = 2**60
"""More items than fit into memory."""


def _add(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


def _sub(a: Range, b: Range) -> Range:
    return a[0] - b[1], a[1] - b[0]


def _mul(a: Range, b: Range) -> Range:
    ends = (a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1])
    return min(ends), max(ends)


def _neg(a: Range) -> Range:
    return -a[1], -a[0]


def _abs(a: Range) -> Range:
    size = max(-a[0], a[1])
    return (0, size) if a[0] <= 0 <= a[1] else (min(abs(a[0]), abs(a[1])), size)


def _lshift(a: Range, b: Range) -> Range:
    """Beyond 64 bits unless the count is known to be one that a shift can do."""
    if not (b[0] >= 0 and b[1] < 64):
        return INT_MIN - 1, INT_MAX + 1
    return _mul(a, (1 << b[0], 1 << b[1]))


def _rshift(a: Range, b: Range) -> Range:
    """A negative count leaves; one beyond 63 gives what 63 gives."""
    least, most = (min(max(count, 0), 63) for count in b)
    ends = (a[0] >> least, a[0] >> most, a[1] >> least, a[1] >> most)
    return min(ends), max(ends)


def _and(a: Range, b: Range) -> Range:
    """Cut by whichever operand is not negative."""
    tops = [high for low, high in (a, b) if low >= 0]
    return (0, min(tops)) if tops else (INT_MIN, max(a[1], b[1], -1))


def _or(a: Range, b: Range) -> Range:
    if a[0] < 0 or b[0] < 0:
        return FULL
    return max(a[0], b[0]), _ones(a, b)


def _xor(a: Range, b: Range) -> Range:
    return FULL if a[0] < 0 or b[0] < 0 else (0, _ones(a, b))


def _ones(a: Range, b: Range) -> int:
    """All the bits that either has."""
    return (1 << max(a[1], b[1]).bit_length()) - 1


def _invert(a: Range) -> Range:
    return ~a[1], ~a[0]


def _min(a: Range, b: Range) -> Range:
    return min(a[0], b[0]), min(a[1], b[1])


def _max(a: Range, b: Range) -> Range:
    return max(a[0], b[0]), max(a[1], b[1])


def _select(_: Range, a: Range, b: Range) -> Range:
    return min(a[0], b[0]), max(a[1], b[1])


def _floordiv(a: Range, b: Range) -> Range:
    """A divisor that is zero leaves. One of any sign gives no larger magnitude than the dividend has."""
    if b[0] < 0:
        size = max(-a[0], a[1])
        return -size, size
    least, most = max(b[0], 1), max(b[1], 1)
    ends = (a[0] // least, a[0] // most, a[1] // least, a[1] // most)
    return min(ends), max(ends)


def _mod(a: Range, b: Range) -> Range:
    """Between zero and the divisor; of what is not negative, no more than that."""
    if b[0] < 0:
        return min(b[0] + 1, 0), max(b[1] - 1, 0)
    return 0, max(min(b[1] - 1, a[1]) if a[0] >= 0 else b[1] - 1, 0)


def _gcd(a: Range, b: Range) -> Range:
    """No larger than the magnitude of either, or than that of the other where one is zero."""
    return 0, max(-a[0], a[1], -b[0], b[1])


def _pow(a: Range, _: Range) -> Range:
    return (0, INT_MAX) if a[0] >= 0 else FULL


RULES: dict[str, Callable[..., Range]] = {
    "int_add": _add,
    "int_add_wrap": _add,
    "int_sub": _sub,
    "int_sub_wrap": _sub,
    "int_mul": _mul,
    "int_mul_wrap": _mul,
    "int_neg": _neg,
    "int_neg_wrap": _neg,
    "int_abs": _abs,
    "int_lshift": _lshift,
    "int_lshift_wrap": _lshift,
    "int_rshift": _rshift,
    "int_and": _and,
    "int_or": _or,
    "int_xor": _xor,
    "int_invert": _invert,
    "int_min": _min,
    "int_max": _max,
    "int_select": _select,
    "int_floordiv": _floordiv,
    "int_mod": _mod,
    "int_gcd": _gcd,
    "int_pow": _pow,
    "bool_to_int": lambda _: (0, 1),
    "list_length": lambda _: (0, LONGEST),
    "tuple_length": lambda _: (0, LONGEST),
}


def exact_range(name: str, *operands: Range) -> Range:
    """The range of an op's result as an unbounded number."""
    return RULES[name](*operands)
