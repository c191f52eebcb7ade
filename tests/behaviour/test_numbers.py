"""Numbers: every operator, comparison, conversion and function of `math`, over the values where something may go wrong.

For each operation and each combination of operand types there is one function, made hot with ordinary operands; then it
and its plain twin are called with all combinations of the edge values of those types.
"""

from __future__ import annotations

import builtins
import itertools
import math
from functools import partial
from typing import TYPE_CHECKING, Any

from isolated import isolated
from twin import LOW, Patient, Twins, check, compiled_from, enabled, together

import minijit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAN, INF = float("nan"), float("inf")
POWERS = (2**30, 2**31, 2**53, 2**60, 2**62, 2**63)
INTS = sorted(
    {0, 1, 2, 3, 7, 10, 63, 64, 65, 100, -1, -2, -3, -7, -63, -64}
    | {sign * power + d for power in POWERS for d in (-1, 0, 1) for sign in (1, -1)}
)
FLOATS = [
    *(0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.7, 1e-8, 170.5, 709.78, 710.0, 745.2, 5e-324, 2.2250738585072014e-308),
    *(1e-310, 1.7976931348623157e308, 1e300, 1e-300, 2.0**52 + 0.5, 2.0**53, 2.0**53 + 2, 2.0**62, 2.0**63),
    *(math.nextafter(2.0**63, 0), 2.0**64, INF, math.pi, math.nextafter(0.5, 0), math.nextafter(1.0, 2.0)),
]
FLOATS = [*FLOATS, *(-x for x in FLOATS), NAN, -NAN]
VALUES: dict[str, Sequence[Any]] = {"int": INTS, "float": FLOATS, "bool": [False, True]}
ORDINARY: dict[str, tuple[Any, Any]] = {"int": (7, 3), "float": (7.5, 3.25), "bool": (True, True)}
BINARY = ("+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^")
COMPARISONS = ("<", "<=", "==", "!=", ">", ">=", "is", "is not")


def binary(source: str, left: str, right: str) -> None:
    """`source`, over pairs of edge values of two types: all, or where they are many a third of them."""
    twins = Twins(compiled_from(source), Patient(LOW))
    for _ in range(12):
        twins(ORDINARY[left][0], ORDINARY[right][1])
    for (i, a), (j, b) in itertools.product(enumerate(VALUES[left]), enumerate(VALUES[right])):
        if (i + j) % 3 and len(VALUES[left]) * len(VALUES[right]) > 500:
            continue
        if "**" in source and isinstance(a, int) and isinstance(b, int) and abs(a) > 1 and abs(b) > 200:
            continue
        if "<<" in source and isinstance(a, int) and isinstance(b, int) and b > 1000:
            continue
        twins(a, b)


def operators(signs: Sequence[str], form: str, pairs: Sequence[tuple[str, str]]) -> Iterator[partial[None]]:
    for sign in signs:
        for left, right in pairs:
            yield partial(binary, form.format(sign), left, right)


EXPRESSION = "def f(a, b):\n    return a {} b\n"
IN_PLACE = "def f(a, b):\n    s = a\n    s {}= b\n    return s, a, b\n"
PAIRS = list(itertools.product(VALUES, VALUES))


@isolated
def test_binary_operators() -> None:
    """All operators over all pairs of int, float and bool."""
    with enabled():
        together(operators(BINARY, EXPRESSION, PAIRS))


@isolated
def test_in_place_operators() -> None:
    """The same in place, over equal types."""
    with enabled():
        together(operators(BINARY, IN_PLACE, [(kind, kind) for kind in VALUES]))


@isolated
def test_comparisons() -> None:
    """Exact between int and float; as a value, and as a condition."""
    condition = "def f(a, b):\n    if a {} b:\n        return 1\n    return 2\n"
    with enabled():
        # `is` between numbers is left out: what it says of equal ones depends on where they come from.
        together(operators(COMPARISONS[:6], EXPRESSION, PAIRS))
        together(operators(COMPARISONS[:6], condition, PAIRS[::2]))


CONSTANTS = (
    *(0, 1, -1, 2, 3, 8, 10, 64, -8, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63),
    *(0.0, -0.0, 1.0, 2.5, -3.0, 1e300),
)


