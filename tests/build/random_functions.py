"""Random functions over numbers and pairs, as source: what the builder's properties are tried on.

In: a seed. Out: the source of `f(a, b, c)`, which comes to an end (loops are short, and nothing grows fast), though
often by an exception: kinds mix freely, names may be unbound, and divisors zero.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

PARAMETERS = ("a", "b", "c")
NAMES = (*PARAMETERS, "x", "y", "z")
PAIRS = ("t", "u")
NUMBERS = ("0", "1", "2", "-1", "7", "0.5", "-2.0", "0.0", "True", "False", "255")
CONSTANTS = (*NUMBERS * 2, "None", "2**62")
STARTS = (*PARAMETERS * 3, *NUMBERS)
OPERATORS = ("+", "-", "+", "-", "*", "/", "//", "%", "&", "|", "^", ">>")
COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")
CALLS = ("abs({})", "min({}, {})", "max({}, {})", "int({})", "float({})", "bool({})", "round({})", "divmod({}, {})[0]")


def random_function(seed: int) -> str:
    return _Writer(random.Random(seed)).function()


@dataclass(slots=True)
class _Writer:
    source: random.Random
    counters: int = 0
    lines: list[str] = field(default_factory=list)

    def function(self) -> str:
        self.lines = [f"def f({', '.join(PARAMETERS)}):"]
        for name in NAMES[len(PARAMETERS) :]:
            if self.chance(90):
                self.line(1, f"{name} = {self.source.choice(STARTS)}")
        for name in PAIRS:
            if self.chance(80):
                self.line(1, f"{name} = ({self.source.choice(STARTS)}, {self.source.choice(STARTS)})")
        self.body(1, 3)
        self.body(1, 2)
        self.line(1, f"return ({', '.join(self.source.sample(NAMES, 3))})")
        return "\n".join(self.lines) + "\n"

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def chance(self, percent: int) -> bool:
        return self.source.randrange(100) < percent

    def name(self) -> str:
        return self.source.choice(NAMES)

    def body(self, depth: int, nesting: int, *, loop: bool = False) -> None:
        for _ in range(self.source.randint(1, 5)):
            kinds = ["assign"] * 4 + ["pair"] * 2 + ["if", "for", "while"] * bool(nesting) + ["out"] * loop
            match self.source.choice(kinds):
                case "assign":
                    self.line(depth, f"{self.name()} = {self.expression(2)}")
                case "pair":
                    self.line(depth, self.pair())
                case "if":
                    self.branch(depth, nesting - 1, loop=loop)
                case "for":
                    self.for_loop(depth, nesting - 1)
                case "while":
                    self.while_loop(depth, nesting - 1)
                case "out":
                    self.line(depth, f"if {self.condition()}: {self.source.choice(('break', 'continue'))}")

    def pair(self) -> str:
        pair = self.source.choice(PAIRS)
        first, second = self.source.sample(NAMES, 2)
        ways = (
            f"{pair} = ({self.expression(1)}, {self.expression(0)})",
            f"{pair} = ({pair}[1], {self.name()})",
            f"{first}, {second} = {pair}",
            f"{first}, {second} = {second}, {first}",
            f"{first} = {pair}[{self.source.choice((0, 1, -1))}]",
            f"if {self.condition()}: del {first}",
            f"t, u = {self.source.choice(PAIRS)}, {self.source.choice(PAIRS)}",
        )
        return self.source.choice(ways)

    def branch(self, depth: int, nesting: int, *, loop: bool) -> None:
        self.line(depth, f"if {self.condition()}:")
        self.body(depth + 1, nesting, loop=loop)
        if self.chance(50):
            self.line(depth, "else:")
            self.body(depth + 1, nesting, loop=loop)

    def for_loop(self, depth: int, nesting: int) -> None:
        limit, start = self.source.randint(0, 5), self.source.randint(-3, 3)
        span = self.source.choice(
            (str(limit), f"{start}, {limit}", f"{limit}, {start}, -1", f"{start}, {limit}, {self.name()} or 2")
        )
        # A range over a variable would be too long, were it not for the break.
        self.line(depth, f"for {self.name()} in range({span}):")
        self.body(depth + 1, nesting, loop=True)
        if self.chance(20):
            self.line(depth, "else:")
            self.body(depth + 1, nesting)

    def while_loop(self, depth: int, nesting: int) -> None:
        counter = f"i{self.counters}"
        self.counters += 1
        self.line(depth, f"{counter} = {self.source.randint(1, 5)}")
        self.line(depth, f"while {counter} > 0 {self.source.choice(('', f'and {self.condition()}'))}:")
        self.line(depth + 1, f"{counter} -= 1")
        self.body(depth + 1, nesting, loop=True)

    def condition(self) -> str:
        ways = (
            f"{self.name()} {self.source.choice(COMPARISONS)} {self.expression(0)}",
            f"{self.name()} {self.source.choice(COMPARISONS)} {self.source.choice(CONSTANTS)}",
            f"0 <= {self.name()} < {self.source.choice(CONSTANTS)}",
            self.name(),
            f"not {self.name()}",
            f"{self.name()} is {self.source.choice(('', 'not '))}None",
            f"{self.name()} and {self.name()} > 1",
            f"{self.name()} or {self.name()}",
        )
        return self.source.choice(ways)

    def expression(self, depth: int) -> str:
        if depth == 0 or self.chance(20):
            return self.name() if self.chance(70) else self.source.choice(CONSTANTS)
        parts = [self.expression(depth - 1) for _ in range(2)]
        ways = (
            f"({parts[0]} {self.source.choice(OPERATORS)} {parts[1]})",
            f"({parts[0]} {self.source.choice(OPERATORS[:5])} {parts[1]})",
            f"({parts[0]} {self.source.choice(OPERATORS[:4])} {parts[1]})",
            f"{self.source.choice('-+~')}{parts[0]}",
            f"({parts[0]} if {self.condition()} else {parts[1]})",
            f"({self.name()} := {parts[0]})",
            f"({parts[0]} {self.source.choice(('and', 'or'))} {parts[1]})",
            f"({self.condition()})",
            self.source.choice(CALLS).format(*parts),
        )
        return self.source.choice(ways)
