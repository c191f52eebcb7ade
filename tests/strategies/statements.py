"""Random statements: bodies of functions, as source text, with their nesting and the variables that they leave behind.

In: a source of random choices, a scope, how deep to nest. Out: lines, appended. `programs` makes functions and modules
of them. Loops end: counters are not assigned to, and ints that grow are cut back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strategies.expressions import COMPARE, EDGES, SORTS, Expressions, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

CUTS = (
    *((f"-{most}", most) for most in ("2**62", "2**63", "2**63", "(2**63 - 1)", "2**31", "2**53", "10**6")),
    ("-1", "2**63 - 1"),
    ("-2**70", "2**100"),
)


USES = (
    "{} + {}",
    "{} - {}",
    "{} + 1",
    "{} * {}",
    "{} // {}",
    "{} // {}",
    "{} % {}",
    "{} % {}",
    "{} << {}",
    "-{} + {}",
    "abs({}) - {}",
    "{1} - {0}",
)
BOUNDS = ("-1", "0", "1", "2", "2**31 - 1", "2**32", "2**62", "2**63 - 1", "2**63 - 1", "-2**63", "2 - 2**63")
STEPS = (1, 2, 3, 16, 17, -1, -5, 10**17, 2**58, 2**60, -(2**59))

RAISED = (
    *("ValueError({0})", "ValueError(f'at {0}: {{{1}}}')", "IndexError({0}, {1}) from None", "OSError({0})"),
    *("KeyError", "ZeroDivisionError()", "StopIteration({1})"),
)
"""What is raised in a `try`."""


@dataclass(slots=True)
class Statements(Expressions):
    """Writes statements, line by line. `result` is the sort that the function at hand returns, or `tuple`, or empty where
    nothing is returned; `room` for how many statements it has room, `cells` are the variables of the function around
    it. One that is `flat` has no loops."""

    lines: list[str] = field(default_factory=list)
    result: str = "int"
    room: int = 0
    cells: list[str] = field(default_factory=list)
    flat: bool = False

    def line(self, scope: Scope, text: str) -> None:
        self.lines.append("    " * scope.depth + text)

    # ---- statements

    def body(self, scope: Scope, nesting: int) -> None:
        """At least one statement. Names that only one arm binds are forgotten by the caller."""
        before = len(self.lines)
        for _ in range(self.random.randrange(1, 5)):
            if self.room <= 0:
                break
            self.room -= 1
            self.statement(scope, nesting)
        if len(self.lines) == before:
            self.line(scope, "pass" if self.pure or self.chance(50) else f"log({self.int(scope, 0)})")

    def statement(self, scope: Scope, nesting: int) -> None:
        deep = bool(nesting)
        ways = [self.assign] * 6 + [self.augment] * 3 + [self.swap, self.retype] + [self.bounded] * 3
        ways += [self.branch] * (2 * deep)
        ways += [self.for_loop, self.while_loop, self.for_loop] * (deep and not self.flat)
        if not self.pure:
            ways += [self.effect, self.rebind, self.closure] + [self.attempt] * deep
        elif not self.result:
            ways += [self.rebind] * 2
        if self.cells:
            ways += [self.captured] * 2
        ways += [self.jump] * (2 if scope.loops else 0) + [self.leave] + self.more_ways()
        way = self.pick(ways)
        way(scope, nesting)

    def more_ways(self) -> list[Callable[[Scope, int], None]]:
        """Other statements, if a module has what they are about."""
        return []

    def target(self, scope: Scope, sort: str) -> str:
        known = [n for n, s in scope.names.items() if s == sort and n not in scope.fixed]
        return self.pick(known) if known and self.chance(80) else self.new("v")

    def grows(self, text: str) -> bool:
        return any(op in text for op in ("*", "<<", "pow", "f"))

    def assign(self, scope: Scope, _nesting: int) -> None:
        sort = self.pick(SORTS)
        name = self.target(scope, sort)
        text = self.of(sort, scope, 3)
        scope.names[name] = sort
        self.set(scope, name, sort, text)

    def set(self, scope: Scope, name: str, sort: str, text: str) -> None:
        if sort == "int" and self.grows(text) and self.chance(60):
            text = self.pick(("{} % 1000003", "{} & 0xFFFFFFFF", "{} % 97", "{} & (2**62 - 1)")).format(text)
        self.line(scope, f"{name} = {text}")
        if sort == "int":
            self.cut(scope, name)

    def cut(self, scope: Scope, name: str) -> None:
        """Keeps an int from growing on and on: mostly before 64 bits end, since beyond them nothing is compiled."""
        if self.chance(40):
            self.line(scope, f"{name} {self.pick(('%= 2**61 - 1', '&= 2**62 - 1', '%= 1000003', '%= -97'))}")
            return
        least, most = self.pick(CUTS)
        self.line(scope, f"if not {least} < {name} < {most}:")
        self.line(scope, f"    {name} = {self.int_constant()}")

    def augment(self, scope: Scope, _nesting: int) -> None:
        sort = self.pick(("int", "int", "float"))
        known = [n for n, s in scope.names.items() if s == sort and n not in scope.fixed]
        if not known:
            return self.assign(scope, 0)
        name = self.pick(known)
        op = self.pick(("+", "-", "+", "-", "*", "&", "|", "^", ">>")) if sort == "int" else self.pick("+-*/")
        # Doubling comes to the end of 64 bits by small steps.
        value = name if self.chance(20) and op == "+" else self.of(sort, scope, 1)
        self.line(scope, f"{name} {op}= {f'({value} & 15)' if op == '>>' else value}")
        if sort == "int":
            self.cut(scope, name)
        return None

    def bounded(self, scope: Scope, _nesting: int) -> None:
        """An int is compared to a bound, and used on both sides where that matters; then it is compared once more."""
        known = [n for n, s in scope.names.items() if s == "int"]
        if not known:
            return self.assign(scope, 0)
        number, name = self.pick(known), self.new("v")
        bound = self.pick(BOUNDS) if self.chance(75) else self.edge()
        sides = (number, bound) if self.chance(70) else (bound, number)
        condition = f"{sides[0]} {self.pick(COMPARE)} {sides[1]}"
        if self.chance(30):
            self.line(scope, f"if ({name} := {number} {self.pick('+-^')} 3) {self.pick(COMPARE)} {bound}: {name} -= 1")
            scope.names[name] = "int"
            return self.cut(scope, name)
        used = [self.pick(USES).format(number, self.random.randrange(1, 9)) for _ in range(2)]
        self.line(scope, f"if {condition}: {name} = {used[0]}")
        self.line(scope, f"else: {name} = {used[1]}")
        if self.chance(60):
            self.line(scope, f"if {condition}: {name} -= 1")
        if self.chance(30):
            self.line(scope, f"if not {condition}: {name} ^= 1")
        scope.names[name] = "int"
        return self.cut(scope, name)

    def swap(self, scope: Scope, _nesting: int) -> None:
        known = [n for n, s in scope.names.items() if s in ("int", "float") and n not in scope.fixed]
        if len(known) < 2:
            return
        a, b = self.pick(known), self.pick(known)
        match self.random.randrange(3):
            case 0:
                self.line(scope, f"{a}, {b} = {b}, {a}")
                scope.names[a], scope.names[b] = scope.names[b], scope.names[a]
            case 1:
                sort = scope.names[a]
                self.line(scope, f"{a}, {b} = {b}, {self.of(sort, scope, 1)}")
                scope.names[a], scope.names[b] = scope.names[b], sort
                for name in (a, b):
                    if scope.names[name] == "int":
                        self.cut(scope, name)
            case _:
                pair = self.new("t")
                self.line(scope, f"{pair} = ({a}, {b}, {self.of('any', scope, 1)})")
                at = self.pick((0, 1, -3, -2))
                self.line(scope, f"{a} = {pair}[{at}]")
                scope.names[a] = scope.names[a if at in (0, -3) else b]

    def retype(self, scope: Scope, _nesting: int) -> None:
        """A variable of another sort from here on, or from some round on."""
        known = [n for n in scope.names if n not in scope.fixed]
        if not known:
            return
        name = self.pick(known)
        if self.chance(50):
            self.line(scope, f"if {self.condition(scope, 1)}:")
            self.line(scope, f"    {name} = {self.of('any', scope, 1)}")
            if scope.names[name] == "int":
                self.cut(scope, name)
        elif self.chance(20):
            self.line(scope, f"{name} = None")
            scope.names[name] = "any"
        elif self.chance(20) and "[" not in name:
            self.line(scope, f"del {name}")
            del scope.names[name]
        else:
            sort = self.pick(SORTS)
            self.line(scope, f"{name} = {self.of(sort, scope, 2)}")
            scope.names[name] = sort
            if sort == "int":
                self.cut(scope, name)

    def effect(self, scope: Scope, _nesting: int) -> None:
        self.line(scope, f"log({self.of('any', scope, 1)})")

    def rebind(self, scope: Scope, _nesting: int) -> None:
        """A global is written, by name or through the namespace."""
        name = self.pick(list(self.globals))
        value = self.of(self.globals[name], scope, 1)
        if self.globals[name] == "int":
            value = f"({value}) % 1000"
        if self.chance(60):
            self.line(scope, f"{name} = {value}")
        else:
            self.line(scope, f"globals()[{name!r}] = {value}")

    def captured(self, scope: Scope, _nesting: int) -> None:
        """A variable of the function around is written, or read."""
        cell = self.pick(self.cells)
        if self.chance(50):
            self.line(scope, f"{cell} = ({self.int(scope, 1)}) % 1009")
        else:
            name = self.target(scope, "int")
            self.line(scope, f"{name} = {cell} + {self.int(scope, 0)}")
            scope.names[name] = "int"
            self.cut(scope, name)

    def closure(self, scope: Scope, _nesting: int) -> None:
        known = [n for n, s in scope.names.items() if s == "int"]
        if not known or self.chance(70):
            return self.assign(scope, 0)
        name = self.new("g")
        self.line(scope, f"{name} = lambda q: q + {self.pick(known)}")
        target = self.new("v")
        self.line(scope, f"{target} = {name}({self.int(scope, 1)})")
        scope.names[target] = "int"
        self.cut(scope, target)
        return None

    def arm(self, scope: Scope, nesting: int, *, loop: bool = False, fixed: str = "") -> Scope:
        inner = Scope(dict(scope.names), set(scope.fixed), scope.loops + loop, scope.depth + 1)
        if fixed:
            inner.names[fixed] = "int"
            inner.fixed.add(fixed)
        self.body(inner, nesting)
        return inner

    def forget(self, scope: Scope, *arms: Scope) -> None:
        """What not all arms leave bound, and of the sort it had, is used no more, mostly."""
        for name, sort in list(scope.names.items()):
            if any(arm.names.get(name) != sort for arm in arms) and self.chance(90):
                scope.names[name] = "any"
        for arm in arms:
            for name, sort in arm.names.items():
                if name not in scope.names and self.chance(5):
                    scope.names[name] = sort

    def branch(self, scope: Scope, nesting: int) -> None:
        self.line(scope, f"if {self.walrus(scope)[1] if self.chance(15) else self.condition(scope, 2)}:")
        arms = [self.arm(scope, nesting - 1)]
        if self.chance(25):
            self.line(scope, f"elif {self.condition(scope, 1)}:")
            arms.append(self.arm(scope, nesting - 1))
        if self.chance(50):
            self.line(scope, "else:")
            arms.append(self.arm(scope, nesting - 1))
        self.forget(scope, *arms)

    def counter(self, scope: Scope) -> str:
        """A variable that begins small, to be moved in each round of a loop; empty if there is to be none."""
        if self.chance(70):
            return ""
        name = self.new("v")
        self.line(scope, f"{name} = {self.random.randrange(-3, 4)}")
        scope.names[name] = "int"
        scope.fixed.add(name)
        return f"{name} += {self.pick(STEPS)}"

    def for_loop(self, scope: Scope, nesting: int) -> None:
        count = self.random.randrange(30, 90) if scope.loops == 0 else self.random.randrange(0, 6)
        start, step = self.random.randrange(-4, 5), self.random.randrange(2, 8)
        span = self.pick(
            (
                str(count),
                f"{start}, {count}",
                f"{count}, {start}, -1",
                f"{start}, {count * step}, {step}",
                f"{count * step}, {start}, -{step}",
                f"{self.int(scope, 0)} % {count + 1}",
                f"{self.pick(EDGES)} - {start}, {self.pick(EDGES)} + {count % 7}, {self.pick(('1', '2', '2**60'))}",
            )
        )
        if "+" in span and self.chance(70):
            span = str(count)
        name, move = self.new("i"), self.counter(scope)
        self.line(scope, f"for {name} in range({span}):")
        inner_limit = self.new("n")
        inner = Scope(dict(scope.names), set(scope.fixed), scope.loops + 1, scope.depth + 1)
        inner.names[name] = "int"
        if not self.chance(10):
            inner.fixed.add(name)
        if "," in span and "2**" not in span and str(count) not in span:
            self.lines.insert(len(self.lines) - 1, "    " * scope.depth + f"{inner_limit} = 0")
            self.line(inner, f"{inner_limit} += 1")
            self.line(inner, f"if {inner_limit} > 40: break")
        if move:
            self.line(inner, move)
        self.body(inner, nesting - 1)
        self.ending(scope, inner, nesting)

    def while_loop(self, scope: Scope, nesting: int) -> None:
        name, move = self.new("w"), self.counter(scope)
        count = self.random.randrange(20, 70) if scope.loops == 0 else self.random.randrange(1, 6)
        step = self.random.randrange(1, 4)
        self.line(scope, f"{name} = {count * step}")
        self.line(scope, f"while {name} > 0{self.pick(('', '', f' and {self.condition(scope, 1)}'))}:")
        inner = Scope(dict(scope.names), set(scope.fixed), scope.loops + 1, scope.depth + 1)
        inner.names[name] = "int"
        inner.fixed.add(name)
        self.line(inner, f"{name} -= {step}")
        if move:
            self.line(inner, move)
        self.body(inner, nesting - 1)
        self.ending(scope, inner, nesting)

    def ending(self, scope: Scope, inner: Scope, nesting: int) -> None:
        if self.chance(15):
            self.line(scope, "else:")
            self.arm(scope, max(nesting - 1, 0))
        self.forget(scope, inner)

    def attempt(self, scope: Scope, nesting: int) -> None:
        self.line(scope, "try:")
        arms = [self.arm(scope, nesting - 1)]
        inner = Scope({}, depth=scope.depth + 1)
        if self.chance(50):
            raised = self.pick(RAISED).format(self.int(scope, 0), self.of("any", scope, 0))
            self.line(inner, f"if {self.condition(scope, 1)}: raise {raised}")
        caught = self.pick(
            (
                "ZeroDivisionError",
                "(ArithmeticError, ValueError)",
                "Exception",
                "LookupError",
                "(TypeError, OverflowError)",
                "NameError",
            )
        )
        if self.chance(50):
            self.line(scope, f"except {caught} as error:")
            if self.chance(30):
                self.line(inner, "log(error)")
        else:
            self.line(scope, f"except {caught}:")
        if self.chance(15):
            again = self.pick(("", " ArithmeticError", " KeyError from None"))
            self.line(inner, f"if {self.condition(scope, 0)}: raise{again}")
        arms.append(self.arm(scope, nesting - 1))
        if self.chance(20):
            self.line(scope, "finally:")
            arms.append(self.arm(scope, 0))
        self.forget(scope, *arms)

    def jump(self, scope: Scope, _nesting: int) -> None:
        if self.chance(70):
            self.line(scope, f"if {self.condition(scope, 1)}: {self.pick(('break', 'continue'))}")
            return
        name, test = self.walrus(scope)
        self.line(scope, f"if {test}: {self.pick(('break', 'continue'))}")
        self.cut(scope, name)

    def walrus(self, scope: Scope) -> tuple[str, str]:
        """A condition that binds a name before it decides, and that name."""
        name = self.target(scope, "int")
        if "." in name or "[" in name:  # an attribute, or an item
            name = self.new("v")
        test = f"({name} := {self.int(scope, 1)}) {self.pick(COMPARE)} {self.int(scope, 0)}"
        scope.names[name] = "int"
        return name, test

    def leave(self, scope: Scope, _nesting: int) -> None:
        if self.chance(60):
            return self.assign(scope, 0)
        if not self.result or self.chance(15):
            self.line(scope, f"assert {self.condition(scope, 1)}, {self.int(scope, 0)}")
        else:
            self.line(scope, f"if {self.condition(scope, 2)}: return {self.shown(scope)}")
        return None

    def shown(self, scope: Scope) -> str:
        """What a function returns: a number, or all that it knows, so that nothing that went wrong is lost."""
        if self.result != "tuple":
            return self.of(self.result, scope, 1)
        known = [name for name, sort in scope.names.items() if sort in SORTS]
        return f"({', '.join((*known, self.of('any', scope, 1)))},)"