@isolated
def test_constant_operands() -> None:
    """Operators with a constant on either side: lowering knows special cases."""

    def with_constant(source: str, kind: str) -> None:
        twins = Twins(compiled_from(source, inf=INF, nan=NAN), Patient(LOW))
        for _ in range(8):
            twins(ORDINARY[kind][0])
        for value in VALUES[kind]:
            twins(value)

    def sources() -> Iterator[partial[None]]:
        signs = [s for s in BINARY + COMPARISONS[:6] if s != "<<"]
        for sign, constant in itertools.product(signs, CONSTANTS):
            for kind in ("int", "float"):
                if sign == "**" and isinstance(constant, int) and abs(constant) > 10:
                    continue
                yield partial(with_constant, f"def f(a):\n    return a {sign} ({constant!r})\n", kind)
                if sign != "**":
                    yield partial(with_constant, f"def f(a):\n    return ({constant!r}) {sign} a\n", kind)

    with enabled():
        together(itertools.islice(sources(), 0, None, 7))


UNARY = (
    *("-a", "+a", "~a", "not a", "abs(a)", "bool(a)", "int(a)", "float(a)", "round(a)", "math.floor(a)"),
    *("math.ceil(a)", "math.trunc(a)", "round(a, 1)", "round(a, -1)", "round(a, 0)", "hash(a)", "a if a else 1"),
    *("a and 5", "a or 5", "5 and a", "0 or a", "complex(a)", "str(a)", "int()", "float()", "bool()", "divmod(a, 3)"),
    *("pow(a, 2)", "pow(2, 3, 5)", "a == None", "a is None", "None == a", "a is not None", "a != None", "(a, a)"),
)


@isolated
def test_unary_operations() -> None:
    """Operators, conversions and rounding: halves, huge ones, nan, infinities."""

    def unary(expression: str, kind: str) -> None:
        twins = Twins(compiled_from(f"import math\ndef f(a):\n    return {expression}\n"), Patient(LOW))
        for _ in range(12):
            twins(ORDINARY[kind][0])
        for value in VALUES[kind]:
            twins(value)

    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)
    with enabled():
        together(partial(unary, expression, kind) for expression in UNARY for kind in VALUES)


