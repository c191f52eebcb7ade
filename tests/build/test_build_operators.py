"""Each operator for each pair of kinds: which ops stand for it, and that they mean what Python means.

A row gives what a region without branches does as one line (see `builder_tools.expression_of`): `a` and `b` are the
operands, `!overflow` says for which reason an op may leave. The meaning is checked by evaluating the region.
"""

from __future__ import annotations

import itertools

import pytest
from builder_tools import check_meaning, expression_of, function_of, outcomes, region_of, samples_of

from minijit.ir.eval import Returned
from strategies.regions import canonical

NAMES = ("a", "b")
INT, FLOAT, BOOL = "int", "float", "bool"

# `{a}` and `{b}` are the operands as ints.
INT_ROWS = {
    "+": "int_add({a}, {b})!overflow",
    "-": "int_sub({a}, {b})!overflow",
    "*": "int_mul({a}, {b})!overflow",
    "/": "int_truediv({a}, {b})!inexact",
    "//": "int_floordiv({a}, {b})!zero_division",
    "%": "int_mod({a}, {b})!zero_division",
    "**": "int_pow({a}, {b})!overflow",
    "<<": "int_lshift({a}, {b})!overflow",
    ">>": "int_rshift({a}, {b})!shift",
    "&": "int_and({a}, {b})",
    "|": "int_or({a}, {b})",
    "^": "int_xor({a}, {b})",
    "@": "leave: unsupported BINARY_OP @",
    "<": "int_lt({a}, {b})",
    "<=": "int_le({a}, {b})",
    "==": "int_eq({a}, {b})",
    "!=": "int_ne({a}, {b})",
    ">": "int_gt({a}, {b})",
    ">=": "int_ge({a}, {b})",
}
# Here as floats.
FLOAT_ROWS = {
    "+": "float_add({a}, {b})",
    "-": "float_sub({a}, {b})",
    "*": "float_mul({a}, {b})",
    "/": "float_truediv({a}, {b})!zero_division",
    "//": "float_floordiv({a}, {b})!zero_division",
    "%": "float_mod({a}, {b})!zero_division",
    "**": "float_pow({a}, {b})!domain",
    "<<": "leave: unsupported BINARY_OP <<",
    ">>": "leave: unsupported BINARY_OP >>",
    "&": "leave: unsupported BINARY_OP &",
    "|": "leave: unsupported BINARY_OP |",
    "^": "leave: unsupported BINARY_OP ^",
    "@": "leave: unsupported BINARY_OP @",
    "<": "float_lt({a}, {b})",
    "<=": "float_le({a}, {b})",
    "==": "float_eq({a}, {b})",
    "!=": "float_ne({a}, {b})",
    ">": "float_gt({a}, {b})",
    ">=": "float_ge({a}, {b})",
}
BOOL_ROWS = {"&": "bool_and(a, b)", "|": "bool_or(a, b)", "^": "bool_xor(a, b)"}
"""Two bools make a bool here."""
SWAPPED = {"<": "gt", "<=": "ge", ">": "lt", ">=": "le", "==": "eq", "!=": "ne"}


def as_int(name: str, kind: str) -> str:
    return f"bool_to_int({name})" if kind == BOOL else name


def as_float(name: str, kind: str) -> str:
    return name if kind == FLOAT else f"int_to_float({as_int(name, kind)})"


def wanted(sign: str, left: str, right: str) -> str:
    """The row for a pair of kinds."""
    if left == right == BOOL and sign in BOOL_ROWS:
        return BOOL_ROWS[sign]
    if FLOAT not in (left, right):
        return INT_ROWS[sign].format(a=as_int("a", left), b=as_int("b", right))
    # An int and a float are compared exactly: neither is converted.
    if sign in SWAPPED and left != right:
        name = FLOAT_ROWS[sign][6:8]
        ints = (f"int_float_{name}", as_int("a", left), "b")
        swapped = (f"int_float_{SWAPPED[sign]}", as_int("b", right), "a")
        op, first, second = swapped if left == FLOAT else ints
        return f"{op}({first}, {second})"
    return FLOAT_ROWS[sign].format(a=as_float("a", left), b=as_float("b", right))


