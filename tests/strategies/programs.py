"""Random programs: whole modules of numeric functions, and what a main function does with them, as source text.

In: a source of random choices (`random.Random`, or hypothesis' `randoms`, which shrinks). Out: the text of a module,
which may have loops of its own. It expects three names in its globals: `jit`, `log` (called with values, in the order
in which they come about) and `probe` (an object whose references are counted). `main()` runs it. A program ends soon:
loops are short, but for a few that are meant to get hot, and ints that grow are cut back.

The programs are mostly well typed; a share of the assignments is not, since a change of type is what compiled code must
notice. Most functions are pure: what is not compiled ends compiled code, and so hides what comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis.strategies import randoms

from strategies.expressions import EDGES, FLOATS, SORTS, Function, Scope
from strategies.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from random import Random

    from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True, slots=True)
class Class:
    """A class whose instances have these attributes, of these sorts, and methods that take numbers; linked ones have
    another instance, or None, as `more`."""

    name: str
    attributes: dict[str, str]
    methods: tuple[Function, ...]
    is_added: bool = False
    is_linked: bool = False


@dataclass(slots=True)
class Writer(Statements):
    """Writes a module. `lists` has the sort of the items of each of its lists, or the class of those that are instances;
    `open_lists` those that the function at hand has by other names."""

    classes: list[Class] = field(default_factory=list)
    instances: dict[str, Class] = field(default_factory=dict)
    lists: dict[str, str | Class] = field(default_factory=dict)
    open_lists: dict[str, str | Class] = field(default_factory=dict)

    def a_list(self) -> None:
        """A list that the module keeps: of numbers, mostly of one sort, or of instances; or one of such lists."""
        name = self.new("L")
        if self.classes and self.chance(60):
            cls = self.pick(self.classes)
            known = [instance for instance, each in self.instances.items() if each is cls]
            items = [*known, self.pick(known), f"{cls.name}({', '.join(map(self.usual, cls.attributes.values()))})"]
            self.lists[name] = cls
        else:
            sort = self.pick(("int", "float", "float", "bool", "any"))
            items = [self.usual(sort) for _ in range(self.random.randrange(3, 7))]
            self.lists[name] = sort
        self.lines.append(f"{name} = [{', '.join(items)}]")

    def usual(self, sort: str) -> str:
        """A number of a sort."""
        if sort == "any":
            sort = self.pick(SORTS)
        return {"int": self.pick(("7", "-3", "2**40")), "float": self.pick(("1.5", "-0.25")), "bool": "True"}[sort]

    def items(self, scope: Scope, nesting: int) -> None:
        """Something about a list that the function has been given: an item is read or written, or all are looked at."""
        name = self.pick(list(self.open_lists))
        sort, index = self.open_lists[name], self.index(scope, name)
        if isinstance(sort, Class):
            self.members(scope, nesting, name, sort)
        elif nesting and not self.flat and self.chance(35):
            item = self.new("x")
            self.line(scope, f"for {item} in {name}:")
            inner = Scope(scope.names | {item: sort}, set(scope.fixed), scope.loops + 1, scope.depth + 1)
            self.body(inner, nesting - 1)
            self.forget(scope, inner)
        elif self.chance(30):
            self.line(scope, self.changed(scope, name, sort))
        elif self.chance(50):
            target = self.target(scope, sort if sort != "any" else "int")
            scope.names[target] = sort
            self.set(scope, target, sort, f"{name}[{index}]" if self.chance(80) else f"len({name}) + {name}[{index}]")
        else:
            target = self.new("v")
            scope.names[target] = sort if sort != "any" else "int"
            self.set(scope, target, scope.names[target], self.of(scope.names[target], scope, 2))
            sign = self.pick(("", "", "+", "-"))
            self.line(scope, f"{name}[{index}] {sign}= {target}")
            if self.chance(15):
                self.line(scope, f"if len({name}) < 12: {name}.append({target})")
            if sort in ("int", "any") and sign:
                self.line(scope, f"if not -2**62 < {name}[{index}] < 2**62: {name}[{index}] = {self.usual('int')}")

    def changed(self, scope: Scope, name: str, sort: str) -> str:
        """Looks for something in a list of numbers, takes something out or puts it in, or makes lists of it."""
        known = self.pick(SORTS) if sort == "any" else sort
        value, index, item = self.of(known, scope, 1), self.index(scope, name), self.new("x")
        made, kept = f"[{item} for {item} in {name} if {item} != {self.usual(known)}]", f"{name}.pop({index})"
        kind, given = self.pick(
            (
                ("bool", f"({value}) {self.pick(('in', 'not in'))} {name}"),
                ("bool", f"{self.int(scope, 1)} in ({self.int_constant()}, 0, 2.5, {self.int_constant()})"),
                ("int", f"len({made})"),
                ("int", f"len({name}[{self.int(scope, 0)}:{self.random.randrange(-2, 5)}])"),
                ("int", f"({name}[:] + [{value}]).index({name}[{index}])"),
                (sort, f"{kept} if len({name}) > 4 else {self.usual(known)}"),
                ("", f"if len({name}) < 12: {name}.insert({index}, {value})"),
                ("", f"if len({name}) > 4: del {name}[{index}]"),
                ("", f"if len({name}) > 4 and {name}[0] == {name}[0]: {name}.remove({name}[{index}])"),
            )
        )
        if not kind or kind == "any":
            return given if not kind else f"{self.new('v')} = {given}"
        target = self.target(scope, kind)
        scope.names[target] = kind
        return f"{target} = {given}"

    def index(self, scope: Scope, name: str) -> str:
        """Mostly one that is within."""
        value = self.int(scope, 1)
        return self.pick((f"({value}) % len({name})", f"-1 - ({value}) % 3", "0", "-1", f"({value}) & 3"))

    def members(self, scope: Scope, nesting: int, name: str, cls: Class) -> None:
        """Instances in a list: all, or one of them."""
        item = self.new("q")
        known = {f"{item}.{attribute}": sort for attribute, sort in cls.attributes.items()}
        calls = [f"{item}.{m.name}({', '.join(self.of(s, scope, 1) for _, s in m.parameters)})" for m in cls.methods]
        if nesting and not self.flat and self.chance(70):
            self.line(scope, f"for {item} in {name}:")
            inner = Scope(scope.names | known, set(scope.fixed), scope.loops + 1, scope.depth + 1)
            for call in calls:
                self.line(inner, f"{self.new('v')} = {call}")
            self.body(inner, nesting - 1)
            self.forget(scope, inner)
        else:
            self.line(scope, f"{item} = {name}[{self.index(scope, name)}]")
            scope.names |= known
            for call in calls:
                self.line(scope, f"{self.new('v')} = {call}")
            if self.chance(50):
                self.line(scope, self.stored(scope, name, item, cls))

    def stored(self, scope: Scope, name: str, item: str, cls: Class) -> str:
        """Puts instances elsewhere in a list of such, or a new one; the list grows, but not for ever."""
        one, other = self.index(scope, name), self.index(scope, name)
        new = f"{cls.name}({', '.join(self.of(sort, scope, 1) for sort in cls.attributes.values())})"
        return self.pick(
            (
                f"{name}[{one}] = {item}",
                f"{name}[{one}], {name}[{other}] = {name}[{other}], {name}[{one}]",
                f"{name}[{one}] = {new}",
                f"if len({name}) < 12: {name}.append({self.pick((item, new))})",
            )
        )

    def a_class(self) -> None:
        """A class, with instances that the module keeps."""
        name = self.new("K")
        attributes = {self.new("a"): self.pick(SORTS) for _ in range(self.random.randrange(1, 4))}
        bases = [known.name for known in self.classes[-1:] if self.chance(40)]
        inherited = self.classes[-1].attributes if bases else {}
        is_linked = self.classes[-1].is_linked if bases else self.chance(40)
        self.lines.append(f"class {name}({', '.join(bases)}):")
        if self.chance(40):
            self.lines.append(f"    __slots__ = {(*attributes, *['more'] * (is_linked and not bases))}")
        self.lines.append(f"    def __init__(self, {', '.join([*inherited, *attributes])}):")
        self.lines += [f"        super().__init__({', '.join(inherited)})"] * bool(bases)
        self.lines += [f"        self.{attribute} = {attribute}" for attribute in attributes]
        self.lines += ["        self.more = None"] * (is_linked and not bases)
        attributes = inherited | attributes
        methods = [self.method(attributes) for _ in range(self.random.randrange(0, 3))]
        methods += [self.walk(attributes) for _ in range(is_linked * self.random.randrange(1, 3))]
        is_added = self.chance(85)
        if is_added:
            self.addition(name, attributes)
        self.classes.append(Class(name, attributes, tuple(methods), is_added, is_linked))
        self.lines += ["", ""]
        for _ in range(2):
            instance = self.new("o")
            self.instances[instance] = self.classes[-1]
            values = [{"int": "7", "float": "1.5", "bool": "True"}[sort] for sort in attributes.values()]
            self.lines.append(f"{instance} = {name}({', '.join(values)})")
            if self.chance(15):
                # It gets a dict of its own, with a name that others have not.
                own = f"getattr({instance}, '__dict__', {{}})"
                self.lines.append(self.pick((own, f"{own}['late'] = 1")))

        linked = [instance for instance, cls in self.instances.items() if cls.is_linked]
        if is_linked:
            self.lines += [f"{self.pick(linked)}.more = {self.pick([*linked, 'None'])}" for _ in range(3)]

    def walk(self, attributes: dict[str, str]) -> Function:
        """A method that calls itself on the instance that this one has, but not for ever."""
        name, far, self.result = self.new("m"), self.new("m"), self.pick(("int", "float"))
        self.pure, self.flat = self.chance(70), True
        count, other = (self.new("p"), "int"), (self.new("p"), self.pick(SORTS))
        known = {f"self.{a}": sort for a, sort in attributes.items()}
        scope = Scope(known | dict((count, other)), {count[0]}, depth=2)
        self.lines += ["    @jit"] * self.chance(70)
        self.lines.append(
            f"    def {far}(self, k): return self if k <= 0 or self.more is None else self.more.{far}(k - 1)"
        )
        self.lines += ["    @jit"] * self.chance(80)
        self.lines.append(f"    def {name}(self, {count[0]}, {other[0]}):")
        self.line(scope, f"global {', '.join(self.globals)}")
        self.line(scope, f"if {count[0]} <= 0 or self.more is None: return {self.shown(scope)}")
        self.line(scope, f"{count[0]} = min({count[0]}, 6)")
        self.room = self.random.randrange(0, 3)
        self.body(scope, 1)
        found, item = self.new("v"), self.new("v")
        self.line(scope, f"{found} = self.more.{name}({count[0]} - 1, {self.of(other[1], scope, 1)})")
        scope.names[found] = self.result
        if self.result == "int":
            self.cut(scope, found)
        if self.chance(50):
            attribute, scope.names[item] = self.pick(list(attributes.items()))
            self.line(scope, f"{item} = self.{far}({count[0]}).{attribute}")
        if self.chance(15):
            self.line(scope, f"self.more = {self.pick((f'self.{far}(2)', f'self.{far}(9).more'))}")
        self.room = self.random.randrange(0, 3)
        self.body(scope, 1)
        self.line(scope, f"return {self.shown(scope)}")
        self.flat = False
        return Function(name, (count, other), self.result)

    def method(self, attributes: dict[str, str]) -> Function:
        """A small one without loops, which may write attributes; or a property."""
        name, self.result, self.pure, self.flat = self.new("m"), self.pick(("int", "float")), True, True
        self.room = self.random.randrange(1, 5)
        parameters = tuple((self.new("p"), self.pick(SORTS)) for _ in range(self.random.randrange(0, 2)))
        scope = Scope({f"self.{a}": sort for a, sort in attributes.items()} | dict(parameters), depth=2)
        self.lines += ["    @jit"] * self.chance(60)
        self.lines.append(f"    def {name}(self{''.join(f', {parameter}' for parameter, _ in parameters)}):")
        self.line(scope, f"global {', '.join(self.globals)}")
        self.body(scope, 1)
        self.line(scope, f"return {self.shown(scope)}")
        self.flat = False
        return Function(name, parameters, self.result)

    def addition(self, cls: str, attributes: dict[str, str]) -> None:
        """The operator `+` of a class, which makes another instance of it."""
        names = {f"{one}.{a}": sort for one in ("self", "other") for a, sort in attributes.items()}
        self.pure, scope = True, Scope(names, depth=2)
        parts = []
        for attribute, sort in attributes.items():
            part = self.of(sort, scope, 1) if sort == "bool" else f"self.{attribute} - {self.of(sort, scope, 1)}"
            parts.append(f"({part}) % {2**61 - 1}" if sort == "int" else part)
        self.lines.append("    def __add__(self, other):")
        self.line(scope, f"return {cls}({', '.join(parts)})")

    def more_ways(self) -> list[Callable[[Scope, int], None]]:
        return [self.make] * (3 if self.classes else 0) + [self.items] * (5 if self.open_lists else 0)

    def make(self, scope: Scope, _nesting: int) -> None:
        """An instance that nobody has seen yet: a new one, another name of one, or the sum of two."""
        cls = self.pick(self.classes)
        first = next(iter(cls.attributes))
        known = [name.removesuffix(f".{first}") for name in scope.names if name.endswith(f".{first}")]
        known = [name for name in known if all(f"{name}.{a}" in scope.names for a in cls.attributes)]
        text = f"{cls.name}({', '.join(self.of(sort, scope, 1) for sort in cls.attributes.values())})"
        if known and self.chance(15):
            text = self.pick(known)
        elif cls.is_added and self.chance(75):
            text = f"{self.pick([*known, text])} + {self.pick([*known, text, text])}"
        made = [name for name in known if name.startswith("o")]
        target = self.pick(made) if made and self.chance(60) else self.new("o")
        self.line(scope, f"{target} = {text}")
        scope.names |= {f"{target}.{a}": sort for a, sort in cls.attributes.items()}
        if cls.methods and self.chance(50):
            method, name = self.pick(cls.methods), self.new("v")
            given = [self.of(sort, scope, 1) for _, sort in method.parameters]
            scope.names[name] = method.result
            self.set(scope, name, method.result, f"{target}.{method.name}({', '.join(given)})")

    def given(self) -> dict[str, Class]:
        """Parameters that are instances."""
        if not self.classes or self.chance(40):
            return {}
        cls = self.pick(self.classes)
        others = [cls if self.chance(70) else self.pick(self.classes)] * self.chance(60)
        return {self.new("q"): each for each in (cls, *others)}

    def function(self) -> None:
        """One more function, which may call those before it."""
        name = self.new("f")
        sorts = [self.pick(SORTS) for _ in range(self.random.randrange(1, 4))] + ["object"] * self.chance(20)
        given = self.given()
        open_lists = {
            self.new("xs"): self.pick(list(self.lists)) for _ in range(self.pick((0, 1, 2)) if self.lists else 0)
        }
        parameters = tuple((self.new("p"), sort) for sort in sorts) + tuple((q, c.name) for q, c in given.items())
        parameters += tuple(open_lists.items())
        self.result = self.pick(("int", "float", "tuple", "tuple", "tuple"))
        self.pure = self.chance(75)
        self.room = self.random.randrange(4, 16)
        outside, names = 0, [name for name, _ in parameters]
        if self.chance(15):
            outside = self.around(name)
        self.lines += ["    " * outside + "@jit", "    " * outside + f"def {name}({', '.join(names)}):"]
        scope = Scope({name: sort for name, sort in parameters if sort in SORTS}, depth=outside + 1)
        known, helpers = list(self.functions), set(self.helpers)
        for instance, cls in given.items():
            scope.names |= {f"{instance}.{attribute}": sort for attribute, sort in cls.attributes.items()}
            methods = [Function(f"{instance}.{m.name}", m.parameters, m.result) for m in cls.methods]
            self.functions += methods
            self.helpers |= {method.name for method in methods}
        self.line(scope, f"global {', '.join(self.globals)}")
        if self.cells:
            self.line(scope, f"nonlocal {', '.join(self.cells)}")
        if self.chance(8):
            self.recursion(scope, name, parameters)
        self.open_lists = {xs: self.lists[known] for xs, known in open_lists.items()}
        self.body(scope, 3)
        self.open_lists = {}
        self.functions, self.helpers = known, helpers
        objects = [name for name, sort in parameters if sort == "object"]
        if objects and not self.pure:
            self.line(scope, f"log({objects[0]} is probe)")
        self.line(scope, f"return {self.shown(scope)}")
        if outside:
            self.lines += [f"    return {name}", "", "", f"{name} = make_{name}()"]
            self.cells = []
        self.functions.append(Function(name, parameters, self.result))

    def helper(self) -> None:
        """A small function without loops, which all others may call, anywhere: to be inlined."""
        name = self.new("h")
        parameters = tuple((self.new("p"), self.pick(SORTS)) for _ in range(self.random.randrange(1, 4)))
        self.result, self.pure, self.flat = self.pick(("int", "float")), True, True
        self.room = self.random.randrange(0, 6)
        named = ", ".join(name for name, _ in parameters)
        self.lines += ["@jit"] * self.chance(30) + [f"def {name}({named}):"]
        scope = Scope(dict(parameters))
        self.line(scope, f"global {', '.join(self.globals)}")
        self.body(scope, 2)
        self.line(scope, f"return {self.shown(scope)}")
        self.flat = False
        self.functions.append(Function(name, parameters, self.result))
        self.helpers.add(name)

    def table(self) -> None:
        """A function that shows what a few operations give for its arguments, and does nothing else: so that each is
        tried at many edges."""
        name = self.new("f")
        parameters = tuple((self.new("p"), sort) for sort in ("int", "float", self.pick(SORTS)))
        scope = Scope(dict(parameters))
        # Of more, the first that raises would hide the rest.
        shown = ", ".join(self.operation(scope) for _ in range(self.random.randrange(1, 5)))
        self.lines += ["@jit", f"def {name}({', '.join(scope.names)}):", f"    return ({shown},)"]
        self.functions.append(Function(name, parameters, "tuple"))

    def around(self, name: str) -> int:
        """Begins a function that makes the next one, which captures its variables; how deep that is."""
        self.cells = [self.new("c") for _ in range(self.random.randrange(1, 3))]
        self.lines.append(f"def make_{name}():")
        self.lines += [f"    {cell} = {self.int_constant()}" for cell in self.cells]
        return 1

    def recursion(self, scope: Scope, name: str, parameters: tuple[tuple[str, str], ...]) -> None:
        """The function calls itself, some times."""
        counters = [parameter for parameter, sort in parameters if sort == "int"]
        if not counters or self.result == "tuple":
            return
        counter, result = counters[0], self.new("v")
        arguments = ", ".join(f"{p} - 1" if p == counter else p for p, _ in parameters)
        self.line(scope, f"if {counter} == {counter} // 1 and 0 < {counter} % 2**31 < 12:")
        self.line(scope, f"    {counter} %= 2**31")
        self.line(scope, f"    {result} = {name}({arguments})")
        self.line(scope, f"    if {result} != 0: return {result}")

    def recursive(self) -> None:
        """Functions that call themselves, or one the other, and do something before, between and after: to be called by
        machine code."""
        names = [self.new("r") for _ in range(self.random.randrange(1, 3))]
        parameters = tuple(
            (self.new("p"), self.pick(SORTS) if k else "int") for k in range(self.random.randrange(1, 4))
        )
        counter, self.pure = parameters[0][0], True
        often = self.chance(50)
        for name in names:
            self.result = self.pick(("int", "int", "float", "bool"))
            self.room = self.random.randrange(1, 8)
            self.lines += ["@jit", f"def {name}({', '.join(name for name, _ in parameters)}):"]
            scope = Scope(dict(parameters), fixed={counter})
            self.line(scope, f"global {', '.join(self.globals)}")
            self.line(scope, f"if not 0 < {counter} < {6 if often else 20}:")
            last = self.of(self.result if self.chance(70) else "any", scope, 1)
            self.line(scope, f"    return {last if self.chance(80) else self.pick(OBJECTS).format(counter)}")
            for _ in range(1 + often):
                self.body(scope, 2)
                given = [self.of(sort if self.chance(80) else "any", scope, 1) for _, sort in parameters[1:]]
                target, back = self.new("v"), self.random.randrange(1, 3)
                called = f"{self.pick(names)}({', '.join([f'{counter} - {back}', *given])})"
                scope.names[target] = self.result
                self.set(scope, target, self.result, called)
            self.room = self.random.randrange(1, 6)
            self.body(scope, 2)
            self.line(scope, f"return {self.shown(scope)}")
            self.lines += ["", ""]
        self.functions += [Function(name, parameters, self.result) for name in names]

    def module(self) -> str:
        self.lines = ["import math", "inf, nan = math.inf, math.nan", f"ints = {EDGE_INTS}", f"floats = {EDGE_FLOATS}"]
        for _ in range(self.random.randrange(1, 4)):
            sort = self.pick(("int", "int", "float", "bool"))
            name = self.new("G")
            self.globals[name] = sort
            value = {"int": self.int_constant, "float": lambda: self.pick(FLOATS), "bool": lambda: "True"}[sort]()
            self.lines.append(f"{name} = {value}")
        for _ in range(self.random.randrange(0, 3)):
            self.lines += ["", ""]
            self.helper()
        for _ in range(self.pick((0, 0, 1, 1, 2))):
            self.lines += ["", ""]
            self.a_class()
        for _ in range(self.pick((0, 0, 1, 2, 3))):
            self.a_list()
        if self.chance(35):
            self.lines += ["", ""]
            self.recursive()
        for write in [self.function] * self.random.randrange(1, 3) + [self.table] * self.random.randrange(1, 5):
            self.lines += ["", ""]
            write()
        main = list(self.main())
        if self.chance(40):
            self.script()
        self.lines += ["", "", *main]
        return "\n".join(self.lines) + "\n"

    def script(self) -> None:
        """Statements of the module itself, whose variables stand in its namespace beside the globals of all."""
        self.pure, self.result = self.chance(75), ""
        self.lines += ["", "", "try:"]
        scope = Scope({})
        for _ in range(3):
            self.room = self.random.randrange(3, 12)
            self.body(scope, 3)
        self.lines += ["except Exception as error:", "    log(error)"]

    def main(self) -> Iterator[str]:
        """Calls everything often, with what differs from call to call, and changes globals between."""
        names = list(self.globals)
        yield "def main():"
        yield f"    global {', '.join(names)}"
        yield f"    for k in range({self.random.randrange(24, 60)}):"
        held = [f"getattr({name}, {a!r}, 0)" for name, cls in self.instances.items() for a in cls.attributes]
        if held:
            # Somebody else has what attributes have, now and then.
            yield f"        kept = {_tuple([*held, 0])} if k % 3 == 1 else ()"
        for f in self.functions:
            arguments = [self.argument(sort, index) for index, (_, sort) in enumerate(f.parameters)]
            yield "        try:"
            yield f"            log({f.name}({', '.join(arguments)}))"
            yield "        except Exception as error:"
            yield "            log(error)"
        if held:
            yield "        log(*kept)"
        for name in names:
            if self.chance(20):
                yield f"        if {self.pick(('k == 7', 'k % 8 == 3', 'k > 19'))}:"
                value = self.int_constant() if self.globals[name] == "int" else self.pick(FLOATS)
                yield f"            {name} = {value}"
            elif self.chance(15):
                # So often that it is read each time.
                values = [self.int_constant(), self.pick(FLOATS), "True", self.int_constant()]
                yield f"        {name} = {_tuple(values[: self.random.randrange(2, 5)])}[k % 6 // 3]"
        yield f"    log({', '.join(names)})"
        for instance, cls in self.instances.items():
            yield f"    log({', '.join(f'getattr({instance}, {a!r}, 0)' for a in cls.attributes)})"
        for name, sort in self.lists.items():
            if isinstance(sort, Class):
                yield f"    log(*[getattr(each, {next(iter(sort.attributes))!r}, 0) for each in {name}])"
            else:
                yield f"    log(*{name})"

    def argument(self, sort: str, index: int) -> str:
        """Mostly much the same at first, so that there is code for it; then from what lies at edges, or anything."""
        if sort == "object":
            return "probe"
        if sort in self.lists:
            other = self.pick((self.pick(list(self.lists)), f"list({sort})", f"{sort}[:2]", f"tuple({sort})", "[]"))
            return sort if self.chance(50) else f"({other} if {self.pick(('k % 9 == 8', 'k > 15'))} else {sort})"
        if sort not in SORTS:
            # Mostly another one for each parameter, and then one object for several.
            known = [instance for instance, cls in self.instances.items() if cls.name == sort]
            usual, other = known[index % 2], self.pick(list(self.instances) if self.chance(20) else known)
            return usual if self.chance(30) else f"({other} if {self.pick(('k % 9 == 8', 'k > 15'))} else {usual})"
        usual = self.pick(USUAL[sort])
        if self.chance(25):
            return usual
        if sort != "bool" and self.chance(65):
            return f"{usual} if k < {self.pick((8, 12))} else {sort}s[k * {self.pick((1, 5, 7, 11))} % len({sort}s)]"
        scope = Scope({"k": "int"})
        odd = self.pick((self.of(sort, scope, 1), f"{sort}(k)", self.of("any", scope, 0), "None"))
        when = self.pick(("k == 9", "k % 7 == 4", "k % 9 == 8", "k > 18", "k == 15"))
        return f"({odd}) if {when} else ({usual})"


OBJECTS = ("None", "True", "({0}, 1.5)", "'text'", "{0} + 2**70", "{0} > 0")
"""What a function gives that gives numbers mostly."""


def _tuple(items: Iterable[object]) -> str:
    return f"({', '.join(map(str, items))})"


EDGE_INTS = _tuple((0, 1, -1, 2, -7, 10, *(sign * (e + d) for e in EDGES for d in (-1, 0) for sign in (1, -1))))
EDGE_FLOATS = _tuple((*FLOATS, "0.5", "1.5", "2.5", "-3.5", "1e16", "-2.0**63", "2.0**62", "1e-9", "7.0", "-0.75"))
USUAL = {
    "int": (
        "k",
        "k * 3 - 17",
        "7",
        "k + 2**31",
        "-k",
        "k * 10**16 - 10**17",
        "2**62 + k",
        "2**63 - 45 + k",
        "25 - k - 2**63",
    ),
    "float": ("k / 3", "1.5", "-k * 0.5", "k - 9.0"),
    "bool": ("k > 5", "k % 3 == 0"),
}


def program(random: Random) -> str:
    """The text of a random program."""
    return Writer(random).module()


def programs() -> SearchStrategy[str]:
    """Random programs, of which hypothesis makes the choices: so it can shrink them."""
    return randoms(use_true_random=False).map(program)
