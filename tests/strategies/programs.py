"""Random programs: whole modules of numeric functions, and what a main function does with them, as source text.

In: a source of random choices (`random.Random`, or hypothesis' `randoms`, which shrinks). Out: the text of a module. It
expects three names in its globals: `jit`, `log` (called with values, in the order in which they come about) and `probe`
(an object whose references are counted). `main()` runs it. A program ends soon: loops are short, but for a few that
are meant to get hot, and ints that grow are cut back.

The programs are mostly well typed; a share of the assignments is not, since a change of type is what compiled code must
notice. Most functions are pure: what is not compiled ends compiled code, and so hides what comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strategies.expressions import EDGES, FLOATS, SORTS, Expressions, Function, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random


@dataclass(slots=True)
class Writer(Expressions):
    """Writes a module, line by line. `room` is for how many statements of the function there is room."""

    lines: list[str] = field(default_factory=list)
    result: str = "int"
    room: int = 0

    def line(self, scope: Scope, text: str) -> None:
        self.lines.append("    " * scope.depth + text)

    # ---- statements

    def body(self, scope: Scope, nesting: int) -> None:
        """At least one statement. Names that only one arm binds are forgotten by the caller."""
        for _ in range(self.random.randrange(1, 5)):
            if self.room <= 0:
                break
            self.room -= 1
            self.statement(scope, nesting)
        self.line(
            scope, self.pick(("pass", f"log({self.int(scope, 0)})")) if self.chance(10) and not self.pure else "pass"
        )

    def statement(self, scope: Scope, nesting: int) -> None:
        deep = bool(nesting)
        ways = [self.assign] * 6 + [self.augment] * 3 + [self.swap, self.retype]
        ways += [self.branch, self.for_loop, self.while_loop, self.branch, self.for_loop] * deep
        if not self.pure:
            ways += [self.effect, self.rebind, self.closure] + [self.attempt] * deep
        ways += [self.jump] * (2 if scope.loops else 0) + [self.leave]
        way = self.pick(ways)
        way(scope, nesting)

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
        self.line(scope, f"if not -{self.pick(('2**70', '2**64', '10**30'))} < {name} < 2**{self.pick((65, 70, 100))}:")
        self.line(scope, f"    {name} = {self.int_constant()}")

    def augment(self, scope: Scope, _nesting: int) -> None:
        sort = self.pick(("int", "int", "float"))
        known = [n for n, s in scope.names.items() if s == sort and n not in scope.fixed]
        if not known:
            return self.assign(scope, 0)
        name = self.pick(known)
        op = self.pick(("+", "-", "*", "&", "|", "^", ">>")) if sort == "int" else self.pick(("+", "-", "*", "/"))
        value = self.of(sort, scope, 1)
        self.line(scope, f"{name} {op}= {f'({value} & 15)' if op == '>>' else value}")
        if sort == "int":
            self.cut(scope, name)
        return None

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
                self.line(scope, f"{a} = {pair}[{self.pick((0, -3))}]")

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
        elif self.chance(20):
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
        self.line(scope, f"if {self.condition(scope, 2)}:")
        arms = [self.arm(scope, nesting - 1)]
        if self.chance(25):
            self.line(scope, f"elif {self.condition(scope, 1)}:")
            arms.append(self.arm(scope, nesting - 1))
        if self.chance(50):
            self.line(scope, "else:")
            arms.append(self.arm(scope, nesting - 1))
        self.forget(scope, *arms)

    def for_loop(self, scope: Scope, nesting: int) -> None:
        count = self.random.randrange(30, 90) if scope.loops == 0 else self.random.randrange(0, 6)
        start = self.random.randrange(-4, 5)
        span = self.pick(
            (
                str(count),
                f"{start}, {count}",
                f"{count}, {start}, -1",
                f"{start}, {3 * count}, 3",
                f"{self.int(scope, 0)} % {count + 1}",
                f"{self.pick(EDGES)} - {start}, {self.pick(EDGES)} + {count % 7}, {self.pick(('1', '2', '2**60'))}",
            )
        )
        if "+" in span and self.chance(70):
            span = str(count)
        name = self.new("i")
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
        self.body(inner, nesting - 1)
        self.ending(scope, inner, nesting)

    def while_loop(self, scope: Scope, nesting: int) -> None:
        name = self.new("w")
        count = self.random.randrange(20, 70) if scope.loops == 0 else self.random.randrange(1, 6)
        step = self.random.randrange(1, 4)
        self.line(scope, f"{name} = {count * step}")
        self.line(scope, f"while {name} > 0{self.pick(('', '', f' and {self.condition(scope, 1)}'))}:")
        inner = Scope(dict(scope.names), set(scope.fixed), scope.loops + 1, scope.depth + 1)
        inner.names[name] = "int"
        inner.fixed.add(name)
        self.line(inner, f"{name} -= {step}")
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
        if self.chance(30):
            self.line(
                Scope({}, depth=scope.depth + 1),
                f"if {self.condition(scope, 1)}: raise ValueError({self.int(scope, 0)})",
            )
        caught = self.pick(
            (
                "ZeroDivisionError",
                "(ArithmeticError, ValueError)",
                "Exception",
                "(TypeError, OverflowError)",
                "NameError",
            )
        )
        self.line(scope, f"except {caught} as error:")
        if self.chance(30):
            self.line(Scope({}, depth=scope.depth + 1), "log(error)")
        arms.append(self.arm(scope, nesting - 1))
        if self.chance(20):
            self.line(scope, "finally:")
            arms.append(self.arm(scope, 0))
        self.forget(scope, *arms)

    def jump(self, scope: Scope, _nesting: int) -> None:
        self.line(scope, f"if {self.condition(scope, 1)}: {self.pick(('break', 'continue'))}")

    def leave(self, scope: Scope, _nesting: int) -> None:
        if self.chance(60):
            return self.assign(scope, 0)
        if self.chance(15):
            self.line(scope, f"assert {self.condition(scope, 1)}, {self.int(scope, 0)}")
        else:
            self.line(scope, f"if {self.condition(scope, 2)}: return {self.of(self.result, scope, 1)}")
        return None

    # ---- the module

    def function(self) -> None:
        """One more function, which may call those before it."""
        name = self.new("f")
        sorts = [self.pick(SORTS) for _ in range(self.random.randrange(1, 4))] + ["object"] * self.chance(20)
        parameters = tuple((self.new("p"), sort) for sort in sorts)
        self.result = self.pick(("int", "float", "int"))
        self.pure = self.chance(65)
        self.room = self.random.randrange(4, 16)
        self.lines += ["@jit", f"def {name}({', '.join(name for name, _ in parameters)}):"]
        scope = Scope({name: sort for name, sort in parameters if sort != "object"})
        self.line(scope, f"global {', '.join(self.globals)}")
        self.body(scope, 3)
        objects = [name for name, sort in parameters if sort == "object"]
        if objects and not self.pure:
            self.line(scope, f"log({objects[0]} is probe)")
        self.line(scope, f"return {self.of(self.result, scope, 2)}")
        self.functions.append(Function(name, parameters, self.result))

    def module(self) -> str:
        self.lines = ["import math", "inf, nan = math.inf, math.nan"]
        for _ in range(self.random.randrange(1, 4)):
            sort = self.pick(("int", "int", "float", "bool"))
            name = self.new("G")
            self.globals[name] = sort
            value = {"int": self.int_constant, "float": lambda: self.pick(FLOATS), "bool": lambda: "True"}[sort]()
            self.lines.append(f"{name} = {value}")
        for _ in range(self.random.randrange(1, 4)):
            self.lines += ["", ""]
            self.function()
        self.lines += ["", "", *self.main()]
        return "\n".join(self.lines) + "\n"

    def main(self) -> Iterator[str]:
        """Calls everything often, with what differs from call to call, and changes globals between."""
        scope = Scope({"k": "int"})
        names = list(self.globals)
        yield "def main():"
        yield f"    global {', '.join(names)}"
        yield f"    for k in range({self.random.randrange(12, 30)}):"
        for f in self.functions:
            arguments = []
            for _, sort in f.parameters:
                if sort == "object":
                    arguments.append("probe")
                else:
                    usual = {
                        "int": self.pick(("k", "k * 3 - 7", "7", "k + 2**31")),
                        "float": self.pick(("k / 3", "1.5", "-k * 0.5")),
                        "bool": "k > 5",
                    }[sort]
                    odd = self.pick(
                        (self.of(sort, scope, 1), self.of("any", scope, 0), self.int_constant(), "None", "k", "True")
                    )
                    when = self.pick(("k == 9", "k % 5 == 4", "k > 8", "k == 11"))
                    arguments.append(usual if self.chance(60) else f"({odd}) if {when} else ({usual})")
            yield "        try:"
            yield f"            log({f.name}({', '.join(arguments)}))"
            yield "        except Exception as error:"
            yield "            log(error)"
        for name in names:
            if self.chance(20):
                yield f"        if {self.pick(('k == 7', 'k % 4 == 3', 'k > 9'))}:"
                value = self.int_constant() if self.globals[name] == "int" else self.pick(FLOATS)
                yield f"            {name} = {value}"
        yield f"    log({', '.join(names)})"


def program(random: Random) -> str:
    """The text of a random program."""
    return Writer(random).module()
