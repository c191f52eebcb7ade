"""Random expressions over numbers, as source text: mostly of the sort that is asked for.

In: a source of random choices, the variables in scope with their sorts (int, float, bool, any), and a depth. Out: an
expression. It may raise, overflow, or be of another sort now and then; it has no effects, but for calls of functions
that were written before. `programs` makes modules of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

EDGES = tuple(2**n for n in (15, 30, 31, 32, 53, 60, 61, 62, 63, 64))
USUAL_FLOATS = ("0.0", "-0.0", "1.0", "0.5", "-1.5", "0.1", "3.7", "-2.25", "1e6")
FLOATS = (*USUAL_FLOATS, "2.0**53", "1e308", "5e-324", "-1e-310", "inf", "-inf", "nan", "-2.0**63")
INT_OPS = ("+", "-", "*", "&", "|", "^", "+", "-")
FLOAT_OPS = ("+", "-", "*", "+", "-", "*", "/")
COMPARE = ("<", "<=", "==", "!=", ">", ">=")
INT_FROM_FLOAT = ("int({})", "round({})", "math.floor({})", "math.ceil({})", "math.trunc({})")
FLOAT_CALLS = (
    *(f"{name}({{}})" for name in ("abs", "float", "math.fabs", "math.sin", "math.cos", "math.tanh")),
    *(f"{name}({{}}, {{}})" for name in ("min", "max", "math.atan2", "math.hypot", "math.copysign", "math.fmod")),
    *("math.sqrt(abs({}))", "math.exp(-abs({}))", "math.log(abs({}) + 1.0)", "math.pow({}, 2.0)", "round({}, 2)"),
    *("min({0}, -{0})", "max({0}, -{0}, {1})"),
)
INT_CALLS = (
    *(f"{name}({{}})" for name in ("abs", "int", "round")),
    *(f"{name}({{}}, {{}})" for name in ("min", "max", "math.gcd")),
    *("divmod({}, {})[0]", "divmod({}, {})[1]", "math.isqrt(abs({}))", "max({}, {}, 5)"),
    *("pow({}, 2)", "pow({}, 3, 1000003)"),
)
PAIRS = (("{i}", "{i}"), ("{f}", "{f}"), ("{i}", "{f}"), ("{f}", "{i}"))
OTHERS = """
{i} << ({i} & 63); {i} << {s}; {i} >> {s}; {i} >> ({i} & 127); {i} ** 2; {i} ** 3; {i} ** ({i} & 7); -{i}; ~{i}; +{i};
{f} ** 2; {f} ** 3; {f} ** 0.5; {f} ** -1; -{f}; +{f}; not {f}; -{b}; {f} != {f}; {f} != {f}; {f} < {f}; {f} == {f};
{f} == float({i}); {i} < float({i}); float({i}) <= {i}; {i} == float({i}); float({i}) < {i}; {i} > float({i});
({i} * {i}) & 0xFFFF; ({i} * 31 + {i}) & 0x7FFFFFFF; ({i} + {i}) & -4; {i} * {i} & -8; {i} * 3 & -2; ({i} << 3) & 255;
({i}, {f}, {b})[-2]; ({f}, {i})[-1]; ({f}, {i})[0]; 0.0 if {b} else -0.0; -0.0 if {i} < {i} else 0.0; {i} if {b} else {f};
({i} * {i} < 2**64, {i} * {i} & 255); ({i} + {i} >= 2**63, {i} + {i} & 7); ({i} - {i} == -2**64, {i} - {i} & 15);
min({y}, -{y}); max(-{y}, {y}); min({i}, {i});
{x} + 1 if {x} <= 2**63 - 1 else 0; {x} - 1 if {x} >= -2**63 else 0; {x} * 4 if {x} <= 2**61 else 0; {x} - {x};
{x} // 3 if {x} > -2 else {x}; {x} % 7 if not {x} < -1 else 1; {x} // 2**31 if 0 <= {x} <= 2**32 else 0; {x} * {x};
math.hypot({f}, {f}); math.isqrt(abs({i})); pow({i}, 3, 1000003);
float({i}); math.sqrt({i}); math.floor({i}); int({b}); bool({f}); abs({b}); math.isnan({f}); math.isinf({f});
divmod({f}, {f}); math.sqrt({f}); math.log({f}); math.exp({f}); math.log10({f});
"""
OPERATIONS = (
    *(f"{{i}} {op} {{i}}" for op in ("+", "-", "*", "/", "//", "%", "&", "|", "^", "+", "-", "*", "//", "%")),
    *(f"{a} {op} {b}" for op in ("+", "-", "*", "/", "//", "%", "**") for a, b in PAIRS[1:]),
    *(f"{a} {op} {b}" for op in COMPARE for a, b in (*PAIRS, ("{b}", "{i}"))),
    *(f"{{b}} {op} {{b}}" for op in ("&", "|", "^", "+", "-", "*", "and", "or", "==", "<")),
    *(call.replace("{}", "{f}").replace("{0}", "{y}").replace("{1}", "{f}") for call in FLOAT_CALLS),
    *(call.replace("{}", "{i}") for call in INT_CALLS),
    *(call.replace("{}", "{f}") for call in INT_FROM_FLOAT for _ in range(2)),
    *(text.strip() for text in OTHERS.split(";") if text.strip()),
)
"""Each operation once, or more often where it does many things: {i}, {f}, {b} are ints, floats, bools, {s} a small int,
and {x} and {y} an int and a float that are the same throughout."""
SORTS = ("int", "int", "int", "float", "float", "bool")


@dataclass(slots=True)
class Function:
    name: str
    parameters: tuple[tuple[str, str], ...]  # name and sort
    result: str


@dataclass(slots=True)
class Scope:
    """The variables that an expression may use, and where in the function it stands."""

    names: dict[str, str]
    fixed: set[str] = field(default_factory=set)  # counters: not to be assigned
    loops: int = 0
    depth: int = 1


@dataclass(slots=True)
class Expressions:
    """Writes expressions. Those of a `pure` function call no other, but for `helpers`."""

    random: Random
    functions: list[Function] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)
    globals: dict[str, str] = field(default_factory=dict)
    fresh: int = 0
    pure: bool = False

    # ---- choices

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def pick[T](self, options: Sequence[T]) -> T:
        return options[self.random.randrange(len(options))]

    def new(self, prefix: str) -> str:
        self.fresh += 1
        return f"{prefix}{self.fresh}"

    def operation(self, scope: Scope) -> str:
        """One of all operations, on variables mostly."""

        def operand(found: re.Match[str]) -> str:
            if found[1] in same:
                return same[found[1]]
            sort = {"i": "int", "x": "int", "f": "float", "y": "float", "b": "bool", "s": ""}[found[1]]
            if not sort:
                return str(self.random.randrange(0, 70))
            known = [name for name, of in scope.names.items() if of == sort]
            text = self.pick(known) if known and self.chance(85) else self.of(sort, scope, 0)
            if found[1] in "xy":
                same[found[1]] = text
            return text

        same: dict[str, str] = {}
        return re.sub(r"\{([ifbsxy])\}", operand, self.pick(OPERATIONS))

    # ---- expressions

    def of(self, sort: str, scope: Scope, depth: int) -> str:
        if sort == "any":
            sort = self.pick(SORTS)
        if self.chance(2):
            sort = self.pick(SORTS)
        return {"int": self.int, "float": self.float, "bool": self.condition}[sort](scope, depth)

    def variable(self, sort: str, scope: Scope) -> str | None:
        known = [n for n, s in scope.names.items() if s == sort]
        known += [n for n, s in self.globals.items() if s == sort and self.chance(40)]
        return self.pick(known) if known else None

    def int_constant(self) -> str:
        if self.chance(75):
            return str(self.random.randrange(-3, 20))
        return self.edge()

    def edge(self) -> str:
        """A number near to where something ends."""
        edge = self.pick(EDGES) + self.random.randrange(-2, 3)
        return str(-edge) if self.chance(40) else str(edge)

    def float_constant(self) -> str:
        return self.pick(USUAL_FLOATS if self.chance(70) else FLOATS)

    def int(self, scope: Scope, depth: int) -> str:
        if depth <= 0 or self.chance(15):
            name = self.variable("int", scope) if self.chance(80) else None
            return name or self.int_constant()
        a, b = self.int(scope, depth - 1), self.int(scope, depth - 1)
        match self.random.randrange(16):
            case 0:
                return f"({a} // {self.divisor(b)})"
            case 1:
                return f"({a} % {self.divisor(b)})"
            case 11 | 12:
                return f"({a} {self.pick('+-')} {self.pick((self.edge(), str(self.random.randrange(1, 40)), a))})"
            case 2:
                return f"({a} << ({b} & {self.pick((3, 7, 31, 63))}))"
            case 3:
                return f"({a} >> ({b} & {self.pick((3, 15, 63, 127))}))"
            case 4:
                return f"{self.pick('-~+')}{a}"
            case 5:
                return f"({a} if {self.condition(scope, depth - 1)} else {b})"
            case 6:
                return self.pick(INT_CALLS).format(a, b)
            case 7:
                return self.from_float(self.float(scope, depth - 1))
            case 8 if self.chance(40):
                return f"({self.bool(scope)} {self.pick(('+', '-', '*', '<<', '+'))} {self.bool(scope)})"
            case 8:
                return f"({a} {self.pick(('and', 'or'))} {b})"
            case 9:
                return self.call("int", scope, depth) or f"({a} + {b})"
            case 10:
                return f"({a} ** {self.pick((0, 1, 2, 2, 3))})"
            case _:
                return f"({a} {self.pick(INT_OPS)} {b})"

    def from_float(self, text: str) -> str:
        """An int made of a float, which mostly is no nan nor infinity."""
        return self.pick(INT_FROM_FLOAT).format(text if self.chance(35) else f"max(-1e18, min({text}, 1e18))")

    def divisor(self, text: str) -> str:
        if self.chance(25):
            return text
        low, high = self.random.randrange(1, 12), self.random.randrange(1, 9)
        return self.pick((f"({text} | 1)", str(low), str(-high), "8", "2**31"))

    def float_divisor(self, text: str) -> str:
        return text if self.chance(20) else self.pick((f"({text} or 1.5)", "0.7", "-3.0", "2.0", "1e-3", "inf"))

    def float(self, scope: Scope, depth: int) -> str:
        if depth <= 0 or self.chance(15):
            name = self.variable("float", scope) if self.chance(80) else None
            return name or self.float_constant()
        a, b = self.float(scope, depth - 1), self.float(scope, depth - 1)
        match self.random.randrange(12):
            case 0:
                return self.pick(FLOAT_CALLS).format(a, b)
            case 1:
                return f"({a} {self.pick(('//', '%', '/'))} {self.float_divisor(b)})"
            case 2:
                return f"({self.int(scope, depth - 1)} / {self.divisor(self.int(scope, 0))})"
            case 3:
                return f"({a} {self.pick(FLOAT_OPS)} {self.int(scope, depth - 1)})"
            case 4:
                return f"({self.int(scope, depth - 1)} {self.pick(FLOAT_OPS)} {a})"
            case 5:
                return f"{self.pick('-+')}{a}"
            case 6:
                return f"({a} if {self.condition(scope, depth - 1)} else {b})"
            case 7:
                return f"({a} ** {self.pick(('2', '3', '0.5', '2.0', '-1', '0', '1.5'))})"
            case 8:
                return self.call("float", scope, depth) or f"({a} * {b})"
            case _:
                return f"({a} {self.pick(FLOAT_OPS)} {b})"

    def equal(self, scope: Scope) -> str:
        """A comparison of what is equal, as far as a float can be."""
        number = self.int(scope, 0)
        left, right = self.pick(((number, f"float({number})"), (f"float({number})", number), (number, f"{number} | 0")))
        return f"{left} {self.pick(COMPARE)} {right}"

    def bool(self, scope: Scope) -> str:
        return self.variable("bool", scope) or self.pick(("True", "False"))

    def condition(self, scope: Scope, depth: int) -> str:
        if depth <= 0 and self.chance(50):
            return self.bool(scope)
        sort = self.pick(("int", "int", "float"))
        a, b, c = (self.of(sort, scope, depth - 1) for _ in range(3))
        ways = (
            f"{a} {self.pick(COMPARE)} {b}",
            f"{a} {self.pick(COMPARE)} {b}",
            f"{a} {self.pick(COMPARE)} {b} {self.pick(COMPARE)} {c}",
            f"{self.int(scope, 0)} {self.pick(COMPARE)} {self.float(scope, 0)}",
            f"{self.float(scope, 0)} {self.pick(COMPARE)} {self.int(scope, 0)}",
            f"{self.bool(scope)} {self.pick('&|^')} {self.bool(scope)}",
            self.equal(scope),
            f"{self.int(scope, 0)} & 1",
            f"not {a}",
            f"{a} < {b} {self.pick(('and', 'or'))} {b} != {c}",
            f"math.{self.pick(('isnan', 'isinf', 'isfinite'))}({self.float(scope, 0)})",
            f"{self.variable('any', scope) or a} {self.pick(('is', 'is not'))} None",
            f"bool({a})",
        )
        return f"({self.pick(ways)})"

    def call(self, sort: str, scope: Scope, depth: int) -> str | None:
        """A call of a function that was written before: there is no recursion here."""
        only_helpers = scope.loops > 1 or self.pure
        known = [f for f in self.functions if f.result == sort and (f.name in self.helpers or not only_helpers)]
        known = [f for f in known if all(s in SORTS or s == "object" for _, s in f.parameters)]
        if not known:
            return None
        f = self.pick(known)
        arguments = [self.of(s, scope, min(depth - 1, 1)) if s != "object" else "probe" for _, s in f.parameters]
        if arguments and self.chance(20):
            arguments[-1] = f"{f.parameters[-1][0]}={arguments[-1]}"
        return f"{f.name}({', '.join(arguments)})"
