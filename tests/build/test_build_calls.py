"""Calls of builtins and of `math`: the ops that each rule makes, and that they mean what Python means.

The table has every function that has a rule, for each kind that makes a difference.
"""

from __future__ import annotations

import math

import pytest
from builder_tools import build, check_meaning, expression_of, region_of

from minijit.build.calls import _PURE, RULES
from minijit.ir.kinds import Kind
from minijit.ir.ops import LIBM_1
from minijit.ir.region import Const

INT, FLOAT, BOOL = "int", "float", "bool"

SMALL = "guard_true(int_ge(a, 0))!domain; guard_true(int_le(a, {}))!domain; "
"""What stands before a call that takes small ints only."""

BUILTINS = [
    ("abs(a)", INT, "int_abs(a)!overflow"),
    ("abs(a)", FLOAT, "float_abs(a)"),
    ("abs(a)", BOOL, "int_abs(bool_to_int(a))!overflow"),
    ("min(a, b)", "int int", "int_min(a, b)"),
    ("min(a, b, 3)", "int int", "int_min(int_min(a, b), 3)"),
    ("min(a, b)", "float float", "float_select(float_lt(b, a), b, a)"),
    ("max(a, b)", "int int", "int_max(a, b)"),
    ("max(a, b)", "float float", "float_select(float_gt(b, a), b, a)"),
    ("max(a, 0.5)", FLOAT, "float_select(float_gt(0.5, a), 0.5, a)"),
    ("min(a, b)", "int float", "leave: unsupported CALL min"),
    ("min(a, b)", "bool bool", "leave: unsupported CALL min"),
    ("min(a)", INT, "leave: unsupported CALL min"),
    ("max((a, b))", "int int", "leave: unsupported CALL max"),
    ("int()", "", "0"),
    ("int(a)", INT, "a"),
    ("int(a)", FLOAT, "float_to_int(a)!not_an_int"),
    ("int(a)", BOOL, "bool_to_int(a)"),
    ("int('7')", "", "leave: unsupported CALL int"),
    ("float()", "", "0.0"),
    ("float(a)", INT, "int_to_float(a)"),
    ("float(a)", FLOAT, "a"),
    ("float(a)", BOOL, "int_to_float(bool_to_int(a))"),
    ("bool()", "", "False"),
    ("bool(a)", INT, "int_to_bool(a)"),
    ("bool(a)", FLOAT, "float_to_bool(a)"),
    ("bool(a)", BOOL, "a"),
    ("bool(a)", "none", "False"),
    ("bool((a,))", INT, "True"),
    ("bool(a)", "object", "leave: unsupported CALL bool"),
    ("bool(a, a)", INT, "leave: unsupported CALL bool"),
    ("round(a)", INT, "a"),
    ("round(a)", FLOAT, "float_round(a)!not_an_int"),
    ("round(a)", BOOL, "bool_to_int(a)"),
    ("pow(a, b)", "int int", "int_pow(a, b)!overflow"),
    ("pow(a, 2)", INT, "int_mul(a, a)!overflow"),
    ("pow(a, b)", "float int", "float_pow(a, int_to_float(b))!domain"),
    ("divmod(a, b)", "int int", "(int_floordiv(a, b)!zero_division, int_mod(a, b)!zero_division)"),
    ("divmod(a, b)", "float float", "(float_floordiv(a, b)!zero_division, float_mod(a, b)!zero_division)"),
    ("len((a, b, a))", "int int", "3"),
    ("len(())", "", "0"),
    ("len((1, 2.5))", "", "2"),
    ("len(a)", "object", "leave: unsupported CALL len"),
    ("range(a, 2.5)", INT, "leave: unsupported CALL range"),
    ("range(a)", BOOL, "leave: unsupported CALL range"),
    ("range()", "", "leave: unsupported CALL range"),
    ("print(a)", INT, "leave: unsupported CALL print"),
    ("hash(a)", FLOAT, "leave: unsupported CALL hash"),
    ("sum((a, b))", "int int", "leave: unsupported CALL sum"),
]

