"""What the builder is asked for, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from minijit.ir.bytecode import Code
    from minijit.ir.region import Const, EntryKind, Region
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


@dataclass(frozen=True, slots=True)
class Request:
    """What to build.

    `names` are those of a namespace that the loop has as variables: their entry kinds stand behind those of the frame's
    locals. `volatile` are globals that change too often to be assumed, as (id of the namespace, name).
    """

    code: Code
    profile: Profile
    root: Root
    entry_kinds: tuple[EntryKind, ...]
    globals: dict[str, object]
    builtins: dict[str, object]
    compile_unseen: bool
    max_blocks: int
    max_versions: int
    names: tuple[str, ...] = ()
    volatile: frozenset[tuple[int, str]] = frozenset()

    @property
    def locals_count(self) -> int:
        """How many locals the region has."""
        return self.code.locals_count + len(self.names)

    def variable(self, name: str) -> int | None:
        """Which local of the region a name of the namespace is; None if it is none."""
        return self.code.locals_count + self.names.index(name) if name in self.names else None


@dataclass(frozen=True, slots=True)
class Build:
    """A region and what it rests on."""

    region: Region
    assumptions: tuple[Assumption, ...]
    names: tuple[str, ...] = ()
    """What the request has of names."""
    modules: tuple[ModuleType, ...] = ()
    """Modules of which an attribute was assumed: their dicts have nothing to say once they are of another class."""
    offsets: frozenset[int] = frozenset()
    """The instructions that the region was made from."""
