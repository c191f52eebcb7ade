"""What the builder is asked for, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minijit.ir.kinds import ABSENT, ClassKind, EntryKind
from minijit.ir.region import Const

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FunctionType, ModuleType

    from minijit.ir.bytecode import Code
    from minijit.ir.kinds import Field, FunctionKind, HeldField, Kinds
    from minijit.ir.region import Callee, Region
    from minijit.ir.trace import Profile, Root


def has_plain_keys(namespace: dict[str, object]) -> bool:
    """Whether all keys are plain strs. Any other might be asked, in Python code, whether it equals a name."""
    return set(map(type, list(namespace))) <= {str}


@dataclass(frozen=True, slots=True)
class Assumption:
    """`namespace[name]` is `value`; None where the name was absent."""

    namespace: dict[str, object]
    name: str
    value: Const | None


def is_plain_namespace(namespace: object) -> bool:
    """Whether to look for a name there runs no code of the program's."""
    return type(namespace) is dict and has_plain_keys(namespace)


def namespaces_of(function: Any) -> tuple[dict[str, object], dict[str, object]]:
    """The globals and builtins that a function's frames have."""
    return function.__globals__, function.__builtins__


@dataclass(frozen=True, slots=True)
class Scope:
    """What the instructions of a frame mean: their code object, and where its names stand.

    `names` are those of the globals that the loop has as locals, behind those of the frame, but for `open` ones, which
    others look at, too, while the loop runs; `fields` are attributes that it has as locals, behind these.
    """

    code: Code
    globals: dict[str, object]
    builtins: dict[str, object]
    names: tuple[str, ...] = ()
    fields: tuple[HeldField, ...] = ()
    open: frozenset[str] = frozenset()

    @property
    def identity(self) -> tuple[int, int, int]:
        """Equal for scopes in which everything means the same."""
        return id(self.code.code), id(self.globals), id(self.builtins)

    @property
    def locals_count(self) -> int:
        """How many locals a frame has to the region."""
        return self.code.locals_count + len(self.names) + len(self.fields)

    def variable(self, name: str) -> int | None:
        """Which local a name of the globals is; None if it is none."""
        is_one = name in self.names and name not in self.open
        return self.code.locals_count + self.names.index(name) if is_one else None

    def field(self, holder: int, name: str) -> int | None:
        """Which local an attribute is of the object that a slot has held at the entry; None if it is none."""
        first = self.code.locals_count + len(self.names)
        for index, held in enumerate(self.fields):
            if held.holder == holder and held.field.name == name:
                return first + index
        return None


@dataclass(frozen=True, slots=True)
class Classes:
    """What is to be known of classes: by default, nothing. A kind says in which state a class was; of one that is in
    another state by now, nothing is known.

    `attribute` gives what a class has under a name. `field` says where its instances have an attribute, and
    `is_written` whether stores to these are just that; `bases` are the class and all that it is derived from. `seen`
    gives the kind of a class's instances, without attributes, if the class's own attributes are looked up as `type`
    does it; `is_made` tells whether what its calls make is known through and through. `behind` gives what the classes
    have under a name that stand behind one of those that it is derived from. `met` gives the kind of instances that are
    met by address, if their attributes can be looked at.
    """

    attribute: Callable[[ClassKind, str], Const | None] = lambda _kind, _name: None
    field: Callable[[ClassKind, str], Field | None] = lambda _kind, _name: None
    is_written: Callable[[ClassKind], bool] = lambda _kind: False
    bases: Callable[[ClassKind], tuple[type, ...]] = lambda _kind: ()
    seen: Callable[[type], ClassKind | None] = lambda _cls: None
    is_made: Callable[[ClassKind], bool] = lambda _kind: False
    met: Callable[[type], ClassKind | None] = lambda _cls: None
    behind: Callable[[ClassKind, type, str], Const | None] = lambda _kind, _cls, _name: None