MATH = [
    *((f"math.{name}(a)", FLOAT, f"math_{name}(a)!domain") for name in (*LIBM_1, "log", "log2", "log10")),
    ("math.sqrt(a)", INT, "math_sqrt(int_to_float(a))!domain"),
    ("math.sqrt(a)", BOOL, "math_sqrt(int_to_float(bool_to_int(a)))!domain"),
    ("math.log(a, b)", "float float", "leave: unsupported CALL log"),
    ("math.fabs(a)", FLOAT, "float_abs(a)"),
    ("math.fabs(a)", INT, "float_abs(int_to_float(a))"),
    ("math.isnan(a)", FLOAT, "float_is_nan(a)"),
    ("math.isinf(a)", FLOAT, "float_is_inf(a)"),
    ("math.isfinite(a)", INT, "float_is_finite(int_to_float(a))"),
    ("math.copysign(a, b)", "float int", "float_copysign(a, int_to_float(b))"),
    ("math.fmod(a, b)", "float float", "math_fmod(a, b)!domain"),
    ("math.pow(a, b)", "int float", "math_pow(int_to_float(a), b)!domain"),
    ("math.atan2(a, b)", "float float", "math_atan2(a, b)"),
    ("math.floor(a)", FLOAT, "float_floor(a)!not_an_int"),
    ("math.floor(a)", INT, "a"),
    ("math.ceil(a)", FLOAT, "float_ceil(a)!not_an_int"),
    ("math.ceil(a)", BOOL, "bool_to_int(a)"),
    ("math.trunc(a)", FLOAT, "float_to_int(a)!not_an_int"),
    ("math.degrees(a)", FLOAT, f"float_mul(a, {180.0 / math.pi!r})"),
    ("math.radians(a)", INT, f"float_mul(int_to_float(a), {math.pi / 180.0!r})"),
    ("math.gcd(a, b)", "int int", "int_gcd(a, b)!overflow"),
    ("math.gcd(a, b)", "int bool", "int_gcd(a, bool_to_int(b))!overflow"),
    ("math.gcd(a, b)", "int float", "leave: unsupported CALL gcd"),
    ("math.gcd(a)", INT, "leave: unsupported CALL gcd"),
    ("math.gcd(a, b, 6)", "int int", "int_gcd(int_gcd(a, b)!overflow, 6)!overflow"),
    ("math.factorial(a)", INT, f"{SMALL.format(20)}call_pure(factorial, a)!domain"),
    ("math.factorial(a)", FLOAT, "leave: unsupported CALL factorial"),
    ("math.comb(a, b)", "int int", f"{SMALL.format(66)}call_pure(comb, a, b)!domain"),
    ("math.perm(a, b)", "int bool", f"{SMALL.format(20)}call_pure(perm, a, b)!domain"),
    (
        *("math.lcm(a, b)", "int int"),
        "int_abs(int_mul(int_floordiv(a, int_gcd(a, b)!overflow)!zero_division, b)!overflow)!overflow",
    ),
    ("math.sin(a)", "object", "leave: unsupported CALL sin"),
    ("math.sin(a, a)", FLOAT, "leave: unsupported CALL sin"),
    ("math.sin()", "", "leave: unsupported CALL sin"),
    ("math.fsum((a, b))", "float float", "leave: unsupported CALL fsum"),
]

# (text, kinds, what recordings saw the call give, expected): functions without a rule, whose result is of a kind that
# only a recording tells.
PURE = [
    ("math.isqrt(a)", INT, "int", "call_pure(isqrt, a)!domain"),
    ("math.hypot(a, b)", "float int", "float", "call_pure(hypot, a, b)!domain"),
    ("math.isclose(a, b)", "float float", "bool", "call_pure(isclose, a, b)!domain"),
    ("math.log(a, 2)", FLOAT, "float", "call_pure(log, a, 2)!domain"),
    ("round(a, 2)", FLOAT, "float", "call_pure(round, a, 2)!domain"),
    ("pow(a, b, 7)", "int int", "int", "guard_true(int_ge(b, 0))!domain; call_pure(pow, a, b, 7)!domain"),
    ("math.isqrt(a)", INT, "", "leave: unsupported CALL isqrt"),
    ("math.isqrt(a)", INT, "list", "leave: unsupported CALL isqrt"),
    ("math.modf(a)", FLOAT, "tuple", "leave: unsupported CALL modf"),
    ("math.isqrt(a)", "object", "int", "leave: unsupported CALL isqrt"),
    ("abs(a)", "object", "int", "leave: unsupported CALL abs"),
]


