"""A program of classes, twice: interpreted and compiled, with objects of its own on each side.

What a call gives, and what all the objects have then, must be the same.
"""

from __future__ import annotations

from typing import Any

from twin import LOW, Patient, exact, outcome

import minijit

ATTRIBUTES = ("x", "y", "z", "name", "more", "extra", "items")
"""What objects may have."""


class Sides:
    """A program twice. `objects` are what its classes make, the same for both; each call gets one side's own."""

    def __init__(self, source: str, *names: str, policy: minijit.Policy | None = None) -> None:
        self.scopes: list[dict[str, Any]] = []
        for _ in range(2):
            scope: dict[str, Any] = {}
            exec(compile(source, "<sides>", "exec", dont_inherit=True), scope)
            self.scopes.append(scope)
        for name in names or ("f",):
            minijit.jit(policy=policy or Patient(LOW))(self.compiled(name))
        self.pairs: list[list[Any]] = []

    def compiled(self, name: str) -> Any:
        """A function, or a method of a class, of the side that is compiled."""
        return eval(name, self.scopes[1])

    def do(self, text: str) -> None:
        """Executes a piece of text on both sides."""
        for scope in self.scopes:
            exec(text, scope)

    def __call__(self, text: str) -> object:
        """Evaluates an expression on both sides; the outcome, if that, and all objects, are the same."""
        found = [outcome(eval, text, scope) for scope in self.scopes]
        assert told(found[0]) == told(found[1]), (text, found, minijit.explain(self.function))
        states = [self.state(scope) for scope in self.scopes]
        assert states[0] == states[1], (text, states, minijit.explain(self.function))
        return found[0]

    @property
    def function(self) -> Any:
        return self.scopes[1]["f"]

    def state(self, scope: dict[str, Any]) -> object:
        """All attributes of all objects of the program's classes, and what is in its lists."""
        objects = [(name, _attributes(scope[name])) for name in sorted(scope) if is_of_a_program(scope[name])]
        return objects, [(name, told(scope[name])) for name in sorted(scope) if type(scope[name]) is list]

    def times(self, count: int, text: str) -> None:
        for _ in range(count):
            self(text)

    def stays(self, text: str) -> None:
        """The same of a call that machine code does, which is hardly ever left."""
        before = minijit.stats(self.function)
        self(text)
        after = minijit.stats(self.function)
        assert after.entries > before.entries
        assert after.exits - before.exits < 20, minijit.explain(self.function)

    @property
    def entries(self) -> int:
        return minijit.stats(self.function).entries


def is_of_a_program(thing: object) -> bool:
    """Whether it is an instance of a class that a program of ours has made."""
    cls, is_heap_type = type(thing), 1 << 9
    return type(cls) is type and cls.__module__ == "builtins" and bool(cls.__flags__ & is_heap_type)


def _attributes(thing: object, depth: int = 3) -> object:
    found = []
    for name in ATTRIBUTES:
        if hasattr(thing, name):
            found.append((name, told(getattr(thing, name), depth - 1)))
    return found


def told(value: object, depth: int = 3) -> object:
    """What can be told of a value without its identity: of an instance its class and what it has."""
    if isinstance(value, tuple | list):
        return (type(value).__name__, *(told(each, depth) for each in value))
    if isinstance(value, type):
        return value.__name__
    if is_of_a_program(value) and depth:
        return (type(value).__name__, _attributes(value, depth))
    return exact(value) if isinstance(value, int | float | str | bytes | type(None)) else type(value).__name__