@dataclass(frozen=True, slots=True)
class Request:
    """What to build.

    `volatile` are globals that change too often to be assumed, as (id of the namespace, name). `inlines` tells whether
    a function may be inlined where it is called; `max_inlined` is how many instructions such a function may have.
    `body` gives the body of a function that is not, for arguments of such kinds; None if there is to be none.
    """

    scope: Scope
    profile: Profile
    root: Root
    entry_kinds: Kinds
    compile_unseen: bool
    max_blocks: int
    max_versions: int
    volatile: frozenset[tuple[int, str]] = frozenset()
    inlines: Callable[[FunctionType], bool] = lambda _: False
    max_inlined: int = 0
    body: Callable[[FunctionType, tuple[EntryKind, ...]], Callee | None] = lambda _function, _kinds: None
    classes: Classes = Classes()
    is_apart: Callable[[CodeType], bool] = lambda _code: False
    """Whether code is not to be inlined, though it may be: builds have found that it calls machine code."""
    profiles: Callable[[CodeType], Profile | None] = lambda _code: None
    """What recordings saw of functions that may be inlined."""
    look: Callable[[str, tuple[object, ...]], object] = lambda _name, _arguments: ABSENT
    """What an op that loads an object would give now, where there is no recording."""

    @property
    def slot_kinds(self) -> Kinds:
        """The kinds of all slots that the region's entry looks at: those of attributes stand with the other locals."""
        kinds, scope = self.entry_kinds, self.scope
        fields = tuple(each for kind in kinds if isinstance(kind, ClassKind) for _, each in kind.fields)
        if not fields:
            return kinds
        before = scope.locals_count - len(fields)
        unbound = (EntryKind.UNBOUND,) * (before - len(kinds))
        return (*kinds[:before], *unbound, *fields, *kinds[before:])


@dataclass(frozen=True, slots=True)
class Inlined:
    """A function that was inlined, or whose body is called: it must have this code and these defaults still."""

    function: FunctionType
    code: CodeType
    defaults: tuple[object, ...] | None

    @property
    def holds(self) -> bool:
        return self.function.__code__ is self.code and self.function.__defaults__ is self.defaults


@dataclass(frozen=True, slots=True)
class Given:
    """A function that was inlined, and that the entry must find in a slot: one of this kind."""

    slot: int
    kind: FunctionKind
    code: CodeType


@dataclass(frozen=True, slots=True)
class Build:
    """A region and what it rests on."""

    region: Region
    assumptions: tuple[Assumption, ...]
    names: tuple[str, ...] = ()
    """What the loop has of names."""
    fields: tuple[HeldField, ...] = ()
    """What the region has of attributes."""
    instances: tuple[tuple[int, ClassKind], ...] = ()
    """Slots whose objects must be of these classes."""
    modules: tuple[ModuleType, ...] = ()
    """Modules of which an attribute was assumed: their dicts have nothing to say once they are of another class."""
    inlined: tuple[Inlined, ...] = ()
    """Functions that were inlined, or whose bodies are called."""
    given: tuple[Given, ...] = ()
    callees: tuple[Callee, ...] = ()
    classes: tuple[ClassKind, ...] = ()
    """Those of objects that the region makes, and those whose attributes it has looked at, in the states in which they
    were."""
    met: tuple[ClassKind, ...] = ()
    """Those of objects that the region meets by address: their instances must share no more names."""
    aliased: frozenset[int] = frozenset()
    """The classes, by address, of which some objects are met while attributes of others are variables."""
    apart: frozenset[CodeType] = frozenset()
    """Code that was inlined, and is not to be: it calls machine code, which is never done again."""
    touched: frozenset[tuple[int, str]] = frozenset()
    """The globals, each by its namespace and name, that are looked at, or stored."""
    depth: int = 0
    """How many inlined calls are within each other."""
    unheard: tuple[CodeType, ...] = ()
    """Code that was inlined, and of which nobody has seen what it loads."""
    offsets: frozenset[int] = frozenset()
    """The instructions that the region was made from; those of inlined functions are not among them."""