def source(text: str) -> str:
    return f"import math\ndef f({', '.join(parameters(text))}):\n    return {text}\n"


def parameters(text: str) -> list[str]:
    return [name for name in "ab" if f"({name}" in text or f" {name}" in text]


@pytest.mark.parametrize(("text", "kinds", "expected"), BUILTINS + MATH)
def test_call(text: str, kinds: str, expected: str) -> None:
    region = region_of(source(text), *kinds.split())
    assert expression_of(region, tuple(parameters(text))) == expected


@pytest.mark.parametrize(("text", "kinds", "seen", "expected"), PURE)
def test_call_without_a_rule(text: str, kinds: str, seen: str, expected: str) -> None:
    region = region_of(source(text), *kinds.split(), tops=seen)
    assert expression_of(region, tuple(parameters(text))) == expected


NUMBERS = {INT, FLOAT, BOOL}


@pytest.mark.parametrize(("text", "kinds", "expected"), BUILTINS + MATH)
def test_call_means_what_python_means(text: str, kinds: str, expected: str) -> None:
    if NUMBERS.issuperset(kinds.split()):
        returned = check_meaning(source(text), *kinds.split())
        assert bool(returned) == ("leave" not in expected)


@pytest.mark.parametrize(("text", "kinds", "seen", "expected"), PURE)
def test_call_without_a_rule_means_what_python_means(text: str, kinds: str, seen: str, expected: str) -> None:
    if NUMBERS.issuperset(kinds.split()):
        returned = check_meaning(source(text), *kinds.split(), tops=seen)
        assert bool(returned) == ("leave" not in expected)


def test_every_rule_has_a_row() -> None:
    called = {text.partition("(")[0].removeprefix("math.") for text, *_ in BUILTINS + MATH if "leave" not in _[-1]}
    # Ranges are in `cases/loops.case`.
    assert {function.__name__ for function, _ in RULES.values()} - called == {"range"}


def test_pure_functions_have_no_other_effect() -> None:
    """Whatever is called through the C API with numbers gives the same again."""
    for function in _PURE.values():
        for arguments in ((), (2,), (0.5,), (3, 2), (0.5, 3), (2, 3, 5)):
            assert repr(result(function, arguments)) == repr(result(function, arguments)), function


def result(function: object, arguments: tuple[float, ...]) -> object:
    try:
        return function(*arguments)  # type: ignore[operator]
    except (TypeError, ValueError, OverflowError) as error:
        return type(error)


def test_keyword_arguments_are_not_mistaken_for_positional_ones() -> None:
    program = "def f(a):\n    return round(number=a)\n"
    assert expression_of(region_of(program, FLOAT), ("a",)).startswith("leave: unsupported CALL round")


def test_a_function_is_known_by_its_identity() -> None:
    """A global of the same name as a builtin, or another object of the module's name."""
    own = "def abs(x):\n    return x\ndef f(a):\n    return abs(a)\n"
    assert expression_of(region_of(own, INT), ("a",)) == "leave: unsupported CALL abs"
    other = "class math:\n    sin = abs\ndef f(a):\n    return math.sin(a)\n"
    assert expression_of(region_of(other, INT), ("a",)) == "leave: unsupported LOAD_ATTR sin"
    alias = "from math import sin as my_sine\ndef f(a):\n    return my_sine(a)\n"
    assert expression_of(region_of(alias, FLOAT), ("a",)) == "math_sin(a)!domain"


def test_the_call_rests_on_its_function() -> None:
    made = build(source("math.sqrt(a)"), FLOAT)
    assert [(a.name, a.value) for a in made.assumptions] == [("math", Const(math)), ("sqrt", Const(math.sqrt))]
    assert made.assumptions[1].namespace is vars(math)


def test_every_kind_of_result_can_be_observed() -> None:
    kinds = {
        seen: build(source("math.ulp(a)"), FLOAT, tops=seen).region.blocks[1].ops for seen in ("int", "float", "bool")
    }
    results = {seen: ops[0].result.kind for seen, ops in kinds.items() if ops and ops[0].result}
    assert results == {"int": Kind.INT, "float": Kind.FLOAT, "bool": Kind.BOOL}