PAIRS = list(itertools.product((INT, FLOAT, BOOL), repeat=2))
BINARY = [(sign, *pair) for sign in INT_ROWS for pair in PAIRS]


@pytest.mark.parametrize(("sign", "left", "right"), BINARY)
def test_binary(sign: str, left: str, right: str) -> None:
    region = region_of(f"def f(a, b):\n    return a {sign} b\n", left, right)
    assert expression_of(region, NAMES) == wanted(sign, left, right)


@pytest.mark.parametrize("sign", "+ - * / // % ** << >> & | ^ @".split())
def test_in_place_operators_are_the_same(sign: str) -> None:
    for pair in PAIRS:
        plain = region_of(f"def f(a, b):\n    return a {sign} b\n", *pair)
        in_place = region_of(f"def f(a, b):\n    a {sign}= b\n    return a\n", *pair)
        assert expression_of(in_place, NAMES) == expression_of(plain, NAMES)


UNARY = [
    ("-a", INT, "int_neg(a)!overflow"),
    ("-a", FLOAT, "float_neg(a)"),
    ("-a", BOOL, "int_neg(bool_to_int(a))!overflow"),
    ("+a", INT, "a"),
    ("+a", FLOAT, "a"),
    ("+a", BOOL, "bool_to_int(a)"),
    ("~a", INT, "int_invert(a)"),
    ("~a", FLOAT, "leave: unsupported UNARY_INVERT"),
    ("~a", BOOL, "leave: unsupported UNARY_INVERT"),
    ("not a", INT, "bool_not(int_to_bool(a))"),
    ("not a", FLOAT, "bool_not(float_to_bool(a))"),
    ("not a", BOOL, "bool_not(a)"),
    ("not a", "none", "True"),
    ("-a", "none", "leave: unsupported UNARY_NEGATIVE"),
    ("a is None", "none", "True"),
    ("a is not None", "none", "False"),
    ("a is None", INT, "False"),
    ("None is a", FLOAT, "False"),
    ("a is a", INT, "leave: unsupported IS_OP"),
    ("a is 1", BOOL, "leave: unsupported IS_OP"),
    ("a == None", "none", "leave: unsupported COMPARE_OP"),
    ("a == None", INT, "False"),
    ("None != a", FLOAT, "True"),
    ("a < None", INT, "leave: unsupported COMPARE_OP"),
    ("a + None", INT, "leave: unsupported BINARY_OP +"),
]

# What a constant operand changes.
CONSTANTS = [
    ("a ** 2", INT, "int_mul(a, a)!overflow"),
    ("a ** 3", INT, "int_mul(int_mul(a, a)!overflow, a)!overflow"),
    ("a ** 4", INT, "int_mul(int_mul(a, a)!overflow, int_mul(a, a)!overflow)!overflow"),
    ("a ** 5", INT, "int_pow(a, 5)!overflow"),
    ("a ** -1", INT, "float_pow(int_to_float(a), -1.0)!domain"),
    ("a ** 2", FLOAT, "float_pow(a, 2.0)!domain"),
    ("a ** 0.5", INT, "float_pow(int_to_float(a), 0.5)!domain"),
    ("2 ** a", INT, "int_pow(2, a)!overflow"),
    ("a ** 2", BOOL, "int_mul(bool_to_int(a), bool_to_int(a))!overflow"),
    ("a * 2", FLOAT, "float_mul(a, 2.0)"),
    ("a + True", INT, "int_add(a, 1)!overflow"),
    ("a & True", BOOL, "bool_and(a, True)"),
    ("a + 0x10000000000000000", INT, "leave: unsupported BINARY_OP +"),
    ("a < 2**64", INT, "int_le(a, 9223372036854775807)"),
    ("a == 2**64", INT, "int_gt(a, 9223372036854775807)"),
    ("2**63 <= a", INT, "int_gt(a, 9223372036854775807)"),
    ("2**63 != a", INT, "int_le(a, 9223372036854775807)"),
    ("a > -2**63 - 1", INT, "int_ge(a, -9223372036854775808)"),
    ("-2**64 > a", INT, "int_lt(a, -9223372036854775808)"),
    ("a == -2**64", INT, "int_lt(a, -9223372036854775808)"),
    ("a != -2**63", INT, "int_ne(a, -9223372036854775808)"),
    ("a == 2**63", BOOL, "int_gt(bool_to_int(a), 9223372036854775807)"),
    ("a < 2**64", FLOAT, "leave: unsupported COMPARE_OP"),
    ("a < 3", FLOAT, "float_lt(a, 3.0)"),
    ("3 < a", FLOAT, "float_lt(3.0, a)"),
    ("a < 2**53 + 1", FLOAT, "int_float_gt(9007199254740993, a)"),
    ("a == 0.5", INT, "int_float_eq(a, 0.5)"),
    ("a + 'text'", INT, "leave: unsupported BINARY_OP +"),
]


