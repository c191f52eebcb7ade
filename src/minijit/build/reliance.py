"""What a region relies on: names in namespaces, functions as they are, modules, other machine code.

In: what the builder looks at outside of the frame. Out: a note of each, for the `Build`. Everything is looked at once
and then remembered, since other threads may change it while the region is built: a region rests on one state of the
world, and whether that state still holds is asked when it goes into service.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minijit.build.request import Assumption, Classes, Given, Inlined, Scope, is_plain_namespace, namespaces_of
from minijit.ir.bytecode import decode
from minijit.ir.kinds import ABSENT, ClassKind, FunctionKind
from minijit.ir.region import Const

if TYPE_CHECKING:
    from types import CodeType, FunctionType, ModuleType

    from minijit.ir.bytecode import Code
    from minijit.ir.kinds import Kinds
    from minijit.ir.region import Callee


@dataclass(slots=True)
class Reliance:
    """Of one region with these entry kinds. The notes are kept under what they are about."""

    entry_kinds: Kinds
    known: Classes
    assumptions: dict[tuple[int, str], Assumption] = field(default_factory=dict)
    modules: dict[int, ModuleType] = field(default_factory=dict)
    inlined: dict[int, Inlined] = field(default_factory=dict)
    given: dict[int, Given] = field(default_factory=dict)
    callees: dict[int, Callee] = field(default_factory=dict)
    classes: dict[int, ClassKind] = field(default_factory=dict)
    met: dict[int, ClassKind] = field(default_factory=dict)
    aliased: set[int] = field(default_factory=set)
    apart: set[CodeType] = field(default_factory=set)
    looked_up: set[tuple[int, str]] = field(default_factory=set)
    unheard: dict[int, CodeType] = field(default_factory=dict)
    _fields: dict[tuple[int, str], Const | None] = field(default_factory=dict)
    _codes: dict[int, Code] = field(default_factory=dict)

    def on_name(self, namespace: dict[str, object], name: str) -> Const | None:
        """What a namespace holds under a name now; the region assumes that it stays so. None where it has none."""
        key = (id(namespace), name)
        if key not in self.assumptions:
            found = namespace.get(name, ABSENT)
            self.assumptions[key] = Assumption(namespace, name, None if found is ABSENT else Const(found))
        return self.assumptions[key].value

    def on_attribute(self, module: ModuleType, name: str) -> Const | None:
        """What an attribute of a module is now; the region assumes that it stays so. None where it has none, or where
        looking might run Python code."""
        if not is_plain_namespace(vars(module)):
            return None
        self.modules[id(module)] = module
        return self.on_name(vars(module), name)

    def on_function(self, function: Inlined) -> Scope:
        """What the instructions of a function mean; the region assumes that it stays as it is."""
        self.inlined[id(function.function)] = function
        return self._scope(function)

    def on_given(self, slot: int, function: Inlined) -> Scope:
        """The same of a function that the entry finds in a slot (see `given_in`)."""
        kind = self.entry_kinds[slot]
        assert isinstance(kind, FunctionKind)
        self.given[slot] = Given(slot, kind, function.code)
        return self._scope(function)

    def on_body(self, callee: Callee) -> None:
        """The region calls this machine code."""
        self.callees[callee.cell] = callee

    def on_class(self, cls: type, *, is_called: bool = False) -> ClassKind | None:
        """The kind of instances of a class, without attributes; the region assumes that the class stays as it is. None
        if nothing is to be known of it, or, where it is called, of what its calls make."""
        kind = self.classes.get(id(cls)) or self.known.seen(cls)
        if kind is None or (is_called and not self.known.is_made(kind)):
            return None
        return self.classes.setdefault(id(cls), kind)

    def on_instance(self, cls: type) -> ClassKind | None:
        """The kind of instances of a class that the region meets by address; likewise. None if their attributes are not
        to be looked at."""
        if id(cls) not in self.met:
            kind = self.known.met(cls)
            if kind is None:
                return None
            self.met[id(cls)] = kind
        return self.met[id(cls)]

    def field(self, kind: ClassKind, name: str) -> Const | None:
        """Where such instances have an attribute: one constant for each."""
        key = kind.address, name
        if key not in self._fields:
            found = self.known.field(kind, name)
            self._fields[key] = None if found is None else Const(found)
        return self._fields[key]

    def as_it_is(self, function: FunctionType) -> Inlined:
        """A function as the region knows it; it does not rely on it yet."""
        known = self.inlined.get(id(function))
        return known or Inlined(function, function.__code__, function.__defaults__)

    def given_in(self, slot: int) -> Inlined | None:
        """The function that a slot of the entry holds, if that is known. Calls must give all its arguments: another one
        with the same code may have other defaults."""
        kind = self.entry_kinds[slot]
        function = kind.function() if isinstance(kind, FunctionKind) else None
        if function is None or not isinstance(kind, FunctionKind):
            return None
        code, namespaces = function.__code__, tuple(map(id, namespaces_of(function)))
        is_same = id(code) == kind.code and namespaces == (kind.globals, kind.builtins)
        return Inlined(function, code, None) if is_same else None

    def decoded(self, code: CodeType) -> Code:
        """A code object, decoded once."""
        if id(code) not in self._codes:
            self._codes[id(code)] = decode(code)
        return self._codes[id(code)]

    def _scope(self, function: Inlined) -> Scope:
        return Scope(self.decoded(function.code), *namespaces_of(function.function))