@isolated
def test_inverting_a_bool_warns() -> None:
    """`~True` is deprecated; the warning comes as often as it would."""
    import warnings

    source = "def f(a):\n    s = 0\n    for i in range(20):\n        s += ~a\n    return s\n"
    with enabled(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        twins = Twins(compiled_from(source), Patient(LOW))
        for _ in range(30):
            before = len(caught)
            twins(True)
            assert len(caught) == before + 40


HALVES = [sign * (k + 0.5) for k in (*range(6), 2**20, 2**51, 2**52) for sign in (1, -1)]


@isolated
def test_rounding_of_halves() -> None:
    """To the even one."""
    with enabled():
        source = "def f(a):\n    return round(a), int(a), a // 1, a % 1\n"
        check(compiled_from(source), (7.5,), [(x,) for x in [*HALVES, *FLOATS]], times=0)


@isolated
def test_minimum_and_maximum() -> None:
    """The first of equal ones; nan as the order of arguments has it; mixed types."""

    def extreme(call: str, kinds: tuple[str, ...]) -> None:
        names = "abc"[: len(kinds)]
        source = f"def f({', '.join(names)}):\n    return {call.format(', '.join(names))}\n"
        twins = Twins(compiled_from(source), Patient(LOW))
        for _ in range(12):
            twins(*(ORDINARY[kind][0] for kind in kinds))
        some = {"float": [0.0, -0.0, 1.0, NAN, INF, -INF], "int": [0, 1, -1, 2**63 - 1, -(2**63), 2**70]}
        for values in itertools.product(*(some.get(kind, VALUES[kind]) for kind in kinds)):
            twins(*values)

    with enabled():
        calls = ("min({})", "max({})", "min({}, key=abs)", "max(({}))", "min({}, 0)", "max(0.0, {})")
        kinds = [*PAIRS, ("int",) * 3, ("float",) * 3]
        together(partial(extreme, call, k) for call in calls for k in kinds)


@isolated
def test_bools_are_no_ints() -> None:
    """Types of results, and identities of True, False and None."""
    source = """
def f(a, b):
    return (a + b, a & b, a | b, a ^ b, a == b, a is True, b is False, a < b, not a, -a, +b, a * 3, a and b,
            a or b, (a, b) == (1, 0), a if b else None, 1 if a else 0, a == 1, a is None, {True: 1}[a | True])
"""
    with enabled():
        values = [True, False, 0, 1, 2, 1.0, 0.0, None]
        function = compiled_from(source)
        pairs = list(itertools.product(values[:2], values[:2]))
        check(function, (True, True), pairs, entered=False)
        for expression in "a + b|a & b|a == b|a is True|b is False|a is b|a and b|not a|a is None".split("|"):
            function = compiled_from(f"def f(a, b):\n    r = {expression}\n    return r\n")
            check(function, (True, True), list(itertools.product(values, values)), times=3, entered=False)


# Past 64 bits and back


GROWING = (
    "s += s + 1",
    "s -= i * 2**57 + 1",
    "s = s * 3 + 1",
    "s = -s * 2 - 1",
    "s <<= 1",
    "s = s + (s >> 1) + i",
    "s = abs(s) * -5",
    "s = s * s % (2**61 - 1) * 7",
    "s = (s * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF",
    "s = (s * 1103515245 + 12345) & 0x7FFFFFFF",
    "s = s ** 2 % 1000003 - 7 * s",
    "s = (s ^ (s << 13)) & 0xFFFFFFFFFFFFFFFF; s ^= s >> 7; s = (s ^ (s << 17)) & 0xFFFFFFFFFFFFFFFF",
    "s = s // 2 if s > 2**80 else s * 2 + 1",
    "s = s * 2 + 1 if i % 50 < 40 else s // 2**45",
)


FORMS = ("", ", *rest") * 7
"""More parameters: none, or such that only loops are entered."""


def growing(statement: str, rest: str) -> None:
    source = f"def f(s, n{rest}):\n    for i in range(n):\n        {statement}\n    return s, n\n"
    twins = Twins(compiled_from(source), Patient(LOW))
    for _ in range(8):
        twins(1, 30)
    for start in [*INTS[::3], 2**63 - 1, -(2**63), 2**64, -(2**100), True]:
        twins(start, 90)
    for steps in range(0, 66, 3):
        twins(1, steps)


@isolated
def test_ints_that_grow_past_64_bits() -> None:
    """The loop goes on with bignums, and natively again when they have become small."""
    with enabled():
        together(partial(growing, statement, rest) for statement, rest in zip(GROWING, FORMS, strict=False))
        together(partial(growing, statement, rest) for statement, rest in zip(GROWING[::3], FORMS[::-1], strict=False))


@isolated
def test_ints_that_grow_with_the_default_policy() -> None:
    """The same with bridges, misses and giving up."""
    with minijit.enable():
        for statement in GROWING:
            twins = Twins(compiled_from(f"def f(s, n):\n    for i in range(n):\n        {statement}\n    return s\n"))
            for steps in range(0, 300, 3):
                twins(steps, steps)


@isolated
def test_range_of_extreme_bounds() -> None:
    """Ranges near the limits of 64 bits and beyond, with all sorts of steps."""
    source = """
def f(a, b, c, n):
    k = 0
    s = 0
    for x in range(a, b, c):
        s = s * 3 + x
        k += 1
        if k > n:
            break
    else:
        k = -k
    return s, k
"""
    bounds = [0, 1, 5, -5, 2**31, -(2**31), 2**62, -(2**62), 2**63 - 1, -(2**63), 2**63 - 10, 2**63 + 5, -(2**64)]
    steps = [1, 2, -1, -3, 7, 2**31, 2**62, -(2**62), 2**63 - 1, -(2**63), 2**64, 0]
    with enabled():
        check(
            compiled_from(source), (0, 100, 3, 20), [(*x, 6) for x in itertools.product(bounds, bounds, steps)], times=0
        )
        step_of_one = source.replace(", c)", ")")
        check(
            compiled_from(step_of_one),
            (0, 100, 3, 20),
            [(*x, 1, 6) for x in itertools.product(bounds, bounds)],
            times=0,
        )


# math

SMALL = (0, 1, 2, 5, 20, 25, 66, 67, 100, -1, True)
MATH_VALUES: dict[str, Sequence[Any]] = {
    "float": FLOATS,
    "int": [*(0, 1, 2, -1, 7, 25, 170, 171, 1000, 2**31, 2**53 + 1), *(2**62, 2**63 - 1, -(2**63), 10**30, -(10**400))],
}
SLOW = ("factorial", "comb", "perm")
"""Functions that take for ever with large ints."""
MATH_ORDINARY: dict[str, tuple[Any, ...]] = {"float": (0.5, 1.5, 3.0), "int": (5, 3, 2)}


def math_values(name: str, kind: str, count: int) -> Sequence[Any]:
    if name in SLOW and kind == "int":
        return SMALL
    values = MATH_VALUES[kind]
    return values[:: (1, 2, 7)[count - 1]]


def one_math_function(name: str, kinds: tuple[str, ...]) -> int:
    """A function of `math` in a loop of its own; how often it was entered."""
    names = "abc"[: len(kinds)]
    head = f"import math\ndef f({', '.join(names)}):\n"
    twins = Twins(
        compiled_from(f"{head}    for i in range(2):\n        r = math.{name}({', '.join(names)})\n    return r\n")
    )
    twins.function.__globals__["math"] = math
    for ordinary in itertools.product(*(MATH_ORDINARY[kind] for kind in kinds)):
        twins(*ordinary)
    for values in itertools.product(*(math_values(name, kind, len(kinds)) for kind in kinds)):
        if name == "ldexp" and isinstance(values[-1], int) and abs(values[-1]) > 2**31:
            continue
        twins(*values)
    return twins.entries


MATH_NAMES = sorted(name for name, value in vars(math).items() if callable(value) and not name.startswith("_"))


@isolated
def test_math_functions_of_one_argument() -> None:
    """All that `math` has, with floats and ints."""
    entered: dict[str, int] = {}

    def one(name: str, kind: str) -> None:
        entered[name] = entered.get(name, 0) + one_math_function(name, (kind,))

    with enabled():
        together(partial(one, name, kind) for name in MATH_NAMES for kind in MATH_VALUES)
    for name in ("sin", "log", "floor", "sqrt", "isnan", "factorial", "gamma", "erf", "degrees", "exp2", "cbrt"):
        assert entered[name], name


@isolated
def test_math_functions_of_more_arguments() -> None:
    """With two and three, of all combinations of types."""
    two = set(MATH_NAMES) - {"sin", "cos", "tan"}
    with enabled():
        pairs = [("float", "float"), ("int", "int"), ("float", "int")]
        together(partial(one_math_function, name, kinds) for name in sorted(two) for kinds in pairs)
        triples = [("float",) * 3, ("int",) * 3, ("float", "float", "int")]
        three = ("hypot", "gcd", "lcm", "isclose", "pow", "sqrt", "ldexp", "log")
        together(partial(one_math_function, name, kinds) for name in three for kinds in triples)


@isolated
def test_builtins_with_wrong_arguments() -> None:
    """The TypeError and ValueError of builtins come out as they are."""
    calls = """
        abs() | abs(a, a)
        min() | min(a) | max(a) | int(a, 10) | int('7', a) | float(a, a) | round(a, None) | id(a) == 0
        round(a, 1, 2)
        round(number=a) | pow(a) | pow(a, a, 0) | pow(a, -1, 7) | divmod(a) | len(a) | range() | type(a)
        range(a, a, a, a) | range(1.5) | range(None) | math.sqrt() | math.sqrt(a, a) | math.sqrt('x') | math.gcd()
        math.gcd(a) | math.gcd(a, 1.5) | math.log(a, 10) | math.log(a, 1) | math.nope(a) | nope(a) | a(a) | a.real
        hash(a, a) | bool(a, a) | math.pow(a) | range(10)[a] | range(a).stop | len(range(a)) | len((a, a)) | abs(-a)
        (a, a)[a] | (a, a)[7] | (a, a)[-1] | (a, 2)[0] | sum((a, a)) | list(range(a)) | min((a, 3)) | isinstance(a, int)
        tuple(range(a)) | list(reversed(range(a))) | a.bit_length() | float() | int() | hash(a) | complex(a) | max(a, a)
    """.replace("\n", "|").split("|")

    def wrong(call: str) -> None:
        function = compiled_from(f"import math\ndef f(a):\n    b = a + 1\n    r = {call}\n    return b, r\n")
        check(function, (3,), [(2,), (0,), (-1,)], times=10, entered=False)

    with enabled():
        together(partial(wrong, call.strip()) for call in calls if call.strip())


def test_all_of_builtins_that_are_compiled_are_called_above() -> None:
    """The rules of `build.calls` for builtins, each of which is named in a program of this file."""
    from minijit.build.calls import RULES

    functions = [function for function, _ in RULES.values()]
    names = {function.__name__ for function in functions if vars(builtins).get(function.__name__) is function}
    programs = " ".join(map(str, globals().values())) + " ".join(
        str(value.body.__code__.co_consts) for value in globals().values() if hasattr(value, "body")
    )
    assert not [name for name in names if f"{name}(" not in programs]