def source(text: str) -> str:
    return f"def f(a):\n    return {text}\n"


@pytest.mark.parametrize(("text", "kind", "expected"), UNARY + CONSTANTS)
@pytest.mark.filterwarnings("ignore:.is. with:SyntaxWarning")
def test_one_operand(text: str, kind: str, expected: str) -> None:
    assert expression_of(region_of(source(text), kind), ("a",)) == expected


# Constants that meet constants

FOLDED = [
    ("7 + 2", "9"),
    ("7 / 2", "3.5"),
    ("-7 // 2", "-4"),
    ("2**62 - 1", "4611686018427387903"),
    ("2**40 * 2**40", "int_mul(1099511627776, 1099511627776)!overflow"),
    ("1 // 0", "int_floordiv(1, 0)!zero_division"),
    ("1 << -1", "int_lshift(1, -1)!overflow"),
    ("1 << 62", "4611686018427387904"),
    ("1 << 10**15", "int_lshift(1, 1000000000000000)!overflow"),
    ("7 ** 10**15", "int_pow(7, 1000000000000000)!overflow"),
    ("(-1) ** 10**15", "1"),
    ("0.5 ** 10**15", "0.0"),
    ("(-8) ** 0.5", "float_pow(-8.0, 0.5)!domain"),
    ("7 < 8.5", "True"),
    ("True & False", "False"),
    ("True + True", "2"),
    ("1e308 * 10", "inf"),
]


@pytest.mark.parametrize(("text", "expected"), FOLDED)
def test_constants_are_folded(text: str, expected: str) -> None:
    """By way of locals, as Python's compiler folds on its own otherwise."""
    tokens = text.split()
    program = f"def f():\n    a, b = {tokens[0]}, {' '.join(tokens[2:])}\n    return a {tokens[1]} b\n"
    assert expression_of(region_of(program), ()) == expected


def test_folding_never_takes_long() -> None:
    """An int of 10**15 bits, at a place that need never be reached, is not the builder's to compute."""
    for sign in ("<<", "**"):
        region_of(f"def f(a):\n    b, c = 9, 10**15\n    if a:\n        return b {sign} c\n    return a\n", INT)


# The meaning


@pytest.mark.parametrize(("sign", "left", "right"), [row for row in BINARY if "leave" not in wanted(*row)])
def test_binary_means_what_python_means(sign: str, left: str, right: str) -> None:
    returned = check_meaning(f"def f(a, b):\n    return a {sign} b\n", left, right)
    # Exits are for what is rare. Powers and shifts of samples are large as a rule.
    assert returned > len(samples_of((left, right))) * (0.1 if sign in ("**", "<<") else 0.3)


@pytest.mark.parametrize(("text", "kind", "expected"), UNARY + CONSTANTS)
@pytest.mark.filterwarnings("ignore:.is. with:SyntaxWarning")
def test_one_operand_means_what_python_means(text: str, kind: str, expected: str) -> None:
    returned = check_meaning(source(text), kind)
    assert bool(returned) == ("leave" not in expected)


def test_wrong_meaning_is_noticed() -> None:
    """The comparison can fail."""
    function = function_of("def f(a, b):\n    return a // b\n")
    found = [
        inputs
        for inputs, outcome in outcomes("def f(a, b):\n    return int(a / b)\n", (INT, INT))
        if isinstance(outcome, Returned) and canonical(outcome.value) != canonical(function(*inputs))
    ]
    assert (-7, 2) in found
